//! What is sent again: fresh parity, counted, and whole stripes. See `multicast-protocol.md` §4.

use super::Burst;
use crate::multicast::shape::{PARITY, Shape};
use std::collections::BTreeSet;

/// Batches of a stripe that are kept in mind. Reports about older ones have long been answered.
const BATCHES: usize = 200;

/// What was sent of each stripe after the first pass over it, and what is to be sent.
pub(super) struct Repair {
    stripes: Vec<Stripe>,
    /// Those with something pending.
    pending: BTreeSet<u32>,
    /// Those that are sent again as a whole.
    whole: BTreeSet<u32>,
    /// The one that is being sent again, and its next symbol.
    current: Option<(u32, u16)>,
    /// The last one that was sent again: they go in turns.
    turn: u32,
}

#[derive(Clone, Default)]
struct Stripe {
    /// The last number of each batch of symbols, and how many they were.
    sent: Vec<(u32, u16)>,
    pending: u16,
    next_parity: u16,
    again: Again,
}

/// Whether a stripe is sent as a whole.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Again {
    #[default]
    No,
    /// It will be, or is being sent.
    Underway,
    /// It was; its last symbol had this number.
    Sent(u32),
}

/// Whether `a` came after `b`, where numbers may wrap.
pub(super) fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

impl Repair {
    pub(super) fn new(shape: &Shape) -> Self {
        Self {
            stripes: vec![Stripe::default(); shape.stripes() as usize],
            pending: BTreeSet::new(),
            whole: BTreeSet::new(),
            current: None,
            turn: 0,
        }
    }

    /// Whether there is nothing to be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.whole.is_empty() && self.current.is_none()
    }

    /// Parity that is sent although nobody has asked for it.
    pub(super) fn ahead(&mut self, stripe: u32, symbols: u16) {
        self.raise(stripe, symbols);
    }

    /// Somebody who has seen everything up to `seq` lacks so many symbols of a stripe that was sent once; how much more is sent for that before what others wait for.
    pub(super) fn lacks(&mut self, shape: &Shape, stripe: u32, lacks: u16, seq: u32) -> u16 {
        let Some(s) = self.stripes.get_mut(stripe as usize) else { return 0 };
        let count = shape.symbols(stripe);
        match s.again {
            Again::Underway => return 0,
            Again::Sent(last) if is_after(last, seq) => return 0,
            _ => {}
        }
        if u32::from(lacks) * 16 >= u32::from(count) * 15 && count > 16 || lacks >= count {
            s.again = Again::Underway;
            self.whole.insert(stripe);
            // Of the head it goes before what others wait for.
            return if stripe < shape.head_stripes() { count } else { 0 };
        }
        let since: u32 = s.sent.iter().filter(|(last, _)| is_after(*last, seq)).map(|(_, n)| u32::from(*n)).sum();
        self.raise(stripe, u32::from(lacks).saturating_sub(since) as u16)
    }

    fn raise(&mut self, stripe: u32, symbols: u16) -> u16 {
        let s = &mut self.stripes[stripe as usize];
        let more = symbols.saturating_sub(s.pending);
        if more > 0 {
            s.pending = symbols;
            self.pending.insert(stripe);
        }
        more
    }

    /// The next symbols to be sent, at most so many, with parity first: whole stripes only where nothing else is to do, but for
    /// those of the head. `loss` is the share that receivers lose; `is_tail`: nothing follows in which the rest could be made good.
    pub(super) fn parity(&mut self, shape: &Shape, room: u16, loss: f64, is_tail: bool) -> Option<Burst> {
        loop {
            let stripe = *self.pending.first()?;
            let s = &mut self.stripes[stripe as usize];
            let surplus = surplus(s.pending, loss, is_tail);
            let left = PARITY - s.next_parity;
            if left < s.pending {
                // Used up: the symbols themselves are as good.
                (s.pending, s.next_parity) = (0, 0);
                self.pending.remove(&stripe);
                if s.again != Again::Underway {
                    s.again = Again::Underway;
                    self.whole.insert(stripe);
                }
                continue;
            }
            let count = (s.pending + surplus).min(left).min(room);
            let from = shape.symbols(stripe) + s.next_parity;
            s.next_parity += count;
            s.pending = s.pending.saturating_sub(count);
            if s.pending == 0 {
                self.pending.remove(&stripe);
            }
            return Some(Burst { stripe, symbols: from..from + count, seq: 0, repair: true, again: false });
        }
    }

    /// The next symbols of a stripe that is sent again; `before` limits it to the stripes before that one.
    pub(super) fn again(&mut self, shape: &Shape, room: u16, before: u32) -> Option<Burst> {
        let (stripe, from) = match self.current {
            Some((stripe, next)) if stripe < before => (stripe, next),
            Some(_) => return None,
            None => {
                let next = self
                    .whole
                    .range(self.turn.min(before)..before)
                    .next()
                    .or_else(|| self.whole.range(..before).next());
                let stripe = *next?;
                self.whole.remove(&stripe);
                self.turn = stripe + 1;
                (stripe, 0)
            }
        };
        let count = shape.symbols(stripe);
        let to = count.min(from + room);
        self.current = (to < count).then_some((stripe, to));
        Some(Burst { stripe, symbols: from..to, seq: 0, repair: true, again: true })
    }

    /// A burst was sent; its last symbol had this number.
    pub(super) fn sent(&mut self, shape: &Shape, burst: &Burst, last: u32) {
        let s = &mut self.stripes[burst.stripe as usize];
        if !burst.again {
            if s.sent.len() == BATCHES {
                s.sent.drain(..BATCHES / 2);
            }
            s.sent.push((last, burst.symbols.len() as u16));
        } else if burst.symbols.end == shape.symbols(burst.stripe) {
            s.again = Again::Sent(last);
        }
    }
}

/// Symbols beyond those that are lacking, since some of these will be lost, too.
fn surplus(pending: u16, loss: f64, is_tail: bool) -> u16 {
    let lost = f64::from(pending) * loss;
    match is_tail {
        _ if loss <= 0.0 => 0,
        true => (lost + 2.0 * lost.sqrt() + 1.0).ceil() as u16,
        false => lost.round() as u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        // One stripe of the head, three of the body.
        Shape::new(64, 6_400, 3 * 65_536).unwrap()
    }

    fn drain(repair: &mut Repair, seq: &mut u32) -> Vec<(u32, u16, u16, bool)> {
        let shape = shape();
        let mut out = Vec::new();
        while let Some(burst) = repair.parity(&shape, 16, 0.0, false).or_else(|| repair.again(&shape, 2000, u32::MAX)) {
            *seq += burst.symbols.len() as u32;
            repair.sent(&shape, &burst, *seq);
            out.push((burst.stripe, burst.symbols.start, burst.symbols.end, burst.again));
        }
        out
    }

    #[test]
    fn many_that_lack_cost_the_most_that_one_lacks() {
        let (shape, mut repair, mut seq) = (shape(), Repair::new(&shape()), 4000);
        for lacks in [3, 10, 1, 10, 7] {
            repair.lacks(&shape, 1, lacks, seq);
        }
        repair.lacks(&shape, 2, 2, seq);
        assert_eq!(drain(&mut repair, &mut seq), [(1, 1024, 1034, false), (2, 1024, 1026, false)]);
        assert!(repair.is_idle());
        // Late reports, of before: it is answered already.
        for lacks in [3, 10] {
            repair.lacks(&shape, 1, lacks, 4000);
        }
        assert_eq!(drain(&mut repair, &mut seq), []);
        // More than what was sent since.
        repair.lacks(&shape, 1, 12, 4000);
        assert_eq!(drain(&mut repair, &mut seq), [(1, 1034, 1036, false)]);
        // One that has seen it all, and lost 4 of them.
        repair.lacks(&shape, 1, 4, seq);
        assert_eq!(drain(&mut repair, &mut seq), [(1, 1036, 1040, false)]);
    }

    #[test]
    fn a_whole_stripe_is_sent_once_however_many_want_it() {
        let (shape, mut repair, mut seq) = (shape(), Repair::new(&shape()), 4000);
        repair.lacks(&shape, 2, 1024, seq);
        repair.lacks(&shape, 2, 970, seq);
        repair.lacks(&shape, 1, 1000, seq);
        repair.lacks(&shape, 2, 5, seq);
        assert_eq!(drain(&mut repair, &mut seq), [(1, 0, 1024, true), (2, 0, 1024, true)]);
        repair.lacks(&shape, 2, 1024, 4000);
        repair.lacks(&shape, 2, 9, seq - 1);
        assert_eq!(drain(&mut repair, &mut seq), [], "they have not seen it yet");
        repair.lacks(&shape, 2, 9, seq);
        assert_eq!(drain(&mut repair, &mut seq), [(2, 1024, 1033, false)]);
    }

    #[test]
    fn when_its_parity_is_used_up_a_stripe_is_sent_again() {
        let (shape, mut repair, mut seq) = (shape(), Repair::new(&shape()), 4000);
        for round in 0..3 {
            repair.lacks(&shape, 1, 200, seq);
            let sent = drain(&mut repair, &mut seq);
            assert_eq!(sent.iter().map(|s| s.2 - s.1).sum::<u16>(), if round < 2 { 200 } else { 1024 });
        }
        repair.lacks(&shape, 1, 3, seq);
        assert_eq!(drain(&mut repair, &mut seq), [(1, 1024, 1027, false)]);
    }

    #[test]
    fn a_short_stripe_is_repaired_by_parity_until_all_of_it_lacks() {
        let shape = Shape::new(64, 64 * 4, 0).unwrap();
        let mut repair = Repair::new(&shape);
        repair.lacks(&shape, 0, 3, 9);
        assert_eq!(repair.parity(&shape, 16, 0.0, true).unwrap().symbols, 4..7);
        repair.lacks(&shape, 0, 4, 9);
        assert_eq!(repair.again(&shape, 16, 1).unwrap().symbols, 0..4);
    }

    #[test]
    fn the_surplus_follows_the_loss() {
        assert_eq!([surplus(10, 0.0, true), surplus(100, 0.05, false), surplus(100, 0.05, true)], [0, 5, 11]);
    }
}
