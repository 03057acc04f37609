//! Whom a handle of a store believes, and in whose name it speaks.
//!
//! ```text
//!  release ── signed by one of the keys? ── not older than what was seen? ──> its image may be opened
//!              no: Integrity (14)            no: Stale (20)
//! ```
//!
//! A copy holds the releases of its origin as they are. So it is not asked whether a release is of this store; what was
//! seen is kept in mind by the store that signed it.
//!
//! Both belong to the handle and not to a call, so that nothing that opens or publishes can leave them out.

use super::derived::SignedDocument;
use super::lease::Lease;
use super::memory::Memory;
use super::name::Ref;
use super::release::SignedRelease;
use super::{Release, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use crate::sign::{KeyId, Keyring, Signer};
use std::path::PathBuf;
use std::sync::Arc;

/// What a reader believes.
#[derive(Debug)]
pub struct Trust {
    keys: Keyring,
    memory: Option<Memory>,
}

impl Trust {
    /// Believes releases that one of these keys signed.
    #[must_use]
    pub fn new(keys: Keyring) -> Self {
        Self { keys, memory: None }
    }

    /// Believes what the keys of these files signed, and with a state directory nothing that is older than what was seen; `None` without files,
    /// which is to believe everybody.
    ///
    /// # Errors
    /// As [`Keyring::read`].
    pub fn read(files: &[PathBuf], state: Option<PathBuf>) -> Result<Option<Self>> {
        if files.is_empty() {
            return Ok(None);
        }
        let trust = Self::new(Keyring::read(files)?);
        Ok(Some(match state {
            Some(state) => trust.remembering(state),
            None => trust,
        }))
    }

    /// Keeps in mind, in the state directory of this host, the highest generation of a name or tag that was believed: an
    /// older one is refused later, as a mirror may offer it.
    #[must_use]
    pub fn remembering(self, state: impl Into<PathBuf>) -> Self {
        Self { memory: Some(Memory::new(state)), ..self }
    }
}

/// How a handle stands to signatures.
#[derive(Clone, Default)]
pub(super) struct Standing {
    signer: Option<Signer>,
    trust: Option<Arc<Trust>>,
}

impl Store {
    /// A handle of the same store that signs each release it publishes: captures, imports, roll backs, removals; and
    /// the files that it derives.
    #[must_use]
    pub fn signing(&self, signer: Signer) -> Self {
        let mut handle = self.clone();
        handle.1.signer = Some(signer);
        handle
    }

    /// A handle of the same store that opens only images whose release is signed by a key of `trust`. An image by id
    /// must have such a release, too; a derived file that no such key signed is made again.
    #[must_use]
    pub fn trusting(&self, trust: Trust) -> Self {
        self.trusting_too(&Arc::new(trust))
    }

    /// The same for one of several stores.
    pub(crate) fn trusting_too(&self, trust: &Arc<Trust>) -> Self {
        let mut handle = self.clone();
        handle.1.trust = Some(trust.clone());
        handle
    }

    /// A handle that neither signs nor asks.
    pub(crate) fn plain(&self) -> Self {
        Self(self.0.clone(), Standing::default())
    }

    pub(super) fn signer(&self) -> Option<&Signer> {
        self.1.signer.as_ref()
    }

    /// Whether a generation needs no other one for the sake of its signature: it has that of this handle's key.
    ///
    /// # Errors
    /// `Integrity` when it is damaged.
    pub(crate) fn has_signed(&self, release: &Release) -> Result<bool> {
        let Some(signer) = self.signer() else { return Ok(true) };
        let signed = self.refs().signed(&release.name, release.generation)?;
        Ok(signed.verify(&Keyring::new(vec![signer.public()])?).is_ok())
    }

    /// Adds the signature of this handle's key to a generation that is there. Whatever it says is then signed: verify
    /// it first, with a handle that trusts.
    ///
    /// # Errors
    /// `NotFound`; `Misuse` when the handle has no key; `Invalid` for the id of an image; `Integrity` when the handle
    /// trusts and the generation is not signed by one of its keys.
    pub fn sign(&self, reference: &str) -> Result<Release> {
        let signer =
            self.signer().ok_or_else(|| Error::new(ErrorKind::Misuse, "this store has no key to sign with"))?;
        let _lease = Lease::begin(self, &format!("signature of {reference}"))?;
        match self.image(reference)?.release() {
            Some(r) => self.refs().sign(&r.name, r.generation, signer),
            None => Err(Error::invalid(format!("{reference} is an image, and what is signed is a generation"))
                .hint("give NAME, NAME:TAG or NAME@GENERATION")),
        }
    }

    /// Whether this handle believes a release that `reference` led to. `None` when it does not ask.
    pub(super) fn believe(&self, reference: &Ref, signed: &SignedRelease) -> Result<Option<KeyId>> {
        let Some(trust) = &self.1.trust else { return Ok(None) };
        let key = signed.verify(&trust.keys)?;
        if let Some(memory) = &trust.memory {
            // One generation, and an id, are what the caller chose: nothing newer was meant.
            let tag = match reference {
                Ref::Name(_) => None,
                Ref::Tag(_, tag) => Some(tag.as_str()),
                Ref::Generation(..) => return Ok(Some(key)),
            };
            memory.accept(&signed.release.store, &signed.release.name, tag, signed.release.generation)?;
        }
        Ok(Some(key))
    }

    /// Whether this handle believes the document of a derived file. `None` when it does not ask.
    pub(super) fn believe_derived(&self, signed: &SignedDocument) -> Result<Option<KeyId>> {
        self.1.trust.as_ref().map(|t| signed.verify(&t.keys)).transpose()
    }

    /// Whether the document of a derived file has the signature of this handle's key, if there is one.
    pub(super) fn has_signed_derived(&self, signed: &SignedDocument) -> Result<bool> {
        let Some(signer) = self.signer() else { return Ok(true) };
        Ok(signed.verify(&Keyring::new(vec![signer.public()])?).is_ok())
    }

    /// The key that signed a release with this image; `None` when the handle does not ask.
    pub(super) fn believe_image(&self, id: Hash) -> Result<Option<KeyId>> {
        let Some(trust) = &self.1.trust else { return Ok(None) };
        let refs = self.refs();
        let mut why = None;
        for name in refs.names()? {
            for generation in refs.generations(&name)? {
                // One that is damaged, or removed, vouches for nothing.
                match refs.signed(&name, generation) {
                    Ok(signed) if signed.release.image == Some(id) && !refs.is_buried(&name, generation)? => {
                        match signed.verify(&trust.keys) {
                            Ok(key) => return Ok(Some(key)),
                            Err(e) => why = Some(e),
                        }
                    }
                    _ => {}
                }
            }
        }
        Err(why.unwrap_or_else(|| Error::integrity(format!("no generation vouches for image {id}"))))
    }
}
