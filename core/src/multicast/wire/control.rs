//! Messages as datagrams of control. See `multicast-protocol.md` §3.2.

use super::message::{Admit, Announce, Deficit, Detach, Join, Message, Need, Report, Sync};
use super::{Keys, Kind, Mode, Probe, Session, Told};
use crate::image::FormatError;
use crate::image::leb::{Reader, put};
use std::net::{IpAddr, Ipv6Addr};

/// Most bytes of a datagram of control. Part of the protocol.
pub const MESSAGE_LIMIT: usize = 1400;
/// Before the fields of a message.
const HEADER: usize = 12;
/// After them, at most.
const CHECK: usize = 16;
/// Most bytes of a name or reason: a byte says how many.
const TEXT: usize = 255;

/// Flags, the first one in the lowest bit.
fn bits<const N: usize>(flags: [bool; N]) -> u8 {
    flags.iter().rev().fold(0, |b, f| b << 1 | u8::from(*f))
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let end = (0..=text.len().min(TEXT)).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
    out.push(end as u8);
    out.extend_from_slice(&text.as_bytes()[..end]);
}

pub(super) fn text(r: &mut Reader<'_>) -> Result<String, FormatError> {
    let length = r.byte()?;
    match std::str::from_utf8(r.take(usize::from(length))?) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => r.bad("a name that is no text"),
    }
}

pub(super) fn u16_of(r: &mut Reader<'_>) -> Result<u16, FormatError> {
    Ok(u16::from_le_bytes(r.array()?))
}

pub(super) fn leb_u32(r: &mut Reader<'_>) -> Result<u32, FormatError> {
    Ok(r.leb_max(u64::from(u32::MAX), "number of a message")? as u32)
}

impl Message {
    /// The datagram. Runs that have no room are left out.
    #[must_use]
    pub fn encode(&self, keys: &Keys) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&[self.kind().byte(), self.flags(), keys.mode() as u8, 0]);
        out.extend_from_slice(&keys.session().0.to_le_bytes());
        self.put_fields(keys.mode(), &mut out);
        keys.close(&mut out);
        out
    }

    fn flags(&self) -> u8 {
        match self {
            Self::Announce(m) => bits([m.over, m.failed]),
            Self::Sync(m) => bits([m.first_pass_over, m.over]),
            Self::Join(m) => bits([m.has_mirrors, m.has_base]),
            Self::Admit(m) => bits([m.refused, m.parted]),
            Self::Report(m) => bits([m.done, m.disk_bound, m.leaves, m.failed]),
            Self::Need(_) | Self::Detach(_) => 0,
            Self::Probe(m) => bits([m.over, m.heard]),
            Self::Told(m) => bits([m.over, m.querier, m.looks, m.near, m.forgotten]),
        }
    }

    fn put_fields(&self, mode: Mode, out: &mut Vec<u8>) {
        let words =
            |out: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
        match self {
            Self::Announce(m) => {
                out.extend_from_slice(&m.time.to_le_bytes());
                out.extend_from_slice(&m.image.0);
                out.extend_from_slice(&m.head.to_le_bytes());
                out.extend_from_slice(&m.body.to_le_bytes());
                let address = match m.data.0 {
                    IpAddr::V4(a) => a.to_ipv6_mapped(),
                    IpAddr::V6(a) => a,
                };
                for n in [m.symbol, m.port, m.data.1] {
                    out.extend_from_slice(&n.to_le_bytes());
                }
                out.extend_from_slice(&address.octets());
                words(out, &[m.expected]);
                put_text(out, &m.name);
            }
            Self::Sync(m) => words(out, &[m.seq, m.position, m.interval, m.receivers, m.rate]),
            Self::Join(m) => {
                out.extend_from_slice(&m.node);
                out.extend_from_slice(&m.datagram.to_le_bytes());
                out.extend_from_slice(&[0; 2]);
                put_text(out, &m.name);
            }
            Self::Admit(m) => {
                out.extend_from_slice(&m.node);
                words(out, &[m.slot, m.interval, m.need]);
                put_text(out, &m.reason);
            }
            Self::Report(m) => {
                words(out, &[m.slot, m.seq, m.received, m.whole, m.dropped, m.backlog, m.applied]);
                fill(out, &m.lacks, |out, d| {
                    put(out, u64::from(d.gap));
                    put(out, u64::from(d.run));
                    put(out, u64::from(d.lacks));
                });
            }
            Self::Need(m) => {
                words(out, &[m.slot, m.part, m.parts]);
                fill(out, &m.blocks, |out, (gap, run)| {
                    put(out, u64::from(*gap));
                    put(out, u64::from(*run));
                });
            }
            Self::Detach(m) => {
                words(out, &[m.slot]);
                put_text(out, &m.reason);
            }
            Self::Probe(m) => m.put(out, if mode.is_keyed() { CHECK } else { 4 }),
            Self::Told(m) => m.put(out),
        }
    }

    /// What a datagram of control says of itself, before its check is looked at: its mode and session.
    ///
    /// # Errors
    /// When it is none.
    pub fn envelope(datagram: &[u8]) -> Result<(Mode, Session), FormatError> {
        let mut r = Reader::new("datagram", datagram);
        match Kind::of(datagram) {
            None | Some(Kind::Data) => return r.bad("it is none of control"),
            Some(_) => r.take(2)?,
        };
        let mode = Mode::from_byte(r.byte()?)?;
        r.byte()?;
        Ok((mode, Session(r.u64()?)))
    }

    /// Reads a datagram of control; `None` when it is of another session or its check does not fit.
    ///
    /// # Errors
    /// Of the format: whoever made it does not keep to the protocol.
    pub fn decode(datagram: &[u8], keys: &Keys) -> Result<Option<Self>, FormatError> {
        let is_long = datagram.len() > MESSAGE_LIMIT && Kind::of(datagram) != Some(Kind::Probe);
        if is_long || Self::envelope(datagram)? != (keys.mode(), keys.session()) {
            return Ok(None);
        }
        let Some(rest) = keys.open(datagram) else { return Ok(None) };
        let Some((head, fields)) = rest.split_at_checked(HEADER) else { return Ok(None) };
        let mut r = Reader::new("message", fields);
        let flag = |n: u8| head[1] >> n & 1 > 0;
        let Some(kind) = Kind::of(datagram) else { return Ok(None) };
        let message = match kind {
            Kind::Data => return Ok(None),
            Kind::Announce => {
                let (time, image, head, body) = (r.u64()?, r.hash()?, r.u64()?, r.u64()?);
                let (symbol, port, data_port) = (u16_of(&mut r)?, u16_of(&mut r)?, u16_of(&mut r)?);
                let data = (Ipv6Addr::from(r.array::<16>()?).to_canonical(), data_port);
                let (expected, name) = (r.u32()?, text(&mut r)?);
                let (over, failed) = (flag(0), flag(1));
                Self::Announce(Announce { over, failed, time, image, head, body, symbol, port, data, expected, name })
            }
            Kind::Sync => Self::Sync(Sync {
                first_pass_over: flag(0),
                over: flag(1),
                seq: r.u32()?,
                position: r.u32()?,
                interval: r.u32()?,
                receivers: r.u32()?,
                rate: r.u32()?,
            }),
            Kind::Join => {
                let (node, datagram, _) = (r.array()?, u16_of(&mut r)?, r.take(2)?);
                let (has_mirrors, has_base) = (flag(0), flag(1));
                Self::Join(Join { has_mirrors, has_base, node, datagram, name: text(&mut r)? })
            }
            Kind::Admit => {
                let (node, slot, interval, need) = (r.array()?, r.u32()?, r.u32()?, r.u32()?);
                Self::Admit(Admit {
                    refused: flag(0),
                    parted: flag(1),
                    node,
                    slot,
                    interval,
                    need,
                    reason: text(&mut r)?,
                })
            }
            Kind::Report => Self::Report(Report {
                done: flag(0),
                disk_bound: flag(1),
                leaves: flag(2),
                failed: flag(3),
                slot: r.u32()?,
                seq: r.u32()?,
                received: r.u32()?,
                whole: r.u32()?,
                dropped: r.u32()?,
                backlog: r.u32()?,
                applied: r.u32()?,
                lacks: rest_of(&mut r, |r| {
                    let (gap, run, lacks) =
                        (leb_u32(r)?, leb_u32(r)?, r.leb_max(u64::from(u16::MAX), "deficit")? as u16);
                    if run == 0 || lacks == 0 { r.bad("a run of nothing") } else { Ok(Deficit { gap, run, lacks }) }
                })?,
            }),
            Kind::Need => Self::Need(Need {
                slot: r.u32()?,
                part: r.u32()?,
                parts: r.u32()?,
                blocks: rest_of(&mut r, |r| {
                    let (gap, run) = (leb_u32(r)?, leb_u32(r)?);
                    if run == 0 { r.bad("a run of nothing") } else { Ok((gap, run)) }
                })?,
            }),
            Kind::Detach => Self::Detach(Detach { slot: r.u32()?, reason: text(&mut r)? }),
            Kind::Probe => Self::Probe(Probe::read(head[1], &mut r)?),
            Kind::Told => Self::Told(Told::read(head[1], &mut r)?),
        };
        Ok(Some(message))
    }
}

/// Puts as many as there is room for.
fn fill<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    for item in items {
        let before = out.len();
        put(out, item);
        if out.len() + CHECK > MESSAGE_LIMIT {
            out.truncate(before);
            return;
        }
    }
}

/// What is left of a message.
fn rest_of<T>(
    r: &mut Reader<'_>,
    mut one: impl FnMut(&mut Reader<'_>) -> Result<T, FormatError>,
) -> Result<Vec<T>, FormatError> {
    let mut all = Vec::new();
    while r.left() > 0 {
        all.push(one(r)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::{Count, SECRET};
    use super::*;
    use crate::image::Hash;
    use crate::image::hash::hex;
    use proptest::prelude::*;

    const SESSION: Session = Session(0x1122_3344_5566_7788);

    fn keys(mode: Mode) -> Keys {
        Keys::new(mode, Some(&[7; SECRET]), SESSION).unwrap()
    }

    fn messages() -> Vec<Message> {
        vec![
            Message::Announce(Announce {
                over: false,
                failed: true,
                time: 1_772_366_400_123,
                image: Hash::of(b"image"),
                head: 70_000,
                body: 3_000_000_000,
                symbol: 1456,
                port: 40_001,
                data: ("239.192.67.99".parse().unwrap(), 7787),
                expected: 16,
                name: "rocky9".into(),
            }),
            Message::Sync(Sync {
                first_pass_over: true,
                over: false,
                seq: 77,
                position: 5,
                interval: 20_000,
                receivers: 16,
                rate: 940_000,
            }),
            Message::Join(Join {
                has_mirrors: true,
                has_base: true,
                node: [9; 16],
                datagram: 1472,
                name: "gpu014".into(),
            }),
            Message::Admit(Admit {
                refused: true,
                parted: false,
                node: [9; 16],
                slot: 3,
                interval: 20_000,
                need: 1,
                reason: "full".into(),
            }),
            Message::Report(Report {
                done: false,
                disk_bound: true,
                slot: 3,
                seq: 70,
                received: 66,
                whole: 1,
                dropped: 2,
                backlog: 1024,
                applied: 90_000,
                lacks: vec![Deficit { gap: 1, run: 300, lacks: 1024 }, Deficit { gap: 0, run: 1, lacks: 4 }],
                ..Report::default()
            }),
            Message::Need(Need { slot: 3, part: 0, parts: 1, blocks: vec![(0, 4), (1000, 1)] }),
            Message::Detach(Detach { slot: 3, reason: "its disk is slow".into() }),
            Message::Probe(Probe {
                over: false,
                heard: true,
                seq: 2,
                of: 20,
                phase: 5,
                phases: 11,
                reached: 5,
                ttl: 1,
                rate: 100_000,
                length: 80,
                port: 40_001,
                mtu: 1500,
                receivers: 4,
                group: [6; 16],
            }),
            Message::Told(Told {
                over: false,
                querier: true,
                looks: false,
                near: true,
                forgotten: false,
                mtu: 9000,
                port: 40_002,
                seconds: 12,
                reverse: 1,
                card: [20, 300],
                group: [6; 16],
                name: "gpu014".into(),
                elsewhere: "eth1".into(),
                counts: vec![Count {
                    phase: 5,
                    received: 19,
                    duplicates: 1,
                    reordered: 2,
                    ttl: 1,
                    elsewhere: 20,
                    dropped: 0,
                    longest: 1472,
                    micros: 380_000,
                }],
            }),
        ]
    }

    #[test]
    fn byte_for_byte() {
        let line = |m: &Message| format!("{:?} {}\n", m.kind(), hex(&m.encode(&keys(Mode::Crc))));
        let made: String = messages().iter().map(line).collect();
        assert_eq!(made, include_str!("../../../docs/vectors/multicast-control.txt"));
    }

    #[test]
    fn what_was_made_is_read_and_nothing_else() {
        for mode in [Mode::Crc, Mode::Tag, Mode::Aead] {
            let mine = keys(mode);
            for message in messages() {
                let datagram = message.encode(&mine);
                assert_eq!(Message::envelope(&datagram).unwrap(), (mode, SESSION));
                assert_eq!(Message::decode(&datagram, &mine).unwrap(), Some(message));
                for bit in 0..datagram.len() * 8 {
                    let mut other = datagram.clone();
                    other[bit / 8] ^= 1 << (bit % 8);
                    assert!(!matches!(Message::decode(&other, &mine), Ok(Some(_))), "{mode} {bit}");
                }
                for cut in 0..datagram.len() {
                    assert!(!matches!(Message::decode(&datagram[..cut], &mine), Ok(Some(_))));
                }
                let stranger = Keys::new(mode, Some(&[8; SECRET]), SESSION).unwrap();
                assert_eq!(Message::decode(&datagram, &stranger).unwrap().is_some(), mode == Mode::Crc);
                let other = Keys::new(mode, Some(&[7; SECRET]), Session(1)).unwrap();
                assert_eq!(Message::decode(&datagram, &other).unwrap(), None);
            }
        }
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let lacks = vec![Deficit { gap: 1000, run: 1000, lacks: 1024 }; 1000];
        let datagram = Message::Report(Report { lacks, ..Report::default() }).encode(&keys(Mode::Tag));
        assert!(datagram.len() <= MESSAGE_LIMIT && datagram.len() > MESSAGE_LIMIT - 8);
        let Some(Message::Report(r)) = Message::decode(&datagram, &keys(Mode::Tag)).unwrap() else { panic!() };
        assert_eq!(r.lacks.len(), (MESSAGE_LIMIT - CHECK - 40) / 6);
        let long = Message::Detach(Detach { slot: 1, reason: "ä".repeat(200) }).encode(&keys(Mode::Crc));
        let Some(Message::Detach(d)) = Message::decode(&long, &keys(Mode::Crc)).unwrap() else { panic!() };
        assert_eq!(d.reason, "ä".repeat(127));
    }

    #[test]
    fn a_probe_has_the_length_that_it_says() {
        for (mode, length) in [(Mode::Crc, 9000), (Mode::Tag, 9000), (Mode::Crc, 60), (Mode::Tag, 70)] {
            let probe = Message::Probe(Probe { length, ..Probe::default() });
            let datagram = probe.encode(&keys(mode));
            assert_eq!(datagram.len(), usize::from(length));
            assert_eq!(Message::decode(&datagram, &keys(mode)).unwrap(), Some(probe));
        }
        let told = Told { counts: vec![Count { micros: u32::MAX, ..Count::default() }; 100], ..Told::default() };
        let datagram = Message::Told(told).encode(&keys(Mode::Tag));
        assert!(datagram.len() <= MESSAGE_LIMIT);
    }

    proptest! {
        /// Nothing that comes makes it panic, and what passes its check and is read is written as it was.
        #[test]
        fn anything_is_read_or_refused(kind in 2u8..11, flags: u8, fields: Vec<u8>) {
            let keys = keys(Mode::Crc);
            let mut datagram = vec![0x10 | kind, flags, 0, 0];
            datagram.extend_from_slice(&SESSION.0.to_le_bytes());
            datagram.extend_from_slice(&fields);
            keys.close(&mut datagram);
            if let Ok(Some(message)) = Message::decode(&datagram, &keys) {
                let again = message.encode(&keys);
                prop_assert_eq!(Message::decode(&again, &keys).unwrap(), Some(message));
            }
        }
    }
}
