//! What arrives at an interface, before a firewall of this host has seen it. It needs root.

use super::udp::Interface;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use std::io;
use std::os::fd::AsFd;

/// Longest packet of those that are let through.
const LONGEST: usize = 256;

/// Packets of an interface: questions about groups, and short datagrams for a port or the next one. They begin with their header of IP.
pub struct Tap {
    socket: Socket,
    bytes: [u8; LONGEST],
}

impl Tap {
    /// Listens.
    ///
    /// # Errors
    /// Of the system: who is not root may not.
    #[allow(unsafe_code)]
    pub fn open(interface: &Interface, v6: bool, port: u16) -> io::Result<Self> {
        let protocol = if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP } as u16;
        // With protocol 0 nothing comes before it is bound, and by then there is the filter.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        if v6 { socket.attach_filter(&six(port)) } else { socket.attach_filter(&four(port)) }?;
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: an address of packets is shorter than any address may be, and its fields are numbers.
        let address = unsafe {
            let to = storage.view_as::<libc::sockaddr_ll>();
            to.sll_family = libc::AF_PACKET as u16;
            to.sll_protocol = protocol.to_be();
            to.sll_ifindex = i32::try_from(interface.index()).unwrap_or(0);
            SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t)
        };
        socket.bind(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, bytes: [0; LONGEST] })
    }

    /// The next packet, without waiting.
    pub fn packet(&mut self) -> Option<&[u8]> {
        let length = rustix::io::read(self.socket.as_fd(), &mut self.bytes).ok()?;
        Some(&self.bytes[..length.min(LONGEST)])
    }
}

/// An instruction of the kernel's packet filter: what, where to when it holds and when not, a number.
fn op(code: u32, holds: u8, not: u8, k: u32) -> SockFilter {
    SockFilter::new(code as u16, holds, not, k)
}

const BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const HALF_AFTER: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
const HEADER: u32 = libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH;
const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const ABOVE: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const HAS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// IGMP, and UDP that is short, no later fragment, and for the port or the next one.
fn four(port: u16) -> [SockFilter; 13] {
    [
        op(BYTE, 0, 0, 9),
        op(IS, 9, 0, 2),
        op(IS, 0, 9, 17),
        op(HALF, 0, 0, 6),
        op(HAS, 7, 0, 0x1fff),
        op(HALF, 0, 0, 2),
        op(ABOVE, 5, 0, LONGEST as u32),
        op(HEADER, 0, 0, 0),
        op(HALF_AFTER, 0, 0, 2),
        op(IS, 1, 0, port.into()),
        op(IS, 0, 1, port.wrapping_add(1).into()),
        op(RETURN, 0, 0, LONGEST as u32),
        op(RETURN, 0, 0, 0),
    ]
}

/// Questions of MLD, behind their option, and UDP that is short, and for the port or the next one.
fn six(port: u16) -> [SockFilter; 14] {
    [
        op(BYTE, 0, 0, 6),
        op(IS, 0, 4, 0),
        op(BYTE, 0, 0, 40),
        op(IS, 0, 9, 58),
        op(BYTE, 0, 0, 48),
        op(IS, 6, 7, 130),
        op(IS, 0, 6, 17),
        op(HALF, 0, 0, 4),
        op(ABOVE, 4, 0, LONGEST as u32 - 40),
        op(HALF, 0, 0, 42),
        op(IS, 1, 0, port.into()),
        op(IS, 0, 1, port.wrapping_add(1).into()),
        op(RETURN, 0, 0, LONGEST as u32),
        op(RETURN, 0, 0, 0),
    ]
}
