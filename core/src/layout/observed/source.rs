//! Reading through the geometry of arrays and volumes that no kernel has started.
//!
//! ```text
//! Joined    | part | part | part |                linear arrays, volumes of several pieces, mirrors (one part)
//! Striped   chunk 0 → member 0, chunk 1 → member 1, …        levels 0, 5, 6, 10 and striped volumes
//! ```
//!
//! Only what can be read without reckoning is read: the first copy that is there, never a parity.

use crate::layout::device::ReadAt;
use std::io;
use std::rc::Rc;

/// Something that can be read.
pub(in crate::layout) type Source = Rc<dyn ReadAt>;

/// A stretch of a source.
#[derive(Clone)]
pub(super) struct Stretch {
    pub(super) on: Source,
    pub(super) start: u64,
    pub(super) length: u64,
}

impl Stretch {
    /// What lies beyond the end of the source is cut off.
    pub(super) fn new(on: &Source, start: u64, length: u64) -> Self {
        let start = start.min(on.size());
        Self { on: on.clone(), start, length: length.min(on.size() - start) }
    }
}

impl ReadAt for Stretch {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.on.read_at(self.start + offset, buffer)
    }
}

/// Stretches one after the other.
pub(super) struct Joined(pub(super) Vec<Source>);

impl ReadAt for Joined {
    fn size(&self) -> u64 {
        self.0.iter().fold(0, |sum, s| sum.saturating_add(s.size()))
    }

    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        for part in &self.0 {
            let Some(left) = part.size().checked_sub(offset).filter(|l| *l > 0) else {
                offset -= part.size();
                continue;
            };
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let (now, rest) = buffer.split_at_mut(here);
            part.read_at(offset, now)?;
            (buffer, offset) = (rest, 0);
            if buffer.is_empty() {
                return Ok(());
            }
        }
        if buffer.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// How chunks are dealt out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deal {
    /// In turn. The first of the far copies of level 10 lies so, too.
    Stripes,
    /// In turn, each so often before the next.
    Near(u64),
    /// In turn, each row so often before the next, each time moved on by one member.
    Offset(u64),
    /// In turn beside so many parities that move from the last member to the first; data goes on behind them
    /// (left-symmetric, what Linux takes by itself).
    LeftSymmetric(u64),
}

impl Deal {
    /// Member and row of the copies of a chunk, the first one first.
    fn places(self, chunk: u64, members: u64) -> Vec<(u64, u64)> {
        match self {
            Self::Stripes => vec![(chunk % members, chunk / members)],
            Self::Near(copies) => {
                let first = chunk.saturating_mul(copies);
                (first..first.saturating_add(copies)).map(|n| (n % members, n / members)).collect()
            }
            Self::Offset(copies) => {
                let row = (chunk / members).saturating_mul(copies);
                (0..copies).map(|n| ((chunk % members + n) % members, row.saturating_add(n))).collect()
            }
            Self::LeftSymmetric(parities) => {
                let data = members - parities;
                let (row, place) = (chunk / data, chunk % data);
                let parity = members - 1 - row % members;
                vec![((parity + parities + place) % members, row)]
            }
        }
    }
}

/// Chunks dealt out to members.
pub(super) struct Striped {
    deal: Deal,
    chunk: u64,
    size: u64,
    members: Vec<Option<Source>>,
}

impl Striped {
    /// `size` bytes over these members, of which some may be missing; none where that cannot be.
    pub(super) fn new(deal: Deal, chunk: u64, size: u64, members: Vec<Option<Source>>) -> Option<Self> {
        let enough = match deal {
            Deal::Stripes => members.len() as u64 > 0,
            Deal::Near(copies) | Deal::Offset(copies) => copies > 0 && copies <= members.len() as u64,
            Deal::LeftSymmetric(parities) => (members.len() as u64) > parities,
        };
        (enough && chunk > 0).then_some(Self { deal, chunk, size, members })
    }
}

impl ReadAt for Striped {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buffer.is_empty() {
            let inside = offset % self.chunk;
            let here = usize::try_from(self.chunk - inside).unwrap_or(usize::MAX).min(buffer.len());
            let (now, rest) = buffer.split_at_mut(here);
            let places = self.deal.places(offset / self.chunk, self.members.len() as u64);
            let found = places.into_iter().find_map(|(member, row)| {
                let member = self.members.get(usize::try_from(member).ok()?)?.as_ref()?;
                Some((member, row.checked_mul(self.chunk)?.checked_add(inside)?))
            });
            let Some((member, at)) = found else { return Err(io::Error::other("a member is missing")) };
            member.read_at(at, now)?;
            offset += here as u64;
            buffer = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(list: &[u8]) -> Source {
        Rc::new(list.to_vec())
    }

    fn all(source: &dyn ReadAt) -> Vec<u8> {
        let mut buffer = vec![0; usize::try_from(source.size()).unwrap()];
        source.read_at(0, &mut buffer).unwrap();
        buffer
    }

    #[test]
    fn parts_are_joined() {
        let joined = Joined(vec![bytes(&[0, 1, 2]), bytes(&[3]), bytes(&[4, 5])]);
        assert_eq!(all(&joined), [0, 1, 2, 3, 4, 5]);
        let mut two = [0; 2];
        joined.read_at(2, &mut two).unwrap();
        assert_eq!(two, [2, 3]);
        assert!(joined.read_at(5, &mut two).is_err());
        assert!(joined.read_at(7, &mut two).is_err());
    }

    #[test]
    fn chunks_are_dealt_as_linux_does_it() {
        let over = |deal, size, members: &[&[u8]]| {
            let members = members.iter().map(|m| (!m.is_empty()).then(|| bytes(m))).collect();
            Striped::new(deal, 1, size, members).unwrap()
        };
        assert_eq!(all(&over(Deal::Stripes, 4, &[&[0, 2], &[1, 3]])), [0, 1, 2, 3]);
        // Two near copies on three members: A A B, B C C.
        let near: [&[u8]; 3] = [&[0, 1], &[0, 2], &[1, 2]];
        assert_eq!(all(&over(Deal::Near(2), 3, &near)), [0, 1, 2]);
        assert_eq!(all(&over(Deal::Near(2), 3, &[&[], near[1], near[2]])), [0, 1, 2]);
        // Offset: A B C, C A B.
        let offset: [&[u8]; 3] = [&[0, 2], &[1, 0], &[2, 1]];
        assert_eq!(all(&over(Deal::Offset(2), 3, &offset)), [0, 1, 2]);
        assert_eq!(all(&over(Deal::Offset(2), 3, &[&[], offset[1], offset[2]])), [0, 1, 2]);
        // Level 5: 0 1 P, 3 P 2, P 4 5. Level 6 of four: 0 1 P Q, 2 P Q … goes on behind Q.
        assert_eq!(all(&over(Deal::LeftSymmetric(1), 6, &[&[0, 3, 9], &[1, 9, 4], &[9, 2, 5]])), [0, 1, 2, 3, 4, 5]);
        // Level 6 of four: P is the last, Q the first behind it, then data.
        let six = |chunk| Deal::LeftSymmetric(2).places(chunk, 4)[0];
        assert_eq!([six(0), six(1), six(2), six(3)], [(1, 0), (2, 0), (0, 1), (1, 1)]);
        let broken = over(Deal::Stripes, 2, &[&[0], &[]]);
        assert!(broken.read_at(0, &mut [0; 2]).is_err());
        assert!(Striped::new(Deal::Near(3), 1, 1, vec![None, None]).is_none());
        assert!(Striped::new(Deal::Stripes, 0, 1, vec![None]).is_none());
    }
}
