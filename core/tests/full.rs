//! A disk that is full, at any write: the limit is told, the store stays whole, the room is given back, and the next run
//! succeeds without a hand.
//!
//! ```text
//!  a store ── 0 pages are left ───┬── work: 17 ── look ── make room ── work: done ── look
//!             1 page, 2, …         │
//!             none for write 0 … ──┘
//! ```
#![allow(missing_docs)]

mod common;

use common::watched::Watched;
use common::{Mounted, is_root, noise, run, skip, small_tree};
use libcv::capture::CaptureOptions;
use libcv::convert::{DeriveKind, DeriveOptions, derive};
use libcv::job::Task;
use libcv::store::collect::CollectOptions;
use libcv::store::local::LocalDir;
use libcv::store::{Store, SyncOptions};
use libcv::tree::extract::ExtractOptions;
use libcv::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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

fn task() -> Task {
    Task::quiet()
}

fn at_once() -> CollectOptions {
    CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() }
}

fn check(store: &Store) {
    assert_eq!(store.check(true, &task()).unwrap().faults, []);
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

#[test]
fn a_capture() {
    let Some(b) = Bed::new("a capture on a full disk", 4 << 20) else { return };
    let here = Store::init(b.at("here")).unwrap();
    b.write("a", 30_000, 1);
    b.capture(&here, "t");
    b.write("b", 30_000, 2);
    let before = objects(&here);
    let met = b.at_any_write(&Work {
        work: &|store| {
            let options = CaptureOptions { tag: Some("new".into()), ..b.options() };
            store.capture(b.at("tree"), "t", &options, &task()).map(|_| true)
        },
        whole: &|store| {
            check_is_lean(store);
            b.extract(store, "t@1");
            objects(store) == before
        },
        done: &|store| {
            check_is_lean(store);
            b.extract(store, "t:new");
            assert_eq!(store.log("t").unwrap().len(), 2);
        },
    });
    let all = ["leases", "packs", "idx", "CURRENT", "images", "refs", "HEAD", "tags", "cache"];
    assert_eq!(met, kinds(&all));
}

#[test]
fn a_derived_file() {
    let Some(b) = Bed::new("a derived file on a full disk", 4 << 20) else { return };
    let here = Store::init(b.at("here")).unwrap();
    b.write("a", 30_000, 1);
    b.capture(&here, "t");
    let before = objects(&here);
    let met = b.at_any_write(&Work {
        work: &|store| derive(&store.image("t").unwrap(), &DeriveOptions::new(DeriveKind::Cpio), &task()).map(|_| true),
        whole: &|store| {
            check_is_lean(store);
            objects(store) == before
        },
        done: &|store| {
            check_is_lean(store);
            assert_eq!(store.blobs().walk("blobs").unwrap().len(), 1);
        },
    });
    assert_eq!(met, kinds(&["leases", "packs", "idx", "CURRENT", "blobs"]));
}

#[test]
fn a_sync() {
    let Some(b) = Bed::new("a sync to a full disk", 4 << 20) else { return };
    let [here, from] = ["here", "from"].map(|s| Store::init(b.at(s)).unwrap());
    b.write("a", 30_000, 1);
    b.capture(&from, "t");
    from.sync(&here, &SyncOptions::default(), &task()).unwrap();
    for (name, seed) in [("t", 2), ("t", 3), ("u", 4)] {
        b.write("b", 20_000, seed);
        b.capture(&from, name);
    }
    from.remove("t@2").unwrap();
    from.tag("t", "t", "stable").unwrap();
    let before = objects(&here);
    let met = b.at_any_write(&Work {
        work: &|store| from.sync(store, &SyncOptions::default(), &task()).map(|_| true),
        whole: &|store| {
            check_is_lean(store);
            b.extract(store, "t@1");
            objects(store) == before
        },
        done: &|store| {
            check_is_lean(store);
            ["t@1", "t:stable", "u@1"].iter().for_each(|r| b.extract(store, r));
            assert_eq!(store.refs().release("t", 3).unwrap(), from.refs().release("t", 3).unwrap());
        },
    });
    let all = ["leases", "packs", "idx", "CURRENT", "images", "refs", "HEAD", "tags"];
    assert_eq!(met, kinds(&all));
}

/// Changes one bit.
fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// What is done to a store, and which kinds of objects its repair has to write for it.
type Damage<'d> = (&'d [&'d dyn Fn()], &'d [&'d str]);

#[test]
fn a_repair() {
    let Some(b) = Bed::new("a repair on a full disk", 4 << 20) else { return };
    let [here, from] = ["here", "from"].map(|s| Store::init(b.at(s)).unwrap());
    b.write("a", 30_000, 1);
    b.capture(&here, "good");
    std::fs::remove_file(b.at("tree").join("a")).unwrap();
    let good = here.blobs().list("images").unwrap();
    let packs = || here.blobs().walk("packs").unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let sound = packs();
    for seed in [2, 3] {
        b.write("b", 20_000, seed);
        b.capture(&here, "t");
    }
    here.tag("t@1", "t", "stable").unwrap();
    here.sync(&from, &SyncOptions::default(), &task()).unwrap();
    let hurt: Vec<String> = packs().into_iter().filter(|p| !sound.contains(p)).collect();
    let manifest = here.blobs().list("images").unwrap().into_iter().find(|m| !good.contains(m)).unwrap();
    let path = |key: &str| b.at("here").join(key);
    let block = || flip(&path(&hurt[0]), 100);
    let trailer = || flip(&path(&hurt[1]), std::fs::read(path(&hurt[1])).unwrap().len() - 50);
    let release = || std::fs::remove_file(path("refs/t/0000000000000001")).unwrap();
    let head = || std::fs::write(path("refs/t/HEAD"), "x").unwrap();
    let tag = || flip(&path("tags/t/stable/0000000000000001"), 30);
    let image = || std::fs::remove_file(path(&format!("images/{manifest}"))).unwrap();
    let damage: [Damage<'_>; 7] = [
        (&[&block], &["BAD", "packs"]),
        (&[&trailer], &["packs"]),
        (&[&release], &["refs"]),
        (&[&head], &["HEAD"]),
        (&[&tag], &["tags"]),
        (&[&image], &["images"]),
        (&[&block, &trailer, &release, &head, &tag, &image], &["BAD", "packs", "refs", "HEAD", "tags", "images"]),
    ];
    run("cp", &["-a", b.at("here").to_str().unwrap(), b.at("sound").to_str().unwrap()]);
    for (damage, wanted) in damage {
        damage.iter().for_each(|d| d());
        let before = objects(&here);
        let faults = here.check(true, &task()).unwrap().faults;
        let _ = std::fs::remove_file(path("idx/BAD"));
        assert!(!faults.is_empty());
        let met = b.at_any_write(&Work {
            work: &|store| store.repair(&from, &task())?.ok().map(|()| true),
            whole: &|store| {
                // What is healed stays so; nothing else has changed.
                let left = store.check(true, &task()).unwrap().faults;
                assert!(left.len() <= faults.len(), "{left:?}");
                b.extract(store, "good");
                objects(store) == before
            },
            done: &|store| {
                check_is_lean(store);
                ["good", "t@1", "t@2", "t:stable"].iter().for_each(|r| b.extract(store, r));
            },
        });
        assert_eq!(met, kinds(&[wanted, &["leases", "idx", "CURRENT"]].concat()));
        std::fs::remove_dir_all(b.at("here")).unwrap();
        run("cp", &["-a", b.at("sound").to_str().unwrap(), b.at("here").to_str().unwrap()]);
    }
}

/// A repair goes by what the check before it has noted: when it could not be, nothing is healed, and that is said.
#[test]
fn a_repair_that_cannot_note_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let [here, from] = ["here", "from"].map(|s| Store::init(dir.path().join(s)).unwrap());
    std::fs::create_dir(dir.path().join("tree")).unwrap();
    std::fs::write(dir.path().join("tree/f"), noise(30_000, 1)).unwrap();
    let options = CaptureOptions { exact: true, state: Some(dir.path().join("state")), ..CaptureOptions::default() };
    here.capture(dir.path().join("tree"), "t", &options, &task()).unwrap();
    here.sync(&from, &SyncOptions::default(), &task()).unwrap();
    let (pack, _) = here.blobs().walk("packs").unwrap().remove(0);
    flip(&dir.path().join("here").join(pack), 100);
    let before = |verb: &str, key: &str| match (verb, key) {
        ("put", "idx/BAD") => Err(Error::io("write", key, std::io::Error::from_raw_os_error(libc::ENOSPC))),
        _ => Ok(()),
    };
    let full = Watched { dir: LocalDir::open(&dir.path().join("here")).unwrap(), before };
    let full = Store::with_backend(Box::new(full)).unwrap();
    assert_eq!(full.repair(&from, &task()).unwrap_err().kind(), ErrorKind::Limit);
    assert!(!full.check(true, &task()).unwrap().faults.is_empty(), "a check without a repair goes on");
    assert_eq!(here.repair(&from, &task()).unwrap().faults, []);
    check(&here);
}

#[test]
fn a_collection() {
    let Some(b) = Bed::new("a collection on a full disk", 4 << 20) else { return };
    let here = Store::init(b.at("here")).unwrap();
    (0..8).for_each(|n| b.write(&format!("f{n}"), 20_000, n));
    b.capture(&here, "t");
    (2..8).for_each(|n| std::fs::remove_file(b.at("tree").join(format!("f{n}"))).unwrap());
    b.capture(&here, "t");
    b.write("own", 30_000, 9);
    b.capture(&here, "gone");
    here.remove("gone").unwrap();
    let before = objects(&here);
    let met = b.at_any_write(&Work {
        work: &|store| {
            let options = CollectOptions { keep_last: Some(1), ..at_once() };
            let mut all = true;
            for _ in 0..3 {
                all &= store.collect(&options, &task())?.notes.is_empty();
            }
            Ok(all)
        },
        whole: &|store| {
            check(store);
            b.extract(store, "t");
            objects(store) == before
        },
        done: &|store| {
            check_is_lean(store);
            b.extract(store, "t");
            assert_eq!(store.blobs().walk("packs").unwrap().len(), 2);
        },
    });
    assert_eq!(met, kinds(&["leases", "trash", "packs", "idx", "CURRENT", "refs"]));
}

#[test]
fn of_a_full_disk_the_caches_go_before_a_collection_fails() {
    let Some(b) = Bed::new("caches on a full disk", 4 << 20) else { return };
    let here = Store::init(b.at("here")).unwrap();
    b.write("f", 30_000, 1);
    for name in ["t", "u", "v"] {
        b.capture(&here, name);
        here.remove(name).unwrap();
    }
    assert_eq!(here.blobs().walk("cache").unwrap().len(), 3);
    for pages in [0, 1] {
        b.put();
        b.fill(pages);
        (0..2).for_each(|_| drop(b.open().collect(&at_once(), &task()).unwrap()));
        check(&b.open());
        assert_eq!(
            (b.open().blobs().walk("packs").unwrap(), b.open().blobs().walk("cache").unwrap()),
            (vec![], vec![])
        );
        b.make_room();
    }
}

#[test]
fn a_large_capture_and_a_full_target() {
    let Some(b) = Bed::new("a large capture on a full disk", 8 << 20) else { return };
    let tree = b.at("tree");
    small_tree(&tree);
    let store = Store::init(b.place()).unwrap();
    b.capture(&store, "t");
    std::fs::write(tree.join("much"), noise(20 << 20, 1)).unwrap();
    let full = store.capture(&tree, "t", &b.options(), &task()).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Limit, "{full:?}");
    check(&store);
    assert_eq!(store.image("t").unwrap().release().unwrap().generation, 1);
    assert_eq!(store.blobs().list("tmp").unwrap(), [""; 0]);
    std::fs::write(tree.join("much"), "little").unwrap();
    assert!(store.capture(&tree, "t", &b.options(), &task()).unwrap().changed);
    // A full target.
    std::fs::write(tree.join("much"), noise(20 << 20, 1)).unwrap();
    let roomy = Store::init(b.at("roomy")).unwrap();
    b.capture(&roomy, "t");
    let out = b.disk.path().join("out");
    let full = roomy.image("t").unwrap().extract(out, &ExtractOptions::default(), &task()).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Limit, "{full:?}");
}

#[test]
fn packs_that_were_stored_in_vain_go_unless_another_is_at_work() {
    let Some(b) = Bed::new("packs that were stored in vain", 90 << 20) else { return };
    b.write("little", 200_000, 1);
    let store = Store::init(b.place()).unwrap();
    b.capture(&store, "t");
    let packs = || store.blobs().walk("packs").unwrap().len();
    // One pack is finished before the disk is full.
    b.write("much", 120 << 20, 2);
    for held in [false, true] {
        let writer = held.then(|| store.session("another writer").unwrap());
        let full = store.capture(b.at("tree"), "t", &b.options(), &task()).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Limit, "{full:?}");
        // Who is at work may count on it.
        assert_eq!(packs(), if held { 2 } else { 1 });
        check(&store);
        drop(writer);
    }
    store.collect(&at_once(), &task()).unwrap();
    assert_eq!(packs(), 1);
}
