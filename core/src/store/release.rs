//! Releases and tags: names are pointers, generations never go back (`store-format.md` §2, §3).

use super::blob::BlobStore;
use super::name::check_name;
use super::sealed::{seal, unseal};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{FormatError, Hash};
use serde::{Deserialize, Serialize};

const LIMIT: u64 = 64 << 10;
/// The last generation, and the last record of a tag: 16 digits.
const LAST: u64 = 9_999_999_999_999_999;

/// Why a generation was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A tree was captured.
    Capture,
    /// An archive was imported.
    Import,
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

impl Release {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal("release", self)
    }

    /// Reads a release.
    ///
    /// # Errors
    /// `Malformed` unless it is the canonical form.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let release: Self = unseal("release", bytes)?;
        if release.image.is_none() != (release.reason == Reason::Remove)
            || release.image.is_some() != release.tree.is_some()
        {
            return Err(FormatError::malformed("release", "reason, image and tree do not agree"));
        }
        Ok(release)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TagRecord {
    generation: Option<u64>,
    name: String,
    tag: String,
}

/// A tag of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tag {
    /// The tag.
    pub tag: String,
    /// The generation that it points to.
    pub generation: u64,
}

/// The names, generations and tags of a store.
pub struct Refs<'s> {
    blobs: &'s dyn BlobStore,
}

fn release_key(name: &str, generation: u64) -> String {
    format!("refs/{name}/{generation:016}")
}

fn numbers(names: &[String]) -> impl DoubleEndedIterator<Item = u64> {
    let digits = |n: &&String| n.len() == 16 && n.bytes().all(|b| b.is_ascii_digit());
    names.iter().filter(digits).filter_map(|n| n.parse().ok())
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
        let key = release_key(name, generation);
        let bytes = self.blobs.get(&key, LIMIT)?;
        let release = Release::decode(&bytes).map_err(|e| Error::from(e).context(&key).fact("object", key.clone()))?;
        if release.name != name || release.generation != generation {
            return Err(Error::integrity(format!("{key} is the release of another place")).fact("object", key));
        }
        Ok(release)
    }

    /// What HEAD says: a lower bound of the highest generation. 0 when it says nothing.
    ///
    /// # Errors
    /// `Network` when it cannot be asked.
    pub(super) fn hint(&self, name: &str) -> Result<u64> {
        let text = match self.blobs.get(&format!("refs/{name}/HEAD"), 32) {
            Err(e) if e.kind() == ErrorKind::Network => return Err(e),
            text => text.unwrap_or_default(),
        };
        let digits = String::from_utf8_lossy(&text);
        Ok(digits.trim_end().parse().ok().filter(|n| *n <= LAST).unwrap_or(0))
    }

    /// The highest generation; `None` for a name that never was.
    ///
    /// # Errors
    /// `Integrity` when HEAD knows a later one: that release is lost, and an older one must not pass for the newest.
    pub fn head(&self, name: &str) -> Result<Option<u64>> {
        let highest = self.highest(name)?;
        match highest {
            Some(n) if self.blobs.size(&release_key(name, n))?.is_none() && !self.is_buried(name, n)? => {
                Err(Error::integrity(format!("generation {n} of {name} is lost"))
                    .hint(format!("see what is left, cvctl image log {name}, and roll back to one of them")))
            }
            found => Ok(found),
        }
    }

    /// The highest generation that there is or was; the next one has the number after it.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn highest(&self, name: &str) -> Result<Option<u64>> {
        let mut at = self.generations(name)?.last().copied().unwrap_or(0).max(self.hint(name)?);
        // A backend that cannot list.
        while at < LAST && self.blobs.size(&release_key(name, at + 1))?.is_some() {
            at += 1;
        }
        Ok((at > 0).then_some(at))
    }

    /// Publishes a generation. The number must be the next one.
    ///
    /// # Errors
    /// `Conflict` when another writer was faster; `Integrity` when there is no number left.
    pub fn publish(&self, release: &Release) -> Result<()> {
        if release.generation > LAST {
            return Err(Error::integrity(format!("no generation of {} can follow the last one", release.name)));
        }
        self.blobs.create(&release_key(&release.name, release.generation), &release.encode())?;
        self.blobs.put(&format!("refs/{}/HEAD", release.name), release.generation.to_string().as_bytes())
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

    /// Whether a generation was removed.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn is_buried(&self, name: &str, generation: u64) -> Result<bool> {
        Ok(self.blobs.size(&format!("{}.removed", release_key(name, generation)))?.is_some())
    }

    /// The tags of a name, sorted.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn tags(&self, name: &str) -> Result<Vec<Tag>> {
        let mut out = Vec::new();
        for tag in self.blobs.list(&format!("tags/{name}"))? {
            if check_name(&tag).is_ok()
                && let Some(generation) = self.tag(name, &tag)?
            {
                out.push(Tag { tag, generation });
            }
        }
        Ok(out)
    }

    /// The generation that a tag points to.
    ///
    /// # Errors
    /// `Integrity` when the record is damaged.
    pub fn tag(&self, name: &str, tag: &str) -> Result<Option<u64>> {
        let dir = format!("tags/{name}/{tag}");
        let Some(last) = numbers(&self.blobs.list(&dir)?).next_back() else { return Ok(None) };
        let key = format!("{dir}/{last:016}");
        let bytes = self.blobs.get(&key, LIMIT)?;
        let record: TagRecord =
            unseal("tag", &bytes).map_err(|e| Error::from(e).context(&key).fact("object", key.clone()))?;
        if (record.name.as_str(), record.tag.as_str()) != (name, tag) {
            return Err(Error::integrity(format!("{key} is the record of another tag")).fact("object", key));
        }
        Ok(record.generation)
    }

    /// Points a tag to a generation that was just made, unless a newer one has it: of two that are made at once the newer
    /// one keeps the tag, whoever comes last.
    ///
    /// # Errors
    /// As [`Refs::set_tag`].
    pub fn advance_tag(&self, name: &str, tag: &str, generation: u64) -> Result<()> {
        self.put_tag(name, tag, Some(generation), |there| there < Some(generation))
    }

    /// Points a tag to a generation, or removes it with `None`.
    ///
    /// # Errors
    /// Those of the backend. A race is decided by the order of the records: the later one counts.
    pub fn set_tag(&self, name: &str, tag: &str, generation: Option<u64>) -> Result<()> {
        self.put_tag(name, tag, generation, |_| true)
    }

    fn put_tag(
        &self,
        name: &str,
        tag: &str,
        generation: Option<u64>,
        wanted: impl Fn(Option<u64>) -> bool,
    ) -> Result<()> {
        let dir = format!("tags/{name}/{tag}");
        let record = seal("tag", &TagRecord { generation, name: name.to_owned(), tag: tag.to_owned() });
        loop {
            // The number first: what comes after it is seen when the record is made.
            let next = numbers(&self.blobs.list(&dir)?).next_back().unwrap_or(0) + 1;
            if !wanted(self.tag(name, tag)?) {
                return Ok(());
            }
            if next > LAST {
                return Err(Error::integrity(format!("no record of {name}:{tag} can follow the last one")));
            }
            match self.blobs.create(&format!("{dir}/{next:016}"), &record) {
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_one_form() {
        let r = Release {
            created: "2026-03-01T12:00:00Z".into(),
            generation: 3,
            image: Some(Hash::of(b"i")),
            name: "rocky9".into(),
            reason: Reason::Capture,
            store: "u".into(),
            tree: Some(Hash::of(b"t")),
        };
        let bytes = r.encode();
        assert_eq!(Release::decode(&bytes).unwrap(), r);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(Release::decode(text.replace(",\"", ", \"").as_bytes()).is_err());
        assert!(Release::decode(&bytes[1..]).is_err());
        let removed = Release { image: None, tree: None, reason: Reason::Remove, ..r.clone() };
        assert_eq!(Release::decode(&removed.encode()).unwrap(), removed);
        assert!(Release::decode(&Release { tree: None, ..r }.encode()).is_err());
    }

    #[test]
    fn a_tag_goes_forward_when_captures_set_it_and_anywhere_when_a_person_does() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = super::super::local::LocalDir::open(dir.path()).unwrap();
        let refs = Refs::new(&blobs);
        let tag = || refs.tag("n", "t").unwrap();
        refs.advance_tag("n", "t", 2).unwrap();
        refs.advance_tag("n", "t", 1).unwrap();
        assert_eq!(tag(), Some(2));
        refs.advance_tag("n", "t", 3).unwrap();
        assert_eq!(tag(), Some(3));
        refs.set_tag("n", "t", Some(1)).unwrap();
        assert_eq!(tag(), Some(1));
        refs.set_tag("n", "t", None).unwrap();
        assert_eq!(tag(), None);
        refs.advance_tag("n", "t", 1).unwrap();
        assert_eq!(refs.tags("n").unwrap(), [Tag { tag: "t".into(), generation: 1 }]);
    }
}
