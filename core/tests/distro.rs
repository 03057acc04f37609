//! Distributions, with real packages on real media: added, listed, verified, laid out, removed; bad ones are refused, and
//! leave nothing.
#![allow(missing_docs)]

#[path = "common/mod.rs"]
mod common;

use common::miniature::miniature;
use libcv::ErrorKind;
use libcv::distro::iso::{Listing, MediumFile, ReadAt};
use libcv::distro::{self, AddOptions, Added, Distro, Selection};
use libcv::job::{CancelToken, Task};
use libcv::store::collect::CollectOptions;
use libcv::store::{Store, SyncOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
    mini: PathBuf,
}

impl Bed {
    fn new(test: &str) -> Option<Self> {
        let mini = miniature(test)?;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        Some(Self { dir, store, mini })
    }

    fn add(&self, place: &Path, name: Option<&str>, keys: &[&str]) -> libcv::Result<Added> {
        let keys = keys.iter().map(|k| self.mini.join("keys").join(k)).collect();
        let options = AddOptions { name: name.map(str::to_owned), keys, threads: 2, ..AddOptions::default() };
        distro::add(&self.store, place, &options, &Task::quiet())
    }

    fn iso(&self, version: &str) -> PathBuf {
        self.mini.join(format!("mini-{version}.iso"))
    }

    /// A tree that may be changed.
    fn tree(&self, name: &str, from: &str) -> PathBuf {
        let to = self.dir.path().join(name);
        common::run("cp", &["-a", self.mini.join(from).to_str().unwrap(), to.to_str().unwrap()]);
        to
    }

    /// Refused with this kind within 5 s, and nothing is there afterwards.
    fn refused(&self, place: &Path, kind: ErrorKind, says: &str) {
        let began = Instant::now();
        let e = self.add(place, None, &[]).err().unwrap_or_else(|| panic!("{} was taken", place.display()));
        assert_eq!(e.kind(), kind, "{}: {e:?}", place.display());
        assert!(e.message().contains(says), "{e:?}");
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(Distro::list(&self.store).unwrap().is_empty());
    }
}

fn edit(file: &Path, change: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed, "{}", file.display());
    std::fs::write(file, changed).unwrap();
}

/// The first file of a directory whose name begins so.
fn find(dir: &Path, front: &str) -> PathBuf {
    let names = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path());
    names.into_iter().find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(front)).unwrap()
}

#[test]
fn two_releases_lie_side_by_side() {
    let Some(bed) = Bed::new("two_releases_lie_side_by_side") else { return };
    let first = bed.add(&bed.iso("9.4"), None, &[]).unwrap();
    assert_eq!((first.name.as_str(), first.changed), ("rocky-9.4", true));
    let d = &first.distribution;
    assert_eq!((d.id.as_str(), d.version.as_str(), d.arch.as_str()), ("rocky", "9.4", "x86_64"));
    assert_eq!((d.source.media.as_str(), d.keys[0].pinned), ("undamaged", false));
    let sum = Command::new("sha256sum").arg(bed.iso("9.4")).output().unwrap().stdout;
    assert_eq!(d.source.sha256.as_deref(), std::str::from_utf8(&sum).unwrap().split(' ').next());
    let mut gpg = Command::new("gpg");
    gpg.args(["--show-keys", "--with-colons"]).arg(bed.mini.join("keys/mini.asc")).env("GNUPGHOME", bed.dir.path());
    let key = String::from_utf8(gpg.output().unwrap().stdout).unwrap();
    assert!(key.contains(&format!("fpr:::::::::{}:", d.keys[0].info.fingerprint)), "{key}");

    let second = bed.add(&bed.iso("9.5"), None, &[]).unwrap();
    assert_eq!(second.name, "rocky-9.5");
    // What did not change, most of it, is there already.
    assert!(second.stored_bytes * 20 < first.stored_bytes, "{} of {}", second.stored_bytes, first.stored_bytes);
    let again = bed.add(&bed.iso("9.4"), None, &[]).unwrap();
    assert_eq!((again.changed, again.image, again.stored_bytes), (false, first.image, 0));
    let names: Vec<String> = Distro::list(&bed.store).unwrap().into_iter().map(|d| d.name).collect();
    assert_eq!(names, ["rocky-9.4", "rocky-9.5"]);
    // They are no images, to those who list images.
    assert!(bed.store.images().unwrap().is_empty());
    let e = bed.add(&bed.iso("9.5"), Some("rocky-9.4"), &[]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);

    let repositories = Distro::open(&bed.store, "rocky-9.5").unwrap().repositories(&Task::quiet()).unwrap();
    let base = repositories.iter().find(|r| r.id == "BaseOS").unwrap();
    assert!(base.packages.iter().any(|p| p.nevra() == "mini-release-9.5-1.el9.noarch"));
    assert!(base.groups.iter().any(|g| g.id == "core" && g.name == "core"));
    let app = repositories.iter().find(|r| r.id == "AppStream").unwrap();
    assert_eq!(app.modules[0].default.as_deref(), Some("1"));
    assert_eq!(app.modules[0].streams.keys().collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn a_medium_is_the_one_that_was_published() {
    let Some(bed) = Bed::new("a_medium_is_the_one_that_was_published") else { return };
    let sum = Command::new("sha256sum").arg(bed.iso("9.4")).output().unwrap().stdout;
    let right = distro::Digest::sha256(std::str::from_utf8(&sum).unwrap().split(' ').next().unwrap()).unwrap();
    let add = |place: &Path, sha256: &distro::Digest| {
        let options = AddOptions { sha256: Some(sha256.clone()), ..AddOptions::default() };
        distro::add(&bed.store, place, &options, &Task::quiet())
    };
    let other = distro::Digest::sha256(&"0".repeat(64)).unwrap();
    let e = add(&bed.iso("9.4"), &other).unwrap_err();
    assert_eq!((e.kind(), e.facts()["actual"].as_str()), (ErrorKind::Integrity, Some(right.hex.as_str())));
    let e = add(&bed.mini.join("tree-9.4"), &right).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    assert!(Distro::list(&bed.store).unwrap().is_empty());
    let added = add(&bed.iso("9.4"), &right).unwrap();
    let source = &added.distribution.source;
    assert_eq!((source.sha256.as_deref(), source.media.as_str()), (Some(right.hex.as_str()), "undamaged"));
    for odd in ["", "00", &"g".repeat(64)] {
        assert_eq!(distro::Digest::sha256(odd).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn it_lives_with_the_store() {
    let Some(bed) = Bed::new("it_lives_with_the_store") else { return };
    bed.add(&bed.iso("9.4"), None, &[]).unwrap();
    let now = CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() };
    for _ in 0..2 {
        bed.store.collect(&now, &Task::quiet()).unwrap();
    }
    bed.store.check(true, &Task::quiet()).unwrap().ok().unwrap();
    let found = Distro::open(&bed.store, "rocky-9.4").unwrap().verify(2, &Task::quiet()).unwrap();
    found.ok().unwrap();
    assert_eq!((found.packages, found.signatures.as_str()), (11, "checked"));

    let copy = Store::init(bed.dir.path().join("copy")).unwrap();
    bed.store.sync(&copy, &SyncOptions::default(), &Task::quiet()).unwrap();
    Distro::open(&copy, "rocky-9.4").unwrap().verify(2, &Task::quiet()).unwrap().ok().unwrap();

    let e = Distro::remove(&bed.store, "rocky-9").unwrap_err();
    assert_eq!((e.kind(), e.hint_text()), (ErrorKind::NotFound, Some("did you mean \"rocky-9.4\"?")));
    Distro::remove(&bed.store, "rocky-9.4").unwrap();
    let e = Distro::open(&bed.store, "rocky-9.4").err().unwrap();
    assert_eq!((e.kind(), e.hint_text()), (ErrorKind::NotFound, Some("add one: cvctl distro add FILE.iso")));
    for _ in 0..2 {
        bed.store.collect(&CollectOptions { keep_last: Some(1), ..now.clone() }, &Task::quiet()).unwrap();
    }
    let left = walk(&bed.dir.path().join("store/packs")).values().map(Vec::len).sum::<usize>();
    assert!(left < 100_000, "{left}");
    // It can be added once more.
    assert!(bed.add(&bed.iso("9.4"), None, &[]).unwrap().changed);
}

#[test]
fn bad_packages_are_named() {
    let Some(bed) = Bed::new("bad_packages_are_named") else { return };
    bed.add(&bed.mini.join("bad-9.4"), Some("bad"), &[]).unwrap();
    let found = Distro::open(&bed.store, "bad").unwrap().verify(2, &Task::quiet()).unwrap();
    let names: Vec<_> = found.faults.iter().map(|f| (f.package.as_deref().unwrap(), f.message.as_str())).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].0 == "damaged-1.0-1.el9.noarch" && names[0].1.contains("checksum"));
    assert!(names[1].0 == "forged-1.0-1.el9.noarch" && names[1].1.contains("another key"));
    assert_eq!(names[2], ("unsigned-1.0-1.el9.noarch", "it is not signed"));
    let e = found.ok().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Integrity);
    assert!(e.message().contains("damaged-1.0-1.el9.noarch"), "{e}");
}

#[test]
fn a_given_key_is_the_only_one() {
    let Some(bed) = Bed::new("a_given_key_is_the_only_one") else { return };
    let e = bed.add(&bed.iso("9.4"), Some("other"), &["forger.asc"]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Integrity);
    let done = bed.add(&bed.iso("9.4"), Some("pinned"), &["mini.asc"]).unwrap();
    assert!(done.distribution.keys.len() == 1 && done.distribution.keys[0].pinned);
    // Another answer to the question whom to trust is another distribution.
    assert_eq!(bed.add(&bed.iso("9.4"), Some("pinned"), &[]).unwrap_err().kind(), ErrorKind::Conflict);
    // Where no key lies in it, one has to be given for signatures to be checked.
    let tree = bed.tree("keyless", "tree-9.4");
    std::fs::remove_file(tree.join("RPM-GPG-KEY-Mini")).unwrap();
    bed.add(&tree, Some("keyless"), &[]).unwrap();
    let found = Distro::open(&bed.store, "keyless").unwrap().verify(0, &Task::quiet()).unwrap();
    assert_eq!(found.signatures, "not checked: there are no keys");
    bed.add(&tree, Some("forger"), &["forger.asc"]).unwrap();
    let found = Distro::open(&bed.store, "forger").unwrap().verify(0, &Task::quiet()).unwrap();
    assert_eq!(found.faults.len(), 11);
    let e = bed.add(&tree, Some("x"), &["../mini-9.4.iso"]).unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::Invalid | ErrorKind::Limit), "{e}");
}

#[test]
fn trees_say_in_many_ways_what_they_are() {
    let Some(bed) = Bed::new("trees_say_in_many_ways_what_they_are") else { return };
    // Only the major release: the minor one is that of a package.
    let tree = bed.tree("major", "tree-9.4");
    edit(&tree.join(".treeinfo"), |t| t.replace("version = 9.4", "version = 9"));
    assert_eq!(bed.add(&tree, None, &[]).unwrap().name, "rocky-9.4");
    std::fs::remove_file(tree.join(".treeinfo")).unwrap();
    let by_disc = bed.add(&tree, Some("by-disc"), &[]).unwrap().distribution;
    assert_eq!((by_disc.id.as_str(), by_disc.version.as_str(), by_disc.repositories.len()), ("rocky", "9.4", 2));
    std::fs::remove_file(tree.join(".discinfo")).unwrap();
    let by_package = bed.add(&tree, Some("by-package"), &[]).unwrap().distribution;
    assert_eq!((by_package.version.as_str(), by_package.arch.as_str()), ("9.4", "x86_64"));
    // A mirror has no description of the whole.
    let mirror = bed.dir.path().join("mirror");
    for id in ["AppStream", "BaseOS"] {
        std::fs::create_dir_all(mirror.join(id).join("x86_64")).unwrap();
        let to = mirror.join(id).join("x86_64/os");
        common::run("cp", &["-a", tree.join(id).to_str().unwrap(), to.to_str().unwrap()]);
    }
    let mirror = bed.add(&mirror, Some("mirror"), &[]).unwrap().distribution;
    let ids: Vec<_> = mirror.repositories.iter().map(|r| (r.id.as_str(), r.path.as_str())).collect();
    assert_eq!(ids, [("AppStream", "AppStream/x86_64/os"), ("BaseOS", "BaseOS/x86_64/os")]);
    // Trees for kickstart refer to each other: fine in a directory that holds both, and not in one of them.
    let both = bed.dir.path().join("both");
    std::fs::create_dir(&both).unwrap();
    common::run("cp", &["-a", tree.join("AppStream").to_str().unwrap(), both.join("appstream").to_str().unwrap()]);
    common::run("cp", &["-a", tree.join("BaseOS").to_str().unwrap(), both.join("baseos").to_str().unwrap()]);
    let text = "[release]\nname = Red Hat Enterprise Linux\nshort = RHEL\nversion = 9.4\n[tree]\narch = x86_64\n\
        variants = AppStream,BaseOS\n[variant-AppStream]\nrepository = .\n[variant-BaseOS]\nrepository = ../baseos\n";
    std::fs::write(both.join("appstream/.treeinfo"), text).unwrap();
    assert_eq!(bed.add(&both, None, &[]).unwrap().name, "rhel-9.4");
    let e = bed.add(&both.join("appstream"), Some("half"), &[]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::UnsafeInput);
    assert!(e.hint_text().unwrap().contains("holds them all"));
}

#[test]
fn what_is_damaged_or_harms_is_refused() {
    let Some(bed) = Bed::new("what_is_damaged_or_harms_is_refused") else { return };
    let whole = std::fs::read(bed.iso("9.4")).unwrap();
    let file = bed.dir.path().join("bad.iso");
    let put = |bytes: &[u8]| std::fs::write(&file, bytes).unwrap();
    for length in [0, 1000, 33_000, 40_000, 100_000, whole.len() / 2, whole.len() - 400_000] {
        put(&whole[..length]);
        bed.refused(&file, ErrorKind::Integrity, "");
    }
    // One bit of a payload: only the medium's own checksum tells.
    let mut bad = whole.clone();
    let at = bad.len() - 2_000_000;
    bad[at] ^= 1;
    put(&bad);
    bed.refused(&file, ErrorKind::Integrity, "the medium is damaged");
    put(b"#!/bin/sh\n");
    bed.refused(&file, ErrorKind::Integrity, "not an ISO");

    let tree = bed.tree("t", "tree-9.4");
    let info = tree.join(".treeinfo");
    edit(&info, |t| t.replace("repository = BaseOS", "repository = ../../etc"));
    bed.refused(&tree, ErrorKind::UnsafeInput, "BaseOS");
    edit(&info, |t| t.replace("repository = ../../etc", "repository = BaseOS").replace("sha256:", "sha256:0"));
    edit(&info, |t| t.replace("sha256:0", "sha256:"));
    let repomd = tree.join("BaseOS/repodata/repomd.xml");
    edit(&repomd, |t| t.replace("</repomd>", " </repomd>"));
    bed.refused(&tree, ErrorKind::Integrity, "BaseOS/repodata/repomd.xml");
    edit(&repomd, |t| t.replace(" </repomd>", "</repomd>"));
    let package = find(&tree.join("BaseOS/Packages/k"), "kernel-core");
    std::fs::rename(&package, tree.join("away")).unwrap();
    bed.refused(&tree, ErrorKind::Integrity, "kernel-core-5.14.0-424.el9.x86_64");
    std::os::unix::fs::symlink("/etc/passwd", &package).unwrap();
    bed.refused(&tree, ErrorKind::UnsafeInput, "symbolic link");
    let boot = bed.dir.path().join("boot");
    std::fs::create_dir(&boot).unwrap();
    std::fs::copy(&info, boot.join(".treeinfo")).unwrap();
    bed.refused(&boot, ErrorKind::Invalid, "no packages");
    bed.refused(&bed.dir.path().join("nothing"), ErrorKind::NotFound, "nothing");
    bed.refused(Path::new("ftp://example.invalid/x.iso"), ErrorKind::Unsupported, "ftp");

    let token = CancelToken::default();
    token.cancel();
    let e = distro::add(&bed.store, &bed.iso("9.4"), &AddOptions::default(), &Task::new(token, None)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled);
    assert!(Distro::list(&bed.store).unwrap().is_empty());
}

#[test]
fn a_part_of_it_is_laid_out() {
    let Some(bed) = Bed::new("a_part_of_it_is_laid_out") else { return };
    bed.add(&bed.iso("9.4"), None, &[]).unwrap();
    let distro = Distro::open(&bed.store, "rocky-9.4").unwrap();
    let dir = bed.dir.path().join("out");
    std::fs::create_dir(&dir).unwrap();
    let out = distro.lay_out(&dir, &Selection::Metadata, 2, &Task::quiet()).unwrap();
    assert_eq!(out.repositories[1], ("BaseOS".into(), dir.join("tree/BaseOS")));
    assert!(std::fs::read_to_string(&out.keys[0]).unwrap().contains("PGP PUBLIC KEY"));
    assert!(dir.join("tree/BaseOS/repodata/repomd.xml").exists() && !dir.join("tree/BaseOS/Packages").exists());
    let repositories = distro.repositories(&Task::quiet()).unwrap();
    let kernel = |r: &distro::Repository| r.packages.iter().find(|p| p.name == "kernel-core").map(|p| r.place_of(p));
    let kernel = repositories.iter().find_map(kernel).unwrap();
    let one = Selection::Files(vec![kernel.clone()]);
    assert_eq!(distro.lay_out(&dir, &one, 2, &Task::quiet()).unwrap().files, 1);
    let same = |path: &str| {
        assert_eq!(
            std::fs::read(dir.join("tree").join(path)).unwrap(),
            std::fs::read(bed.mini.join("tree-9.4").join(path)).unwrap()
        );
    };
    same(&kernel);
    let e = distro.lay_out(&dir, &Selection::Files(vec!["../x".into()]), 1, &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    // One whose checksum is known: dnf is told; and one that does not have it.
    let beacon = |r: &distro::Repository| {
        let found = r.packages.iter().find(|p| p.name == "beacon");
        found.map(|p| (r.place_of(p), p.digest.clone()))
    };
    let (path, digest) = repositories.iter().find_map(beacon).unwrap();
    let other = distro::Digest::parse("sha256", &"0".repeat(64)).unwrap();
    let wrong = Selection::Checked(vec![(path.clone(), other)]);
    let e = distro.lay_out(&dir, &wrong, 1, &Task::quiet()).unwrap_err();
    assert!(e.kind() == ErrorKind::Integrity && e.message().contains("beacon"), "{e}");
    assert!(!dir.join("tree").join(&path).exists());
    distro.lay_out(&dir, &Selection::Checked(vec![(path.clone(), digest.clone())]), 1, &Task::quiet()).unwrap();
    same(&path);
    let told = |name: &str| {
        let out =
            Command::new("getfattr").args(["--only-values", "-n", name]).arg(dir.join("tree").join(&path)).output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    };
    let time = std::fs::metadata(dir.join("tree").join(&path)).unwrap();
    assert_eq!(told("user.Librepo.checksum.sha256"), digest.hex);
    assert_eq!(
        told("user.Librepo.checksum.mtime"),
        format!(
            "{}{:09}",
            std::os::unix::fs::MetadataExt::mtime(&time),
            std::os::unix::fs::MetadataExt::mtime_nsec(&time)
        )
    );
    // The rest beside it.
    distro.lay_out(&dir, &Selection::All, 0, &Task::quiet()).unwrap();
    let (mut all, tree) = (walk(&dir.join("tree")), walk(&bed.mini.join("tree-9.4")));
    // Only the medium has it.
    assert!(all.remove("boot.catalog").is_some());
    assert!(all == tree);
    // A directory where a link leads away is no place for files.
    let trap = bed.dir.path().join("trap");
    std::fs::create_dir_all(trap.join("tree")).unwrap();
    std::os::unix::fs::symlink(bed.dir.path(), trap.join("tree/BaseOS")).unwrap();
    assert!(distro.lay_out(&trap, &Selection::Metadata, 1, &Task::quiet()).is_err());
    assert!(!bed.dir.path().join("repodata").exists());
}

/// Every file beneath a directory.
fn walk(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut out, mut todo) = (BTreeMap::new(), vec![dir.to_path_buf()]);
    while let Some(at) = todo.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                out.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    out
}

#[test]
fn media_of_other_makers_are_read() {
    if !common::has(&["genisoimage", "xorriso"], "media_of_other_makers_are_read") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let deep = tree.join("1/2/3/4/5/6/7/8/9/10/11/12");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::create_dir_all(tree.join("many")).unwrap();
    std::fs::write(deep.join("file"), "deep").unwrap();
    std::fs::write(tree.join("empty"), "").unwrap();
    std::fs::write(tree.join("größe-mit einem langen Namen.x86_64.rpm"), common::noise(3_000_001, 1)).unwrap();
    std::fs::write(tree.join("n".repeat(200)), "long").unwrap();
    for n in 0..3000 {
        std::fs::write(tree.join(format!("many/package-{n}.noarch.rpm")), format!("{n}")).unwrap();
    }
    let iso = dir.path().join("it.iso");
    let (from, to) = (tree.to_str().unwrap().to_owned(), iso.to_str().unwrap().to_owned());
    let whole = walk(&tree);
    let compare = |program: &str, options: &[&str], names: bool| {
        let _ = std::fs::remove_file(&iso);
        common::run(program, &[options, &["-quiet", "-o", &to, &from]].concat());
        let medium = MediumFile::open(&iso).unwrap();
        let found = Listing::read(&medium, &Task::quiet()).unwrap();
        let content = |extents: &[(u64, u64)]| {
            let read = |&(at, n): &(u64, u64)| {
                let mut bytes = vec![0; n as usize];
                medium.read_exact_at(&mut bytes, at).unwrap();
                bytes
            };
            extents.iter().flat_map(read).collect::<Vec<u8>>()
        };
        let files = found.files.iter().map(|(p, f)| (String::from_utf8(p.clone()).unwrap(), content(&f.extents)));
        let files: BTreeMap<_, _> = files.collect();
        if names {
            assert!(files == whole, "{program} {options:?}: {:?}", files.keys().take(9).collect::<Vec<_>>());
        } else {
            let sorted = |m: &BTreeMap<String, Vec<u8>>| {
                let mut all: Vec<_> = m.values().cloned().collect();
                all.sort();
                all
            };
            assert!(sorted(&files) == sorted(&whole), "{program} {options:?}");
        }
    };
    compare("xorriso", &["-as", "mkisofs", "-iso-level", "3", "-R", "-J", "-joliet-long"], true);
    // It moves directories below the eighth level to rr_moved.
    compare("genisoimage", &["-R", "-input-charset", "utf-8"], true);
    // Names are cut without Rock Ridge.
    compare("genisoimage", &["-J", "-joliet-long", "-D", "-input-charset", "utf-8"], false);
    compare("genisoimage", &["-iso-level", "3", "-D", "-input-charset", "utf-8"], false);
}

#[test]
fn a_file_over_4_gib_comes_whole() {
    let test = "a_file_over_4_gib_comes_whole";
    if std::env::var_os("FULL").is_none_or(|f| f != "1") {
        common::skip(test, "it writes 10 GB: FULL=1");
        return;
    }
    let Some(bed) = Bed::new(test) else { return };
    let tree = bed.tree("huge", "tree-9.4");
    let huge = std::fs::File::create(tree.join("images/huge.bin")).unwrap();
    huge.set_len(5 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&huge, b"end", (5 << 30) - 3).unwrap();
    let iso = bed.dir.path().join("huge.iso");
    common::run(
        "xorriso",
        &["-as", "mkisofs", "-quiet", "-iso-level", "3", "-R", "-o", iso.to_str().unwrap(), tree.to_str().unwrap()],
    );
    let found = Listing::read(&MediumFile::open(&iso).unwrap(), &Task::quiet()).unwrap();
    assert_eq!(found.files[&b"images/huge.bin"[..]].size, 5 << 30);
    bed.add(&iso, None, &[]).unwrap();
    let image = Distro::open(&bed.store, "rocky-9.4").unwrap().image().clone();
    let mut tail = Tail::default();
    image.cat(b"images/huge.bin", &mut tail).unwrap();
    assert_eq!((tail.length, &tail.last[..]), (5 << 30, &b"end"[..]));
}

#[derive(Default)]
struct Tail {
    length: u64,
    last: Vec<u8>,
}

impl std::io::Write for Tail {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.length += buf.len() as u64;
        self.last = buf[buf.len().saturating_sub(3)..].to_vec();
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The command line: text, JSON that fits its schema, exit codes.
#[test]
fn cvctl_says_it_all() {
    let Some(bed) = Bed::new("cvctl_says_it_all") else { return };
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cvctl"));
        let out = command.arg("-q").args(args).env("CV_STORE", bed.dir.path().join("store")).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    };
    let json = |schema: &str, args: &[&str], code: i32| {
        let (found, out, err) = run(&[&["-o", "json"], args].concat());
        assert_eq!(found, code, "{args:?}: {err}");
        let value: Value = serde_json::from_str(&out).unwrap();
        fits(schema, &value);
        value
    };
    let path = |name: &str| bed.mini.join(name).to_str().unwrap().to_owned();
    let (iso, bad, key) = (path("mini-9.4.iso"), path("bad-9.4"), path("keys/mini.asc"));
    assert_eq!(json("distro-list", &["distro", "list"], 0)["distributions"], serde_json::json!([]));
    let added = json("distro-add", &["distro", "add", &iso, "--key", &key], 0);
    assert_eq!((&added["name"], &added["changed"]), (&"rocky-9.4".into(), &true.into()));
    let (code, out, _) = run(&["distro", "add", &bad, "--name", "bad"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("bad added: Rocky Linux 9.4 for x86_64\nrepository BaseOS: 7 packages with "), "{out}");
    assert_eq!(json("distro-list", &["distro", "list"], 0)["distributions"].as_array().unwrap().len(), 2);
    let (_, out, _) = run(&["distro", "list"]);
    assert!(out.starts_with("NAME       DISTRIBUTION     ARCH    REPOSITORIES "), "{out}");
    json("distro-show", &["distro", "show", "rocky-9.4"], 0);
    let (_, out, _) = run(&["distro", "show", "rocky-9.4"]);
    assert!(out.contains(": undamaged; sha256 ") && out.contains(", pinned\n"), "{out}");
    assert_eq!(json("distro-verify", &["distro", "verify", "rocky-9.4"], 0)["faults"], serde_json::json!([]));
    let found = json("distro-verify", &["distro", "verify", "bad"], 14);
    assert_eq!(found["faults"][1]["package"], "forged-1.0-1.el9.noarch");
    let (code, _, err) = run(&["distro", "show", "rocky9.4"]);
    assert!(code == 10 && err.contains("did you mean \"rocky-9.4\""), "{err}");
    assert_eq!(run(&["distro", "add", "ftp://example.invalid/"]).0, 21);
    assert_eq!(run(&["distro", "add", &iso, "--name", "a/b"]).0, 2);
    assert_eq!(run(&["distro", "add", &iso, "--name", "f", "--key", &path("keys/forger.asc")]).0, 14);
    builds(&bed, &json);
    assert_eq!(json("distro-rm", &["distro", "rm", "bad"], 0)["removed"], "bad");
    assert_eq!(run(&["distro", "rm", "bad"]).0, 10);
}

/// What `image build`, `update` and `edit` print fits its schema, too.
fn builds(bed: &Bed, json: &dyn Fn(&str, &[&str], i32) -> Value) {
    if !rustix::process::geteuid().is_root() || Command::new("dnf").arg("--version").output().is_err() {
        eprintln!("skipped: cvctl_says_it_all: builds need root and dnf");
        return;
    }
    let role = bed.dir.path().join("role.yaml");
    let text = "{schema: cv.role/v1, name: r, packages: [busybox], for: {deb: {packages: [x]}}, epoch: 1600000000}";
    std::fs::write(&role, text).unwrap();
    let role = role.to_str().unwrap();
    let build = ["image", "build", "--distro", "rocky-9.4", "--role", role, "--name", "n"];
    let planned = json("image-build", &[&build[..], &["--dry-run"]].concat(), 0);
    assert!(planned["image"].is_null() && !planned["transaction"].as_array().unwrap().is_empty());
    let made = json("image-build", &[&build[..], &["--check-reproducible"]].concat(), 0);
    assert_eq!((&made["differs"], &made["epoch"]), (&serde_json::json!([]), &1_600_000_000.into()));
    assert_eq!(json("image-update", &["image", "update", "n", "--packages", "pinger"], 0)["image"]["generation"], 2);
    assert_eq!(json("image-edit", &["image", "edit", "n", "--", "/bin/touch", "/etc/x"], 0)["image"]["generation"], 3);
    let log = json("image-log", &["image", "log", "n"], 0);
    assert_eq!(log["generations"][0]["reason"], "edit");
}

fn fits(schema: &str, value: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/cli/{schema}.json"));
    let (mut all, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler
        .add_resource("schema.json", serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .unwrap();
    let index = compiler.compile("schema.json", &mut all).unwrap();
    all.validate(value, index).unwrap_or_else(|e| panic!("{schema}: {e:#}\n{value}"));
}
