//! What a collection found to be needed by nobody, and will be deleted by a later one (`store-format.md` §9).
//!
//! ```text
//!  trash/<n>.fossils        the keys; they stay where they are, so that readers go on
//!  trash/<n>.sweep-<lease>  they are being deleted
//!  trash/<n>.keep-<lease>   keys that a writer is about to write again
//! ```
//!
//! A writer that began before `<n>.fossils` was made may count on the fossils: they are not deleted while its lease is
//! there, and afterwards only if no generation needs them. One that began later counts on none of them. But what it
//! stores may have the name of a fossil, because names come from content. Then it puts `keep` first and looks for
//! `sweep`, and whoever deletes puts `sweep` first and looks for `keep`: one of the two sees the other.

use super::Store;
use super::lease;
use super::sealed::{seal, unseal};
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const DIR: &str = "trash";
const LIMIT: u64 = 256 << 20;
/// Deleting takes seconds. So long a writer waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: Vec<String>,
}

/// What one collection found.
pub(super) struct Fossils {
    pub(super) number: u64,
    /// When, by the clock of the store.
    pub(super) made: u64,
    pub(super) keys: HashSet<String>,
}

/// What all collections found that is not deleted yet.
pub(super) struct Trash {
    store: Store,
    pub(super) collections: Vec<Fossils>,
    /// What was kept of each of them, by this writer.
    kept: Mutex<BTreeMap<u64, BTreeSet<String>>>,
}

fn fossils_key(number: u64) -> String {
    format!("{DIR}/{number:016}.fossils")
}

fn keep_key(number: u64, lease: &str) -> String {
    format!("{DIR}/{number:016}.keep-{lease}")
}

fn sweep_key(number: u64, lease: &str) -> String {
    format!("{DIR}/{number:016}.sweep-{lease}")
}

impl Trash {
    /// No trash.
    pub(super) fn empty(store: &Store) -> Self {
        Self { store: store.clone(), collections: Vec::new(), kept: Mutex::default() }
    }

    /// Reads it. A writer does so after it has its lease.
    pub(super) fn read(store: &Store) -> Result<Self> {
        let mut trash = Self::empty(store);
        for (key, meta) in store.blobs().walk(DIR)? {
            let digits = key.strip_prefix("trash/").and_then(|k| k.strip_suffix(".fossils"));
            let Some(number) = digits.and_then(|d| d.parse().ok()) else { continue };
            match store.blobs().get(&key, LIMIT) {
                // A list that cannot be read names nothing: its objects are found again by the next collection.
                Ok(bytes) => {
                    let keys = unseal::<Keys>("fossils", &bytes)
                        .map_or_else(|_| HashSet::new(), |k| k.keys.into_iter().collect());
                    trash.collections.push(Fossils { number, made: meta.modified, keys });
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(trash)
    }

    /// Whether a collection found that nobody needs this.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.collections.iter().any(|c| c.keys.contains(key))
    }

    /// Adds a collection. Its keys will be deleted by a later one.
    pub(super) fn add(store: &Store, keys: &[String]) -> Result<()> {
        let bytes = seal("fossils", &Keys { keys: keys.to_vec() });
        loop {
            let number = |key: &str| key.strip_prefix("trash/").and_then(|k| k.split('.').next()?.parse::<u64>().ok());
            let last = store.blobs().walk(DIR)?.iter().filter_map(|(key, _)| number(key)).max().unwrap_or(0);
            match store.blobs().create(&fossils_key(last + 1), &bytes) {
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }

    /// Says that `key`, which is about to be written, must not be deleted, if it is a fossil.
    ///
    /// # Errors
    /// `Busy` when it is just being deleted and that takes long.
    pub(super) fn keep(&self, key: &str, lease: &str) -> Result<()> {
        for c in self.collections.iter().filter(|c| c.keys.contains(key)) {
            let bytes = {
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                let kept = kept.entry(c.number).or_default();
                kept.insert(key.to_owned());
                seal("keep", &Keys { keys: kept.iter().cloned().collect() })
            };
            let keep = keep_key(c.number, lease);
            self.store.blobs().put(&keep, &bytes)?;
            self.wait_for_sweep(c.number)?;
            // What was found is deleted already: nobody would remove the mark any more.
            if self.store.blobs().size(&fossils_key(c.number))?.is_none() {
                self.store.blobs().delete(&keep)?;
            }
        }
        Ok(())
    }

    fn wait_for_sweep(&self, number: u64) -> Result<()> {
        let began = Instant::now();
        loop {
            let sweeps = self.marks(number, "sweep-")?;
            let busy = if sweeps.is_empty() { Vec::new() } else { lease::all(&self.store)? };
            let Some(held) = busy.iter().find(|h| h.counts() && sweeps.contains(&h.id)) else { return Ok(()) };
            if began.elapsed() > PATIENCE {
                return Err(Error::new(ErrorKind::Busy, format!("the store is being collected by {}", held.who))
                    .hint("try again when it has ended"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The leases that put such a mark on a collection.
    fn marks(&self, number: u64, kind: &str) -> Result<Vec<String>> {
        let prefix = format!("{number:016}.{kind}");
        let names = self.store.blobs().list(DIR)?;
        Ok(names.iter().filter_map(|n| n.strip_prefix(&prefix)).map(str::to_owned).collect())
    }

    /// Begins to delete what a collection found; gives the keys that writers want to keep.
    pub(super) fn begin_sweep(&self, number: u64, lease: &str) -> Result<HashSet<String>> {
        self.store.blobs().put(&sweep_key(number, lease), b"")?;
        let mut kept = HashSet::new();
        // Whose lease has ended has published what it kept, and then it counts as needed, or never will.
        for id in self.marks(number, "keep-")? {
            let live = lease::all(&self.store)?.iter().any(|h| h.id == id && h.counts());
            if let Some(bytes) = self.store.blobs().get(&keep_key(number, &id), LIMIT).ok().filter(|_| live) {
                kept.extend(unseal::<Keys>("keep", &bytes)?.keys);
            }
        }
        Ok(kept)
    }

    /// Forgets a collection: everything that it found is deleted, or needed again.
    pub(super) fn end_sweep(&self, number: u64) -> Result<()> {
        let prefix = format!("{number:016}.");
        let mut keys: Vec<String> = self.store.blobs().list(DIR)?;
        keys.retain(|n| n.starts_with(&prefix));
        // The list itself first: the marks mean nothing without it.
        keys.sort_by_key(|n| !n.ends_with(".fossils"));
        keys.iter().try_for_each(|n| self.store.blobs().delete(&format!("{DIR}/{n}")))
    }
}
