//! Maps of sparse files: GNU's old headers, PAX 0.0, 0.1 and 1.0.
//!
//! In all of them the data of the segments follow one another. Some programs pad each segment to whole blocks and some
//! do not, so a map is read only if that makes no difference: every segment but the last is a number of whole blocks.

use super::header::{malformed, number};
use super::pax::Sparse;
use super::{BLOCK, Segment};
use crate::image::FormatError;

/// Most segments of a file.
pub(super) const SEGMENT_LIMIT: usize = 1 << 22;
/// Largest file, which is the kernel's limit, too.
pub(super) const SIZE_LIMIT: u64 = i64::MAX as u64;

/// Checks a map as it is read: in order, within the size, no more data than are stored.
#[derive(Default)]
pub(super) struct Map {
    segments: Vec<Segment>,
    end: u64,
    data: u64,
    ragged: bool,
}

impl Map {
    pub(super) fn push(&mut self, offset: u64, length: u64) -> Result<(), FormatError> {
        if offset < self.end {
            return Err(malformed("the segments of a sparse file overlap or are out of order"));
        }
        self.end = offset.checked_add(length).ok_or(malformed("a segment of a sparse file overflows"))?;
        if length == 0 {
            return Ok(());
        }
        if self.ragged {
            return Err(FormatError::Unsafe {
                path: String::new(),
                rule: "all segments of a sparse file but the last are whole blocks",
            });
        }
        if self.segments.len() == SEGMENT_LIMIT {
            return Err(FormatError::Limit { what: "a sparse map", limit: SEGMENT_LIMIT as u64 });
        }
        self.ragged = !length.is_multiple_of(BLOCK as u64);
        self.data += length;
        match self.segments.last_mut() {
            Some(last) if last.offset + last.length == offset => last.length += length,
            _ => self.segments.push(Segment { offset, length }),
        }
        Ok(())
    }

    /// The map of a file of `size` bytes of which `stored` are in the archive.
    pub(super) fn finish(self, size: u64, stored: u64) -> Result<Vec<Segment>, FormatError> {
        if size > SIZE_LIMIT {
            return Err(FormatError::Limit { what: "the size of a file", limit: SIZE_LIMIT });
        }
        if self.end > size {
            return Err(malformed("a sparse file has data beyond its size"));
        }
        if self.data != stored {
            return Err(malformed("a sparse map and the data that are stored differ in length"));
        }
        Ok(self.segments)
    }
}

/// Entries of a map in header form: pairs of twelve characters. An empty pair ends it.
pub(super) fn header_pairs(map: &mut Map, pairs: &[tar::GnuSparseHeader]) -> Result<(), FormatError> {
    for pair in pairs {
        if pair.offset[0] == 0 || pair.numbytes[0] == 0 {
            break;
        }
        let read = |field: &[u8]| u64::try_from(number(field)?).map_err(|_| malformed("a sparse map is negative"));
        map.push(read(&pair.offset)?, read(&pair.numbytes)?)?;
    }
    Ok(())
}

/// The map of PAX 0.0 and 0.1, which stands in the records.
pub(super) fn record_map(sparse: &Sparse, size: u64, stored: u64) -> Result<Vec<Segment>, FormatError> {
    if sparse.map.len() % 2 == 1 || sparse.count.is_some_and(|n| n != sparse.map.len() as u64 / 2) {
        return Err(malformed("a sparse map has another number of segments than it says"));
    }
    let mut map = Map::default();
    for pair in sparse.map.chunks_exact(2) {
        map.push(pair[0], pair[1])?;
    }
    map.finish(size, stored)
}

/// Decimal numbers, one a line, as they stand before the data in PAX 1.0; they come block by block.
#[derive(Default)]
pub(super) struct Lines {
    map: Map,
    count: Option<u64>,
    taken: u64,
    number: Option<u64>,
    offset: Option<u64>,
}

impl Lines {
    /// Takes a block. True when the map is complete; the rest of the block is padding.
    pub(super) fn block(&mut self, block: &[u8; BLOCK]) -> Result<bool, FormatError> {
        for &c in block {
            match c {
                b'0'..=b'9' => {
                    let n = self.number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(u64::from(c - b'0')));
                    self.number = Some(n.ok_or(malformed("a number of a sparse map overflows"))?);
                }
                b'\n' => {
                    let n = self.number.take().ok_or(malformed("a sparse map has an empty line"))?;
                    self.line(n)?;
                    if self.count.is_some_and(|count| self.taken == count) {
                        return Ok(true);
                    }
                }
                _ => return Err(malformed("a sparse map has something else than numbers")),
            }
        }
        Ok(false)
    }

    fn line(&mut self, n: u64) -> Result<(), FormatError> {
        if self.count.is_none() {
            if n > SEGMENT_LIMIT as u64 {
                return Err(FormatError::Limit { what: "a sparse map", limit: SEGMENT_LIMIT as u64 });
            }
            self.count = Some(n);
            return Ok(());
        }
        match self.offset.take() {
            None => self.offset = Some(n),
            Some(offset) => {
                self.map.push(offset, n)?;
                self.taken += 1;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, size: u64, stored: u64) -> Result<Vec<Segment>, FormatError> {
        self.map.finish(size, stored)
    }
}

/// Segments as they are stored: each but the last widened to whole blocks, those that touch joined.
pub(super) fn widen(size: u64, segments: &[Segment]) -> Vec<Segment> {
    let whole = |length: u64| length.next_multiple_of(BLOCK as u64);
    let mut out: Vec<Segment> = Vec::with_capacity(segments.len());
    for s in segments.iter().filter(|s| s.length > 0) {
        match out.last_mut() {
            Some(last) if s.offset <= last.offset + whole(last.length) => {
                last.length = s.offset + s.length - last.offset;
            }
            last => {
                if let Some(last) = last {
                    last.length = whole(last.length);
                }
                out.push(*s);
            }
        }
    }
    debug_assert!(out.last().is_none_or(|s| s.offset + s.length <= size));
    out
}

/// The map as it stands before the data, padded to whole blocks.
pub(super) fn encode(size: u64, segments: &[Segment]) -> Vec<u8> {
    let end = segments.last().map_or(0, |s| s.offset + s.length);
    // GNU tar learns from a last, empty segment that the file ends in a hole.
    let last = (end < size).then_some(Segment { offset: size, length: 0 });
    let mut out = format!("{}\n", segments.len() + usize::from(last.is_some())).into_bytes();
    for s in segments.iter().chain(&last) {
        out.extend_from_slice(format!("{}\n{}\n", s.offset, s.length).as_bytes());
    }
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8], size: u64, stored: u64) -> Result<Vec<Segment>, FormatError> {
        let mut lines = Lines::default();
        for block in bytes.chunks_exact(BLOCK) {
            if lines.block(block.try_into().unwrap())? {
                return lines.finish(size, stored);
            }
        }
        Err(FormatError::Truncated("map"))
    }

    proptest! {
        /// A map comes back, and widening adds nothing but the rests of blocks.
        #[test]
        fn maps_come_back(parts in prop::collection::vec((1u64..5000, 1u64..5000), 0..200), tail in 0u64..3000) {
            let (mut at, mut segments) = (0, Vec::new());
            for (hole, length) in parts {
                segments.push(Segment { offset: at + hole, length });
                at += hole + length;
            }
            let size = at + tail;
            let wide = widen(size, &segments);
            for s in &segments {
                prop_assert!(wide.iter().any(|w| w.offset <= s.offset && w.offset + w.length >= s.offset + s.length));
            }
            let stored: u64 = wide.iter().map(|s| s.length).sum();
            let plain: u64 = segments.iter().map(|s| s.length).sum();
            prop_assert!(stored <= plain + 511 * segments.len() as u64);
            prop_assert_eq!(decode(&encode(size, &wide), size, stored).unwrap(), wide.clone());
            prop_assert_eq!(widen(size, &wide), wide);
        }
    }

    #[test]
    fn lies_are_found() {
        let kind = |text: &str, size, stored| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
            crate::Error::from(decode(&bytes, size, stored).unwrap_err()).kind()
        };
        use crate::ErrorKind::{Integrity, Limit, UnsafeInput};
        assert_eq!(kind("2\n0\n512\n100\n512\n", 1024, 1024), Integrity);
        assert_eq!(kind("1\n18446744073709551615\n512\n", 1024, 512), Integrity);
        assert_eq!(kind("1\n99999999999999999999999\n512\n", 1024, 512), Integrity);
        assert_eq!(kind("1\n0\n512\n", 511, 512), Integrity);
        assert_eq!(kind("1\n0\n512\n", 512, 1024), Integrity);
        assert_eq!(kind("99999999\n0\n512\n", 512, 512), Limit);
        assert_eq!(kind("1\n0\n1\n", u64::MAX, 1), Limit);
        assert_eq!(kind("2\n0\n1\n512\n512\n", 1024, 513), UnsafeInput);
        assert_eq!(kind("-1\n", 1024, 512), Integrity);
        assert_eq!(kind("\n", 1024, 512), Integrity);
    }
}
