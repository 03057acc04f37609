//! An image in a store: its rows, page by page, and single files of it.

use super::release::Release;
use super::source::ChunkSource;
use super::{Store, image_key};
use crate::error::{Error, ErrorKind, Result};
use crate::image::block::checksum;
use crate::image::manifest::{BYTE_LIMIT, Totals};
use crate::image::page::{self, LIST_ITEMS};
use crate::image::{Content, Hash, Item, Kind, Manifest, Row, path};
use crate::sign::KeyId;
use crate::sys::confined::show;
use std::io::Write;

/// An image of a store. Cheap to clone but for its page table.
#[derive(Clone)]
pub struct Image {
    store: Store,
    id: Hash,
    manifest: Manifest,
    release: Option<Release>,
    key: Option<KeyId>,
}

/// What is known of an image.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ImageInfo {
    /// The image id.
    pub image: Hash,
    /// The tree id.
    pub tree: Hash,
    /// The image that this one was made from.
    pub parent: Option<Hash>,
    /// The generation through which it was opened.
    pub release: Option<Release>,
    /// Sums over all entries.
    pub totals: Totals,
    /// Operating system, architecture, kernels, loaders.
    pub facts: Option<serde_json::Value>,
    /// What the capture left out, kept and generalised.
    pub policy: Option<serde_json::Value>,
    /// Names of the user and group ids that occur.
    pub names: Option<serde_json::Value>,
    /// The tags that point to the generation through which it was opened, sorted.
    pub tags: Vec<String>,
    /// Pages of its list of entries.
    pub pages: usize,
    /// The layout that is kept with it.
    pub layout: Option<String>,
}

impl Image {
    /// Opens an image that `key` vouches for, if the store asks.
    pub(super) fn open(store: Store, id: Hash, release: Option<Release>, key: Option<KeyId>) -> Result<Self> {
        let object = image_key(&id);
        let bytes = store.blobs().get(&object, BYTE_LIMIT as u64).map_err(|e| match e.kind() {
            ErrorKind::NotFound if release.is_some() => Error::integrity(format!("manifest {id} is missing")),
            _ => e,
        })?;
        let actual = Hash::of(&bytes);
        let named = |e: Error| e.fact("object", object.clone()).fact("images", vec![id.to_string()]);
        if actual != id {
            return Err(named(checksum("manifest", &id, &actual).into()));
        }
        let manifest = Manifest::decode(&bytes).map_err(|e| named(e.into()))?;
        if let Some(r) = &release
            && r.tree != Some(manifest.tree_id())
        {
            return Err(Error::integrity(format!(
                "generation {} of {} has another tree than its image",
                r.generation, r.name
            )));
        }
        Ok(Self { store, id, manifest, release, key })
    }

    /// An image whose manifest is not in the store yet.
    #[cfg(feature = "server")]
    pub(super) fn of_manifest(store: Store, id: Hash, manifest: Manifest) -> Self {
        Self { store, id, manifest, release: None, key: None }
    }

    /// The image id.
    #[must_use]
    pub fn id(&self) -> Hash {
        self.id
    }

    /// The tree id.
    #[must_use]
    pub fn tree_id(&self) -> Hash {
        self.manifest.tree_id()
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The generation through which it was opened.
    #[must_use]
    pub fn release(&self) -> Option<&Release> {
        self.release.as_ref()
    }

    /// The key that signed the release; `None` when the handle of the store neither trusts nor signs.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        self.key
    }

    /// The store it lies in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is known of the image, as every skin hands it out.
    ///
    /// # Errors
    /// `Integrity` when a tag of its name is damaged.
    pub fn info(&self) -> Result<ImageInfo> {
        let m = &self.manifest;
        let mut tags = match &self.release {
            Some(r) => self.store.refs().tags(&r.name)?,
            None => Vec::new(),
        };
        tags.retain(|t| self.release.as_ref().is_some_and(|r| r.generation == t.generation));
        Ok(ImageInfo {
            image: self.id,
            tree: m.tree_id(),
            parent: m.parent,
            release: self.release.clone(),
            totals: m.totals,
            facts: m.facts.clone(),
            policy: m.policy.clone(),
            names: m.names.clone(),
            tags: tags.into_iter().map(|t| t.tag).collect(),
            pages: m.pages.len(),
            layout: m.layout.as_ref().map(|l| String::from_utf8_lossy(l).into_owned()),
        })
    }

    /// The row of one path, without leading slash.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn row(&self, path: &[u8]) -> Result<Row> {
        let missing = || Error::not_found(format!("/{} is not in the image", show(path)));
        let page = self.manifest.page_of(path).ok_or_else(missing)?;
        self.page(page)?.into_iter().find(|r| r.path == path).ok_or_else(missing)
    }

    /// The row of `path`, and if it is a directory the rows directly in it; `recursive` gives the whole subtree.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn list(&self, path: &[u8], recursive: bool) -> Result<Vec<Row>> {
        let first = self.row(path)?;
        if !first.is_directory() {
            return Ok(vec![first]);
        }
        let table = &self.manifest.pages;
        let start = table.partition_point(|p| path::compare(&p.first, path).is_le()).saturating_sub(1);
        let beneath =
            |p: &[u8]| !p.is_empty() && (path.is_empty() || (p.starts_with(path) && p.get(path.len()) == Some(&b'/')));
        let mut out = vec![first];
        for page in &table[start..] {
            if path::compare(&page.first, path).is_gt() && !beneath(&page.first) {
                break;
            }
            let rows = self.page(page)?;
            out.extend(rows.into_iter().filter(|r| beneath(&r.path) && (recursive || path::parent(&r.path) == path)));
        }
        Ok(out)
    }

    /// Writes the content of a regular file to `out`; a hole is written as zeros.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it is no regular file.
    pub fn cat(&self, path: &[u8], out: &mut dyn Write) -> Result<()> {
        let row = self.row(path)?;
        let Kind::File { content, .. } = &row.kind else {
            return Err(Error::invalid(format!("/{} is not a regular file", show(path))));
        };
        let zeros = vec![0; 64 << 10];
        let wrong = |e| Error::io("write", "the output", e);
        each_item(&self.store, content, |item| {
            match *item {
                Item::Chunk { length, hash } => out.write_all(&self.store.chunk(&hash, length)?).map_err(wrong)?,
                Item::Hole(mut left) => {
                    while left > 0 {
                        let n = left.min(zeros.len() as u64);
                        out.write_all(&zeros[..n as usize]).map_err(wrong)?;
                        left -= n;
                    }
                }
            }
            Ok(())
        })
    }
}

/// Calls `f` with the items of a file in order, lists being fetched from `source` one at a time.
///
/// # Errors
/// `Integrity` when a list is missing or damaged, and what `f` returns.
pub fn each_item(source: &dyn ChunkSource, content: &Content, mut f: impl FnMut(&Item) -> Result<()>) -> Result<()> {
    match content {
        Content::Near(items) => items.iter().try_for_each(f),
        Content::Far { items, lists } => {
            let mut left = *items;
            for (bytes, hash) in lists {
                let count = left.min(LIST_ITEMS as u64);
                left -= count;
                let list = page::decode_list(&source.chunk(hash, *bytes)?, count as usize)?;
                list.iter().try_for_each(&mut f)?;
            }
            Ok(())
        }
    }
}
