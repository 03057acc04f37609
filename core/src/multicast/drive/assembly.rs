//! Stripes become the head, and the blocks of the body.

use crate::multicast::plan::BodyPlan;
use crate::multicast::receive::Whole;
use crate::multicast::shape::{Part, Shape};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// What has become whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// All of the head, in pieces.
    Head(Vec<Vec<u8>>),
    /// A block of the body, by its number.
    Block(usize, Vec<u8>),
}

/// Stripes that are whole, as long as something of them is waited for.
pub(super) struct Assembly {
    shape: Shape,
    stripes: BTreeMap<u32, Vec<u8>>,
    /// Stripes of the head that are lacking.
    head: u32,
    plan: Arc<BodyPlan>,
    /// Blocks that were handed out.
    out: Vec<bool>,
    /// Memory of stripes that nothing waits for any more.
    done: Vec<Vec<u8>>,
}

impl Assembly {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            stripes: BTreeMap::new(),
            head: shape.head_stripes(),
            plan: Arc::default(),
            out: Vec::new(),
            done: Vec::new(),
            shape,
        }
    }

    /// Bytes of the body that wait. The head waits as a whole, and has a limit of its own.
    pub(super) fn bytes(&self) -> usize {
        self.stripes.range(self.shape.head_stripes()..).map(|(_, bytes)| bytes.len()).sum()
    }

    /// Whether all of the head has come.
    pub(super) fn has_head(&self) -> bool {
        self.head == 0
    }

    /// Memory of stripes that nothing waits for any more.
    pub(super) fn done(&mut self) -> impl Iterator<Item = Vec<u8>> {
        self.done.drain(..)
    }

    /// Gives up the last stripes, until no more than `limit` bytes wait: those that are to come again. What the others wait for comes before these.
    pub(super) fn shrink(&mut self, limit: usize) -> Vec<u32> {
        let (mut bytes, mut out) = (self.bytes(), Vec::new());
        while bytes > limit
            && let Some((stripe, dropped)) = self.stripes.pop_last()
        {
            bytes -= dropped.len();
            out.push(stripe);
        }
        out
    }

    /// Takes a stripe; what is whole now goes to `ready`, in memory that `memory` gives.
    pub(super) fn take(&mut self, whole: Whole, ready: &mut Vec<Ready>, memory: &dyn Fn() -> Vec<u8>) {
        let (part, range) = self.shape.range(whole.stripe);
        self.stripes.insert(whole.stripe, whole.bytes);
        match part {
            Part::Head => {
                self.head -= 1;
                if self.head == 0 {
                    let body = self.stripes.split_off(&self.shape.head_stripes());
                    let head = std::mem::replace(&mut self.stripes, body);
                    ready.push(Ready::Head(head.into_values().collect()));
                }
            }
            Part::Body => {
                self.blocks(self.plan.at(range), ready, memory);
                if !self.out.is_empty() {
                    self.drop_if_used_up(whole.stripe);
                }
            }
        }
    }

    /// The head was read: these are the blocks.
    pub(super) fn plan(&mut self, plan: Arc<BodyPlan>, ready: &mut Vec<Ready>) {
        self.out = vec![false; plan.blocks().len()];
        self.plan = plan;
        self.blocks(0..self.plan.blocks().len(), ready, &Vec::new);
    }

    /// Of all blocks only these are wanted, by their numbers in ascending order. Stripes that hold none of them are waited for no more.
    pub(super) fn only(&mut self, wanted: &[usize]) {
        let mut wanted = wanted.iter().copied().peekable();
        for n in 0..self.out.len() {
            if wanted.next_if_eq(&n).is_none() {
                self.out[n] = true;
            }
        }
        let kept: Vec<u32> = self.stripes.keys().copied().collect();
        kept.into_iter().for_each(|s| self.drop_if_used_up(s));
    }

    fn blocks(&mut self, which: Range<usize>, ready: &mut Vec<Ready>, memory: &dyn Fn() -> Vec<u8>) {
        for n in which {
            let bytes = self.plan.blocks()[n].bytes.clone();
            let stripes = self.shape.of_body(bytes.clone());
            if self.out[n] || !stripes.clone().all(|s| self.stripes.contains_key(&s)) {
                continue;
            }
            let mut block = memory();
            block.clear();
            block.reserve((bytes.end - bytes.start) as usize);
            for stripe in stripes.clone() {
                let (_, at) = self.shape.range(stripe);
                let (from, to) = (bytes.start.max(at.start) - at.start, bytes.end.min(at.end) - at.start);
                if let Some(stripe) = self.stripes.get(&stripe) {
                    block.extend_from_slice(&stripe[from as usize..to as usize]);
                }
            }
            self.out[n] = true;
            ready.push(Ready::Block(n, block));
            stripes.for_each(|s| self.drop_if_used_up(s));
        }
    }

    fn drop_if_used_up(&mut self, stripe: u32) {
        let (_, range) = self.shape.range(stripe);
        if self.plan.at(range).all(|n| self.out[n]) {
            self.done.extend(self.stripes.remove(&stripe));
        }
    }

    /// A block that was handed out is wrong: its stripes, which are to come again.
    pub(super) fn again(&mut self, block: usize) -> Range<u32> {
        self.out[block] = false;
        let stripes = self.shape.of_body(self.plan.blocks()[block].bytes.clone());
        stripes.clone().for_each(|s| _ = self.stripes.remove(&s));
        stripes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_takes_no_memory() {
        let shape = Shape::new(64, 100, 200_000).unwrap();
        let mut plan = BodyPlan::default();
        [50_000, 100_000, 50_000].into_iter().zip(0..).for_each(|(bytes, n)| plan.add(bytes, vec![n]));
        let (mut assembly, mut ready) = (Assembly::new(shape), Vec::new());
        let whole = |stripe: u32| {
            let (_, range) = shape.range(stripe);
            Whole { stripe, bytes: vec![stripe as u8; (range.end - range.start) as usize] }
        };
        assembly.take(whole(0), &mut ready, &Vec::new);
        assembly.plan(plan.into(), &mut ready);
        assembly.take(whole(3), &mut ready, &Vec::new);
        assembly.only(&[0]);
        assert_eq!(assembly.bytes(), 0);
        ready.clear();
        assembly.take(whole(1), &mut ready, &Vec::new);
        assert!(matches!(&ready[..], [Ready::Block(0, b)] if b.len() == 50_000));
        assert_eq!(assembly.bytes(), 0);
    }

    #[test]
    fn blocks_come_when_the_last_of_their_stripes_does() {
        // Symbols of 64 bytes: stripes of 65,536.
        let shape = Shape::new(64, 70_000, 200_000).unwrap();
        let body: Vec<u8> = (0..200_000u32).map(|n| (n / 7) as u8).collect();
        let stripe = |n: u32| {
            let (part, range) = shape.range(n);
            let bytes = match part {
                Part::Head => vec![n as u8; (range.end - range.start) as usize],
                Part::Body => body[range.start as usize..range.end as usize].to_vec(),
            };
            Whole { stripe: n, bytes }
        };
        let mut plan = BodyPlan::default();
        [50_000, 100_000, 50_000].into_iter().zip(0..).for_each(|(bytes, n)| plan.add(bytes, vec![n]));
        let (mut assembly, mut ready) = (Assembly::new(shape), Vec::new());
        assembly.take(stripe(1), &mut ready, &Vec::new);
        // Of the body before anybody knows what is in it.
        assembly.take(stripe(2), &mut ready, &Vec::new);
        assert!(ready.is_empty() && assembly.bytes() == 65_536);
        // Too much of it: the last ones come again.
        assembly.take(stripe(3), &mut ready, &Vec::new);
        assert_eq!((assembly.shrink(100_000), assembly.bytes()), (vec![3], 65_536));
        assembly.take(stripe(0), &mut ready, &Vec::new);
        assert!(
            matches!(&ready.pop(), Some(Ready::Head(h)) if h.concat() == [vec![0; 65_536], vec![1; 4_464]].concat())
        );
        assembly.plan(plan.into(), &mut ready);
        assert_eq!(ready.pop(), Some(Ready::Block(0, body[..50_000].to_vec())));
        assembly.take(stripe(4), &mut ready, &Vec::new);
        assert!(ready.is_empty());
        assembly.take(stripe(5), &mut ready, &Vec::new);
        assert_eq!(ready.pop(), Some(Ready::Block(2, body[150_000..].to_vec())));
        assembly.take(stripe(3), &mut ready, &Vec::new);
        assert_eq!(ready.pop(), Some(Ready::Block(1, body[50_000..150_000].to_vec())));
        assert_eq!(assembly.bytes(), 0);
        // The middle one was wrong.
        assert_eq!(assembly.again(1), 2..5);
        (2..5).for_each(|n| assembly.take(stripe(n), &mut ready, &Vec::new));
        assert_eq!((ready.pop(), ready.pop()), (Some(Ready::Block(1, body[50_000..150_000].to_vec())), None));
        assert_eq!(assembly.bytes(), 0);
    }
}
