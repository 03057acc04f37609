//! squashfs, erofs and cpio: the kernel and the programs of others are the judges. Files that are derived once.
#![allow(missing_docs)]

mod common;

use libcv::capture::CaptureOptions;
use libcv::convert::tar::{Compression, Entry, Kind, Writer};
use libcv::convert::{
    DeriveKind, DeriveOptions, ExportOptions, Exported, Format, ImportOptions, derive, derive_to, export, export_to,
    import, write_derived,
};
use libcv::image::Hash;
use libcv::job::Task;
use libcv::store::{Image, Store, SyncOptions};
use libcv::sys::confined::Root;
use libcv::tree::compare::compare;
use libcv::{ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A store with an image of every oddity.
struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn capture(&self, tree: &Path, name: &str) -> Image {
        let options = CaptureOptions { exact: true, state: Some(self.path("state")), ..CaptureOptions::default() };
        self.store.capture(tree, name, &options, &Task::quiet()).unwrap();
        self.store.image(name).unwrap()
    }

    /// The odd tree, without a path over `PATH_MAX`, which nobody can extract; `large` says how large its file of holes is.
    fn odd(&self, large: u64) -> Image {
        let tree = self.path("tree");
        std::fs::create_dir(&tree).unwrap();
        common::small_tree(&tree);
        if common::is_root() {
            common::odd_tree(&tree, 300);
            std::fs::File::options().write(true).open(tree.join("tib")).unwrap().set_len(large).unwrap();
            for (name, flags) in [("frozen", "-i"), ("frozen/immutable", "-i"), ("frozen/append", "-a")] {
                common::run("chattr", &[flags, tree.join(name).to_str().unwrap()]);
            }
            std::fs::remove_dir_all(tree.join("d".repeat(200))).unwrap();
            let _ = std::fs::remove_file(tree.join("a/socket"));
            common::run("setfattr", &["-n", "user.of-the-root", "-v", "r", tree.to_str().unwrap()]);
            std::os::unix::fs::chown(&tree, Some(7), Some(8)).unwrap();
            common::run("chmod", &["751", tree.to_str().unwrap()]);
            common::run(
                "setfattr",
                &["-n", "user.large", "-v", &"x".repeat(3000), tree.join("large").to_str().unwrap()],
            );
            // A directory of several blocks, with names that sort before the dots.
            std::fs::create_dir(tree.join("wide")).unwrap();
            for n in 0..500 {
                std::fs::write(tree.join(format!("wide/{n:03}{}", "w".repeat(n % 200))), "w".repeat(n * 20)).unwrap();
            }
            for name in ["!", "-", ".a", "..b"] {
                std::fs::write(tree.join("wide").join(name), name).unwrap();
            }
        }
        let image = self.capture(&tree, "odd");
        common::thaw(&tree);
        image
    }

    fn export(&self, image: &Image, name: &str, format: Format) -> (PathBuf, Exported) {
        let options = ExportOptions { format, ..ExportOptions::default() };
        let done = export(image, self.path(name), &options, &Task::quiet()).unwrap();
        (self.path(name), done)
    }
}

/// What a tree differs in from the image: field and text.
fn differences(image: &Image, tree: &Path) -> Vec<(&'static str, String)> {
    let root = Root::open(tree).unwrap();
    let found = compare(image, image.store(), &root, false, 2, &Task::quiet()).unwrap();
    found.iter().map(|d| (d.field, d.to_string())).collect()
}

/// The differences but for where holes are, and in these fields.
fn other(mut found: Vec<(&'static str, String)>, known: &[&str]) -> Vec<(&'static str, String)> {
    found.retain(|(field, what)| !known.contains(field) && !what.contains("bytes of the medium"));
    found
}

fn features(done: &Exported) -> Vec<&str> {
    done.losses.iter().map(|l| l.feature.as_str()).collect()
}

/// A file that is mounted read-only while this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn new(bed: &Bed, file: &Path, kind: &str) -> Option<Self> {
        let at = bed.path("mounted");
        std::fs::create_dir_all(&at).unwrap();
        let known = std::fs::read_to_string("/proc/filesystems").unwrap();
        if !known.contains(kind) && !Command::new("modprobe").arg(kind).status().is_ok_and(|s| s.success()) {
            common::skip("formats", &format!("the kernel has no {kind}"));
            return None;
        }
        common::run("mount", &["-o", "loop,ro", "-t", kind, file.to_str().unwrap(), at.to_str().unwrap()]);
        Some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn has(programs: &[&str]) -> bool {
    common::can("formats", programs)
}

#[test]
fn a_kernel_mounts_the_erofs_and_finds_everything() {
    let bed = Bed::new();
    if !has(&["setfacl", "setfattr"]) {
        return;
    }
    let image = bed.odd(1 << 40);
    let (file, done) = bed.export(&image, "a.erofs", Format::Erofs);
    assert_eq!(done.entries, image.manifest().totals.rows);
    assert_eq!(features(&done), ["holes"]);
    // The same tree, the same bytes, whatever the store.
    let second = Bed::new();
    let again = second.capture(&bed.path("tree"), "again");
    assert_eq!(again.tree_id(), image.tree_id());
    let (second, _) = second.export(&again, "b.erofs", Format::Erofs);
    common::run("cmp", &[file.to_str().unwrap(), second.to_str().unwrap()]);
    // 2^40 bytes of holes need a map and little else.
    assert!(std::fs::metadata(&file).unwrap().len() < 100 << 20);
    let Some(at) = Mounted::new(&bed, &file, "erofs") else { return };
    assert_eq!(other(differences(&image, &at.0), &[]), []);
    // The kernel looks names up by halves: each is found.
    for entry in std::fs::read_dir(at.0.join("wide")).unwrap() {
        let path = entry.unwrap().path();
        let original = bed.path("tree/wide").join(path.file_name().unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(original).unwrap());
    }
    let root = std::fs::metadata(&at.0).unwrap();
    assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (7, 8, 0o751));
    // And captured again it is the same tree, but for the holes.
    drop(at);
    if Path::new("/usr/bin/fsck.erofs").exists() {
        common::run("fsck.erofs", &[file.to_str().unwrap()]);
    }
}

#[test]
fn an_erofs_without_holes_is_the_same_tree_again() {
    let bed = Bed::new();
    if !has(&["setfacl", "setfattr"]) {
        return;
    }
    drop(bed.odd(1 << 20));
    for name in ["tib", "hole-end", "hole-only"] {
        std::fs::remove_file(bed.path("tree").join(name)).unwrap();
    }
    let image = bed.capture(&bed.path("tree"), "odd");
    let (file, done) = bed.export(&image, "a.erofs", Format::Erofs);
    assert!(done.losses.is_empty(), "{:?}", done.losses);
    let Some(at) = Mounted::new(&bed, &file, "erofs") else { return };
    let again = bed.capture(&at.0, "again");
    // Newer kernels say of everything in an erofs that it is immutable; nothing else may differ.
    let mut changes = bed.store.diff(&image, &again, &Task::quiet()).unwrap();
    changes.retain(|c| c.fields != [libcv::store::Field::Flags]);
    assert!(changes.is_empty(), "{:?}", changes.iter().map(libcv::store::Change::to_json).collect::<Vec<_>>());
}

#[test]
fn a_squashfs_goes_out_and_in_again() {
    let bed = Bed::new();
    if !has(&["setfacl", "setfattr", "tar2sqfs", "sqfs2tar"]) {
        return;
    }
    let image = bed.odd(64 << 20);
    let (file, done) = bed.export(&image, "a.squashfs", Format::Squashfs);
    let lost = [
        "attributes system.posix_acl_access",
        "attributes system.posix_acl_default",
        "holes",
        "modification times",
        "nanoseconds of modification times",
    ];
    assert_eq!(features(&done), lost);
    let (second, _) = bed.export(&image, "b.squashfs", Format::Squashfs);
    common::run("cmp", &[file.to_str().unwrap(), second.to_str().unwrap()]);
    if let Some(at) = Mounted::new(&bed, &file, "squashfs") {
        assert_eq!(other(differences(&image, &at.0), &["attributes", "mtime"]), []);
        let (a, b) = (bed.path("tree/usr/bin/big"), at.0.join("usr/bin/big"));
        assert_eq!(std::fs::metadata(a).unwrap().mtime(), std::fs::metadata(b).unwrap().mtime());
    }
    // In again: the same as what an image of that squashfs would be, that is itself from then on.
    let read = |path: &Path| import(&bed.store, path, "back", &ImportOptions::default(), &Task::quiet());
    let back = read(&file).unwrap();
    assert_eq!((back.format, back.entries), ("squashfs", image.manifest().totals.rows));
    let image = bed.store.image("back").unwrap();
    let (third, done) = bed.export(&image, "c.squashfs", Format::Squashfs);
    assert!(done.losses.is_empty(), "{:?}", done.losses);
    let again = read(&third).unwrap();
    assert_eq!((again.tree, again.changed), (back.tree, false));
    if let Some(at) = Mounted::new(&bed, &file, "squashfs") {
        assert_eq!(differences(&image, &at.0), []);
    }
    // Cut off, it is an error and no image.
    std::fs::File::options().write(true).open(&third).unwrap().set_len(5000).unwrap();
    assert!(read(&third).is_err());
    assert!(!read(&file).unwrap().changed);
    let e = import(&bed.store, pipe_of(&file).1, "pipe", &ImportOptions::default(), &Task::quiet());
    assert_eq!(e.unwrap_err().kind(), ErrorKind::Unsupported);
}

/// A FIFO through which a file comes.
fn pipe_of(file: &Path) -> (std::thread::JoinHandle<()>, PathBuf) {
    let fifo = file.with_added_extension("fifo");
    common::run("mkfifo", &[fifo.to_str().unwrap()]);
    let (from, to) = (file.to_owned(), fifo.clone());
    let writing = std::thread::spawn(move || {
        // The reader may have enough early.
        let _ = std::fs::read(from).and_then(|bytes| std::fs::write(to, bytes));
    });
    (writing, fifo)
}

#[test]
fn without_the_program_it_says_which_package_has_it() {
    if Path::new("/usr/bin/tar2sqfs").exists() {
        return;
    }
    let bed = Bed::new();
    std::fs::create_dir(bed.path("t")).unwrap();
    let image = bed.capture(&bed.path("t"), "a");
    let options = ExportOptions { format: Format::Squashfs, ..ExportOptions::default() };
    let e = export(&image, bed.path("x"), &options, &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(e.hint_text().unwrap().contains("squashfs-tools-ng"));
}

#[test]
fn cpio_unpacks_what_we_write() {
    let bed = Bed::new();
    if !has(&["setfacl", "setfattr", "cpio"]) {
        return;
    }
    let image = bed.odd(1 << 20);
    let (file, done) = bed.export(&image, "a.cpio", Format::Cpio);
    let lost = [
        "attributes security.",
        "attributes system.posix_acl_access",
        "attributes system.posix_acl_default",
        "attributes trusted.",
        "attributes user.",
        "hard links of symbolic links",
        "holes",
        "modification times",
        "nanoseconds of modification times",
    ];
    assert_eq!(features(&done), lost);
    let mut streamed = Vec::new();
    export_to(&image, &mut streamed, &ExportOptions { format: Format::Cpio, ..Default::default() }, &Task::quiet())
        .unwrap();
    assert!(streamed == std::fs::read(&file).unwrap() && streamed.len() % 512 == 0);
    let list =
        Command::new("cpio").args(["-t", "--quiet"]).stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
    // GNU cpio prints a newline of a name as it is.
    assert_eq!(list.stdout.split(|c| *c == b'\n').count() as u64 - 2, done.entries);
    let to = bed.path("to");
    std::fs::create_dir(&to).unwrap();
    let mut cpio = Command::new("cpio");
    cpio.args(["-idm", "--quiet", "--no-absolute-filenames"]).current_dir(&to);
    let out = cpio.stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut found = differences(&image, &to);
    // The root was there before.
    found.retain(|(_, what)| !what.starts_with("/:"));
    assert_eq!(other(found, &["attributes", "mtime", "links"]), []);
    let at = |p: &str| std::fs::symlink_metadata(to.join(p)).unwrap();
    assert_eq!((at("links/one/file").ino(), at("links/one/file").nlink()), (at("a/third").ino(), 3));
    // Compressed as the name says.
    let (packed, _) = bed.export(&image, "a.cpio.zst", Format::Cpio);
    let plain = Command::new("zstd").arg("-dc").arg(&packed).stderr(Stdio::null()).output().unwrap();
    assert!(plain.stdout == streamed);
}

#[test]
fn what_cpio_cannot_hold_at_all_is_refused_by_name() {
    let bed = Bed::new();
    let tree = bed.path("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::File::create(tree.join("huge")).unwrap().set_len(1 << 32).unwrap();
    let image = bed.capture(&tree, "huge");
    let refused = |image: &Image, name: &str| {
        let options = ExportOptions { format: Format::Cpio, ..ExportOptions::default() };
        let e = export(image, bed.path("x"), &options, &Task::quiet()).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["entry"]), (ErrorKind::Unsupported, &name.into()));
        assert!(!bed.path("x").exists());
    };
    refused(&image, "huge");
    std::fs::remove_file(tree.join("huge")).unwrap();
    std::fs::write(tree.join("TRAILER!!!"), "x").unwrap();
    refused(&bed.capture(&tree, "trailer"), "TRAILER!!!");
}

#[test]
fn a_file_is_derived_once_and_healed() {
    let bed = Bed::new();
    let tree = bed.path("tree");
    std::fs::create_dir(&tree).unwrap();
    common::small_tree(&tree);
    for n in 0..6 {
        std::fs::write(tree.join(format!("large{n}")), common::noise(2 << 20, n)).unwrap();
    }
    let image = bed.capture(&tree, "a");
    let task = Task::quiet();
    for kind in [DeriveKind::Erofs, DeriveKind::Cpio, DeriveKind::Squashfs] {
        if kind == DeriveKind::Squashfs && !Path::new("/usr/bin/tar2sqfs").exists() {
            common::skip("derive", "tar2sqfs is not installed");
            continue;
        }
        let plain = kind != DeriveKind::Squashfs;
        let compression = plain.then_some(Compression::None);
        let options = DeriveOptions { compression, work: Some(bed.path("")), ..DeriveOptions::new(kind) };
        let (derived, first) = derive(&image, &options, &task).unwrap();
        assert!(first.made && first.size == derived.size() && first.image == image.id());
        if plain {
            // Large content is what the image has already.
            assert!(first.size > 15 << 20 && first.stored_bytes < 1 << 20, "{first:?}");
        }
        let (again, second) = derive(&image, &options, &task).unwrap();
        assert!(!second.made && second.stored_bytes == 0 && second.hash == first.hash && second.losses == first.losses);
        let (out, exported) = (bed.path(kind.name()), bed.path(&format!("{}-exported", kind.name())));
        write_derived(&again, &out, &task).unwrap();
        assert_eq!(write_derived(&again, &out, &task).unwrap_err().kind(), ErrorKind::Refused);
        let format = Format::parse(kind.name()).unwrap();
        export(&image, &exported, &ExportOptions { format, ..ExportOptions::default() }, &task).unwrap();
        common::run("cmp", &[out.to_str().unwrap(), exported.to_str().unwrap()]);
    }
    assert!(
        std::fs::read_dir(bed.path("")).unwrap().all(|e| !e.unwrap().file_name().to_string_lossy().contains("derive"))
    );
    // Another handle finds it, and another image has its own.
    let store = Store::open(bed.path("store")).unwrap();
    let names = store.all_derived().unwrap();
    assert!(names.len() >= 2 && names.iter().all(|(id, _)| *id == image.id()));
    assert_eq!(store.check(true, &task).unwrap().faults, []);
}

#[test]
fn damage_to_a_derived_file_is_found_told_and_healed() {
    let bed = Bed::new();
    let tree = bed.path("tree");
    std::fs::create_dir(&tree).unwrap();
    common::small_tree(&tree);
    let image = bed.capture(&tree, "a");
    let task = Task::quiet();
    let packs = || -> std::collections::BTreeSet<PathBuf> {
        let dirs = std::fs::read_dir(bed.path("store/packs")).unwrap();
        dirs.flat_map(|d| std::fs::read_dir(d.unwrap().path()).unwrap()).map(|e| e.unwrap().path()).collect()
    };
    let before = packs();
    let options = DeriveOptions { compression: Some(Compression::None), ..DeriveOptions::new(DeriveKind::Cpio) };
    let (derived, first) = derive(&image, &options, &task).unwrap();
    let own: Vec<PathBuf> = packs().difference(&before).cloned().collect();
    assert_eq!(own.len(), 1);
    let document = bed.path(&format!("store/blobs/{}/cpio-plain", image.id()));
    let whole = std::fs::read(&document).unwrap();
    let faults = || {
        let store = Store::open(bed.path("store")).unwrap();
        let report = store.check(false, &task).unwrap();
        assert!(report.faults.iter().all(|f| f.images == [image.id().to_string()]), "{:?}", report.faults);
        report.faults.into_iter().map(|f| f.object).collect::<Vec<_>>()
    };
    let object = format!("blobs/{}/cpio-plain", image.id());
    let again = || {
        let store = Store::open(bed.path("store")).unwrap();
        derive(&store.image("a").unwrap(), &options, &task).unwrap().1
    };

    // A flipped bit anywhere in the document.
    for at in (0..whole.len()).step_by(whole.len() / 20) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&document, bytes).unwrap();
        assert_eq!(faults(), std::slice::from_ref(&object), "{at}");
    }
    let healed = again();
    assert!(healed.made && healed.hash == first.hash && std::fs::read(&document).unwrap() == whole);
    // The document of another place.
    let moved = bed.path(&format!("store/blobs/{}/cpio-zstd", image.id()));
    std::fs::copy(&document, &moved).unwrap();
    assert_eq!(faults(), [format!("blobs/{}/cpio-zstd", image.id())]);
    std::fs::remove_file(moved).unwrap();
    // Its chunks are gone.
    std::fs::remove_file(&own[0]).unwrap();
    assert!(faults().contains(&object));
    let gone = derived.write_to(&mut Vec::new(), &task);
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::Integrity);
    let healed = again();
    assert!(healed.made && healed.hash == first.hash);
    assert_eq!(faults(), [] as [String; 0]);
    // Damage that nobody has noticed yet: the file is made again when it is written out.
    let flip = || {
        for pack in packs().difference(&before) {
            let mut bytes = std::fs::read(pack).unwrap();
            bytes[36] ^= 0xff;
            std::fs::write(pack, bytes).unwrap();
        }
    };
    let copy = Store::init(bed.path("copy")).unwrap();
    let store = Store::open(bed.path("store")).unwrap();
    store.sync(&copy, &SyncOptions::default(), &task).unwrap();
    flip();
    let store = Store::open(bed.path("store")).unwrap();
    let out = bed.path("out.cpio");
    let healed = derive_to(&store.image("a").unwrap(), &options, &out, &task).unwrap();
    assert!(healed.made && healed.hash == Hash::of(&std::fs::read(&out).unwrap()));
    assert_eq!(store.check(true, &task).unwrap().faults, []);
    // A store that has no such file: it is removed, and made again when somebody wants it.
    flip();
    let store = Store::open_to_repair(bed.path("store")).unwrap();
    assert_eq!(store.repair(&copy, &task).unwrap().faults, []);
    let made = again();
    assert!(made.made && made.hash == first.hash);
    // One that has it: it is fetched.
    common::run("cp", &["-a", bed.path("store").to_str().unwrap(), bed.path("twin").to_str().unwrap()]);
    flip();
    let store = Store::open_to_repair(bed.path("store")).unwrap();
    let done = store.repair(&Store::open(bed.path("twin")).unwrap(), &task).unwrap();
    assert!(done.faults.is_empty() && done.chunks > 0, "{done:?}");
    assert!(!again().made);
}

#[test]
fn an_export_that_fails_leaves_nothing() -> Result<()> {
    let bed = Bed::new();
    let tree = bed.path("tree");
    std::fs::create_dir(&tree).unwrap();
    common::small_tree(&tree);
    let image = bed.capture(&tree, "a");
    for format in Format::ALL {
        let task = Task::quiet();
        task.cancel_token().cancel();
        let options = ExportOptions { format, ..ExportOptions::default() };
        match export(&image, bed.path("out"), &options, &task) {
            Err(e) => assert!([ErrorKind::Cancelled, ErrorKind::Unsupported].contains(&e.kind()), "{format:?}: {e:?}"),
            Ok(_) => panic!("{format:?} was cancelled"),
        }
        let left: Vec<_> = std::fs::read_dir(bed.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|n| ["store", "tree", "state"].iter().any(|known| n == known)), "{format:?}: {left:?}");
    }
    let bad = ExportOptions { format: Format::Erofs, compression: Some(Compression::Zstd), ..ExportOptions::default() };
    assert_eq!(export(&image, bed.path("out"), &bad, &Task::quiet()).unwrap_err().kind(), ErrorKind::Invalid);
    let oci = ExportOptions { format: Format::Oci, ..ExportOptions::default() };
    assert_eq!(export_to(&image, Vec::new(), &oci, &Task::quiet()).map(drop).unwrap_err().kind(), ErrorKind::Invalid);
    Ok(())
}

#[test]
fn an_archive_comes_through_a_pipe() {
    let bed = Bed::new();
    let mut w = Writer::new(Vec::new());
    let kind = Kind::file(5);
    let entry =
        Entry { path: b"f".to_vec(), mode: 0o600, uid: 1, gid: 2, mtime: (3, 4), xattrs: vec![], inode_flags: 0, kind };
    w.entry(&entry).unwrap();
    w.data(b"12345").unwrap();
    let file = bed.path("a.tar");
    std::fs::write(&file, w.finish().unwrap()).unwrap();
    let read = |path: &Path| import(&bed.store, path, "a", &ImportOptions::default(), &Task::quiet()).unwrap();
    let first = read(&file);
    let (writing, fifo) = pipe_of(&file);
    let second = read(&fifo);
    writing.join().unwrap();
    assert!((second.tree, second.changed) == (first.tree, false));
    let e = import(&bed.store, bed.path("tree"), "x", &ImportOptions::default(), &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    std::fs::create_dir(bed.path("dir")).unwrap();
    let e = import(&bed.store, bed.path("dir"), "x", &ImportOptions::default(), &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
}
