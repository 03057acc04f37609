//! A damaged store is healed from another one that has what it lacks (`store-format.md` §10).
//!
//! What has its content for a name (chunks, manifests) is taken from wherever it is; what has not (releases, tags) only
//! where the other store is a copy of this one, or this one of it, as far as the names in question are concerned.

use super::check::Fault;
use super::name::check_name;
use super::needs::Needs;
use super::release::{head_key, release_key};
use super::transfer::{Transfer, transfer};
use super::{Image, Location, STORE_FILE, Session, Store, StoreFile, is_store_file, is_uuid, pack_key};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::{ChunkSet, Hash};
use crate::job::Task;
use crate::store::blob::BlobStore;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a repair did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Repaired {
    /// Faults that there were.
    pub found: u64,
    /// Objects that were written anew.
    pub healed: Vec<String>,
    /// Objects that were removed, because what is in them cannot be had, and is not needed or was stored anew elsewhere.
    pub removed: Vec<String>,
    /// Chunks that were fetched.
    pub chunks: u64,
    /// Bytes that were stored for them.
    pub stored_bytes: u64,
    /// Faults that are left, because the other store has not what is missing either.
    pub faults: Vec<Fault>,
}

impl Repaired {
    /// The report as an error when faults are left.
    ///
    /// # Errors
    /// `Integrity` with the faults as facts.
    pub fn ok(&self) -> Result<()> {
        super::check::ok(&self.faults)
    }
}

impl Store {
    /// Opens a store to repair it: where `store.json` is lost or damaged it is made again, with the uuid that the
    /// releases name.
    ///
    /// # Errors
    /// `NotFound` when there is nothing that belongs to a store; `Unsupported` for a format that this version does not
    /// know.
    pub fn open_to_repair(path: impl AsRef<Path>) -> Result<Self> {
        Self::reopen(Location::parse(path)?.open()?)
    }

    fn reopen(blobs: Box<dyn BlobStore>) -> Result<Self> {
        match blobs.get(STORE_FILE, 64 << 10) {
            Ok(bytes) if is_store_file(&bytes) => return Self::with_backend(blobs),
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Limit | ErrorKind::Integrity) => {
                return Err(e);
            }
            _ => {}
        }
        if blobs.list("packs")?.is_empty() && blobs.list("refs")?.is_empty() {
            return Err(Error::not_found(format!("there is no store in {}", blobs.place())));
        }
        let mut uuids = BTreeMap::<String, u64>::new();
        let refs = super::release::Refs::new(blobs.as_ref());
        for name in refs.names()? {
            for generation in refs.generations(&name)? {
                if let Ok(release) = refs.release(&name, generation)
                    && is_uuid(&release.store)
                {
                    *uuids.entry(release.store).or_default() += 1;
                }
            }
        }
        let most = uuids.into_iter().max_by_key(|(_, count)| *count).map(|(uuid, _)| uuid);
        let uuid = most.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        blobs.put(STORE_FILE, StoreFile::new(super::FORMAT, uuid, "any".into()).text().as_bytes())?;
        Self::begin(blobs, true)
    }

    /// Gives a store that had lost its uuid, and is now taken for the one that it is a copy of, one of its own.
    fn rename(&self) -> Result<()> {
        let file = StoreFile::new(super::FORMAT, uuid::Uuid::new_v4().to_string(), "any".into());
        self.blobs().put(STORE_FILE, file.text().as_bytes())
    }

    /// Heals what is damaged or lost from another store. Every object of this store is read.
    ///
    /// # Errors
    /// `Busy`, `Limit`, `Cancelled`, and what keeps a store from being read at all. What cannot be healed is in the
    /// report.
    pub fn repair(&self, from: &Store, task: &Task) -> Result<Repaired> {
        let before = self.check_to_repair(task)?;
        let lost = self.lost_names(from)?;
        let mut out = Repaired { found: (before.faults.len() + lost.len()) as u64, ..Repaired::default() };
        if self.0.adopted && self.uuid() == from.uuid() {
            self.rename()?;
        }
        if before.faults.is_empty() && lost.is_empty() {
            return Ok(out);
        }
        let session = self.session(&format!("repair from {}", from.blobs().place()))?;
        let packs = self.unreadable_packs()?;
        let session = session.without(&packs);
        let mut repair = Repair { store: self, from, session: &session, task, out: &mut out };
        repair.releases(lost)?;
        repair.tags()?;
        repair.manifests()?;
        repair.chunks()?;
        repair.remove(&packs)?;
        repair.derived()?;
        self.compact_index()?;
        drop(session);
        out.faults = self.check(false, task)?.faults;
        Ok(out)
    }
}

impl Store {
    /// Names of this store that only the other one has: who removes a name leaves a generation that says so.
    fn lost_names(&self, from: &Store) -> Result<Vec<String>> {
        let (here, there) = (self.refs().names()?, from.refs());
        let mut names = there.names()?;
        let own = |name: &str| {
            let head = there.highest(name).ok().flatten().unwrap_or(0);
            there.release(name, head).is_ok_and(|r| r.store == self.uuid())
        };
        names.retain(|name| !here.contains(name) && own(name));
        Ok(names)
    }

    /// Packs that do not say what is in them. Segments may know it, and blocks of them may be whole.
    fn unreadable_packs(&self) -> Result<Vec<Hash>> {
        let mut packs = self.pack_ids()?;
        packs.retain(|id| self.read_trailer(id).is_err_and(|e| e.kind() == ErrorKind::Integrity));
        Ok(packs)
    }
}

struct Repair<'r> {
    store: &'r Store,
    from: &'r Store,
    session: &'r Session,
    task: &'r Task,
    out: &'r mut Repaired,
}

impl Repair<'_> {
    fn put(&mut self, key: &str, bytes: &[u8]) -> Result<()> {
        self.session.lease()?.keep(key)?;
        self.store.blobs().put(key, bytes)?;
        self.out.healed.push(key.to_owned());
        Ok(())
    }

    /// Whether a name means the same here and there: no generation that both have differs.
    fn is_copy(&self, name: &str) -> Result<bool> {
        let (here, there) = (self.store.refs(), self.from.refs());
        let mut common = false;
        for g in here.generations(name)? {
            if let (Ok(a), Ok(b)) = (here.release(name, g), there.release(name, g)) {
                if a != b {
                    return Ok(false);
                }
                common = true;
            }
        }
        // With nothing in common the uuid must tell.
        let head = there.highest(name)?.unwrap_or(0);
        Ok(common || there.release(name, head).is_ok_and(|r| r.store == self.store.uuid()))
    }

    /// Generations that are damaged or lost, and HEAD.
    fn releases(&mut self, lost: Vec<String>) -> Result<()> {
        let names: BTreeSet<String> = self.store.refs().names()?.into_iter().chain(lost).collect();
        for name in names {
            self.task.check()?;
            let copy = self.is_copy(&name)?;
            let (refs, theirs) = (self.store.refs(), self.from.refs());
            let highest = match refs.highest(&name) {
                // All are lost.
                Ok(None) => theirs.highest(&name)?.unwrap_or(0),
                Err(e) if e.kind() == ErrorKind::Integrity => theirs.highest(&name)?.unwrap_or(0),
                known => known?.unwrap_or(0),
            };
            let (_, buried) = refs.numbers(&name)?;
            for g in 1..=highest {
                if !copy || buried.contains(&g) || refs.release(&name, g).is_ok() {
                    continue;
                }
                match theirs.read(&name, g) {
                    Ok((_, bytes)) => self.put(&release_key(&name, g), &bytes)?,
                    Err(_) if theirs.is_buried(&name, g)? => {
                        refs.bury(&name, g)?;
                        self.out.healed.push(format!("{}.removed", release_key(&name, g)));
                    }
                    Err(_) => {}
                }
            }
            // It never goes back: what it names and nobody has is lost, and no other generation may take its number.
            let last = refs.generations(&name)?.last().copied().unwrap_or(0);
            if refs.hint(&name)? < last {
                refs.put_hint(&name, last)?;
                self.out.healed.push(head_key(&name));
            }
        }
        Ok(())
    }

    /// Tags whose last record is damaged.
    fn tags(&mut self) -> Result<()> {
        let (refs, theirs) = (self.store.refs(), self.from.refs());
        for name in self.store.blobs().list("tags")?.iter().filter(|n| check_name(n).is_ok()) {
            for tag in self.store.blobs().list(&format!("tags/{name}"))?.iter().filter(|t| check_name(t).is_ok()) {
                let damaged = |e: &Error| e.kind() == ErrorKind::Integrity;
                if !refs.tag(name, tag).is_err_and(|e| damaged(&e)) || !self.is_copy(name)? {
                    continue;
                }
                if let Some(generation) = theirs.tag(name, tag).ok().flatten() {
                    refs.replace_tag(name, tag, generation)?;
                    self.out.healed.push(format!("tags/{name}/{tag}"));
                }
            }
        }
        Ok(())
    }

    /// Manifests that a generation needs.
    fn manifests(&mut self) -> Result<()> {
        for id in self.images()? {
            if self.store.image_by_id(id).is_err()
                && let Ok(image) = self.from.image_by_id(id)
            {
                self.put(&super::image_key(&id), &image.manifest().encode())?;
            }
        }
        Ok(())
    }

    /// The images that generations point to, and those that are there besides.
    fn images(&self) -> Result<BTreeSet<Hash>> {
        let refs = self.store.refs();
        let mut out: BTreeSet<Hash> = self.store.image_ids()?.into_iter().collect();
        for name in refs.names()? {
            let (there, buried) = refs.numbers(&name)?;
            out.extend(there.difference(&buried).filter_map(|g| refs.release(&name, *g).ok()?.image));
        }
        Ok(out)
    }

    /// Chunks that an image needs and this store has not.
    fn chunks(&mut self) -> Result<()> {
        let mut wanted = ChunkSet::default();
        let mut needs = Needs::default();
        for id in self.images()? {
            self.task.check()?;
            // From there, where it is whole; an image that is only here, as far as it can be read.
            let there = self.from.image_by_id(id);
            let both = [there, self.store.image_by_id(id)];
            for image in both.into_iter().flatten() {
                if self.lacks(&mut needs, &image, &mut wanted).is_ok() {
                    break;
                }
            }
        }
        // Of files that were derived from them, too: else they are made again.
        for (id, name) in self.store.all_derived()? {
            let Ok(Some(derived)) = self.store.any_derived(&id, &name) else { continue };
            let Ok(chunks) = derived.chunks() else { continue };
            for (hash, length) in chunks.chunks() {
                if !self.session.holds(hash)? {
                    wanted.insert(*hash, *length);
                }
            }
        }
        self.task.stage("repair", wanted.chunks().iter().map(|c| u64::from(c.1)).sum(), Unit::Bytes);
        // What is whole in a pack that cannot be read otherwise may be nowhere else.
        for source in [self.store, self.from] {
            let index = source.load_index(|h| wanted.contains(h))?.0;
            let mut there = ChunkSet::default();
            let known = wanted.chunks().iter().filter(|c| index.position(&c.0).is_some());
            known.for_each(|(hash, length)| _ = there.insert(*hash, *length));
            let how = Transfer { session: self.session, level: 3, threads: 0, tolerant: true };
            self.out.chunks += transfer(source, &there, &how, self.task)?.chunks;
        }
        self.out.stored_bytes = self.session.finish()?;
        self.store.forget_index();
        Ok(())
    }

    fn lacks(&self, needs: &mut Needs, image: &Image, wanted: &mut ChunkSet) -> Result<()> {
        needs.of(image, &mut |hash, length| {
            if !self.session.holds(hash)? {
                wanted.insert(*hash, length);
            }
            Ok(())
        })
    }

    /// Removes packs; what was in them and is needed has been stored anew.
    fn remove(&mut self, packs: &[Hash]) -> Result<()> {
        for id in packs {
            let key = pack_key(id);
            // The same content in the same order has the same name, and took the place of what was damaged; another writer
            // may have done so meanwhile.
            let stays =
                self.session.wrote(id) || !self.store.read_trailer(id).is_err_and(|e| e.kind() == ErrorKind::Integrity);
            if stays {
                self.out.healed.push(key);
            } else {
                self.store.blobs().delete(&key)?;
                self.out.removed.push(key);
            }
        }
        Ok(())
    }

    /// Derived files that are damaged go: they are made again when somebody wants them.
    fn derived(&mut self) -> Result<()> {
        for (id, name) in self.store.all_derived()? {
            let whole = self.store.any_derived(&id, &name).and_then(|d| d.map_or(Ok(true), |d| d.is_whole()));
            if !whole.or_else(|e| if e.kind() == ErrorKind::Integrity { Ok(false) } else { Err(e) })? {
                let key = name.key(&id);
                self.store.blobs().delete(&key)?;
                self.out.removed.push(key);
            }
        }
        Ok(())
    }
}
