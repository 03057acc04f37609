//! The document of a derived file, with the signatures beneath it (`store-format.md` §8).

use super::Name;
use crate::error::Result;
use crate::image::{Content, FormatError, Hash, Item, Loss};
use crate::sign::{KeyId, Keyring, Signature, Signer};
use crate::store::sealed::{add, front, merge, seal_signed, unseal_signed};
use serde::{Deserialize, Serialize};

/// The kind of document.
pub(super) const KIND: &str = "derived";

/// What is kept of a derived file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct Document {
    // In the order of their names, which is the canonical order of the JSON.
    /// Its chunks, as long as they stand here.
    pub(super) chunks: Vec<(Hash, u32)>,
    pub(super) hash: Hash,
    pub(super) image: Hash,
    /// Number of all chunks.
    pub(super) items: u64,
    pub(super) kind: String,
    /// Lists of chunks, as for a large file of an image.
    pub(super) lists: Vec<(Hash, u32)>,
    pub(super) losses: Vec<Loss>,
    pub(super) params: String,
    pub(super) size: u64,
    pub(super) store: String,
}

impl Document {
    /// The name that it gives itself.
    pub(super) fn name(&self) -> Name {
        Name { kind: self.kind.clone(), params: self.params.clone() }
    }

    /// The chunks as content.
    ///
    /// # Errors
    /// `Malformed` when they do not fit what else it says.
    pub(super) fn content(&self) -> Result<Content, FormatError> {
        let bad = |why| FormatError::malformed(KIND, why);
        let sum: u64 = self.chunks.iter().map(|(_, n)| u64::from(*n)).sum();
        if self.lists.is_empty() {
            if self.items != self.chunks.len() as u64 || sum != self.size {
                return Err(bad("its chunks do not add up to its size"));
            }
            let chunks = self.chunks.iter().map(|&(hash, length)| Item::Chunk { length, hash });
            return Ok(Content::Near(chunks.collect()));
        }
        if !self.chunks.is_empty() {
            return Err(bad("it has chunks and lists of chunks"));
        }
        Ok(Content::Far { items: self.items, lists: self.lists.iter().map(|&(h, n)| (n, h)).collect() })
    }
}

/// A document with the signatures beneath it.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store) struct SignedDocument {
    pub(super) document: Document,
    /// In the order of their keys; whether they fit is for [`SignedDocument::verify`] to say.
    signatures: Vec<Signature>,
}

impl SignedDocument {
    /// A document, signed by `signer` if there is one.
    pub(super) fn new(document: Document, signer: Option<&Signer>) -> Self {
        let signatures = signer.map(|s| s.sign(front(KIND, &document).as_bytes())).into_iter().collect();
        Self { document, signatures }
    }

    /// The bytes of the file.
    pub(super) fn encode(&self) -> Vec<u8> {
        seal_signed(KIND, &self.document, &self.signatures)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// `Malformed` unless it is the canonical form.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (document, signatures) = unseal_signed(KIND, bytes)?;
        Ok(Self { document, signatures })
    }

    /// The key of `keys` that signed it.
    ///
    /// # Errors
    /// `Integrity` when none did.
    pub(in crate::store) fn verify(&self, keys: &Keyring) -> Result<KeyId> {
        let Document { kind, params, image, .. } = &self.document;
        let what = format!("{kind}-{params} of image {}", image.short());
        keys.verify(&what, front(KIND, &self.document).as_bytes(), &self.signatures)
    }

    /// Adds a signature.
    ///
    /// # Errors
    /// `Limit` when there are as many as there may be.
    pub(super) fn sign(&mut self, signer: &Signer) -> Result<()> {
        let signature = signer.sign(front(KIND, &self.document).as_bytes());
        Ok(add(&mut self.signatures, signature)?)
    }

    /// With what others signed of the same document. Where that is too much, or another document, as it is.
    pub(super) fn with_those_of(&self, other: &Self) -> Self {
        let mut both = self.clone();
        let fits = self.document == other.document && merge(&mut both.signatures, &other.signatures).is_ok();
        if fits { both } else { self.clone() }
    }
}
