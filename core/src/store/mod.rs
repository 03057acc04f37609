//! Where images live: content by hash, immutable versions, names as pointers.
//!
//! ```text
//!  Session ── blocks ──> packs ──> index      capture, import
//!     └── publish: manifest ──> release ──> HEAD
//!  Refs: name ──> generation ──> image id ──> Image: rows, ls, cat
//!  ChunkSource: chunks by hash, blocks in any order      extract, deploy
//! ```
//!
//! A handle may sign what it publishes ([`Store::signing`]), and may open nothing but what is signed
//! ([`Store::trusting`]): who asked for either cannot forget it in a call.
//!
//! The normative text is `core/docs/store-format.md`. A store is a [`blob::BlobStore`] with that layout; a directory
//! is one ([`local::LocalDir`]), a prefix in a bucket another (`s3::S3`, feature `s3`); others implement the trait.

mod ahead;
pub mod amplification;
mod anew;
pub mod blob;
mod blocks;
pub mod check;
mod choice;
pub mod collect;
pub mod content;
mod copied;
mod cover;
pub mod depot;
pub mod derived;
pub mod diff;
mod elsewhere;
#[cfg(feature = "mcast")]
pub(crate) mod held;
#[cfg(feature = "http")]
pub mod http;
pub mod image;
pub mod index;
#[cfg(feature = "mcast")]
pub(crate) mod laid;
mod lease;
pub mod local;
mod locate;
pub mod location;
mod lookup;
mod memory;
pub mod name;
pub(crate) mod needs;
mod opened;
#[cfg(feature = "mcast")]
pub(crate) mod pieces;
mod point;
mod presence;
mod proof;
pub mod release;
#[cfg(feature = "s3")]
pub mod s3;
mod rows;
#[cfg(feature = "server")]
pub(crate) mod secret;
pub(crate) mod sealed;
#[cfg(feature = "server")]
pub(crate) mod receive;
mod repair;
pub mod replica;
pub mod session;
mod sieve;
pub mod source;
mod sync;
pub mod tag;
#[cfg(feature = "server")]
pub(crate) mod token;
mod transfer;
mod trash;
mod trust;
mod usage;
mod verify;
#[cfg(feature = "http")]
pub(crate) mod wire;
pub mod writer;

pub(crate) use blocks::BlockReader;
pub use derived::Derived;
pub use diff::{Change, ChangeKind, Field};
pub use image::Image;
pub use location::Location;
pub use lookup::{Logged, NameInfo};
pub use memory::Memory;
pub use name::Ref;
pub(crate) use opened::OPEN_BLOCKS;
pub use release::{Reason, Release, SignedRelease};
pub use repair::Repaired;
pub use rows::PageRows;
pub(crate) use rows::RowCursor;
pub use session::{Claim, Session};
pub use source::{BlockFeed, ChunkSource, Origin, StoredBlock, Whole};
pub use sync::{SyncOptions, Synced};
pub use tag::Tag;
#[cfg(feature = "server")]
pub use token::{Token, TokenOptions};
pub use trust::Trust;
pub use verify::Verified;
pub use writer::ChunkWriter;

use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use crate::job::Task;
use blob::BlobStore;
use locate::CachedIndex;
use release::Refs;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What stands before the names of images that are distributions (`core/docs/distro.md`); they are not listed among others.
pub(crate) const DISTRO_PREFIX: &str = "distro.";

const STORE_FILE: &str = "store.json";
const FORMAT: u32 = 1;
/// So many bytes are kept free for a session: a disk that it has filled has no room to say what goes.
const RESERVE: usize = 64 << 10;

/// A store of images. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct Store(Arc<Inner>, trust::Standing);

struct Inner {
    blobs: Box<dyn BlobStore>,
    uuid: String,
    /// `store.json` was made anew, and the uuid is what the releases name.
    adopted: bool,
    index: Mutex<CachedIndex>,
    blocks: opened::OpenBlocks,
}

#[derive(Serialize, Deserialize)]
struct StoreFile {
    /// The first 16 digits of the BLAKE3 of this document with an empty `check`.
    check: String,
    format: u32,
    store: String,
    writer: String,
}

impl StoreFile {
    fn new(format: u32, store: String, writer: String) -> Self {
        let mut file = Self { check: String::new(), format, store, writer };
        file.check = Hash::of(file.text().as_bytes()).to_string()[..16].to_owned();
        file
    }

    fn text(&self) -> String {
        format!("{}\n", serde_json::to_string(self).unwrap_or_default())
    }
}

/// Whether these are the bytes of a `store.json`, of any format.
pub(crate) fn is_store_file(bytes: &[u8]) -> bool {
    serde_json::from_slice::<StoreFile>(bytes)
        .is_ok_and(|f| StoreFile::new(f.format, f.store, f.writer).text().as_bytes() == bytes)
}

/// Whether this is a uuid, written as uuids are.
fn is_uuid(text: &str) -> bool {
    uuid::Uuid::parse_str(text).is_ok_and(|id| id.to_string() == text)
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Makes a store in a directory, which is made as well, or at `s3://BUCKET/PREFIX`; a place that has files already is
    /// refused.
    ///
    /// # Errors
    /// `Conflict` when there is a store already, `Refused` when the place is not empty; `Unsupported` for S3 without the
    /// feature `s3`.
    pub fn init(place: impl AsRef<Path>) -> Result<Self> {
        let place = Location::parse(place)?;
        let blobs = place.make()?;
        let file = StoreFile::new(FORMAT, uuid::Uuid::new_v4().to_string(), "any".into());
        blobs.create(STORE_FILE, file.text().as_bytes()).map_err(|e| match e.kind() {
            ErrorKind::Conflict => place.occupied(),
            _ => e,
        })?;
        Self::with_backend(blobs)
    }

    /// Opens the store in a directory, at `s3://BUCKET/PREFIX`, or behind a web server at `https://HOST/PATH`, where it can only
    /// be read.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Unsupported` for a format that this version does not know, and for a kind of place
    /// without its feature (`s3`, `http`).
    pub fn open(place: impl AsRef<Path>) -> Result<Self> {
        let place = Location::parse(place)?;
        Self::with_backend(place.open()?)
    }

    /// Opens a store behind web servers, to be read.
    ///
    /// # Errors
    /// As [`Store::open`]; `Network` when no server can be reached, `Integrity` when what they send is no store.
    #[cfg(feature = "http")]
    pub fn open_http(options: &http::HttpOptions) -> Result<Self> {
        Self::with_backend(Box::new(http::Http::connect(options)?))
    }

    /// Opens a store behind a server that takes captures with `token` (`docs/capture-protocol.md`): [`Store::capture`] of the name
    /// that it is for sends what the server lacks, and the server publishes. Everything else can only read.
    ///
    /// # Errors
    /// As [`Store::open_http`]; `Denied` when the token is not valid, `Unsupported` when the server takes nothing.
    #[cfg(feature = "http")]
    pub fn open_to(options: &http::HttpOptions, token: &str) -> Result<Self> {
        let blobs = http::Http::sending(options, token)?;
        let granted = blobs.granted_store().map(str::to_owned);
        let store = Self::with_backend(Box::new(blobs))?;
        if granted.is_some_and(|uuid| uuid != store.uuid()) {
            return Err(Error::integrity(format!("{} is the store of another server", store.blobs().place())));
        }
        Ok(store)
    }

    /// Opens the store that a backend holds.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_backend(blobs: Box<dyn BlobStore>) -> Result<Self> {
        Self::begin(blobs, false)
    }

    fn begin(blobs: Box<dyn BlobStore>, adopted: bool) -> Result<Self> {
        let bytes = blobs.get(STORE_FILE, 64 << 10).map_err(|e| no_store(e, blobs.as_ref()))?;
        let file: StoreFile = serde_json::from_slice(&bytes)
            .map_err(|e| Error::integrity(format!("{STORE_FILE} of {} cannot be read", blobs.place())).cause(e))?;
        if file.format != FORMAT {
            return Err(Error::unsupported(format!(
                "the store has format {}, this version knows {FORMAT}",
                file.format
            )));
        }
        if !is_store_file(&bytes) {
            return Err(Error::integrity(format!("{STORE_FILE} of {} was changed", blobs.place())));
        }
        // It becomes a part of keys, and whoever made the store may have made it up.
        if !is_uuid(&file.store) {
            return Err(Error::integrity(format!("{STORE_FILE} of {} names no uuid", blobs.place())));
        }
        // What a build that was killed left beside the objects.
        #[cfg(feature = "build")]
        if let Some(directory) = blobs.directory() {
            crate::sys::scratch::clean(&directory.join("tmp"), crate::sys::scratch::BUILD);
        }
        let (index, blocks) = (Mutex::default(), opened::OpenBlocks::default());
        Ok(Self(Arc::new(Inner { blobs, uuid: file.store, adopted, index, blocks }), trust::Standing::default()))
    }

    /// The store's uuid.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.0.uuid
    }

    /// The backend.
    #[must_use]
    pub fn blobs(&self) -> &dyn BlobStore {
        self.0.blobs.as_ref()
    }

    /// Names, generations and tags.
    #[must_use]
    pub fn refs(&self) -> Refs<'_> {
        Refs::new(self.blobs())
    }

    /// Begins to write chunks; `what` says what for, such as `capture of rocky9`.
    ///
    /// # Errors
    /// `Busy` when somebody else writes and the store cannot decide races; those of the backend.
    pub fn session(&self, what: &str) -> Result<Session> {
        Session::new(self, what)
    }

    /// Does `work` in a session. When the store is full, what it stored is given back.
    pub(crate) fn in_session<T>(&self, what: &str, task: &Task, work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
        let session = self.session(what)?;
        let mut reserve = self.blobs().writer()?;
        reserve.append(&[0; RESERVE])?;
        let done = work(&session);
        drop(reserve);
        if done.as_ref().is_err_and(|e| e.kind() == ErrorKind::Limit) {
            session.give_back(task);
        }
        done
    }

    /// Creates an object without which nothing can be collected. What is cached makes room for it in a full store: the next
    /// captures make it again.
    fn create_in_need(&self, key: &str, bytes: &[u8]) -> Result<()> {
        match self.blobs().create(key, bytes) {
            Err(e) if e.kind() == ErrorKind::Limit => {
                let caches: Vec<String> = self.blobs().walk("cache")?.into_iter().map(|(key, _)| key).collect();
                self.blobs().delete_all(&caches)?;
                self.blobs().create(key, bytes)
            }
            done => done,
        }
    }

    fn open_blocks(&self) -> &opened::OpenBlocks {
        &self.0.blocks
    }

    /// Gives back the memory of blocks that were opened for single chunks, when no more of them will be asked for soon.
    pub(crate) fn close_blocks(&self) {
        self.open_blocks().close_all();
    }
}

/// An error of reading `store.json`; that it is not there means that there is no store, or not even the place for one.
fn no_store(e: Error, blobs: &dyn BlobStore) -> Error {
    if e.kind() != ErrorKind::NotFound {
        return e;
    }
    if let Err(e) = blobs.list("refs")
        && e.kind() != ErrorKind::Unsupported
    {
        return e;
    }
    let place = blobs.place();
    Error::not_found(format!("there is no store in {place}")).hint(format!("cvctl store init {place}"))
}

pub(crate) fn pack_key(id: &Hash) -> String {
    let hex = id.to_string();
    format!("packs/{}/{hex}.pack", &hex[..2])
}

/// The pack whose key this is.
fn pack_of(key: &str) -> Option<Hash> {
    let (_, name) = key.strip_prefix("packs/")?.split_once('/')?;
    name.strip_suffix(".pack")?.parse().ok()
}

pub(crate) fn image_key(id: &Hash) -> String {
    format!("images/{id}.cvm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_a_uuid_and_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("s");
        let uuid = Store::init(&place).unwrap().uuid().to_owned();
        for (id, good) in [(uuid.as_str(), true), ("../../etc", false), ("", false), (&uuid.to_uppercase(), false)] {
            let text = StoreFile::new(FORMAT, id.into(), "somebody".into()).text();
            std::fs::write(place.join(STORE_FILE), text).unwrap();
            let opened = Store::open(&place);
            assert_eq!(opened.is_ok(), good, "{id}");
            assert!(opened.is_ok() || opened.err().unwrap().kind() == ErrorKind::Integrity);
        }
    }
}
