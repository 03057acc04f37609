//! What names and tags point to: new generations, tags, roll backs, removals.

use super::lease::Lease;
use super::name::{self, Ref};
use super::release::{Reason, Release, SignedRelease};
use super::tag::Tag;
use super::{Image, Store, image_key};
use crate::error::{Error, ErrorKind, Result};
use crate::image::manifest::BYTE_LIMIT as MANIFEST_LIMIT;
use crate::image::{Hash, Manifest};
use crate::sys::clock;

impl Store {
    /// Refuses early what [`Store::publish`] would refuse in the end.
    pub(crate) fn expect_generation(&self, name: &str, expect: Option<u64>) -> Result<()> {
        let highest = if expect.is_some() { self.refs().highest(name)?.unwrap_or(0) } else { 0 };
        if expect.is_some_and(|e| e != highest) { Err(meanwhile(name, highest)) } else { Ok(()) }
    }

    pub(super) fn publish(
        &self,
        lease: &Lease,
        name: &str,
        (image, tree): (Hash, Hash),
        reason: Reason,
        expect: Option<u64>,
    ) -> Result<Image> {
        let release = self.point(lease, name, Some((image, tree)), reason, expect)?;
        Image::open(self.clone(), image, Some(release), self.signer().map(|s| s.public().id()))
    }

    /// Writes a manifest, whose chunks must be durable; says whether it was not there.
    pub(super) fn put_manifest(&self, lease: &Lease, manifest: &Manifest) -> Result<(Hash, bool)> {
        let bytes = manifest.encode();
        if bytes.len() > MANIFEST_LIMIT {
            return Err(Error::limit("the manifest of this tree is over 64 MiB"));
        }
        let id = Hash::of(&bytes);
        let key = image_key(&id);
        lease.keep(&key)?;
        let new = self.blobs().size(&key)? != Some(bytes.len() as u64);
        if new {
            self.blobs().put(&key, &bytes)?;
        }
        Ok((id, new))
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
        self.confirm_tag(name, tag, generation)?;
        lease.confirm()
    }

    /// Points a tag to a generation that was just made, unless a newer one has it.
    ///
    /// # Errors
    /// `NotFound` when the generation was removed meanwhile.
    pub(crate) fn advance_tag(&self, name: &str, tag: &str, generation: u64) -> Result<()> {
        self.refs().advance_tag(name, tag, generation)?;
        self.confirm_tag(name, tag, generation)
    }

    /// Takes a tag back whose generation somebody just removed, who looked for tags before this one was there.
    fn confirm_tag(&self, name: &str, tag: &str, generation: u64) -> Result<()> {
        let refs = self.refs();
        if !refs.is_buried(name, generation)? || refs.tag(name, tag)? != Some(generation) {
            return Ok(());
        }
        refs.set_tag(name, tag, None)?;
        Err(Error::not_found(format!("generation {generation} of {name} was removed")))
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
                let tagged = || refs.tags(&name).map(|t| t.into_iter().find(|t| t.generation == generation));
                let refused = |tag: &str| {
                    Error::refused(format!("tag {name}:{tag} points to generation {generation}"))
                        .hint(format!("cvctl image rm {name}:{tag} first"))
                };
                if let Some(Tag { tag, .. }) = tagged()? {
                    return Err(refused(&tag));
                }
                refs.bury(&name, generation)?;
                // Somebody may just have given it a tag, who looked whether it is removed before it was.
                if let Some(Tag { tag, .. }) = tagged()? {
                    refs.exhume(&name, generation)?;
                    return Err(refused(&tag));
                }
                Ok(())
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
}

fn meanwhile(name: &str, generation: u64) -> Error {
    Error::new(ErrorKind::Conflict, format!("{name} has generation {generation} meanwhile"))
        .fact("generation", generation)
}
