//! Sockets for datagrams to groups: bound to one interface, with much room, several datagrams for one call.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use rustix::net::{netdevice, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

/// Bytes that wait to be read, and to be sent.
const ROOM: (usize, usize) = (16 << 20, 4 << 20);

/// An interface of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    name: String,
    index: u32,
}

impl Interface {
    /// The interface of a name.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn named(name: &str) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|e| Error::io("open", "a socket", e))?;
        let index = netdevice::name_to_index(&socket, name).map_err(|_| {
            Error::not_found(format!("there is no network interface {name}")).hint("ip link shows them")
        })?;
        Ok(Self { name: name.to_owned(), index })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Bytes of the largest packet that it takes.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn mtu(&self) -> Result<usize> {
        super::link::mtu(&self.name).map_err(|e| Error::io("ask for the MTU of", &self.name, e))
    }

    /// A socket that gets what is sent to a group and port on this interface, and nothing else.
    ///
    /// # Errors
    /// `Invalid` when it is no group; `Io`.
    pub fn join(&self, group: SocketAddr) -> Result<UdpSocket> {
        check_group(group)?;
        let joined = || {
            let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
            // Several sessions on one node share the control group.
            socket.set_reuse_address(true)?;
            let bound = match group {
                SocketAddr::V4(_) => group,
                SocketAddr::V6(g) => SocketAddrV6::new(*g.ip(), g.port(), 0, self.index).into(),
            };
            socket.bind(&bound.into())?;
            room(&socket);
            match group.ip() {
                IpAddr::V4(ip) => {
                    // Otherwise it would get what other sockets of this machine have joined.
                    socket.set_multicast_all_v4(false)?;
                    sockopt::set_ip_add_membership_with_ifindex(&socket, &ip, &Ipv4Addr::UNSPECIFIED, self.index)?;
                }
                IpAddr::V6(ip) => socket.join_multicast_v6(&ip, self.index)?,
            }
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        joined().map_err(|e: io::Error| Error::io("join", format!("{} on {}", group, self.name), e))
    }

    /// A socket that sends to groups over this interface, and gets answers at a port of its own.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(&self, v6: bool, ttl: u32) -> Result<UdpSocket> {
        let opened = || {
            let (domain, any): (_, IpAddr) = match v6 {
                false => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
                true => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
            };
            let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
            room(&socket);
            if v6 {
                socket.set_multicast_if_v6(self.index)?;
                socket.set_multicast_hops_v6(ttl)?;
            } else {
                let any = Ipv4Addr::UNSPECIFIED;
                sockopt::set_ip_multicast_if_with_ifindex(&socket, &any, &any, self.index)?;
                socket.set_multicast_ttl_v4(ttl)?;
            }
            socket.bind(&SocketAddr::new(any, 0).into())?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        opened().map_err(|e: io::Error| Error::io("open a socket on", &self.name, e))
    }
}

/// Refuses what is no group: nobody can join it, and who sends there would wait for ever.
///
/// # Errors
/// `Invalid`.
pub fn check_group(group: SocketAddr) -> Result<()> {
    if group.ip().is_multicast() {
        return Ok(());
    }
    Err(Error::invalid(format!("{} is no multicast group", group.ip()))
        .hint("groups of a site are 239.0.0.0/8 and ff15::/16"))
}

/// As much room as there may be: what the system allows, and more for root.
fn room(socket: &Socket) {
    if sockopt::set_socket_recv_buffer_size_force(socket, ROOM.0).is_err() {
        let _ = socket.set_recv_buffer_size(ROOM.0);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, ROOM.1).is_err() {
        let _ = socket.set_send_buffer_size(ROOM.1);
    }
}

/// Lets one call send several datagrams of so many bytes, one after the other in memory (UDP GSO). Whether the kernel can.
pub fn segment(socket: &UdpSocket, bytes: u16) -> bool {
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, i32::from(bytes))
}

/// Sets a number; whether the kernel took it. Options of the other family it does not take.
pub(super) fn set(socket: &UdpSocket, level: i32, option: i32, value: i32) -> bool {
    // SAFETY: the descriptor is open while it is borrowed, and the kernel reads the four bytes of `value`, which lives on.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    done == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn an_interface_has_a_name_and_a_group_is_one() {
        let lo = Interface::named("lo").unwrap();
        assert!(lo.mtu().unwrap() >= 1280);
        assert_eq!(Interface::named("nothing0").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(lo.join("10.0.0.1:7786".parse().unwrap()).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn what_is_sent_at_once_comes_one_by_one() {
        let lo = Interface::named("lo").unwrap();
        let (from, to) = (lo.open(false, 1).unwrap(), lo.open(false, 1).unwrap());
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), to.local_addr().unwrap().port());
        if !segment(&from, 100) {
            return;
        }
        from.send_to(&[7; 250], address).unwrap();
        to.set_nonblocking(false).unwrap();
        let mut buf = [0; 1000];
        let sizes: Vec<usize> = (0..3).map(|_| to.recv(&mut buf).unwrap()).collect();
        assert_eq!(sizes, [100, 100, 50]);
    }
}
