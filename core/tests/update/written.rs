//! What is written: what differs, whatever it is, and nothing else.

use super::*;
use crate::common::{Mounted, is_root, noise, odd_tree, run, skip, thaw};
use libcv::tree::diff::DiffOptions;
use libcv::tree::update::{Need, What};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn only_what_differs_is_written() {
    let bed = Bed::deployed();
    let inode = |p: &str| std::fs::metadata(bed.at(p)).unwrap().ino();
    let before = (inode("out/home/u/f9"), inode("out/usr/bin/big"), inode("out/etc/os-release"));
    bed.write("tree/etc/motd", "new\n");
    bed.write("tree/home/u/f9", "other\n");
    std::fs::remove_file(bed.at("tree/home/u/f10")).unwrap();
    std::fs::set_permissions(bed.at("tree/usr/bin/big"), PermissionsExt::from_mode(0o700)).unwrap();
    let image = bed.capture();

    let dry = bed.update(&image, &UpdateOptions { dry_run: true, ..node() }).unwrap();
    let said: Vec<_> = dry.actions.iter().map(|a| (a.what, String::from_utf8_lossy(&a.path).into_owned())).collect();
    let wanted = [
        (What::Create, "etc/motd"),
        (What::Delete, "home/u/f10"),
        (What::Replace, "home/u/f9"),
        (What::Metadata, "usr/bin/big"),
    ];
    assert_eq!(said, wanted.map(|(what, path)| (what, path.to_owned())));
    assert!(dry.dry_run && !bed.at("out/etc/motd").exists() && bed.at("out/home/u/f10").exists());

    let done = bed.update(&image, &UpdateOptions { verify: true, no_sync: false, ..node() }).unwrap();
    assert_eq!((done.created, done.replaced, done.metadata, done.deleted), (1, 1, 1, 1));
    assert!(done.verified && done.actions.is_empty() && done.bytes == 10 && !done.resumed, "{done:?}");
    assert_eq!(done.unchanged, done.entries - 3);
    assert_eq!(bed.differences(&image, &bed.at("out")), none());
    assert!(inode("out/home/u/f9") != before.0, "replaced");
    assert_eq!((inode("out/usr/bin/big"), inode("out/etc/os-release")), (before.1, before.2));
    let again = bed.update(&image, &UpdateOptions { dry_run: true, ..whole() }).unwrap();
    assert_eq!((again.actions, again.verdict.need), (Vec::new(), Need::Nothing));
}

#[test]
fn every_oddity_survives_an_update() {
    if !is_root() {
        skip("every_oddity_survives_an_update", "it needs root");
        return;
    }
    let bed = Bed::new();
    let (source, target) = (Mounted::new("ext4", 1 << 30), Mounted::new("ext4", 1 << 30));
    let out = target.path();
    small_tree(&source.path());
    let first = bed.capture_of(&source.path(), "t");
    bed.extract(&out);
    odd_tree(&source.path(), 50);
    let second = bed.capture_of(&source.path(), "t");
    let go = |image: &Image, options: UpdateOptions| image.update(&out, &options, &Task::quiet());
    go(&second, UpdateOptions { verify: true, ..whole() }).unwrap();
    assert_eq!(bed.differences(&second, &out), none());
    // What is frozen changes, and so does each kind of metadata.
    thaw(&source.path());
    let at = |p: &str| source.path().join(p);
    std::fs::write(at("frozen/immutable"), "other").unwrap();
    std::fs::write(at("frozen/more"), "more").unwrap();
    std::fs::remove_file(at("frozen/append")).unwrap();
    std::fs::remove_file(at("tib")).unwrap();
    std::fs::set_permissions(at("locked"), PermissionsExt::from_mode(0o711)).unwrap();
    let text = |p: &str| at(p).to_str().unwrap().to_owned();
    run("chown", &["1:2", &text("suid")]);
    run("chmod", &["6711", &text("suid")]);
    run("chown", &["7:7", &text("a/cap")]);
    run("setfattr", &["-n", "security.capability", "-v", "0x0100000200300000000000000000000000000000", &text("a/cap")]);
    run("setfattr", &["-x", "user.one", &text("a/xattr")]);
    run("setfattr", &["-n", "user.two", "-v", "2", &text("a/xattr")]);
    run("setfacl", &["-b", &text("acl/file")]);
    run("setfacl", &["-m", "u:77:r", &text("sgid")]);
    run("touch", &["-h", "-m", "-d", "2011-01-01 00:00:00.125 UTC", &text("a/link")]);
    std::fs::write(at("acl/handed-down"), "has what the directory hands down").unwrap();
    run("setfacl", &["-b", &text("acl/handed-down")]);
    run("chattr", &["+i", &text("frozen")]);
    run("chattr", &["+a", &text("a/plain")]);
    let third = bed.capture_of(&source.path(), "t");
    go(&third, UpdateOptions { verify: true, ..whole() }).unwrap();
    assert_eq!(bed.differences(&third, &out), none());
    go(&first, whole()).unwrap();
    assert_eq!(bed.differences(&first, &out), none());
    thaw(&source.path());
}

/// Invariants: updating any tree to any other gives what extracting it would, whether its origin is known or not; and
/// what `diff_tree` says of a tree is what `diff` says of its capture.
#[test]
fn any_tree_becomes_any_other() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_126_u64);
    let rounds = if std::env::var("FULL").is_ok_and(|f| f == "1") { 400 } else { 40 };
    let places = if Path::new("/dev/shm").is_dir() {
        vec![std::env::temp_dir(), "/dev/shm".into()]
    } else {
        vec![std::env::temp_dir()]
    };
    for round in 0..rounds {
        let seed = seed + round;
        let bed = Bed::new();
        let target = tempfile::tempdir_in(&places[round as usize % places.len()]).unwrap();
        let out = target.path().join("out");
        random_tree(&bed.at("a"), seed * 2);
        random_tree(&bed.at("b"), seed * 2 + 1);
        let (a, b) = (bed.capture_of(&bed.at("a"), "a"), bed.capture_of(&bed.at("b"), "b"));
        let known = round % 3 != 0;
        if known {
            a.extract(&out, &ExtractOptions { no_sync: true, ..Default::default() }, &Task::quiet()).unwrap();
        } else {
            random_tree(&out, seed * 2);
        }
        let of_tree: Vec<_> = b
            .diff_tree(&out, &DiffOptions { exact: true, ..DiffOptions::default() }, &Task::quiet())
            .unwrap()
            .into_iter()
            .map(|c| c.change)
            .collect();
        let captured = bed.capture_of(&out, "out");
        let of_images = bed.store.diff(&b, &captured, &Task::quiet()).unwrap();
        assert_eq!(of_tree, of_images, "seed {seed}");
        // Without a note of its origin, equal sizes and times are all that is known.
        let options = UpdateOptions { paranoid: !known, ..whole() };
        b.update(&out, &options, &Task::quiet()).unwrap_or_else(|e| panic!("seed {seed}: {e:?}"));
        assert_eq!(bed.differences(&b, &out), none(), "seed {seed}");
        let again =
            b.update(&out, &UpdateOptions { dry_run: true, paranoid: true, ..whole() }, &Task::quiet()).unwrap();
        assert_eq!(again.actions, [], "seed {seed}");
    }
}

/// A small tree in which names, sizes and times often meet those of another seed.
fn random_tree(root: &Path, seed: u64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut dice = move |n: u64| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 16) % n
    };
    std::fs::create_dir_all(root).unwrap();
    let (mut directories, mut files, mut all) = (vec![root.to_owned()], Vec::<PathBuf>::new(), vec![root.to_owned()]);
    for _ in 0..12 + dice(12) {
        let path =
            directories[dice(directories.len() as u64) as usize].join(["a", "b", "c", "d", "a.x"][dice(5) as usize]);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match dice(12) {
            0..3 => {
                std::fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            3..5 => symlink(["x", "a/b", "../c"][dice(3) as usize], &path).unwrap(),
            5 if is_root() => run("mkfifo", &[path.to_str().unwrap()]),
            6 | 7 if !files.is_empty() => {
                std::fs::hard_link(&files[dice(files.len() as u64) as usize], &path).unwrap();
                continue;
            }
            kind => {
                let content: &[u8] = [&b""[..], b"1", b"2", b"22", b"21"][dice(5) as usize];
                let large = noise(300_000 + dice(2) as usize, 1 + dice(2));
                std::fs::write(&path, if kind == 8 { &large[..] } else { content }).unwrap();
                files.push(path.clone());
            }
        }
        all.push(path);
    }
    for path in all.iter().rev() {
        let link = path.symlink_metadata().unwrap().is_symlink();
        if is_root() && dice(3) == 0 {
            std::os::unix::fs::lchown(path, Some(dice(2) as u32), Some(dice(2) as u32)).unwrap();
        }
        if !link {
            let mode = [0o644, 0o755, 0o4755, 0o700][dice(4) as usize];
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
        if is_root() && dice(4) == 0 {
            let value = if dice(2) == 0 { "1" } else { "2" };
            run("setfattr", &["-h", "-n", "trusted.t", "-v", value, path.to_str().unwrap()]);
        }
        let time = Timespec { tv_sec: 1_000_000 + dice(2) as i64, tv_nsec: dice(2) as i64 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

#[test]
fn names_of_one_file_are_parted_and_joined() {
    let bed = Bed::new();
    for name in ["a", "b", "c", "d"] {
        bed.write(&format!("tree/{name}"), "same");
    }
    std::fs::remove_file(bed.at("tree/b")).unwrap();
    std::fs::hard_link(bed.at("tree/a"), bed.at("tree/b")).unwrap();
    let parted = bed.capture();
    bed.extract(&bed.at("out"));
    std::fs::remove_file(bed.at("tree/b")).unwrap();
    bed.write("tree/b", "same");
    std::fs::remove_file(bed.at("tree/d")).unwrap();
    std::fs::hard_link(bed.at("tree/c"), bed.at("tree/d")).unwrap();
    std::fs::hard_link(bed.at("tree/c"), bed.at("tree/e")).unwrap();
    let joined = bed.capture();
    for image in [&joined, &parted, &joined] {
        bed.update(image, &node()).unwrap();
        assert_eq!(bed.differences(image, &bed.at("out")), none());
    }
    // The content changes: every name of it is linked again.
    std::fs::write(bed.at("tree/c"), "changed").unwrap();
    let changed = bed.capture();
    bed.update(&changed, &node()).unwrap();
    assert_eq!(bed.differences(&changed, &bed.at("out")), none());
}
