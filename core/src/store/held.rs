//! A few files of a store, held in memory: what a node needs of an image before its content comes.

use super::blob::{BlobStore, BlobWriter, Meta};
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// The files, by their keys.
#[derive(Default)]
pub(crate) struct Held {
    files: BTreeMap<String, Vec<u8>>,
}

impl Held {
    pub(crate) fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self { files: files.into_iter().collect() }
    }

    fn file(&self, key: &str) -> Result<&[u8]> {
        self.files.get(key).map(|f| &f[..]).ok_or_else(|| Error::not_found(format!("there is no {key}")))
    }

    fn beneath<'s>(&'s self, prefix: &str) -> impl Iterator<Item = (&'s str, &'s Vec<u8>)> {
        let prefix = format!("{prefix}/");
        let from = self.files.range(prefix.clone()..);
        from.take_while(move |(key, _)| key.starts_with(&prefix)).map(|(key, file)| (&key[..], file))
    }
}

fn read_only() -> Error {
    Error::new(ErrorKind::Unsupported, "what is held in memory is read and not written")
}

impl BlobStore for Held {
    fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        let file = self.file(key)?;
        if file.len() as u64 > limit {
            return Err(Error::new(ErrorKind::Limit, format!("{key} is longer than {limit} bytes")));
        }
        Ok(file.to_vec())
    }

    fn get_range(&self, key: &str, offset: u64, buf: &mut [u8]) -> Result<()> {
        let file = self.file(key)?;
        let part = usize::try_from(offset).ok().and_then(|at| file.get(at..at.checked_add(buf.len())?));
        buf.copy_from_slice(part.ok_or_else(|| Error::integrity(format!("{key} ends before")))?);
        Ok(())
    }

    fn stat(&self, key: &str) -> Result<Option<Meta>> {
        Ok(self.files.get(key).map(|f| Meta { size: f.len() as u64, modified: 0 }))
    }

    fn put(&self, _: &str, _: &[u8]) -> Result<()> {
        Err(read_only())
    }

    fn create(&self, _: &str, _: &[u8]) -> Result<()> {
        Err(read_only())
    }

    fn writer(&self) -> Result<Box<dyn BlobWriter>> {
        Err(read_only())
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let first = |key: &str| key[prefix.len() + 1..].split('/').next().unwrap_or_default().to_owned();
        let mut names: Vec<String> = self.beneath(prefix).map(|(key, _)| first(key)).collect();
        names.dedup();
        Ok(names)
    }

    fn walk(&self, prefix: &str) -> Result<Vec<(String, Meta)>> {
        let meta = |file: &Vec<u8>| Meta { size: file.len() as u64, modified: 0 };
        Ok(self.beneath(prefix).map(|(key, file)| (key.to_owned(), meta(file))).collect())
    }

    fn delete_all(&self, _: &[String]) -> Result<()> {
        Err(read_only())
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_their_keys() {
        let file = |key: &str| (key.to_owned(), key.as_bytes().to_vec());
        let held = Held::new(["refs/a/1", "refs/a/2", "refs/b/1", "refsx/1", "store.json"].map(file));
        assert_eq!(held.get("refs/a/1", 8).unwrap(), b"refs/a/1");
        assert_eq!(held.get("refs/a/1", 7).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(held.get("refs/a/3", 9).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(
            (held.list("refs").unwrap(), held.list("refs/a").unwrap()),
            (vec!["a".into(), "b".into()], vec!["1".into(), "2".into()])
        );
        assert_eq!((held.walk("refs").unwrap().len(), held.list("packs").unwrap().len()), (3, 0));
        let mut buf = [0; 3];
        held.get_range("store.json", 7, &mut buf).unwrap();
        assert_eq!(&buf, b"son");
        assert_eq!(held.get_range("store.json", 8, &mut buf).unwrap_err().kind(), ErrorKind::Integrity);
        assert_eq!(held.get_range("store.json", u64::MAX, &mut buf).unwrap_err().kind(), ErrorKind::Integrity);
        assert!(held.put("x", b"").is_err() && held.delete("store.json").is_err() && held.writer().is_err());
    }
}
