//! Where images live: content by hash, immutable versions, names as pointers.
//!
//! ```text
//!  Session ── blocks ──> packs ──> index      capture, import
//!     └── publish: manifest ──> release ──> HEAD
//!  Refs: name ──> generation ──> image id ──> Image: rows, ls, cat
//!  ChunkSource: chunks by hash, blocks in any order      extract, deploy
//! ```
//!
//! The normative text is `core/docs/store-format.md`. A store is a [`blob::BlobStore`] with that layout; a directory
//! is one ([`local::LocalDir`]), others implement the trait.

pub mod blob;
pub mod check;
pub mod content;
pub mod derived;
pub mod diff;
pub mod image;
pub mod index;
pub mod local;
mod locate;
mod lookup;
pub mod name;
pub mod release;
mod sealed;
pub mod session;
pub mod source;
pub mod writer;

pub use derived::Derived;
pub use diff::{Change, ChangeKind, Field};
pub use image::Image;
pub use lookup::{Logged, NameInfo};
pub use name::Ref;
pub use release::{Reason, Release, Tag};
pub use session::{Claim, Session};
pub use source::{BlockFeed, ChunkSource, Origin};
pub use writer::ChunkWriter;

use crate::error::{Error, ErrorKind, Result};
use crate::image::manifest::BYTE_LIMIT as MANIFEST_LIMIT;
use crate::image::{Hash, Manifest};
use crate::sys::clock;
use blob::BlobStore;
use locate::CachedIndex;
use release::Refs;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const STORE_FILE: &str = "store.json";
const FORMAT: u32 = 1;

/// A store of images. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

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
    /// Makes a store in a directory, which is made as well; one that has files already is refused.
    ///
    /// # Errors
    /// `Conflict` when there is a store already, `Refused` when the directory is not empty.
    pub fn init(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        std::fs::create_dir_all(path).map_err(|e| Error::io("create", path.display(), e))?;
        if path.join(STORE_FILE).exists() {
            return Err(Error::new(ErrorKind::Conflict, format!("{} is a store already", path.display())));
        }
        let mut entries = std::fs::read_dir(path).map_err(|e| Error::io("list", path.display(), e))?;
        let local = local::LocalDir::open(path)?;
        // A killed `init` leaves its temporary file, and nothing else.
        let foreign = |name: &std::ffi::OsStr| name != "lost+found" && (name != "tmp" || !local.only_temporaries());
        if entries.any(|e| e.is_ok_and(|e| foreign(&e.file_name()))) {
            return Err(
                Error::refused(format!("{} is not empty", path.display())).hint("give a new or an empty directory")
            );
        }
        let file = StoreFile::new(FORMAT, uuid::Uuid::new_v4().to_string(), "any".into());
        local.create(STORE_FILE, file.text().as_bytes())?;
        Self::open(path)
    }

    /// Opens the store in a directory.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Unsupported` for a format that this version does not know.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let local = local::LocalDir::open(path)?;
        if local.size(STORE_FILE)?.is_none() {
            return Err(Error::not_found(format!("there is no store in {}", path.display()))
                .hint(format!("cvctl store init {}", path.display())));
        }
        Self::with_backend(Box::new(local))
    }

    /// Opens the store that a backend holds.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_backend(blobs: Box<dyn BlobStore>) -> Result<Self> {
        let bytes = blobs.get(STORE_FILE, 64 << 10)?;
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
        Ok(Self(Arc::new(Inner { blobs, uuid: file.store, index, blocks })))
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

    /// Begins to write chunks.
    #[must_use]
    pub fn session(&self) -> Session<'_> {
        Session::new(self)
    }

    /// Refuses early what [`Store::publish`] would refuse in the end.
    pub(crate) fn expect_generation(&self, name: &str, expect: Option<u64>) -> Result<()> {
        let highest = if expect.is_some() { self.refs().highest(name)?.unwrap_or(0) } else { 0 };
        if expect.is_some_and(|e| e != highest) { Err(meanwhile(name, highest)) } else { Ok(()) }
    }

    /// Writes a manifest and publishes it as the next generation of `name`. All its chunks must be durable.
    ///
    /// # Errors
    /// `Conflict` when `expect` is given and is not the generation that is newest.
    pub fn publish(&self, name: &str, manifest: &Manifest, reason: Reason, expect: Option<u64>) -> Result<Image> {
        let name = name::check_name(name)?;
        let bytes = manifest.encode();
        if bytes.len() > MANIFEST_LIMIT {
            return Err(Error::limit("the manifest of this tree is over 64 MiB"));
        }
        let id = Hash::of(&bytes);
        let key = image_key(&id);
        if self.blobs().size(&key)? != Some(bytes.len() as u64) {
            self.blobs().put(&key, &bytes)?;
        }
        let release = self.point(name, Some((id, manifest.tree_id())), reason, expect)?;
        Image::open(self.clone(), id, Some(release))
    }

    /// Adds a generation that points to an image, or away from any.
    fn point(&self, name: &str, to: Option<(Hash, Hash)>, reason: Reason, expect: Option<u64>) -> Result<Release> {
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
            match refs.publish(&release) {
                Ok(()) => return Ok(release),
                Err(e) if e.kind() == ErrorKind::Conflict && expect.is_none() => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Points `tag` of `name` to the image that `reference` means, which must be one of its generations.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the image is none of this name.
    pub fn tag(&self, reference: &str, name: &str, tag: &str) -> Result<()> {
        let (name, tag) = (name::check_name(name)?, name::check_name(tag)?);
        let image = self.image(reference)?;
        let generation = match image.release() {
            Some(r) if r.name == name => r.generation,
            _ => {
                let log = self.log(name)?;
                let found = log.iter().find(|l| l.release.image == Some(image.id()));
                found.map(|l| l.release.generation).ok_or_else(|| {
                    Error::invalid(format!("{reference} is not a generation of {name}"))
                        .hint(format!("cvctl image log {name} lists them"))
                })?
            }
        };
        self.refs().set_tag(name, tag, Some(generation))
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
        let image = self.image(reference)?;
        self.point(name, Some((image.id(), image.tree_id())), Reason::Rollback, None)
    }

    /// Removes what a REF names: a tag, one generation, or a whole name. Chunks stay until they are collected.
    ///
    /// # Errors
    /// `NotFound`; `Refused` for a generation that is the newest or has a tag.
    pub fn remove(&self, reference: &str) -> Result<()> {
        let refs = self.refs();
        match Ref::parse(reference)? {
            Ref::Tag(name, tag) => {
                self.image(&format!("{name}:{tag}"))?;
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
                self.point(&name, None, Reason::Remove, None).map(|_| ())
            }
        }
    }

    fn open_blocks(&self) -> MutexGuard<'_, source::OpenBlocks> {
        locked(&self.0.blocks)
    }
}

fn meanwhile(name: &str, generation: u64) -> Error {
    Error::new(ErrorKind::Conflict, format!("{name} has generation {generation} meanwhile"))
        .fact("generation", generation)
}

fn pack_key(id: &Hash) -> String {
    let hex = id.to_string();
    format!("packs/{}/{hex}.pack", &hex[..2])
}

fn image_key(id: &Hash) -> String {
    format!("images/{id}.cvm")
}
