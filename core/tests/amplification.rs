//! What a reader has to read of a version that came after many others.
#![allow(missing_docs)]

mod common;

use common::noise;
use libcv::capture::{CaptureOptions, Captured};
use libcv::job::Task;
use libcv::store::Store;
use libcv::store::amplification::Amplification;
use libcv::store::collect::CollectOptions;
use libcv::tree::extract::ExtractOptions;
use std::path::Path;
use std::time::Duration;

const FILES: u64 = 1600;
const BYTES: usize = 25_000;
/// The most that a block has.
const BLOCK: u64 = 4 << 20;

/// Files of which every update changes other ones: in the end there is no block that an update spared.
fn write(tree: &Path, file: u64, seed: u64) {
    let dir = tree.join(format!("d{:02}", file / 40));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(file.to_string()), noise(BYTES, file * 1000 + seed)).unwrap();
}

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        (0..FILES).for_each(|f| write(&dir.path().join("tree"), f, 0));
        Self { dir, store }
    }

    fn capture(&self) -> Captured {
        let state = Some(self.dir.path().join("state"));
        let options = CaptureOptions { exact: true, state, ..CaptureOptions::default() };
        self.store.capture(self.dir.path().join("tree"), "t", &options, &Task::quiet()).unwrap()
    }

    /// Changes 5 % of the files.
    fn update(&self, n: u64) -> Captured {
        let at = |i: u64| (i.wrapping_mul(2_654_435_761).wrapping_add(n * 7_919) >> 3) % FILES;
        (0..FILES / 20).for_each(|i| write(&self.dir.path().join("tree"), at(i + n * 1000), n));
        self.capture()
    }

    /// Of the store as it is now.
    fn measured(&self, reference: &str) -> Amplification {
        self.store.amplification(&self.store.image(reference).unwrap()).unwrap()
    }

    /// What a reader reads is at most a fifth more than it needs. Of a small image a block more is a tenth.
    fn bounded(&self, reference: &str) {
        let found = self.measured(reference);
        assert!(found.read <= found.needed * 6 / 5 + 2 * BLOCK, "{reference}: {found:?}");
    }

    fn collect(&self, keep_last: Option<u64>) {
        let options = CollectOptions { keep_last, grace: Duration::ZERO, ..CollectOptions::default() };
        self.store.collect(&options, &Task::quiet()).unwrap();
    }

    fn check(&self, references: &[&str]) {
        assert_eq!(self.store.check(true, &Task::quiet()).unwrap().faults, []);
        for r in references {
            let options = ExtractOptions { verify: true, ..ExtractOptions::default() };
            let out = tempfile::tempdir_in(self.dir.path()).unwrap();
            self.store.image(r).unwrap().extract(out.path().join("o"), &options, &Task::quiet()).unwrap();
        }
    }
}

#[test]
fn twenty_updates_leave_it_bounded_and_so_does_a_collection() {
    let b = Bed::new();
    let tree = FILES * BYTES as u64;
    assert_eq!(b.capture().amplification, Some(100));
    let mut most = 0;
    for n in 1..=20 {
        let done = b.update(n);
        let recorded = done.amplification.unwrap();
        // What was said is what a reader finds, but for the pages.
        let found = b.measured("t").percent();
        assert!(recorded.abs_diff(found) <= 2, "update {n}: {recorded}, found {found}");
        // An update stores what has changed, and not much more than may be stored once more.
        assert!(done.stored_bytes * 100 < tree * 26, "update {n} stored {}", done.stored_bytes);
        most = most.max(recorded);
    }
    // Without a bound it would be about 200.
    assert!(most > 105 && most <= 120, "{most}");
    b.check(&["t@1", "t@11", "t"]);
    // Later versions took nothing from the earlier ones. What of their chunks lies in more places now may lead a reader
    // another way, which is chosen step by step and may be longer by a block or two: it stays within the bound.
    assert_eq!(b.measured("t@1").percent(), 100);
    b.bounded("t@11");
    for (keep, kept) in [(None, &["t@1", "t@11", "t"][..]), (Some(2), &["t@20", "t"])] {
        b.collect(keep);
        b.collect(keep);
        b.check(kept);
        // A collection does not look at one image alone.
        kept.iter().for_each(|r| b.bounded(r));
    }
}

#[test]
fn an_unchanged_tree_stores_nothing_once_more() {
    let b = Bed::new();
    b.capture();
    (1..=6).for_each(|n| _ = b.update(n));
    let again = b.capture();
    assert_eq!((again.changed, again.stored_bytes, again.amplification), (false, 0, None));
}
