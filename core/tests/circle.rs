//! Capture → extract is the identity, on real filesystems, with every oddity.
#![allow(missing_docs)]

mod common;

use common::{Mounted, is_root, odd_tree, small_tree, thaw};
use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::store::Store;
use libcv::tree::compare::compare;
use libcv::tree::extract::ExtractOptions;
use libcv::{ErrorKind, sys::confined::Root};
use std::path::Path;

fn exact(dir: &Path) -> CaptureOptions {
    CaptureOptions { exact: true, state: Some(dir.join("state")), ..CaptureOptions::default() }
}

fn differences(store: &Store, reference: &str, root: &Path) -> Vec<String> {
    let image = store.image(reference).unwrap();
    let root = Root::open(root).unwrap();
    compare(&image, store, &root, false, 2, &Task::quiet()).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn a_small_tree_goes_round() {
    let tmp = tempfile::tempdir().unwrap();
    let (tree, out) = (tmp.path().join("tree"), tmp.path().join("out"));
    std::fs::create_dir(&tree).unwrap();
    small_tree(&tree);
    let store = Store::init(tmp.path().join("store")).unwrap();
    let options = exact(tmp.path());
    let first = store.capture(&tree, "t", &options, &Task::quiet()).unwrap();
    assert!(first.changed && first.generation == 1 && first.read == first.entries);

    std::thread::sleep(std::time::Duration::from_millis(50));
    let again = store.capture(&tree, "t", &options, &Task::quiet()).unwrap();
    assert!(!again.changed && again.tree == first.tree && again.generation == 1);
    assert_eq!(again.stored_bytes, 0);

    std::fs::write(tree.join("etc/motd"), "new\n").unwrap();
    std::fs::remove_file(tree.join("home/u/f7")).unwrap();
    let changed = store.capture(&tree, "t", &options, &Task::quiet()).unwrap();
    assert!(changed.changed && changed.generation == 2);
    assert!(changed.read < 10, "{} entries were read again", changed.read);
    let third = store.capture(&tree, "t", &options, &Task::quiet()).unwrap();
    assert!(!third.changed, "what was read just now is read once more, and is the same");

    store
        .image("t")
        .unwrap()
        .extract(&out, &ExtractOptions { verify: true, ..Default::default() }, &Task::quiet())
        .unwrap();
    assert_eq!(differences(&store, "t", &out), Vec::<String>::new());
    assert!(differences(&store, "t@1", &out).iter().any(|d| d.contains("f7")));
    // A name that is not there is what is said of a REF, whatever stands behind the name.
    for bad in ["u", "u:stable", "u@1"] {
        let e = store.image(bad).err().unwrap();
        assert_eq!((e.kind(), e.message().contains("no image \"u\"")), (ErrorKind::NotFound, true), "{bad}: {e}");
    }
    assert!(!out.join(".libcv-extracting").exists());

    let refused = store.image("t").unwrap().extract(&out, &ExtractOptions::default(), &Task::quiet());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Refused);
    store.rollback("t", "t@1").unwrap();
    assert_eq!(store.image("t").unwrap().id(), first.image);
    store.check(true, &Task::quiet()).unwrap().ok().unwrap();
}

#[test]
fn a_machine_is_generalised_and_a_growing_log_changes_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let (tree, out) = (tmp.path().join("tree"), tmp.path().join("out"));
    std::fs::create_dir(&tree).unwrap();
    small_tree(&tree);
    let store = Store::init(tmp.path().join("store")).unwrap();
    let options = CaptureOptions { exact: false, ..exact(tmp.path()) };
    let first = store.capture(&tree, "t", &options, &Task::quiet()).unwrap();
    let done: Vec<_> = first.scrubbed.iter().map(|s| (s.path.as_str(), s.action)).collect();
    assert_eq!(done, [("/etc/machine-id", "emptied"), ("/tmp/x", "left out"), ("/var/log/messages", "emptied")]);
    std::fs::write(tree.join("var/log/messages"), "more\n").unwrap();
    assert!(!store.capture(&tree, "t", &options, &Task::quiet()).unwrap().changed);
    store.image("t").unwrap().extract(&out, &ExtractOptions::default(), &Task::quiet()).unwrap();
    assert_eq!(std::fs::metadata(out.join("etc/machine-id")).unwrap().len(), 0);
    assert!(!out.join("tmp/x").exists() && out.join("tmp").is_dir());
    let kept = CaptureOptions { keep: vec!["/etc/machine-id".into()], ..options };
    assert!(store.capture(&tree, "t", &kept, &Task::quiet()).unwrap().changed);
}

#[test]
fn every_oddity_comes_back_on_ext4() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let (from, to) = (Mounted::new("ext4", 2 << 30), Mounted::new("ext4", 2 << 30));
    odd_tree(&from.path(), 100_000);
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::init(tmp.path().join("store")).unwrap();
    let options = exact(tmp.path());
    let captured = store.capture(from.path(), "odd", &options, &Task::quiet()).unwrap();
    assert!(captured.notes.iter().any(|n| n.contains("socket")), "{:?}", captured.notes);
    let same = differences(&store, "odd", &from.path());
    assert_eq!(same, Vec::<String>::new());
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!store.capture(from.path(), "odd", &options, &Task::quiet()).unwrap().changed);
    store.check(true, &Task::quiet()).unwrap().ok().unwrap();

    let verify = ExtractOptions { verify: true, ..Default::default() };
    let image = store.image("odd").unwrap();
    image.extract(to.path(), &verify, &Task::quiet()).unwrap();
    assert_eq!(differences(&store, "odd", &to.path()), Vec::<String>::new());
    // What was extracted is captured as the same tree.
    let again = store.capture(to.path(), "odd", &options, &Task::quiet()).unwrap();
    assert_eq!((again.tree, again.changed), (captured.tree, false));
}

#[test]
fn what_xfs_and_btrfs_can_hold_comes_back() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let from = Mounted::new("ext4", 1 << 30);
    odd_tree(&from.path(), 300);
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::init(tmp.path().join("store")).unwrap();
    let captured = store.capture(from.path(), "odd", &exact(tmp.path()), &Task::quiet()).unwrap();
    for kind in ["xfs", "btrfs"] {
        let to = Mounted::new(kind, 2 << 30);
        let verify = ExtractOptions { verify: true, ..Default::default() };
        store.image("odd").unwrap().extract(to.path(), &verify, &Task::quiet()).unwrap();
        // And what xfs shows of it is the same tree, ACLs included.
        let again = store.capture(to.path(), "odd", &exact(tmp.path()), &Task::quiet()).unwrap();
        assert_eq!((again.tree, again.changed), (captured.tree, false), "{kind}");
    }
}

#[test]
fn what_a_filesystem_cannot_hold_is_refused_before_anything_is_written() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let from = Mounted::new("ext4", 1 << 30);
    std::fs::write(from.path().join("old"), "o").unwrap();
    common::run("touch", &["-d", "2250-01-01", from.path().join("old").to_str().unwrap()]);
    std::fs::write(from.path().join("labelled"), "x").unwrap();
    common::run(
        "setfattr",
        &["-n", "user.long", "-v", &"v".repeat(3000), from.path().join("labelled").to_str().unwrap()],
    );
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::init(tmp.path().join("store")).unwrap();
    store.capture(from.path(), "t", &exact(tmp.path()), &Task::quiet()).unwrap();
    // btrfs with 4 KiB nodes holds attributes of less than that only; xfs without bigtime ends in 2038.
    let to = tempfile::tempdir().unwrap();
    let (image, at) = (to.path().join("image"), to.path().join("mnt"));
    std::fs::create_dir(&at).unwrap();
    std::fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
    common::run("mkfs.xfs", &["-q", "-m", "bigtime=0", image.to_str().unwrap()]);
    common::run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
    let done = store.image("t").unwrap().extract(&at, &ExtractOptions::default(), &Task::quiet());
    let entries = std::fs::read_dir(&at).unwrap().count();
    let accept = ExtractOptions { accept_loss: true, verify: true, ..Default::default() };
    let accepted = store.image("t").unwrap().extract(&at, &accept, &Task::quiet());
    common::run("umount", &[at.to_str().unwrap()]);
    let e = done.unwrap_err();
    assert_eq!((e.kind(), entries), (ErrorKind::Unsupported, 0), "{e:?}");
    assert_eq!(e.facts()["losses"][0]["feature"], "modification times");
    assert_eq!(accepted.unwrap().losses.len(), 1);
}

#[test]
fn a_foreign_marker_clears_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let (tree, out) = (tmp.path().join("tree"), tmp.path().join("out"));
    std::fs::create_dir(&tree).unwrap();
    small_tree(&tree);
    // It is not in an image either, even of an exact capture.
    std::fs::write(tree.join(".libcv-extracting"), "mine").unwrap();
    let store = Store::init(tmp.path().join("store")).unwrap();
    store.capture(&tree, "t", &exact(tmp.path()), &Task::quiet()).unwrap();
    let image = store.image("t").unwrap();
    std::fs::create_dir(&out).unwrap();
    for text in ["", "mine", "libcv extracts an image into this directory"] {
        std::fs::write(out.join(".libcv-extracting"), text).unwrap();
        std::fs::write(out.join("precious"), "data").unwrap();
        let refused = image.extract(&out, &ExtractOptions::default(), &Task::quiet()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);
        assert_eq!(std::fs::read_to_string(out.join("precious")).unwrap(), "data");
    }
    // A run that was killed while it wrote its marker had made nothing.
    std::fs::remove_file(out.join("precious")).unwrap();
    image.extract(&out, &ExtractOptions::default(), &Task::quiet()).unwrap();
    assert!(!out.join(".libcv-extracting").exists());
}

#[test]
fn an_expected_generation_is_looked_at_although_nothing_changed() {
    let tmp = tempfile::tempdir().unwrap();
    let tree = tmp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    small_tree(&tree);
    let store = Store::init(tmp.path().join("store")).unwrap();
    store.capture(&tree, "t", &exact(tmp.path()), &Task::quiet()).unwrap();
    store.rollback("t", "t@1").unwrap();
    let late = CaptureOptions { expect_parent: Some(1), threads: 200_000, ..exact(tmp.path()) };
    assert_eq!(store.capture(&tree, "t", &late, &Task::quiet()).unwrap_err().kind(), ErrorKind::Conflict);
    let now = CaptureOptions { expect_parent: Some(2), ..late };
    assert!(!store.capture(&tree, "t", &now, &Task::quiet()).unwrap().changed);
}

#[test]
fn a_killed_extraction_is_cleared_by_the_next() {
    let tmp = tempfile::tempdir().unwrap();
    let (tree, out) = (tmp.path().join("tree"), tmp.path().join("out"));
    std::fs::create_dir(&tree).unwrap();
    small_tree(&tree);
    let store = Store::init(tmp.path().join("store")).unwrap();
    store.capture(&tree, "t", &exact(tmp.path()), &Task::quiet()).unwrap();
    std::fs::create_dir_all(out.join("half/made")).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&out).unwrap());
    let first = "libcv extracts an image into this directory, and clears it after an interruption";
    std::fs::write(out.join(".libcv-extracting"), format!("{first}\n{inode}\n{}\n", store.image("t").unwrap().id()))
        .unwrap();
    // A part of an image is not captured.
    let part = store.capture(&out, "part", &exact(tmp.path()), &Task::quiet());
    assert_eq!(part.unwrap_err().kind(), ErrorKind::Refused);
    std::fs::write(out.join("half/made/file"), "x").unwrap();
    store.image("t").unwrap().extract(&out, &ExtractOptions::default(), &Task::quiet()).unwrap();
    assert_eq!(differences(&store, "t", &out), Vec::<String>::new());
    thaw(&out);
}

#[test]
fn a_store_in_the_tree_is_left_out_from_its_first_day_on() {
    let tmp = tempfile::tempdir().unwrap();
    let tree = tmp.path().join("tree");
    small_tree(&tree);
    std::fs::create_dir(tree.join("srv")).unwrap();
    let store = Store::init(tree.join("srv/images")).unwrap();
    // A file of that name alone makes no store.
    std::fs::create_dir(tree.join("srv/other")).unwrap();
    std::fs::write(tree.join("srv/other/store.json"), "{}").unwrap();
    for _ in 0..2 {
        let done = store.capture(&tree, "t", &exact(tmp.path()), &Task::quiet()).unwrap();
        assert!(done.notes.iter().any(|n| n.starts_with("/srv/images ")), "{:?}", done.notes);
        let paths: Vec<_> = store.image("t").unwrap().rows().unwrap().map(|r| r.unwrap().path).collect();
        assert!(paths.contains(&b"srv/images".to_vec()) && paths.contains(&b"srv/other/store.json".to_vec()));
        assert!(!paths.iter().any(|p| p.starts_with(b"srv/images/")));
    }
    store.remove("t").unwrap();
    let e = store.remove("t").unwrap_err();
    assert_eq!((e.kind(), e.message()), (ErrorKind::NotFound, "t was removed"));
}
