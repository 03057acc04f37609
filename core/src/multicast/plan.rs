//! Which blocks follow in the body, and which chunks of the image are in each. See `multicast-protocol.md` §1.2.

use super::shape::HEAD_LIMIT;
use crate::image::FormatError;
use crate::image::block::{CHUNKS_LIMIT, STORED_LIMIT};
use crate::image::leb::{Reader, put};
use std::ops::Range;

/// Most blocks of a plan. Part of the protocol.
const BLOCKS: usize = 1 << 24;

/// A block of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Where it lies in the body.
    pub bytes: Range<u64>,
    /// Positions of its chunks among those of the image that are in the body, ascending.
    pub chunks: Vec<u32>,
}

/// The blocks of a body, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyPlan {
    blocks: Vec<Planned>,
}

impl BodyPlan {
    /// Adds a block of so many bytes as stored, which holds these chunks.
    pub fn add(&mut self, stored: u32, chunks: Vec<u32>) {
        let from = self.bytes();
        self.blocks.push(Planned { bytes: from..from + u64::from(stored), chunks });
    }

    /// The blocks.
    #[must_use]
    pub fn blocks(&self) -> &[Planned] {
        &self.blocks
    }

    /// Bytes of the body.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks.last().map_or(0, |b| b.bytes.end)
    }

    /// Forgets which chunks are in the blocks: whoever takes all blocks need not know.
    pub fn forget_chunks(&mut self) {
        self.blocks.iter_mut().for_each(|b| b.chunks = Vec::new());
    }

    /// The numbers of the blocks that hold any of these bytes.
    #[must_use]
    pub fn at(&self, bytes: Range<u64>) -> Range<usize> {
        let from = self.blocks.partition_point(|b| b.bytes.end <= bytes.start);
        let to = self.blocks.partition_point(|b| b.bytes.start < bytes.end);
        from..to.max(from)
    }

    /// As it stands in the head.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.blocks.len() as u64);
        for block in &self.blocks {
            put(&mut out, block.bytes.end - block.bytes.start);
            put(&mut out, block.chunks.len() as u64);
            let mut next = 0;
            for &chunk in &block.chunks {
                put(&mut out, u64::from(chunk - next));
                next = chunk + 1;
            }
        }
        out
    }

    /// Reads what a head holds, of an image with so many chunks in its body.
    ///
    /// # Errors
    /// Of the format: when it is none, or names chunks that the image has not got, or leaves one out.
    pub fn decode(bytes: &[u8], chunks: usize) -> Result<Self, FormatError> {
        let mut r = Reader::new("plan", bytes);
        let count = r.count(BLOCKS, "blocks of a plan")?;
        // What is said is not believed: memory comes with what is there.
        let mut plan = Self { blocks: Vec::with_capacity(count.min(bytes.len() / 2)) };
        let mut seen = vec![false; chunks];
        for _ in 0..count {
            let stored = r.leb_max(STORED_LIMIT as u64, "bytes of a block")?;
            let has = r.count(CHUNKS_LIMIT.min(chunks), "chunks of a block")?;
            if stored == 0 || has == 0 {
                return r.bad("a block without chunks");
            }
            let (mut of_block, mut next) = (Vec::with_capacity(has.min(r.left())), 0u64);
            for _ in 0..has {
                let chunk = r.leb_max(HEAD_LIMIT, "distance of chunks")? + next;
                match seen.get_mut(chunk as usize) {
                    Some(seen) => *seen = true,
                    None => return r.bad("a chunk that the image has not got"),
                }
                of_block.push(chunk as u32);
                next = chunk + 1;
            }
            plan.add(stored as u32, of_block);
        }
        if r.left() > 0 {
            return r.bad("something after the last block");
        }
        if seen.contains(&false) {
            return r.bad("a chunk of the image is in no block");
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan() -> BodyPlan {
        let mut plan = BodyPlan::default();
        plan.add(100, vec![0, 1, 4]);
        plan.add(1, vec![3]);
        plan.add(300_000, vec![2, 3]);
        plan
    }

    #[test]
    fn byte_for_byte() {
        let bytes = plan().encode();
        assert_eq!(bytes, [3, 100, 3, 0, 0, 2, 1, 1, 3, 0xe0, 0xa7, 0x12, 2, 2, 0]);
        assert_eq!(BodyPlan::decode(&bytes, 5).unwrap(), plan());
        assert_eq!(BodyPlan::decode(&[0], 0).unwrap().bytes(), 0);
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        let bytes = plan().encode();
        for cut in 0..bytes.len() {
            assert!(BodyPlan::decode(&bytes[..cut], 5).is_err(), "{cut}");
        }
        let with = |n: usize, byte| {
            let mut bytes = bytes.clone();
            bytes[n] = byte;
            BodyPlan::decode(&bytes, 5).unwrap_err().to_string()
        };
        assert_eq!(
            BodyPlan::decode(&bytes, 6).unwrap_err().to_string(),
            "plan is malformed: a chunk of the image is in no block"
        );
        assert_eq!(
            BodyPlan::decode(&bytes, 4).unwrap_err().to_string(),
            "plan is malformed: a chunk that the image has not got"
        );
        assert_eq!(with(0, 2), "plan is malformed: something after the last block");
        assert_eq!(with(1, 0), "plan is malformed: a block without chunks");
        assert_eq!(with(2, 0), "plan is malformed: a block without chunks");
        assert!(BodyPlan::decode(&[0xff, 0xff, 0xff, 0xff, 0x0f], 5).unwrap_err().to_string().contains("limit"));
    }

    #[test]
    fn blocks_are_found_by_their_bytes() {
        let plan = plan();
        assert_eq!(plan.at(0..1), 0..1);
        assert_eq!(plan.at(99..101), 0..2);
        assert_eq!(plan.at(100..102), 1..3);
        assert_eq!(plan.at(300_100..300_101), 2..3);
        assert_eq!(plan.at(300_101..400_000), 3..3);
    }

    proptest! {
        /// Whatever bytes come: no panic, and what is read is written as it was.
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(0u8..8, 0..60)) {
            if let Ok(plan) = BodyPlan::decode(&bytes, 5) {
                prop_assert_eq!(plan.encode(), bytes);
            }
        }
    }
}
