//! The stat cache: what `stat` said of each row of the last image of a name, so that the next capture reads only what
//! changed. Sealed with a key that only this host has: whoever can write to the store must not be able to make a
//! capture believe that a file is unchanged.

use crate::error::{Error, ErrorKind, Result};
use crate::image::leb::{Reader, put, put_signed};
use crate::image::{FormatError, Hash};
use crate::secrets::{self, Hit, RULES};
use crate::store::Store;
use crate::store::blob::BlobStore;
use crate::store::local::LocalDir;
use crate::sys::clock;
use crate::tree::Entry;
use std::path::Path;

const MAGIC: &[u8; 4] = b"CVSC";
const VERSION: u8 = 2;
/// Most bytes of a cache, and those that a row has on average at most: a record of up to 26, mostly 10, and what was found
/// in it of up to 13 each. It is read whole before its seal says whether it is ours, and the store may be anybody's.
const LIMIT: u64 = 1 << 30;
const ROW_LIMIT: u64 = 64;
/// Two clock ticks of the slowest kernel (100 Hz): a file whose ctime is nearer to the start of the capture than this
/// may have changed again within the same ctime.
const RACY_NS: i64 = 20_000_000;

/// One row's identity. A row that was not read from a file has inode 0, and is never believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Inode number.
    pub ino: u64,
    /// Seconds of the change time.
    pub ctime_s: i64,
    /// Nanoseconds of the change time.
    pub ctime_ns: u32,
}

impl Seen {
    /// The identity of an entry.
    #[must_use]
    pub fn of(e: &Entry) -> Self {
        Self { ino: e.ino, ctime_s: e.ctime_s, ctime_ns: e.ctime_ns }
    }
}

/// What the last capture of a name saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Its image; the rows of which the records belong to.
    pub image: Hash,
    /// When it began.
    pub began: (i64, u32),
    /// Device of the filesystem, and inode of the root.
    pub root: (u32, u32, u64),
    /// A record for each row, in order.
    pub seen: Vec<Seen>,
    /// Secrets that were found in the files of these rows, in order: a file that is not read again still holds them.
    pub found: Vec<(u32, Hit)>,
}

impl Cache {
    /// What was found in the file of a row.
    pub fn found_in(&self, row: usize) -> impl Iterator<Item = Hit> + '_ {
        let at = self.found.partition_point(|(r, _)| (*r as usize) < row);
        self.found[at..].iter().take_while(move |(r, _)| *r as usize == row).map(|(_, hit)| *hit)
    }

    /// Whether a record vouches for an entry: same inode, same ctime, and a ctime that is not too young.
    #[must_use]
    pub fn vouches(&self, seen: &Seen, e: &Entry) -> bool {
        let age = (i128::from(self.began.0) - i128::from(e.ctime_s)) * 1_000_000_000 + i128::from(self.began.1)
            - i128::from(e.ctime_ns);
        *seen == Seen::of(e) && e.ino != 0 && age > i128::from(RACY_NS)
    }

    fn encode(&self, key: &[u8; 32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.seen.len() * 12);
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&self.image.0);
        put_signed(&mut out, self.began.0);
        put(&mut out, u64::from(self.began.1));
        for n in [u64::from(self.root.0), u64::from(self.root.1), self.root.2, self.seen.len() as u64] {
            put(&mut out, n);
        }
        let mut last = Seen::default();
        for s in &self.seen {
            put_signed(&mut out, s.ino.wrapping_sub(last.ino) as i64);
            put_signed(&mut out, s.ctime_s.wrapping_sub(last.ctime_s));
            put(&mut out, u64::from(s.ctime_ns));
            last = *s;
        }
        // Other rules would have found other things.
        out.extend_from_slice(&secrets::edition());
        put(&mut out, self.found.len() as u64);
        for (row, hit) in &self.found {
            [u64::from(*row), u64::from(hit.rule), u64::from(hit.line)].iter().for_each(|n| put(&mut out, *n));
        }
        let seal = blake3::keyed_hash(key, &out);
        out.extend_from_slice(seal.as_bytes());
        out
    }

    fn decode(bytes: &[u8], key: &[u8; 32]) -> Result<Self, FormatError> {
        let at = bytes.len().checked_sub(32).ok_or(FormatError::Truncated("stat cache"))?;
        // blake3's comparison takes the same time whatever differs.
        let mut said = [0; 32];
        said.copy_from_slice(&bytes[at..]);
        if blake3::keyed_hash(key, &bytes[..at]) != blake3::Hash::from_bytes(said) {
            return Err(FormatError::malformed("stat cache", "its seal is not of this host"));
        }
        let mut r = Reader::new("stat cache", &bytes[..at]);
        r.magic(MAGIC, VERSION)?;
        let image = r.hash()?;
        let began = (r.signed()?, r.leb()? as u32);
        let root = (r.leb()? as u32, r.leb()? as u32, r.leb()?);
        let count = r.count(1 << 28, "a stat cache")?;
        let mut seen = Vec::with_capacity(count.min(r.left() / 3 + 1));
        let mut last = Seen::default();
        for _ in 0..count {
            let ino = last.ino.wrapping_add(r.signed()? as u64);
            let ctime_s = last.ctime_s.wrapping_add(r.signed()?);
            last = Seen { ino, ctime_s, ctime_ns: r.leb()? as u32 };
            seen.push(last);
        }
        if r.take(8)? != secrets::edition() {
            return Err(FormatError::malformed("stat cache", "it was made with another table of secrets"));
        }
        let count = r.count(1 << 28, "a stat cache")?;
        let mut found = Vec::with_capacity(count.min(r.left() / 3 + 1));
        for _ in 0..count {
            let (row, rule, line) = (r.leb()? as u32, r.leb()? as u16, r.leb()? as u32);
            if usize::from(rule) >= RULES.len() {
                return Err(FormatError::malformed("stat cache", "it names a rule that is none"));
            }
            found.push((row, Hit { rule, line }));
        }
        r.end()?;
        Ok(Self { image, began, root, seen, found })
    }
}

/// Most bytes of the cache of so many rows.
fn limit(rows: u64) -> u64 {
    rows.saturating_mul(ROW_LIMIT).saturating_add(4096).min(LIMIT)
}

/// The cache of a name: in the store, or with the key where the store is behind a server.
pub struct CacheFile {
    key: [u8; 32],
    object: String,
    /// Where it is not in the store.
    aside: Option<LocalDir>,
}

impl CacheFile {
    /// The cache of `name`, with the key of this host, which is made where there is none yet.
    ///
    /// # Errors
    /// When there is no place for a key; a capture then does without a cache.
    pub fn open(state: &Path, store: &Store, name: &str) -> Result<Self> {
        let key = host_key(state)?;
        let host = blake3::derive_key("libcv 2026-03-01 name of a host", &key);
        let host = &Hash(host).to_string()[..16];
        let object = match store.blobs().depot() {
            Some(_) => format!("sent/{}/{name}", store.uuid()),
            None => format!("cache/{host}/{name}"),
        };
        let aside = store.blobs().depot().map(|_| LocalDir::open(state)).transpose()?;
        Ok(Self { key, object, aside })
    }

    fn place<'p>(&'p self, store: &'p Store) -> &'p dyn BlobStore {
        self.aside.as_ref().map_or(store.blobs(), |aside| aside)
    }

    /// The cache of an image with so many rows, unless there is none or it cannot be trusted.
    #[must_use]
    pub fn load(&self, store: &Store, rows: u64) -> Option<Cache> {
        let bytes = self.place(store).get(&self.object, limit(rows)).ok()?;
        Cache::decode(&bytes, &self.key).ok()
    }

    /// Replaces the cache.
    ///
    /// # Errors
    /// `Limit` when it is larger than one that is believed; those of the backend.
    pub fn save(&self, store: &Store, cache: &Cache) -> Result<()> {
        let bytes = cache.encode(&self.key);
        if bytes.len() as u64 > limit(cache.seen.len() as u64) {
            return Err(Error::limit("what is to be kept in mind of this tree is too much for a stat cache"));
        }
        self.place(store).put(&self.object, &bytes)
    }
}

fn host_key(state: &Path) -> Result<[u8; 32]> {
    let path = state.join("cache.key");
    let read = || -> Option<[u8; 32]> { std::fs::read(&path).ok()?.try_into().ok() };
    if let Some(key) = read() {
        return Ok(key);
    }
    std::fs::create_dir_all(state).map_err(|e| Error::io("create", state.display(), e))?;
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| Error::new(ErrorKind::Failed, "there is no randomness for a key"))?;
    // Written aside and linked: of two captures at once, both then use the key of the first.
    let temporary = state.join(format!(".cache.key-{:016x}", clock::random_u64()));
    let write = || -> std::io::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let mut f = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        f.write_all(&key)?;
        f.sync_all()?;
        if path.exists() && read().is_none() {
            std::fs::remove_file(&path)?; // cut off by a crash
        }
        std::fs::hard_link(&temporary, &path)
    };
    let written = write();
    let _ = std::fs::remove_file(&temporary);
    match read() {
        Some(key) => Ok(key),
        None => Err(written.map_or_else(
            |e| Error::io("write", path.display(), e),
            |()| Error::new(ErrorKind::Failed, format!("{} cannot be read back", path.display())),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Cache {
        let seen = (0..100u64).map(|i| Seen { ino: i * 7 % 31, ctime_s: 1_700_000_000 - i as i64, ctime_ns: i as u32 });
        let found =
            [(3, 0, 7), (3, 1, 0), (90, 2, u32::MAX)].map(|(row, rule, line)| (row, Hit { rule, line })).to_vec();
        Cache { image: Hash::of(b"i"), began: (1_700_000_000, 0), root: (8, 1, 2), seen: seen.collect(), found }
    }

    #[test]
    fn only_the_host_that_sealed_it_believes_it() {
        let bytes = sample().encode(&[1; 32]);
        assert_eq!(Cache::decode(&bytes, &[1; 32]).unwrap(), sample());
        assert!(Cache::decode(&bytes, &[2; 32]).is_err());
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert!(Cache::decode(&bad, &[1; 32]).is_err());
        }
    }

    #[test]
    fn what_was_found_belongs_to_its_row() {
        let cache = sample();
        let rules = |row| cache.found_in(row).map(|h| h.rule).collect::<Vec<_>>();
        assert_eq!((rules(2), rules(3), rules(4), rules(90), rules(99)), (vec![], vec![0, 1], vec![], vec![2], vec![]));
    }

    #[test]
    fn what_is_too_long_for_its_rows_is_neither_read_nor_written() {
        let tmp = tempfile::tempdir().unwrap();
        let store = Store::init(tmp.path().join("store")).unwrap();
        let file = CacheFile::open(&tmp.path().join("state"), &store, "base").unwrap();
        let mut cache = sample();
        file.save(&store, &cache).unwrap();
        assert_eq!(file.load(&store, 100).unwrap(), cache);
        // A good seal does not help.
        cache.found = vec![(3, Hit { rule: 0, line: u32::MAX }); 2000];
        assert_eq!(file.save(&store, &cache).unwrap_err().kind(), ErrorKind::Limit);
        store.blobs().put(&file.object, &cache.encode(&file.key)).unwrap();
        assert!(file.load(&store, 100).is_none() && file.load(&store, 1000).is_some());
        assert_eq!(limit(u64::MAX), LIMIT);
    }

    #[test]
    fn the_key_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let state = tmp.path().join("state");
        assert_eq!(host_key(&state).unwrap(), host_key(&state).unwrap());
        std::fs::write(state.join("cache.key"), "short").unwrap();
        host_key(&state).unwrap();
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1);
    }
}
