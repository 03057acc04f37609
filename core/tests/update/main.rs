//! A tree that is there becomes the tree of another image: what is written, what stays, and what can interrupt it.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod breaking_off;
mod local;
mod origin;
mod verdict;
mod written;

use common::small_tree;
use libcv::Result;
use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::store::{Image, Store};
use libcv::sys::confined::Root;
use libcv::tree::compare::compare;
use libcv::tree::extract::ExtractOptions;
use libcv::tree::update::{Local, UpdateOptions, Updated};
use std::path::{Path, PathBuf};

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

/// Nothing is the node's own, and what no image brought goes.
fn whole() -> UpdateOptions {
    UpdateOptions { exact: true, local: Local::Delete, no_sync: true, threads: 3, ..UpdateOptions::default() }
}

fn node() -> UpdateOptions {
    UpdateOptions { no_sync: true, ..UpdateOptions::default() }
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        std::fs::create_dir(dir.path().join("tree")).unwrap();
        Self { dir, store }
    }

    /// With a small tree as generation 1, extracted into `out`.
    fn deployed() -> Self {
        let bed = Self::new();
        small_tree(&bed.at("tree"));
        bed.capture();
        bed.extract(&bed.at("out"));
        bed
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A new inode, as a package manager makes one.
        let _ = std::fs::remove_file(&path);
        std::fs::write(path, content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.at(path)).unwrap()).into_owned()
    }

    fn capture_of(&self, tree: &Path, name: &str) -> Image {
        let options =
            CaptureOptions { exact: true, paranoid: true, state: Some(self.at("state")), ..Default::default() };
        self.store.capture(tree, name, &options, &Task::quiet()).unwrap();
        self.store.image(name).unwrap()
    }

    /// The next generation of `t`.
    fn capture(&self) -> Image {
        self.capture_of(&self.at("tree"), "t")
    }

    fn extract(&self, out: &Path) {
        let options = ExtractOptions { no_sync: true, ..Default::default() };
        self.store.image("t").unwrap().extract(out, &options, &Task::quiet()).unwrap();
    }

    fn update(&self, image: &Image, options: &UpdateOptions) -> Result<Updated> {
        image.update(self.at("out"), options, &Task::quiet())
    }

    fn differences(&self, image: &Image, out: &Path) -> Vec<String> {
        let found = compare(image, &self.store, &Root::open(out).unwrap(), false, 2, &Task::quiet()).unwrap();
        found.iter().map(ToString::to_string).collect()
    }
}

fn none() -> Vec<String> {
    Vec::new()
}

fn at_work(out: &Path) -> bool {
    let names = |d: &Path| std::fs::read_dir(d).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names(out).any(|n| n.starts_with(".libcv") || n.starts_with(".cv-"))
}
