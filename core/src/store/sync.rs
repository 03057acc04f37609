//! One store becomes a copy of another, name by name: only what is missing goes over (`store-format.md` §10).
//!
//! ```text
//!  names ──> generations that the copy lacks ──> their images ──> chunks ──> manifests ──> releases ──> tags
//! ```
//!
//! Releases are copied byte by byte, with their signatures, so that a name means in the copy what it means here; to one
//! that is there already the signatures are added that it has not. A copy only goes forward: where it has generations of
//! its own, it is none, and nothing is written. What was removed here stays there; a name that was removed as a whole is
//! removed there by the generation that says so.

use super::blob::Meta;
use super::copied::Copied;
use super::needs::Needs;
use super::release::{LIMIT, head_key, release_key};
use super::transfer::{Transfer, transfer};
use super::{Image, Session, SignedRelease, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::{ChunkSet, Hash};
use crate::job::Task;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How to copy.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// The names; empty: all.
    pub names: Vec<String>,
    /// zstd level of blocks of which only a part is wanted, 1 to 19.
    pub level: i32,
    /// Threads; 0 is one for each core.
    pub threads: usize,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self { names: Vec::new(), level: 3, threads: 0 }
    }
}

/// What a copy took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Synced {
    /// Names that were looked at.
    pub names: u64,
    /// Generations that went over, as `name@generation`.
    pub generations: Vec<String>,
    /// Images that went over.
    pub images: u64,
    /// Chunks that went over.
    pub chunks: u64,
    /// Bytes of blocks that were read for them.
    pub read_bytes: u64,
    /// Bytes that were stored.
    pub stored_bytes: u64,
    /// Tags that were set, as `name:tag`.
    pub tags: Vec<String>,
}

impl Store {
    /// Brings what `to` lacks of these names into it.
    ///
    /// # Errors
    /// `NotFound` for a name that is not here; `Conflict` when `to` has other generations of a name, `Integrity` when
    /// something is damaged here, or a release there that is compared. Generations are published last, so that `to` is
    /// whole at any time.
    pub fn sync(&self, to: &Store, options: &SyncOptions, task: &Task) -> Result<Synced> {
        if self.uuid() == to.uuid() {
            return Err(Error::invalid("this is the same store, or a copy of its files"));
        }
        Sync { from: self, to, options, task, out: Synced::default() }.run()
    }
}

struct Sync<'s> {
    from: &'s Store,
    to: &'s Store,
    options: &'s SyncOptions,
    task: &'s Task,
    out: Synced,
}

/// What a copy lacks of a name.
#[derive(Default)]
struct Lack {
    name: String,
    here: Listing,
    /// What was known of the releases that both have, and what is known now.
    known: Copied,
    same: Copied,
    /// Keys of objects with their bytes, in the order in which they are to be written.
    objects: Vec<(String, Vec<u8>)>,
    generations: Vec<u64>,
    images: BTreeSet<Hash>,
    highest: u64,
}

impl Sync<'_> {
    fn run(mut self) -> Result<Synced> {
        self.task.stage("scan", 0, Unit::Steps);
        let names = self.names()?;
        self.out.names = names.len() as u64;
        let mut lacks = Vec::new();
        for name in &names {
            self.task.check()?;
            lacks.push(self.lack(name)?);
        }
        let lacking = || lacks.iter().filter(|lack| !lack.objects.is_empty());
        if lacking().count() > 0 {
            let (to, task) = (self.to, self.task);
            to.in_session(&format!("sync from {}", self.from.blobs().place()), task, |session| {
                self.images(&lacks, session)?;
                task.stage("publish", lacking().count() as u64, Unit::Steps);
                lacking().try_for_each(|lack| self.publish(lack, session))
            })?;
        }
        for name in &names {
            self.tags(name)?;
        }
        if self.is_remote() {
            for lack in lacks {
                let name = lack.name.clone();
                self.remember(lack).unwrap_or_else(|e| self.task.log(format!("{name} is compared once more: {e}")));
            }
        }
        Ok(self.out)
    }

    /// Whether reading a release is a request.
    fn is_remote(&self) -> bool {
        self.from.blobs().is_remote() || self.to.blobs().is_remote()
    }

    fn names(&self) -> Result<Vec<String>> {
        let known = self.from.refs().names()?;
        if let Some(name) = self.options.names.iter().find(|n| !known.contains(n)) {
            return Err(self.from.no_name(name));
        }
        Ok(if self.options.names.is_empty() { known } else { self.options.names.clone() })
    }

    /// Compares the generations of a name here and there.
    fn lack(&self, name: &str) -> Result<Lack> {
        let (here, there) = (Listing::of(self.from, name)?, Listing::of(self.to, name)?);
        let known = if self.is_remote() { Copied::load(self.from, self.to, name) } else { Copied::default() };
        let mut lack = Lack { name: name.to_owned(), known, ..Lack::default() };
        let other = |g: u64| {
            Error::new(
                ErrorKind::Conflict,
                format!("generation {g} of {name} in {} is another one", self.to.blobs().place()),
            )
            .hint("a copy has no generations of its own: sync into another store, or under another name")
            .fact("generation", g)
        };
        if let Some(g) = there.releases.keys().find(|g| !here.releases.contains_key(g) && !here.buried.contains(g)) {
            return Err(other(*g));
        }
        for (&g, &meta) in &here.releases {
            let key = release_key(name, g);
            match there.releases.get(&g) {
                Some(&copy) if lack.known.has(g, meta, copy) => lack.same.note(g, meta, copy),
                // The bytes tell: signatures of other keys may be as many, and as long.
                Some(&copy) => {
                    let ((ours, bytes), (mut both, _)) = (self.read(self.from, name, g)?, self.read(self.to, name, g)?);
                    if ours.release != both.release {
                        return Err(other(g));
                    }
                    if both.merge(&ours).map_err(|e| e.context(format!("generation {g} of {name}")))? {
                        lack.objects.push((key, bytes));
                    } else {
                        lack.same.note(g, meta, copy);
                    }
                }
                None => {
                    let (SignedRelease { release, .. }, bytes) = self.read(self.from, name, g)?;
                    if !here.buried.contains(&g) && !there.buried.contains(&g) {
                        lack.images.extend(release.image);
                    }
                    lack.generations.push(g);
                    lack.objects.push((key, bytes));
                }
            }
        }
        for &g in here.buried.iter().filter(|g| !there.buried.contains(g) && !there.releases.contains_key(g)) {
            // The tombstone first: the release must not be seen without it.
            lack.objects.insert(0, (format!("{}.removed", release_key(name, g)), Vec::new()));
        }
        lack.highest = here.releases.keys().chain(&here.buried).max().copied().unwrap_or(0);
        lack.here = here;
        Ok(lack)
    }

    /// Has the copy keep in mind which releases lack nothing.
    fn remember(&self, lack: Lack) -> Result<()> {
        let Lack { name, here, known, mut same, generations, .. } = lack;
        if !generations.is_empty() {
            // A release that went over is there as it was here; one that was met there on the way is compared next time.
            let there = Listing::of(self.to, &name)?;
            for g in generations {
                if let (Some(&ours), Some(&copy)) = (here.releases.get(&g), there.releases.get(&g))
                    && ours.size == copy.size
                {
                    same.note(g, ours, copy);
                }
            }
        }
        if same == known { Ok(()) } else { same.save(self.from, self.to, &name) }
    }

    fn read(&self, store: &Store, name: &str, generation: u64) -> Result<(SignedRelease, Vec<u8>)> {
        store.refs().read(name, generation).map_err(|e| match e.kind() {
            ErrorKind::Integrity => {
                let place = store.blobs().place();
                e.context(&place).hint(format!("repair it: cvctl --store {place} store repair --from STORE"))
            }
            _ => e,
        })
    }

    /// Brings the images over that the generations point to; all is durable when it returns.
    fn images(&mut self, lacks: &[Lack], session: &Session) -> Result<()> {
        let ids: BTreeSet<Hash> = lacks.iter().flat_map(|l| l.images.iter().copied()).collect();
        let (needs, mut wanted, mut images) = (Needs::default(), ChunkSet::default(), Vec::new());
        for id in ids {
            self.task.check()?;
            let image = self.from.image_by_id(id)?;
            needs.of(&image, &mut |hash, length| {
                if !session.holds(hash)? {
                    wanted.insert(*hash, length);
                }
                Ok(())
            })?;
            images.push(image);
        }
        self.task.stage("transfer", wanted.chunks().iter().map(|c| u64::from(c.1)).sum(), Unit::Bytes);
        let how = Transfer { session, level: self.options.level, threads: self.options.threads, tolerant: false };
        let moved = transfer(self.from, &wanted, &how, self.task)?;
        (self.out.chunks, self.out.read_bytes) = (moved.chunks, moved.read);
        self.out.stored_bytes = session.finish()?;
        self.out.images = images.len() as u64;
        images.iter().map(Image::manifest).try_for_each(|m| session.put_manifest(m).map(drop))
    }

    /// Publishes the generations of a name.
    fn publish(&mut self, lack: &Lack, session: &Session) -> Result<()> {
        let (blobs, lease) = (self.to.blobs(), session.lease()?);
        let head = blobs.get(&head_key(&lack.name), 32).ok();
        let mut made = Vec::new();
        for (key, bytes) in &lack.objects {
            match blobs.create(key, bytes) {
                Ok(()) => {
                    made.push(key.clone());
                    // A name of several generations has a HEAD at any time.
                    if self.to.refs().hint(&lack.name)? == 0 && !key.ends_with(".removed") {
                        self.to.refs().put_hint(&lack.name, 1)?;
                    }
                }
                // Other signatures, or a run before this one was killed in between, or another is at it.
                Err(e) if e.kind() == ErrorKind::Conflict => {
                    let there = blobs.get(key, LIMIT)?;
                    if there == *bytes {
                        continue;
                    }
                    let (Ok(mut both), Ok(ours)) = (SignedRelease::decode(&there), SignedRelease::decode(bytes)) else {
                        return Err(e);
                    };
                    if both.release != ours.release {
                        return Err(e);
                    }
                    if both.merge(&ours)? {
                        blobs.put(key, &both.encode())?;
                    }
                }
                Err(e) => return Err(e),
            }
        }
        if self.to.refs().hint(&lack.name)? < lack.highest {
            self.to.refs().put_hint(&lack.name, lack.highest)?;
        }
        if let Err(e) = lease.confirm() {
            // As it was before: nobody can have built on it yet.
            head.map_or_else(|| blobs.delete(&head_key(&lack.name)), |h| blobs.put(&head_key(&lack.name), &h))?;
            blobs.delete_all(&made)?;
            return Err(e);
        }
        self.out.generations.extend(lack.generations.iter().map(|g| format!("{}@{g}", lack.name)));
        self.task.advance(1);
        Ok(())
    }

    /// Points the tags of the copy to what they point to here.
    fn tags(&mut self, name: &str) -> Result<()> {
        for t in self.from.refs().tags(name)? {
            if self.to.refs().tag(name, &t.tag)? != Some(t.generation) {
                self.to.tag(&format!("{name}@{}", t.generation), name, &t.tag)?;
                self.out.tags.push(format!("{name}:{}", t.tag));
            }
        }
        Ok(())
    }
}

/// The generations of a name in one store.
#[derive(Default)]
struct Listing {
    releases: BTreeMap<u64, Meta>,
    buried: BTreeSet<u64>,
}

impl Listing {
    fn of(store: &Store, name: &str) -> Result<Self> {
        let mut out = Self::default();
        let prefix = format!("refs/{name}");
        for (key, meta) in store.blobs().walk(&prefix)? {
            let Some(name) = key.strip_prefix(&prefix).and_then(|k| k.strip_prefix('/')) else { continue };
            let (digits, buried) = name.strip_suffix(".removed").map_or((name, false), |d| (d, true));
            match digits.parse::<u64>().ok().filter(|_| digits.len() == 16) {
                Some(g) if buried => _ = out.buried.insert(g),
                Some(g) => _ = out.releases.insert(g, meta),
                None => {}
            }
        }
        Ok(out)
    }
}
