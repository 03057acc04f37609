//! What a network does to datagrams.

use crate::random::Random;
use std::time::Duration;

/// How bad it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    /// Share that each receiver loses on its own.
    pub(crate) loss: f64,
    /// Probability that a burst of losses begins at a receiver.
    pub(crate) bursts: f64,
    /// Share that is lost before it reaches anybody.
    pub(crate) shared_loss: f64,
    pub(crate) delay: Duration,
    /// Up to so much more: datagrams overtake each other.
    pub(crate) jitter: Duration,
    pub(crate) duplicates: f64,
    /// Share that arrives with a bit changed.
    pub(crate) corrupt: f64,
    /// Nothing passes from the first on for the second.
    pub(crate) partition: Option<(Duration, Duration)>,
    /// Bits in a second that the sender's cable takes; and that of one receiver, when it has a slower one.
    pub(crate) cable: Option<u64>,
    pub(crate) slow: Option<(usize, u64)>,
}

/// Bytes that wait before a cable; more are lost.
const WAIT: u64 = 64 << 10;
/// Headers of Ethernet, IP and UDP.
const HEADERS: u64 = 14 + 20 + 8;

/// A cable that takes so much and no more, behind a switch with little memory.
#[derive(Default)]
pub(crate) struct Cable {
    /// When what waits will have passed.
    free: Duration,
}

impl Cable {
    /// When a datagram has passed that comes now; `None` when there is no room for it.
    pub(crate) fn pass(&mut self, bits: u64, datagram: &[u8], now: Duration) -> Option<Duration> {
        let time = |bytes: u64| Duration::from_secs_f64(bytes as f64 * 8.0 / bits as f64);
        let free = self.free.max(now);
        (free - now <= time(WAIT)).then(|| {
            self.free = free + time(datagram.len() as u64 + HEADERS);
            self.free - now
        })
    }
}

/// Copies of a datagram that arrive: after how long, and what.
pub(crate) type Arrivals = Vec<(Duration, Vec<u8>)>;

/// One direction of one link.
#[derive(Default)]
pub(crate) struct Link {
    /// Datagrams that are still lost of a burst.
    losing: u64,
    /// Of a receiver that is slower than the others.
    pub(crate) cable: Cable,
}

impl Network {
    pub(crate) fn is_cut(&self, now: Duration) -> bool {
        self.partition.is_some_and(|(from, length)| now >= from && now < from + length)
    }

    /// Whether it only loses.
    pub(crate) fn is_simple(&self) -> bool {
        let none = [self.bursts, self.duplicates, self.corrupt].iter().all(|p| *p == 0.0);
        none && self.jitter.is_zero() && self.partition.is_none() && self.slow.is_none()
    }

    /// What of a datagram arrives over a link.
    pub(crate) fn carry(&self, link: &mut Link, datagram: &[u8], now: Duration, r: &mut Random) -> Arrivals {
        if link.losing == 0 && r.chance(self.bursts) {
            link.losing = 1 + r.below(40);
        }
        if self.is_cut(now) || link.losing > 0 || r.chance(self.loss) {
            link.losing = link.losing.saturating_sub(1);
            return Arrivals::new();
        }
        let copies = 1 + usize::from(r.chance(self.duplicates));
        let mut arrive = |_| {
            let mut copy = datagram.to_vec();
            if r.chance(self.corrupt) {
                let bit = r.below(copy.len() as u64 * 8);
                copy[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
            (self.delay + self.jitter.mul_f64(r.share()), copy)
        };
        (0..copies).map(&mut arrive).collect()
    }
}
