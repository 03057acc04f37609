//! A set of chunks in the order in which they were met: what an image needs, in manifest order. Its positions are the
//! bits of the bitmap that says what a node still lacks.

use super::Hash;
use hashbrown::HashTable;

/// Chunks with their lengths; each once, by position. About 45 bytes a chunk.
#[derive(Default)]
pub struct ChunkSet {
    chunks: Vec<(Hash, u32)>,
    table: HashTable<u32>,
}

impl ChunkSet {
    /// An empty set with room for so many chunks.
    #[must_use]
    pub fn with_capacity(chunks: usize) -> Self {
        Self { chunks: Vec::with_capacity(chunks), table: HashTable::with_capacity(chunks) }
    }

    /// Adds a chunk and gives its position; a chunk that is there keeps its position.
    ///
    /// # Panics
    /// Beyond 2^32 chunks, which the limits of the format exclude.
    pub fn insert(&mut self, hash: Hash, length: u32) -> u32 {
        let chunks = &mut self.chunks;
        let entry = self.table.entry(key(&hash), |&i| chunks[i as usize].0 == hash, |&i| key(&chunks[i as usize].0));
        match entry {
            hashbrown::hash_table::Entry::Occupied(e) => *e.get(),
            hashbrown::hash_table::Entry::Vacant(e) => {
                let at = u32::try_from(chunks.len()).expect("an image has fewer than 2^32 chunks");
                e.insert(at);
                chunks.push((hash, length));
                at
            }
        }
    }

    /// The position of a chunk.
    #[must_use]
    pub fn position(&self, hash: &Hash) -> Option<u32> {
        self.table.find(key(hash), |&i| self.chunks[i as usize].0 == *hash).copied()
    }

    /// Whether a chunk is in the set.
    #[must_use]
    pub fn contains(&self, hash: &Hash) -> bool {
        self.position(hash).is_some()
    }

    /// The chunks with their lengths, by position.
    #[must_use]
    pub fn chunks(&self) -> &[(Hash, u32)] {
        &self.chunks
    }

    /// How many chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

/// A BLAKE3 is uniform already: its first bytes are the hash of the table. Keys an attacker grinds cost him more than
/// they cost us, because the table has no more entries than the image has chunks.
pub(crate) fn key(hash: &Hash) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash.0[..8]);
    u64::from_le_bytes(first)
}
