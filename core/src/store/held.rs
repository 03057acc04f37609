//! A few files of a store, held in memory: what a node needs of an image before its content comes.

use super::blob::{BlobStore, BlobWriter, Meta};
use super::pieces::Pieces;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::memory;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The files, by their keys: ranges of what came.
#[derive(Default)]
pub(crate) struct Held {
    files: BTreeMap<String, Range<u64>>,
    bytes: RwLock<Pieces>,
    /// The rows are read once: blocks of which all were read go, but for these, by key and offset.
    once: RwLock<Option<HashSet<(String, u64)>>>,
    /// Bytes that went and may still be in the heap of the thread that brought them.
    freed: AtomicU32,
}

/// So many bytes are given back together.
const MUCH: u32 = 4 << 20;

impl Held {
    pub(crate) fn new(bytes: Pieces, files: BTreeMap<String, Range<u64>>) -> Self {
        Self { files, bytes: RwLock::new(bytes), ..Self::default() }
    }

    /// From now on the rows of an image are read no more than once, and blocks go with the last row that is in them. Those
    /// that hold anything besides, as lists of large files, have to be named.
    pub(crate) fn read_once(&self, but: HashSet<(String, u64)>) {
        *self.once.write().unwrap_or_else(PoisonError::into_inner) = Some(but);
    }

    fn file(&self, key: &str) -> Result<Range<u64>> {
        self.files.get(key).cloned().ok_or_else(|| Error::not_found(format!("there is no {key}")))
    }

    fn bytes(&self) -> RwLockReadGuard<'_, Pieces> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn beneath<'s>(&'s self, prefix: &str) -> impl Iterator<Item = (&'s str, Meta)> {
        let prefix = format!("{prefix}/");
        let from = self.files.range(prefix.clone()..);
        from.take_while(move |(key, _)| key.starts_with(&prefix)).map(|(key, file)| (&key[..], meta(file)))
    }
}

fn meta(file: &Range<u64>) -> Meta {
    Meta { size: file.end - file.start, modified: 0 }
}

fn read_only() -> Error {
    Error::new(ErrorKind::Unsupported, "what is held in memory is read and not written")
}

impl BlobStore for Arc<Held> {
    fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        let size = meta(&self.file(key)?).size;
        if size > limit {
            return Err(Error::new(ErrorKind::Limit, format!("{key} is longer than {limit} bytes")));
        }
        let mut out = vec![0; size as usize];
        self.get_range(key, 0, &mut out)?;
        Ok(out)
    }

    fn get_range(&self, key: &str, offset: u64, buf: &mut [u8]) -> Result<()> {
        let Range { start, end } = self.file(key)?;
        let fits = offset.checked_add(buf.len() as u64).is_some_and(|to| to <= end - start);
        if fits && self.bytes().read(start + offset, buf) {
            return Ok(());
        }
        Err(Error::integrity(format!("{key} ends before")))
    }

    fn stat(&self, key: &str) -> Result<Option<Meta>> {
        Ok(self.files.get(key).map(meta))
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
        Ok(self.beneath(prefix).map(|(key, meta)| (key.to_owned(), meta)).collect())
    }

    fn delete_all(&self, _: &[String]) -> Result<()> {
        Err(read_only())
    }

    fn was_read(&self, key: &str, offset: u64, bytes: u32) {
        let once = self.once.read().unwrap_or_else(PoisonError::into_inner);
        if let (Some(but), Ok(Range { start, .. })) = (&*once, self.file(key))
            && !but.contains(&(key.to_owned(), offset))
        {
            let from = start + offset;
            self.bytes.write().unwrap_or_else(PoisonError::into_inner).give_up(&(from..from + u64::from(bytes)));
            if self.freed.fetch_add(bytes, Ordering::Relaxed) >= MUCH {
                self.freed.store(0, Ordering::Relaxed);
                memory::give_back();
            }
        }
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
        let keys = ["refs/a/1", "refs/a/2", "refs/b/1", "refsx/1", "store.json"];
        let bytes = Pieces::new(keys.concat().into_bytes().chunks(5).map(<[u8]>::to_vec).collect());
        let mut end = 0;
        let files = keys.map(|key| {
            end += key.len() as u64;
            (key.to_owned(), end - key.len() as u64..end)
        });
        let held = Arc::new(Held::new(bytes, files.into()));
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
        // What was read goes when it is read once; the bytes before it are in the same piece.
        held.was_read("refs/a/2", 0, 8);
        assert_eq!(held.get("refs/a/2", 8).unwrap(), b"refs/a/2");
        held.read_once(HashSet::from([("refs/b/1".to_owned(), 0)]));
        held.was_read("refs/a/2", 0, 8);
        held.was_read("refs/b/1", 0, 8);
        assert_eq!(held.get("refs/a/2", 8).unwrap_err().kind(), ErrorKind::Integrity);
        assert_eq!(
            (held.get("refs/a/1", 8).unwrap(), held.get("refs/b/1", 8).unwrap()),
            (b"refs/a/1".to_vec(), b"refs/b/1".to_vec())
        );
        assert!(held.put("x", b"").is_err() && held.delete("store.json").is_err() && held.writer().is_err());
    }
}
