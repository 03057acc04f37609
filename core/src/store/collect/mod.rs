//! Collection: what no image needs any more is found, and deleted by a later run (`store-format.md` §9).
//!
//! ```text
//!  roots ──> mark ──┬─> what an earlier run found and is needed by nobody still: deleted
//!   (tags, newest   ├─> packs of which little is needed: the rest is stored anew
//!    generations)   └─> what is needed by nobody now: becomes fossils, which stay where they are
//! ```
//!
//! Nothing is deleted that a writer may count on who was at work when it became a fossil, nor before the grace is over:
//! readers hold no lease. Time is the store's own. There is one collection at a time: of two, one could delete what the
//! other relies on. A run that is killed is finished by the next.

mod mark;
mod repack;
mod roots;

use super::lease::{COLLECTION, Held, Lease};
use super::opened::OPEN_BLOCKS;
use super::trash::{Fossils, Trash};
use super::{Session, Store, image_key, pack_key, pack_of};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::Hash;
use crate::job::{Failure, Task, threads};
use mark::Mark;
use roots::Roots;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The clocks of a store's servers may differ by so much.
const SKEW: u64 = 2_000;
/// So many objects are deleted before a collection looks whether it is still the one.
const AT_ONCE: usize = 256;
/// So many segments are written anew as few.
const MOST_SEGMENTS: usize = 16;

/// How to collect.
#[derive(Clone, Debug)]
pub struct CollectOptions {
    /// Of each name only so many of the newest generations are kept, and those with a tag; `None` keeps all.
    pub keep_last: Option<u64>,
    /// What nobody needs is deleted when it was found to be so that long ago.
    pub grace: Duration,
    /// Only say what would be done; nothing is written.
    pub dry_run: bool,
    /// zstd level of what is stored anew, 1 to 19.
    pub level: i32,
    /// Threads; 0 is one for each core.
    pub threads: usize,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { keep_last: None, grace: super::lease::LIFE, dry_run: false, level: 3, threads: 0 }
    }
}

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Collected {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Images that are kept.
    pub images: u64,
    /// Generations that were removed, as `name@generation`.
    pub removed: Vec<String>,
    /// Objects that were deleted.
    pub deleted: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Objects that nobody needs from now on; a later collection deletes them.
    pub found: u64,
    /// Their bytes.
    pub found_bytes: u64,
    /// Packs of which little was needed, and which are among those found.
    pub repacked: u64,
    /// Bytes that were stored anew for them.
    pub repacked_bytes: u64,
    /// Objects that earlier collections found and that wait still.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Writers that hold up what waits.
    pub held_by: Vec<String>,
    /// Packs that are there now, fossils included.
    pub packs: u64,
    /// Their bytes.
    pub packs_bytes: u64,
    /// What could not be done, and why that is no harm.
    pub notes: Vec<String>,
}

impl Store {
    /// Collects what no image needs.
    ///
    /// # Errors
    /// `Integrity` when a generation, manifest or page is lost or damaged: nobody knows then what is needed, and nothing
    /// is deleted. `Busy`, `Cancelled`.
    pub fn collect(&self, options: &CollectOptions, task: &Task) -> Result<Collected> {
        if options.keep_last == Some(0) {
            return Err(Error::invalid("the newest generation of a name is always kept: keep at least 1")
                .hint("cvctl image rm removes a name"));
        }
        Collection::begin(self, options, task)?.run()
    }

    /// Deletes what a writer stored who met a full disk, packs and manifests, if nobody needs it and nobody else is at
    /// work; else a later collection does.
    ///
    /// # Errors
    /// As [`Store::collect`].
    pub(super) fn give_back(&self, keys: &[String], task: &Task) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let options = CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() };
        let mut collection = Collection::begin(self, &options, task)?;
        let made = match &collection.lease {
            Some(lease) => Trash::add(self, keys, lease)?,
            None => return Ok(()),
        };
        collection.trash = Trash::read(self)?;
        let ripe: Vec<u64> = collection.ripe()?.into_iter().filter(|n| *n == made).collect();
        let kept = collection.begin_sweeps(&ripe)?;
        let roots = roots::roots(self, None)?;
        let staying = collection.staying(&ripe, &kept, &roots)?;
        let mark = collection.mark(&roots, &ripe, &kept, &staying)?;
        collection.sweep(&ripe, &kept, &staying, &mark)?;
        self.compact_index()
    }
}

struct Collection<'c> {
    store: &'c Store,
    options: &'c CollectOptions,
    task: &'c Task,
    /// `None` when nothing is written.
    lease: Option<Arc<Lease>>,
    trash: Trash,
    /// Bytes of what may be deleted, from one listing: asking for each object would be a request each.
    sizes: HashMap<String, u64>,
    /// What was deleted, or would be.
    gone: HashSet<String>,
    out: Collected,
}

impl<'c> Collection<'c> {
    fn begin(store: &'c Store, options: &'c CollectOptions, task: &'c Task) -> Result<Self> {
        let lease = if options.dry_run { None } else { Some(Arc::new(Lease::begin(store, COLLECTION)?)) };
        let trash = Trash::read(store)?;
        let mut sizes = HashMap::new();
        for place in ["packs", "images", "blobs"] {
            sizes.extend(store.blobs().walk(place)?.into_iter().map(|(key, meta)| (key, meta.size)));
        }
        let out = Collected { dry_run: options.dry_run, ..Collected::default() };
        Ok(Self { store, options, task, lease, trash, sizes, gone: HashSet::new(), out })
    }

    fn run(mut self) -> Result<Collected> {
        self.task.stage("mark", 0, Unit::Steps);
        let ripe = self.ripe()?;
        // Before anything is looked at: who keeps something from now on waits until it is deleted.
        let kept = self.begin_sweeps(&ripe)?;
        let roots = roots::roots(self.store, self.options.keep_last)?;
        self.remove(&roots)?;
        let staying = self.staying(&ripe, &kept, &roots)?;
        let mark = self.mark(&roots, &ripe, &kept, &staying)?;
        self.out.images = roots.images.len() as u64;

        self.task.stage("delete", ripe.len() as u64, Unit::Steps);
        self.sweep(&ripe, &kept, &staying, &mark)?;

        let low = mark.sparse();
        self.task.stage("store", low.iter().map(|p| p.live).sum(), Unit::Bytes);
        let done = self.repack(&mark, &low);
        let repacked = done.or_else(|e| match e.kind() {
            // A full disk is no reason not to say what can go.
            ErrorKind::Limit => {
                self.out.notes.push(format!("nothing was stored anew: {e}"));
                Ok(HashSet::new())
            }
            _ => Err(e),
        })?;
        self.task.stage("publish", 1, Unit::Steps);
        self.find(&roots, &mark, &repacked)?;
        if self.lease.is_some() && (self.out.deleted > 0 || self.store.segment_names()?.len() > MOST_SEGMENTS) {
            self.store.compact_index()?;
        }
        let packs = self.store.pack_sizes()?;
        self.out.packs = packs.len() as u64;
        self.out.packs_bytes = packs.iter().map(|(_, size)| size).sum();
        self.task.advance(1);
        Ok(self.out)
    }

    /// Says which lists are being deleted. Gives what writers want to keep of them.
    fn begin_sweeps(&self, ripe: &[u64]) -> Result<HashSet<String>> {
        let mut kept = HashSet::new();
        if let Some(lease) = &self.lease {
            for &number in ripe {
                kept.extend(self.trash.begin_sweep(number, lease)?);
            }
        }
        Ok(kept)
    }

    /// The collections whose fossils can go: the grace is over, and every writer that was there has ended.
    fn ripe(&mut self) -> Result<Vec<u64>> {
        let (now, others) = match &self.lease {
            Some(lease) => (lease.began(), lease.others()?),
            // Without a lease of our own the newest time that the store has told must do.
            None => {
                let mut others = super::lease::all(self.store)?;
                let told = self.trash.collections.iter().map(|c| c.made).chain(others.iter().map(|h| h.began));
                let now = told.max().unwrap_or(0);
                others.retain(|h| !h.has_ended(now));
                (now, others)
            }
        };
        let grace = u64::try_from(self.options.grace.as_millis()).unwrap_or(u64::MAX);
        let mut held_by = BTreeSet::new();
        let mut ripe = Vec::new();
        for c in &self.trash.collections {
            let was_there = |h: &&Held| c.leases.contains(&h.id) || h.began <= c.made.saturating_add(SKEW);
            let older: Vec<_> = others.iter().filter(was_there).collect();
            let over = now.saturating_sub(c.made) >= grace;
            if over && older.is_empty() {
                ripe.push(c.number);
            } else if over {
                held_by.extend(older.into_iter().map(|h| h.who.clone()));
            }
        }
        self.out.held_by = held_by.into_iter().collect();
        Ok(ripe)
    }

    /// Removes the generations that are not kept.
    fn remove(&mut self, roots: &Roots) -> Result<()> {
        let refs = self.store.refs();
        for (name, generation, _) in &roots.superseded {
            if self.lease.is_some() {
                refs.bury(name, *generation)?;
                // Somebody may just have given it a tag, who looked whether it is removed before it was.
                if refs.tags(name)?.iter().any(|t| t.generation == *generation) {
                    refs.exhume(name, *generation)?;
                    continue;
                }
            }
            self.out.removed.push(format!("{name}@{generation}"));
        }
        Ok(())
    }

    /// The images that are there when this run has ended: those that are kept, and those whose turn has not come. What was
    /// needed until now waits for a turn of its own, whatever an earlier run found: somebody may be reading it, or is about
    /// to point to it.
    fn staying(&self, ripe: &[u64], kept: &HashSet<String>, roots: &Roots) -> Result<HashSet<Hash>> {
        let ripe = self.trash.collections.iter().filter(|c| ripe.contains(&c.number));
        let doomed: HashSet<&String> = ripe.flat_map(|c| &c.keys).filter(|key| !kept.contains(*key)).collect();
        let superseded: HashSet<Hash> = roots.superseded.iter().map(|(_, _, image)| *image).collect();
        let stays =
            |id: &Hash| roots.images.contains(id) || superseded.contains(id) || !doomed.contains(&image_key(id));
        Ok(self.store.image_ids()?.into_iter().filter(stays).collect())
    }

    fn mark(&mut self, roots: &Roots, ripe: &[u64], kept: &HashSet<String>, staying: &HashSet<Hash>) -> Result<Mark> {
        let mut mark = Mark::load(self.store, &self.trash)?;
        // Where nothing is deleted, nothing that stays loses anything.
        let deletes = !ripe.is_empty() || !self.store.bad_blocks()?.is_empty();
        let stays = |id: &&Hash| deletes && !roots.images.contains(id);
        let others: Vec<Hash> = staying.iter().filter(stays).copied().collect();
        let ids: Vec<Hash> = roots.images.iter().copied().collect();
        self.task.stage("mark", (ids.len() + others.len()) as u64, Unit::Steps);
        self.each_image(&ids, &|id| {
            let image = self.store.image_by_id(*id);
            image.and_then(|i| mark.image(&i)).map_err(|e| unknown_needs(e, id))
        })?;
        // A writer is about to point to them, or to write them again: then what is missing is not missed.
        for id in kept.iter().filter_map(|key| image_of(key)) {
            let done = self.store.image_by_id(id).and_then(|i| mark.image(&i));
            done.or_else(|e| match e.kind() {
                ErrorKind::Integrity | ErrorKind::NotFound => Ok(()),
                _ => Err(e),
            })?;
        }
        self.each_image(&others, &|id| {
            let done = self.store.image_by_id(*id).and_then(|i| mark.staying(&i));
            // What is damaged and not needed may have lost what it counted on.
            done.or_else(|e| match e.kind() {
                ErrorKind::Integrity | ErrorKind::NotFound => Ok(()),
                _ => Err(e),
            })
        })?;
        for (id, name) in self.store.all_derived()?.into_iter().filter(|(id, _)| staying.contains(id)) {
            let kept = roots.images.contains(&id);
            let done = self.store.any_derived(&id, &name).and_then(|d| d.map_or(Ok(()), |d| mark.derived(&d, kept)));
            match done {
                // It can be made again.
                Err(e) if e.kind() == ErrorKind::Integrity => {
                    self.out.notes.push(format!("a derived file is damaged: {e}"));
                }
                done => done?,
            }
        }
        mark.finish();
        let n = mark.missing().len();
        if n > 0 {
            self.out.notes.push(format!("{n} chunks that images need are missing; cvctl store check names the images"));
        }
        Ok(mark)
    }

    /// Looks at images on all threads.
    fn each_image(&self, ids: &[Hash], look: &(dyn Fn(&Hash) -> Result<()> + Sync)) -> Result<()> {
        let (next, failure) = (AtomicUsize::new(0), Failure::default());
        // Each of them goes along another image: with more, they would close each other's blocks.
        let most = ids.len().min(OPEN_BLOCKS / 2);
        failure.on_threads(threads(self.options.threads).min(most), || {
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                failure.check(self.task)?;
                look(id)?;
                self.task.advance(1);
            }
            Ok(())
        })
    }

    /// Deletes the fossils of these collections, but for what is needed again.
    fn sweep(&mut self, ripe: &[u64], kept: &HashSet<String>, staying: &HashSet<Hash>, mark: &Mark) -> Result<()> {
        let live_packs = mark.live_packs();
        let needed = |key: &String| {
            kept.contains(key)
                || pack_of(key).is_some_and(|id| live_packs.contains(&id))
                || image_of(key).is_some_and(|id| staying.contains(&id))
        };
        let numbers: Vec<&Fossils> = self.trash.collections.iter().filter(|c| ripe.contains(&c.number)).collect();
        for c in numbers {
            self.task.check()?;
            let mut keys: Vec<String> = c.keys.iter().filter(|k| !needed(k)).cloned().collect();
            keys.sort_unstable();
            let (deleted, bytes) = self.sum(keys.iter());
            self.out.deleted += deleted;
            self.out.deleted_bytes += bytes;
            if let Some(lease) = &self.lease {
                // Who needs before what is needed: a run that ends here leaves no manifest without its chunks.
                let mut left = keys.clone();
                for kind in ["blobs/", "images/", ""] {
                    let (now, later) = left.into_iter().partition::<Vec<_>, _>(|k| k.starts_with(kind));
                    left = later;
                    for some in now.chunks(AT_ONCE) {
                        // One that slept for long may have been replaced by another.
                        lease.confirm()?;
                        self.store.blobs().delete_all(some)?;
                    }
                }
                self.trash.end_sweep(c.number)?;
            }
            self.gone.extend(keys);
            self.task.advance(1);
        }
        Ok(())
    }

    /// Stores anew what is needed of packs of which little is. Gives those packs.
    fn repack(&mut self, mark: &Mark, low: &[mark::PackUse]) -> Result<HashSet<Hash>> {
        if low.is_empty() {
            return Ok(HashSet::new());
        }
        if let Some(lease) = &self.lease {
            let session = Session::under(self.store, lease.clone());
            let done = repack::repack(&session, mark, low, self.options, self.task)?;
            self.out.repacked_bytes = done.bytes;
            self.out.notes.extend(done.notes);
            self.out.repacked = done.packs.len() as u64;
            return Ok(done.packs);
        }
        self.out.repacked = low.len() as u64;
        self.out.repacked_bytes = low.iter().map(|p| p.live).sum();
        Ok(low.iter().map(|p| p.id).collect())
    }

    /// Notes what nobody needs from now on.
    fn find(&mut self, roots: &Roots, mark: &Mark, repacked: &HashSet<Hash>) -> Result<()> {
        let mut images: HashSet<Hash> = self.store.image_ids()?.into_iter().collect();
        images.retain(|id| !roots.images.contains(id));
        let mut keys: Vec<String> = images.iter().map(image_key).collect();
        if !images.is_empty() {
            // One listing: asking for each image would be a request each.
            let derived = self.store.blobs().walk("blobs")?.into_iter().map(|(key, _)| key);
            keys.extend(derived.filter(|key| image_of(key).is_some_and(|id| images.contains(&id))));
        }
        keys.extend(mark.dead_packs().chain(repacked.iter().copied()).map(|id| pack_key(&id)));
        let bad: HashSet<Hash> = self.store.bad_blocks()?.into_iter().map(|(pack, _)| pack).collect();
        for id in bad {
            let key = pack_key(&id);
            let trailer = if self.sizes.contains_key(&key) { self.store.read_trailer(&id).ok() } else { None };
            keys.extend(trailer.filter(|t| mark.is_useless(&id, t)).map(|_| key));
        }
        keys.sort_unstable();
        keys.dedup();
        let trash = if self.lease.is_some() { Trash::read(self.store)? } else { Trash::empty(self.store) };
        let known = if self.lease.is_some() { &trash } else { &self.trash };
        let mut waiting = BTreeSet::new();
        known.collections.iter().for_each(|c| waiting.extend(c.keys.iter().cloned()));
        keys.retain(|k| !waiting.contains(k) && !self.gone.contains(k));
        waiting.retain(|k| !self.gone.contains(k));
        (self.out.waiting, self.out.waiting_bytes) = self.sum(waiting.iter());
        (self.out.found, self.out.found_bytes) = self.sum(keys.iter());
        if let Some(lease) = self.lease.as_ref().filter(|_| !keys.is_empty()) {
            Trash::add(self.store, &keys, lease)?;
        }
        Ok(())
    }

    /// How many of the objects there are, and their bytes.
    fn sum<'k>(&self, keys: impl Iterator<Item = &'k String>) -> (u64, u64) {
        let sizes: Vec<u64> = keys.filter_map(|key| self.sizes.get(key)).copied().collect();
        (sizes.len() as u64, sizes.iter().sum())
    }
}

/// The image of which this is the manifest, or a file that was derived from it.
fn image_of(key: &str) -> Option<Hash> {
    match key.split_once('/')? {
        ("images", name) => name.strip_suffix(".cvm")?.parse().ok(),
        ("blobs", rest) => rest.split_once('/')?.0.parse().ok(),
        _ => None,
    }
}

fn unknown_needs(e: Error, image: &Hash) -> Error {
    match e.kind() {
        ErrorKind::Integrity | ErrorKind::NotFound => {
            Error::integrity(format!("what image {image} needs cannot be read, so that nothing can be collected"))
                .hint("cvctl store check names the damage; repair it, or remove the image")
                .fact("images", vec![image.to_string()])
                .cause(e)
        }
        _ => e,
    }
}
