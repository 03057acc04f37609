//! Leases: who is writing into the store (`store-format.md` §9).
//!
//! A writer puts a lease before it looks at anything, and takes it away when it has ended. A collection deletes nothing
//! that a writer may count on while that writer's lease is there. A lease does not keep others from writing, but where
//! the store cannot decide races itself: there one writer has to be enough.
//!
//! ```text
//!  begin ── look, store ── publish ── confirm ── end           the lease has gone: the generation is taken back
//! ```
//!
//! Two collections at once would each delete what the other relies on: there is one at a time.
//!
//! A lease ends by itself when its process has ended, as far as that can be told, or after [`LIFE`]. Time is the
//! store's own.

use super::Store;
use super::sealed::{seal, unseal};
use super::trash::Trash;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::clock;
use crate::sys::identity::{Identity, host};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A writer of whom nothing is known has so long to end.
pub(super) const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
const DIR: &str = "leases";
const LIMIT: u64 = 64 << 10;
/// What a collection says that it does.
pub(super) const COLLECTION: &str = "collection";
/// Where one has to be enough, two that begin at once give way to each other so often.
const ATTEMPTS: u32 = 5;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseFile {
    host: String,
    process: Identity,
    what: String,
}

/// The lease of a writer, until it is dropped.
pub(super) struct Lease {
    store: Store,
    id: String,
    began: u64,
    trash: Trash,
}

/// A lease of somebody.
pub(super) struct Held {
    pub(super) id: String,
    /// When it was put, by the clock of the store.
    pub(super) began: u64,
    /// Who does what, for people.
    pub(super) who: String,
    collects: bool,
    /// The process is known to have ended.
    dead: bool,
}

fn key(id: &str) -> String {
    format!("{DIR}/{id}")
}

impl Lease {
    /// Puts a lease for `what`, such as `capture of rocky9`.
    ///
    /// # Errors
    /// `Busy` when somebody else writes and the store cannot decide races, or collects and this is a collection, too;
    /// those of the backend.
    pub(super) fn begin(store: &Store, what: &str) -> Result<Self> {
        let (alone, collects) = (!store.blobs().has_conditions()?, what == COLLECTION);
        let mut attempt = 1;
        loop {
            let lease = Self::put(store, what)?;
            let others = if alone || collects { lease.others()? } else { Vec::new() };
            let Some(other) = others.iter().find(|h| alone || h.collects) else { return Ok(lease) };
            if attempt == ATTEMPTS {
                return Err(busy(store, other));
            }
            drop(lease);
            std::thread::sleep(Duration::from_millis(50 + clock::random_u64() % (100 << attempt)));
            attempt += 1;
        }
    }

    fn put(store: &Store, what: &str) -> Result<Self> {
        let id = format!("{:016x}", clock::random_u64());
        let file = LeaseFile { host: host(), process: Identity::own(), what: what.to_owned() };
        let bytes = seal("lease", &file);
        // First: of one whose making failed nobody knows whether it is there.
        let mut lease = Self { store: store.clone(), id: id.clone(), began: 0, trash: Trash::empty(store) };
        store.create_in_need(&key(&id), &bytes)?;
        lease.began = store.blobs().stat(&key(&lease.id))?.ok_or_else(taken)?.modified;
        // After the lease: a collection either is seen here, or sees the lease.
        lease.trash = Trash::read(store)?;
        Ok(lease)
    }

    /// What collections had found when the lease began.
    pub(super) fn trash(&self) -> &Trash {
        &self.trash
    }

    /// Says that an object that is about to be written must not be deleted, whatever a collection found.
    ///
    /// # Errors
    /// `Busy` when it is just being deleted and that takes long.
    pub(super) fn keep(&self, key: &str) -> Result<()> {
        self.trash.keep(key, self)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// When it was put, by the clock of the store.
    pub(super) fn began(&self) -> u64 {
        self.began
    }

    /// That it is still there: then nothing that this writer counted on has been deleted.
    ///
    /// # Errors
    /// `Conflict` when it was taken away.
    pub(super) fn confirm(&self) -> Result<()> {
        if self.store.blobs().size(&key(&self.id))?.is_some() { Ok(()) } else { Err(taken()) }
    }

    /// The leases of others that count. Those that have ended are removed.
    pub(super) fn others(&self) -> Result<Vec<Held>> {
        let mut out = Vec::new();
        for held in all(&self.store)?.into_iter().filter(|h| h.id != self.id) {
            if held.has_ended(self.began) {
                self.store.blobs().delete(&key(&held.id))?;
            } else {
                out.push(held);
            }
        }
        Ok(out)
    }
}

fn busy(store: &Store, other: &Held) -> Error {
    let place = store.blobs().place();
    let (does, hint) = if other.collects {
        ("collected", "one collection at a time: wait until it has ended")
    } else {
        (
            "written",
            "the server ignores conditional writes, so that one writer has to be enough: wait until it has ended",
        )
    };
    Error::new(ErrorKind::Busy, format!("{place} is being {does} by {}", other.who))
        .hint(format!("{hint}. If it has died elsewhere, delete leases/{}", other.id))
        .fact("lease", other.id.clone())
}

fn taken() -> Error {
    Error::new(ErrorKind::Conflict, "the store was collected while this writer was asleep").hint("do it again")
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.store.blobs().delete(&key(&self.id));
    }
}

impl Held {
    /// Whether its writer works no more, as far as can be told at this time.
    pub(super) fn has_ended(&self, now: u64) -> bool {
        self.dead || u128::from(now.saturating_sub(self.began)) > LIFE.as_millis()
    }
}

/// All leases, the oldest first.
pub(super) fn all(store: &Store) -> Result<Vec<Held>> {
    let mut out = Vec::new();
    for (key, meta) in store.blobs().walk(DIR)? {
        let Some(id) = key.strip_prefix("leases/") else { continue };
        let (who, collects, dead) = match store.blobs().get(&key, LIMIT).map(|b| unseal::<LeaseFile>("lease", &b)) {
            Ok(Ok(f)) => {
                let who = format!("process {} on {} ({})", f.process.id, f.host, f.what);
                (who, f.what == COLLECTION, f.process.has_ended())
            }
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            // It may be anybody's.
            _ => (format!("somebody whose lease {id} cannot be read"), true, false),
        };
        out.push(Held { id: id.to_owned(), began: meta.modified, who, collects, dead });
    }
    out.sort_by(|a, b| (a.began, &a.id).cmp(&(b.began, &b.id)));
    Ok(out)
}
