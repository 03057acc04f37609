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
pub mod check;
mod choice;
pub mod collect;
pub mod content;
mod cover;
pub mod derived;
pub mod diff;
pub mod image;
pub mod index;
mod lease;
pub mod local;
mod locate;
pub mod location;
mod lookup;
mod memory;
pub mod name;
pub(crate) mod needs;
mod presence;
pub mod release;
#[cfg(feature = "s3")]
pub mod s3;
mod sealed;
mod repair;
pub mod session;
pub mod source;
mod sync;
pub mod tag;
mod transfer;
mod trash;
mod trust;
mod usage;
mod verify;
pub mod writer;

pub use derived::Derived;
pub use diff::{Change, ChangeKind, Field};
pub use image::Image;
pub use location::Location;
pub use lookup::{Logged, NameInfo};
pub use memory::Memory;
pub use name::Ref;
pub use release::{Reason, Release, SignedRelease};
pub use repair::Repaired;
pub use session::{Claim, Session};
pub use source::{BlockFeed, ChunkSource, Origin};
pub use sync::{SyncOptions, Synced};
pub use tag::Tag;
pub use trust::Trust;
pub use verify::Verified;
pub use writer::ChunkWriter;

use crate::error::{Error, ErrorKind, Result};
use crate::image::manifest::BYTE_LIMIT as MANIFEST_LIMIT;
use crate::image::{Hash, Manifest};
use crate::sys::clock;
use blob::BlobStore;
use lease::Lease;
use locate::CachedIndex;
use release::Refs;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const STORE_FILE: &str = "store.json";
const FORMAT: u32 = 1;

/// A store of images. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct Store(Arc<Inner>, trust::Standing);

struct Inner {
    blobs: Box<dyn BlobStore>,
    uuid: String,
    index: Mutex<CachedIndex>,
    blocks: Mutex<source::OpenBlocks>,
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

    /// Opens the store in a directory, or at `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Unsupported` for a format that this version does not know, and for S3 without the
    /// feature `s3`.
    pub fn open(place: impl AsRef<Path>) -> Result<Self> {
        let place = Location::parse(place)?;
        Self::with_backend(place.open()?)
    }

    /// Opens the store that a backend holds.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_backend(blobs: Box<dyn BlobStore>) -> Result<Self> {
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
        let (index, blocks) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { blobs, uuid: file.store, index, blocks }), trust::Standing::default()))
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
    pub fn session(&self, what: &str) -> Result<Session<'_>> {
        Session::new(self, what)
    }

    /// Refuses early what [`Store::publish`] would refuse in the end.
    pub(crate) fn expect_generation(&self, name: &str, expect: Option<u64>) -> Result<()> {
        let highest = if expect.is_some() { self.refs().highest(name)?.unwrap_or(0) } else { 0 };
        if expect.is_some_and(|e| e != highest) { Err(meanwhile(name, highest)) } else { Ok(()) }
    }

    fn publish(
        &self,
        lease: &Lease,
        name: &str,
        manifest: &Manifest,
        reason: Reason,
        expect: Option<u64>,
    ) -> Result<Image> {
        let name = name::check_name(name)?;
        let id = self.put_manifest(lease, manifest)?;
        let release = self.point(lease, name, Some((id, manifest.tree_id())), reason, expect)?;
        Image::open(self.clone(), id, Some(release), self.signer().map(|s| s.public().id()))
    }

    /// Writes a manifest, whose chunks must be durable.
    fn put_manifest(&self, lease: &Lease, manifest: &Manifest) -> Result<Hash> {
        let bytes = manifest.encode();
        if bytes.len() > MANIFEST_LIMIT {
            return Err(Error::limit("the manifest of this tree is over 64 MiB"));
        }
        let id = Hash::of(&bytes);
        let key = image_key(&id);
        lease.keep(&key)?;
        if self.blobs().size(&key)? != Some(bytes.len() as u64) {
            self.blobs().put(&key, &bytes)?;
        }
        Ok(id)
    }

    /// Adds a generation that points to an image, or away from any.
    fn point(
        &self,
        lease: &Lease,
        name: &str,
        to: Option<(Hash, Hash)>,
        reason: Reason,
        expect: Option<u64>,
    ) -> Result<Release> {
        let refs = self.refs();
        let mut before = None;
        loop {
            let head = refs.highest(name)?.unwrap_or(0);
            if before.replace(head) == Some(head) {
                return Err(Error::integrity(format!("generation {} of {name} is there and is not", head + 1)));
            }
            if expect.is_some_and(|e| e != head) {
                return Err(meanwhile(name, head));
            }
            let release = Release {
                created: clock::now_rfc3339(),
                generation: head + 1,
                image: to.map(|t| t.0),
                name: name.to_owned(),
                reason,
                store: self.uuid().to_owned(),
                tree: to.map(|t| t.1),
            };
            let signed = SignedRelease::new(release, self.signer());
            match refs.publish(&signed) {
                // Now: a collection either has seen the release, or has taken the lease of one who slept too long.
                Ok(()) => return self.confirm(lease, name, signed.release.generation).map(|()| signed.release),
                Err(e) if e.kind() == ErrorKind::Conflict && expect.is_none() => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The image of `reference`, which stays whatever a collection has found, as long as the lease does.
    fn image_to_point_at(&self, lease: &Lease, reference: &str) -> Result<Image> {
        let image = self.image(reference)?;
        lease.keep(&image_key(&image.id()))?;
        // It may have been deleted before that was said.
        self.image(reference)
    }

    /// Takes a generation back unless the lease is still there.
    fn confirm(&self, lease: &Lease, name: &str, generation: u64) -> Result<()> {
        let lost = lease.confirm();
        if lost.is_err() {
            self.refs().bury(name, generation)?;
        }
        lost
    }

    /// Points `tag` of `name` to the image that `reference` means, which must be one of its generations.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the image is none of this name.
    pub fn tag(&self, reference: &str, name: &str, tag: &str) -> Result<()> {
        let (name, tag) = (name::check_name(name)?, name::check_name(tag)?);
        let lease = Lease::begin(self, &format!("tag {name}:{tag}"))?;
        let image = self.image_to_point_at(&lease, reference)?;
        let generation = match image.release() {
            Some(r) if r.name == name => r.generation,
            _ => {
                let releases = self.releases(name)?;
                let found = releases.iter().find(|r| r.image == Some(image.id()));
                found.map(|r| r.generation).ok_or_else(|| {
                    Error::invalid(format!("{reference} is not a generation of {name}"))
                        .hint(format!("cvctl image log {name} lists them"))
                })?
            }
        };
        self.refs().set_tag(name, tag, Some(generation))?;
        // Somebody may just have removed it, who looked for tags before this one was there.
        if self.refs().is_buried(name, generation)? {
            self.refs().set_tag(name, tag, None)?;
            return Err(Error::not_found(format!("generation {generation} of {name} was removed")));
        }
        lease.confirm()
    }

    /// Makes a new generation of `name` that points to the image of `reference`.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn rollback(&self, name: &str, reference: &str) -> Result<Release> {
        let name = name::check_name(name)?;
        if self.refs().highest(name)?.is_none() {
            return Err(self.no_name(name));
        }
        let lease = Lease::begin(self, &format!("roll back of {name}"))?;
        let image = self.image_to_point_at(&lease, reference)?;
        self.point(&lease, name, Some((image.id(), image.tree_id())), Reason::Rollback, None)
    }

    /// Removes what a REF names: a tag, one generation, or a whole name. Chunks stay until they are collected.
    ///
    /// # Errors
    /// `NotFound`; `Refused` for a generation that is the newest or has a tag.
    pub fn remove(&self, reference: &str) -> Result<()> {
        let refs = self.refs();
        let parsed = Ref::parse(reference)?;
        let lease = Lease::begin(self, &format!("removal of {reference}"))?;
        match parsed {
            Ref::Tag(name, tag) => {
                // One whose record is damaged can be removed, too.
                if !refs.tag(&name, &tag).is_err_and(|e| e.kind() == ErrorKind::Integrity) {
                    self.image(&format!("{name}:{tag}"))?;
                }
                refs.set_tag(&name, &tag, None)
            }
            Ref::Generation(name, generation) => {
                // A release that is lost or damaged can be removed: then the store is whole again.
                if let Err(e) = self.image(reference)
                    && (e.kind() != ErrorKind::Integrity || refs.highest(&name)? <= Some(generation))
                {
                    return Err(e);
                }
                if self.live_head(&name)? == Some(generation) {
                    return Err(Error::refused(format!("generation {generation} is what {name} points to"))
                        .hint(format!("roll back first, or remove {name} as a whole")));
                }
                if let Some(Tag { tag, .. }) = refs.tags(&name)?.into_iter().find(|t| t.generation == generation) {
                    return Err(Error::refused(format!("tag {name}:{tag} points to generation {generation}"))
                        .hint(format!("cvctl image rm {name}:{tag} first")));
                }
                refs.bury(&name, generation)
            }
            Ref::Name(name) => {
                if self.live_head(&name)?.is_none() {
                    return Err(self.no_name(&name));
                }
                for Tag { tag, .. } in refs.tags(&name)? {
                    refs.set_tag(&name, &tag, None)?;
                }
                self.point(&lease, &name, None, Reason::Remove, None).map(|_| ())
            }
        }
    }

    /// Removes what is cached in the store, which the next captures make again.
    fn drop_caches(&self) -> Result<()> {
        let keys: Vec<String> = self.blobs().walk("cache")?.into_iter().map(|(key, _)| key).collect();
        self.blobs().delete_all(&keys)
    }

    fn open_blocks(&self) -> MutexGuard<'_, source::OpenBlocks> {
        locked(&self.0.blocks)
    }
}

/// An error of reading `store.json`; that it is not there means that there is no store, or not even the place for one.
fn no_store(e: Error, blobs: &dyn BlobStore) -> Error {
    if e.kind() != ErrorKind::NotFound {
        return e;
    }
    if let Err(e) = blobs.list("refs") {
        return e;
    }
    let place = blobs.place();
    Error::not_found(format!("there is no store in {place}")).hint(format!("cvctl store init {place}"))
}

fn meanwhile(name: &str, generation: u64) -> Error {
    Error::new(ErrorKind::Conflict, format!("{name} has generation {generation} meanwhile"))
        .fact("generation", generation)
}

fn pack_key(id: &Hash) -> String {
    let hex = id.to_string();
    format!("packs/{}/{hex}.pack", &hex[..2])
}

/// The pack whose key this is.
fn pack_of(key: &str) -> Option<Hash> {
    let (_, name) = key.strip_prefix("packs/")?.split_once('/')?;
    name.strip_suffix(".pack")?.parse().ok()
}

fn image_key(id: &Hash) -> String {
    format!("images/{id}.cvm")
}
