//! Images out as tar and in again, with GNU tar as the judge.
#![allow(missing_docs)]

mod common;

use libcv::capture::CaptureOptions;
use libcv::convert::tar::{
    Compression, Entry, ExportOptions, Exported, ImportOptions, Imported, Kind, Limits, Writer, export, import,
};
use libcv::job::Task;
use libcv::store::{Image, Store};
use libcv::sys::confined::Root;
use libcv::tree::compare::compare;
use libcv::tree::extract::ExtractOptions;
use libcv::{ErrorKind, Result};
use std::path::Path;
use std::process::Command;

fn exact(state: &Path) -> CaptureOptions {
    CaptureOptions { exact: true, state: Some(state.to_owned()), ..CaptureOptions::default() }
}

fn out(image: &Image, compression: Compression) -> (Vec<u8>, Exported) {
    export(image, Vec::new(), &ExportOptions { compression, level: 0 }, &Task::quiet()).unwrap()
}

fn bring(store: &Store, bytes: &[u8], name: &str) -> Result<Imported> {
    import(store, bytes, name, &ImportOptions::default(), &Task::quiet())
}

fn tar(args: &[&str], dir: &Path) -> Vec<u8> {
    let out = Command::new("tar").current_dir(dir).env("LC_ALL", "C").args(args).output().unwrap();
    assert!(out.status.success(), "tar {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

const ALL: [&str; 5] = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--selinux"];

#[test]
fn out_and_in_again_is_the_same_tree() {
    let tmp = tempfile::tempdir().unwrap();
    let tree = tmp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    common::small_tree(&tree);
    if common::is_root() {
        common::odd_tree(&tree, 300);
    }
    let store = Store::init(tmp.path().join("store")).unwrap();
    let other = Store::init(tmp.path().join("other")).unwrap();
    let captured = store.capture(&tree, "a", &exact(&tmp.path().join("state")), &Task::quiet());
    common::thaw(&tree);
    let captured = captured.unwrap();
    let image = store.image("a").unwrap();
    for compression in [Compression::None, Compression::Zstd, Compression::Gzip] {
        let (bytes, report) = out(&image, compression);
        assert_eq!(report.entries, captured.entries);
        assert_eq!(report.long_paths_count, u64::from(common::is_root()) * 3);
        assert_eq!(bytes, out(&image, compression).0);
        for store in [&store, &other] {
            let brought = bring(store, &bytes, &format!("b-{compression:?}").to_lowercase()).unwrap();
            assert_eq!((brought.tree, brought.changed, brought.entries), (captured.tree, true, captured.entries));
            assert_eq!((brought.implied, brought.replaced), (0, 0));
            assert!(!bring(store, &bytes, &brought.name).unwrap().changed);
        }
    }
    // What was there already was not stored again.
    let again = bring(&store, &out(&image, Compression::None).0, "c").unwrap();
    assert!(again.stored_bytes < 10_000, "{}", again.stored_bytes);
    let manifest = other.image("b-zstd").unwrap().manifest().clone();
    assert_eq!(manifest.facts, image.manifest().facts);
    assert_eq!((manifest.names, manifest.totals), (image.manifest().names.clone(), image.manifest().totals));
    assert!(other.check(true, &Task::quiet()).unwrap().faults.is_empty());
}

#[test]
fn gnu_tar_extracts_what_we_export() {
    if !common::is_root() {
        eprintln!("skipped: devices and owners need root: sudo -E cargo test -p libcv --test tar");
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let (tree, to) = (tmp.path().join("tree"), tmp.path().join("to"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::create_dir(&to).unwrap();
    common::odd_tree(&tree, 50);
    common::thaw(&tree);
    // GNU tar cannot extract paths beyond PATH_MAX.
    std::fs::remove_dir_all(tree.join("d".repeat(200))).unwrap();
    let store = Store::init(tmp.path().join("store")).unwrap();
    store.capture(&tree, "a", &exact(&tmp.path().join("state")), &Task::quiet()).unwrap();
    let image = store.image("a").unwrap();
    let (bytes, report) = out(&image, Compression::Zstd);
    assert!(report.long_paths.is_empty());
    let file = tmp.path().join("a.tar.zst");
    std::fs::write(&file, bytes).unwrap();
    let args = [&ALL[..], &["--zstd", "-xpf", file.to_str().unwrap()]].concat();
    tar(&args, &to);
    let found = compare(&image, &store, &Root::open(&to).unwrap(), false, 2, &Task::quiet()).unwrap();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_gnu_tar_packs_is_what_a_capture_finds() {
    if !common::is_root() {
        eprintln!("skipped: devices and owners need root: sudo -E cargo test -p libcv --test tar");
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let tree = tmp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    common::small_tree(&tree);
    common::odd_tree(&tree, 50);
    common::thaw(&tree);
    std::fs::remove_dir_all(tree.join("d".repeat(200))).unwrap();
    // The archive has no word for these.
    std::fs::remove_file(tree.join("a/socket")).unwrap();
    let store = Store::init(tmp.path().join("store")).unwrap();
    let captured = store.capture(&tree, "a", &exact(&tmp.path().join("state")), &Task::quiet()).unwrap();
    for sparse in ["0.0", "0.1", "1.0"] {
        let version = format!("--sparse-version={sparse}");
        let args = [&ALL[..], &["--format=posix", &version, "-S", "-cf", "-", "."]].concat();
        let brought = bring(&store, &tar(&args, &tree), "b").unwrap();
        assert_eq!(brought.tree, captured.tree, "{sparse}: {:?}", brought.notes);
    }
    let target = tmp.path().join("target");
    let image = store.image("b").unwrap();
    image.extract(&target, &ExtractOptions { verify: true, ..ExtractOptions::default() }, &Task::quiet()).unwrap();
}

// What an archive must not do.

fn entry(path: &str, kind: Kind) -> (Entry, Vec<u8>) {
    let data =
        if let Kind::File { size, .. } = kind { path.bytes().cycle().take(size as usize).collect() } else { vec![] };
    let entry =
        Entry { path: path.into(), mode: 0o644, uid: 0, gid: 0, mtime: (0, 0), xattrs: vec![], inode_flags: 0, kind };
    (entry, data)
}

fn pack(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut w = Writer::new(Vec::new());
    for (e, data) in entries {
        w.entry(e).unwrap();
        w.data(data).unwrap();
    }
    w.finish().unwrap()
}

#[test]
fn nothing_is_written_through_a_link_or_beyond_the_archive() {
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::init(tmp.path().join("store")).unwrap();
    let link = |p: &str, t: &str| entry(p, Kind::Link(t.into()));
    let hard = |p: &str, t: &str| entry(p, Kind::HardLink(t.into()));
    let file = |p: &str| entry(p, Kind::file(5));
    let dir = |p: &str| entry(p, Kind::Directory);
    for (what, entries) in [
        ("through a link", vec![link("a", "/etc"), file("a/passwd")]),
        ("through a link to a directory", vec![dir("b"), link("a", "b"), file("a/x")]),
        ("through a replaced directory", vec![dir("a"), file("a/x"), link("a", "/etc"), file("a/passwd")]),
        ("beneath a file", vec![file("a"), file("a/b")]),
        ("beneath a device", vec![entry("a", Kind::Device { block: true, major: 8, minor: 0 }), file("a/b")]),
        ("hard link out", vec![hard("a", "etc/shadow")]),
        ("hard link to a directory", vec![dir("d"), hard("a", "d")]),
        ("hard link through a link", vec![dir("d"), file("d/f"), link("l", "d"), hard("a", "l/f")]),
        ("hard link into the future", vec![hard("a", "b"), file("b")]),
        ("hard link beneath a link", vec![file("f"), link("l", "/etc"), hard("l/x", "f")]),
        ("a file for a full directory", vec![dir("d"), file("d/f"), file("d")]),
    ] {
        let e = bring(&store, &pack(&entries), "bad").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::UnsafeInput, "{what}: {e:?}");
        assert!(e.facts().contains_key("entry"), "{what}: {e:?}");
    }
    assert_eq!(store.image("bad").map(drop).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn later_entries_replace_earlier_ones() {
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::init(tmp.path().join("store")).unwrap();
    let mut late = entry("x/d", Kind::Directory);
    late.0.mode = 0o700;
    let bytes = pack(&[
        entry("x/d/file", Kind::file(10)),
        entry("first", Kind::file(10)),
        entry("second", Kind::HardLink("first".into())),
        entry("third", Kind::HardLink("second".into())),
        entry("first", Kind::file(20)),
        entry("self", Kind::Fifo),
        entry("self", Kind::HardLink("self".into())),
        late,
    ]);
    let brought = bring(&store, &bytes, "a").unwrap();
    // The root and `x`; `x/d` has its own entry in the end.
    assert_eq!((brought.implied, brought.replaced), (2, 1));
    let image = store.image("a").unwrap();
    let row = |p: &str| image.row(p.as_bytes()).unwrap();
    assert_eq!((row("first").size(), row("second").size()), (20, 10));
    assert!(row("first").group.is_none());
    assert!(row("second").group.is_some() && row("second").group == row("third").group);
    assert_eq!((row("x/d").mode, row("x").mode), (0o040_700, 0o040_755));
    assert!(row("self").group.is_none());
    let mut content = Vec::new();
    image.cat(b"second", &mut content).unwrap();
    assert_eq!(content, b"firstfirst");
}

#[test]
fn limits_and_cancellation_publish_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::init(tmp.path().join("store")).unwrap();
    let many: Vec<_> = (0..2000).map(|i| entry(&format!("d{i}/e/f"), Kind::Fifo)).collect();
    let options = ImportOptions { limits: Limits { entries: 1000, ..Limits::default() }, ..ImportOptions::default() };
    let e = import(&store, &pack(&many)[..], "a", &options, &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Limit);
    // Few entries, but deep ones: the directories that they imply count, too, and their whole paths.
    let deep = |n: usize, depth: usize| (0..n).map(move |i| format!("{i}{}", "/d".repeat(depth)));
    let with = |limits, entries: &[_]| {
        let options = ImportOptions { limits, ..ImportOptions::default() };
        import(&store, &pack(entries)[..], "a", &options, &Task::quiet()).map_err(|e| e.kind()).map(drop)
    };
    let entries = Limits { entries: 1000, ..Limits::default() };
    let metadata = Limits { metadata: 1 << 20, ..Limits::default() };
    let names: Vec<_> = deep(3, 400).map(|path| entry(&path, Kind::Fifo)).collect();
    assert_eq!(with(entries, &names), Err(ErrorKind::Limit));
    let names: Vec<_> = deep(1, 1500).map(|path| entry(&path, Kind::Fifo)).collect();
    assert_eq!(with(metadata, &names), Err(ErrorKind::Limit));
    let mut links = vec![entry("f", Kind::file(0))];
    links.extend(deep(3, 400).map(|path| entry(&path, Kind::HardLink(b"f".into()))));
    assert_eq!(with(entries, &links), Err(ErrorKind::Limit));
    let task = Task::quiet();
    task.cancel_token().cancel();
    let e = import(&store, &pack(&many)[..], "a", &ImportOptions::default(), &task).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled);
    let e =
        import(&store, &pack(&many)[..], "a", &ImportOptions { level: 99, ..ImportOptions::default() }, &Task::quiet());
    assert_eq!(e.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(store.images().unwrap().is_empty());
}
