//! Bytes that came in pieces and stay in them: to join them would take as much memory again. A piece can go when nothing of it
//! is wanted any more.

use std::ops::Range;

/// The pieces, one after the other.
#[derive(Default)]
pub(crate) struct Pieces {
    pieces: Vec<Vec<u8>>,
    /// Where each ends.
    ends: Vec<u64>,
    /// Bytes of each that were not given up.
    left: Vec<u64>,
}

impl Pieces {
    pub(crate) fn new(pieces: Vec<Vec<u8>>) -> Self {
        let left: Vec<u64> = pieces.iter().map(|p| p.len() as u64).collect();
        let ends = left.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        Self { ends: ends.collect(), left, pieces }
    }

    /// All bytes, also those that went.
    pub(crate) fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The pieces that hold these bytes, each with the part of it.
    fn parts(&self, bytes: &Range<u64>) -> impl Iterator<Item = (usize, Range<usize>)> + use<'_> {
        let Range { start, end } = *bytes;
        let first = self.ends.partition_point(|e| *e <= start);
        let begins =
            std::iter::once(first.checked_sub(1).map_or(0, |n| self.ends[n])).chain(self.ends[first..].iter().copied());
        let pieces = begins.zip(&self.ends[first..]).zip(first..).take_while(move |((from, _), _)| *from < end);
        pieces.filter_map(move |((from, to), n)| {
            let part = start.max(from)..end.min(*to);
            (part.start < part.end).then(|| (n, (part.start - from) as usize..(part.end - from) as usize))
        })
    }

    /// Fills `buf` from `at` on; false when not all of it is there.
    pub(crate) fn read(&self, at: u64, buf: &mut [u8]) -> bool {
        let mut filled = 0;
        for (n, part) in self.parts(&(at..at.saturating_add(buf.len() as u64))) {
            let Some(bytes) = self.pieces[n].get(part) else { return false };
            buf[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        }
        filled == buf.len()
    }

    /// Gives up bytes, each of them once: what nothing is left of goes.
    pub(crate) fn give_up(&mut self, bytes: &Range<u64>) {
        let parts: Vec<_> = self.parts(bytes).collect();
        for (n, part) in parts {
            self.left[n] = self.left[n].saturating_sub(part.len() as u64);
            if self.left[n] == 0 {
                self.pieces[n] = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_across_pieces_and_go_with_the_last_of_a_piece() {
        let whole: Vec<u8> = (0..100).collect();
        let mut pieces = Pieces::new([&whole[..40], &[], &whole[40..60], &whole[60..]].map(<[u8]>::to_vec).into());
        assert_eq!(pieces.len(), 100);
        for from in 0..100 {
            for to in from..=100 {
                let mut buf = vec![0; to - from];
                assert!(pieces.read(from as u64, &mut buf) && buf == whole[from..to], "{from} {to}");
            }
        }
        assert!(!pieces.read(99, &mut [0; 2]) && !pieces.read(u64::MAX, &mut [0]) && pieces.read(100, &mut []));
        pieces.give_up(&(0..39));
        pieces.give_up(&(40..70));
        assert!(pieces.read(0, &mut [0; 40]) && !pieces.read(30, &mut [0; 11]) && pieces.read(60, &mut [0; 40]));
        pieces.give_up(&(39..40));
        assert!(!pieces.read(0, &mut [0]));
        assert!(!Pieces::default().read(0, &mut [0]));
    }
}
