//! Counts of what comes.

use super::phase::Step;
use crate::multicast::wire::{Count, Probe};
use std::collections::BTreeMap;
use std::time::Instant;

/// Datagrams of a phase that are told apart; a phase is never longer.
const MOST: u32 = 1 << 20;

/// What came, by phase.
#[derive(Default)]
pub(super) struct Tally {
    rows: BTreeMap<u8, Row>,
    /// The phase of the datagram that came last.
    last: Option<u8>,
}

struct Row {
    count: Count,
    step: Step,
    /// A bit for each that came.
    seen: Vec<u64>,
    next: u32,
    first: Option<Instant>,
}

impl Tally {
    /// What had no room or time was of the phase whose datagrams came then.
    pub(super) fn dropped(&mut self, more: u32) {
        if let Some(row) = self.last.and_then(|phase| self.rows.get_mut(&phase)) {
            row.count.dropped = row.count.dropped.saturating_add(more);
        }
    }

    /// A datagram that came by the interface that was named (`here`), or by another one.
    pub(super) fn add(&mut self, probe: &Probe, bytes: usize, ttl: u8, here: bool, now: Instant) {
        if probe.seq >= probe.of || probe.of > MOST || self.rows.len() >= 20 && !self.rows.contains_key(&probe.phase) {
            return;
        }
        let row = self.rows.entry(probe.phase).or_insert_with(|| Row {
            count: Count { phase: probe.phase, ..Count::default() },
            step: Step { phase: probe.phase, of: probe.of, rate: probe.rate, length: probe.length },
            seen: vec![0; probe.of.div_ceil(64) as usize],
            next: 0,
            first: None,
        });
        let count = &mut row.count;
        if !here {
            count.elsewhere += 1;
            return;
        }
        self.last = Some(probe.phase);
        let Some(word) = row.seen.get_mut((probe.seq / 64) as usize) else { return };
        let bit = 1 << (probe.seq % 64);
        if *word & bit > 0 {
            count.duplicates += 1;
            return;
        }
        *word |= bit;
        count.received += 1;
        count.reordered += u32::from(probe.seq < row.next);
        row.next = row.next.max(probe.seq + 1);
        row.step.length = row.step.length.max(probe.length);
        count.longest = count.longest.max(u32::try_from(bytes).unwrap_or(u32::MAX));
        count.ttl = if count.ttl == 0 { ttl } else { count.ttl.min(ttl) };
        let first = *row.first.get_or_insert(now);
        count.micros = u32::try_from(now.duration_since(first).as_micros()).unwrap_or(u32::MAX);
    }

    pub(super) fn counts(&self) -> Vec<Count> {
        self.rows.values().map(|r| r.count).collect()
    }

    /// What was sent, as far as anything of it came.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.rows.values().map(|r| r.step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn probe(phase: u8, seq: u32) -> Probe {
        Probe { phase, seq, of: 10, length: 100, ..Probe::default() }
    }

    #[test]
    fn each_is_counted_once() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        tally.dropped(7);
        for (ms, seq) in [0, 1, 3, 2, 3, 9].into_iter().enumerate() {
            tally.add(&probe(3, seq), 100, 1 + u8::from(seq == 0), true, now + Duration::from_millis(ms as u64));
        }
        tally.add(&probe(3, 5), 100, 1, false, now);
        tally.add(&probe(3, 10), 100, 1, true, now);
        tally.dropped(4);
        let count = Count {
            phase: 3,
            received: 5,
            duplicates: 1,
            reordered: 1,
            ttl: 1,
            elsewhere: 1,
            dropped: 4,
            longest: 100,
            micros: 5000,
        };
        assert_eq!(tally.counts(), [count]);
        assert_eq!(tally.steps(), [Step { phase: 3, of: 10, rate: 0, length: 100 }]);
    }

    proptest! {
        /// Whatever comes, no more is received than was sent.
        #[test]
        fn never_more_than_were_sent(all in prop::collection::vec((0u8..30, 0u32..2000, 0u32..2000), 0..300)) {
            let mut tally = Tally::default();
            for (phase, seq, of) in all {
                tally.add(&Probe { phase, seq, of, ..Probe::default() }, 1, 1, true, Instant::now());
            }
            for (count, step) in tally.counts().iter().zip(tally.steps()) {
                prop_assert!(count.received <= step.of.div_ceil(64) * 64);
            }
            prop_assert!(tally.counts().len() <= 20);
        }
    }
}
