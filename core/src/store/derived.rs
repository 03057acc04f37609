//! Files that were derived from an image, such as a squashfs: made once, found by image, kind and parameters, their
//! bytes chunks like all others (`store-format.md` §8).
//!
//! ```text
//! blobs/<image id>/<kind>-<params>      sealed: size, BLAKE3 of the whole, chunks (or lists of them), what was lost;
//!                                       the signature of whoever made it
//! ```
//!
//! Nothing but the signature ties it to its image: that it is what the image becomes knows only who made it.

mod cutter;
mod document;
mod storing;

pub(crate) use cutter::Cutter;
pub(super) use document::SignedDocument;

use super::image::each_item;
use super::name::check_name;
use super::{ChunkSource, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ChunkSet, Content, FormatError, Hash, Item, Loss};
use crate::job::Task;
use document::Document;
use std::io::Write;

const LIMIT: u64 = 4 << 20;

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
    /// `Integrity` when its document is damaged, or, of a handle that trusts, when no key of its signed it.
    pub fn derived(&self, image: &Hash, name: &Name) -> Result<Option<Derived>> {
        let Some(signed) = self.derived_document(image, name)? else { return Ok(None) };
        self.believe_derived(&signed).map_err(|e| named(e, image, name))?;
        self.open_derived(signed.document).map(Some)
    }

    /// The derived file of this name, whoever signed it: what belongs to a store does not depend on whom somebody
    /// believes.
    pub(super) fn any_derived(&self, image: &Hash, name: &Name) -> Result<Option<Derived>> {
        self.derived_document(image, name)?.map(|s| self.open_derived(s.document)).transpose()
    }

    fn open_derived(&self, document: Document) -> Result<Derived> {
        let (image, name) = (document.image, document.name());
        Derived::new(self.clone(), document).map_err(|e| named(e.into(), &image, &name))
    }

    /// The document of this name, whose signatures are not verified.
    fn derived_document(&self, image: &Hash, name: &Name) -> Result<Option<SignedDocument>> {
        let bytes = match self.blobs().get(&name.key(image), LIMIT) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let damaged = |e: Error| named(e.context(name.key(image)), image, name);
        let signed = SignedDocument::decode(&bytes).map_err(|e| damaged(e.into()))?;
        let document = &signed.document;
        if document.image != *image || document.name() != *name {
            return Err(damaged(Error::integrity("it is the document of another place")));
        }
        if document.store != self.uuid() {
            return Err(damaged(Error::integrity("it is the document of another store")));
        }
        Ok(Some(signed))
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
}

/// An error of this derived file.
fn named(e: Error, image: &Hash, name: &Name) -> Error {
    e.fact("object", name.key(image)).fact("images", vec![image.to_string()])
}

impl Derived {
    fn new(store: Store, document: Document) -> Result<Self, FormatError> {
        let (content, name) = (document.content()?, document.name());
        let Document { image, size, hash, losses, .. } = document;
        Ok(Self { store, image, name, size, hash, content, losses })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_two_parts() {
        assert_eq!(Name::parse("squashfs-zstd").unwrap(), Name { kind: "squashfs".into(), params: "zstd".into() });
        for bad in ["squashfs", "-zstd", "squashfs-", "a/b-c", ""] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
    }
}
