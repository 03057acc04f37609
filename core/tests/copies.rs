//! Copies of a store: what goes over, what does not, and how one heals another.
#![allow(missing_docs)]

mod common;

use common::noise;
use libcv::ErrorKind;
use libcv::capture::CaptureOptions;
use libcv::image::Hash;
use libcv::job::Task;
use libcv::store::collect::CollectOptions;
use libcv::store::{ChunkWriter, Claim, Repaired, Store, SyncOptions, Synced};
use libcv::tree::extract::ExtractOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Bed {
    dir: tempfile::TempDir,
    here: Store,
    there: Store,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tree")).unwrap();
        let [here, there] = ["here", "there"].map(|s| Store::init(dir.path().join(s)).unwrap());
        Self { dir, here, there }
    }

    fn write(&self, name: &str, bytes: usize, seed: u64) {
        std::fs::write(self.dir.path().join("tree").join(name), noise(bytes, seed)).unwrap();
    }

    fn capture(&self, store: &Store, name: &str) -> u64 {
        let state = Some(self.dir.path().join("state"));
        let options = CaptureOptions { exact: true, state, ..CaptureOptions::default() };
        store.capture(self.dir.path().join("tree"), name, &options, &Task::quiet()).unwrap().generation
    }

    fn sync(&self, names: &[&str]) -> libcv::Result<Synced> {
        let names = names.iter().map(ToString::to_string).collect();
        self.here.sync(&self.there, &SyncOptions { names, ..SyncOptions::default() }, &Task::quiet())
    }

    fn repair(&self) -> Repaired {
        let store = Store::open_to_repair(self.dir.path().join("here")).unwrap();
        store.repair(&self.there, &Task::quiet()).unwrap()
    }

    fn objects(&self, kind: &str) -> Vec<PathBuf> {
        fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
            for e in std::fs::read_dir(dir).unwrap() {
                let p = e.unwrap().path();
                if p.is_dir() { walk(&p, out) } else { out.push(p) }
            }
        }
        let mut out = Vec::new();
        walk(&self.dir.path().join("here").join(kind), &mut out);
        out.sort();
        out
    }
}

fn check(store: &Store) {
    assert_eq!(store.check(true, &Task::quiet()).unwrap().faults, []);
}

fn extract(store: &Store, reference: &str) {
    let out = tempfile::tempdir().unwrap();
    let options = ExtractOptions { verify: true, ..ExtractOptions::default() };
    store.image(reference).unwrap().extract(out.path().join("o"), &options, &Task::quiet()).unwrap();
}

#[test]
fn a_copy_takes_what_is_new_and_nothing_twice() {
    let b = Bed::new();
    b.write("a", 900_000, 1);
    b.capture(&b.here, "t");
    b.here.tag("t", "t", "stable").unwrap();
    b.capture(&b.here, "u");
    let first = b.sync(&["t"]).unwrap();
    assert_eq!(
        (first.generations.as_slice(), first.tags.as_slice()),
        (["t@1".to_owned()].as_slice(), ["t:stable".to_owned()].as_slice())
    );
    assert!(first.stored_bytes > 900_000, "{first:?}");
    check(&b.there);
    extract(&b.there, "t:stable");
    assert_eq!(b.there.image("u").map(drop).unwrap_err().kind(), ErrorKind::NotFound);
    // The same image under another name: no chunk.
    let second = b.sync(&[]).unwrap();
    assert_eq!((second.generations.as_slice(), second.chunks), (["u@1".to_owned()].as_slice(), 0));
    b.write("b", 500_000, 2);
    b.capture(&b.here, "t");
    let third = b.sync(&[]).unwrap();
    assert!(third.stored_bytes < 510_000 && third.read_bytes < 510_000, "{third:?}");
    let idle = b.sync(&[]).unwrap();
    assert_eq!((idle.images, idle.chunks, idle.generations.len(), idle.tags.len()), (0, 0, 0, 0));
    check(&b.there);
    extract(&b.there, "t@2");
    assert_eq!(b.here.refs().release("t", 2).unwrap(), b.there.refs().release("t", 2).unwrap());
    assert_eq!(b.sync(&["v"]).unwrap_err().kind(), ErrorKind::NotFound);
    let same = b.here.sync(&b.here, &SyncOptions::default(), &Task::quiet());
    assert_eq!(same.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_copy_only_goes_forward() {
    let b = Bed::new();
    b.write("a", 10_000, 1);
    b.capture(&b.here, "t");
    b.sync(&[]).unwrap();
    b.write("a", 10_000, 2);
    b.capture(&b.there, "t");
    // Ahead, and then apart.
    assert_eq!(b.sync(&[]).unwrap_err().kind(), ErrorKind::Conflict);
    b.write("a", 10_000, 3);
    b.capture(&b.here, "t");
    assert_eq!(b.sync(&[]).unwrap_err().kind(), ErrorKind::Conflict);
    check(&b.there);
    assert_eq!(b.there.log("t").unwrap().len(), 2);
}

#[test]
fn what_was_removed_does_not_go_over_and_removal_does() {
    let b = Bed::new();
    for n in 1..=4 {
        b.write("a", 100_000, n);
        b.capture(&b.here, "t");
    }
    let collect = CollectOptions { keep_last: Some(2), grace: Duration::ZERO, ..CollectOptions::default() };
    (0..2).for_each(|_| drop(b.here.collect(&collect, &Task::quiet()).unwrap()));
    let done = b.sync(&[]).unwrap();
    assert_eq!(done.images, 2);
    check(&b.there);
    let left: Vec<u64> = b.there.log("t").unwrap().iter().map(|l| l.release.generation).collect();
    assert_eq!(left, [4, 3]);
    b.here.remove("t").unwrap();
    b.sync(&[]).unwrap();
    assert_eq!(b.there.image("t").map(drop).unwrap_err().kind(), ErrorKind::NotFound);
    check(&b.there);
}

#[test]
fn a_sync_that_was_cut_off_goes_on_where_it_was() {
    let b = Bed::new();
    // Noise does not compress: more than one pack.
    (0..4).for_each(|n| b.write(&format!("f{n}"), 20 << 20, n));
    b.capture(&b.here, "t");
    b.sync(&[]).unwrap();
    // A kill before the last pack leaves the others, and nothing that names them.
    let there = b.dir.path().join("there");
    for dir in ["idx", "images", "refs"] {
        std::fs::remove_dir_all(there.join(dir)).unwrap();
    }
    let packs =
        || std::fs::read_dir(there.join("packs")).unwrap().flat_map(|d| std::fs::read_dir(d.unwrap().path()).unwrap());
    assert!(packs().count() >= 2);
    std::fs::remove_file(packs().next().unwrap().unwrap().path()).unwrap();
    let rest = b.sync(&[]).unwrap();
    assert!(rest.stored_bytes > 10 << 20 && rest.stored_bytes < 70 << 20, "{rest:?}");
    check(&b.there);
}

/// One bit in each kind of object, at 500 places: found, told with the image that it touches, healed from the copy.
#[test]
fn a_flipped_bit_anywhere_is_healed_from_a_copy() {
    let b = Bed::new();
    (0..30).for_each(|n| b.write(&format!("f{n}"), 3_000 + n as usize, n));
    b.capture(&b.here, "t");
    b.write("own", 4_000, 99);
    b.capture(&b.here, "t");
    b.here.tag("t@1", "t", "stable").unwrap();
    b.sync(&[]).unwrap();
    let before: Vec<(PathBuf, Vec<u8>)> =
        b.objects("").into_iter().map(|p| (p.clone(), std::fs::read(p).unwrap())).collect();
    let kinds = ["packs", "idx", "images", "refs", "tags", "store.json"];
    let all: Vec<PathBuf> = kinds
        .iter()
        .flat_map(|k| {
            let path = b.dir.path().join("here").join(k);
            if path.is_file() { vec![path] } else { b.objects(k) }
        })
        .collect();
    let places = if std::env::var_os("FULL").is_some_and(|f| f == "1") { 500 } else { 24 };
    for object in &all {
        let whole = std::fs::read(object).unwrap();
        let bits = whole.len() * 8;
        let step = (bits / places.min(bits)).max(1);
        for bit in (0..bits).step_by(step) {
            let mut bad = whole.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(object, &bad).unwrap();
            let what = || format!("{} bit {bit}", object.display());
            if object.ends_with("store.json") {
                assert!(Store::open(b.dir.path().join("here")).is_err(), "{}", what());
            } else {
                let report = Store::open(b.dir.path().join("here")).unwrap().check(true, &Task::quiet()).unwrap();
                assert!(!report.faults.is_empty(), "{}", what());
                if object.components().any(|c| c.as_os_str() == "images") {
                    let id = object.file_stem().unwrap().to_string_lossy().into_owned();
                    assert!(report.faults.iter().any(|f| f.images.contains(&id)), "{}: {:?}", what(), report.faults);
                }
            }
            let done = b.repair();
            assert_eq!(done.faults, [], "{}: {done:?}", what());
            let store = Store::open(b.dir.path().join("here")).unwrap();
            check(&store);
            assert_eq!(store.log("t").unwrap().len(), 2, "{}", what());
            assert_eq!(store.refs().tag("t", "stable").unwrap(), Some(1));
            for g in 1..=2 {
                assert_eq!(store.refs().release("t", g).unwrap(), b.there.refs().release("t", g).unwrap());
            }
            // As it was, for the next one.
            std::fs::remove_dir_all(b.dir.path().join("here")).unwrap();
            for (path, bytes) in &before {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
        }
    }
}

#[test]
fn a_generation_that_is_lost_everywhere_is_never_made_again() {
    let b = Bed::new();
    for n in 1..=3 {
        b.write("f", 30_000, n);
        b.capture(&b.here, "t");
        if n == 2 {
            b.sync(&[]).unwrap();
        }
    }
    std::fs::remove_file(b.dir.path().join("here/refs/t/0000000000000003")).unwrap();
    let done = b.repair();
    assert!(done.faults.iter().any(|f| f.object == "refs/t/0000000000000003"), "{done:?}");
    let store = Store::open(b.dir.path().join("here")).unwrap();
    assert_eq!(store.image("t").map(drop).unwrap_err().kind(), ErrorKind::Integrity);
    store.image("t@2").unwrap();
    b.write("f", 30_000, 4);
    assert_eq!(b.capture(&store, "t"), 4);
}

#[test]
fn a_name_of_which_nothing_is_left_is_healed() {
    let b = Bed::new();
    b.write("f", 30_000, 1);
    b.capture(&b.here, "t");
    b.capture(&b.here, "other");
    b.sync(&[]).unwrap();
    let here = b.dir.path().join("here");
    for head in [None, Some("x")] {
        std::fs::remove_dir_all(here.join("refs/t")).unwrap();
        if let Some(text) = head {
            std::fs::create_dir(here.join("refs/t")).unwrap();
            std::fs::write(here.join("refs/t/HEAD"), text).unwrap();
            let store = Store::open(&here).unwrap();
            // Nobody knows which numbers were given.
            assert_eq!(store.image("t").map(drop).unwrap_err().kind(), ErrorKind::Integrity);
            let collected = store.collect(&CollectOptions::default(), &Task::quiet());
            assert_eq!(collected.unwrap_err().kind(), ErrorKind::Integrity);
            let tree = b.dir.path().join("tree");
            let refused = store.capture(tree, "t", &CaptureOptions::default(), &Task::quiet());
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Integrity);
        }
        let done = b.repair();
        assert_eq!(done.faults, [], "{head:?}: {done:?}");
        extract(&Store::open(&here).unwrap(), "t@1");
        check(&Store::open(&here).unwrap());
    }
}

#[test]
fn a_copy_that_was_killed_before_it_named_its_segments_is_finished() {
    let b = Bed::new();
    b.write("f", 30_000, 1);
    b.capture(&b.here, "t");
    b.sync(&[]).unwrap();
    let there = b.dir.path().join("there");
    for dir in ["refs/t", "images", "idx/CURRENT"] {
        let path = there.join(dir);
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    b.sync(&[]).unwrap();
    check(&Store::open(&there).unwrap());
}

#[test]
fn a_store_that_lost_its_uuid_does_not_take_that_of_its_origin() {
    let b = Bed::new();
    b.write("f", 30_000, 1);
    b.capture(&b.here, "t");
    b.sync(&[]).unwrap();
    let there = b.dir.path().join("there");
    std::fs::remove_file(there.join("store.json")).unwrap();
    Store::open_to_repair(&there).unwrap().repair(&b.here, &Task::quiet()).unwrap();
    let again = Store::open(&there).unwrap();
    assert_ne!(again.uuid(), b.here.uuid());
    b.write("f", 30_000, 2);
    b.capture(&b.here, "t");
    b.here.sync(&again, &SyncOptions::default(), &Task::quiet()).unwrap();
    check(&again);
}

#[test]
fn what_is_lost_is_healed_from_a_copy() {
    let b = Bed::new();
    (0..30).for_each(|n| b.write(&format!("f{n}"), 30_000, n));
    b.capture(&b.here, "t");
    b.write("own", 40_000, 99);
    b.capture(&b.here, "t");
    b.sync(&[]).unwrap();
    for kind in ["packs", "idx", "images", "refs/t"] {
        for object in b.objects(kind) {
            std::fs::remove_file(object).unwrap();
        }
        std::fs::write(b.dir.path().join("here/refs/t/HEAD"), common::head("t", 2)).unwrap();
        let done = b.repair();
        assert_eq!(done.faults, [], "{kind}: {done:?}");
        let store = Store::open(b.dir.path().join("here")).unwrap();
        check(&store);
        extract(&store, "t@1");
        extract(&store, "t@2");
    }
    // What the copy has not either is told.
    b.write("new", 50_000, 7);
    b.capture(&b.here, "t");
    for object in b.objects("packs") {
        std::fs::remove_file(object).unwrap();
    }
    let done = b.repair();
    let lost = b.here.image("t@3").unwrap().id().to_string();
    assert!(!done.faults.is_empty() && done.faults.iter().all(|f| f.images == [lost.clone()]), "{done:?}");
    assert_eq!(done.ok().unwrap_err().kind(), ErrorKind::Integrity);
    extract(&Store::open(b.dir.path().join("here")).unwrap(), "t@2");
}

#[test]
fn another_history_heals_content_and_no_name() {
    let b = Bed::new();
    b.write("a", 300_000, 1);
    b.capture(&b.here, "t");
    b.capture(&b.there, "t");
    std::fs::write(b.dir.path().join("here/refs/t/0000000000000001"), "x").unwrap();
    for object in b.objects("packs") {
        std::fs::remove_file(object).unwrap();
    }
    let done = b.repair();
    assert!(done.chunks > 0);
    assert!(done.faults.iter().all(|f| f.object.starts_with("refs/")), "{done:?}");
    assert!(!done.faults.is_empty());
}

/// Two writers at once store the same byte, each in a block that is a million times as long.
#[test]
fn a_byte_that_lies_in_two_large_blocks_is_read_copied_and_repaired() {
    let b = Bed::new();
    let sessions = [b.here.session("first").unwrap(), b.here.session("second").unwrap()];
    sessions.iter().for_each(|s| s.prepare().unwrap());
    for (n, session) in sessions.iter().enumerate() {
        let mut writer = ChunkWriter::new(session, 3).unwrap();
        let mut store = |bytes: &[u8]| {
            let hash = Hash::of(bytes);
            assert_eq!(session.claim(&hash).unwrap(), Claim::Store);
            writer.add(hash, bytes).unwrap();
        };
        (0..20).for_each(|k| store(&noise(60_000, 100 * n as u64 + k)));
        store(b"1");
        (20..60).for_each(|k| store(&noise(60_000, 100 * n as u64 + k)));
        writer.close().unwrap();
        session.finish().unwrap();
    }
    drop(sessions);
    // What is known already is not stored again, where little has to be read in vain for it.
    std::fs::write(b.dir.path().join("tree/one"), "1").unwrap();
    b.write("big", 40 << 20, 7);
    b.capture(&b.here, "t");
    extract(&b.here, "t");
    b.sync(&["t"]).unwrap();
    check(&b.there);
    extract(&b.there, "t");
    // And back again, when it is lost here.
    b.objects("packs").iter().for_each(|pack| std::fs::remove_file(pack).unwrap());
    b.repair();
    extract(&Store::open(b.dir.path().join("here")).unwrap(), "t");
}
