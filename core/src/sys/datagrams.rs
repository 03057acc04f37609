//! Datagrams that are taken many at a time: several for one call, and of one sender several as one (UDP GRO).
#![allow(unsafe_code)]

use super::udp::set;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};

/// Longest datagram, and the longest run of datagrams that the kernel hands out as one.
const LONGEST: usize = 65_536;
/// Runs for one call.
const AT_ONCE: usize = 32;
/// Room for two numbers and their headers.
const CONTROL: usize = 64;

/// Memory that datagrams are taken into.
pub struct Datagrams {
    bytes: Vec<u8>,
    /// Of each run: its length, and the length of each of its datagrams but the last.
    runs: Vec<(usize, usize)>,
    dropped: u32,
}

/// Control messages are read as structures.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// Lets a socket hand out runs of datagrams, and say how many it had no room for. A kernel that cannot hands out one by one.
pub fn gather(socket: &UdpSocket) {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1);
    set(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
}

impl Default for Datagrams {
    fn default() -> Self {
        Self { bytes: vec![0; LONGEST * AT_ONCE], runs: Vec::with_capacity(AT_ONCE), dropped: 0 }
    }
}

impl Datagrams {
    /// Takes what a socket has, without waiting; whether that was anything.
    ///
    /// # Errors
    /// Of the system.
    pub fn take(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        self.runs.clear();
        let mut control = [Control([0; CONTROL]); AT_ONCE];
        let parts = self.bytes.chunks_exact_mut(LONGEST);
        let mut parts: Vec<libc::iovec> =
            parts.map(|p| libc::iovec { iov_base: p.as_mut_ptr().cast(), iov_len: p.len() }).collect();
        // SAFETY: all of these structures are numbers and pointers, for which zeros are a value.
        let mut messages: [libc::mmsghdr; AT_ONCE] = unsafe { std::mem::zeroed() };
        for ((message, part), control) in messages.iter_mut().zip(&mut parts).zip(&mut control) {
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = CONTROL as _;
        }
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: each message points to a part of `bytes` and of `control` of its own, with its length, and all of them live on
        // until the call has returned.
        let came = unsafe {
            libc::recvmmsg(fd, messages.as_mut_ptr(), AT_ONCE as _, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
        };
        if came < 0 {
            let e = io::Error::last_os_error();
            return if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                Ok(false)
            } else {
                Err(e)
            };
        }
        for message in &messages[..came as usize] {
            let length = message.msg_len as usize;
            let Said { segment, dropped } = said(&message.msg_hdr);
            self.dropped = dropped.unwrap_or(self.dropped);
            self.runs.push((length, segment.filter(|s| *s > 0).unwrap_or(length)));
        }
        Ok(came > 0)
    }

    /// Hands out what was taken, one by one.
    ///
    /// # Errors
    /// Of `each`.
    pub fn each<E>(&mut self, mut each: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<(), E> {
        for (part, (length, segment)) in self.bytes.chunks_exact_mut(LONGEST).zip(&self.runs) {
            part[..*length].chunks_mut((*segment).max(1)).try_for_each(&mut each)?;
        }
        Ok(())
    }

    /// How many datagrams the socket had no room for since it was opened.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

/// What the kernel says beside a run.
#[derive(Default)]
struct Said {
    segment: Option<usize>,
    dropped: Option<u32>,
}

fn said(header: &libc::msghdr) -> Said {
    let mut out = Said::default();
    // SAFETY: the header is as the kernel left it: its control messages lie in memory that lives, within the length that stands there.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: as above; what follows a header of these two kinds is a number of four bytes, which need not be aligned.
        unsafe {
            let number = || libc::CMSG_DATA(at).cast::<u32>().read_unaligned();
            match ((*at).cmsg_level, (*at).cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => out.segment = Some(number() as usize),
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => out.dropped = Some(number()),
                _ => {}
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::udp::segment;
    use std::net::Ipv4Addr;

    fn sockets() -> (UdpSocket, UdpSocket) {
        let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        gather(&to);
        from.connect(to.local_addr().unwrap()).unwrap();
        (from, to)
    }

    fn lengths(datagrams: &mut Datagrams) -> Vec<(u8, usize)> {
        let mut out = Vec::new();
        datagrams
            .each(|d| {
                out.push((d.first().copied().unwrap_or(0), d.len()));
                Ok::<_, ()>(())
            })
            .unwrap();
        out
    }

    #[test]
    fn a_run_comes_as_the_datagrams_that_were_sent() {
        let (from, to) = sockets();
        let mut datagrams = Datagrams::default();
        assert!(!datagrams.take(&to).unwrap());
        if !segment(&from, 100) {
            return;
        }
        from.send(&[[1; 100], [2; 100], [3; 100]].concat()).unwrap();
        from.send(&[4; 70]).unwrap();
        from.send(&[]).unwrap();
        assert!(datagrams.take(&to).unwrap());
        assert_eq!(lengths(&mut datagrams), [(1, 100), (2, 100), (3, 100), (4, 70)]);
        assert!(!datagrams.take(&to).unwrap());
        assert!(lengths(&mut datagrams).is_empty());
    }

    #[test]
    fn what_had_no_room_is_counted() {
        let (from, to) = sockets();
        socket2::SockRef::from(&to).set_recv_buffer_size(4096).unwrap();
        (0..100).for_each(|_| _ = from.send(&[7; 1000]));
        let (mut datagrams, mut came) = (Datagrams::default(), 0);
        while datagrams.take(&to).unwrap() {
            came += lengths(&mut datagrams).len();
        }
        // It is told with the next one that has room.
        from.send(&[7; 10]).unwrap();
        assert!(datagrams.take(&to).unwrap());
        assert_eq!(came + datagrams.dropped() as usize, 100);
    }
}
