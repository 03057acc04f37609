//! What is in a store: names, generations, and the image that a REF means.

use super::name::{self, Ref};
use super::release::{Release, SignedRelease, lost};
use super::tag::Tag;
use super::{Image, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use serde::Serialize;

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
    pub tags: Vec<Tag>,
}

/// A generation as [`Store::log`] lists it.
#[derive(Clone, Debug, Serialize)]
pub struct Logged {
    /// The generation; in JSON its fields stand beside `tags`.
    #[serde(flatten)]
    pub release: Release,
    /// The tags that point to it, sorted.
    pub tags: Vec<String>,
}

impl Store {
    /// The names that have an image, sorted; distributions have a list of their own.
    ///
    /// # Errors
    /// `Integrity` when a release is damaged.
    pub fn images(&self) -> Result<Vec<NameInfo>> {
        let refs = self.refs();
        let mut out = Vec::new();
        for name in refs.names()?.into_iter().filter(|n| !n.starts_with(super::DISTRO_PREFIX)) {
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
    /// `NotFound` with the nearest names; `Conflict` when a prefix fits several images. Of a handle that trusts also
    /// `Integrity` when no key of its signed the release, and `Stale` when a later generation was seen before.
    pub fn image(&self, reference: &str) -> Result<Image> {
        let reference = Ref::parse(reference)?;
        let refs = self.refs();
        if !matches!(reference, Ref::Name(_)) && refs.highest(reference.name())?.is_none() {
            return Err(self.no_name(reference.name()));
        }
        let generation = match &reference {
            Ref::Name(name) => {
                return match self.live(name)? {
                    Some(signed) => self.open_release(&reference, signed),
                    None => self.image_by_prefix(name),
                };
            }
            Ref::Tag(name, tag) => refs.tag(name, tag)?.ok_or_else(|| {
                let known: Vec<String> = refs.tags(name).unwrap_or_default().into_iter().map(|t| t.tag).collect();
                let e = Error::not_found(format!("{name} has no tag \"{tag}\""));
                name::nearest(tag, &known).map_or(Error::not_found(e.message()), |h| e.hint(h))
            })?,
            Ref::Generation(_, g) => *g,
        };
        let name = reference.name();
        if refs.is_buried(name, generation)? {
            return Err(Error::not_found(format!("generation {generation} of {name} was removed")));
        }
        let signed = refs.signed(name, generation).map_err(|e| match e.kind() {
            ErrorKind::NotFound if refs.highest(name).is_ok_and(|h| h >= Some(generation)) => lost(name, generation),
            ErrorKind::NotFound => Error::not_found(format!("{name} has no generation {generation}")),
            _ => e,
        })?;
        self.open_release(&reference, signed)
    }

    /// The image of a release that a REF led to.
    fn open_release(&self, reference: &Ref, signed: SignedRelease) -> Result<Image> {
        let key = self.believe(reference, &signed)?;
        let release = signed.release;
        let removed = || Error::not_found(format!("{} was removed in generation {}", release.name, release.generation));
        let id = release.image.ok_or_else(removed)?;
        Image::open(self.clone(), id, Some(release), key)
    }

    /// The newest image of a name, for its next generation to build on, if it has one. One that is damaged is no base, and no
    /// reason to stop.
    pub(crate) fn base(&self, name: &str) -> Result<Option<Image>> {
        match self.image(name) {
            // The name may be the front of an id.
            Ok(image) => Ok(image.release().is_some().then_some(image)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Integrity) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Opens an image by its id.
    ///
    /// # Errors
    /// `NotFound`, or `Integrity` when its manifest is damaged.
    pub fn image_by_id(&self, id: Hash) -> Result<Image> {
        let key = self.believe_image(id)?;
        Image::open(self.clone(), id, None, key)
    }

    fn image_by_prefix(&self, prefix: &str) -> Result<Image> {
        let hex = prefix.len() >= name::PREFIX_MIN && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let ids = if hex { self.image_ids() } else { Ok(Vec::new()) };
        let ids = match ids {
            // Who cannot list knows images by the whole id.
            Err(e) if e.kind() == ErrorKind::Unsupported => prefix.parse().into_iter().collect(),
            ids => ids?,
        };
        let fitting: Vec<Hash> = ids.into_iter().filter(|id| id.to_string().starts_with(prefix)).collect();
        match fitting[..] {
            [id] => self.image_by_id(id),
            [] => Err(self.no_name(prefix)),
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
    pub(crate) fn live_head(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.live(name)?.map(|signed| signed.release.generation))
    }

    /// The same, as it is written.
    fn live(&self, name: &str) -> Result<Option<SignedRelease>> {
        let refs = self.refs();
        let Some(highest) = refs.head(name)? else { return Ok(None) };
        for at in (1..=highest).rev() {
            // The newest one that was not buried singly counts.
            if refs.is_buried(name, at)? {
                continue;
            }
            match refs.signed(name, at) {
                // It may have been buried just now.
                Err(e) if e.kind() == ErrorKind::NotFound && refs.is_buried(name, at)? => {}
                Err(e) if e.kind() == ErrorKind::NotFound => return Err(lost(name, at)),
                signed => return signed.map(|s| s.release.image.is_some().then_some(s)),
            }
        }
        Ok(None)
    }

    /// The generations of a name, newest first; tombstoned ones are left out.
    ///
    /// # Errors
    /// `NotFound` for a name that never was.
    pub fn log(&self, name: &str) -> Result<Vec<Logged>> {
        let name = name::check_name(name)?;
        let (releases, tags) = (self.releases(name)?, self.refs().tags(name)?);
        let tagged = |generation| tags.iter().filter(|t| t.generation == generation).map(|t| t.tag.clone()).collect();
        Ok(releases.into_iter().map(|r| Logged { tags: tagged(r.generation), release: r }).collect())
    }

    /// What [`Store::log`] lists, whatever the tags say.
    pub(super) fn releases(&self, name: &str) -> Result<Vec<Release>> {
        let refs = self.refs();
        let generations = refs.generations(name)?;
        if generations.is_empty() {
            return Err(self.no_name(name));
        }
        let mut out = Vec::new();
        for generation in generations.into_iter().rev() {
            if !refs.is_buried(name, generation)? {
                out.push(refs.release(name, generation)?);
            }
        }
        Ok(out)
    }

    pub(super) fn no_name(&self, name: &str) -> Error {
        let mut known = self.refs().names().unwrap_or_default();
        if known.iter().any(|n| n == name) {
            return Error::not_found(format!("{name} was removed"))
                .hint(format!("cvctl image log {name} shows its generations; roll back to one of them"));
        }
        known.retain(|n| self.live_head(n).is_ok_and(|head| head.is_some()));
        let e = Error::not_found(format!("there is no image \"{name}\" in {}", self.blobs().place()));
        match name::nearest(name, &known) {
            Some(hint) => e.hint(hint),
            None => e,
        }
    }
}
