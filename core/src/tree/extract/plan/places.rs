//! Where chunks belong: 4 bytes for one that is a whole file, which most are, 16 for a piece of one.

/// A place of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tree) enum Place {
    /// It is all of this file.
    Whole(u32),
    /// It is a part of a file.
    Piece {
        /// The file.
        file: u32,
        /// Where in it.
        offset: u64,
    },
}

impl Place {
    pub(in crate::tree) fn file(self) -> u32 {
        match self {
            Self::Whole(file) | Self::Piece { file, .. } => file,
        }
    }

    pub(in crate::tree) fn offset(self) -> u64 {
        match self {
            Self::Whole(_) => 0,
            Self::Piece { offset, .. } => offset,
        }
    }
}

/// Says that the rest is the number of a piece, and not of a file.
const PIECE: u32 = 1 << 31;

/// File and offset, which as a number of 64 bits would cost four bytes more.
struct Piece {
    file: u32,
    offset: [u32; 2],
}

/// The places of all chunks, by their positions.
#[derive(Default)]
pub(in crate::tree) struct Places {
    /// The first one of each chunk.
    first: Vec<u32>,
    pieces: Vec<Piece>,
    /// Further ones, with the position of the chunk: in order when they are settled.
    more: Vec<(u32, u32)>,
}

impl Places {
    pub(super) fn with_capacity(chunks: usize) -> Self {
        Self { first: Vec::with_capacity(chunks), ..Self::default() }
    }

    /// Adds a place of a chunk; each chunk is new when all before it are known.
    pub(super) fn add(&mut self, chunk: u32, place: Place) {
        let place = match place {
            Place::Whole(file) => file,
            Place::Piece { file, offset } => {
                self.pieces.push(Piece { file, offset: [(offset >> 32) as u32, offset as u32] });
                PIECE | (self.pieces.len() - 1) as u32
            }
        };
        if chunk as usize == self.first.len() {
            self.first.push(place);
        } else {
            self.more.push((chunk, place));
        }
    }

    /// Whether one more can be added.
    pub(super) fn has_room(&self) -> bool {
        self.pieces.len() < PIECE as usize
    }

    /// All have been added.
    pub(super) fn settle(&mut self) {
        // Those of one chunk stay in the order of the files.
        self.more.sort_by_key(|(chunk, _)| *chunk);
    }

    fn place(&self, place: u32) -> Place {
        if place & PIECE == 0 {
            return Place::Whole(place);
        }
        let Piece { file, offset: [high, low] } = self.pieces[(place & !PIECE) as usize];
        Place::Piece { file, offset: u64::from(high) << 32 | u64::from(low) }
    }

    /// The first place of a chunk.
    pub(in crate::tree) fn first(&self, chunk: u32) -> Place {
        self.place(self.first[chunk as usize])
    }

    /// All places of a chunk.
    pub(in crate::tree) fn of(&self, chunk: u32) -> impl Iterator<Item = Place> {
        let from = self.more.partition_point(|(c, _)| *c < chunk);
        let more = self.more[from..].iter().take_while(move |(c, _)| *c == chunk);
        std::iter::once(self.first(chunk)).chain(more.map(|(_, place)| self.place(*place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As with files: a million of them have to fit.
    #[test]
    fn a_place_is_small() {
        assert_eq!(size_of::<Piece>(), 12);
    }

    #[test]
    fn all_places_of_a_chunk_are_found() {
        let piece = |file, offset| Place::Piece { file, offset };
        let all = [
            (0, Place::Whole(0)),
            (1, piece(1, 0)),
            (2, piece(1, 1 << 40 | 7)),
            (1, piece(1, u64::MAX)),
            (0, Place::Whole(2)),
            (3, Place::Whole(3)),
            (0, piece(4, 9)),
        ];
        let mut places = Places::default();
        all.iter().for_each(|(chunk, place)| places.add(*chunk, *place));
        places.settle();
        for chunk in 0..4 {
            let wanted: Vec<_> = all.iter().filter(|(c, _)| *c == chunk).map(|(_, p)| *p).collect();
            assert_eq!(places.of(chunk).collect::<Vec<_>>(), wanted);
            assert_eq!(places.first(chunk), wanted[0]);
        }
    }
}
