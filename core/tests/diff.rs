//! Two captures of a tree that changed in between: what `Store::diff` says of them.
#![allow(missing_docs)]

mod common;

use libcv::capture::CaptureOptions;
use libcv::job::{CancelToken, Task};
use libcv::store::{Change, ChangeKind, Field, Store};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn capture(store: &Store, root: &Path, at: &Path) {
    let options = CaptureOptions { exact: true, state: Some(at.join("state")), ..Default::default() };
    store.capture(root, "a", &options, &Task::quiet()).unwrap();
}

fn find<'c>(changes: &'c [Change], path: &str) -> Option<&'c Change> {
    changes.iter().find(|c| c.path == path.as_bytes())
}

#[test]
fn every_change_is_found_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    common::small_tree(&root);
    for i in 0..4_000 {
        let d = root.join(format!("many/{}", i / 500));
        std::fs::create_dir_all(&d).unwrap();
        std::fs::write(d.join(format!("{i:05}")), "").unwrap();
    }
    let store = Store::init(dir.path().join("store")).unwrap();
    capture(&store, &root, dir.path());
    std::fs::write(root.join("etc/new"), "new").unwrap();
    std::fs::write(root.join("home/u/f7"), "other").unwrap();
    std::fs::write(root.join("many/7/03500"), "no longer empty").unwrap();
    std::fs::set_permissions(root.join("usr/bin/big"), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::remove_file(root.join("many/3/01614")).unwrap();
    std::fs::remove_file(root.join("bin")).unwrap();
    symlink("elsewhere", root.join("bin")).unwrap();
    std::fs::rename(root.join("tmp/x"), root.join("tmp/y")).unwrap();
    capture(&store, &root, dir.path());

    let (a, b) = (store.image("a@1").unwrap(), store.image("a@2").unwrap());
    let changes = store.diff(&a, &b, &Task::quiet()).unwrap();
    assert_eq!(find(&changes, "etc/new").unwrap().kind, ChangeKind::Added);
    assert_eq!(find(&changes, "tmp/y").unwrap().kind, ChangeKind::Added);
    assert_eq!(find(&changes, "tmp/x").unwrap().kind, ChangeKind::Removed);
    assert_eq!(find(&changes, "many/3/01614").unwrap().kind, ChangeKind::Removed);
    assert_eq!(find(&changes, "usr/bin/big").unwrap().fields, [Field::Mode]);
    assert_eq!(find(&changes, "home/u/f7").unwrap().fields, [Field::Mtime, Field::Size, Field::Content]);
    assert!(find(&changes, "bin").unwrap().fields.contains(&Field::Target));
    // The directories whose entries came or went, and the file in the middle of many.
    let mut paths: Vec<_> = changes.iter().map(|c| String::from_utf8_lossy(&c.path).into_owned()).collect();
    let expected =
        ["", "bin", "etc", "etc/new", "home/u/f7", "many/3", "many/3/01614", "many/7/03500", "tmp", "tmp/x", "tmp/y"];
    assert!(paths.is_sorted_by(|x, y| libcv::image::path::compare(x.as_bytes(), y.as_bytes()).is_lt()));
    paths.retain(|p| p != "usr/bin/big");
    assert_eq!(paths, expected);

    // The other way round, added and removed change places.
    let back = store.diff(&b, &a, &Task::quiet()).unwrap();
    assert_eq!(back.len(), changes.len());
    assert_eq!(find(&back, "etc/new").unwrap().kind, ChangeKind::Removed);

    let cancelled = CancelToken::default();
    cancelled.cancel();
    let e = store.diff(&a, &b, &Task::new(cancelled, None)).unwrap_err();
    assert_eq!(e.kind(), libcv::ErrorKind::Cancelled);

    // Equal pages are not read: without any data an image still equals itself.
    std::fs::remove_dir_all(dir.path().join("store/packs")).unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    let a = store.image("a@1").unwrap();
    assert_eq!(store.diff(&a, &a, &Task::quiet()).unwrap(), []);
    assert_eq!(store.diff(&a, &b, &Task::quiet()).unwrap_err().kind(), libcv::ErrorKind::Integrity);
}

#[test]
fn one_file_among_many_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for i in 0..6_000 {
        let d = root.join(format!("{:02}", i / 500));
        std::fs::create_dir_all(&d).unwrap();
        std::fs::write(d.join(format!("{i:05}")), "").unwrap();
    }
    let store = Store::init(dir.path().join("store")).unwrap();
    capture(&store, &root, dir.path());
    std::fs::write(root.join("11/05500"), "x").unwrap();
    capture(&store, &root, dir.path());
    let (a, b) = (store.image("a@1").unwrap(), store.image("a@2").unwrap());
    let shared = b.manifest().pages.iter().filter(|p| a.manifest().pages.iter().any(|q| q.hash == p.hash)).count();
    assert!(shared > 2, "{shared} pages of {} are shared", b.manifest().pages.len());
    let changes = store.diff(&a, &b, &Task::quiet()).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].path, b"11/05500");
}
