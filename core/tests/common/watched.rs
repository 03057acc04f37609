//! A directory whose every request is seen first: what another writer does in between, or a store that denies.

use libcv::Result;
use libcv::store::blob::{BlobStore, BlobWriter, Meta};
use libcv::store::local::LocalDir;

/// Calls `before` with the verb and the key of each request; its error is the answer.
pub struct Watched<F> {
    pub dir: LocalDir,
    pub before: F,
}

/// What may be asked of a store that nobody may write to.
pub fn reads_only(verb: &str, _: &str) -> Result<()> {
    match verb {
        "get" | "stat" | "list" => Ok(()),
        _ => Err(libcv::Error::io("write", "the store", std::io::Error::from_raw_os_error(libc::EROFS))),
    }
}

impl<F: Fn(&str, &str) -> Result<()> + Send + Sync> BlobStore for Watched<F> {
    fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        (self.before)("get", key)?;
        self.dir.get(key, limit)
    }
    fn get_range(&self, key: &str, offset: u64, buf: &mut [u8]) -> Result<()> {
        (self.before)("get", key)?;
        self.dir.get_range(key, offset, buf)
    }
    fn stat(&self, key: &str) -> Result<Option<Meta>> {
        (self.before)("stat", key)?;
        self.dir.stat(key)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        (self.before)("put", key)?;
        self.dir.put(key, bytes)
    }
    fn create(&self, key: &str, bytes: &[u8]) -> Result<()> {
        (self.before)("create", key)?;
        self.dir.create(key, bytes)
    }
    fn writer(&self) -> Result<Box<dyn BlobWriter>> {
        (self.before)("writer", "")?;
        self.dir.writer()
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        (self.before)("list", prefix)?;
        self.dir.list(prefix)
    }
    fn walk(&self, prefix: &str) -> Result<Vec<(String, Meta)>> {
        (self.before)("list", prefix)?;
        self.dir.walk(prefix)
    }
    fn delete_all(&self, keys: &[String]) -> Result<()> {
        keys.iter().try_for_each(|key| (self.before)("delete", key))?;
        self.dir.delete_all(keys)
    }
    fn place(&self) -> String {
        self.dir.place()
    }
}
