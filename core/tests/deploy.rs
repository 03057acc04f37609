//! Images onto disks that are files: what comes with an image, whose plan it is, and no room for it.
//!
//! Run as root: `cargo test -p libcv --test deploy`.

mod common;

use common::{can, image, noise, run, small_tree};
use libcv::ErrorKind;
use libcv::capture::CaptureOptions;
use libcv::deploy::{self, DeployOptions};
use libcv::job::Task;
use libcv::layout::{ApplyOptions, Backend, Confirm, Disks, Layout, Plan, PlanOptions};
use libcv::store::{Image, Store};
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;
const LAYOUT: &str = "
schema: cv.layout/v1
name: one
disks: {d: {wipe: all}}
partitions: {d/root: {type: linux, size: rest}}
filesystems: {root: {on: d/root, type: ext4, mount: {at: /}}}
";

fn captured(dir: &Path, name: &str, exact: bool) -> Image {
    let store = Store::open(dir.join("store")).or_else(|_| Store::init(dir.join("store"))).unwrap();
    let options = CaptureOptions { exact, state: Some(dir.join("state")), ..CaptureOptions::default() };
    store.capture(dir.join("tree"), name, &options, &Task::quiet()).unwrap();
    store.image(name).unwrap()
}

fn plan_for(disk: &Path, image: &Image) -> Plan {
    let disks = Disks::from([("d".to_owned(), vec![disk.to_owned()])]);
    let options = PlanOptions { image: Some(image.into()), ..PlanOptions::default() };
    Layout::parse(LAYOUT.as_bytes(), "test").unwrap().plan(&disks, &options).unwrap()
}

/// A file of the filesystem in the first partition, which begins at 1 MiB.
fn file_on(disk: &Path, path: &str) -> String {
    let place = format!("{}?offset={MIB}", disk.display());
    let out = Command::new("debugfs").args(["-R", &format!("cat {path}"), &place]).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_note_of_an_interrupted_configuration_stays_behind() {
    if !can("the_note_of_an_interrupted_configuration_stays_behind", &["mkfs.ext4", "debugfs"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    small_tree(&tree);
    std::fs::write(tree.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    std::fs::write(tree.join("etc/.cv-old"), "intruder\n").unwrap();
    // It would have the backup take the place of passwd, and then be gone.
    let swap = r#"{"target":"etc/passwd","new":".cv-new","old":".cv-old","inode":1}"#;
    let note = format!(r#"{{"format":1,"stage":"commit","directories":[],"swaps":[{swap}]}}"#);
    for note in [note.as_str(), "no journal at all"] {
        std::fs::write(tree.join(".cv-config.journal"), note).unwrap();
        let image_ = captured(dir.path(), "t", true);
        let disk = image(dir.path(), "disk", 80 * MIB);
        let options = DeployOptions { hostname: Some("n1".into()), ..DeployOptions::default() };
        deploy::apply(&plan_for(&disk, &image_), Some(&image_), &options, &Confirm::Yes, &Task::quiet()).unwrap();
        assert_eq!(file_on(&disk, "/etc/hostname"), "n1\n");
        assert_eq!(file_on(&disk, "/etc/passwd"), "root:x:0:0::/:/bin/sh\n");
        assert_eq!(file_on(&disk, "/.cv-config.journal"), "");
    }
}

#[test]
fn a_plan_is_for_one_image() {
    if !can("a_plan_is_for_one_image", &["mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    small_tree(&dir.path().join("tree"));
    let first = captured(dir.path(), "first", false);
    std::fs::write(dir.path().join("tree/etc/more"), "more").unwrap();
    let second = captured(dir.path(), "second", false);
    let disk = image(dir.path(), "disk", 80 * MIB);
    let plan = plan_for(&disk, &first);
    let options = DeployOptions::default();
    for confirm in [Confirm::Yes, Confirm::Token(plan.token().to_owned())] {
        let e = deploy::apply(&plan, Some(&second), &options, &confirm, &Task::quiet()).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Refused, &"A400".into()), "{e:?}");
    }
    assert!(std::fs::read(&disk).unwrap().iter().all(|b| *b == 0));
    let token = Confirm::Token(plan.token().to_owned());
    deploy::apply(&plan, Some(&first), &options, &token, &Task::quiet()).unwrap();
}

#[test]
fn no_room_where_the_disk_s_file_is() {
    if !can("no_room_where_the_disk_s_file_is", &["mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, small) = (dir.path().join("tree"), dir.path().join("small"));
    small_tree(&tree);
    std::fs::write(tree.join("much"), noise(100 << 20, 3)).unwrap();
    let image_ = captured(dir.path(), "t", true);
    std::fs::create_dir(&small).unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=40m", "tmpfs", small.to_str().unwrap()]);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // The disk is large enough; its file, which is sparse, cannot grow so far.
        let disk = image(&small, "disk", 400 * MIB);
        let plan = plan_for(&disk, &image_);
        let options = DeployOptions::default();
        let e = deploy::apply(&plan, Some(&image_), &options, &Confirm::Yes, &Task::quiet()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Limit, "{e:?}");
        assert!(e.to_string().contains("disk"), "{e}");
    }));
    run("umount", &[small.to_str().unwrap()]);
    outcome.unwrap();
}

const PARTS: &str = "
schema: cv.layout/v1
name: parts
disks: {d: {wipe: all}}
partitions: {d/root: {type: linux, size: rest}}
filesystems:
  root:
    on: d/root
    type: btrfs
    subvolumes:
      \"@/var\": {mount: {at: /var, options: [nodev]}}
      \"@\": {mount: {at: /}}
      kept/data: {}
";

/// The image is spread over subvolumes, by the kernel and in image files alike.
#[test]
fn subvolumes_get_their_parts_of_the_image() {
    if !can("subvolumes_get_their_parts_of_the_image", &["mkfs.btrfs", "btrfs"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, mounted) = (dir.path().join("tree"), dir.path().join("mounted"));
    small_tree(&tree);
    std::fs::create_dir_all(tree.join("var/lib")).unwrap();
    std::fs::write(tree.join("var/lib/state"), "of the image").unwrap();
    std::fs::create_dir(&mounted).unwrap();
    let image_ = captured(dir.path(), "t", true);
    for backend in [Backend::Kernel, Backend::Offline] {
        let disk = image(dir.path(), &format!("{backend:?}"), 300 * MIB);
        let disks = Disks::from([("d".to_owned(), vec![disk.clone()])]);
        let options = PlanOptions { image: Some((&image_).into()), ..PlanOptions::default() };
        let layout = Layout::parse(PARTS.as_bytes(), "test").unwrap();
        let plan = layout.plan(&disks, &options).unwrap();
        let apply = ApplyOptions { backend, ..ApplyOptions::default() };
        let options = DeployOptions { apply, ..DeployOptions::default() };
        deploy::apply(&plan, Some(&image_), &options, &Confirm::Yes, &Task::quiet()).unwrap();
        let look = |subvolume: &str, path: &str| {
            let options = format!("loop,ro,offset={MIB},subvol={subvolume}");
            run("mount", &["-o", &options, disk.to_str().unwrap(), mounted.to_str().unwrap()]);
            let text = std::fs::read_to_string(mounted.join(path)).ok();
            let empty = std::fs::read_dir(&mounted).unwrap().next().is_none();
            run("umount", &[mounted.to_str().unwrap()]);
            (text, empty)
        };
        let uuid = &plan.filesystems()[0].uuid;
        let lines = format!("UUID={uuid} / btrfs subvol=/@ 0 0\nUUID={uuid} /var btrfs subvol=/@/var,nodev 0 0\n");
        assert!(look("/@", "etc/fstab").0.unwrap().ends_with(&lines), "{backend:?}");
        assert_eq!(look("/@/var", "lib/state").0.as_deref(), Some("of the image"), "{backend:?}");
        assert!(look("/kept/data", "x").1, "{backend:?}");
    }
    // Without an image there is nothing mounted, and without a mount no subvolume.
    let disk = image(dir.path(), "bare", 300 * MIB);
    let disks = Disks::from([("d".to_owned(), vec![disk.clone()])]);
    let plan = Layout::parse(PARTS.as_bytes(), "test").unwrap().plan(&disks, &PlanOptions::default()).unwrap();
    let apply = ApplyOptions { backend: Backend::Offline, ..ApplyOptions::default() };
    let e = plan.apply_with(&Confirm::Yes, None, &apply, &Task::quiet()).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Unsupported, &"F230".into()), "{e:?}");
    assert!(std::fs::read(&disk).unwrap().iter().all(|b| *b == 0));
}
