//! What is known of the releases that a store and its copy have both, so that a sync need not read them again where each
//! one is a request (`store-format.md` §10).
//!
//! ```text
//!  listing here ── size, time ──┐
//!                               ├─ as they were when nothing lacked? ── yes: as it was   no: both are read
//!  listing there ── size, time ─┘
//! ```
//!
//! A release is replaced by one with more signatures and by nothing else, so that its size tells; the time, which is
//! compared with itself only, tells of a store that was put back to an earlier day or repaired. The copy keeps it, among
//! what may be dropped at any time. Its format is private.

use super::Store;
use super::blob::Meta;
use super::sealed::{seal, unseal};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const KIND: &str = "copied";
/// A million generations; of a name with more all are read.
const LIMIT: u64 = 64 << 20;

/// Of each generation size and time here and there, as they were when the copy lacked none of its signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copied(BTreeMap<u64, [u64; 4]>);

fn stamps(here: Meta, there: Meta) -> [u64; 4] {
    [here.size, here.modified, there.size, there.modified]
}

fn key(origin: &Store, name: &str) -> String {
    format!("cache/{}/{name}", origin.uuid())
}

impl Copied {
    /// What `copy` knows of a name that comes from `origin`. Nothing, where it cannot be read.
    pub(super) fn load(origin: &Store, copy: &Store, name: &str) -> Self {
        let bytes = copy.blobs().get(&key(origin, name), LIMIT);
        bytes.ok().and_then(|bytes| unseal(KIND, &bytes).ok()).unwrap_or_default()
    }

    /// Keeps it for the next time.
    ///
    /// # Errors
    /// Those of the backend.
    pub(super) fn save(&self, origin: &Store, copy: &Store, name: &str) -> Result<()> {
        copy.blobs().put(&key(origin, name), &seal(KIND, self))
    }

    /// Whether nothing of this generation was lacking when both were as they are.
    pub(super) fn has(&self, generation: u64, here: Meta, there: Meta) -> bool {
        self.0.get(&generation).is_some_and(|known| *known == stamps(here, there))
    }

    /// Nothing of this generation is lacking.
    pub(super) fn note(&mut self, generation: u64, here: Meta, there: Meta) {
        self.0.insert(generation, stamps(here, there));
    }
}
