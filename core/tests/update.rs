//! A tree that is there becomes the tree of another image: what is written, what stays, and what can interrupt it.
#![allow(missing_docs)]

mod common;

use common::{Mounted, is_root, noise, odd_tree, run, skip, small_tree, thaw};
use libcv::capture::CaptureOptions;
use libcv::event::Event;
use libcv::job::{CancelToken, Task};
use libcv::sign::{Keyring, Signer};
use libcv::store::{Image, Store, Trust};
use libcv::sys::confined::Root;
use libcv::tree::compare::compare;
use libcv::tree::diff::DiffOptions;
use libcv::tree::extract::ExtractOptions;
use libcv::tree::update::{Local, Need, UpdateOptions, Updated, What};
use libcv::{Error, ErrorKind, Result};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
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
fn what_changed_in_disguise_is_found_where_the_origin_is_known() {
    let bed = Bed::deployed();
    let stamp = |p: &str| run("touch", &["-m", "-d", "2020-01-01 00:00:00 UTC", bed.at(p).to_str().unwrap()]);
    bed.write("tree/opt/tool", "version 1");
    stamp("tree/opt/tool");
    let first = bed.capture();
    bed.update(&first, &node()).unwrap();
    // As reproducible builds do: the same size, the same time.
    bed.write("tree/opt/tool", "version 2");
    stamp("tree/opt/tool");
    let second = bed.capture();
    let done = bed.update(&second, &node()).unwrap();
    assert_eq!((done.replaced, bed.read("out/opt/tool").as_str()), (1, "version 2"));
    // Somebody did it by hand: only a paranoid update, or a diff, reads the content.
    bed.write("out/opt/tool", "version X");
    stamp("out/opt/tool");
    assert_eq!(bed.update(&second, &node()).unwrap().replaced, 0);
    let found = second.diff_tree(bed.at("out"), &DiffOptions::default(), &Task::quiet()).unwrap();
    assert!(found.iter().any(|c| c.change.path == b"opt/tool"));
    assert_eq!(bed.update(&second, &UpdateOptions { paranoid: true, ..node() }).unwrap().replaced, 1);
    assert_eq!(bed.read("out/opt/tool"), "version 2");
}

#[test]
fn the_origin_needs_no_signature_of_a_key_that_the_new_image_needs() {
    let bed = Bed::deployed();
    let stamp = |p: &str| run("touch", &["-m", "-d", "2020-01-01 00:00:00 UTC", bed.at(p).to_str().unwrap()]);
    bed.write("tree/opt/tool", "version 1");
    bed.write("tree/opt/gone", "");
    stamp("tree/opt/tool");
    let first = bed.capture();
    bed.update(&first, &node()).unwrap();
    bed.write("tree/opt/tool", "version 2");
    stamp("tree/opt/tool");
    std::fs::remove_file(bed.at("tree/opt/gone")).unwrap();
    bed.capture();
    let signer = Signer::generate().unwrap();
    bed.store.signing(signer.clone()).sign("t").unwrap();
    let believed = bed.store.trusting(Trust::new(Keyring::new(vec![signer.public()]).unwrap()));
    assert!(believed.image_by_id(first.id()).is_err());
    let task = Task::quiet();
    believed.image("t").unwrap().update(bed.at("out"), &node(), &task).unwrap();
    assert_eq!((bed.read("out/opt/tool").as_str(), task.warnings().len()), ("version 2", 0));
    assert!(!bed.at("out/opt/gone").exists());
}

#[test]
fn local_files_stay_or_go() {
    let bed = Bed::deployed();
    bed.write("out/srv/data/set", "mine");
    bed.write("out/home/u/notes", "mine");
    bed.write("out/home/u/f3", "edited here");
    bed.write("out/tmp/scratch", "x");
    bed.write("out/var/log/messages", "what happened here\n");
    std::fs::remove_file(bed.at("tree/home/u/f3")).unwrap();
    std::fs::remove_file(bed.at("tree/home/u/f4")).unwrap();
    let image = bed.capture();
    let done = bed.update(&image, &node()).unwrap();
    // What the earlier image brought goes with it, unless somebody changed it.
    assert!(!bed.at("out/home/u/f4").exists() && done.deleted == 1, "{done:?}");
    assert_eq!(done.local_kept.paths, ["/srv/data/set", "/srv/data", "/srv", "/home/u/notes", "/home/u/f3"]);
    assert_eq!(done.local_kept.count, 5);
    assert_eq!(bed.read("out/var/log/messages"), "what happened here\n");
    assert!(done.kept.paths.contains(&"/var/log/messages".to_owned()), "{done:?}");

    let done = bed.update(&image, &UpdateOptions { local: Local::Delete, ..node() }).unwrap();
    assert_eq!((done.local_deleted.count, done.local_kept.count), (5, 0));
    assert!(!bed.at("out/srv").exists() && !bed.at("out/home/u/f3").exists());
    assert!(bed.at("out/tmp/scratch").exists(), "what a capture leaves out is left alone");
    assert_eq!(bed.read("out/var/log/messages"), "what happened here\n");
}

#[test]
fn the_configuration_of_the_node_stays() {
    let bed = Bed::deployed();
    for (path, text) in
        [("etc/fstab", "mine"), ("etc/hostname", "n1"), ("etc/machine-id", "m1"), ("opt/site/conf", "mine")]
    {
        bed.write(&format!("out/{path}"), text);
    }
    bed.write("out/etc/ssh/ssh_host_ed25519_key", "key");
    bed.write("tree/etc/hostname", "image");
    bed.write("tree/etc/netplan/a.yaml", "from the image");
    bed.write("tree/opt/site/conf", "image");
    let image = bed.capture();
    let options = UpdateOptions { local: Local::Delete, protect: vec!["/opt/site/**".to_owned()], ..node() };
    let changes = image.diff_tree(bed.at("out"), &DiffOptions::default(), &Task::quiet()).unwrap();
    let fstab = changes.iter().find(|c| c.change.path == b"etc/fstab").unwrap();
    assert_eq!((fstab.kept, &fstab.to_json()["kept"]), (Some("disks of the node"), &"disks of the node".into()));
    let done = bed.update(&image, &options).unwrap();
    for (path, text) in
        [("etc/fstab", "mine"), ("etc/hostname", "n1"), ("etc/machine-id", "m1"), ("opt/site/conf", "mine")]
    {
        assert_eq!(bed.read(&format!("out/{path}")), text, "{path}");
    }
    assert_eq!(bed.read("out/etc/ssh/ssh_host_ed25519_key"), "key");
    // What is missing comes from the image.
    assert_eq!(bed.read("out/etc/netplan/a.yaml"), "from the image");
    assert_eq!(done.kept.paths, ["/etc/fstab", "/etc/hostname", "/etc/machine-id", "/opt/site/conf"]);
}

#[test]
fn a_directory_with_local_files_gives_way_only_when_told() {
    let bed = Bed::new();
    bed.write("tree/var/lib/x/own", "of the image");
    bed.write("tree/etc/plain", "a file");
    bed.capture();
    bed.extract(&bed.at("out"));
    bed.write("out/var/lib/x/deep/local", "mine");
    std::fs::remove_dir_all(bed.at("tree/var/lib/x")).unwrap();
    std::fs::remove_file(bed.at("tree/etc/plain")).unwrap();
    symlink("/srv/x", bed.at("tree/var/lib/x")).unwrap();
    bed.write("tree/etc/plain/now/a/directory", "x");
    let image = bed.capture();
    for dry_run in [true, false] {
        let e = bed.update(&image, &UpdateOptions { dry_run, ..node() }).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["paths"][0]), (ErrorKind::Refused, &"/var/lib/x/deep/local".into()), "{e:?}");
        assert!(bed.at("out/etc/plain").is_file() && !at_work(&bed.at("out")), "nothing is written before");
    }
    bed.update(&image, &UpdateOptions { local: Local::Delete, ..node() }).unwrap();
    assert_eq!(bed.differences(&image, &bed.at("out")), none());
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

/// Cancels at the first event of this stage.
fn cancelled_at(stage: &'static str) -> Task {
    let token = CancelToken::default();
    let cancel = token.clone();
    let listener = move |e: &Event| {
        if e.to_json()["stage"] == stage {
            cancel.cancel();
        }
    };
    Task::new(token, Some(Box::new(listener)))
}

#[test]
fn an_update_that_did_not_end_is_seen_by_all_and_finished_by_repeating() {
    let bed = Bed::deployed();
    let first = bed.store.image("t").unwrap();
    for i in 0..200 {
        bed.write(&format!("tree/home/u/f{i}"), noise(3000 + i, 40 + i as u64));
    }
    bed.write("tree/boot/vmlinuz-9", "kernel");
    let image = bed.capture();
    let out = bed.at("out");
    let e = image.update(&out, &node(), &cancelled_at("transfer")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled);
    assert!(out.join(".libcv-updating").exists());
    let refused = |done: Result<()>| assert_eq!(done.unwrap_err().kind(), ErrorKind::Refused);
    refused(image.extract(&out, &ExtractOptions::default(), &Task::quiet()).map(drop));
    refused(bed.store.capture(&out, "x", &CaptureOptions::default(), &Task::quiet()).map(drop));
    // What a killed run leaves: a temporary file, and a file that is half on the medium although it looks whole.
    let note: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join(".libcv-updating")).unwrap()).unwrap();
    let left = format!("home/u/.cv-{:016x}-f3", note["runs"][0].as_u64().unwrap());
    let foreign = "home/u/.cv-00000000000000aa-f3";
    std::fs::write(out.join(&left), "half").unwrap();
    std::fs::write(out.join(foreign), "somebody's").unwrap();
    let whole_time = std::fs::metadata(bed.at("tree/home/u/f7")).unwrap().modified().unwrap();
    std::fs::remove_file(out.join("home/u/f7")).unwrap();
    let file = std::fs::File::create(out.join("home/u/f7")).unwrap();
    file.set_len(3007).unwrap();
    file.set_modified(whole_time).unwrap();
    drop(file);
    let dry = bed.update(&image, &UpdateOptions { dry_run: true, ..node() }).unwrap();
    assert!(dry.resumed && out.join(&left).exists());
    let done = bed.update(&image, &UpdateOptions { exact: true, ..node() }).unwrap();
    assert!(done.resumed && !out.join(&left).exists() && out.join(foreign).exists());
    // The kernel may have come with the run that was interrupted: the verdict still knows.
    assert_eq!(done.verdict.need, Need::Reboot, "{:?}", done.verdict);
    std::fs::remove_file(out.join(foreign)).unwrap();
    bed.update(&image, &whole()).unwrap();
    assert_eq!(bed.differences(&image, &out), none());

    // Interrupted on its way back, and then sent to the image it came from.
    first.update(&out, &whole(), &cancelled_at("transfer")).unwrap_err();
    image.update(&out, &whole(), &Task::quiet()).unwrap();
    assert_eq!(bed.differences(&image, &out), none());
}

#[test]
fn a_full_disk_is_said_and_gives_its_space_back() {
    if !is_root() {
        skip("a_full_disk_is_said_and_gives_its_space_back", "it needs root");
        return;
    }
    let bed = Bed::new();
    small_tree(&bed.at("tree"));
    let first = bed.capture();
    let target = Mounted::new("ext4", 48 << 20);
    let out = target.path();
    bed.extract(&out);
    let free = || rustix::fs::statvfs(&out).map(|s| s.f_bavail * s.f_frsize).unwrap();
    let before = free();
    bed.write("tree/large", noise(100 << 20, 11));
    let second = bed.capture();
    let e = second.update(&out, &UpdateOptions { no_sync: false, ..whole() }, &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Limit, "{e:?}");
    assert!(out.join(".libcv-updating").exists());
    rustix::fs::syncfs(std::fs::File::open(&out).unwrap()).unwrap();
    assert!(free() + (1 << 20) > before, "{} of {before} bytes are free", free());
    first.update(&out, &whole(), &Task::quiet()).unwrap();
    assert_eq!(bed.differences(&first, &out), none());
}

#[test]
fn what_cannot_be_held_is_said_before_anything_is_written() {
    if !is_root() || !Path::new("/dev/shm").is_dir() {
        skip("what_cannot_be_held_is_said_before_anything_is_written", "it needs root and /dev/shm");
        return;
    }
    let bed = Bed::new();
    let source = tempfile::tempdir_in("/dev/shm").unwrap();
    small_tree(source.path());
    let first = bed.capture_of(source.path(), "t");
    let target = Mounted::new("ext4", 256 << 20);
    bed.extract(&target.path());
    // More than a block of ext4 holds; on a file that stays.
    let value = "v".repeat(20_000);
    let file = source.path().join("etc/os-release");
    let name = c"user.large";
    if rustix::fs::setxattr(&file, name, value.as_bytes(), rustix::fs::XattrFlags::empty()).is_err() {
        skip(
            "what_cannot_be_held_is_said_before_anything_is_written",
            "this kernel's tmpfs has no attributes of users",
        );
        return;
    }
    let second = bed.capture_of(source.path(), "t");
    let e = second.update(target.path(), &whole(), &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
    assert_eq!((bed.differences(&first, &target.path()), at_work(&target.path())), (none(), false));
    let done = second.update(target.path(), &UpdateOptions { accept_loss: true, ..whole() }, &Task::quiet()).unwrap();
    assert_eq!(done.losses[0].example, "/etc/os-release");
}

#[test]
fn own_filesystems_are_part_of_the_tree_and_others_are_not() {
    if !is_root() {
        skip("own_filesystems_are_part_of_the_tree_and_others_are_not", "it needs root");
        return;
    }
    let bed = Bed::new();
    small_tree(&bed.at("tree"));
    bed.write("tree/boot/vmlinuz-1", "one");
    bed.capture();
    let boot = Mounted::new("ext4", 64 << 20);
    let out = bed.at("out");
    std::fs::create_dir_all(out.join("boot")).unwrap();
    std::fs::create_dir_all(out.join("proc")).unwrap();
    run("mount", &["--bind", boot.path().to_str().unwrap(), out.join("boot").to_str().unwrap()]);
    bed.extract(&out);
    run("mount", &["-t", "proc", "proc", out.join("proc").to_str().unwrap()]);
    bed.write("tree/boot/vmlinuz-2", "two");
    bed.write("tree/proc/cpuinfo", "of an image that was captured exactly");
    std::fs::remove_file(bed.at("tree/boot/vmlinuz-1")).unwrap();
    let image = bed.capture();
    std::fs::write(boot.path().join("local"), "mine").unwrap();
    let done = image.update(&out, &UpdateOptions { no_sync: false, ..whole() }, &Task::quiet());
    let seen = (std::fs::read(boot.path().join("vmlinuz-2")), std::fs::read(out.join("proc/cpuinfo")));
    run("umount", &[out.join("proc").to_str().unwrap()]);
    run("umount", &[out.join("boot").to_str().unwrap()]);
    let done = done.unwrap();
    assert_eq!(seen.0.unwrap(), b"two");
    assert_ne!(seen.1.unwrap(), b"of an image that was captured exactly");
    assert!(done.kept.paths.contains(&"/proc/cpuinfo".to_owned()), "{done:?}");
    assert!(boot.path().join("local").exists(), "nothing is deleted on another filesystem");
    assert!(std::fs::read_dir(out.join("boot")).unwrap().next().is_none(), "nothing is written beneath a mount point");
    assert_eq!((done.verdict.need, done.verdict.running), (Need::Reboot, false));
}

#[test]
fn what_runs_keeps_running_and_is_in_the_verdict() {
    let bed = Bed::deployed();
    std::fs::create_dir_all(bed.at("tree/opt")).unwrap();
    std::fs::copy("/bin/sleep", bed.at("tree/opt/napper")).unwrap();
    let first = bed.capture();
    bed.update(&first, &node()).unwrap();
    let out = bed.at("out");
    let mut child = std::process::Command::new(out.join("opt/napper")).arg("600").spawn().unwrap();
    let pid = child.id();
    let exe = || std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    while !exe().to_string_lossy().contains("napper") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut program = std::fs::read("/bin/sleep").unwrap();
    program.extend_from_slice(b"a later version");
    std::fs::write(bed.at("tree/opt/napper"), program).unwrap();
    bed.write("tree/opt/other", "nobody runs this");
    let second = bed.capture();
    let dry = bed.update(&second, &UpdateOptions { dry_run: true, ..node() }).unwrap();
    let done = bed.update(&second, &node()).unwrap();
    let (alive, exe) = (child.try_wait().unwrap().is_none(), exe());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(alive && exe.to_string_lossy().ends_with("/opt/napper (deleted)"), "{exe:?}");
    for verdict in [dry.verdict, done.verdict] {
        assert_eq!((verdict.need, verdict.running), (Need::Restart, true), "{verdict:?}");
        // The service that the tests run in, if they do, has the same process.
        let mut pids: Vec<u32> = verdict.processes.iter().map(|p| p.pid).collect();
        pids.extend(verdict.services.iter().flat_map(|s| s.pids.iter().copied()));
        assert_eq!(pids, [pid]);
    }
    assert_eq!(bed.differences(&second, &out), none());
}

#[test]
fn a_target_that_is_none_or_taken_has_the_right_code() {
    let bed = Bed::deployed();
    let image = bed.store.image("t").unwrap();
    let kind = |dir: &Path| image.update(dir, &node(), &Task::quiet()).map(drop).map_err(|e: Error| e.kind());
    assert_eq!(kind(&bed.at("none")), Err(ErrorKind::NotFound));
    assert_eq!(kind(&bed.at("out/etc/fstab")), Err(ErrorKind::Invalid));
    let e = bed.update(&image, &UpdateOptions { protect: vec!["!x".into()], ..node() }).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    let out = std::fs::File::open(bed.at("out")).unwrap();
    rustix::fs::flock(&out, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(kind(&bed.at("out")), Err(ErrorKind::Busy));
    drop(out);
    let note = format!(
        "libcv extracts an image into this directory, and clears it after an interruption\n{}\n{}\n",
        std::fs::metadata(bed.at("out")).unwrap().ino(),
        image.id()
    );
    std::fs::write(bed.at("out/.libcv-extracting"), note).unwrap();
    assert_eq!(kind(&bed.at("out")), Err(ErrorKind::Refused));
}
