//! One mirror, and what is known of it.
//!
//! ```text
//!            fault that may pass, or too slow                    time is over
//!   good ───────────────────────────────────────> set back ────────────────────> on trial: one request at a time
//!    ^          other faults: for longer             ^                                │             │
//!    └───────────────────────────────────────────────┼──────────────── it went well ──┘             │
//!                                                    └───────────────── it did not: for twice as long┘
//! ```

use crate::web::{Fault, Url};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The first time that a mirror is set back for; doubled with each failure in a row.
const SHORT: Duration = Duration::from_millis(250);
const LONG: Duration = Duration::from_secs(30);
/// Who was waited for in vain is set back for so many times as long: trying it out costs somebody that time.
const DEARER: u32 = 4;
/// For what does not pass by itself: wrong bytes, a certificate, a server that knows no ranges.
const BAD: Duration = Duration::from_secs(120);
/// Answers that are shorter say nothing of the rate.
const TELLING: u64 = 64 << 10;
/// What a new measurement counts for.
const SHARE: f64 = 0.25;

/// A mirror.
pub(super) struct Mirror {
    pub(super) url: Url,
    pub(super) weight: f64,
    pub(super) agent: ureq::Agent,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// Until when it is not asked, as long as there are others.
    until: Option<Instant>,
    /// It is set back for something else than having been slow.
    is_faulty: bool,
    on_trial: bool,
    /// Whether it has answered, and nothing speaks against it since: a connection may break, but not the next one.
    has_answered: bool,
    /// Bytes in a second.
    rate: Option<f64>,
}

/// Whether a mirror may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    /// It was slow: it is asked before that only when there is nobody else.
    Slow(Instant),
    /// Set back until then.
    Back(Instant),
    /// Somebody is trying it out.
    OnTrial,
}

impl Mirror {
    pub(super) fn new(url: Url, weight: f64, agent: ureq::Agent) -> Self {
        Self { url, weight, agent, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        let state = self.lock();
        match state.until {
            Some(until) if until > now && state.is_faulty => Standing::Back(until),
            Some(until) if until > now => Standing::Slow(until),
            Some(_) if state.on_trial => Standing::OnTrial,
            _ => Standing::Good,
        }
    }

    /// Whether it has given what it was asked for, and is there.
    pub(super) fn has_answered(&self) -> bool {
        self.lock().has_answered
    }

    /// Bytes in a second, when that is known.
    pub(super) fn rate(&self) -> Option<f64> {
        self.lock().rate
    }

    /// A request begins; whether it is a trial.
    pub(super) fn begin(&self) -> bool {
        let mut state = self.lock();
        state.on_trial = state.until.is_some();
        state.on_trial
    }

    /// It went well.
    pub(super) fn succeeded(&self, bytes: u64, took: Duration) {
        let mut state = self.lock();
        let rate = state.rate;
        *state = State { rate, has_answered: true, ..State::default() };
        if bytes >= TELLING {
            let now = bytes as f64 / took.as_secs_f64().max(1e-6);
            state.rate = Some(rate.map_or(now, |before| before + SHARE * (now - before)));
        }
    }

    /// It did not; for how long the mirror is set back then, unless it is as it was.
    pub(super) fn failed(&self, fault: &Fault, now: Instant) -> Option<Duration> {
        let mut state = self.lock();
        state.on_trial = false;
        if matches!(fault, Fault::Missing | Fault::Abandoned) {
            return None;
        }
        state.failures += 1;
        state.is_faulty = (state.is_faulty && state.until.is_some_and(|u| u > now)) || !matches!(fault, Fault::Late(_));
        state.has_answered &= fault.may_pass() && (state.failures < 2 || !matches!(fault, Fault::Unreachable(_)));
        let back = if fault.may_pass() { SHORT * (1 << (state.failures - 1).min(10)) } else { BAD };
        let back = if fault.may_pass() { back.min(LONG) } else { back };
        // What is told later may be the lesser fault.
        state.until = state.until.max(Some(now + back));
        Some(back)
    }

    /// Nobody waited for what became of it.
    pub(super) fn undecided(&self) {
        self.lock().on_trial = false;
    }

    /// Another one was faster: it counts as too slow.
    pub(super) fn overtaken(&self, bytes: u64, took: Duration, now: Instant) -> Option<Duration> {
        if bytes >= TELLING {
            let most = bytes as f64 / took.as_secs_f64().max(1e-6);
            let mut state = self.lock();
            state.rate = Some(state.rate.map_or(most, |before| before + SHARE * (most.min(before) - before)));
        }
        let back = self.failed(&Fault::Late("another one was faster".into()), now)?.max(took * DEARER).min(LONG);
        let mut state = self.lock();
        state.until = state.until.max(Some(now + back));
        Some(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror() -> Mirror {
        Mirror::new(Url::parse("http://h").unwrap(), 1.0, ureq::Agent::new_with_defaults())
    }

    #[test]
    fn a_failure_sets_back_for_longer_each_time_and_a_success_forgives() {
        let (m, now) = (mirror(), Instant::now());
        let late = Fault::Late("x".into());
        let backs: Vec<_> = (0..9).map(|_| m.failed(&late, now).unwrap().as_millis()).collect();
        assert_eq!(backs, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(m.standing(now), Standing::Slow(now + LONG));
        assert_eq!(m.standing(now + LONG), Standing::Good);
        m.begin();
        assert_eq!(m.standing(now + LONG), Standing::OnTrial);
        m.succeeded(0, Duration::ZERO);
        assert_eq!(m.standing(now), Standing::Good);
        assert_eq!(m.failed(&late, now), Some(SHORT));
        assert_eq!(m.failed(&Fault::Wrong, now), Some(BAD));
        m.failed(&late, now);
        assert_eq!(m.standing(now), Standing::Back(now + BAD), "to be late as well makes it no better");
        m.failed(&late, now + BAD);
        assert!(matches!(m.standing(now + BAD), Standing::Slow(_)));
    }

    #[test]
    fn who_was_waited_for_is_set_back_for_longer_than_the_wait() {
        let (m, now) = (mirror(), Instant::now());
        assert_eq!(m.overtaken(0, Duration::from_millis(500), now), Some(Duration::from_secs(2)));
        assert_eq!(m.standing(now), Standing::Slow(now + Duration::from_secs(2)));
        assert_eq!(m.overtaken(0, Duration::from_millis(10), now), Some(Duration::from_millis(500)));
        assert_eq!(m.overtaken(0, Duration::from_secs(20), now), Some(LONG));
    }

    #[test]
    fn a_trial_that_nobody_waited_for_is_no_trial() {
        let (m, now) = (mirror(), Instant::now());
        m.failed(&Fault::Late("x".into()), now);
        m.begin();
        assert_eq!(m.standing(now + LONG), Standing::OnTrial);
        m.undecided();
        assert_eq!(m.standing(now + LONG), Standing::Good);
    }

    #[test]
    fn who_lies_or_cannot_be_reached_twice_in_a_row_has_to_answer_anew() {
        let (m, now) = (mirror(), Instant::now());
        m.succeeded(0, Duration::ZERO);
        for _ in 0..9 {
            m.failed(&Fault::Late("x".into()), now);
            assert!(m.has_answered());
        }
        let gone = Fault::Unreachable("x".into());
        m.succeeded(0, Duration::ZERO);
        m.failed(&gone, now);
        assert!(m.has_answered(), "the connection may have been an old one");
        m.failed(&gone, now);
        assert!(!m.has_answered());
        m.succeeded(0, Duration::ZERO);
        assert!(m.has_answered());
        m.failed(&Fault::Wrong, now);
        assert!(!m.has_answered());
    }

    #[test]
    fn what_it_has_not_got_is_no_fault() {
        let (m, now) = (mirror(), Instant::now());
        assert_eq!(m.failed(&Fault::Missing, now), None);
        assert_eq!(m.standing(now), Standing::Good);
    }

    #[test]
    fn the_rate_is_that_of_what_came_lately() {
        let m = mirror();
        m.succeeded(10, Duration::from_secs(1));
        assert_eq!(m.rate(), None);
        m.succeeded(1 << 20, Duration::from_secs(1));
        m.succeeded(1 << 21, Duration::from_secs(1));
        assert_eq!(m.rate(), Some(1.25 * f64::from(1 << 20)));
    }
}
