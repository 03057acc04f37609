//! How head and body are cut into stripes and symbols. See `multicast-protocol.md` §1.3.

use crate::image::FormatError;
use std::ops::Range;

/// Most symbols of a stripe. Part of the protocol.
pub const STRIPE_SYMBOLS: u16 = 1024;
/// Most bytes of a stripe. Part of the protocol.
pub const STRIPE_BYTES: u32 = 1_500_000;
/// Parity symbols that can be made of a stripe. Part of the protocol.
pub const PARITY: u16 = 512;
/// Fewest bytes of a symbol. Part of the protocol.
pub const SYMBOL_MIN: u16 = 64;
/// Most bytes of a symbol: what a datagram of IPv4 can take. Part of the protocol.
pub const SYMBOL_MAX: u16 = 65_000;
/// Most stripes: 20 bits. Part of the protocol.
pub const STRIPES: u32 = 1 << 20;
/// Most bytes of a head. Part of the protocol.
pub const HEAD_LIMIT: u64 = 1 << 30;

/// Which of the two objects of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Release, manifest, pages and plan.
    Head,
    /// The blocks.
    Body,
}

/// The cut of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    symbol: u16,
    /// Symbols of a full stripe.
    stripe: u16,
    head: u64,
    body: u64,
    head_stripes: u32,
    stripes: u32,
}

impl Shape {
    /// The cut of a head and a body of so many bytes into symbols of `symbol` bytes.
    ///
    /// # Errors
    /// `Malformed` when a symbol is odd, or too short or long; `Limit` when there are too many stripes.
    pub fn new(symbol: u16, head: u64, body: u64) -> Result<Self, FormatError> {
        if !symbol.is_multiple_of(2) || !(SYMBOL_MIN..=SYMBOL_MAX).contains(&symbol) {
            return Err(FormatError::Malformed {
                what: "session",
                why: "a symbol is even, and has 64 to 65,000 bytes",
            });
        }
        if head == 0 || head > HEAD_LIMIT {
            return Err(FormatError::Limit { what: "head of a session", limit: HEAD_LIMIT });
        }
        let stripe = STRIPE_SYMBOLS.min((STRIPE_BYTES / u32::from(symbol)) as u16);
        let bytes = u64::from(symbol) * u64::from(stripe);
        let (head_stripes, body_stripes) = (head.div_ceil(bytes), body.div_ceil(bytes));
        match u32::try_from(head_stripes.saturating_add(body_stripes)) {
            Ok(stripes) if stripes <= STRIPES => {
                Ok(Self { symbol, stripe, head, body, head_stripes: head_stripes as u32, stripes })
            }
            _ => Err(FormatError::Limit { what: "stripes of a session", limit: u64::from(STRIPES) }),
        }
    }

    /// Bytes of a symbol.
    #[must_use]
    pub fn symbol(&self) -> usize {
        usize::from(self.symbol)
    }

    /// Symbols of a full stripe.
    #[must_use]
    pub fn stripe(&self) -> u16 {
        self.stripe
    }

    /// Bytes of the head.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Bytes of the body.
    #[must_use]
    pub fn body(&self) -> u64 {
        self.body
    }

    /// All stripes.
    #[must_use]
    pub fn stripes(&self) -> u32 {
        self.stripes
    }

    /// The stripes of the head: 0 to this.
    #[must_use]
    pub fn head_stripes(&self) -> u32 {
        self.head_stripes
    }

    /// Which bytes a stripe holds, and of what.
    ///
    /// # Panics
    /// When there is no such stripe.
    #[must_use]
    pub fn range(&self, stripe: u32) -> (Part, Range<u64>) {
        assert!(stripe < self.stripes, "there is no stripe {stripe}");
        let (part, n, end) = match stripe.checked_sub(self.head_stripes) {
            None => (Part::Head, stripe, self.head),
            Some(n) => (Part::Body, n, self.body),
        };
        let bytes = u64::from(self.symbol) * u64::from(self.stripe);
        let from = u64::from(n) * bytes;
        (part, from..end.min(from + bytes))
    }

    /// Symbols of a stripe, without parity.
    ///
    /// # Panics
    /// When there is no such stripe.
    #[must_use]
    pub fn symbols(&self, stripe: u32) -> u16 {
        let (_, range) = self.range(stripe);
        (range.end - range.start).div_ceil(u64::from(self.symbol)) as u16
    }

    /// The stripes that hold these bytes of the body.
    #[must_use]
    pub fn of_body(&self, bytes: Range<u64>) -> Range<u32> {
        let stripe = u64::from(self.symbol) * u64::from(self.stripe);
        let end = bytes.end.min(self.body).div_ceil(stripe) as u32;
        let from = ((bytes.start / stripe) as u32).min(end);
        self.head_stripes + from..self.head_stripes + end
    }

    /// Whether this can be a symbol of the session.
    #[must_use]
    pub fn has(&self, stripe: u32, symbol: u16) -> bool {
        stripe < self.stripes && symbol < self.symbols(stripe) + PARITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn head_and_body_begin_with_a_stripe_of_their_own() {
        let shape = Shape::new(1456, 1_000, 4_000_000).unwrap();
        assert_eq!((shape.stripe(), shape.head_stripes(), shape.stripes()), (1024, 1, 4));
        assert_eq!((shape.range(0), shape.symbols(0)), ((Part::Head, 0..1000), 1));
        assert_eq!(shape.range(1), (Part::Body, 0..1_490_944));
        assert_eq!((shape.range(3), shape.symbols(3)), ((Part::Body, 2_981_888..4_000_000), 700));
        assert!(shape.has(3, 700 + 511) && !shape.has(3, 700 + 512) && !shape.has(4, 0));
        assert_eq!(shape.of_body(0..1), 1..2);
        assert_eq!(shape.of_body(1_490_943..1_490_945), 1..3);
        assert_eq!(shape.of_body(3_999_999..4_000_000), 3..4);
        // Jumbo frames: a stripe is as long.
        assert_eq!(Shape::new(8956, 1, 1).unwrap().stripe(), 167);
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        for symbol in [0, 63, 62, 65, 1457, 65_002] {
            assert!(matches!(Shape::new(symbol, 1, 1), Err(FormatError::Malformed { .. })), "{symbol}");
        }
        for (head, body) in [(0, 1), (HEAD_LIMIT + 1, 1), (1, u64::MAX), (1, 2_000_000_000_000)] {
            assert!(matches!(Shape::new(1456, head, body), Err(FormatError::Limit { .. })), "{head} {body}");
        }
        assert_eq!(Shape::new(1456, 1, 0).unwrap().stripes(), 1);
    }

    proptest! {
        /// Each byte of head and body is in one stripe, and all stripes but the last ones are full.
        #[test]
        fn the_stripes_are_all_of_it(symbol in 32u16..800, head in 1u64..9_000_000, body in 0u64..9_000_000) {
            let shape = Shape::new(symbol * 2, head, body).unwrap();
            let mut at = [0, 0];
            for stripe in 0..shape.stripes() {
                let (part, range) = shape.range(stripe);
                prop_assert_eq!(part == Part::Head, stripe < shape.head_stripes());
                let at = &mut at[usize::from(part == Part::Body)];
                prop_assert_eq!(range.start, *at);
                prop_assert!(range.end > range.start && shape.symbols(stripe) <= shape.stripe());
                *at = range.end;
                if part == Part::Body {
                    prop_assert_eq!(shape.of_body(range.clone()), stripe..stripe + 1);
                }
            }
            prop_assert_eq!(at, [head, body]);
        }
    }
}
