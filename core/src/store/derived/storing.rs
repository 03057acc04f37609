//! How a derived file comes into the store: its chunks, then its document, signed in the name of the handle.
//!
//! ```text
//!  there, whole, believed ── signed by this handle, or it does not sign ─────────────────────────> used
//!                         ── signed by a key that it trusts ── this handle's signature is added ──> used
//!                         ── else ── made again ── the same: the signature is added
//!                                                  another:  replaced
//! ```

use super::document::{Document, SignedDocument};
use super::{Cutter, Derived, Name};
use crate::error::{ErrorKind, Result};
use crate::image::{Content, Hash, Item, Loss};
use crate::job::Task;
use crate::store::content::with_pool;
use crate::store::lease::Lease;
use crate::store::{Store, image_key};

impl Store {
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
        self.in_session(&format!("{} of {image}", name.kind), task, |session| {
            let (content, size, hash, losses) = with_pool(session, level, threads, |pool| {
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
            let document = self.put_derived(session.lease()?, SignedDocument::new(document, self.signer()))?;
            Ok((self.open_derived(document)?, stored))
        })
    }

    /// Whether a derived file need not be made again for the sake of this handle's signature: it has it, or gets it now,
    /// because a key that the handle trusts has signed it. What nobody vouches for is not signed in passing: whoever
    /// makes it again sees whether it is the same.
    ///
    /// # Errors
    /// `Integrity` when it was damaged meanwhile; those of the backend.
    pub(crate) fn vouch_for(&self, derived: &Derived) -> Result<bool> {
        let Some(signer) = self.signer() else { return Ok(true) };
        let (image, name) = (&derived.image, &derived.name);
        let Some(mut signed) = self.derived_document(image, name)? else { return Ok(false) };
        if self.has_signed_derived(&signed)? {
            return Ok(true);
        }
        if self.believe_derived(&signed)?.is_none() || signed.sign(signer).is_err() {
            return Ok(false);
        }
        let lease = Lease::begin(self, &format!("signature of {} of {image}", name.kind))?;
        self.put_derived(&lease, signed)?;
        Ok(true)
    }

    /// Writes a document whose chunks are durable, as long as its image is there; gives the one that is there then.
    fn put_derived(&self, lease: &Lease, made: SignedDocument) -> Result<Document> {
        let (image, name) = (made.document.image, made.document.name());
        let key = name.key(&image);
        lease.keep(&image_key(&image))?;
        self.image_by_id(image)?;
        lease.keep(&key)?;
        match self.blobs().create(&key, &made.encode()) {
            Err(e) if e.kind() == ErrorKind::Conflict => match self.derived_document(&image, &name) {
                Ok(Some(there)) => {
                    // What others have signed stays signed by them.
                    let both = made.with_those_of(&there);
                    if there == both || self.is_as_good(&there)? {
                        return Ok(there.document);
                    }
                    self.blobs().put(&key, &both.encode())?;
                }
                _ => self.blobs().put(&key, &made.encode())?,
            },
            done => done?,
        }
        if let Err(e) = lease.confirm() {
            self.blobs().delete(&key)?;
            return Err(e);
        }
        Ok(made.document)
    }

    /// Whether this handle takes a document as if it had made it: not one that is damaged, that it does not believe, or
    /// that lacks its signature, nor one whose chunks are lost.
    fn is_as_good(&self, there: &SignedDocument) -> Result<bool> {
        if self.believe_derived(there).is_err() || !self.has_signed_derived(there)? {
            return Ok(false);
        }
        self.open_derived(there.document.clone()).map_or(Ok(false), |d| d.is_whole())
    }
}
