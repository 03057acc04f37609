//! Datagrams of control. See `multicast-protocol.md` §3.2.

use super::{Keys, Kind, Mode, Probe, Session, Told};
use crate::image::leb::{Reader, put};
use crate::image::{FormatError, Hash};
use std::net::{IpAddr, Ipv6Addr};

/// Most bytes of a datagram of control. Part of the protocol.
pub const MESSAGE_LIMIT: usize = 1400;
/// Before the fields of a message.
const HEADER: usize = 12;
/// After them, at most.
const CHECK: usize = 16;
/// Most bytes of a name or reason: a byte says how many.
const TEXT: usize = 255;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// From the sender to all.
    Announce(Announce),
    /// From the sender to those of the session.
    Sync(Sync),
    /// From a receiver.
    Join(Join),
    /// To a receiver.
    Admit(Admit),
    /// From a receiver.
    Report(Report),
    /// From a receiver.
    Need(Need),
    /// To a receiver.
    Detach(Detach),
    /// Of the doctor, from the sender.
    Probe(Probe),
    /// Of the doctor, from a receiver.
    Told(Told),
}

/// What is sent, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The session is over.
    pub over: bool,
    /// It failed.
    pub failed: bool,
    /// Milliseconds since 1970.
    pub time: u64,
    /// The image.
    pub image: Hash,
    /// Bytes of the head.
    pub head: u64,
    /// Bytes of the body.
    pub body: u64,
    /// Bytes of a symbol.
    pub symbol: u16,
    /// Where the sender listens.
    pub port: u16,
    /// Where the symbols go.
    pub data: (IpAddr, u16),
    /// Receivers that are expected; 0 when that is not known.
    pub expected: u32,
    /// The name of the image.
    pub name: String,
}

/// How far the sender is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// All symbols have been sent once.
    pub first_pass_over: bool,
    /// The session is over.
    pub over: bool,
    /// The number of the last symbol that was sent.
    pub seq: u32,
    /// The first pass has come to this stripe.
    pub position: u32,
    /// Microseconds between two reports of a receiver.
    pub interval: u32,
    /// Receivers that share the time.
    pub receivers: u32,
    /// Kilobits in a second.
    pub rate: u32,
}

/// A receiver wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// It has mirrors to go to.
    pub has_mirrors: bool,
    /// It has an older tree, and will say what it needs.
    pub has_base: bool,
    /// A random number.
    pub node: [u8; 16],
    /// The largest datagram that its interface takes.
    pub datagram: u16,
    /// For people.
    pub name: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admit {
    /// It does not get it.
    pub refused: bool,
    /// The sender knows that it has ended.
    pub parted: bool,
    /// Who asked.
    pub node: [u8; 16],
    /// Its number in the session.
    pub slot: u32,
    /// Microseconds between two reports.
    pub interval: u32,
    /// The part of its needs that the sender has not got yet.
    pub need: u32,
    /// Why it was refused.
    pub reason: String,
}

/// `run` stripes, after `gap` of which nothing is needed, each lack `lacks` symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deficit {
    /// Stripes before.
    pub gap: u32,
    /// Stripes, at least one.
    pub run: u32,
    /// Symbols, at least one.
    pub lacks: u16,
}

/// What a receiver has and lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything is applied and read back.
    pub done: bool,
    /// The disk is the limit.
    pub disk_bound: bool,
    /// It leaves.
    pub leaves: bool,
    /// It failed.
    pub failed: bool,
    /// Its number in the session.
    pub slot: u32,
    /// What stands here is true of everything up to this symbol.
    pub seq: u32,
    /// Symbols that came.
    pub received: u32,
    /// Stripes that are whole.
    pub whole: u32,
    /// Datagrams that the socket had no room for.
    pub dropped: u32,
    /// KiB that wait to be applied.
    pub backlog: u32,
    /// KiB that were applied in a second.
    pub applied: u32,
    /// What it lacks, from stripe 0 on.
    pub lacks: Vec<Deficit>,
}

/// Which blocks a receiver wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its number in the session.
    pub slot: u32,
    /// Which part of the answer, from 0.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// Blocks that are not wanted, and after them blocks that are; from block 0 on.
    pub blocks: Vec<(u32, u32)>,
}

/// A receiver is sent to its mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detach {
    /// Its number in the session.
    pub slot: u32,
    /// Why.
    pub reason: String,
}

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
    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Announce(_) => Kind::Announce,
            Self::Sync(_) => Kind::Sync,
            Self::Join(_) => Kind::Join,
            Self::Admit(_) => Kind::Admit,
            Self::Report(_) => Kind::Report,
            Self::Need(_) => Kind::Need,
            Self::Detach(_) => Kind::Detach,
            Self::Probe(_) => Kind::Probe,
            Self::Told(_) => Kind::Told,
        }
    }

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

/// The runs of equal deficits; `lacks` gives that of each stripe, 0 when nothing is needed.
pub fn runs(stripes: impl Iterator<Item = u16>) -> Vec<Deficit> {
    let (mut out, mut gap) = (Vec::<Deficit>::new(), 0);
    for lacks in stripes {
        match out.last_mut() {
            _ if lacks == 0 => gap += 1,
            Some(last) if gap == 0 && last.lacks == lacks => last.run += 1,
            _ => out.push(Deficit { gap: std::mem::take(&mut gap), run: 1, lacks }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Count, SECRET};
    use super::*;
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

    #[test]
    fn runs_are_of_neighbours_that_lack_the_same() {
        let run = |gap, run, lacks| Deficit { gap, run, lacks };
        assert_eq!(runs([0, 0, 5, 5, 0, 5, 6].into_iter()), [run(2, 2, 5), run(1, 1, 5), run(0, 1, 6)]);
        assert_eq!(runs([0, 0].into_iter()), []);
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
