//! The stripes of a session at a receiver: which are whole, which are not wanted, and the symbols of those in between.

use crate::error::Result;
use crate::multicast::fec::Decoder;
use crate::multicast::shape::{PARITY, STRIPE_SYMBOLS, Shape};
use crate::multicast::wire::Header;

/// Bits for all symbols of a stripe.
const WORDS: usize = (STRIPE_SYMBOLS + PARITY) as usize / 64;

/// A stripe that is whole: its number and its bytes, padding cut off.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// The stripe.
    pub stripe: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

enum Slot {
    /// Nothing has come of it.
    Empty,
    /// Some symbols have come.
    Open(Box<Open>),
    /// All of it was handed out.
    Whole,
    /// Nobody here needs it.
    Unwanted,
}

struct Open {
    /// The stripe's own symbols, one after the other.
    symbols: Vec<u8>,
    parity: Vec<(u16, Vec<u8>)>,
    has: [u64; WORDS],
    count: u16,
}

impl Open {
    fn has(&self, symbol: u16) -> bool {
        self.has[usize::from(symbol / 64)] >> (symbol % 64) & 1 > 0
    }
}

/// What became of a symbol.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is kept.
    Kept,
    /// It was there already, or its stripe is whole or not wanted.
    Useless,
    /// There was no room for its stripe.
    NoRoom,
    /// It was the last one that was lacking.
    Whole(Whole),
}

/// All stripes of a session.
pub(super) struct Stripes {
    shape: Shape,
    slots: Vec<Slot>,
    decoder: Decoder,
    /// Memory of stripes that were handed out and came back.
    spare: Vec<Vec<u8>>,
    open: Vec<u32>,
    /// Most that may be open.
    open_limit: usize,
    /// All before it are whole, or not wanted.
    first: u32,
    whole: u32,
    unwanted: u32,
    forgotten: u64,
    restored: u64,
}

impl Stripes {
    /// None of them here; at most so many bytes of those that are not whole.
    pub(super) fn new(shape: Shape, memory: usize) -> Self {
        let stripe = usize::from(shape.stripe()) * shape.symbol();
        Self {
            slots: (0..shape.stripes()).map(|_| Slot::Empty).collect(),
            decoder: Decoder::default(),
            spare: Vec::new(),
            open: Vec::new(),
            open_limit: (memory / stripe).max(2),
            first: 0,
            whole: 0,
            unwanted: 0,
            forgotten: 0,
            restored: 0,
            shape,
        }
    }

    pub(super) fn whole(&self) -> u32 {
        self.whole
    }

    /// Stripes of which nothing more has to come.
    pub(super) fn settled(&self) -> u32 {
        self.whole + self.unwanted
    }

    /// Whether nothing is lacking.
    pub(super) fn is_complete(&self) -> bool {
        self.whole + self.unwanted == self.shape.stripes()
    }

    /// Stripes that were begun and given up, and those that were restored out of parity.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.forgotten, self.restored)
    }

    /// Takes a symbol that the session can have.
    ///
    /// # Errors
    /// `Bug` when the code of the stripe fails.
    pub(super) fn take(&mut self, header: &Header, symbol: &[u8]) -> Result<Fate> {
        let (stripe, count) = (header.stripe, self.shape.symbols(header.stripe));
        if matches!(self.slots[stripe as usize], Slot::Empty) {
            if !self.make_room(stripe) {
                return Ok(Fate::NoRoom);
            }
            let mut symbols = self.spare.pop().unwrap_or_default();
            symbols.resize(usize::from(count) * self.shape.symbol(), 0);
            let open = Open { symbols, parity: Vec::new(), has: [0; WORDS], count: 0 };
            self.slots[stripe as usize] = Slot::Open(Box::new(open));
            self.open.push(stripe);
        }
        let Slot::Open(open) = &mut self.slots[stripe as usize] else { return Ok(Fate::Useless) };
        if open.has(header.symbol) {
            return Ok(Fate::Useless);
        }
        open.has[usize::from(header.symbol / 64)] |= 1 << (header.symbol % 64);
        open.count += 1;
        match header.symbol.checked_sub(count) {
            None => {
                let at = usize::from(header.symbol) * self.shape.symbol();
                open.symbols[at..at + symbol.len()].copy_from_slice(symbol);
            }
            Some(n) => open.parity.push((n, symbol.to_vec())),
        }
        if open.count < count { Ok(Fate::Kept) } else { self.close(stripe).map(Fate::Whole) }
    }

    /// A stripe of which enough is there.
    fn close(&mut self, stripe: u32) -> Result<Whole> {
        let Slot::Open(mut open) = std::mem::replace(&mut self.slots[stripe as usize], Slot::Whole) else {
            return Err(crate::Error::new(crate::ErrorKind::Bug, "a stripe that is not open is closed"));
        };
        self.open.retain(|s| *s != stripe);
        self.whole += 1;
        let count = self.shape.symbols(stripe);
        if !open.parity.is_empty() {
            let (has, mut symbols) = (open.has, std::mem::take(&mut open.symbols));
            let has = |n: u16| has[usize::from(n / 64)] >> (n % 64) & 1 > 0;
            let mut parity = open.parity.iter().map(|(n, bytes)| (*n, &bytes[..]));
            self.decoder.restore(self.shape.symbol(), count, &mut symbols, &has, &mut parity)?;
            open.symbols = symbols;
            self.restored += 1;
        }
        let (_, range) = self.shape.range(stripe);
        open.symbols.truncate((range.end - range.start) as usize);
        self.pass();
        Ok(Whole { stripe, bytes: open.symbols })
    }

    fn pass(&mut self) {
        while matches!(self.slots.get(self.first as usize), Some(Slot::Whole | Slot::Unwanted)) {
            self.first += 1;
        }
    }

    /// Room for `stripe`: of those that are open and come after it the one that has the fewest symbols goes. The first one that is lacking always finds
    /// room that way and none takes its own: however much is lost, one after the other becomes whole.
    fn make_room(&mut self, stripe: u32) -> bool {
        if self.has_room() {
            return true;
        }
        let had = |s: &u32| if let Slot::Open(open) = &self.slots[*s as usize] { open.count } else { u16::MAX };
        let Some(least) = self.open.iter().copied().filter(|s| *s > stripe).min_by_key(had) else { return false };
        self.forget(least);
        true
    }

    fn has_room(&self) -> bool {
        self.open.len() < self.open_limit
    }

    /// Begins a stripe anew: it had no room, or what it was is wrong.
    pub(super) fn forget(&mut self, stripe: u32) {
        match std::mem::replace(&mut self.slots[stripe as usize], Slot::Empty) {
            Slot::Open(open) => {
                self.open.retain(|s| *s != stripe);
                self.recycle(open.symbols);
                self.forgotten += 1;
            }
            Slot::Whole => self.whole -= 1,
            Slot::Unwanted => self.unwanted -= 1,
            Slot::Empty => {}
        }
        self.first = self.first.min(stripe);
    }

    /// A stripe that nobody here needs. What came of it is forgotten.
    pub(super) fn refuse(&mut self, stripe: u32) {
        if !matches!(self.slots[stripe as usize], Slot::Whole | Slot::Unwanted) {
            self.forget(stripe);
            self.slots[stripe as usize] = Slot::Unwanted;
            self.unwanted += 1;
            self.pass();
        }
    }

    /// Memory that is needed no more.
    pub(super) fn recycle(&mut self, memory: Vec<u8>) {
        if self.spare.len() < 4 {
            self.spare.push(memory);
        }
    }

    /// Symbols that each stripe before `position` lacks, from stripe 0 on. Of those for which there is no room only the first one is told: what is asked
    /// for is not to be in vain.
    pub(super) fn lacks(&self, position: u32) -> impl Iterator<Item = u16> {
        let first = self.first.min(position);
        let (has_room, mut is_first) = (self.has_room(), true);
        let lacks = move |stripe: u32| match &self.slots[stripe as usize] {
            Slot::Empty if has_room || std::mem::take(&mut is_first) => self.shape.symbols(stripe),
            Slot::Empty => 0,
            Slot::Open(open) => self.shape.symbols(stripe) - open.count,
            Slot::Whole | Slot::Unwanted => 0,
        };
        std::iter::repeat_n(0, first as usize).chain((first..position).map(lacks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::multicast::fec::Encoder;

    /// Four stripes: one of the head, three of the body; symbols of 64 bytes.
    fn shape() -> Shape {
        Shape::new(64, 100, 2 * 65_536 + 640).unwrap()
    }

    fn bytes(shape: &Shape, stripe: u32) -> Vec<u8> {
        let (_, range) = shape.range(stripe);
        (0..range.end - range.start).map(|n| (n * 3 + u64::from(stripe)) as u8).collect()
    }

    fn symbol(shape: &Shape, stripe: u32, symbol: u16) -> (Header, Vec<u8>) {
        let (own, whole) = (shape.symbols(stripe), bytes(shape, stripe));
        let bytes = match symbol.checked_sub(own) {
            None => whole.chunks(64).nth(usize::from(symbol)).unwrap().to_vec(),
            Some(n) => {
                Encoder::default().parity(shape, &whole).unwrap().chunks(64).nth(usize::from(n)).unwrap().to_vec()
            }
        };
        let mut bytes = bytes;
        bytes.resize(64, 0);
        (Header { stripe, symbol, ..Header::default() }, bytes)
    }

    fn give(stripes: &mut Stripes, stripe: u32, symbols: impl IntoIterator<Item = u16>) -> Fate {
        let shape = stripes.shape;
        symbols
            .into_iter()
            .map(|n| symbol(&shape, stripe, n))
            .map(|(h, b)| stripes.take(&h, &b).unwrap())
            .last()
            .unwrap()
    }

    #[test]
    fn a_stripe_is_whole_when_as_many_symbols_are_there_as_it_has() {
        let (shape, mut stripes) = (shape(), Stripes::new(shape(), 1 << 20));
        assert_eq!(give(&mut stripes, 0, [1]), Fate::Kept);
        assert_eq!(give(&mut stripes, 0, [1]), Fate::Useless);
        assert_eq!(give(&mut stripes, 0, [0]), Fate::Whole(Whole { stripe: 0, bytes: bytes(&shape, 0) }));
        assert_eq!(give(&mut stripes, 0, [0]), Fate::Useless);
        // Out of parity: two of its ten symbols are lost.
        assert_eq!(give(&mut stripes, 3, (2..10).chain([10])), Fate::Kept);
        assert_eq!(stripes.lacks(4).collect::<Vec<_>>(), [0, 1024, 1024, 1]);
        assert_eq!(give(&mut stripes, 3, [500]), Fate::Whole(Whole { stripe: 3, bytes: bytes(&shape, 3) }));
        assert_eq!((stripes.whole(), stripes.counts()), (2, (0, 1)));
        give(&mut stripes, 1, 0..1024);
        assert!(!stripes.is_complete());
        give(&mut stripes, 2, 0..1024);
        assert!(stripes.is_complete());
        assert_eq!(stripes.lacks(4).collect::<Vec<_>>(), [0; 4]);
    }

    #[test]
    fn what_is_not_wanted_is_not_lacking() {
        let mut stripes = Stripes::new(shape(), 1 << 20);
        give(&mut stripes, 1, 0..9);
        stripes.refuse(1);
        stripes.refuse(1);
        assert_eq!(give(&mut stripes, 1, [9]), Fate::Useless);
        assert_eq!(stripes.lacks(4).collect::<Vec<_>>(), [2, 0, 1024, 10]);
        give(&mut stripes, 0, 0..2);
        give(&mut stripes, 2, 0..1024);
        give(&mut stripes, 3, 0..10);
        assert!(stripes.is_complete());
        stripes.refuse(2);
        assert!(stripes.is_complete());
    }

    #[test]
    fn what_was_wrong_comes_again() {
        let mut stripes = Stripes::new(shape(), 1 << 20);
        give(&mut stripes, 0, 0..2);
        stripes.forget(0);
        assert_eq!(stripes.lacks(1).collect::<Vec<_>>(), [2]);
        assert!(matches!(give(&mut stripes, 0, 0..2), Fate::Whole(_)));
    }

    #[test]
    fn memory_is_bounded() {
        let shape = Shape::new(64, 100, 9 * 65_536).unwrap();
        let mut stripes = Stripes::new(shape, 3 * 65_536);
        for stripe in 2..5 {
            give(&mut stripes, stripe, 0..100 * (6 - stripe) as u16);
        }
        // What comes later finds no room, and is not asked for; but the first one that is lacking is.
        assert_eq!(give(&mut stripes, 5, [0]), Fate::NoRoom);
        assert_eq!(stripes.lacks(6).collect::<Vec<_>>(), [2, 0, 624, 724, 824, 0]);
        // For what comes before, the one with the fewest symbols goes.
        assert_eq!(give(&mut stripes, 1, [0]), Fate::Kept);
        assert_eq!((stripes.counts().0, stripes.lacks(6).collect::<Vec<_>>()), (1, vec![2, 1023, 624, 724, 0, 0]));
        give(&mut stripes, 1, 1..1024);
        assert_eq!(give(&mut stripes, 5, [0]), Fate::Kept);
        give(&mut stripes, 0, 0..2);
        assert_eq!(stripes.lacks(6).collect::<Vec<_>>(), [0, 0, 624, 724, 1024, 1024]);
    }
}
