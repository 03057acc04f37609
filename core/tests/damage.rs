//! A flipped bit, a missing file: found, named, with the images it touches; and healed by a capture.
#![allow(missing_docs)]

mod common;

use common::{noise, small_tree};
use libcv::ErrorKind;
use libcv::capture::CaptureOptions;
use libcv::job::{CancelToken, Task};
use libcv::store::collect::CollectOptions;
use libcv::store::{Store, SyncOptions};
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
        self.look(true)
    }

    fn look(&self, read_data: bool) -> libcv::store::check::Report {
        Store::open(self.store()).unwrap().check(read_data, &Task::quiet()).unwrap()
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// Flips a bit, asks, and flips it back.
fn with_flipped<T>(path: &Path, bit: usize, ask: impl FnOnce() -> T) -> T {
    let whole = std::fs::read(path).unwrap();
    let mut bad = whole.clone();
    bad[bit / 8] ^= 1 << (bit % 8);
    std::fs::write(path, bad).unwrap();
    let answer = ask();
    std::fs::write(path, whole).unwrap();
    answer
}

#[test]
fn a_flipped_bit_in_each_kind_of_object_is_found_with_the_image_it_touches() {
    let s = sample();
    assert!(s.check().faults.is_empty());
    for kind in ["packs", "idx", "images", "refs", "tags"] {
        let object = &s.objects(kind)[0];
        let bits = std::fs::metadata(object).unwrap().len() as usize * 8;
        // Small objects at every seventh bit, which is each bit of some byte; of large ones the ends and some between.
        let step = if bits < 10_000 { 7 } else { bits / 100 };
        let ends = (0..bits.min(512)).chain(bits.saturating_sub(512)..bits);
        for bit in ends.step_by(7).chain((0..bits).step_by(step)) {
            let report = with_flipped(object, bit, || s.look(kind == "packs"));
            let e = report.ok().expect_err(&format!("{kind}: bit {bit} of {bits}"));
            assert_eq!(e.kind(), ErrorKind::Integrity);
            if kind == "images" {
                assert!(e.facts()["images"].to_string().contains(&s.image), "{kind} {bit}: {e:?}");
            }
            let _ = std::fs::remove_file(s.store().join("idx/BAD"));
        }
    }
    for file in ["store.json", "idx/CURRENT"] {
        let path = s.store().join(file);
        for bit in (0..std::fs::metadata(&path).unwrap().len() as usize * 8 - 8).step_by(3) {
            let found =
                with_flipped(&path, bit, || Store::open(s.store()).and_then(|s| s.check(false, &Task::quiet())?.ok()));
            let kind = found.expect_err(&format!("{file}: bit {bit}")).kind();
            assert!(
                kind == ErrorKind::Integrity || (file == "store.json" && kind == ErrorKind::Unsupported),
                "{kind:?}"
            );
        }
    }
    assert!(s.check().faults.is_empty());
}

#[test]
fn what_is_stored_again_under_its_old_name_is_believed() {
    for repair in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (tree, store) = (dir.path().join("tree"), Store::init(dir.path().join("store")).unwrap());
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("f"), b"one small file, and one pack").unwrap();
        let options = CaptureOptions { exact: true, paranoid: true, threads: 1, ..CaptureOptions::default() };
        let options = CaptureOptions { state: Some(dir.path().join("state")), ..options };
        store.capture(&tree, "t", &options, &Task::quiet()).unwrap();
        let copy = Store::init(dir.path().join("copy")).unwrap();
        store.sync(&copy, &SyncOptions::default(), &Task::quiet()).unwrap();
        for (key, _) in store.blobs().walk("packs").unwrap() {
            flip(&dir.path().join("store").join(key), 20);
        }
        assert!(!store.check(true, &Task::quiet()).unwrap().faults.is_empty());
        if repair {
            let store = Store::open_to_repair(dir.path().join("store")).unwrap();
            assert_eq!(store.repair(&copy, &Task::quiet()).unwrap().faults, []);
        } else {
            std::fs::write(tree.join("g"), b"new").unwrap();
            let store = Store::open(dir.path().join("store")).unwrap();
            store.capture(&tree, "t", &options, &Task::quiet()).unwrap();
        }
        let store = Store::open(dir.path().join("store")).unwrap();
        for read_data in [false, true, false] {
            assert_eq!(store.check(read_data, &Task::quiet()).unwrap().faults, [], "repair: {repair}");
        }
        let image = store.image("t@1").unwrap();
        image.extract(dir.path().join("o"), &ExtractOptions::default(), &Task::quiet()).unwrap();
    }
}

#[test]
fn what_is_whole_again_is_believed_by_the_next_check_that_reads_it() {
    let s = sample();
    let object = &s.objects("packs")[0];
    with_flipped(object, 40_000, || assert!(s.check().ok().is_err()));
    assert!(s.look(false).ok().is_err(), "nobody has looked again");
    assert!(s.check().ok().is_ok() && s.look(false).ok().is_ok());
}

#[test]
fn an_unchanged_capture_gives_back_what_was_lost() {
    let s = sample();
    let (tree, store) = (s.dir.path().join("tree"), Store::open(s.store()).unwrap());
    // What was written in this very moment is read again in any case.
    std::thread::sleep(std::time::Duration::from_millis(100));
    store.capture(&tree, "t", &options(s.dir.path()), &Task::quiet()).unwrap();
    flip(&s.objects("packs")[0], 4000);
    assert!(s.check().ok().is_err());
    let store = Store::open(s.store()).unwrap();
    let done = store.capture(&tree, "t", &options(s.dir.path()), &Task::quiet()).unwrap();
    assert!(!done.changed && done.stored_bytes > 0, "{done:?}");
    assert!(s.check().ok().is_ok());
    // So it is with a pack that is gone.
    std::fs::remove_file(&s.objects("packs")[0]).unwrap();
    let store = Store::open(s.store()).unwrap();
    assert!(!store.capture(&tree, "t", &options(s.dir.path()), &Task::quiet()).unwrap().changed);
    assert!(s.check().ok().is_ok());
}

#[test]
fn damage_that_nobody_needs_is_no_fault_and_can_be_collected() {
    let s = sample();
    let (tree, store) = (s.dir.path().join("tree"), Store::open(s.store()).unwrap());
    std::fs::write(tree.join("own"), noise(300_000, 77)).unwrap();
    let before = s.objects("packs");
    store.capture(&tree, "gone", &options(s.dir.path()), &Task::quiet()).unwrap();
    for pack in s.objects("packs").iter().filter(|p| !before.contains(p)) {
        flip(pack, 4000);
    }
    assert!(s.check().ok().is_err());
    let store = Store::open(s.store()).unwrap();
    store.remove("gone").unwrap();
    let now = CollectOptions { grace: std::time::Duration::ZERO, ..CollectOptions::default() };
    (0..3).for_each(|_| _ = store.collect(&now, &Task::quiet()).unwrap());
    assert!(s.check().ok().is_ok(), "{:?}", s.check().faults);
    assert_eq!(s.objects("packs"), before);
}

#[test]
fn a_damaged_block_names_its_images_and_is_healed_by_the_next_capture() {
    let s = sample();
    flip(&s.objects("packs")[0], 4000);
    let e = s.check().ok().unwrap_err();
    assert!(e.facts()["images"].to_string().contains(&s.image), "{e:?}");
    // From now on it counts as missing, without reading all data again.
    let store = Store::open(s.store()).unwrap();
    assert!(store.check(false, &Task::quiet()).unwrap().ok().is_err());
    let tree = s.dir.path().join("tree");
    let again = store.capture(&tree, "t", &options(s.dir.path()), &Task::quiet()).unwrap();
    assert_eq!(again.image.to_string(), s.image);
    assert_eq!(s.check().faults, []);
    let out = s.dir.path().join("out");
    store.image("t").unwrap().extract(out, &ExtractOptions::default(), &Task::quiet()).unwrap();
}

#[test]
fn a_pack_that_is_lost_or_cut_off_is_healed_by_the_next_capture() {
    for cut in [None, Some(1000)] {
        let s = sample();
        let pack = s.objects("packs").remove(0);
        match cut {
            None => std::fs::remove_file(&pack).unwrap(),
            Some(n) => std::fs::File::options().write(true).open(&pack).unwrap().set_len(n).unwrap(),
        }
        assert!(!s.check().faults.is_empty());
        let store = Store::open(s.store()).unwrap();
        let tree = s.dir.path().join("tree");
        // Under a new name, too: what is lost is not counted on.
        store.capture(&tree, "other", &options(s.dir.path()), &Task::quiet()).unwrap();
        for name in ["t", "other"] {
            let out = s.dir.path().join(name);
            store.image(name).unwrap().extract(out, &ExtractOptions::default(), &Task::quiet()).unwrap();
        }
        let faults = s.check().faults;
        assert!(faults.iter().all(|f| cut.is_some() && f.images.is_empty()), "{faults:?}");
    }
}

#[test]
fn a_lost_release_is_told_and_never_replaced_by_an_older_one() {
    let s = sample();
    let (store, tree) = (Store::open(s.store()).unwrap(), s.dir.path().join("tree"));
    std::fs::write(tree.join("new"), "new").unwrap();
    store.capture(&tree, "t", &options(s.dir.path()), &Task::quiet()).unwrap();
    std::fs::remove_file(s.store().join("refs/t/0000000000000002")).unwrap();
    assert_eq!(store.image("t").map(drop).unwrap_err().kind(), ErrorKind::Integrity);
    assert!(s.check().faults.iter().any(|f| f.object == "refs/t/0000000000000002"));
    assert_eq!(store.rollback("t", "t@1").unwrap().generation, 3);
    assert_eq!(store.image("t").unwrap().id().to_string(), s.image);
    store.remove("t@2").unwrap();
    assert_eq!(s.check().faults, []);
}

#[test]
fn stray_files_are_told_and_harm_nobody() {
    let s = sample();
    let store = Store::open(s.store()).unwrap();
    for stray in ["refs/junk", "refs/no name", "tags/t/junk", "tags/stray", "idx/stray", "refs/t/stray"] {
        std::fs::write(s.store().join(stray), "x").unwrap();
    }
    assert_eq!(store.images().unwrap().len(), 1);
    assert_eq!(s.check().faults.iter().filter(|f| f.object.starts_with("refs/")).count(), 2);
    std::fs::write(s.store().join("refs/t/9999999999999999"), "x").unwrap();
    assert_eq!(store.rollback("t", "t@1").unwrap_err().kind(), ErrorKind::Integrity);
    std::fs::remove_file(s.store().join("refs/t/9999999999999999")).unwrap();
    std::fs::write(s.store().join("tags/t/stable/9999999999999999"), "x").unwrap();
    assert_eq!(store.tag("t", "t", "stable").unwrap_err().kind(), ErrorKind::Integrity);
}

#[test]
fn what_two_writers_stored_at_once_is_extracted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path().join("store")).unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for tree in [&a, &b] {
        std::fs::create_dir(tree).unwrap();
        (0..40).for_each(|n| std::fs::write(tree.join(format!("f{n}")), noise(30_000, n)).unwrap());
        std::fs::write(tree.join("own"), tree.to_str().unwrap()).unwrap();
        std::fs::write(tree.join("large"), noise(3 << 20, 99)).unwrap();
    }
    // Two sessions, both begun before either has published: each stores everything.
    let session = store.session("test").unwrap();
    session.prepare().unwrap();
    store.capture(&a, "a", &options(dir.path()), &Task::quiet()).unwrap();
    libcv::store::content::with_pool(&session, 3, 1, |pool| {
        pool.put(b"something of its own")?;
        for n in (0..40).rev() {
            pool.put(&noise(30_000, n))?;
        }
        Ok(())
    })
    .unwrap();
    session.finish().unwrap();
    store.capture(&b, "b", &options(dir.path()), &Task::quiet()).unwrap();
    std::fs::write(b.join("union"), "something of its own").unwrap();
    store.capture(&b, "union", &options(dir.path()), &Task::quiet()).unwrap();
    let verify = ExtractOptions { verify: true, ..Default::default() };
    store.image("union").unwrap().extract(dir.path().join("out"), &verify, &Task::quiet()).unwrap();
    store.check(true, &Task::quiet()).unwrap().ok().unwrap();
}

#[test]
fn a_tag_with_a_damaged_record_is_set_anew_or_removed() {
    let s = sample();
    let store = Store::open(s.store()).unwrap();
    for (number, reference) in [(1, "t@1"), (2, &s.image)] {
        flip(&s.store().join(format!("tags/t/stable/{number:016}")), 30);
        assert_eq!(store.image("t:stable").map(drop).unwrap_err().kind(), ErrorKind::Integrity);
        assert_eq!(s.look(false).faults.len(), 1);
        store.tag(reference, "t", "stable").unwrap();
        assert_eq!(store.image("t:stable").unwrap().id().to_string(), s.image);
    }
    flip(&s.store().join(format!("tags/t/stable/{:016}", 3)), 30);
    store.remove("t:stable").unwrap();
    assert_eq!(store.image("t:stable").map(drop).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.remove("t:stable").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(s.check().faults, []);
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

/// The same content in two packs: stored by one who counted on nothing that the other had.
fn twice() -> (tempfile::TempDir, Store, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    small_tree(&tree);
    std::fs::write(tree.join("large"), noise(3 << 20, 5)).unwrap();
    let place = dir.path().join("store");
    let store = Store::init(&place).unwrap();
    store.capture(&tree, "t", &options(dir.path()), &Task::quiet()).unwrap();
    let chunks = |h: &libcv::image::Hash, n: u32| libcv::store::ChunkSource::chunk(&store, h, n).unwrap();
    let session = store.session("test").unwrap();
    let mut writer = libcv::store::ChunkWriter::new(&session, 1).unwrap();
    // Of each chunk one more copy, in other blocks.
    let mut seen = std::collections::BTreeSet::new();
    for row in store.image("t").unwrap().list(b"", true).unwrap() {
        if let libcv::image::Kind::File { content: libcv::image::Content::Near(items), .. } = &row.kind {
            for item in items {
                if let libcv::image::Item::Chunk { length, hash } = item
                    && seen.insert(*hash)
                {
                    writer.add(*hash, &chunks(hash, *length)).unwrap();
                }
            }
        }
    }
    writer.close().unwrap();
    session.finish().unwrap();
    drop(session);
    let sample = Sample { dir, image: String::new() };
    let packs = sample.objects("packs");
    (sample.dir, store, packs)
}

#[test]
fn what_is_damaged_in_one_block_is_read_from_another() {
    let (dir, _, packs) = twice();
    assert_eq!(packs.len(), 2);
    let extract = || {
        let target = tempfile::tempdir_in(dir.path()).unwrap();
        let task = Task::quiet();
        let store = Store::open(dir.path().join("store")).unwrap();
        let done = store.image("t")?.extract(target.path(), &ExtractOptions::default(), &task);
        done.map(|_| {
            let same =
                std::process::Command::new("diff").arg("-r").args([&dir.path().join("tree"), target.path()]).status();
            assert!(same.unwrap().success());
            task.warnings().len()
        })
    };
    assert_eq!(extract().unwrap(), 0);
    let whole: Vec<Vec<u8>> = packs.iter().map(|p| std::fs::read(p).unwrap()).collect();
    let damage = |pack: usize| {
        let mut bytes = whole[pack].clone();
        let front = bytes.len() / 2;
        bytes[200..front].iter_mut().step_by(4096).for_each(|b| *b ^= 1);
        std::fs::write(&packs[pack], bytes).unwrap();
    };
    // The pages of the image lie in the first pack only, at its end: its front may be damaged. Of the second one anything may.
    let mut warned = 0;
    for pack in [0, 1] {
        for (n, bytes) in whole.iter().enumerate() {
            std::fs::write(&packs[n], bytes).unwrap();
        }
        damage(pack);
        warned += usize::from(extract().is_ok_and(|warnings| warnings > 0));
    }
    assert!(warned >= 1, "no damaged block was met");
    // Where no copy is left it is damage.
    damage(0);
    damage(1);
    assert_eq!(extract().unwrap_err().kind(), ErrorKind::Integrity);
}
