//! Which packs are there. A directory is asked for both ends of each pack; a store that is far away gives one listing,
//! which tells the size of each, and damage within a pack is found when something is read from it. So is everything where
//! there is no listing.

use super::{Store, pack_key};
use crate::error::Result;
use crate::image::{Hash, pack};
use std::collections::HashMap;

pub(super) enum Presence<'s> {
    /// Each pack is looked at once, when it is asked for.
    Looked(&'s Store, HashMap<Hash, bool>),
    /// Sizes by key.
    Listed(HashMap<String, u64>),
    /// Nothing can be told before it is read.
    Assumed,
}

impl<'s> Presence<'s> {
    pub(super) fn of(store: &'s Store) -> Result<Self> {
        if !store.blobs().can_list() {
            return Ok(Self::Assumed);
        }
        if !store.blobs().is_remote() {
            return Ok(Self::Looked(store, HashMap::new()));
        }
        Ok(Self::Listed(store.blobs().walk("packs")?.into_iter().map(|(key, meta)| (key, meta.size)).collect()))
    }

    /// Whether a pack is there, and ends with its footer or at least behind the block that ends at `end`.
    pub(super) fn is_sound(&mut self, id: &Hash, end: u64) -> bool {
        match self {
            Self::Looked(store, known) => *known.entry(*id).or_insert_with(|| store.is_sound(id)),
            Self::Assumed => true,
            Self::Listed(sizes) => sizes.get(&pack_key(id)).is_some_and(|&size| size >= end + pack::FOOTER as u64),
        }
    }
}
