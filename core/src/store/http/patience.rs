//! How long a server is waited for before a second one is asked as well. It follows the load: where each answer takes long, because
//! many ask at a time, nobody is late who takes as long as the others; and what is coming is not asked for again.

use super::exchange::Want;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// At least, at most, and while nothing is known.
pub(super) const LEAST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(5);
pub(super) const UNKNOWN: Duration = Duration::from_millis(500);
/// It follows the load up to here.
pub(super) const LOADED: Duration = Duration::from_secs(2);
/// Times what it should take.
const LENIENT: u32 = 3;
/// So many bytes show that something comes, of what nobody knows the length of.
const RECEIVING: u64 = 64 << 10;
/// What a new measurement counts for.
const SHARE: f64 = 0.25;

/// What is known of the time that answers take.
#[derive(Default)]
pub(super) struct Patience {
    /// Seconds until a short answer was there, lately.
    usual: Mutex<Option<f64>>,
}

impl Patience {
    /// An answer came.
    pub(super) fn learn(&self, want: Want, took: Duration) {
        if want.bytes() == 0 {
            let mut usual = self.usual.lock().unwrap_or_else(PoisonError::into_inner);
            let now = took.as_secs_f64();
            *usual = Some(usual.map_or(now, |before| before + SHARE * (now - before)));
        }
    }

    /// How long one is waited for, where the best one sends so many bytes in a second.
    pub(super) fn of(&self, want: Want, best: Option<f64>) -> Duration {
        let usual = self.usual.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_default();
        let least = Duration::from_secs_f64((f64::from(LENIENT) * usual).min(LOADED.as_secs_f64()));
        match (want.bytes(), best) {
            // How long it is, or how fast it comes, nobody knows yet.
            (0, _) | (_, None) => least.max(UNKNOWN),
            (bytes, Some(best)) => {
                let should = f64::from(LENIENT) * bytes as f64 / best;
                Duration::from_secs_f64(should.min(MOST.as_secs_f64())).max(least).max(LEAST)
            }
        }
    }
}

/// How long the others are waited for when the first one has answered a question to all of them.
pub(super) fn for_the_others(first: Duration) -> Duration {
    (first * (LENIENT - 1)).clamp(UNKNOWN, LOADED)
}

/// Whether somebody who was waited for so long was too slow beside one who took so long.
pub(super) fn is_late(waited: Duration, other: Duration) -> bool {
    waited >= LEAST && waited >= other * LENIENT
}

/// Whether `received` bytes, `before` of them a look ago, show that all of it is there soon.
pub(super) fn is_coming(want: Want, before: u64, received: u64) -> bool {
    let came = received.saturating_sub(before);
    match want.bytes() {
        0 => came >= RECEIVING,
        // The rest takes no longer than what was waited for.
        bytes => came > 0 && bytes.saturating_sub(received) <= came,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn where_all_answers_take_long_nobody_is_late() {
        let patience = Patience::default();
        assert_eq!(patience.of(Want::Whole(9), None), UNKNOWN);
        assert_eq!(patience.of(Want::Range(0, 1 << 20), Some(1e9)), LEAST);
        for _ in 0..9 {
            patience.learn(Want::Whole(9), MS * 500);
        }
        assert_eq!(patience.of(Want::Whole(9), None), MS * 1500);
        assert_eq!(patience.of(Want::Range(0, 1 << 20), Some(1e9)), MS * 1500);
        patience.learn(Want::Range(0, 1 << 20), MS * 9000);
        assert_eq!(patience.of(Want::Head, Some(1e9)), MS * 1500, "how long a large one takes says its rate");
        for _ in 0..99 {
            patience.learn(Want::Head, MS * 90_000);
        }
        assert_eq!(patience.of(Want::Head, None), LOADED);
        assert!(!is_late(MS * 1500, MS * 800) && is_late(MS * 1500, MS * 500) && !is_late(MS * 100, MS));
        assert_eq!(for_the_others(MS), UNKNOWN);
        assert_eq!(for_the_others(MS * 600), MS * 1200);
        assert_eq!(for_the_others(MS * 6000), LOADED);
    }

    #[test]
    fn what_comes_is_not_asked_for_again() {
        let range = Want::Range(0, 1 << 20);
        assert!(is_coming(range, 0, 600_000));
        assert!(!is_coming(range, 0, 400_000));
        assert!(is_coming(range, 400_000, 800_000));
        assert!(!is_coming(range, 400_000, 400_001), "one byte in a second is nothing");
        assert!(!is_coming(range, 0, 0));
        assert!(is_coming(Want::Whole(1 << 30), 0, RECEIVING));
        assert!(!is_coming(Want::Whole(1 << 30), RECEIVING, RECEIVING + 1));
    }
}
