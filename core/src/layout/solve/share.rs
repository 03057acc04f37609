//! Sharing out a number of units, be they MiB of a disk or extents of a group.
//!
//! Each claim has its least first: what it needs, or its percentage. What is left goes to those that grow, one unit
//! after the other to the one that is furthest behind its weight (d'Hondt), ties to the first. That method never takes
//! from anyone when there is more to share.

use super::range::lcm;
use crate::layout::size::{Base, Size};

/// Steps of the search for the last whole unit; more than two weights multiplied, so that no two different quotients
/// lie in one step.
const FINE: u128 = 1 << 20;
/// Percentages are looked ahead at most this far.
const LOOK_AHEAD: u64 = 20_000;

/// What one wants of what is shared out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// The least, in units.
    pub least: u64,
    /// The most, in units; none without a limit. Under the least it does not count.
    pub most: Option<u64>,
    /// Hundredths of everything that it has at least.
    pub percent: u64,
    /// Its share of what is left; 0 for one that does not grow.
    pub weight: u32,
    /// It gets multiples of this.
    pub step: u64,
}

/// A claim cannot be told without the memory of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRam;

impl Claim {
    /// What a size of a document means in units of `unit` bytes, where what stands on it needs `need` bytes.
    pub(super) fn of(size: &Size, need: u64, unit: u64, ram: Option<u64>) -> Result<Self, NoRam> {
        let up = |bytes: u64| bytes.div_ceil(unit);
        let need = up(need).max(1);
        Ok(match *size {
            Size::Fixed(bytes) => {
                let n = up(bytes.bytes()).max(1);
                Self { least: n, most: Some(n), ..Self::default() }
            }
            Size::Rest => Self { least: need, weight: 1, ..Self::default() },
            Size::Flex { min, max, weight } => {
                let most = max.map(|m| m.bytes() / unit);
                Self { least: up(min.bytes()).max(need), most, weight, ..Self::default() }
            }
            Size::Percent(p) => Self { least: need, percent: p.number().into(), ..Self::default() },
            Size::Of { base: Base::Disk, percent, min, max } => {
                let least = min.map_or(0, |m| up(m.bytes())).max(need);
                Self { least, most: max.map(|m| m.bytes() / unit), percent: percent.into(), ..Self::default() }
            }
            Size::Of { base: Base::Ram, percent, min, max } => {
                let share = part(ram.ok_or(NoRam)?, percent.into()) / unit;
                let share = max.map_or(share, |m| share.min(m.bytes() / unit));
                let n = share.max(min.map_or(0, |m| up(m.bytes()))).max(need);
                Self { least: n, most: Some(n), ..Self::default() }
            }
        })
    }

    /// What it has of `whole` before anything grows.
    pub(super) fn at(&self, whole: u64) -> u64 {
        let percent = part(whole, self.percent).min(self.most.unwrap_or(u64::MAX));
        let step = self.step.max(1);
        (percent / step * step).max(self.least.checked_next_multiple_of(step).unwrap_or(u64::MAX))
    }

    /// How much it can grow beyond `has`.
    fn room(&self, has: u64) -> u64 {
        if self.weight == 0 { 0 } else { self.most.map_or(u64::MAX, |m| m.saturating_sub(has)) }
    }
}

fn part(whole: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(whole) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

/// What each claim gets of `whole`; none where it does not fit.
pub(super) fn share(claims: &[Claim], whole: u64) -> Option<Vec<u64>> {
    let left = spare(claims, whole)?;
    let mut has: Vec<u64> = claims.iter().map(|c| c.at(whole)).collect();
    grow(claims, &mut has, left);
    Some(has)
}

/// What is left of `whole` to grow into; none where it is too little.
///
/// Several percentages may all round up at the same unit, and then a bigger whole leaves less. What such a bigger whole
/// would take away is not given to begin with.
pub(super) fn spare(claims: &[Claim], whole: u64) -> Option<u64> {
    let left = |whole: u64| {
        let taken: u128 = claims.iter().map(|c| u128::from(c.at(whole))).sum();
        u128::from(whole).checked_sub(taken).and_then(|l| u64::try_from(l).ok())
    };
    let moving = claims.iter().filter(|c| c.percent > 0);
    let steps = moving.clone().fold(1, |all, c| lcm(all, c.step.max(1)));
    let ahead = match moving.count() {
        0 => 0,
        1 if steps == 1 => 0,
        _ => steps.saturating_mul(100).min(LOOK_AHEAD),
    };
    (whole..=whole.saturating_add(ahead)).map(left).try_fold(u64::MAX, |least, l| Some(least.min(l?)))
}

/// The least that is enough for all of them; none where nothing is.
pub(super) fn least(claims: &[Claim]) -> Option<u64> {
    let sum = claims.iter().map(|c| u128::from(c.at(0))).sum::<u128>();
    let mut low = u64::try_from(sum).ok()?;
    let mut high = low;
    while spare(claims, high).is_none() {
        low = high + 1;
        high = high.max(1).checked_mul(2).filter(|h| *h < 1 << 56)?;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if spare(claims, middle).is_some() { high = middle } else { low = middle + 1 }
    }
    Some(low)
}

/// Shares `left` units out among those that grow.
pub(super) fn grow(claims: &[Claim], has: &mut [u64], left: u64) {
    let growing: Vec<(usize, u64, u64)> = (0..claims.len())
        .map(|i| (i, u64::from(claims[i].weight), claims[i].room(has[i])))
        .filter(|(_, _, room)| *room > 0)
        .collect();
    let whole =
        |(_, weight, room): &(usize, u64, u64), time: u128| u128::from(*room).min(u128::from(*weight) * time / FINE);
    let given = |time: u128| growing.iter().map(|g| whole(g, time)).sum::<u128>();
    // Everyone gets the whole units of its weight times a time: find the last time that fits …
    let (mut low, mut high) = (0u128, (u128::from(left) + 1) * FINE);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if given(middle) <= u128::from(left) { low = middle } else { high = middle - 1 }
    }
    // … and of those that would get their next one in the same moment, the first do.
    let mut rest = u128::from(left) - given(low);
    let mut got: Vec<(usize, u128)> = Vec::with_capacity(growing.len());
    for g in &growing {
        let now = whole(g, low);
        let next = (whole(g, low + 1) - now).min(rest);
        rest -= next;
        got.push((g.0, now + next));
    }
    for (i, units) in got {
        let step = claims[i].step.max(1);
        has[i] += u64::try_from(units).unwrap_or(u64::MAX) / step * step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grows(least: u64, most: Option<u64>, weight: u32) -> Claim {
        Claim { least, most, weight, ..Claim::default() }
    }

    #[test]
    fn weights_and_maximums() {
        // 30 as least, then 80: the first takes 10 and is full; 70 go one to three, and the odd one to the third.
        let claims = [grows(10, Some(20), 5), grows(10, None, 1), grows(10, None, 3)];
        assert_eq!(share(&claims, 110), Some(vec![20, 27, 63]));
        assert_eq!(share(&claims, 29), None);
        assert_eq!(share(&[grows(1, None, 1), grows(1, None, 1)], 5), Some(vec![3, 2]));
        assert_eq!(share(&[], 5), Some(vec![]));
        assert_eq!(share(&[grows(5, Some(3), 1)], 9), Some(vec![5]));
    }

    #[test]
    fn percentages_and_steps() {
        let half = Claim { least: 3, percent: 50, ..Claim::default() };
        assert_eq!(share(&[half, grows(1, None, 1)], 11), Some(vec![5, 6]));
        assert_eq!(share(&[half, grows(1, None, 1)], 4), Some(vec![3, 1]));
        let capped = Claim { most: Some(4), ..half };
        assert_eq!(share(&[capped, grows(1, None, 1)], 100), Some(vec![4, 96]));
        let striped = Claim { step: 3, ..grows(4, None, 1) };
        assert_eq!(share(&[striped], 11), Some(vec![9]));
        assert_eq!(least(&[striped, grows(2, None, 1)]), Some(8));
        assert_eq!(least(&[half, half]), Some(6));
        assert_eq!(least(&[Claim { percent: 100, ..Claim::default() }, grows(1, None, 1)]), None);
    }

    /// One unit after the other, as the method is defined.
    fn singly(claims: &[Claim], has: &mut [u64], left: u64) {
        let begun = has.to_vec();
        for _ in 0..left {
            let open = (0..claims.len()).filter(|i| claims[*i].weight > 0 && claims[*i].room(has[*i]) > 0);
            let behind = open.min_by(|a, b| {
                let quotient = |i: usize, other: usize| (has[i] - begun[i] + 1) * u64::from(claims[other].weight);
                quotient(*a, *b).cmp(&quotient(*b, *a))
            });
            let Some(i) = behind else { break };
            has[i] += 1;
        }
    }

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        let one = (0u64..50, proptest::option::of(0u64..400), 0u32..=1000, 1u64..5, 0u64..=14).prop_map(
            |(least, extra, weight, step, percent)| {
                let most = extra.map(|e| least + e);
                match weight {
                    // A seventh of them percentages, of a hundred at most together.
                    900.. => Claim { least, most, percent, step, weight: 0 },
                    _ => Claim { least, most, weight, step, percent: 0 },
                }
            },
        );
        proptest::collection::vec(one, 1..7)
    }

    proptest! {
        /// The quick way and the slow one give the same.
        #[test]
        fn growth_is_by_quotients(mut claims in claims(), left in 0u64..3000) {
            claims.iter_mut().for_each(|c| c.step = 1);
            let mut quick: Vec<u64> = claims.iter().map(|c| c.at(0)).collect();
            let mut slow = quick.clone();
            grow(&claims, &mut quick, left);
            singly(&claims, &mut slow, left);
            prop_assert_eq!(quick, slow);
        }

        /// More to share never means less for anyone, and the least that is enough is the least.
        #[test]
        fn nobody_loses(claims in claims(), more in 0u64..500, extra in 0u64..300) {
            let Some(least) = least(&claims) else { return Ok(()) };
            prop_assert!(least == 0 || share(&claims, least - 1).is_none());
            let small = share(&claims, least + more).unwrap();
            let big = share(&claims, least + more + extra).unwrap();
            prop_assert!(small.iter().sum::<u64>() <= least + more);
            for (a, b) in small.iter().zip(&big) {
                prop_assert!(a <= b, "{:?} {:?}", small, big);
            }
        }
    }
}
