//! A flipped bit, a missing file, a full disk: found, named, with the images it touches; and healed by a capture.
#![allow(missing_docs)]

mod common;

use common::{is_root, noise, run, small_tree};
use libcv::ErrorKind;
use libcv::capture::CaptureOptions;
use libcv::job::{CancelToken, Task};
use libcv::store::Store;
use libcv::tree::extract::ExtractOptions;
use std::path::{Path, PathBuf};

fn options(dir: &Path) -> CaptureOptions {
    CaptureOptions { exact: true, state: Some(dir.join("state")), ..CaptureOptions::default() }
}

struct Sample {
    dir: tempfile::TempDir,
    image: String,
}

fn sample() -> Sample {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    small_tree(&tree);
    let store = Store::init(dir.path().join("store")).unwrap();
    let done = store.capture(&tree, "t", &options(dir.path()), &Task::quiet()).unwrap();
    store.tag("t", "t", "stable").unwrap();
    let image = done.image.to_string();
    Sample { dir, image }
}

impl Sample {
    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn objects(&self, kind: &str) -> Vec<PathBuf> {
        fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
            for e in std::fs::read_dir(dir).unwrap() {
                let p = e.unwrap().path();
                if p.is_dir() { walk(&p, out) } else { out.push(p) }
            }
        }
        let mut out = Vec::new();
        walk(&self.store().join(kind), &mut out);
        out.retain(|p| p.file_name().is_some_and(|n| n != "HEAD" && n != "CURRENT"));
        assert!(!out.is_empty(), "{kind}");
        out
    }

    fn check(&self) -> libcv::store::check::Report {
        Store::open(self.store()).unwrap().check(true, &Task::quiet()).unwrap()
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_each_kind_of_object_is_found_with_the_image_it_touches() {
    for kind in ["packs", "idx", "images", "refs", "tags"] {
        for step in [3, 5, 7, 11] {
            let s = sample();
            assert!(s.check().faults.is_empty());
            let object = &s.objects(kind)[0];
            let size = std::fs::metadata(object).unwrap().len() as usize;
            flip(object, size * step / 12);
            let report = s.check();
            assert!(!report.faults.is_empty(), "{kind} at {step}/12 of {size}");
            let e = report.ok().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Integrity);
            if kind == "packs" || kind == "images" {
                assert!(e.facts()["images"].to_string().contains(&s.image), "{kind} {step}: {e:?}");
            }
        }
    }
}

#[test]
fn damage_is_never_extracted() {
    let s = sample();
    let pack = &s.objects("packs")[0];
    flip(pack, 4000);
    let store = Store::open(s.store()).unwrap();
    let done = store.image("t").unwrap().extract(s.dir.path().join("out"), &ExtractOptions::default(), &Task::quiet());
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Integrity);
    // The part that was made is cleared by the next run into the same directory.
    assert!(s.dir.path().join("out/.libcv-extracting").exists());
}

#[test]
fn a_lost_pack_is_healed_by_the_next_capture() {
    let s = sample();
    for p in s.objects("packs") {
        std::fs::remove_file(p).unwrap();
    }
    for p in s.objects("idx") {
        std::fs::remove_file(p).unwrap();
    }
    assert!(!s.check().faults.is_empty());
    let store = Store::open(s.store()).unwrap();
    let tree = s.dir.path().join("tree");
    let again = store.capture(&tree, "t", &options(s.dir.path()), &Task::quiet()).unwrap();
    assert!(again.read == again.entries && again.image.to_string() == s.image);
    assert_eq!(s.check().faults, []);
}

#[test]
fn a_lost_index_is_rebuilt_from_the_packs() {
    let s = sample();
    std::fs::remove_dir_all(s.store().join("idx")).unwrap();
    let store = Store::open(s.store()).unwrap();
    store
        .image("t:stable")
        .unwrap()
        .extract(s.dir.path().join("out"), &ExtractOptions::default(), &Task::quiet())
        .unwrap();
    let tree = s.dir.path().join("tree");
    std::fs::write(tree.join("new"), "new").unwrap();
    let stored = store.capture(&tree, "t", &options(s.dir.path()), &Task::quiet()).unwrap().stored_bytes;
    assert!(stored < 100_000, "{stored}");
    assert_eq!(s.check().faults, []);
}

#[test]
fn a_full_disk_is_a_limit_and_leaves_the_store_clean() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mnt, tree) = (dir.path().join("mnt"), dir.path().join("tree"));
    std::fs::create_dir(&mnt).unwrap();
    std::fs::create_dir(&tree).unwrap();
    small_tree(&tree);
    run("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs", mnt.to_str().unwrap()]);
    let outcome = std::panic::catch_unwind(|| {
        let store = Store::init(mnt.join("store")).unwrap();
        store.capture(&tree, "t", &options(dir.path()), &Task::quiet()).unwrap();
        std::fs::write(tree.join("much"), noise(20 << 20, 1)).unwrap();
        let full = store.capture(&tree, "t", &options(dir.path()), &Task::quiet()).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Limit, "{full:?}");
        assert!(store.check(true, &Task::quiet()).unwrap().faults.is_empty());
        assert_eq!(store.image("t").unwrap().release().unwrap().generation, 1);
        assert_eq!(std::fs::read_dir(mnt.join("store/tmp")).unwrap().count(), 0);
        std::fs::write(tree.join("much"), "little").unwrap();
        assert!(store.capture(&tree, "t", &options(dir.path()), &Task::quiet()).unwrap().changed);
        // A full target.
        std::fs::write(tree.join("much"), noise(20 << 20, 1)).unwrap();
        let roomy = Store::init(dir.path().join("roomy")).unwrap();
        roomy.capture(&tree, "t", &options(dir.path()), &Task::quiet()).unwrap();
        let out = mnt.join("out");
        let full = roomy.image("t").unwrap().extract(out, &ExtractOptions::default(), &Task::quiet()).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Limit, "{full:?}");
    });
    run("umount", &[mnt.to_str().unwrap()]);
    outcome.unwrap();
}

#[test]
fn a_cancelled_capture_leaves_nothing_behind() {
    let s = sample();
    let tree = s.dir.path().join("tree");
    std::fs::write(tree.join("much"), noise(64 << 20, 2)).unwrap();
    let cancel = CancelToken::default();
    let inner = cancel.clone();
    let listener = Box::new(move |e: &libcv::event::Event| {
        if e.stage == Some("read") {
            inner.cancel();
        }
    });
    let store = Store::open(s.store()).unwrap();
    let done = store.capture(&tree, "t", &options(s.dir.path()), &Task::new(cancel, Some(listener)));
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(s.check().faults, []);
    assert_eq!(std::fs::read_dir(s.store().join("tmp")).unwrap().count(), 0);
}

#[test]
fn two_writers_of_one_name_both_succeed() {
    let s = sample();
    let dirs: Vec<PathBuf> = (0..4).map(|i| s.dir.path().join(format!("tree{i}"))).collect();
    for (i, d) in dirs.iter().enumerate() {
        std::fs::create_dir(d).unwrap();
        small_tree(d);
        std::fs::write(d.join("own"), noise(2 << 20, i as u64 + 50)).unwrap();
    }
    std::thread::scope(|scope| {
        for d in &dirs {
            let (store, options) = (s.store(), options(s.dir.path()));
            scope.spawn(move || Store::open(store).unwrap().capture(d, "t", &options, &Task::quiet()).unwrap());
        }
    });
    let store = Store::open(s.store()).unwrap();
    assert_eq!(store.log("t").unwrap().len(), 5);
    assert_eq!(s.check().faults, []);
    let expect = CaptureOptions { expect_parent: Some(1), ..options(s.dir.path()) };
    std::fs::write(dirs[0].join("own"), "other").unwrap();
    let late = store.capture(&dirs[0], "t", &expect, &Task::quiet()).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
}
