//! What sender and receivers say to each other. How it stands in datagrams: `control`.

use super::{Kind, Probe, Told};
use crate::image::Hash;
use std::net::IpAddr;

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
    /// Everything is applied; read back, too, where the receiver was asked to verify.
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
    use super::*;

    #[test]
    fn runs_are_of_neighbours_that_lack_the_same() {
        let run = |gap, run, lacks| Deficit { gap, run, lacks };
        assert_eq!(runs([0, 0, 5, 5, 0, 5, 6].into_iter()), [run(2, 2, 5), run(1, 1, 5), run(0, 1, 6)]);
        assert_eq!(runs([0, 0].into_iter()), []);
    }
}
