//! A device that exists in this process only: what is written to it goes to where a kernel would find it.
//!
//! ```text
//! device  | stretch: unit 0 | unit 1 | unit 2 | …  | next stretch …  |
//!               │      ╲
//! columns    0 u0  1 u0'   2 u1   3 u1'            two copies over four columns
//!              u2    u2'     u3     u3' …
//! ```
//!
//! Each stretch is cut into units, which go over its columns in turn, every one as often as there are copies: copy `j` of
//! unit `i` is the piece `i × copies + j`, which stands in the column `piece mod columns`, in the row `piece ÷ columns`.
//! With one column that is a partition or a piece of a volume; with as many copies as columns a mirror; with one copy
//! stripes; with more, what md calls near copies. A column lies on a device, which may be mapped itself.

use crate::layout::device::{ReadAt, WriteAt};
use std::io;
use std::ops::Range;
use std::rc::Rc;

/// A device that others may share.
pub type Shared<'a> = Rc<dyn WriteAt + 'a>;

/// A device out of parts of others.
#[derive(Default)]
pub struct Mapped<'a> {
    size: u64,
    /// In order, without gaps, each with where it begins.
    stretches: Vec<(u64, Stretch<'a>)>,
}

/// Bytes of a device that are laid out alike.
#[derive(Clone)]
pub struct Stretch<'a> {
    length: u64,
    unit: u64,
    copies: usize,
    columns: Vec<Column<'a>>,
}

/// A device, and where on it the first row begins.
pub type Column<'a> = (Shared<'a>, u64);

impl<'a> Stretch<'a> {
    /// A part of another device.
    #[must_use]
    pub fn linear(length: u64, column: Column<'a>) -> Self {
        Self { length, unit: length, copies: 1, columns: vec![column] }
    }

    /// The same in every column.
    #[must_use]
    pub fn mirrored(length: u64, columns: Vec<Column<'a>>) -> Self {
        Self { length, unit: length, copies: columns.len(), columns }
    }

    /// Units in turn, each in so many columns.
    #[must_use]
    pub fn striped(length: u64, unit: u64, copies: usize, columns: Vec<Column<'a>>) -> Self {
        Self { length, unit, copies, columns }
    }

    /// Where a copy of a unit stands.
    fn place(&self, unit: u64, copy: usize) -> (&Shared<'a>, u64) {
        let columns = self.columns.len() as u64;
        let piece = unit * self.copies as u64 + copy as u64;
        let (device, start) = &self.columns[usize::try_from(piece % columns).unwrap_or(0)];
        (device, start + piece / columns * self.unit)
    }

    /// Whether everything lies within the columns, and no copy beside its like.
    fn is_sound(&self) -> bool {
        let columns = self.columns.len();
        if self.unit == 0 || self.length == 0 || self.copies == 0 || self.copies > columns {
            return false;
        }
        let pieces = self.length.div_ceil(self.unit).checked_mul(self.copies as u64);
        let rows = pieces.map(|p| p.div_ceil(columns as u64));
        let Some(bytes) = rows.and_then(|r| r.checked_mul(self.unit)) else { return false };
        self.columns.iter().all(|(device, start)| start.checked_add(bytes).is_some_and(|end| end <= device.size()))
    }
}

/// Bytes that lie in one unit: the stretch, the unit, where in it, which of the bytes.
type Piece<'m, 'a> = (&'m Stretch<'a>, u64, u64, Range<usize>);

impl<'a> Mapped<'a> {
    /// One stretch after the other.
    ///
    /// # Errors
    /// `InvalidInput` when one does not lie within its columns.
    pub fn new(stretches: Vec<Stretch<'a>>) -> io::Result<Self> {
        let mut mapped = Self::default();
        for stretch in stretches {
            let end = mapped.size.checked_add(stretch.length).filter(|_| stretch.is_sound());
            let end =
                end.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it does not fit on what is below"))?;
            mapped.stretches.push((mapped.size, stretch));
            mapped.size = end;
        }
        Ok(mapped)
    }

    /// The pieces of some bytes that lie in one unit each: stretch, unit, where in it, which of the bytes.
    fn pieces(&self, offset: u64, length: usize) -> io::Result<Vec<Piece<'_, 'a>>> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut found = Vec::new();
        let mut index = self.stretches.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let mut done = 0;
        while done < length {
            let (start, stretch) = &self.stretches[index];
            let inside = offset + done as u64 - start;
            let within = inside % stretch.unit;
            let room = (stretch.unit - within).min(stretch.length - inside);
            let next = usize::try_from(room).map_or(length, |room| length.min(done.saturating_add(room)));
            found.push((stretch, inside / stretch.unit, within, done..next));
            index += usize::from(inside + (next - done) as u64 == stretch.length);
            done = next;
        }
        Ok(found)
    }
}

impl ReadAt for Mapped<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (stretch, unit, within, range) in self.pieces(offset, buffer.len())? {
            let (device, at) = stretch.place(unit, 0);
            device.read_at(at + within, &mut buffer[range])?;
        }
        Ok(())
    }
}

impl WriteAt for Mapped<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (stretch, unit, within, range) in self.pieces(offset, bytes.len())? {
            for copy in 0..stretch.copies {
                let (device, at) = stretch.place(unit, copy);
                device.write_at(at + within, &bytes[range.clone()])?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.stretches.iter().flat_map(|(_, s)| &s.columns).try_for_each(|(device, _)| device.sync())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::RefCell;

    struct Memory(RefCell<Vec<u8>>);

    impl ReadAt for Memory {
        fn size(&self) -> u64 {
            self.0.borrow().len() as u64
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.0.borrow().read_at(offset, buffer)
        }
    }

    impl WriteAt for Memory {
        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let at = usize::try_from(offset).unwrap();
            let mut all = self.0.borrow_mut();
            let place = all.get_mut(at..at + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            place.copy_from_slice(bytes);
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn disks(count: usize, size: usize) -> Vec<Memory> {
        (0..count).map(|_| Memory(RefCell::new(vec![0xee; size]))).collect()
    }

    fn columns(disks: &[Memory], start: u64) -> Vec<Column<'_>> {
        disks.iter().map(|d| (Rc::new(d) as Shared<'_>, start)).collect()
    }

    fn bytes(disk: &Memory, range: Range<usize>) -> Vec<u8> {
        disk.0.borrow()[range].to_vec()
    }

    #[test]
    fn near_copies_lie_as_md_lays_them() {
        // Two copies over three columns: A A B / B C C / D D E.
        let disks = disks(3, 64);
        let mapped = Mapped::new(vec![Stretch::striped(16, 4, 2, columns(&disks, 8))]).unwrap();
        mapped.write_at(0, b"AAAABBBBCCCCDDDD").unwrap();
        assert_eq!(bytes(&disks[0], 8..20), b"AAAABBBBDDDD");
        assert_eq!(bytes(&disks[1], 8..20), b"AAAACCCCDDDD");
        assert_eq!(bytes(&disks[2], 8..16), b"BBBBCCCC");
        assert_eq!(bytes(&disks[2], 16..20), [0xee; 4]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let disks = disks(2, 64);
        let fits = |stretch| Mapped::new(vec![stretch]).is_ok();
        assert!(fits(Stretch::mirrored(32, columns(&disks, 32))));
        assert!(!fits(Stretch::mirrored(33, columns(&disks, 32))));
        assert!(!fits(Stretch::striped(130, 8, 1, columns(&disks, 0))));
        assert!(!fits(Stretch::striped(64, 8, 3, columns(&disks, 0))));
        assert!(!fits(Stretch::striped(64, 0, 1, columns(&disks, 0))));
        assert!(!fits(Stretch::mirrored(u64::MAX, columns(&disks, u64::MAX))));
        assert!(!fits(Stretch::mirrored(8, Vec::new())));
        let mapped = Mapped::new(vec![Stretch::mirrored(32, columns(&disks, 0))]).unwrap();
        assert!(mapped.write_at(30, b"abc").is_err() && mapped.write_at(u64::MAX, b"a").is_err());
        assert!(mapped.write_at(32, b"").is_ok() && mapped.read_at(33, &mut []).is_err());
    }

    /// The model: where each byte of the top stands on the disks, one byte at a time and by other arithmetic.
    #[derive(Clone, Debug)]
    enum Shape {
        Linear,
        Mirror,
        Stripes { unit: u64 },
        Near { unit: u64, copies: u64 },
    }

    /// Every place (disk, offset) of byte `at` of a level over `disks` columns that begin at `start`.
    fn model(shape: &Shape, at: u64, disks: u64, start: u64) -> Vec<(u64, u64)> {
        match shape {
            Shape::Linear => vec![(0, start + at)],
            Shape::Mirror => (0..disks).map(|d| (d, start + at)).collect(),
            Shape::Stripes { unit } => vec![(at / unit % disks, start + at / (unit * disks) * unit + at % unit)],
            Shape::Near { unit, copies } => {
                // Dealt out one after the other.
                let mut next = vec![start; usize::try_from(disks).unwrap()];
                let mut dealt = 0;
                for _ in 0..(at / unit) * copies {
                    next[usize::try_from(dealt % disks).unwrap()] += unit;
                    dealt += 1;
                }
                (0..*copies)
                    .map(|_| {
                        let d = dealt % disks;
                        dealt += 1;
                        (d, next[usize::try_from(d).unwrap()] + at % unit)
                    })
                    .collect()
            }
        }
    }

    fn stretch<'a>(shape: &Shape, length: u64, columns: Vec<Column<'a>>) -> Stretch<'a> {
        match shape {
            Shape::Linear => Stretch::linear(length, columns[0].clone()),
            Shape::Mirror => Stretch::mirrored(length, columns),
            Shape::Stripes { unit } => Stretch::striped(length, *unit, 1, columns),
            Shape::Near { unit, copies } => Stretch::striped(length, *unit, usize::try_from(*copies).unwrap(), columns),
        }
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        prop_oneof![
            Just(Shape::Linear),
            Just(Shape::Mirror),
            (1u64..40).prop_map(|unit| Shape::Stripes { unit }),
            (1u64..40, 2u64..4).prop_map(|(unit, copies)| Shape::Near { unit, copies }),
        ]
    }

    proptest! {
        /// Whatever is written through two levels, with a volume of several stretches on top, stands where the model
        /// says, in all its copies; nothing else is touched; and it is read again.
        #[test]
        fn writing_agrees_with_a_naive_model(
            lower in shapes(), lower_start in 0u64..20, cuts in proptest::collection::vec((0u64..300, 1u64..60), 1..5),
            writes in proptest::collection::vec((any::<u16>(), 1usize..90, any::<u8>()), 1..12),
        ) {
            let disks = disks(3, 900);
            let under = 360u64;
            let array: Shared<'_> = Rc::new(Mapped::new(vec![stretch(&lower, under, columns(&disks, lower_start))]).unwrap());
            // Pieces of the array beside each other, as extents: none shares bytes with another.
            let mut free = 0;
            let mut volume = Vec::new();
            for (gap, length) in cuts {
                let start = free + gap % 20;
                if start + length <= under {
                    volume.push((start, length));
                    free = start + length;
                }
            }
            prop_assume!(!volume.is_empty());
            let top = volume.iter().map(|(start, length)| Stretch::linear(*length, (array.clone(), *start)));
            let top = Mapped::new(top.collect()).unwrap();
            let size: u64 = volume.iter().map(|(_, length)| length).sum();
            prop_assert_eq!(top.size(), size);

            let mut logical = vec![0xee; usize::try_from(size).unwrap()];
            for (at, length, byte) in writes {
                let at = usize::from(at) % logical.len();
                let length = length.min(logical.len() - at);
                let data: Vec<u8> = (0..length).map(|i| byte.wrapping_add(i as u8)).collect();
                top.write_at(at as u64, &data).unwrap();
                logical[at..at + length].copy_from_slice(&data);
            }
            let mut expected = vec![vec![0xee; 900]; 3];
            let mut at_array = Vec::new();
            volume.iter().for_each(|(start, length)| at_array.extend(*start..start + length));
            for (byte, at) in logical.iter().zip(at_array) {
                for (disk, place) in model(&lower, at, 3, lower_start) {
                    expected[usize::try_from(disk).unwrap()][usize::try_from(place).unwrap()] = *byte;
                }
            }
            for (disk, expected) in disks.iter().zip(&expected) {
                prop_assert_eq!(&*disk.0.borrow(), expected);
            }
            let mut read = vec![0; logical.len()];
            top.read_at(0, &mut read).unwrap();
            prop_assert_eq!(read, logical);
        }
    }
}
