//! What a card shows: questions for members of groups, and what a sender sends. Packets begin with their header of IP.

use crate::multicast::wire::Kind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// Somebody asks who is a member of any group: who, and the version of IGMP or MLD.
    Query(IpAddr, u8),
    /// What a sender sends to see what arrives, and to whom. What receivers say goes to groups, too.
    Probe(SocketAddr),
}

/// Reads a packet; `None` when it is nothing of these.
pub(super) fn read(packet: &[u8]) -> Option<Packet> {
    match packet.first()? >> 4 {
        4 => four(packet),
        6 => six(packet),
        _ => None,
    }
}

fn four(packet: &[u8]) -> Option<Packet> {
    let header = usize::from(packet[0] & 15) * 4;
    let address = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?));
    let total = usize::from(u16::from_be_bytes(*packet.get(2..)?.first_chunk()?));
    let body = packet.get(header..packet.len().min(total))?;
    match packet.get(9)? {
        2 if body.len() >= 8 && body[0] == 0x11 && body[4..8] == [0; 4] => {
            let version = match (body.len(), body[1]) {
                (8, 0) => 1,
                (8, _) => 2,
                _ => 3,
            };
            Some(Packet::Query(address(12)?.into(), version))
        }
        17 => probe(address(16)?.into(), body),
        _ => None,
    }
}

fn six(packet: &[u8]) -> Option<Packet> {
    let address = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?));
    match packet.get(6)? {
        17 => probe(address(24)?.into(), packet.get(40..)?),
        // Behind the option for routers, 8 bytes.
        0 if *packet.get(40)? == 58 && *packet.get(48)? == 130 && packet.get(56..72)? == [0; 16] => {
            Some(Packet::Query(address(8)?.into(), if packet.len() > 72 { 2 } else { 1 }))
        }
        _ => None,
    }
}

/// A datagram to an address, with its header of UDP, if it is one of a sender.
fn probe(to: IpAddr, datagram: &[u8]) -> Option<Packet> {
    let port = u16::from_be_bytes(*datagram.get(2..)?.first_chunk()?);
    (Kind::of(datagram.get(8..)?) == Some(Kind::Probe)).then(|| Packet::Probe(SocketAddr::new(to, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn igmp(body: &[u8]) -> Vec<u8> {
        // With the option for routers: a header of 24 bytes.
        let mut out =
            vec![0x46, 0xc0, 0, 24 + body.len() as u8, 0, 0, 0x40, 0, 1, 2, 0, 0, 10, 1, 0, 254, 224, 0, 0, 1];
        out.extend_from_slice(&[0x94, 4, 0, 0]);
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn questions_have_a_version() {
        let from = "10.1.0.254".parse().unwrap();
        for (body, version) in [
            (&[0x11, 0, 0, 0, 0, 0, 0, 0][..], Some(1)),
            (&[0x11, 100, 0, 0, 0, 0, 0, 0], Some(2)),
            (&[0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0], Some(3)),
            // Of one group; a report; cut off.
            (&[0x11, 100, 0, 0, 239, 1, 1, 1], None),
            (&[0x16, 0, 0, 0, 0, 0, 0, 0], None),
            (&[0x11, 0, 0, 0], None),
        ] {
            assert_eq!(read(&igmp(body)), version.map(|v| Packet::Query(from, v)), "{body:?}");
        }
        // The end of a short frame is none of the packet.
        let mut padded = igmp(&[0x11, 100, 0, 0, 0, 0, 0, 0]);
        padded.resize(46, 0);
        assert_eq!(read(&padded), Some(Packet::Query(from, 2)));
    }

    #[test]
    fn what_a_sender_sends_has_a_destination() {
        let mut four = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 1, 17, 0, 0, 10, 1, 0, 1, 239, 192, 67, 86];
        four.extend_from_slice(&[0x9c, 0x40, 0x1e, 0x6a, 0, 20, 0, 0, 0x19, 2, 3, 4]);
        four.resize(40, 0);
        assert_eq!(read(&four), Some(Packet::Probe("239.192.67.86:7786".parse().unwrap())));
        // What a receiver says, and what is anything else.
        for other in [0x1a, 0x12, 0] {
            four[28] = other;
            assert_eq!(read(&four), None);
        }
        let mut six = vec![0x60, 0, 0, 0, 0, 20, 17, 1];
        six.extend_from_slice(&"fe80::1".parse::<Ipv6Addr>().unwrap().octets());
        six.extend_from_slice(&"ff15::4356:4d".parse::<Ipv6Addr>().unwrap().octets());
        six.extend_from_slice(&[0x9c, 0x40, 0x1e, 0x6a, 0, 20, 0, 0, 0x19]);
        assert_eq!(read(&six), Some(Packet::Probe("[ff15::4356:4d]:7786".parse().unwrap())));
        let mut mld = vec![0x60, 0, 0, 0, 0, 36, 0, 1];
        mld.extend_from_slice(&"fe80::1".parse::<Ipv6Addr>().unwrap().octets());
        mld.extend_from_slice(&"ff02::1".parse::<Ipv6Addr>().unwrap().octets());
        mld.extend_from_slice(&[58, 0, 5, 2, 0, 0, 0, 0, 130]);
        mld.resize(76, 0);
        assert_eq!(read(&mld), Some(Packet::Query("fe80::1".parse().unwrap(), 2)));
    }

    proptest! {
        /// Nothing that a card shows makes it panic.
        #[test]
        fn anything_is_read_or_not(version in prop::sample::select(vec![0x45u8, 0x46, 0x4f, 0x40, 0x60, 0]), rest: Vec<u8>) {
            let _ = read(&[&[version][..], &rest].concat());
        }
    }
}
