//! Cutting content into chunks: the same extent is cut alike in every store, for ever.
//!
//! Cuts are those of FastCDC 2020 with the tables of the crate `fastcdc`. The hash of a place is made of the 64 bytes before it,
//! each hash of the one before, and that chain is what the time goes into: so two places far from each other are looked at
//! in turns, which is faster than the crate.

use fastcdc::v2020::{Normalization, get_gear_with_seed, select_masks};
use std::sync::LazyLock;

/// Longest chunk. Part of the format.
pub const CHUNK_LIMIT: usize = 1 << 20;
/// Extents up to this are one chunk. Part of the format.
pub const WHOLE_LIMIT: usize = 256 << 10;
const MINIMUM: usize = 64 << 10;
const AVERAGE: usize = 256 << 10;
/// So many bytes make a hash: what is older has been shifted out.
const MEMORY: usize = 64;
/// How far the two places are from each other.
const LANE: usize = 8 << 10;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let gear = get_gear_with_seed(0).0;
    let (before, after) = select_masks(AVERAGE, Normalization::Level1);
    Table { gear: std::array::from_fn(|n| gear[n]), before, after }
});

/// What is added for each byte, and which bits of a hash are 0 at a cut: before [`AVERAGE`] more than after it.
struct Table {
    gear: [u64; 256],
    before: u64,
    after: u64,
}

/// Length of the chunk at the front of `bytes`, which are the rest of an extent from a cut on, as far as they are
/// known: either [`CHUNK_LIMIT`] bytes or more, or all that the extent has. `whole` says that they are an extent from
/// its first byte to its last.
#[must_use]
pub fn cut(bytes: &[u8], whole: bool) -> usize {
    if bytes.len() <= MINIMUM || (whole && bytes.len() <= WHOLE_LIMIT) {
        return bytes.len();
    }
    let window = &bytes[..bytes.len().min(CHUNK_LIMIT)];
    // A last byte without a second one is never a cut: the crate takes two at once.
    let end = window.len() & !1;
    let center = AVERAGE.min(end);
    let (table, mut hash) = (&*TABLE, 0);
    scan(window, MINIMUM, center, &table.gear, table.before, &mut hash)
        .or_else(|| scan(window, center, end, &table.gear, table.after, &mut hash))
        .unwrap_or(window.len())
}

fn step(hash: u64, byte: u8, gear: &[u64; 256]) -> u64 {
    (hash << 1).wrapping_add(gear[usize::from(byte)])
}

/// The first place from `at` on, before `to`, at which the hash has none of the bits of `mask`; `hash` is that of the place
/// before `at`, and then that of the last one.
fn scan(bytes: &[u8], mut at: usize, to: usize, gear: &[u64; 256], mask: u64, hash: &mut u64) -> Option<usize> {
    let mut near = *hash;
    while to - at >= 2 * LANE {
        let (first, second) = bytes[at..at + 2 * LANE].split_at(LANE);
        let mut far = first[LANE - MEMORY..].iter().fold(0, |hash, b| step(hash, *b, gear));
        for (n, (a, b)) in first.iter().zip(second).enumerate() {
            (near, far) = (step(near, *a, gear), step(far, *b, gear));
            if near & mask == 0 {
                return Some(at + n);
            }
            if far & mask == 0 {
                // Unless there is one in the rest of the nearer half.
                let rest = first[n + 1..].iter().position(|a| {
                    near = step(near, *a, gear);
                    near & mask == 0
                });
                return Some(rest.map_or(at + LANE + n, |more| at + n + 1 + more));
            }
        }
        near = far;
        at += 2 * LANE;
    }
    let found = bytes[at..to].iter().position(|b| {
        near = step(near, *b, gear);
        near & mask == 0
    });
    *hash = near;
    found.map(|n| at + n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Hash;

    fn noise(n: usize) -> Vec<u8> {
        let mut x = 0x1234_5678_9abc_def0_u64;
        (0..n)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x as u8
            })
            .collect()
    }

    fn cuts(mut bytes: &[u8]) -> Vec<usize> {
        let mut out = Vec::new();
        let mut first = true;
        while !bytes.is_empty() {
            let n = cut(bytes, first);
            out.push(n);
            bytes = &bytes[n..];
            first = false;
        }
        out
    }

    #[test]
    fn boundaries_are_part_of_the_format() {
        let data = noise(3 << 20);
        assert_eq!(Hash::of(&data).short(), GOLDEN_INPUT);
        assert_eq!(cuts(&data), GOLDEN_CUTS);
        assert_eq!(cuts(&data[..WHOLE_LIMIT]), [WHOLE_LIMIT]);
    }

    /// What the crate says of the same bytes.
    fn reference(bytes: &[u8]) -> usize {
        let window = &bytes[..bytes.len().min(CHUNK_LIMIT)];
        let level = Normalization::Level1;
        let mut chunker = fastcdc::v2020::FastCDC::with_level(window, MINIMUM, AVERAGE, CHUNK_LIMIT, level);
        chunker.next().map_or(window.len(), |c| c.length)
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(200))]
        /// Invariant: a cut is where the crate makes it, whatever the bytes and however long they are.
        #[test]
        fn cuts_are_those_of_fastcdc(seed: u64, length in MINIMUM..CHUNK_LIMIT + 10, period in 1..300_000_usize) {
            let mut x = seed | 1;
            let mut bytes: Vec<u8> = Vec::with_capacity(length);
            while bytes.len() < length {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                // What comes again, too: then there is no cut, or one in each part.
                let old = bytes.len().checked_sub(period).map(|at| bytes[at]);
                bytes.push(old.unwrap_or(x as u8));
            }
            proptest::prop_assert_eq!(cut(&bytes, false), reference(&bytes));
        }
    }

    #[test]
    fn cuts_near_each_border_are_those_of_fastcdc() {
        let data = noise(4 << 20);
        let borders = [MINIMUM, MINIMUM + LANE, MINIMUM + 2 * LANE, AVERAGE, AVERAGE + 2 * LANE, CHUNK_LIMIT];
        for length in borders.iter().flat_map(|b| b - 3..b + 4) {
            for at in (0..data.len() - length).step_by(300_007) {
                assert_eq!(cut(&data[at..at + length], false), reference(&data[at..at + length]), "{at} {length}");
            }
        }
        for at in (0..3 << 20).step_by(10_007) {
            assert_eq!(cut(&data[at..], false), reference(&data[at..]), "{at}");
        }
    }

    #[test]
    fn a_window_gives_the_same_cuts_as_the_whole() {
        let data = noise(3 << 20);
        let (mut at, mut out) = (0, Vec::new());
        while at < data.len() {
            let window = &data[at..data.len().min(at + CHUNK_LIMIT)];
            let n = cut(window, false);
            out.push(n);
            at += n;
        }
        assert_eq!(out, cuts(&data));
    }

    const GOLDEN_INPUT: &str = "2709b0a802dc";
    const GOLDEN_CUTS: &[usize] = &[344228, 239866, 624087, 677103, 251416, 395762, 72467, 412786, 128013];
}
