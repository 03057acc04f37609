//! Datagrams of the doctor: what is sent to see what arrives, and what arrived. See `multicast-protocol.md` §10.

use super::control::{put_text, text, u16_of};
use crate::image::FormatError;
use crate::image::leb::{Reader, put};
use serde::Serialize;

/// Phases of which counts are told, at most.
const PHASES: usize = 20;

/// One of many that are sent to see what arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// The sender ends.
    pub over: bool,
    /// The sender has got something of this receiver by unicast.
    pub heard: bool,
    /// Its number in the phase.
    pub seq: u32,
    /// How many there are in the phase; 0 in a greeting, which is not counted.
    pub of: u32,
    /// The phase.
    pub phase: u8,
    /// Phases in all.
    pub phases: u8,
    /// Phases that are over.
    pub reached: u8,
    /// The TTL that it was sent with.
    pub ttl: u8,
    /// Kilobits in a second of the phase; 0 when it has no rate.
    pub rate: u32,
    /// Bytes of the datagram, filled up with zeros.
    pub length: u16,
    /// Where the sender listens.
    pub port: u16,
    /// Bytes of the largest packet that the interface of the sender takes.
    pub mtu: u32,
    /// Receivers that the sender has heard by unicast.
    pub receivers: u16,
    /// The control group, IPv4 as ::ffff:a.b.c.d: broadcast reaches those of other groups as well.
    pub group: [u8; 16],
}

impl Probe {
    pub(super) fn put(&self, out: &mut Vec<u8>, check: usize) {
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.of.to_le_bytes());
        out.extend_from_slice(&[self.phase, self.phases, self.reached, self.ttl]);
        out.extend_from_slice(&self.rate.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.port.to_le_bytes());
        out.extend_from_slice(&self.mtu.to_le_bytes());
        out.extend_from_slice(&self.receivers.to_le_bytes());
        out.extend_from_slice(&self.group);
        out.resize(out.len().max(usize::from(self.length).saturating_sub(check)), 0);
    }

    pub(super) fn read(flags: u8, r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (seq, of, [phase, phases, reached, ttl]) = (r.u32()?, r.u32()?, r.array()?);
        let (rate, length, port) = (r.u32()?, u16_of(r)?, u16_of(r)?);
        let (mtu, receivers, group) = (r.u32()?, u16_of(r)?, r.array()?);
        let (over, heard) = (flags & 1 > 0, flags & 2 > 0);
        Ok(Self { over, heard, seq, of, phase, phases, reached, ttl, rate, length, port, mtu, receivers, group })
    }
}

/// What came of a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The phase.
    pub phase: u8,
    /// Datagrams that came, each once.
    pub received: u32,
    /// Those that came again.
    pub duplicates: u32,
    /// Those that came after a later one.
    pub reordered: u32,
    /// The lowest TTL that they had; 0 when none came.
    pub ttl: u8,
    /// Those that came by another interface than was named.
    pub elsewhere: u32,
    /// Those that the host had no room or time for.
    pub dropped: u32,
    /// Bytes of the longest one.
    pub longest: u32,
    /// Microseconds between the first and the last one.
    pub micros: u32,
}

/// What a receiver has got of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// It ends.
    pub over: bool,
    /// It has heard somebody ask for members of groups.
    pub querier: bool,
    /// It sees what arrives at its card.
    pub looks: bool,
    /// The sender is of a network of its interface.
    pub near: bool,
    /// Its system forgot that it is a member of the group.
    pub forgotten: bool,
    /// Bytes of the largest packet that its interface takes.
    pub mtu: u32,
    /// Where it listens.
    pub port: u16,
    /// Seconds since it began.
    pub seconds: u16,
    /// Packets that its system threw away for the way by which an answer would go.
    pub reverse: u32,
    /// Datagrams of the control group and of the data group that arrived at its card.
    pub card: [u32; 2],
    /// The control group, as in [`Probe`].
    pub group: [u8; 16],
    /// What it is called.
    pub name: String,
    /// Another interface at which something arrived.
    pub elsewhere: String,
    /// What came, by phase.
    pub counts: Vec<Count>,
}

impl Told {
    /// What came of a phase.
    #[must_use]
    pub fn count(&self, phase: u8) -> Count {
        self.counts.iter().find(|c| c.phase == phase).copied().unwrap_or(Count { phase, ..Count::default() })
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.mtu.to_le_bytes());
        out.extend_from_slice(&self.port.to_le_bytes());
        out.extend_from_slice(&self.seconds.to_le_bytes());
        for n in [self.reverse, self.card[0], self.card[1]] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.group);
        put_text(out, &self.name);
        put_text(out, &self.elsewhere);
        out.push(self.counts.len().min(PHASES) as u8);
        for c in self.counts.iter().take(PHASES) {
            out.extend_from_slice(&[c.phase, c.ttl]);
            for n in [c.received, c.duplicates, c.reordered, c.elsewhere, c.dropped, c.longest, c.micros] {
                put(out, n.into());
            }
        }
    }

    pub(super) fn read(flags: u8, r: &mut Reader<'_>) -> Result<Self, FormatError> {
        let flag = |n: u8| flags >> n & 1 > 0;
        let (mtu, port, seconds) = (r.u32()?, u16_of(r)?, u16_of(r)?);
        let (reverse, card) = (r.u32()?, [r.u32()?, r.u32()?]);
        let (group, name, elsewhere) = (r.array()?, text(r)?, text(r)?);
        let (mut counts, rows) = (Vec::new(), usize::from(r.byte()?));
        if rows > PHASES {
            return r.bad("more phases than there can be");
        }
        for _ in 0..rows {
            let [phase, ttl] = r.array()?;
            let mut number = || super::control::leb_u32(r);
            let (received, duplicates, reordered) = (number()?, number()?, number()?);
            let (elsewhere, dropped, longest, micros) = (number()?, number()?, number()?, number()?);
            counts.push(Count { phase, received, duplicates, reordered, ttl, elsewhere, dropped, longest, micros });
        }
        Ok(Self {
            over: flag(0),
            querier: flag(1),
            looks: flag(2),
            near: flag(3),
            forgotten: flag(4),
            mtu,
            port,
            seconds,
            reverse,
            card,
            group,
            name,
            elsewhere,
            counts,
        })
    }
}
