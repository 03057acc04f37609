//! What is sent, in which order.

use crate::sys::ear::LONGEST;
use std::time::Duration;

/// Datagrams of a phase that asks whether anything arrives.
pub(super) const SMALL: u32 = 20;
/// Bytes of one.
pub(super) const SMALL_LENGTH: u16 = 100;
/// Datagrams of each length.
const EACH: u32 = 5;
/// The TTL of those that pass routers.
pub(super) const FAR: u8 = 32;
/// Rates, in kilobits a second, and how long each.
const RATES: ([u32; 4], Duration) = ([10_000, 100_000, 500_000, 1_000_000], Duration::from_millis(300));
/// Headers of Ethernet, IP and UDP, for rates.
pub(super) const WIRE: u32 = 14 + 20 + 8;
/// MTUs that there are: those of tunnels, Ethernet, jumbo frames.
const MTUS: [u32; 12] = [576, 1280, 1380, 1400, 1420, 1450, 1480, 1500, 2000, 4000, 8900, 9000];

/// What a datagram is sent for. Its number is part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// By unicast, from the sender to each receiver it knows.
    Direct,
    /// By broadcast, which no switch filters.
    Broadcast,
    /// To all hosts of the link, a group that is never filtered.
    Local,
    /// To the control group.
    Control,
    /// To the control group, past routers.
    Far,
    /// To the data group.
    Data,
    /// To the data group, in all lengths.
    Size,
    /// To the data group, at a rate.
    Rate(u8),
}

impl Phase {
    /// Those that are sent at the same time, at the beginning.
    pub(super) const WAYS: [Self; 4] = [Self::Broadcast, Self::Local, Self::Control, Self::Far];

    pub(super) fn number(self) -> u8 {
        match self {
            Self::Direct => 0,
            Self::Broadcast => 1,
            Self::Local => 2,
            Self::Control => 3,
            Self::Far => 4,
            Self::Data => 5,
            Self::Size => 6,
            Self::Rate(n) => n.saturating_add(7),
        }
    }

    pub(super) fn of(number: u8) -> Self {
        match number {
            0 => Self::Direct,
            1 => Self::Broadcast,
            2 => Self::Local,
            3 => Self::Control,
            4 => Self::Far,
            5 => Self::Data,
            6 => Self::Size,
            n => Self::Rate(n - 7),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Broadcast => "broadcast",
            Self::Local => "local",
            Self::Control => "control",
            Self::Far => "far",
            Self::Data => "data",
            Self::Size => "size",
            Self::Rate(_) => "rate",
        }
    }
}

/// What is sent in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) phase: u8,
    /// Datagrams.
    pub(super) of: u32,
    /// Kilobits in a second; 0 when it has no rate.
    pub(super) rate: u32,
    /// Bytes of each; of the longest.
    pub(super) length: u16,
}

/// Those without a rate.
pub(super) fn steady(mtu: u32, v6: bool) -> Vec<Step> {
    let small = |phase: u8| Step { phase, of: SMALL, rate: 0, length: SMALL_LENGTH };
    let lengths = lengths(mtu, v6);
    let longest = lengths.last().copied().unwrap_or(SMALL_LENGTH);
    let of = EACH * lengths.len() as u32;
    let size = Step { phase: Phase::Size.number(), of, rate: 0, length: longest };
    (0..Phase::Size.number()).map(small).chain([size]).collect()
}

/// Those with one, up to that of the cable (megabits in a second) if it is known.
pub(super) fn rates(length: u16, speed: Option<u32>) -> Vec<Step> {
    let fits = |rate: &u32| speed.is_none_or(|s| *rate <= s.saturating_mul(1000));
    let bits = (u32::from(length) + WIRE) * 8;
    let step = |(n, rate): (u8, u32)| {
        let of = u64::from(rate) * RATES.1.as_millis() as u64 / u64::from(bits);
        Step { phase: Phase::Rate(n).number(), of: of.max(10) as u32, rate, length }
    };
    (0..).zip(RATES.0.into_iter().filter(fits)).map(step).collect()
}

/// Bytes of datagrams, rising, up to the largest that an MTU takes.
pub(super) fn lengths(mtu: u32, v6: bool) -> Vec<u16> {
    let headers = if v6 { 48 } else { 28 };
    let most = mtu.min(9000);
    let mut mtus: Vec<u32> = MTUS.into_iter().filter(|m| *m < most).chain([most]).collect();
    mtus.retain(|m| *m > headers + u32::from(SMALL_LENGTH));
    mtus.into_iter().map(|m| (m - headers).min(LONGEST as u32) as u16).collect()
}

/// How often each length is sent.
pub(super) fn each() -> u32 {
    EACH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_phases() {
        (0..=20).for_each(|n| assert_eq!(Phase::of(n).number(), n));
    }

    #[test]
    fn lengths_rise_to_the_mtu() {
        assert_eq!(lengths(1500, false), [548, 1252, 1352, 1372, 1392, 1422, 1452, 1472]);
        assert_eq!(lengths(1500, true).last(), Some(&1452));
        assert_eq!(lengths(65_536, false).last(), Some(&8972));
        assert_eq!(lengths(1400, false).last(), Some(&1372));
        assert_eq!(steady(1500, false)[6], Step { phase: 6, of: 40, rate: 0, length: 1472 });
    }

    #[test]
    fn rates_are_those_of_the_cable() {
        assert_eq!(rates(1472, Some(100)).iter().map(|s| s.rate).collect::<Vec<_>>(), [10_000, 100_000]);
        let all = rates(1472, None);
        assert_eq!((all.len(), all[3].of, all[3].phase), (4, 24_768, 10));
    }
}
