//! How fast is sent. See `multicast-protocol.md` §6.

use super::receivers::{Receiver, Receivers, TROUBLE};
use super::repair::is_after;
use crate::error::Error;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Between two looks: until it had to fall, and after that.
const TICK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(60));
/// Where it begins.
const BEGIN: f64 = 100e6;
const LEAST: f64 = 1e6;
const MOST: f64 = 100e9;
/// Loss that is none of the sender's.
const QUIET: f64 = 0.02;
/// Loss that does not pass is random up to here.
const FLOOR_MAX: f64 = 0.12;
/// Where random loss is, beside its slow minimum: a report counts few symbols.
const ABOVE: f64 = 1.25;
/// Loss that asks for less.
const LOUD: f64 = 0.03;
/// Loss that stays, to this share, when the rate fell to that share of what it was, is none of the sender's either: there is no queue that it could
/// have come from.
const STAYS: (f64, f64) = (0.75, 0.5);
/// Where less than this share of what is sent passes, so many looks in a row, a queue fills.
const FILLS: f64 = 0.85;
const FILLING: u32 = 4;
/// By how much it rises: until it had to fall, and after that at least and at most.
const FIRST: f64 = 1.0;
const STEP: (f64, f64) = (0.015, 0.25);
/// Ethernet, IP and UDP. Of IPv4; 20 bytes more for IPv6 do not matter.
pub(super) const HEADERS: usize = 14 + 20 + 8;

/// How fast a sender sends, headers of Ethernet, IP and UDP included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rate {
    /// As fast as the receivers can take it.
    #[default]
    Auto,
    /// Bits in a second.
    Fixed(u64),
}

impl Rate {
    /// So many bits in a second.
    ///
    /// # Errors
    /// `Invalid` below a megabit and beyond 100 gigabits.
    pub fn fixed(bits: f64) -> Result<Self, Error> {
        if (LEAST..=MOST).contains(&bits) {
            return Ok(Self::Fixed(bits as u64));
        }
        Err(Error::invalid(format!("{bits} bits in a second are no rate")).hint("1Mbit to 100Gbit are"))
    }
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let wrong = || {
            Error::invalid(format!("\"{text}\" is no rate"))
                .hint("give auto, or bits in a second, such as 940Mbit or 10Gbit")
        };
        let units = [("Gbit", 1e9), ("Mbit", 1e6), ("kbit", 1e3)];
        let (number, unit) =
            units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit))).ok_or_else(wrong)?;
        Self::fixed(number.trim().parse::<f64>().map_err(|_| wrong())? * unit)
    }
}

/// What sets the pace.
pub(super) struct Pace {
    /// Bits in a second.
    rate: f64,
    /// What was ordered: the rate, unless nobody is left who can take it.
    fixed: Option<f64>,
    /// The rate and the loss when it began to fall, until it rises again.
    fell: Option<(f64, f64)>,
    /// Loss that is random, as was seen when the rate fell and it did not.
    random: f64,
    /// By how much it rises at a look without loss: more each time, until it has to fall.
    step: f64,
    /// Looks in a row at which less passed than was sent, and the most that passed at any of them.
    filling: (u32, f64),
    looked: Instant,
    /// When the next burst may go.
    due: Instant,
    /// For whose sake it was lowered, until it rises again.
    limited_by: Option<String>,
    /// The last symbol that was sent when it was changed.
    changed: u32,
}

impl Pace {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        let fixed = match rate {
            Rate::Auto => None,
            Rate::Fixed(bits) => Some(bits as f64),
        };
        let rate = fixed.unwrap_or(BEGIN);
        Self {
            rate,
            fixed,
            fell: None,
            random: 0.0,
            step: FIRST,
            filling: (0, 0.0),
            looked: now,
            due: now,
            limited_by: None,
            changed: 0,
        }
    }

    /// Bits in a second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Whose loss, or disk, keeps the rate from rising.
    pub(super) fn limited_by(&self) -> Option<&str> {
        self.limited_by.as_deref()
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// So many datagrams of so many bytes were sent.
    pub(super) fn spend(&mut self, datagrams: usize, bytes: usize, now: Instant) {
        let bits = (datagrams * (bytes + HEADERS) * 8) as f64;
        // What was not used is gone, but for a little: a late timer must not slow it down.
        let behind = now.checked_sub(Duration::from_millis(4)).unwrap_or(now);
        self.due = self.due.max(behind) + Duration::from_secs_f64(bits / self.rate);
    }

    /// Follows what the receivers say; `bytes` are those of a datagram, `seq` is the last symbol that was sent.
    pub(super) fn follow(&mut self, receivers: &Receivers, bytes: usize, seq: u32, now: Instant) {
        if now.duration_since(self.looked) < if self.step == FIRST { TICK.0 } else { TICK.1 } {
            return;
        }
        let bits = ((bytes + HEADERS) * 8) as f64;
        let excess = |r: &Receiver| r.loss - r.floor.unwrap_or(0.0).min(self.random.max(FLOOR_MAX)) * ABOVE;
        let useful = || receivers.useful().filter(|r| r.reports > 3);
        let Some(worst) = useful().max_by(|a, b| excess(a).total_cmp(&excess(b))) else { return };
        // What was sent before the last change says nothing about it: queues may hold much of that.
        if worst.rate == 0.0 || !is_after(worst.lately.since, self.changed) && self.changed != 0 {
            return;
        }
        self.looked = now;
        // One measure alone may fall into a moment when somebody else had the processor.
        let (excess, comes) = (excess(worst), worst.rate.max(worst.lately.rate) * bits);
        // With what is lost; less than what is sent means that a queue fills, or that the sender cannot go as fast.
        let passes = worst.lately.rate * bits / (1.0 - worst.loss).max(0.5);
        let (all, in_trouble) = (receivers.useful().count(), receivers.useful().filter(|r| r.loss > TROUBLE).count());
        // What was ordered is kept as long as anybody can take it.
        let is_ordered = self.fixed.is_some() && in_trouble < all;
        let (looks, most) = self.filling;
        self.filling =
            if self.fixed.is_none() && passes < FILLS * self.rate { (looks + 1, most.max(passes)) } else { (0, 0.0) };
        let before = self.rate;
        self.rate = match excess {
            _ if is_ordered => self.rate * (1.0 + self.step),
            e if e > TROUBLE && in_trouble * 2 >= all => (comes * 1.02).min(self.rate * 0.9),
            // One of many: it becomes a laggard, or it gets better.
            e if e > TROUBLE => self.rate,
            e if e > LOUD => (comes * 0.97).max(self.rate * 0.7).min(self.rate * 0.985),
            _ if self.filling.0 >= FILLING => self.filling.1.max(self.rate * 0.7),
            // To double what does not pass yet would tell nothing.
            e if e < QUIET && (self.step < FIRST || passes >= FILLS * self.rate) => self.rate * (1.0 + self.step),
            _ => self.rate,
        }
        .clamp(LEAST, self.fixed.unwrap_or(MOST));
        if self.rate > before {
            self.fell = None;
        } else if self.rate < before {
            let (rate, loss) = *self.fell.get_or_insert((before, worst.loss));
            if before < STAYS.1 * rate && worst.lately.loss > STAYS.0 * loss {
                self.random = worst.lately.loss;
            }
        }
        self.step = match self.step {
            _ if self.rate < before => STEP.0,
            FIRST => FIRST,
            step => (step * 1.15).min(STEP.1),
        };
        if excess > LOUD && !is_ordered {
            self.limited_by = Some(worst.name.clone());
        } else if excess < QUIET || is_ordered {
            self.limited_by = None;
        }
        if self.fixed.is_none() {
            self.follow_disks(receivers);
        }
        if self.rate != before {
            self.changed = seq;
        }
    }

    /// Where disks are the limit, what they take.
    fn follow_disks(&mut self, receivers: &Receivers) {
        let slowest = receivers
            .useful()
            .filter(|r| r.report.disk_bound && r.report.applied > 0)
            .map(|r| (f64::from(r.report.applied) * 8192.0, r))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((bits, slowest)) = slowest
            && bits * 1.05 < self.rate
        {
            self.rate = (bits * 1.05).max(LEAST);
            self.limited_by = Some(slowest.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        assert_eq!("auto".parse::<Rate>().unwrap(), Rate::Auto);
        assert_eq!("940Mbit".parse::<Rate>().unwrap(), Rate::Fixed(940_000_000));
        assert_eq!("2.5Gbit".parse::<Rate>().unwrap(), Rate::Fixed(2_500_000_000));
        for bad in ["", "940", "Mbit", "-1Mbit", "10kbit", "1e9Gbit", "NaNMbit", "940MB"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        assert_eq!(Rate::fixed(1e6).unwrap(), Rate::Fixed(1_000_000));
        for bad in [0.0, 999_999.0, -5e6, 1e12, f64::NAN, f64::INFINITY] {
            assert!(Rate::fixed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bursts_are_spread_over_time() {
        let now = Instant::now();
        let mut pace = Pace::new(Rate::Fixed(80_000_000), now);
        pace.spend(16, 1472, now);
        assert_eq!(pace.due() - now, Duration::from_secs_f64(16.0 * 1514.0 * 8.0 / 80e6));
        // A sender that slept does not send all that it missed.
        let later = now + Duration::from_secs(5);
        pace.spend(1, 1472, later);
        assert!(pace.due() < later);
        (0..40).for_each(|_| pace.spend(1, 1472, later));
        assert!(pace.due() > later);
    }
}
