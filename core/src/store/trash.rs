//! What a collection found to be needed by nobody, and will be deleted by a later one (`store-format.md` §9).
//!
//! ```text
//!  trash/<n>.fossils           the keys; they stay where they are, so that readers go on
//!  trash/<n>.sweep-<lease>     they are being deleted
//!  trash/<n>.keep-<lease>.<k>  a key that a writer is about to write again
//! ```
//!
//! A writer that began before `<n>.fossils` was made may count on the fossils: they are not deleted while its lease is
//! there, and afterwards only if no generation needs them. One that began later counts on none of them. But what it
//! stores may have the name of a fossil, because names come from content. Then it puts `keep` first and looks for
//! `sweep`, and whoever deletes puts `sweep` first and looks for `keep`: one of the two sees the other.

use super::Store;
use super::lease::{self, Lease};
use super::sealed::{seal, unseal};
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const DIR: &str = "trash";
const LIMIT: u64 = 256 << 20;
/// So long a writer waits for a collection to find what is needed, and to delete the rest.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    keys: Vec<String>,
    /// The leases that were there.
    leases: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    key: String,
}

/// What one collection found.
pub(super) struct Fossils {
    pub(super) number: u64,
    /// When, by the clock of the store.
    pub(super) made: u64,
    pub(super) keys: HashSet<String>,
    /// The leases of writers that were at work, and may count on the keys.
    pub(super) leases: HashSet<String>,
}

/// What all collections found that is not deleted yet.
pub(super) struct Trash {
    store: Store,
    pub(super) collections: Vec<Fossils>,
    /// How many keys this writer has kept of all.
    kept: AtomicU64,
}

fn fossils_key(number: u64) -> String {
    format!("{DIR}/{number:016}.fossils")
}

fn keep_key(number: u64, lease: &str, serial: u64) -> String {
    format!("{DIR}/{number:016}.keep-{lease}.{serial}")
}

fn sweep_key(number: u64, lease: &str) -> String {
    format!("{DIR}/{number:016}.sweep-{lease}")
}

/// The number of a collection, from the key of an object about it.
fn number_of(key: &str) -> Option<u64> {
    let (digits, _) = key.strip_prefix("trash/")?.split_once('.')?;
    if digits.len() == 16 { digits.parse().ok() } else { None }
}

impl Trash {
    /// No trash.
    pub(super) fn empty(store: &Store) -> Self {
        Self { store: store.clone(), collections: Vec::new(), kept: AtomicU64::new(0) }
    }

    /// Reads it. A writer does so after it has its lease.
    pub(super) fn read(store: &Store) -> Result<Self> {
        let mut trash = Self::empty(store);
        for (key, meta) in store.blobs().walk(DIR)? {
            let Some(number) = number_of(&key).filter(|_| key.ends_with(".fossils")) else { continue };
            match store.blobs().get(&key, LIMIT) {
                // A list that cannot be read names nothing: its objects are found again by the next collection.
                Ok(bytes) => {
                    let Found { keys, leases } = unseal("fossils", &bytes).unwrap_or_default();
                    let (keys, leases) = (keys.into_iter().collect(), leases.into_iter().collect());
                    trash.collections.push(Fossils { number, made: meta.modified, keys, leases });
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

    /// Adds a collection, and gives its number. Its keys will be deleted by a later one, when the writers that are at work now
    /// have ended.
    pub(super) fn add(store: &Store, keys: &[String], own: &Lease) -> Result<u64> {
        let leases = own.others()?.into_iter().map(|held| held.id).collect();
        let bytes = seal("fossils", &Found { keys: keys.to_vec(), leases });
        loop {
            let last = store.blobs().walk(DIR)?.iter().filter_map(|(key, _)| number_of(key)).max().unwrap_or(0);
            match store.create_in_need(&fossils_key(last + 1), &bytes) {
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                done => return done.map(|()| last + 1),
            }
        }
    }

    /// Says that `key`, which is about to be written, must not be deleted, if it is a fossil.
    ///
    /// # Errors
    /// `Busy` when it is just being deleted and that takes long.
    pub(super) fn keep(&self, key: &str, lease: &Lease) -> Result<()> {
        for c in self.collections.iter().filter(|c| c.keys.contains(key)) {
            // One object for each: a server that is slow with an old one would put it over a newer one.
            let keep = keep_key(c.number, lease.id(), self.kept.fetch_add(1, Ordering::Relaxed));
            self.store.blobs().put(&keep, &seal("keep", &Kept { key: key.to_owned() }))?;
            self.wait_for_sweep(c.number, lease)?;
            // What was found is deleted already: nobody would remove the mark any more.
            if self.store.blobs().size(&fossils_key(c.number))?.is_none() {
                self.store.blobs().delete(&keep)?;
            }
        }
        Ok(())
    }

    fn wait_for_sweep(&self, number: u64, lease: &Lease) -> Result<()> {
        let began = Instant::now();
        loop {
            let sweeps = self.marks(number, "sweep-")?;
            let busy = if sweeps.is_empty() { Vec::new() } else { lease::all(&self.store)? };
            let sweeping = |h: &&lease::Held| !h.has_ended(lease.began()) && sweeps.contains(&h.id);
            let Some(held) = busy.iter().find(sweeping) else { return Ok(()) };
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
    pub(super) fn begin_sweep(&self, number: u64, lease: &Lease) -> Result<HashSet<String>> {
        self.store.blobs().put(&sweep_key(number, lease.id()), b"")?;
        let mut kept = HashSet::new();
        // Whose lease has ended has published what it kept, and then it counts as needed, or never will.
        for mark in self.marks(number, "keep-")? {
            let (id, serial) = mark.split_once('.').unwrap_or((&mark, ""));
            let live = lease::all(&self.store)?.iter().any(|h| h.id == id && !h.has_ended(lease.began()));
            let Some(serial) = serial.parse().ok().filter(|_| live) else { continue };
            if let Ok(bytes) = self.store.blobs().get(&keep_key(number, id, serial), LIMIT) {
                kept.insert(unseal::<Kept>("keep", &bytes)?.key);
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
