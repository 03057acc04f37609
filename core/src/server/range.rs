//! The `Range` header, RFC 9110 §14: one range of bytes. Several at once are not given; such a header counts for nothing.

/// What of an object is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// From the first on, so many bytes; never none.
    Part(u64, u64),
    /// Something behind its end.
    Beyond,
}

/// What a header wants of an object of `size` bytes.
#[must_use]
pub fn parse(header: &str, size: u64) -> Wanted {
    let Some(range) = header.trim().strip_prefix("bytes=").map(str::trim) else { return Wanted::Whole };
    let Some((first, last)) = range.split_once('-') else { return Wanted::Whole };
    let number = |text: &str| {
        let text = text.trim();
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
    };
    match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            Some(0) => Wanted::Beyond,
            Some(_) if size == 0 => Wanted::Beyond,
            Some(n) => Wanted::Part(size.saturating_sub(n), n.min(size)),
            None => Wanted::Whole,
        },
        (first, "") => match number(first) {
            Some(first) if first < size => Wanted::Part(first, size - first),
            Some(_) => Wanted::Beyond,
            None => Wanted::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if last < first => Wanted::Whole,
            (Some(first), Some(_)) if first >= size => Wanted::Beyond,
            (Some(first), Some(last)) => Wanted::Part(first, last.min(size - 1) - first + 1),
            _ => Wanted::Whole,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_range_is_given_and_several_are_not() {
        for (header, wanted) in [
            ("bytes=0-9", Wanted::Part(0, 10)),
            ("bytes=90-200", Wanted::Part(90, 10)),
            ("bytes=99-", Wanted::Part(99, 1)),
            ("bytes=-10", Wanted::Part(90, 10)),
            ("bytes=-1000", Wanted::Part(0, 100)),
            ("bytes= 5 - 6 ", Wanted::Part(5, 2)),
            ("bytes=100-", Wanted::Beyond),
            ("bytes=100-200", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=9-0", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=0-99999999999999999999999", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
        ] {
            assert_eq!(parse(header, 100), wanted, "{header}");
        }
        assert_eq!(parse("bytes=0-0", 0), Wanted::Beyond);
        assert_eq!(parse("bytes=-5", 0), Wanted::Beyond);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_object(header in "(bytes=)?[0-9 ,-]{0,24}", size in any::<u64>()) {
            if let Wanted::Part(first, length) = parse(&header, size) {
                prop_assert!(length > 0 && first.checked_add(length).is_some_and(|end| end <= size));
            }
        }
    }
}
