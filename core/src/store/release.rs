//! Releases: names are pointers, generations never go back (`store-format.md` §2).

use super::blob::BlobStore;
use super::name::check_name;
use super::sealed::{add, front, merge, seal_signed, unseal_signed};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{FormatError, Hash};
use crate::sign::{KeyId, Keyring, Signature, Signer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

pub(super) const LIMIT: u64 = 64 << 10;
/// The last generation, and the last record of a tag: 16 digits.
pub(super) const LAST: u64 = 9_999_999_999_999_999;

/// Why a generation was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A tree was captured.
    Capture,
    /// An archive was imported.
    Import,
    /// It was built or updated from packages.
    Build,
    /// A program ran in an older image.
    Edit,
    /// It points back to an older image.
    Rollback,
    /// The name was removed.
    Remove,
}

/// One generation of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    // In the order of their names, which is the canonical order of the JSON.
    /// When, RFC 3339 in UTC, by the writer's clock: for people only.
    pub created: String,
    /// The generation, from 1.
    pub generation: u64,
    /// The image; `None` when the name was removed.
    pub image: Option<Hash>,
    /// The name.
    pub name: String,
    /// Why it was made.
    pub reason: Reason,
    /// The store's uuid.
    pub store: String,
    /// The tree of the image.
    pub tree: Option<Hash>,
}

/// So many generations are looked for beyond what HEAD says: who makes them up must not keep a reader busy.
const BEYOND: u64 = 10_000;

/// The kind of document that a release is.
const KIND: &str = "release";

/// A release with the signatures beneath it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRelease {
    /// The release.
    pub release: Release,
    /// Its signatures in the order of their keys; whether they fit is for [`SignedRelease::verify`] to say.
    signatures: Vec<Signature>,
}

impl SignedRelease {
    /// A release, signed by `signer` if there is one.
    #[must_use]
    pub fn new(release: Release, signer: Option<&Signer>) -> Self {
        let signatures = signer.map(|s| s.sign(front(KIND, &release).as_bytes())).into_iter().collect();
        Self { release, signatures }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal_signed(KIND, &self.release, &self.signatures)
    }

    /// Reads a release.
    ///
    /// # Errors
    /// `Malformed` unless it is the canonical form.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (release, signatures): (Release, _) = unseal_signed(KIND, bytes)?;
        if release.image.is_none() != (release.reason == Reason::Remove)
            || release.image.is_some() != release.tree.is_some()
        {
            return Err(FormatError::malformed(KIND, "reason, image and tree do not agree"));
        }
        Ok(Self { release, signatures })
    }

    /// The signatures.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The key of `keys` that signed it.
    ///
    /// # Errors
    /// `Integrity` when none did.
    pub fn verify(&self, keys: &Keyring) -> Result<KeyId> {
        let Release { name, generation, .. } = &self.release;
        let front = front(KIND, &self.release);
        keys.verify(&format!("generation {generation} of {name}"), front.as_bytes(), &self.signatures)
    }

    /// Adds a signature.
    ///
    /// # Errors
    /// `Limit` when there are as many as there may be.
    pub fn sign(&mut self, signer: &Signer) -> Result<()> {
        let signature = signer.sign(front(KIND, &self.release).as_bytes());
        Ok(add(&mut self.signatures, signature)?)
    }

    /// Adds what others signed of the same release; says whether that is more than was there.
    ///
    /// # Errors
    /// `Limit` when together they are more than there may be.
    pub(super) fn merge(&mut self, other: &Self) -> Result<bool> {
        Ok(merge(&mut self.signatures, &other.signatures)?)
    }
}

/// The names, generations and tags of a store.
pub struct Refs<'s> {
    pub(super) blobs: &'s dyn BlobStore,
}

pub(super) fn head_key(name: &str) -> String {
    format!("refs/{name}/HEAD")
}

/// HEAD has a check of its own: a number that was never reached would be a generation that is lost.
fn head_text(name: &str, generation: u64) -> String {
    let check = Hash::of(format!("{name} {generation}").as_bytes()).to_string();
    format!("{generation} {}", &check[..8])
}

/// The generation that the HEAD of a name says.
pub(super) fn head_number(name: &str, text: &[u8]) -> Option<u64> {
    let said = std::str::from_utf8(text).ok()?;
    let number = said.split_once(' ').and_then(|(digits, _)| digits.parse().ok());
    number.filter(|n| *n <= LAST && head_text(name, *n) == said)
}

pub(crate) fn release_key(name: &str, generation: u64) -> String {
    format!("refs/{name}/{generation:016}")
}

pub(super) fn numbers(names: &[String]) -> impl DoubleEndedIterator<Item = u64> {
    let digits = |n: &&String| n.len() == 16 && n.bytes().all(|b| b.is_ascii_digit());
    names.iter().filter(digits).filter_map(|n| n.parse().ok())
}

/// A generation that there was, and whose file is gone.
pub(super) fn lost(name: &str, generation: u64) -> Error {
    Error::integrity(format!("generation {generation} of {name} is lost"))
}

impl<'s> Refs<'s> {
    /// The refs of a store.
    #[must_use]
    pub fn new(blobs: &'s dyn BlobStore) -> Self {
        Self { blobs }
    }

    /// All names that have or had a generation, sorted.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn names(&self) -> Result<Vec<String>> {
        Ok(self.blobs.list("refs")?.into_iter().filter(|n| check_name(n).is_ok()).collect())
    }

    /// The generations of a name, ascending, tombstoned ones included.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn generations(&self, name: &str) -> Result<Vec<u64>> {
        Ok(numbers(&self.blobs.list(&format!("refs/{name}"))?).filter(|n| *n > 0).collect())
    }

    /// One generation.
    ///
    /// # Errors
    /// `NotFound`; `Integrity` when its file is damaged or stands in the wrong place.
    pub fn release(&self, name: &str, generation: u64) -> Result<Release> {
        self.signed(name, generation).map(|s| s.release)
    }

    /// One generation with its signatures, which are not verified.
    ///
    /// # Errors
    /// As [`Refs::release`].
    pub fn signed(&self, name: &str, generation: u64) -> Result<SignedRelease> {
        self.read(name, generation).map(|(signed, _)| signed)
    }

    /// One generation with its signatures, and its file.
    pub(super) fn read(&self, name: &str, generation: u64) -> Result<(SignedRelease, Vec<u8>)> {
        let key = release_key(name, generation);
        let bytes = self.blobs.get(&key, LIMIT)?;
        let named = |e: FormatError| Error::from(e).context(&key).fact("object", key.clone());
        let signed = SignedRelease::decode(&bytes).map_err(named)?;
        if signed.release.name != name || signed.release.generation != generation {
            return Err(Error::integrity(format!("{key} is the release of another place")).fact("object", key));
        }
        Ok((signed, bytes))
    }

    /// Adds a signature to a generation that is there: the file is replaced by the same with one more line.
    ///
    /// # Errors
    /// As [`Refs::signed`]; `Limit` when it has as many as it may have.
    pub(super) fn sign(&self, name: &str, generation: u64, signer: &Signer) -> Result<Release> {
        loop {
            let mut signed = self.signed(name, generation)?;
            let before = signed.clone();
            signed.sign(signer)?;
            if signed == before {
                return Ok(signed.release);
            }
            self.blobs.put(&release_key(name, generation), &signed.encode())?;
            // Of two that sign at once, one may have written over the other's line: whoever looks last sees it.
        }
    }

    /// What HEAD says: a lower bound of the highest generation. `None` without HEAD, 0 when it is damaged.
    ///
    /// # Errors
    /// `Network` when it cannot be asked.
    pub(super) fn said(&self, name: &str) -> Result<Option<u64>> {
        let text = match self.blobs.get(&head_key(name), 32) {
            Err(e) if e.kind() == ErrorKind::Network => return Err(e),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.unwrap_or_default(),
        };
        Ok(Some(head_number(name, &text).unwrap_or(0)))
    }

    /// [`Refs::said`], 0 when it says nothing.
    pub(super) fn hint(&self, name: &str) -> Result<u64> {
        Ok(self.said(name)?.unwrap_or(0))
    }

    /// Writes HEAD.
    ///
    /// # Errors
    /// Those of the backend.
    pub(super) fn put_hint(&self, name: &str, generation: u64) -> Result<()> {
        self.blobs.put(&head_key(name), head_text(name, generation).as_bytes())
    }

    /// The highest generation; `None` for a name that never was.
    ///
    /// # Errors
    /// `Integrity` when HEAD knows a later one: that release is lost, and an older one must not pass for the newest.
    pub fn head(&self, name: &str) -> Result<Option<u64>> {
        let highest = self.highest(name)?;
        match highest {
            Some(n) if self.blobs.size(&release_key(name, n))?.is_none() && !self.is_buried(name, n)? => {
                Err(lost(name, n)
                    .hint(format!("see what is left, cvctl image log {name}, and roll back to one of them")))
            }
            found => Ok(found),
        }
    }

    /// The highest generation that there is or was; the next one has the number after it.
    ///
    /// # Errors
    /// `Integrity` when all are lost; those of the backend.
    pub fn highest(&self, name: &str) -> Result<Option<u64>> {
        // HEAD is written last and read first: what it knew must be there, whatever others publish meanwhile.
        let said = self.said(name)?;
        let listed = if self.blobs.can_list() { self.generations(name)?.last().copied() } else { None };
        let mut at = listed.max(said).unwrap_or(0);
        // A backend that cannot list.
        let bound = at.saturating_add(BEYOND).min(LAST);
        while at < bound && self.blobs.size(&release_key(name, at + 1))?.is_some() {
            at += 1;
        }
        // A name that has nothing but HEAD lost all its generations: their numbers must not be given again.
        if at == 0 && said.is_some() {
            return Err(Error::integrity(format!("all generations of {name} are lost, and its HEAD is damaged"))
                .hint("repair the store from another: cvctl store repair --from STORE"));
        }
        Ok((at > 0).then_some(at))
    }

    /// Publishes a generation. The number must be the next one.
    ///
    /// # Errors
    /// `Conflict` when another writer was faster; `Integrity` when there is no number left.
    pub fn publish(&self, signed: &SignedRelease) -> Result<()> {
        let release = &signed.release;
        if release.generation > LAST {
            return Err(Error::integrity(format!("no generation of {} can follow the last one", release.name)));
        }
        self.blobs.create(&release_key(&release.name, release.generation), &signed.encode())?;
        self.put_hint(&release.name, release.generation)
    }

    /// Marks a generation as removed.
    ///
    /// # Errors
    /// Those of the backend; doing it twice is fine.
    pub fn bury(&self, name: &str, generation: u64) -> Result<()> {
        match self.blobs.create(&format!("{}.removed", release_key(name, generation)), b"") {
            Err(e) if e.kind() == ErrorKind::Conflict => Ok(()),
            done => done,
        }
    }

    /// Takes the removal of a generation back.
    ///
    /// # Errors
    /// Those of the backend.
    pub(super) fn exhume(&self, name: &str, generation: u64) -> Result<()> {
        self.blobs.delete(&format!("{}.removed", release_key(name, generation)))
    }

    /// The generations of a name that are there, and those that were removed.
    pub(super) fn numbers(&self, name: &str) -> Result<(BTreeSet<u64>, BTreeSet<u64>)> {
        let names = self.blobs.list(&format!("refs/{name}"))?;
        let buried: Vec<String> = names.iter().filter_map(|n| n.strip_suffix(".removed")).map(str::to_owned).collect();
        Ok((numbers(&names).filter(|n| *n > 0).collect(), numbers(&buried).collect()))
    }

    /// Whether a generation was removed.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn is_buried(&self, name: &str, generation: u64) -> Result<bool> {
        Ok(self.blobs.size(&format!("{}.removed", release_key(name, generation)))?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Release {
        Release {
            created: "2026-03-01T12:00:00Z".into(),
            generation: 3,
            image: Some(Hash::of(b"i")),
            name: "rocky9".into(),
            reason: Reason::Capture,
            store: "u".into(),
            tree: Some(Hash::of(b"t")),
        }
    }

    #[test]
    fn a_release_has_one_form() {
        let plain = |release: Release| SignedRelease::new(release, None);
        let decode = |text: &str| SignedRelease::decode(text.as_bytes());
        let r = plain(sample());
        let text = String::from_utf8(r.encode()).unwrap();
        assert_eq!(decode(&text).unwrap(), r);
        assert!(decode(&text.replace(",\"", ", \"")).is_err());
        assert!(decode(&text[1..]).is_err());
        let removed = plain(Release { image: None, tree: None, reason: Reason::Remove, ..sample() });
        assert_eq!(SignedRelease::decode(&removed.encode()).unwrap(), removed);
        assert!(SignedRelease::decode(&plain(Release { tree: None, ..sample() }).encode()).is_err());
    }

    #[test]
    fn signatures_are_lines_in_the_order_of_their_keys() {
        let keys: Vec<_> = (0..3).map(|_| Signer::generate().unwrap()).collect();
        let mut r = SignedRelease::new(sample(), Some(&keys[0]));
        keys.iter().for_each(|k| r.sign(k).unwrap());
        let text = String::from_utf8(r.encode()).unwrap();
        assert_eq!(SignedRelease::decode(text.as_bytes()).unwrap(), r);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), r.signatures().len()), (6, 3));
        for key in &keys {
            assert_eq!(r.verify(&Keyring::new(vec![key.public()]).unwrap()).unwrap(), key.public().id());
        }
        let with = |order: &[usize]| order.iter().map(|&n| format!("{}\n", lines[n])).collect::<String>();
        assert_eq!(SignedRelease::decode(with(&[0, 1, 2]).as_bytes()).unwrap().release, r.release);
        assert!(SignedRelease::decode(with(&[0, 1, 2, 4]).as_bytes()).is_ok());
        for wrong in [&[0, 1, 2, 4, 3, 5][..], &[0, 1, 2, 3, 3], &[0, 1, 3], &[0, 1, 2, 3, 2], &[0, 1, 2, 3, 1]] {
            assert!(SignedRelease::decode(with(wrong).as_bytes()).is_err(), "{wrong:?}");
        }
        for end in ["x", "\n", "ed25519", " "] {
            assert!(SignedRelease::decode(format!("{text}{end}").as_bytes()).is_err());
        }
        let many: Vec<_> = (0..17).map(|_| Signer::generate().unwrap()).collect();
        let mut r = SignedRelease::new(sample(), None);
        many[..16].iter().for_each(|k| r.sign(k).unwrap());
        assert_eq!(r.sign(&many[16]).unwrap_err().kind(), ErrorKind::Limit);
        r.sign(&many[0]).unwrap();
        assert_eq!(SignedRelease::decode(&r.encode()).unwrap(), r);
        let (full, one) = (r.clone(), SignedRelease::new(sample(), Some(&many[16])));
        assert_eq!(r.merge(&one).unwrap_err().kind(), ErrorKind::Limit);
        let mut r = one;
        assert_eq!(r.merge(&full).unwrap_err().kind(), ErrorKind::Limit);
    }

    #[test]
    fn together_they_have_the_signatures_of_both() {
        let keys: Vec<_> = (0..3).map(|_| Signer::generate().unwrap()).collect();
        let signed = |by: &[usize]| {
            let mut r = SignedRelease::new(sample(), None);
            by.iter().for_each(|&n| r.sign(&keys[n]).unwrap());
            r
        };
        for (mine, theirs, more) in [(&[2][..], &[0, 1][..], true), (&[0, 1, 2], &[1], false), (&[], &[], false)] {
            let mut r = signed(mine);
            assert_eq!(r.merge(&signed(theirs)).unwrap(), more);
            assert_eq!(r.encode(), signed(&[mine, theirs].concat()).encode());
            assert_eq!(SignedRelease::decode(&r.encode()).unwrap(), r);
        }
        // A line that says it is of the same key takes nobody's place.
        let (mut r, mut forged) = (signed(&[0]), signed(&[]));
        forged.signatures.push(Signature::new(keys[0].public().id(), [1; 64]));
        assert!(!r.merge(&forged).unwrap() && r == signed(&[0]));
    }

    #[test]
    fn what_was_changed_or_moved_is_not_signed() {
        let key = Signer::generate().unwrap();
        let ring = Keyring::new(vec![key.public()]).unwrap();
        let r = SignedRelease::new(sample(), Some(&key));
        let changed = SignedRelease { release: Release { generation: 4, ..sample() }, ..r.clone() };
        let again = SignedRelease::decode(&changed.encode()).unwrap();
        assert_eq!(again.verify(&ring).unwrap_err().kind(), ErrorKind::Integrity);
        // The same JSON as a document of another kind.
        let other = seal_signed("blob", &r.release, r.signatures());
        let (value, signatures): (Release, _) = unseal_signed("blob", &other).unwrap();
        assert!(ring.verify("it", front("blob", &value).as_bytes(), &signatures).is_err());
        assert!(ring.verify("it", front("release", &value).as_bytes(), &signatures).is_ok());
    }

    proptest::proptest! {
        /// Invariant: whatever lines follow, the document is refused or has exactly this form.
        #[test]
        fn lines_beneath_are_canonical_or_refused(
            lines in proptest::collection::vec("(ed25519 )?([0-9a-f]{16} )?[A-Za-z0-9+/]{84,86}(==)?", 0..4),
            order in proptest::collection::vec(0usize..4, 0..4),
        ) {
            let keys: Vec<_> = [[1; 32], [2; 32], [3; 32], [4; 32]].iter().map(Signer::of_test).collect();
            let front = front(KIND, &sample());
            let mut text = String::from_utf8(SignedRelease::new(sample(), None).encode()).unwrap();
            order.iter().for_each(|&n| text += &format!("{}\n", keys[n].sign(front.as_bytes())));
            lines.iter().for_each(|l| text += &format!("{l}\n"));
            if let Ok(read) = SignedRelease::decode(text.as_bytes()) {
                proptest::prop_assert_eq!(read.encode(), text.into_bytes());
                proptest::prop_assert!(read.signatures().is_sorted_by(|a, b| a.key() < b.key()));
            }
        }
    }
}
