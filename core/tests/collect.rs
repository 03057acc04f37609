//! Collection: what is needed stays, what is not goes, whoever writes meanwhile.
#![allow(missing_docs)]

mod common;

use common::noise;
use libcv::ErrorKind;
use libcv::capture::CaptureOptions;
use libcv::image::{Hash, Manifest};
use libcv::job::Task;
use libcv::store::collect::{CollectOptions, Collected};
use libcv::store::content::with_pool;
use libcv::store::{ChunkSource, Image, Reason, Session, Store};
use libcv::tree::extract::ExtractOptions;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

/// What is found may go at once.
fn now() -> CollectOptions {
    CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() }
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        std::fs::create_dir(dir.path().join("tree")).unwrap();
        Self { dir, store }
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn write(&self, name: &str, bytes: usize, seed: u64) {
        std::fs::write(self.tree().join(name), noise(bytes, seed)).unwrap();
    }

    fn capture(&self, name: &str) -> u64 {
        self.capture_by(name, 0)
    }

    /// One thread puts chunks into blocks in the order of their paths.
    fn capture_by(&self, name: &str, threads: usize) -> u64 {
        let state = Some(self.dir.path().join("state"));
        let options = CaptureOptions { exact: true, state, threads, ..CaptureOptions::default() };
        self.store.capture(self.tree(), name, &options, &Task::quiet()).unwrap().generation
    }

    fn collect(&self, options: &CollectOptions) -> Collected {
        self.store.collect(options, &Task::quiet()).unwrap()
    }

    /// Finds what nobody needs, and deletes it.
    fn collect_twice(&self) -> Collected {
        self.collect(&now());
        self.collect(&now())
    }

    fn packs(&self) -> usize {
        objects(&self.dir.path().join("store/packs")).len()
    }

    fn check(&self) {
        let store = Store::open(self.dir.path().join("store")).unwrap();
        assert_eq!(store.check(true, &Task::quiet()).unwrap().faults, []);
    }

    fn extract(&self, reference: &str) {
        let out = tempfile::tempdir_in(self.dir.path()).unwrap();
        let options = ExtractOptions { verify: true, ..ExtractOptions::default() };
        self.store.image(reference).unwrap().extract(out.path().join("o"), &options, &Task::quiet()).unwrap();
    }
}

fn objects(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    for e in std::fs::read_dir(dir).into_iter().flatten() {
        let path = e.unwrap().path();
        if path.is_dir() {
            out.extend(objects(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            out.insert(path, bytes);
        }
    }
    out
}

#[test]
fn what_was_removed_goes_after_the_grace_and_not_before() {
    let b = Bed::new();
    b.write("common", 300_000, 1);
    b.capture("kept");
    b.write("own", 500_000, 2);
    b.capture("gone");
    assert_eq!(b.collect(&now()).found, 0, "everything is needed");
    b.store.remove("gone").unwrap();
    let found = b.collect(&CollectOptions::default());
    assert_eq!((found.removed.as_slice(), found.deleted), (["gone@1".to_owned()].as_slice(), 0));
    assert!(found.found == 2 && found.found_bytes > 500_000, "{found:?}");
    // A week has not passed.
    let waits = b.collect(&CollectOptions::default());
    assert_eq!((waits.found, waits.deleted, waits.waiting), (0, 0, 2));
    b.check();
    let done = b.collect(&now());
    assert_eq!((done.deleted, done.waiting, b.packs()), (2, 0, 1), "{done:?}");
    assert!(done.deleted_bytes > 500_000);
    b.check();
    b.extract("kept");
    assert_eq!(b.store.image("gone").map(drop).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(objects(&b.dir.path().join("store/trash")), BTreeMap::new());
    assert_eq!(objects(&b.dir.path().join("store/leases")), BTreeMap::new());
}

#[test]
fn the_last_generations_and_tagged_ones_are_kept() {
    let b = Bed::new();
    for n in 1..=6 {
        b.write("f", 100_000, n);
        assert_eq!(b.capture("t"), n);
    }
    b.store.tag("t@2", "t", "stable").unwrap();
    let keep = CollectOptions { keep_last: Some(2), ..now() };
    let dry = b.collect(&CollectOptions { dry_run: true, ..keep.clone() });
    assert_eq!(dry.removed, ["t@4", "t@3", "t@1"]);
    assert!(dry.dry_run && dry.images == 3 && dry.found > 0);
    assert_eq!(b.store.log("t").unwrap().len(), 6);
    let found = b.collect(&keep);
    assert_eq!((found.removed, found.found), (dry.removed, dry.found));
    let left: Vec<u64> = b.store.log("t").unwrap().iter().map(|l| l.release.generation).collect();
    assert_eq!(left, [6, 5, 2]);
    b.collect(&keep);
    b.check();
    for reference in ["t@2", "t@5", "t:stable", "t"] {
        b.extract(reference);
    }
    // Rolled back to: what is newest is kept, whatever its number was.
    b.store.rollback("t", "t:stable").unwrap();
    b.store.remove("t:stable").unwrap();
    let keep = CollectOptions { keep_last: Some(1), ..now() };
    b.collect(&keep);
    b.collect(&keep);
    b.check();
    b.extract("t");
    let none = b.store.collect(&CollectOptions { keep_last: Some(0), ..now() }, &Task::quiet());
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_dry_run_writes_nothing() {
    let b = Bed::new();
    b.write("f", 100_000, 1);
    b.capture("t");
    b.store.remove("t").unwrap();
    let before = objects(b.dir.path());
    let dry = CollectOptions { dry_run: true, ..now() };
    assert!(b.collect(&dry).found > 0);
    assert_eq!(objects(b.dir.path()), before);
    b.collect(&now());
    let before = objects(b.dir.path());
    let found = b.collect(&dry);
    assert!(found.deleted > 0 && found.deleted_bytes > 0, "{found:?}");
    assert_eq!(objects(b.dir.path()), before);
}

/// An image of the same tree as `like`, which no capture would make.
fn publish(session: &Session, like: &Manifest, name: &str) -> libcv::Result<Image> {
    let manifest = Manifest { parent: Some(Hash::of(name.as_bytes())), ..like.clone() };
    session.publish(name, &manifest, Reason::Import, None)
}

#[test]
fn a_writer_that_was_there_before_holds_up_what_it_may_count_on() {
    let b = Bed::new();
    b.write("f", 400_000, 1);
    b.capture("t");
    let like = b.store.image("t").unwrap().manifest().clone();
    let session = b.store.session("a slow writer").unwrap();
    session.prepare().unwrap();
    b.store.remove("t").unwrap();
    assert!(b.collect(&now()).found > 0);
    let held = b.collect(&now());
    assert_eq!(held.deleted, 0);
    assert!(held.held_by[0].contains("a slow writer"), "{held:?}");
    // It counts on all of what is about to go.
    assert!(session.holds(&like.pages[0].hash).unwrap());
    session.finish().unwrap();
    publish(&session, &like, "other").unwrap();
    drop(session);
    // The manifest of `t` goes, what it needed stays.
    assert_eq!(b.collect(&now()).deleted, 1);
    b.check();
    b.extract("other");
}

/// A writer at work that has stored all chunks of an image, with the image that it will publish.
fn a_writer_at_work(b: &Bed) -> (Session, Manifest) {
    let other = Bed::new();
    other.write("f", 200_000, 9);
    other.capture("t");
    let manifest = other.store.image("t").unwrap().manifest().clone();
    let session = b.store.session("a capture").unwrap();
    let page = &manifest.pages[0];
    let page = other.store.chunk(&page.hash, page.bytes).unwrap();
    with_pool(&session, 3, 1, |pool| pool.put(&page).and_then(|_| pool.put(&noise(200_000, 9)))).unwrap();
    session.finish().unwrap();
    (session, manifest)
}

#[test]
fn what_was_found_while_it_was_written_goes_with_its_image_and_not_before() {
    let b = Bed::new();
    let (session, manifest) = a_writer_at_work(&b);
    // Nobody needs the pack yet.
    assert_eq!(b.collect(&CollectOptions::default()).found, 1);
    publish(&session, &manifest, "t").unwrap();
    drop(session);
    std::thread::sleep(Duration::from_millis(1500));
    b.write("f", 100_000, 1);
    b.capture("t");
    let keep = CollectOptions { keep_last: Some(1), ..CollectOptions::default() };
    let found = b.collect(&keep);
    assert_eq!((found.removed.as_slice(), found.found), (["t@1".to_owned()].as_slice(), 1), "the manifest");
    // Now the list with the pack is old enough, and that with the manifest is not.
    b.collect(&CollectOptions { grace: Duration::from_secs(1), ..keep });
    b.check();
    for _ in 0..3 {
        b.collect(&now());
        b.check();
    }
    assert_eq!(b.packs(), 1);
    b.extract("t");
}

#[test]
fn what_was_needed_until_now_has_its_grace_whatever_was_found_before() {
    let b = Bed::new();
    let (session, manifest) = a_writer_at_work(&b);
    assert_eq!(b.collect(&now()).found, 1);
    publish(&session, &manifest, "t").unwrap();
    drop(session);
    let reader = b.store.image("t").unwrap();
    b.write("f", 100_000, 1);
    b.capture("t");
    let done = b.collect(&CollectOptions { keep_last: Some(1), ..now() });
    assert_eq!((done.removed.len(), done.deleted), (1, 0), "{done:?}");
    let options = ExtractOptions { verify: true, ..ExtractOptions::default() };
    reader.extract(b.dir.path().join("o"), &options, &Task::quiet()).unwrap();
    (0..3).for_each(|_| _ = b.collect(&now()));
    assert_eq!(b.packs(), 1);
}

#[test]
fn two_collections_at_once_are_one_too_many() {
    let b = Bed::new();
    b.write("f", 400_000, 1);
    b.capture("t");
    b.store.remove("t").unwrap();
    b.collect(&now());
    let other = b.store.session("collection").unwrap();
    let refused = b.store.collect(&now(), &Task::quiet()).unwrap_err();
    assert!(refused.kind() == ErrorKind::Busy && refused.to_string().contains("is being collected by"), "{refused}");
    assert_eq!(b.packs(), 1);
    // One that only looks is no trouble.
    b.collect(&CollectOptions { dry_run: true, ..now() });
    drop(other);
    assert_eq!(b.collect(&now()).deleted, 2);
    b.check();
}

#[test]
fn a_writer_that_slept_through_a_collection_publishes_nothing() {
    let b = Bed::new();
    b.write("f", 400_000, 1);
    b.capture("t");
    let like = b.store.image("t").unwrap().manifest().clone();
    let session = b.store.session("a writer that sleeps").unwrap();
    with_pool(&session, 3, 1, |pool| pool.put(b"something new").map(drop)).unwrap();
    session.finish().unwrap();
    // After a week its lease counts no more.
    let leases = objects(&b.dir.path().join("store/leases"));
    assert_eq!(leases.len(), 1);
    std::fs::remove_file(leases.keys().next().unwrap()).unwrap();
    assert_eq!(publish(&session, &like, "other").map(drop).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(b.store.image("other").map(drop).unwrap_err().kind(), ErrorKind::NotFound);
    b.check();
}

#[test]
fn a_lease_of_a_process_that_has_ended_holds_up_nothing() {
    let b = Bed::new();
    b.write("f", 400_000, 1);
    b.capture("t");
    let session = b.store.session("a writer that is killed").unwrap();
    let leases = objects(&b.dir.path().join("store/leases"));
    let (path, bytes) = leases.iter().next().unwrap();
    drop(session);
    std::fs::write(path, common::lease_of_the_dead(bytes).unwrap()).unwrap();
    b.store.remove("t").unwrap();
    b.collect(&now());
    let done = b.collect(&now());
    assert!(done.deleted > 0, "{done:?}");
    assert_eq!(objects(&b.dir.path().join("store/leases")), BTreeMap::new());
}

#[test]
fn what_is_stored_again_under_the_name_of_a_fossil_stays() {
    let b = Bed::new();
    b.write("f", 400_000, 1);
    b.capture("t");
    b.store.remove("t").unwrap();
    b.collect(&now());
    let before = b.packs();
    // The same tree in a new store makes the same pack: so it does here, for what will go is not counted on.
    b.capture("u");
    assert_eq!(b.packs(), before);
    b.collect(&now());
    b.check();
    b.extract("u");
    b.collect_twice();
    b.check();
    b.extract("u");
}

#[test]
fn what_was_about_to_go_stays_when_somebody_points_to_it() {
    let b = Bed::new();
    b.write("f", 100_000, 1);
    b.capture("t");
    let id = b.store.image("t").unwrap().id().to_string();
    b.write("f", 100_000, 2);
    b.capture("t");
    b.store.remove("t@1").unwrap();
    assert!(b.collect(&now()).found > 0);
    assert_eq!(b.store.rollback("t", &id).unwrap().generation, 3);
    b.store.tag("t", "t", "back").unwrap();
    b.collect_twice();
    b.check();
    b.extract("t:back");
}

#[test]
fn sparse_packs_are_stored_anew_and_images_stay_what_they_are() {
    let b = Bed::new();
    for n in 0..40 {
        b.write(&format!("f{n}"), 100_000, n);
    }
    b.capture("big");
    for n in 5..40 {
        std::fs::remove_file(b.tree().join(format!("f{n}"))).unwrap();
    }
    b.capture("small");
    let id = b.store.image("small").unwrap().id();
    b.store.remove("big").unwrap();
    let found = b.collect(&now());
    assert!(found.repacked == 1 && found.repacked_bytes < 700_000, "{found:?}");
    let done = b.collect(&now());
    assert!(done.deleted_bytes > 3_900_000 && done.packs_bytes < 700_000, "{done:?}");
    b.check();
    assert_eq!(b.store.image("small").unwrap().id(), id);
    b.extract("small");
    // Nothing is left to do.
    let rest = b.collect_twice();
    assert_eq!((rest.found, rest.deleted, rest.repacked), (0, 0, 0));
}

#[test]
fn blocks_that_are_nearly_whole_stay_as_they_are_with_and_without_the_trailer() {
    for damaged in [false, true] {
        let b = Bed::new();
        for n in 0..120 {
            b.write(&format!("f{n:03}"), 100_000, n);
        }
        b.capture_by("big", 1);
        let pack = objects(&b.dir.path().join("store/packs")).into_keys().next().unwrap();
        for n in (3..6).chain(41..120) {
            std::fs::remove_file(b.tree().join(format!("f{n:03}"))).unwrap();
        }
        b.capture_by("small", 1);
        b.store.remove("big").unwrap();
        if damaged {
            let mut bytes = std::fs::read(&pack).unwrap();
            let at = bytes.len() - 300;
            bytes[at] ^= 1;
            std::fs::write(&pack, bytes).unwrap();
        }
        let found = b.collect(&now());
        // The first block is copied with the three that nobody needs; opened, they are left out.
        let most = if damaged { 3_900_000 } else { 4_200_000 };
        assert!(found.repacked == 1 && (most - 200_000..most).contains(&found.repacked_bytes), "{found:?}");
        b.collect(&now());
        b.check();
        b.extract("small");
        assert_eq!(b.collect_twice().repacked, 0);
    }
}

#[test]
fn many_small_packs_become_few() {
    let b = Bed::new();
    for n in 0..24 {
        b.write(&format!("f{n}"), 5_000, n);
        b.capture("t");
    }
    assert_eq!(b.packs(), 24);
    b.collect_twice();
    assert!(b.packs() <= 2, "{}", b.packs());
    assert!(objects(&b.dir.path().join("store/idx")).len() <= 3);
    b.check();
    for n in 1..=24 {
        b.store.image(&format!("t@{n}")).unwrap().rows().unwrap().for_each(|r| drop(r.unwrap()));
    }
    b.extract("t@7");
}

#[test]
fn where_needs_are_not_known_nothing_is_deleted() {
    for damage in ["images", "refs/t/0000000000000001"] {
        let b = Bed::new();
        b.write("f", 100_000, 1);
        b.capture("t");
        b.write("f", 100_000, 2);
        b.capture("t");
        b.store.remove("t@1").unwrap();
        b.store.refs().generations("t").unwrap();
        if damage == "images" {
            let id = b.store.image("t").unwrap().id();
            std::fs::write(b.dir.path().join(format!("store/images/{id}.cvm")), "x").unwrap();
        } else {
            std::fs::remove_file(b.dir.path().join("store").join(format!("{damage}.removed"))).unwrap();
            std::fs::remove_file(b.dir.path().join("store").join(damage)).unwrap();
        }
        let before = objects(&b.dir.path().join("store/packs"));
        for _ in 0..2 {
            let e = b.store.collect(&now(), &Task::quiet()).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Integrity, "{e:?}");
        }
        assert_eq!(objects(&b.dir.path().join("store/packs")), before);
    }
}

#[test]
fn an_index_that_is_lost_is_read_from_the_packs_and_written_again() {
    let b = Bed::new();
    b.write("f", 400_000, 1);
    b.capture("t");
    b.write("g", 400_000, 2);
    b.capture("t");
    let store = b.dir.path().join("store");
    for path in objects(&store.join("idx")).keys() {
        std::fs::remove_file(path).unwrap();
    }
    b.extract("t");
    let before = b.packs();
    b.write("h", 1_000, 3);
    b.capture("t");
    assert_eq!(b.packs(), before + 1, "what is there was not stored again");
    assert_eq!(objects(&store.join("idx")).len(), 3, "two segments and CURRENT");
    b.check();
}

#[derive(Clone, Debug)]
enum Step {
    Change(u8, u8),
    Capture(u8),
    Tag(u8, u8),
    Remove(u8),
    RemoveTag(u8),
    RollBack(u8),
    Collect(Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..12u8, any::<u8>()).prop_map(|(f, s)| Step::Change(f, s)),
        4 => (0..3u8).prop_map(Step::Capture),
        2 => (0..3u8, 0..4u8).prop_map(|(n, g)| Step::Tag(n, g)),
        1 => (0..3u8).prop_map(Step::Remove),
        1 => (0..3u8).prop_map(Step::RemoveTag),
        1 => (0..3u8).prop_map(Step::RollBack),
        3 => prop::option::of(1..3u64).prop_map(Step::Collect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is done in whatever order: the store is whole after each collection, every generation that is listed can
    /// be read, and after some more collections nothing is left that nobody needs.
    #[test]
    fn nothing_needed_is_lost_and_nothing_else_is_kept(steps in prop::collection::vec(step(), 1..40)) {
        let b = Bed::new();
        let name = |n: u8| format!("n{n}");
        for s in steps {
            match s {
                Step::Change(f, seed) => b.write(&format!("f{f}"), 20_000 + usize::from(seed), seed.into()),
                Step::Capture(n) => drop(b.capture(&name(n))),
                Step::Tag(n, back) => {
                    let log = b.store.log(&name(n)).unwrap_or_default();
                    if let Some(l) = log.iter().filter(|l| l.release.image.is_some()).nth(back.into()) {
                        let _ = b.store.tag(&format!("{}@{}", name(n), l.release.generation), &name(n), "t");
                    }
                }
                Step::Remove(n) => drop(b.store.remove(&name(n))),
                Step::RemoveTag(n) => drop(b.store.remove(&format!("{}:t", name(n)))),
                Step::RollBack(n) => drop(b.store.rollback(&name(n), &format!("{}:t", name(n)))),
                Step::Collect(keep_last) => {
                    b.collect(&CollectOptions { keep_last, ..now() });
                    b.check();
                }
            }
        }
        // What was stored again beside a fossil is seen to be there twice when the fossil is one no more.
        b.collect_twice();
        b.collect_twice();
        let rest = b.collect(&now());
        prop_assert_eq!((rest.found, rest.waiting, rest.deleted), (0, 0, 0));
        b.check();
        for n in b.store.images().unwrap() {
            b.extract(&n.name);
        }
        let report = b.store.check(false, &Task::quiet()).unwrap();
        prop_assert_eq!(report.unreferenced_packs, 0);
    }
}
