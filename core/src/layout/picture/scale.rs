//! Sizes to scale: pixels in proportion to bytes, no fewer than a least number.

/// Widths that add up to `total` pixels. Sizes whose share is under `least` get `least`; the others share what is left,
/// in proportion. Where there is not room for that many, `least` shrinks.
pub(super) fn widths(sizes: &[u64], total: u32, least: u32) -> Vec<u32> {
    let count = u32::try_from(sizes.len()).unwrap_or(u32::MAX).max(1);
    let least = u64::from(least.min(total / count));
    let sizes: Vec<u128> = sizes.iter().map(|s| u128::from((*s).max(1))).collect();
    let mut small = vec![false; sizes.len()];
    // What is given to the small ones is missing to the others, of which some may be small then.
    let (mut room, mut sum);
    loop {
        let given = small.iter().filter(|s| **s).count() as u64 * least;
        room = u128::from(u64::from(total).saturating_sub(given));
        sum = sizes.iter().zip(&small).filter(|(_, s)| !**s).map(|(size, _)| *size).sum::<u128>();
        let before = small.clone();
        for (size, small) in sizes.iter().zip(&mut small) {
            *small |= *size * room < u128::from(least) * sum;
        }
        if small == before {
            break;
        }
    }
    let mut done = 0u128;
    let width = |(size, small): (&u128, &bool)| {
        if *small {
            return u32::try_from(least).unwrap_or(total);
        }
        // Of running sums, so that what is rounded away here is given there.
        let from = done * room / sum;
        done += size;
        u32::try_from(done * room / sum - from).unwrap_or(total)
    };
    sizes.iter().zip(&small).map(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_ones_are_seen_and_large_ones_in_proportion() {
        assert_eq!(widths(&[1, 600, 300], 910, 10), [10, 600, 300]);
        assert_eq!(widths(&[5], 100, 10), [100]);
        assert_eq!(widths(&[0, 0, 0], 100, 50), [33, 33, 34]);
        assert!(widths(&[], 100, 10).is_empty());
    }

    proptest! {
        /// Widths add up, none is under the least, and of two the larger size is not narrower by more than the rounding.
        #[test]
        fn widths_add_up(sizes in proptest::collection::vec(any::<u64>(), 1..300), total in 300u32..2000, least in 0u32..100) {
            let found = widths(&sizes, total, least);
            let least = least.min(total / u32::try_from(sizes.len()).unwrap());
            prop_assert_eq!(found.iter().sum::<u32>(), total);
            prop_assert!(found.iter().all(|w| *w >= least));
            for (a, wide) in sizes.iter().zip(&found) {
                for (b, other) in sizes.iter().zip(&found) {
                    prop_assert!(a < b || *wide + 1 >= *other, "{} {} {} {}", a, wide, b, other);
                }
            }
        }
    }
}
