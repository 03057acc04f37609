//! Sockets that say more of what comes than its bytes: from whom, by which interface, how many routers it may still pass, and how many
//! datagrams there was no room for.
#![allow(unsafe_code)]

use super::udp::{Interface, set};
use crate::error::{Error, Result};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

/// The longest datagram that is taken; what is longer is cut off.
pub const LONGEST: usize = 10_240;
/// Datagrams for one call.
const AT_ONCE: usize = 32;
/// Room for four numbers, an address and their headers.
const CONTROL: usize = 160;
/// All hosts of a link, a group that is never filtered.
pub const ALL_HOSTS: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(224, 0, 0, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));

/// A datagram, and what the kernel says of it.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'b> {
    /// Its bytes.
    pub bytes: &'b [u8],
    /// Who sent it.
    pub from: SocketAddr,
    /// The number of the interface by which it came; 0 when the kernel does not say.
    pub interface: u32,
    /// How many routers it may still pass, and one more; 0 when the kernel does not say.
    pub ttl: u8,
    /// How many datagrams the socket had no room for until this one came.
    pub dropped: u32,
}

/// A socket, and memory that datagrams are taken into.
pub struct Ear {
    socket: UdpSocket,
    bytes: Vec<u8>,
    came: Vec<(usize, SocketAddr, Said)>,
}

/// What the kernel says beside a datagram.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    interface: u32,
    ttl: u8,
    dropped: Option<u32>,
}

/// Control messages are read as structures.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

impl Ear {
    /// Listens with a socket.
    #[must_use]
    pub fn new(socket: UdpSocket) -> Self {
        // What a kernel cannot say stays 0.
        for (level, option) in [
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
            (libc::SOL_IP, libc::IP_RECVTTL),
            (libc::SOL_IP, libc::IP_PKTINFO),
            (libc::SOL_IPV6, libc::IPV6_RECVHOPLIMIT),
            (libc::SOL_IPV6, libc::IPV6_RECVPKTINFO),
        ] {
            set(&socket, level, option, 1);
        }
        Self { socket, bytes: vec![0; LONGEST * AT_ONCE], came: Vec::with_capacity(AT_ONCE) }
    }

    /// Listens to a group on an interface, and on others; those that do not take it are left out.
    ///
    /// # Errors
    /// As [`Interface::join`].
    pub fn of_group(interface: &Interface, others: &[Interface], group: SocketAddr) -> Result<Self> {
        let socket = interface.join(group)?;
        set(&socket, libc::SOL_IPV6, libc::IPV6_MULTICAST_ALL, 0);
        others.iter().for_each(|other| _ = join(&socket, group.ip(), other.index()));
        Ok(Self::new(socket))
    }

    /// Listens to what is sent to all hosts of the link, by multicast or broadcast, at a port.
    ///
    /// # Errors
    /// `Io`.
    pub fn of_all(interface: &Interface, v6: bool, port: u16) -> Result<Self> {
        let opened = || {
            let (domain, any, group): (_, IpAddr, IpAddr) = match v6 {
                false => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into(), ALL_HOSTS.0.into()),
                true => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into(), ALL_HOSTS.1.into()),
            };
            let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_reuse_address(true)?;
            match v6 {
                false => socket.set_multicast_all_v4(false)?,
                true => socket.set_only_v6(true)?,
            }
            let _ = socket.set_broadcast(true);
            socket.bind(&SocketAddr::new(any, port).into())?;
            socket.set_nonblocking(true)?;
            let socket = UdpSocket::from(socket);
            set(&socket, libc::SOL_IPV6, libc::IPV6_MULTICAST_ALL, 0);
            join(&socket, group, interface.index())?;
            Ok(Self::new(socket))
        };
        opened().map_err(|e: io::Error| Error::io("listen on", format!("{} at port {port}", interface.name()), e))
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Takes what there is, without waiting; whether that was anything.
    ///
    /// # Errors
    /// Of the system.
    pub fn take(&mut self) -> io::Result<bool> {
        self.came.clear();
        let mut control = [Control([0; CONTROL]); AT_ONCE];
        let parts = self.bytes.chunks_exact_mut(LONGEST);
        let mut parts: Vec<libc::iovec> =
            parts.map(|p| libc::iovec { iov_base: p.as_mut_ptr().cast(), iov_len: p.len() }).collect();
        let mut names: [SockAddrStorage; AT_ONCE] = std::array::from_fn(|_| SockAddrStorage::zeroed());
        // SAFETY: all of these structures are numbers and pointers, for which zeros are a value.
        let mut messages: [libc::mmsghdr; AT_ONCE] = unsafe { std::mem::zeroed() };
        for (((message, part), control), name) in messages.iter_mut().zip(&mut parts).zip(&mut control).zip(&mut names)
        {
            message.msg_hdr.msg_name = (&raw mut *name).cast();
            message.msg_hdr.msg_namelen = name.size_of();
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = CONTROL as _;
        }
        let fd = self.socket.as_fd().as_raw_fd();
        // SAFETY: each message points to a part of `bytes`, of `control` and of `names` of its own, with its length, and all of them
        // live on until the call has returned.
        let came = unsafe {
            libc::recvmmsg(fd, messages.as_mut_ptr(), AT_ONCE as _, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
        };
        if came < 0 {
            let e = io::Error::last_os_error();
            // Somebody who has gone is nothing of ours.
            let nothing = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted, io::ErrorKind::ConnectionRefused];
            return if nothing.contains(&e.kind()) { Ok(false) } else { Err(e) };
        }
        for (message, name) in messages.iter().zip(names).take(came as usize) {
            // SAFETY: the kernel has put an address there, and its length.
            let name = unsafe { SockAddr::new(name, message.msg_hdr.msg_namelen) };
            let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
            self.came.push((message.msg_len as usize, name.as_socket().unwrap_or(nobody), said(&message.msg_hdr)));
        }
        Ok(came > 0)
    }

    /// What was taken, one by one.
    pub fn each(&self) -> impl Iterator<Item = Heard<'_>> {
        let mut dropped = 0;
        self.bytes.chunks_exact(LONGEST).zip(&self.came).map(move |(bytes, (length, from, said))| {
            dropped = said.dropped.unwrap_or(dropped);
            // That of a link in IPv6 keeps the number of its link.
            let from = match from.ip().to_canonical() {
                IpAddr::V4(ip) => SocketAddr::new(ip.into(), from.port()),
                IpAddr::V6(_) => *from,
            };
            let bytes = &bytes[..(*length).min(LONGEST)];
            Heard { bytes, from, interface: said.interface, ttl: said.ttl, dropped }
        })
    }
}

/// A socket that sends to all hosts of an interface by broadcast (IPv4).
///
/// # Errors
/// `Io`.
pub fn shout(interface: &Interface) -> Result<UdpSocket> {
    let opened = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_broadcast(true)?;
        // Without it the address of all would go by the default route.
        socket.bind_device(Some(interface.name().as_bytes()))?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    opened().map_err(|e: io::Error| Error::io("open a socket on", interface.name(), e))
}

/// Forbids that what a socket sends is cut into fragments.
pub fn never_fragment(socket: &UdpSocket) {
    set(socket, libc::SOL_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO);
    set(socket, libc::SOL_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO);
}

fn join(socket: &UdpSocket, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(ip) => {
            Ok(sockopt::set_ip_add_membership_with_ifindex(socket, &ip, &Ipv4Addr::UNSPECIFIED, interface)?)
        }
        IpAddr::V6(ip) => socket.join_multicast_v6(&ip, interface),
    }
}

fn said(header: &libc::msghdr) -> Said {
    let mut out = Said::default();
    // SAFETY: the header is as the kernel left it: its control messages lie in memory that lives, within the length that stands there.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: as above; what follows a header is what its kind says, which need not be aligned.
        unsafe {
            let data = libc::CMSG_DATA(at);
            match ((*at).cmsg_level, (*at).cmsg_type) {
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => out.dropped = Some(data.cast::<u32>().read_unaligned()),
                (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_HOPLIMIT) => {
                    out.ttl = data.cast::<i32>().read_unaligned() as u8;
                }
                (libc::SOL_IP, libc::IP_PKTINFO) => {
                    out.interface = data.cast::<libc::in_pktinfo>().read_unaligned().ipi_ifindex as u32;
                }
                (libc::SOL_IPV6, libc::IPV6_PKTINFO) => {
                    out.interface = data.cast::<libc::in6_pktinfo>().read_unaligned().ipi6_ifindex as u32;
                }
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

    #[test]
    fn more_than_bytes_is_heard() {
        let lo = Interface::named("lo").unwrap();
        let mut ear = Ear::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        assert!(!ear.take().unwrap());
        let from = lo.open(false, 1).unwrap();
        from.set_ttl(9).unwrap();
        never_fragment(&from);
        from.send_to(b"hello", ear.socket().local_addr().unwrap()).unwrap();
        from.send_to(&vec![1; LONGEST + 5], ear.socket().local_addr().unwrap()).unwrap();
        assert!(ear.take().unwrap());
        let heard: Vec<_> = ear.each().collect();
        assert_eq!((heard[0].bytes, heard[1].bytes.len()), (&b"hello"[..], LONGEST));
        assert_eq!((heard[0].ttl, heard[0].interface, heard[0].dropped), (9, lo.index(), 0));
        assert_eq!(heard[0].from.port(), from.local_addr().unwrap().port());
    }

    #[test]
    fn all_hosts_hear() {
        let lo = Interface::named("lo").unwrap();
        for v6 in [false, true] {
            let Ok(mut ear) = Ear::of_all(&lo, v6, 0) else { continue };
            let to: IpAddr = if v6 { ALL_HOSTS.1.into() } else { ALL_HOSTS.0.into() };
            let Ok(from) = lo.open(v6, 1) else { continue };
            if from.send_to(b"x", (to, ear.socket().local_addr().unwrap().port())).is_ok() {
                assert!(ear.take().unwrap(), "{to}");
                assert_eq!(ear.each().next().unwrap().ttl, 1);
            }
        }
    }
}
