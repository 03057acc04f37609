//! Blocks that together hold a set of chunks, of which some lie in several: few bytes to read, and none for nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::Hash;

/// A chunk that lies in several blocks.
pub(super) struct Several<B> {
    /// The chunk's number.
    pub(super) chunk: u32,
    /// Its bytes.
    pub(super) length: u32,
    /// Where it lies.
    pub(super) blocks: Vec<B>,
}

/// Adds to `chosen`, the blocks that have to be read anyway, what is needed for `several`: always the block that gives most
/// for its bytes, without those that others make superfluous later. `stored` says how many bytes a block has. Gives, for
/// each chunk, the block to take it from.
pub(super) fn cover<B: Copy + Eq + Hash + Ord>(
    several: &[Several<B>],
    chosen: &mut HashSet<B>,
    stored: impl Fn(B) -> u32,
) -> Vec<B> {
    let mut covered: Vec<bool> = several.iter().map(|s| s.blocks.iter().any(|b| chosen.contains(b))).collect();
    let mut offers: HashMap<B, Vec<usize>> = HashMap::new();
    for (n, s) in several.iter().enumerate().filter(|(n, _)| !covered[*n]) {
        s.blocks.iter().for_each(|b| offers.entry(*b).or_default().push(n));
    }
    // A single byte in the largest block still counts: 0 is only what gives nothing.
    let gives = |block: B, covered: &[bool]| {
        let open = offers[&block].iter().filter(|n| !covered[**n]);
        let bytes: u128 = open.map(|n| u128::from(several[*n].length)).sum();
        (bytes << 64) / u128::from(stored(block)).max(1)
    };
    // What a block gives only becomes less: one that still gives as much as was said is the best.
    let mut heap: BinaryHeap<_> = offers.keys().map(|b| (gives(*b, &covered), Reverse(*b))).collect();
    let mut added = Vec::new();
    while let Some((said, Reverse(block))) = heap.pop() {
        let now = gives(block, &covered);
        if now == 0 {
            continue;
        }
        if now < said {
            heap.push((now, Reverse(block)));
            continue;
        }
        added.push(block);
        offers[&block].iter().for_each(|n| covered[*n] = true);
    }
    chosen.extend(&added);
    for block in added {
        let elsewhere = |n: &usize| several[*n].blocks.iter().any(|b| *b != block && chosen.contains(b));
        if offers[&block].iter().all(elsewhere) {
            chosen.remove(&block);
        }
    }
    // What is taken is chosen, whatever was reckoned above: a chunk without a block would be lost.
    let mut take = |s: &Several<B>| {
        let block = s.blocks.iter().find(|b| chosen.contains(b)).copied().unwrap_or(s.blocks[0]);
        chosen.insert(block);
        block
    };
    several.iter().map(&mut take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prop_oneof;

    fn several(places: &[&[u32]]) -> Vec<Several<u32>> {
        let one = |(n, blocks): (usize, &&[u32])| Several { chunk: n as u32, length: 100, blocks: blocks.to_vec() };
        places.iter().enumerate().map(one).collect()
    }

    #[test]
    fn what_is_read_anyway_comes_first() {
        let mut chosen = HashSet::from([1]);
        assert_eq!(cover(&several(&[&[1, 2], &[2, 1], &[2, 3]]), &mut chosen, |_| 100), [1, 2, 2]);
        assert_eq!(chosen, HashSet::from([1, 2]));
    }

    #[test]
    fn a_block_that_others_make_superfluous_is_not_read() {
        // Block 9 gives most at first; what it leaves has to be read from 1 and 2, which have all of it.
        let mut places: Vec<&[u32]> = vec![&[1, 9], &[1, 9], &[2, 9], &[2, 9]];
        places.extend([&[1, 3][..], &[2, 3]]);
        let mut chosen = HashSet::new();
        assert_eq!(cover(&several(&places), &mut chosen, |b| if b == 3 { 1000 } else { 100 }), [1, 1, 2, 2, 1, 2]);
        assert_eq!(chosen, HashSet::from([1, 2]));
    }

    #[test]
    fn the_block_that_gives_most_for_its_bytes_is_read() {
        let chunks = several(&[&[1, 2], &[1, 2], &[1, 3], &[3, 1]]);
        let mut chosen = HashSet::new();
        assert_eq!(cover(&chunks, &mut chosen, |_| 100), [1, 1, 1, 1]);
        let mut chosen = HashSet::new();
        assert_eq!(cover(&chunks, &mut chosen, |b| if b == 1 { 1000 } else { 100 }), [2, 2, 3, 3]);
        assert!(cover(&several(&[]), &mut HashSet::<u32>::new(), |_| 1).is_empty());
    }

    #[test]
    fn a_byte_in_large_blocks_is_read_from_one_of_them() {
        let chunks = [Several { chunk: 0, length: 1, blocks: vec![1, 2] }];
        let mut chosen = HashSet::new();
        assert_eq!(cover(&chunks, &mut chosen, |b| (4 << 20) - b), [2]);
        assert_eq!(chosen, HashSet::from([2]));
    }

    proptest::proptest! {
        /// Invariant: each chunk is taken from a block that has it and is chosen, and no block is added for nothing.
        #[test]
        fn all_is_covered(
            places in proptest::collection::vec(
                (proptest::collection::btree_set(0usize..12, 1..5), prop_oneof![1u32..4, 1u32..1 << 22]), 0..40),
            stored in proptest::collection::vec(prop_oneof![1u32..200, 1u32..4 << 20], 12),
            before in proptest::collection::hash_set(0usize..12, 0..3),
        ) {
            let chunks: Vec<_> = places.into_iter().enumerate().map(|(n, (blocks, length))| {
                Several { chunk: n as u32, length, blocks: blocks.into_iter().collect() }
            }).collect();
            let mut chosen = before.clone();
            let taken = cover(&chunks, &mut chosen, |b| stored[b]);
            for (s, block) in chunks.iter().zip(&taken) {
                proptest::prop_assert!(s.blocks.contains(block) && chosen.contains(block));
            }
            for block in chosen.difference(&before) {
                let only = |s: &Several<usize>| s.blocks.iter().all(|b| b == block || !chosen.contains(b));
                proptest::prop_assert!(chunks.iter().any(|s| s.blocks.contains(block) && only(s)));
            }
        }
    }
}
