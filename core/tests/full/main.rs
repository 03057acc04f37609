//! A disk that is full, at any write: the limit is told, the store stays whole, the room is given back, and the next run
//! succeeds without a hand.
//!
//! ```text
//!  a store ── 0 pages are left ───┬── work: 17 ── look ── make room ── work: done ── look
//!             1 page, 2, …        │
//!             none for write 0 … ─┘
//! ```
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod collect;
mod large;
mod repair;
mod store;

use common::watched::Watched;
use common::{Mounted, is_root, noise, run, skip};
use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::store::Store;
use libcv::store::collect::CollectOptions;
use libcv::store::local::LocalDir;
use libcv::tree::extract::ExtractOptions;
use libcv::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const PAGE: u64 = 4096;

/// What a filesystem may need for itself, and small segments of the index, which become one later.
const SLACK: u64 = 4 * PAGE;

/// A tree, stores beside it, and a small disk for a copy of the store `here`.
struct Bed {
    dir: tempfile::TempDir,
    disk: Mounted,
    _alone: MutexGuard<'static, ()>,
}

/// A program that another test starts has for a moment what is open here, and then a file that is removed keeps its room.
static ALONE: Mutex<()> = Mutex::new(());

/// What is to be done, and how it is to be looked at.
struct Work<'w> {
    /// Says whether all was done.
    work: &'w dyn Fn(&Store) -> Result<bool>,
    /// Looks at a store in which not all was done; says whether nothing at all was.
    whole: &'w dyn Fn(&Store) -> bool,
    /// Looks at a store in which all was.
    done: &'w dyn Fn(&Store),
}

impl Bed {
    /// `None` where nothing can be mounted.
    fn new(test: &str, disk: u64) -> Option<Self> {
        if !is_root() {
            skip(test, "it needs root");
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let bed = Self { dir: tempfile::tempdir().unwrap(), disk: Mounted::small(disk), _alone: alone };
        std::fs::create_dir(bed.at("tree")).unwrap();
        Some(bed)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: usize, seed: u64) {
        std::fs::write(self.at("tree").join(name), noise(bytes, seed)).unwrap();
    }

    fn options(&self) -> CaptureOptions {
        CaptureOptions { exact: true, state: Some(self.at("state")), ..CaptureOptions::default() }
    }

    fn capture(&self, store: &Store, name: &str) {
        store.capture(self.at("tree"), name, &self.options(), &task()).unwrap();
    }

    fn extract(&self, store: &Store, reference: &str) {
        let out = tempfile::tempdir_in(self.dir.path()).unwrap();
        let options = ExtractOptions { verify: true, no_sync: true, ..ExtractOptions::default() };
        store.image(reference).unwrap().extract(out.path().join("o"), &options, &task()).unwrap();
    }

    /// The store on the small disk.
    fn place(&self) -> PathBuf {
        self.disk.path().join("store")
    }

    fn open(&self) -> Store {
        Store::open(self.place()).unwrap()
    }

    /// Puts the store `here` on the disk, as it is.
    fn put(&self) {
        let _ = std::fs::remove_dir_all(self.place());
        run("cp", &["-a", self.at("here").to_str().unwrap(), self.place().to_str().unwrap()]);
    }

    /// Leaves so many pages.
    fn fill(&self, pages: u64) {
        let much = self.disk.free().checked_sub(pages * PAGE).expect("the disk is too small for this test");
        std::fs::write(self.disk.path().join("filler"), vec![0; usize::try_from(much).unwrap()]).unwrap();
        assert_eq!(self.disk.free(), pages * PAGE);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.disk.path().join("filler")).unwrap();
    }

    /// Does the work with more and more room, until that is enough, and then again and again with one write for which there
    /// is none. Gives the kinds of objects that found none.
    fn at_any_write(&self, work: &Work<'_>) -> BTreeSet<String> {
        self.put();
        let before = self.disk.free();
        assert!((work.work)(&self.open()).unwrap());
        (work.done)(&self.open());
        let free = (before, self.disk.free());
        for pages in 0.. {
            self.put();
            self.fill(pages);
            let outcome = (work.work)(&self.open());
            if matches!(outcome, Ok(true)) {
                break;
            }
            self.look(work, free, &outcome, &format!("{pages} pages are left"));
        }
        self.make_room();
        // Of objects of a page each, one that takes the place of another hides the next from that.
        let mut met = BTreeSet::new();
        for number in 0.. {
            self.put();
            let (store, found) = self.with_no_room_for(number);
            let outcome = (work.work)(&store);
            let Some(key) = found.lock().unwrap().take() else { break };
            std::fs::write(self.disk.path().join("filler"), "").unwrap();
            self.look(work, free, &outcome, &format!("no room for write {number}, {key}"));
            met.insert(kind(&key));
        }
        met
    }

    /// Looks at what a full disk left of the work, makes room, and finishes it.
    fn look(&self, Work { work, whole, done }: &Work<'_>, free: (u64, u64), outcome: &Result<bool>, when: &str) {
        if let Err(e) = outcome {
            assert_eq!(e.kind(), ErrorKind::Limit, "{when}: {e:?}");
        }
        for left in ["tmp", "leases"] {
            assert_eq!(self.open().blobs().list(left).unwrap(), [""; 0], "{left}, {when}: {outcome:?}");
        }
        let nothing = whole(&self.open());
        self.make_room();
        let now = self.disk.free();
        assert!(!nothing || now + SLACK >= free.0, "{when}: {now} of {} are free", free.0);
        assert!(work(&self.open()).unwrap(), "{when}");
        done(&self.open());
        let now = self.disk.free();
        assert!(now + SLACK >= free.1, "{when}: {now} of {} are free: {:?}", free.1, objects(&self.open()));
    }

    /// The store on the disk, which has no room for one of its writes; gives the key of that when it comes. What is written
    /// piece by piece is a pack.
    fn with_no_room_for(&self, number: usize) -> (Store, Arc<Mutex<Option<String>>>) {
        let (found, writes) = (Arc::new(Mutex::new(None)), AtomicUsize::new(0));
        let told = found.clone();
        let before = move |verb: &str, key: &str| {
            if !["put", "create", "writer"].contains(&verb) || writes.fetch_add(1, Ordering::Relaxed) != number {
                return Ok(());
            }
            *told.lock().unwrap() = Some(if verb == "writer" { "packs/" } else { key }.to_owned());
            Err(Error::io("write", key, std::io::Error::from_raw_os_error(libc::ENOSPC)))
        };
        let dir = LocalDir::open(&self.place()).unwrap();
        (Store::with_backend(Box::new(Watched { dir, before })).unwrap(), found)
    }
}

fn task() -> Task {
    Task::quiet()
}

fn at_once() -> CollectOptions {
    CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() }
}

fn check(store: &Store) {
    assert_eq!(store.check(true, &task()).unwrap().faults, []);
}

fn kind(key: &str) -> String {
    match key.rsplit_once('/') {
        Some((_, name @ ("BAD" | "CURRENT" | "HEAD"))) => name.to_owned(),
        _ => key.split('/').next().unwrap_or(key).to_owned(),
    }
}

fn kinds(kinds: &[&str]) -> BTreeSet<String> {
    kinds.iter().map(ToString::to_string).collect()
}

/// The objects of a store that mean something.
fn objects(store: &Store) -> Vec<String> {
    let places = ["packs", "images", "blobs", "refs", "tags"];
    places.iter().flat_map(|p| store.blobs().walk(p).unwrap()).map(|(key, _)| key).collect()
}

/// That a store is whole, and holds nothing that nobody needs.
fn check_is_lean(store: &Store) {
    let report = store.check(true, &task()).unwrap();
    let names = store.refs().names().unwrap();
    let generations = names.iter().flat_map(|n| store.log(n).unwrap());
    let images: BTreeSet<_> = generations.filter_map(|l| l.release.image).collect();
    assert_eq!((&report.faults[..], report.unreferenced_packs), (&[][..], 0));
    assert_eq!((report.images, store.blobs().list("trash").unwrap()), (images.len() as u64, vec![]));
}
