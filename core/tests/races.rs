//! What another writer does between any two requests of a reader is never a loss.
#![allow(missing_docs)]

mod common;

use common::watched::Watched;
use libcv::Result;
use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::store::Store;
use libcv::store::local::LocalDir;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Captures a tree of one file as the next generation of `t`.
fn capture(store: &Store, tree: &Path, content: &str) {
    std::fs::write(tree.join("file"), content).unwrap();
    let options = CaptureOptions { exact: true, ..CaptureOptions::default() };
    store.capture(tree, "t", &options, &Task::quiet()).unwrap();
}

/// Runs `read` with two generations published before its first request, its second …, until it asks no more.
fn between<T>(generations: usize, read: impl Fn(&Store) -> Result<T>) {
    for at in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let (place, tree) = (dir.path().join("store"), dir.path().join("tree"));
        std::fs::create_dir(&tree).unwrap();
        let writer = Store::init(&place).unwrap();
        (0..generations).for_each(|n| capture(&writer, &tree, &format!("before {n}")));
        let asked = AtomicUsize::new(0);
        let reader = Watched {
            dir: LocalDir::open(&place).unwrap(),
            before: move |_: &str, _: &str| {
                if asked.fetch_add(1, SeqCst) + 1 == at {
                    capture(&writer, &tree, "meanwhile");
                    capture(&writer, &tree, "and once more");
                }
                Ok(())
            },
        };
        let reader = Store::with_backend(Box::new(reader)).unwrap();
        if let Err(e) = read(&reader) {
            panic!("published before request {at}: {e:?}");
        }
        if !place.join(format!("refs/t/{:016}", generations + 1)).exists() {
            assert!(at > 2, "the reader asked only once");
            break;
        }
    }
}

#[test]
fn a_generation_that_is_published_meanwhile_is_not_lost() {
    for generations in [0, 1] {
        between(generations, |store| store.refs().highest("t"));
        between(generations, |store| store.refs().head("t"));
        between(generations, Store::images);
        between(generations, |store| store.check(true, &Task::quiet())?.ok());
    }
    between(1, |store| store.image("t"));
    between(1, |store| store.log("t"));
}
