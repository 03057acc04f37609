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
pub mod diff;
pub mod image;
pub mod index;
pub mod local;
mod locate;
pub mod name;
pub mod release;
mod sealed;
pub mod session;
pub mod source;

pub use diff::{Change, ChangeKind, Field};
pub use image::Image;
pub use name::Ref;
pub use release::{Reason, Release};
pub use session::{Claim, Session};
pub use source::{BlockFeed, ChunkSource, Origin};

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

/// What [`Store::images`] says of a name.
#[derive(Clone, Debug, Serialize)]
pub struct NameInfo {
    /// The name.
    pub name: String,
    /// The newest generation.
    pub generation: u64,
    /// Its image.
    pub image: Hash,
    /// Its tree.
    pub tree: Hash,
    /// When it was made.
    pub created: String,
    /// Tags with the generation each points to.
    pub tags: Vec<(String, u64)>,
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
        if StoreFile::new(file.format, file.store.clone(), file.writer.clone()).text().as_bytes() != bytes {
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

    /// The names that have an image, sorted.
    ///
    /// # Errors
    /// `Integrity` when a release is damaged.
    pub fn images(&self) -> Result<Vec<NameInfo>> {
        let refs = self.refs();
        let mut out = Vec::new();
        for name in refs.names()? {
            let Some(generation) = refs.head(&name)? else { continue };
            let release = refs.release(&name, generation)?;
            if let (Some(image), Some(tree)) = (release.image, release.tree) {
                let tags = refs.tags(&name)?;
                out.push(NameInfo { name, generation, image, tree, created: release.created, tags });
            }
        }
        Ok(out)
    }

    /// Opens the image that a REF means: `name`, `name:tag`, `name@GEN` or the first digits of an image id.
    ///
    /// # Errors
    /// `NotFound` with the nearest names; `Conflict` when a prefix fits several images.
    pub fn image(&self, reference: &str) -> Result<Image> {
        let reference = Ref::parse(reference)?;
        let refs = self.refs();
        if !matches!(reference, Ref::Name(_)) && refs.highest(reference.name())?.is_none() {
            return Err(self.no_name(reference.name()));
        }
        let generation = match &reference {
            Ref::Name(name) => match self.live_head(name)? {
                Some(g) => g,
                None => return self.image_by_prefix(name),
            },
            Ref::Tag(name, tag) => refs.tag(name, tag)?.ok_or_else(|| {
                let known: Vec<String> = refs.tags(name).unwrap_or_default().into_iter().map(|(t, _)| t).collect();
                let e = Error::not_found(format!("{name} has no tag \"{tag}\""));
                name::nearest(tag, &known).map_or(Error::not_found(e.message()), |h| e.hint(h))
            })?,
            Ref::Generation(_, g) => *g,
        };
        let name = reference.name();
        if refs.is_buried(name, generation)? {
            return Err(Error::not_found(format!("generation {generation} of {name} was removed")));
        }
        let release = refs.release(name, generation).map_err(|e| match e.kind() {
            ErrorKind::NotFound if refs.highest(name).is_ok_and(|h| h >= Some(generation)) => {
                Error::integrity(format!("generation {generation} of {name} is lost"))
            }
            ErrorKind::NotFound => Error::not_found(format!("{name} has no generation {generation}")),
            _ => e,
        })?;
        let id =
            release.image.ok_or_else(|| Error::not_found(format!("{name} was removed in generation {generation}")))?;
        Image::open(self.clone(), id, Some(release))
    }

    /// Opens an image by its id.
    ///
    /// # Errors
    /// `NotFound`, or `Integrity` when its manifest is damaged.
    pub fn image_by_id(&self, id: Hash) -> Result<Image> {
        Image::open(self.clone(), id, None)
    }

    fn image_by_prefix(&self, prefix: &str) -> Result<Image> {
        let hex = prefix.len() >= name::PREFIX_MIN && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let ids = if hex { self.image_ids()? } else { Vec::new() };
        let fitting: Vec<Hash> = ids.into_iter().filter(|id| id.to_string().starts_with(prefix)).collect();
        match fitting[..] {
            [id] => Image::open(self.clone(), id, None),
            [] => {
                let known = self.images()?.into_iter().map(|i| i.name).collect::<Vec<_>>();
                let e = Error::not_found(format!("there is no image \"{prefix}\" in {}", self.blobs().place()));
                Err(match name::nearest(prefix, &known) {
                    Some(hint) => e.hint(hint),
                    None => e,
                })
            }
            _ => Err(Error::new(ErrorKind::Conflict, format!("\"{prefix}\" fits {} images", fitting.len()))
                .hint("give more digits")),
        }
    }

    /// The ids of all manifests.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn image_ids(&self) -> Result<Vec<Hash>> {
        let names = self.blobs().list("images")?;
        Ok(names.iter().filter_map(|n| n.strip_suffix(".cvm")?.parse().ok()).collect())
    }

    /// The newest generation of a name, unless the name was removed or never was.
    fn live_head(&self, name: &str) -> Result<Option<u64>> {
        let Some(mut at) = self.refs().head(name)? else { return Ok(None) };
        // The newest one that was not buried singly counts.
        while at > 0 && self.refs().is_buried(name, at)? {
            at -= 1;
        }
        if at == 0 || self.refs().release(name, at)?.image.is_none() {
            return Ok(None);
        }
        Ok(Some(at))
    }

    /// The generations of a name, newest first; tombstoned ones are left out.
    ///
    /// # Errors
    /// `NotFound` for a name that never was.
    pub fn log(&self, name: &str) -> Result<Vec<Release>> {
        let name = name::check_name(name)?;
        let refs = self.refs();
        let mut out = Vec::new();
        let generations = refs.generations(name)?;
        if generations.is_empty() {
            return Err(self.no_name(name));
        }
        for generation in generations.into_iter().rev() {
            if !refs.is_buried(name, generation)? {
                out.push(refs.release(name, generation)?);
            }
        }
        Ok(out)
    }

    fn no_name(&self, name: &str) -> Error {
        let known = self.refs().names().unwrap_or_default();
        let e = Error::not_found(format!("there is no image \"{name}\" in {}", self.blobs().place()));
        match name::nearest(name, &known) {
            Some(hint) => e.hint(hint),
            None => e,
        }
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
                let found = log.iter().find(|r| r.image == Some(image.id()));
                found.map(|r| r.generation).ok_or_else(|| {
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
                if let Some((tag, _)) = refs.tags(&name)?.into_iter().find(|(_, g)| *g == generation) {
                    return Err(Error::refused(format!("tag {name}:{tag} points to generation {generation}"))
                        .hint(format!("cvctl image rm {name}:{tag} first")));
                }
                refs.bury(&name, generation)
            }
            Ref::Name(name) => {
                if self.live_head(&name)?.is_none() {
                    return Err(self.no_name(&name));
                }
                for (tag, _) in refs.tags(&name)? {
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
