//! Files that were derived from an image, such as a squashfs: made once, found by image, kind and parameters, their
//! bytes chunks like all others (`store-format.md` §8).
//!
//! ```text
//! blobs/<image id>/<kind>-<params>      sealed: size, BLAKE3 of the whole, chunks (or lists of them), what was lost
//! ```

use super::content::{ChunkPool, with_pool};
use super::image::each_item;
use super::name::check_name;
use super::sealed::{seal, unseal};
use super::{ChunkSource, Store, image_key};
use crate::error::{Error, ErrorKind, Result};
use crate::image::chunker::{self, CHUNK_LIMIT};
use crate::image::{ChunkSet, Content, ContentBuilder, FormatError, Hash, Item, Loss};
use crate::job::Task;
use serde::{Deserialize, Serialize};
use std::io::Write;

const LIMIT: u64 = 4 << 20;

/// What is kept of a derived file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    // In the order of their names, which is the canonical order of the JSON.
    /// Its chunks, as long as they stand here.
    chunks: Vec<(Hash, u32)>,
    hash: Hash,
    image: Hash,
    /// Number of all chunks.
    items: u64,
    kind: String,
    /// Lists of chunks, as for a large file of an image.
    lists: Vec<(Hash, u32)>,
    losses: Vec<Loss>,
    params: String,
    size: u64,
    store: String,
}

/// A file that was derived from an image.
#[derive(Clone)]
pub struct Derived {
    store: Store,
    image: Hash,
    name: Name,
    size: u64,
    hash: Hash,
    content: Content,
    losses: Vec<Loss>,
}

/// What a derived file is called among those of its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Such as `squashfs`.
    pub kind: String,
    /// How it was made, such as `zstd`.
    pub params: String,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let (kind, params) = check_name(text).ok()?.split_once('-')?;
        (!kind.is_empty() && !params.is_empty()).then(|| Self { kind: kind.into(), params: params.into() })
    }

    pub(super) fn key(&self, image: &Hash) -> String {
        format!("blobs/{image}/{}-{}", self.kind, self.params)
    }
}

impl Store {
    /// The derived file of this name; `None` when it was not made yet.
    ///
    /// # Errors
    /// `Integrity` when its document is damaged.
    pub fn derived(&self, image: &Hash, name: &Name) -> Result<Option<Derived>> {
        let key = name.key(image);
        let bytes = match self.blobs().get(&key, LIMIT) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let named = |e: Error| e.context(&key).fact("object", key.clone()).fact("images", vec![image.to_string()]);
        let document: Document = unseal("derived", &bytes).map_err(|e| named(e.into()))?;
        if document.image != *image || document.kind != name.kind || document.params != name.params {
            return Err(named(Error::integrity("it is the document of another place")));
        }
        if document.store != self.uuid() {
            return Err(named(Error::integrity("it is the document of another store")));
        }
        Derived::new(self.clone(), document).map(Some).map_err(|e| named(e.into()))
    }

    /// All derived files: image and name. What has another name than a derived file is passed over.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn all_derived(&self) -> Result<Vec<(Hash, Name)>> {
        let mut out = Vec::new();
        for dir in self.blobs().list("blobs")? {
            let Ok(image) = dir.parse::<Hash>() else { continue };
            let names = self.blobs().list(&format!("blobs/{dir}"))?;
            out.extend(names.iter().filter_map(|n| Name::parse(n)).map(|n| (image, n)));
        }
        Ok(out)
    }

    /// What lies among the derived files and has no name of one.
    pub(super) fn stray_derived(&self) -> Result<Vec<String>> {
        let mut out = Vec::new();
        for dir in self.blobs().list("blobs")? {
            let at = format!("blobs/{dir}");
            match dir.parse::<Hash>() {
                Err(_) => out.push(at),
                Ok(_) => {
                    let names = self.blobs().list(&at)?;
                    out.extend(names.iter().filter(|n| Name::parse(n).is_none()).map(|n| format!("{at}/{n}")));
                }
            }
        }
        Ok(out)
    }

    /// Stores the file that `write` writes as derived from `image`. One that another writer stored meanwhile is as good.
    /// Gives it with the bytes that the store grew by.
    ///
    /// # Errors
    /// What `write` returns, `Limit` when there is no room, `Cancelled`.
    pub(crate) fn store_derived(
        &self,
        image: &Hash,
        name: &Name,
        level: i32,
        threads: usize,
        task: &Task,
        write: impl FnOnce(&mut Cutter<'_, '_>) -> Result<Vec<Loss>>,
    ) -> Result<(Derived, u64)> {
        let session = self.session(&format!("{} of {image}", name.kind))?;
        let (content, size, hash, losses) = with_pool(&session, level, threads, |pool| {
            let mut cutter = Cutter::new(pool);
            let losses = write(&mut cutter)?;
            let (content, size, hash) = cutter.finish()?;
            Ok((content, size, hash, losses))
        })?;
        let stored = session.finish()?;
        task.check()?;
        let (items, chunks, lists) = match content {
            Content::Near(items) => {
                let chunk = |i: &Item| match *i {
                    Item::Chunk { length, hash } => Some((hash, length)),
                    Item::Hole(_) => None,
                };
                (items.len() as u64, items.iter().filter_map(chunk).collect(), Vec::new())
            }
            Content::Far { items, lists } => (items, Vec::new(), lists.into_iter().map(|(n, h)| (h, n)).collect()),
        };
        let document = Document {
            chunks,
            hash,
            image: *image,
            items,
            kind: name.kind.clone(),
            lists,
            losses,
            params: name.params.clone(),
            size,
            store: self.uuid().to_owned(),
        };
        let (key, bytes) = (name.key(image), seal("derived", &document));
        session.lease().keep(&image_key(image))?;
        self.image_by_id(*image)?;
        session.lease().keep(&key)?;
        match self.blobs().create(&key, &bytes) {
            // A damaged one, or one whose chunks are lost, is replaced; a good one is as good as this.
            Err(e) if e.kind() == ErrorKind::Conflict => match self.derived(image, name) {
                Ok(Some(there)) if there.is_whole()? => return Ok((there, stored)),
                _ => self.blobs().put(&key, &bytes)?,
            },
            done => done?,
        }
        if let Err(e) = session.lease().confirm() {
            self.blobs().delete(&key)?;
            return Err(e);
        }
        Ok((Derived::new(self.clone(), document)?, stored))
    }
}

impl Derived {
    fn new(store: Store, d: Document) -> Result<Self, FormatError> {
        let bad = |why| FormatError::malformed("derived", why);
        let sum: u64 = d.chunks.iter().map(|(_, n)| u64::from(*n)).sum();
        let content = if d.lists.is_empty() {
            if d.items != d.chunks.len() as u64 || sum != d.size {
                return Err(bad("its chunks do not add up to its size"));
            }
            Content::Near(d.chunks.into_iter().map(|(hash, length)| Item::Chunk { length, hash }).collect())
        } else {
            if !d.chunks.is_empty() {
                return Err(bad("it has chunks and lists of chunks"));
            }
            Content::Far { items: d.items, lists: d.lists.into_iter().map(|(h, n)| (n, h)).collect() }
        };
        let name = Name { kind: d.kind, params: d.params };
        Ok(Self { store, image: d.image, name, size: d.size, hash: d.hash, content, losses: d.losses })
    }

    /// The image that it was derived from.
    #[must_use]
    pub fn image(&self) -> Hash {
        self.image
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// BLAKE3 of the whole file.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// What its format does not hold of the image.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// Every chunk that it needs, its lists included: what a collection keeps as long as the image is kept.
    ///
    /// # Errors
    /// `Integrity` when a list is missing or damaged, or the chunks do not add up to the size.
    pub fn chunks(&self) -> Result<ChunkSet> {
        let (mut set, mut sum) = (ChunkSet::default(), 0u64);
        if let Content::Far { lists, .. } = &self.content {
            for (bytes, hash) in lists {
                set.insert(*hash, *bytes);
            }
        }
        each_item(&self.store, &self.content, |item| {
            sum = sum.saturating_add(item.length());
            if let Item::Chunk { length, hash } = *item {
                set.insert(hash, length);
            }
            Ok(())
        })?;
        if sum != self.size {
            return Err(Error::integrity("the chunks of a derived file do not add up to its size"));
        }
        Ok(set)
    }

    /// Whether every chunk is in the store, as far as the index knows.
    ///
    /// # Errors
    /// When the index can neither be read nor rebuilt.
    pub fn is_whole(&self) -> Result<bool> {
        let Ok(set) = self.chunks() else { return Ok(false) };
        self.store.expect(&set)?;
        for (hash, _) in set.chunks() {
            if self.store.find(hash)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the file to `out`; each chunk is verified, and the whole.
    ///
    /// # Errors
    /// `Integrity` when something is missing or damaged; what `out` returns; `Cancelled`.
    pub fn write_to(&self, out: &mut dyn Write, task: &Task) -> Result<()> {
        let mut sum = blake3::Hasher::new();
        self.store.expect(&self.chunks()?)?;
        each_item(&self.store, &self.content, |item| {
            task.check()?;
            if let Item::Chunk { length, hash } = *item {
                let bytes = self.store.chunk(&hash, length)?;
                sum.update(&bytes);
                out.write_all(&bytes).map_err(|e| Error::io("write", "the file", e))?;
                task.advance(length.into());
            }
            Ok(())
        })?;
        if *sum.finalize().as_bytes() != self.hash.0 {
            return Err(Error::integrity("the whole of a derived file has another hash than its document says")
                .fact("images", vec![self.image.to_string()]));
        }
        Ok(())
    }
}

/// Cuts a stream into chunks as it comes. Between two boundaries it is cut as an extent of a file is: content that
/// stands in the file as it does in the image becomes the same chunks.
pub(crate) struct Cutter<'c, 'p> {
    pool: &'c mut ChunkPool<'p>,
    content: ContentBuilder,
    /// Bytes since the last cut.
    rest: Vec<u8>,
    /// Nothing was cut since the last boundary.
    fresh: bool,
    sum: blake3::Hasher,
    size: u64,
}

/// More than a chunk is kept, so that not every one is moved to the front.
const KEPT: usize = 4 * CHUNK_LIMIT;

impl<'c, 'p> Cutter<'c, 'p> {
    fn new(pool: &'c mut ChunkPool<'p>) -> Self {
        let (content, sum) = (ContentBuilder::default(), blake3::Hasher::new());
        Self { pool, content, rest: Vec::with_capacity(2 * KEPT), fresh: true, sum, size: 0 }
    }

    /// The next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.sum.update(bytes);
        self.size += bytes.len() as u64;
        for part in bytes.chunks(CHUNK_LIMIT) {
            self.rest.extend_from_slice(part);
            if self.rest.len() >= KEPT {
                self.cut(CHUNK_LIMIT)?;
            }
        }
        Ok(())
    }

    /// Here something else begins.
    pub(crate) fn boundary(&mut self) -> Result<()> {
        self.cut(0)?;
        self.fresh = true;
        Ok(())
    }

    /// Cuts while more than `keep` bytes are there.
    fn cut(&mut self, keep: usize) -> Result<()> {
        let mut at = 0;
        while self.rest.len() - at > keep {
            let window = &self.rest[at..];
            let n = chunker::cut(window, self.fresh && keep == 0);
            let hash = self.pool.put(&window[..n])?;
            let pool = &mut *self.pool;
            self.content.push(Item::Chunk { length: n as u32, hash }, |list| pool.put(list))?;
            self.fresh = false;
            at += n;
        }
        self.rest.drain(..at);
        Ok(())
    }

    fn finish(mut self) -> Result<(Content, u64, Hash)> {
        self.cut(0)?;
        let pool = self.pool;
        let (content, _) = self.content.finish(|list| pool.put(list))?;
        Ok((content, self.size, Hash(*self.sum.finalize().as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::content::ContentWriter;

    fn noise(n: usize) -> Vec<u8> {
        let mut x = 0x1234_5678_9abc_def0_u64;
        let next = |_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        };
        (0..n).map(next).collect()
    }

    #[test]
    fn a_stream_is_cut_as_an_extent_is() {
        let tmp = tempfile::tempdir().unwrap();
        let store = Store::init(tmp.path().join("store")).unwrap();
        let data = noise(9_000_000);
        for length in [1, 70_000, 200_000, 262_144, 262_145, 1 << 20, 5_000_000, data.len()] {
            let bytes = &data[..length];
            let session = store.session("test").unwrap();
            let (cut, whole, size) = with_pool(&session, 3, 1, |pool| {
                let mut cutter = Cutter::new(pool);
                bytes.chunks(77_777).try_for_each(|part| cutter.push(part))?;
                let (cut, size, hash) = cutter.finish()?;
                assert_eq!(hash, Hash::of(bytes));
                let (mut whole, mut at) = (ContentWriter::default(), 0);
                let mut source = |buf: &mut [u8]| {
                    let n = buf.len().min(length - at);
                    buf[..n].copy_from_slice(&bytes[at..at + n]);
                    at += n;
                    Ok(n)
                };
                whole.extent(length as u64, &mut source, pool)?;
                Ok((cut, whole.finish(pool)?.0, size))
            })
            .unwrap();
            assert_eq!((cut, size), (whole, length as u64), "{length}");
        }
    }

    #[test]
    fn names_have_two_parts() {
        assert_eq!(Name::parse("squashfs-zstd").unwrap(), Name { kind: "squashfs".into(), params: "zstd".into() });
        for bad in ["squashfs", "-zstd", "squashfs-", "a/b-c", ""] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
    }
}
