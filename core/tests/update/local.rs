//! What is in the tree and not in the image: it stays, or goes.

use super::*;
use crate::common::{Mounted, is_root, run, skip};
use libcv::ErrorKind;
use libcv::tree::diff::DiffOptions;
use libcv::tree::update::Need;
use std::os::unix::fs::symlink;

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
