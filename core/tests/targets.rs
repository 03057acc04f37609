//! Where an image is extracted to: what is there already, who else is at work, and a process with little to spend.

mod common;

use common::{Mounted, is_root, run, skip, small_tree};
use libcv::capture::CaptureOptions;
use libcv::event::Event;
use libcv::job::{CancelToken, Task};
use libcv::store::{Image, Store};
use libcv::sys::confined::Root;
use libcv::tree::compare::compare;
use libcv::tree::extract::ExtractOptions;
use libcv::{ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        small_tree(&dir.path().join("tree"));
        Self { dir, store }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn image(&self) -> Image {
        let options = CaptureOptions { exact: true, state: Some(self.at("state")), ..CaptureOptions::default() };
        self.store.capture(self.at("tree"), "t", &options, &Task::quiet()).unwrap();
        self.store.image("t").unwrap()
    }

    fn extract(&self, out: &Path) -> Result<()> {
        self.image().extract(out, &ExtractOptions { verify: true, ..Default::default() }, &Task::quiet()).map(drop)
    }

    fn same(&self, out: &Path) {
        let found = compare(&self.image(), &self.store, &Root::open(out).unwrap(), false, 2, &Task::quiet()).unwrap();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    }

    /// `cvctl image extract t OUT` after some lines of shell.
    fn in_shell(&self, before: &str, out: &Path, more: &[&str]) -> Output {
        Command::new("sh")
            .args(["-c", &format!("{before}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_cvctl"), "-q", "--store"])
            .args([&self.at("store"), Path::new("image"), Path::new("extract"), Path::new("t"), out])
            .args(more)
            .output()
            .unwrap()
    }
}

#[test]
fn two_runs_never_work_on_one_target() {
    let bed = Bed::new();
    let (image, out) = (bed.image(), bed.at("out"));
    let (said, heard) = mpsc::sync_channel::<()>(0);
    // The first run waits in its middle until the second has ended.
    let listener = Box::new(move |e: &Event| {
        if e.to_json()["stage"] == "transfer" {
            let _ = said.send(());
            let _ = said.send(());
        }
    });
    std::thread::scope(|s| {
        let first = s.spawn(|| {
            let task = Task::new(CancelToken::default(), Some(listener));
            image.extract(&out, &ExtractOptions::default(), &task)
        });
        heard.recv().unwrap();
        let e = bed.extract(&out).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Busy, "{e:?}");
        drop(heard);
        first.join().unwrap().unwrap();
    });
    bed.same(&out);
}

#[test]
fn a_target_hands_nothing_down() {
    if !is_root() {
        skip("a_target_hands_nothing_down", "it needs root");
        return;
    }
    let bed = Bed::new();
    let tree = bed.at("tree");
    std::fs::create_dir_all(tree.join("srv/a/b")).unwrap();
    std::fs::write(tree.join("srv/a/b/file"), "x").unwrap();
    std::fs::write(tree.join("srv/a/none"), "").unwrap();
    std::os::unix::fs::symlink("b", tree.join("srv/a/link")).unwrap();
    run("mkfifo", &[tree.join("srv/a/b/fifo").to_str().unwrap()]);
    for entry in ["etc/fstab", "srv/a/none", "srv/a/link", "srv/a/b/fifo"] {
        run("chown", &["-h", "0:1000", tree.join(entry).to_str().unwrap()]);
    }
    // As mount points may be there: with a group that goes on, lists, attributes of an overlay, another owner.
    let out = bed.at("shared/out");
    for at in ["", "srv/a", "usr"] {
        let path = out.join(at);
        std::fs::create_dir_all(&path).unwrap();
        let path = path.to_str().unwrap();
        run("setfacl", &["-m", "u:1234:rwx,d:u:1234:rwx", path]);
        run("setfattr", &["-n", "user.evil", "-v", "x", path]);
        run("setfattr", &["-n", "trusted.overlay.opaque", "-v", "y", path]);
        run("chown", &["1234:1000", path]);
        run("chmod", &["2775", path]);
    }
    bed.extract(&out).unwrap();
    bed.same(&out);
}

#[test]
fn few_descriptors_are_enough() {
    let bed = Bed::new();
    for d in 0..1500 {
        std::fs::create_dir(bed.at("tree").join(format!("d{d}"))).unwrap();
        std::fs::write(bed.at("tree").join(format!("d{d}/empty")), "").unwrap();
    }
    bed.image();
    let out = bed.at("out");
    let done = bed.in_shell("ulimit -n 128", &out, &["--threads", "64"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    bed.same(&out);
}

#[test]
fn a_deep_part_of_an_image_is_cleared_with_few_descriptors() {
    let bed = Bed::new();
    bed.image();
    let out = bed.at("out");
    let deep = out.join("half/".repeat(300));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("file"), "x").unwrap();
    let first = "libcv extracts an image into this directory, and clears it after an interruption";
    let inode = std::fs::metadata(&out).unwrap().ino();
    std::fs::write(out.join(".libcv-extracting"), format!("{first}\n{inode}\n{}\n", bed.image().id())).unwrap();
    let done = bed.in_shell("ulimit -n 128", &out, &[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    bed.same(&out);
}

#[test]
fn modes_come_out_right_under_any_umask() {
    let bed = Bed::new();
    for mode in [0o600, 0o644, 0o755, 0o000, 0o444] {
        let file = bed.at("tree").join(format!("mode{mode:o}"));
        std::fs::write(&file, "x").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    bed.image();
    for umask in ["0000", "0022", "0277", "0777"] {
        let out = bed.at(umask);
        std::fs::create_dir(&out).unwrap();
        let done = bed.in_shell(&format!("umask {umask}"), &out, &[]);
        assert!(done.status.success(), "{umask}: {}", String::from_utf8_lossy(&done.stderr));
        bed.same(&out);
    }
}

#[test]
fn names_of_one_file_on_two_filesystems_are_told_before_a_byte_is_written() {
    if !is_root() {
        skip("names_of_one_file_on_two_filesystems_are_told_before_a_byte_is_written", "it needs root");
        return;
    }
    let bed = Bed::new();
    std::fs::hard_link(bed.at("tree/etc/fstab"), bed.at("tree/home/u/fstab")).unwrap();
    let (outer, inner) = (Mounted::new("ext4", 64 << 20), Mounted::new("ext4", 64 << 20));
    let out = outer.path();
    std::fs::create_dir(out.join("home")).unwrap();
    run("mount", &["--bind", inner.path().to_str().unwrap(), out.join("home").to_str().unwrap()]);
    let e = bed.extract(&out).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
    assert_eq!(e.facts()["losses"][0]["example"], "/home/u/fstab");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
    std::fs::remove_file(bed.at("tree/home/u/fstab")).unwrap();
    bed.extract(&out).unwrap();
    bed.same(&out);
    run("umount", &[out.join("home").to_str().unwrap()]);
}

#[test]
fn a_target_that_is_none_has_the_right_code() {
    let bed = Bed::new();
    assert_eq!(bed.extract(&bed.at("no/such")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bed.extract(&bed.at("tree/etc/fstab")).unwrap_err().kind(), ErrorKind::Invalid);
    let e = bed.store.capture(bed.at("tree/etc/fstab"), "f", &CaptureOptions::default(), &Task::quiet());
    assert_eq!(e.unwrap_err().kind(), ErrorKind::Invalid);
}
