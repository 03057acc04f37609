//! Where the files of a store lie: a directory, an object store, a web server.

use super::depot::Depot;
use crate::error::Result;

/// What a store knows of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes.
    pub size: u64,
    /// When it was written: milliseconds since 1970 by the clock of the store. To be compared with times of other
    /// objects of this store only, never with a clock of ours.
    pub modified: u64,
}

/// Named immutable byte strings. Keys are relative paths of `store-format.md` §1, such as `images/<id>.cvm`.
pub trait BlobStore: Send + Sync {
    /// The whole object, which must not be longer than `limit` bytes.
    ///
    /// # Errors
    /// `NotFound`; `Limit` when it is longer.
    fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>>;

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// `NotFound`; `Integrity` when the object ends before.
    fn get_range(&self, key: &str, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// `length` bytes from `offset` on: several blocks at once. `memory` may be used for them, whatever is in it.
    ///
    /// # Errors
    /// As [`BlobStore::get_range`].
    fn get_span(&self, key: &str, offset: u64, length: usize, mut memory: Vec<u8>) -> Result<Vec<u8>> {
        memory.resize(length, 0);
        self.get_range(key, offset, &mut memory)?;
        Ok(memory)
    }

    /// Fills `buf` from `offset` on with what is in memory already; false when that would have to wait, or cannot be.
    fn get_now(&self, _key: &str, _offset: u64, _buf: &mut [u8]) -> bool {
        false
    }

    /// Size and time of the object; `None` when it does not exist.
    ///
    /// # Errors
    /// Whatever keeps it from being asked.
    fn stat(&self, key: &str) -> Result<Option<Meta>>;

    /// Bytes of the object; `None` when it does not exist.
    ///
    /// # Errors
    /// As [`BlobStore::stat`].
    fn size(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.stat(key)?.map(|m| m.size))
    }

    /// Writes or replaces the object, atomically and durably.
    ///
    /// # Errors
    /// `Limit` when there is no room; nothing is then left behind.
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()>;

    /// Writes an object that must not exist yet: the compare-and-swap that names rest on. Of several callers one at most
    /// succeeds, even if they write the same bytes.
    ///
    /// # Errors
    /// `Conflict` when it exists.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<()>;

    /// Begins a large object whose name will be known at its end.
    ///
    /// # Errors
    /// As [`BlobStore::put`].
    fn writer(&self) -> Result<Box<dyn BlobWriter>>;

    /// The names directly beneath a prefix such as `refs/rocky9`, sorted; directories have no slash. Empty when there
    /// is none.
    ///
    /// # Errors
    /// Whatever keeps it from being listed.
    fn list(&self, prefix: &str) -> Result<Vec<String>>;

    /// All objects beneath a prefix such as `packs`, whatever the depth, with their whole keys, sorted. Empty when there
    /// is none.
    ///
    /// # Errors
    /// Whatever keeps them from being listed.
    fn walk(&self, prefix: &str) -> Result<Vec<(String, Meta)>>;

    /// Removes the object; one that does not exist is fine.
    ///
    /// # Errors
    /// Whatever keeps it from being removed.
    fn delete(&self, key: &str) -> Result<()> {
        self.delete_all(&[key.to_owned()])
    }

    /// Removes these objects, durably: a crash after it does not bring one back. Those that do not exist are fine.
    ///
    /// # Errors
    /// Whatever keeps one from being removed; others may be removed then.
    fn delete_all(&self, keys: &[String]) -> Result<()>;

    /// Whether [`BlobStore::create`] is decided by the store itself. Where it is not, because the server ignores
    /// conditions, it is a look before a write, and one writer at a time has to be enough.
    ///
    /// # Errors
    /// Whatever keeps it from being found out.
    fn has_conditions(&self) -> Result<bool> {
        Ok(true)
    }

    /// Whether each question travels, so that few large ones are better than many small ones.
    fn is_remote(&self) -> bool {
        false
    }

    /// Whether a listing shows everything. Where it does not, hints and probing have to be enough.
    fn can_list(&self) -> bool {
        true
    }

    /// Says that what was read of `key` at `offset` is not what it should be. True when there is another one who can be asked
    /// for it, and from now on is.
    fn disown(&self, _key: &str, _offset: u64) -> bool {
        false
    }

    /// Says that whoever reads an image from its first row to its last has read all rows of this block.
    fn was_read(&self, _key: &str, _offset: u64, _bytes: u32) {}

    /// What happened since the last call that whoever watches should know, such as attempts that failed; oldest first.
    fn take_notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Who takes what is stored and publishes it, where that cannot be written as objects.
    fn depot(&self) -> Option<&dyn Depot> {
        None
    }

    /// A name for people and errors, such as the directory.
    fn place(&self) -> String;

    /// The directory of a store that lies in one, for work that needs much room near it.
    fn directory(&self) -> Option<&std::path::Path> {
        None
    }
}

/// An object that is being written. Dropped unfinished, it leaves nothing.
pub trait BlobWriter: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// `Limit` when there is no room.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the object durable under its name. An object of that name is replaced: names of large objects come from
    /// their content.
    ///
    /// # Errors
    /// As [`BlobStore::put`].
    fn finish(self: Box<Self>, key: &str) -> Result<()>;
}
