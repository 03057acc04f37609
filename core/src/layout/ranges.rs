//! A set of byte ranges: what is kept on a disk, and what may be written.
//!
//! ```text
//!      insert (20,30)        without
//! |----|####|------|   and   |--XXXX|----XXXX|
//! ```
//!
//! Ranges are half open (`start` is in, `end` is not), sorted, apart from each other, and never empty.

/// The set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// None at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `length` bytes from `start` on; beyond 2^64 there is nothing.
    pub fn insert(&mut self, start: u64, length: u64) {
        let end = start.saturating_add(length);
        if start >= end {
            return;
        }
        // Those that touch the new one become part of it.
        let first = self.0.partition_point(|r| r.1 < start);
        let last = self.0.partition_point(|r| r.0 <= end);
        let touched = self.0.drain(first..last);
        let (low, high) = touched.fold((start, end), |(low, high), r| (low.min(r.0), high.max(r.1)));
        self.0.insert(first, (low, high));
    }

    /// The first range that has a byte in common with `length` bytes from `start` on.
    #[must_use]
    pub fn touching(&self, start: u64, length: u64) -> Option<(u64, u64)> {
        let end = start.saturating_add(length);
        let first = self.0.partition_point(|r| r.1 <= start);
        self.0.get(first).copied().filter(|r| r.0 < end && start < end)
    }

    /// Whether all of these bytes are in.
    #[must_use]
    pub fn covers(&self, start: u64, length: u64) -> bool {
        length == 0 || self.touching(start, length).is_some_and(|r| r.0 <= start && r.1 >= start.saturating_add(length))
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for (mut start, end) in self.0.iter().copied() {
            while let Some((from, to)) = other.touching(start, end - start) {
                if start < from {
                    left.push((start, from));
                }
                start = to.min(end);
            }
            if start < end {
                left.push((start, end));
            }
        }
        Self(left)
    }

    /// What is in this set and lies between `low` and `high`.
    #[must_use]
    pub fn between(&self, low: u64, high: u64) -> Self {
        let cut = self.0.iter().map(|(start, end)| (*start.max(&low), *end.min(&high)));
        Self(cut.filter(|(start, end)| start < end).collect())
    }

    /// Begin and end of each.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// From pairs of start and length.
impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<T: IntoIterator<Item = (u64, u64)>>(pairs: T) -> Self {
        let mut ranges = Self::new();
        pairs.into_iter().for_each(|(start, length)| ranges.insert(start, length));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(r: &Ranges) -> Vec<(u64, u64)> {
        r.iter().collect()
    }

    #[test]
    fn neighbours_become_one() {
        let r: Ranges = [(10, 10), (40, 10), (20, 5), (0, 0), (45, 20), (u64::MAX - 5, 100)].into_iter().collect();
        assert_eq!(all(&r), [(10, 25), (40, 65), (u64::MAX - 5, u64::MAX)]);
        assert_eq!((r.touching(25, 15), r.touching(24, 1), r.touching(24, 0)), (None, Some((10, 25)), None));
        assert!(r.covers(10, 15) && !r.covers(10, 16) && r.covers(30, 0));
        assert_eq!(all(&r.between(20, 50)), [(20, 25), (40, 50)]);
    }

    proptest! {
        /// Each operation agrees with sets of single bytes.
        #[test]
        fn as_sets_of_bytes(
            a in proptest::collection::vec((0u64..60, 0u64..20), 0..8),
            b in proptest::collection::vec((0u64..60, 0u64..20), 0..8),
            at in 0u64..90, n in 0u64..9,
        ) {
            let set = |pairs: &[(u64, u64)], byte: u64| pairs.iter().any(|(s, l)| (*s..s + l).contains(&byte));
            let (x, y): (Ranges, Ranges) = (a.iter().copied().collect(), b.iter().copied().collect());
            let difference = x.without(&y);
            for byte in 0..100 {
                prop_assert_eq!(x.covers(byte, 1), set(&a, byte));
                prop_assert_eq!(difference.covers(byte, 1), set(&a, byte) && !set(&b, byte));
            }
            prop_assert_eq!(x.touching(at, n).is_some(), (at..at + n).any(|i| set(&a, i)));
            prop_assert_eq!(x.covers(at, n), (at..at + n).all(|i| set(&a, i)));
            for r in [&x, &difference] {
                prop_assert!(r.iter().all(|(s, e)| s < e));
            }
            prop_assert!(all(&x).windows(2).all(|w| w[0].1 < w[1].0));
        }
    }
}
