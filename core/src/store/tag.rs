//! Tags: pointers to generations that may be moved. Each move is a record of its own, and the last one counts
//! (`store-format.md` §3).

use super::name::check_name;
use super::release::{LAST, LIMIT, Refs, numbers};
use super::sealed::{seal, unseal};
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The kind of document that a record is.
const KIND: &str = "tag";

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

fn dir(name: &str, tag: &str) -> String {
    format!("tags/{name}/{tag}")
}

impl Refs<'_> {
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
        let last = self.last_record(name, tag)?;
        if last == 0 {
            return Ok(None);
        }
        let key = format!("{}/{last:016}", dir(name, tag));
        let bytes = self.blobs.get(&key, LIMIT)?;
        let record: TagRecord =
            unseal(KIND, &bytes).map_err(|e| Error::from(e).context(&key).fact("object", key.clone()))?;
        if (record.name.as_str(), record.tag.as_str()) != (name, tag) {
            return Err(Error::integrity(format!("{key} is the record of another tag")).fact("object", key));
        }
        Ok(record.generation)
    }

    /// Points a tag to a generation that was just made, unless a newer one has it: of two that are made at once the newer
    /// one keeps the tag, whoever comes last.
    ///
    /// # Errors
    /// As [`Refs::set_tag`]; `Integrity` when the record is damaged that says which generation has it.
    pub fn advance_tag(&self, name: &str, tag: &str, generation: u64) -> Result<()> {
        self.put_tag(name, tag, Some(generation), || Ok(self.tag(name, tag)? < Some(generation)))
    }

    /// Points a tag to a generation, or removes it with `None`. What it pointed to does not matter: a record that is
    /// damaged counts no longer.
    ///
    /// # Errors
    /// Those of the backend. A race is decided by the order of the records: the later one counts.
    pub fn set_tag(&self, name: &str, tag: &str, generation: Option<u64>) -> Result<()> {
        self.put_tag(name, tag, generation, || Ok(true))
    }

    /// Writes the last record of a tag anew, which cannot be read.
    pub(super) fn replace_tag(&self, name: &str, tag: &str, generation: u64) -> Result<()> {
        let last = self.last_record(name, tag)?.max(1);
        let record = TagRecord { generation: Some(generation), name: name.to_owned(), tag: tag.to_owned() };
        self.blobs.put(&format!("{}/{last:016}", dir(name, tag)), &seal(KIND, &record))
    }

    fn put_tag(&self, name: &str, tag: &str, generation: Option<u64>, wanted: impl Fn() -> Result<bool>) -> Result<()> {
        let record = seal(KIND, &TagRecord { generation, name: name.to_owned(), tag: tag.to_owned() });
        loop {
            // The number first: what comes after it is seen when the record is made.
            let next = self.last_record(name, tag)? + 1;
            if !wanted()? {
                return Ok(());
            }
            if next > LAST {
                return Err(Error::integrity(format!("no record of {name}:{tag} can follow the last one")));
            }
            match self.blobs.create(&format!("{}/{next:016}", dir(name, tag)), &record) {
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }

    /// The number of the last record; 0 when there is none.
    fn last_record(&self, name: &str, tag: &str) -> Result<u64> {
        Ok(numbers(&self.blobs.list(&dir(name, tag))?).next_back().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::blob::BlobStore;
    use super::super::local::LocalDir;
    use super::*;

    #[test]
    fn a_tag_goes_forward_when_captures_set_it_and_anywhere_when_a_person_does() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = LocalDir::open(dir.path()).unwrap();
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

    #[test]
    fn a_damaged_record_keeps_nobody_from_setting_the_tag_anew() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = LocalDir::open(dir.path()).unwrap();
        let refs = Refs::new(&blobs);
        refs.set_tag("n", "t", Some(2)).unwrap();
        for (number, damage) in [(1, &b"x"[..]), (2, b"")] {
            blobs.put(&format!("tags/n/t/{number:016}"), damage).unwrap();
            assert_eq!(refs.tag("n", "t").unwrap_err().kind(), ErrorKind::Integrity);
            // Whether a newer generation has it is not known.
            assert_eq!(refs.advance_tag("n", "t", 9).unwrap_err().kind(), ErrorKind::Integrity);
            refs.set_tag("n", "t", Some(1)).unwrap();
            assert_eq!(refs.tag("n", "t").unwrap(), Some(1));
        }
        blobs.put(&format!("tags/n/t/{:016}", 3), b"").unwrap();
        refs.set_tag("n", "t", None).unwrap();
        assert_eq!(refs.tag("n", "t").unwrap(), None);
    }
}
