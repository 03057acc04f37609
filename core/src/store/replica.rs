//! A mirror: an exact copy of a store, object by object, so that whoever reads from both may ask either for the same range. (A
//! [`Store::sync`] copies images by name, into packs of its own.)
//!
//! ```text
//!  what the origin lists ──> packs, block by block ──> segments ──> CURRENT ──> manifests ──> releases, tags ──> HEAD
//!                                                                                                                     │
//!  what the origin has no more is removed <───────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The order is that in which a writer writes (`store-format.md` §5): a mirror that is killed is whole as far as it goes. Each
//! block is compared with the pack's trailer, its CRC-32 included, and the trailer with the pack's name; everything else with its name
//! or its sum. That finds what was damaged or cut. It does not find what an origin made up with care: the names of chunks are
//! proved by whoever uses them, and by `store check --read-data`, which takes several times as long as a pull.

use super::lease::Lease;
use super::locate::CURRENT;
use super::{STORE_FILE, Store, pack_of, proof};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::Hash;
use crate::image::block::{BlockHead, BlockInfo};
use crate::image::{block, pack};
use crate::job::{Failure, Task, threads};
use crate::store::blob::{BlobStore as _, Meta};
use crate::store::local::LocalDir;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What says that a directory is a mirror.
pub(super) const MARK: &str = "mirror";
/// Longest document: a list of segments, the document of a derived file.
const DOCUMENT: u64 = 64 << 20;
/// Longest object that is read whole: a segment of the index, a manifest.
const NAMED: u64 = 1 << 30;
/// What is asked for at a time of a pack.
const PART: usize = 2 << 20;
/// Packs that come at a time, at least.
const PULLERS: usize = 4;
/// What is handed out, in the order in which it is written, with what is written last of it.
const PLACES: [&str; 6] = ["packs", "idx", "images", "blobs", "refs", "tags"];

/// What a pull brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// Objects that came.
    pub objects: u64,
    /// Packs among them.
    pub packs: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Objects that the origin has no more, and that were removed.
    pub removed: u64,
}

impl Store {
    /// Makes a directory an exact copy of this store: an empty one, one that does not exist yet, or one that is its copy already.
    ///
    /// # Errors
    /// As [`Replica::open`] and [`Replica::pull`].
    pub fn mirror(&self, to: impl AsRef<Path>, task: &Task) -> Result<Pulled> {
        Replica::open(self, to)?.pull(task)
    }
}

/// A mirror in a directory, and its origin.
pub struct Replica {
    origin: Store,
    store: Store,
    /// What was copied, as the origin listed it then. Of documents, which may be replaced, this tells whether they were.
    copied: BTreeMap<String, Meta>,
}

impl Replica {
    /// The mirror of `origin` in a directory: an empty one, one that does not exist yet, or one that is its mirror already.
    ///
    /// # Errors
    /// `Conflict` when another store is there, `Refused` when the place is not empty.
    pub fn open(origin: &Store, place: impl AsRef<Path>) -> Result<Self> {
        let place = place.as_ref();
        if !place.join(STORE_FILE).exists() {
            let (file, made) = (origin.blobs().get(STORE_FILE, 64 << 10)?, LocalDir::make(place)?);
            // First: what is no mirror by its mark is never made one.
            made.put(MARK, format!("a mirror of {}\n", origin.blobs().place()).as_bytes())?;
            made.create(STORE_FILE, &file)?;
        }
        let store = Store::open(place)?;
        if store.uuid() != origin.uuid() {
            return Err(Error::new(ErrorKind::Conflict, format!("{} is another store", place.display()))
                .hint("a mirror has a directory of its own, which is empty at first"));
        }
        if store.blobs().size(MARK)?.is_none() {
            return Err(Error::refused(format!(
                "{} was not made as a mirror: what its origin has not would be removed",
                place.display()
            ))
            .hint("a mirror has a directory of its own, which is empty at first"));
        }
        Ok(Self { origin: origin.clone(), store, copied: BTreeMap::new() })
    }

    /// The mirror.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Brings over what the origin has and the mirror has not, and removes what the origin has no more.
    ///
    /// # Errors
    /// `Unsupported` when the origin cannot list what it has; `Integrity` when something is damaged there; `Network`, `Limit`;
    /// `Cancelled`. What came until then is whole.
    pub fn pull(&mut self, task: &Task) -> Result<Pulled> {
        task.stage("list", 0, Unit::Entries);
        self.expect_origin()?;
        let pointers = self.pointers()?;
        let mut there = Vec::new();
        // The names first: whatever they need is in what is listed after them.
        for place in PLACES.iter().rev() {
            there.extend(self.origin.blobs().walk(place)?);
            task.check()?;
        }
        there.retain(|(key, _)| is_mirrored(key) && (!is_pointer(key) || pointers.contains_key(key)));
        // It was read behind its front door: what it lists now must be of the same store.
        self.expect_origin()?;
        let here = self.here()?;
        let mut missing: Vec<&(String, Meta)> =
            there.iter().filter(|(key, meta)| !self.has(&here, key, *meta)).collect();
        missing.sort_by_key(|(key, _)| (order(key), key.clone()));
        let mut pulled = Pulled::default();
        if !missing.is_empty() {
            let lease = Lease::begin(&self.store, &format!("mirror of {}", self.origin.blobs().place()))?;
            let (packs, rest) = missing.split_at(missing.partition_point(|(key, _)| pack_of(key).is_some()));
            self.packs(packs, &mut pulled, task)?;
            task.stage("documents", rest.len() as u64, Unit::Entries);
            for (key, _) in rest {
                task.check()?;
                if let Some(bytes) = self.document(key, pointers.get(key))? {
                    pulled.bytes += bytes;
                    pulled.objects += 1;
                }
                task.advance(1);
                self.report(task);
            }
            lease.confirm()?;
        }
        self.copied = there.into_iter().collect();
        let mut gone: Vec<String> = here.into_keys().filter(|key| !self.copied.contains_key(key)).collect();
        gone.sort_by_key(|key| std::cmp::Reverse(order(key)));
        pulled.removed = gone.len() as u64;
        self.store.blobs().delete_all(&gone)?;
        self.store.forget_index();
        Ok(pulled)
    }

    /// That the origin is there, and still the same store: one whose disk has gone lists nothing.
    fn expect_origin(&self) -> Result<()> {
        let (there, here) =
            (self.origin.blobs().get(STORE_FILE, 64 << 10)?, self.store.blobs().get(STORE_FILE, 64 << 10)?);
        if there == here {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, format!("{} is another store now", self.origin.blobs().place())))
    }

    /// What points to others, as it is before anything is listed: whatever it means is in what is listed after it.
    fn pointers(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut out = BTreeMap::new();
        let heads = self.origin.blobs().walk("refs")?.into_iter().map(|(key, _)| key).filter(|key| is_pointer(key));
        for key in std::iter::once(CURRENT.to_owned()).chain(heads) {
            match self.origin.blobs().get(&key, DOCUMENT) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                read => _ = out.insert(key, read?),
            }
        }
        Ok(out)
    }

    /// What the mirror has.
    fn here(&self) -> Result<BTreeMap<String, Meta>> {
        let mut out = BTreeMap::new();
        for place in PLACES {
            out.extend(self.store.blobs().walk(place)?.into_iter().filter(|(key, _)| is_mirrored(key)));
        }
        Ok(out)
    }

    /// Whether the mirror has an object as the origin lists it.
    fn has(&self, here: &BTreeMap<String, Meta>, key: &str, meta: Meta) -> bool {
        let same_size = here.get(key).is_some_and(|m| m.size == meta.size);
        same_size && (is_named_by_content(key) || self.copied.get(key) == Some(&meta))
    }

    fn packs(&self, missing: &[&(String, Meta)], pulled: &mut Pulled, task: &Task) -> Result<()> {
        task.stage("packs", missing.iter().map(|(_, m)| m.size).sum(), Unit::Bytes);
        let (failure, next, bytes) = (Failure::default(), AtomicUsize::new(0), AtomicU64::new(0));
        // More than there are processors: while one waits for the network another one compares and writes.
        failure.on_threads(threads(0).max(PULLERS), || {
            while let Some((key, meta)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.pack(key, meta.size, &failure, task)?;
                bytes.fetch_add(meta.size, Ordering::Relaxed);
                self.report(task);
            }
            Ok(())
        })?;
        pulled.bytes += bytes.into_inner();
        pulled.packs += missing.len() as u64;
        pulled.objects += missing.len() as u64;
        Ok(())
    }

    /// Brings one pack over, each block of which is compared on the way.
    fn pack(&self, key: &str, size: u64, failure: &Failure, task: &Task) -> Result<()> {
        let from = self.origin.blobs();
        let id = pack_of(key).ok_or_else(|| Error::integrity(format!("{key} is no pack")))?;
        let blocks = self.origin.read_trailer(&id)?;
        let end = blocks.last().map_or(pack::MAGIC.len() as u64, |(at, b)| at + u64::from(b.stored));
        let mut writer = self.store.blobs().writer()?;
        writer.append(pack::MAGIC)?;
        let (mut at, mut part, mut n) = (pack::MAGIC.len() as u64, Vec::new(), 0);
        while at < end {
            failure.check(task)?;
            // As many whole blocks as fit, and one at least.
            let upto =
                blocks[n..].iter().take_while(|(b, i)| b + u64::from(i.stored) <= at + PART as u64).count().max(1);
            let (last, info) = &blocks[n + upto - 1];
            let length = (last + u64::from(info.stored) - at) as usize;
            loop {
                part = from.get_span(key, at, length, std::mem::take(&mut part))?;
                let wrong = blocks[n..n + upto].iter().find_map(|(b, info)| {
                    let bytes = &part[(b - at) as usize..][..info.stored as usize];
                    (!is_block(bytes, info)).then_some(*b)
                });
                match wrong {
                    None => break,
                    Some(_) if from.disown(key, at) => {}
                    Some(at) => {
                        let e = Error::integrity(format!("{key} of {} is damaged", from.place()));
                        return Err(e.fact("object", key).fact("offset", at));
                    }
                }
            }
            writer.append(&part)?;
            task.advance(length as u64);
            (at, n) = (at + length as u64, n + upto);
        }
        drop(part);
        let infos: Vec<_> = blocks.into_iter().map(|(_, info)| info).collect();
        let trailer = pack::encode_trailer(&infos);
        writer.append(&trailer)?;
        writer.append(&pack::encode_footer(&trailer))?;
        if Hash::of(&trailer) != id || end + (trailer.len() + pack::FOOTER) as u64 != size {
            return Err(Error::integrity(format!("{key} is not the pack that its origin lists")).fact("object", key));
        }
        writer.finish(key)
    }

    /// Brings another object over; its bytes, unless it was the same already.
    fn document(&self, key: &str, read: Option<&Vec<u8>>) -> Result<Option<u64>> {
        let limit = if is_named_by_content(key) { NAMED } else { DOCUMENT };
        let bytes = read.map_or_else(|| self.origin.blobs().get(key, limit), |bytes| Ok(bytes.clone()))?;
        if !proof::fits(key, &bytes) {
            return Err(
                Error::integrity(format!("{key} of {} is damaged", self.origin.blobs().place())).fact("object", key)
            );
        }
        if self.store.blobs().get(key, limit).is_ok_and(|here| here == bytes) {
            return Ok(None);
        }
        self.store.blobs().put(key, &bytes)?;
        Ok(Some(bytes.len() as u64))
    }

    fn report(&self, task: &Task) {
        self.origin.blobs().take_notes().into_iter().for_each(|note| task.log(note));
    }
}

/// Whether these bytes are the block that the trailer names, as far as that tells.
fn is_block(bytes: &[u8], info: &BlockInfo) -> bool {
    let lengths = |head: &BlockHead| head.lengths.iter().eq(info.chunks.iter().map(|(_, length)| length));
    block::parse(bytes).is_ok_and(|h| (h.codec, h.raw, h.crc) == (info.codec, info.raw, info.crc) && lengths(&h))
}

/// Whether an object belongs into a mirror. What is damaged here is not there.
fn is_mirrored(key: &str) -> bool {
    key != super::locate::BAD && PLACES.iter().any(|p| key.strip_prefix(p).is_some_and(|rest| rest.starts_with('/')))
}

fn is_named_by_content(key: &str) -> bool {
    pack_of(key).is_some() || key.ends_with(".idx") || key.starts_with("images/")
}

fn is_pointer(key: &str) -> bool {
    key == CURRENT || key.ends_with("/HEAD")
}

impl Store {
    /// That nobody makes `what` in an exact copy: whoever comes with it would write there.
    #[cfg(feature = "server")]
    pub(crate) fn is_own(&self, what: &str) -> Result<()> {
        if self.blobs().size(MARK)?.is_none() {
            return Ok(());
        }
        let text = format!("{} is an exact copy of another store: {what} is made there", self.blobs().place());
        Err(Error::refused(text).hint("make it where the origin lies"))
    }
}

/// When an object is written.
fn order(key: &str) -> usize {
    let place = PLACES.iter().position(|p| key.starts_with(p)).unwrap_or(PLACES.len());
    // What points to others comes after them.
    let pointer = is_pointer(key);
    // A tombstone before its generation: that must not be seen without it.
    2 * place
        + usize::from(pointer || (key.starts_with("refs/") && !key.ends_with(".removed")))
        + usize::from(key.ends_with("/HEAD"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_points_to_others_is_written_after_them() {
        let hash = "ab".repeat(32);
        let mut keys = vec![
            "tags/n/t/0000000000000001".to_owned(),
            "refs/n/HEAD".into(),
            "refs/n/0000000000000001".into(),
            "refs/n/0000000000000001.removed".into(),
            format!("images/{hash}.cvm"),
            "idx/CURRENT".into(),
            format!("idx/{hash}.idx"),
            format!("packs/ab/{hash}.pack"),
        ];
        keys.reverse();
        let sorted = keys.clone();
        keys.sort_by_key(|key| order(key));
        assert_eq!(keys, sorted);
        let all: BTreeSet<usize> = keys.iter().map(|key| order(key)).collect();
        assert!(all.len() >= 7, "{all:?}");
        assert!(keys.iter().all(|key| is_mirrored(key)) && !is_mirrored("idx/BAD") && !is_mirrored("leases/x"));
    }
}
