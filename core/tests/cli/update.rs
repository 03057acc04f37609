//! A tree that is there is updated, and compared with an image.

use super::Bed;

#[test]
fn a_tree_is_updated_and_compared() {
    let bed = Bed::captured();
    let out = bed.text("out");
    bed.ok(&["image", "extract", "base", &out]);
    std::fs::write(bed.path("root/etc/motd"), "welcome\n").unwrap();
    std::fs::create_dir(bed.path("root/boot")).unwrap();
    std::fs::write(bed.path("root/boot/vmlinuz-6"), "kernel").unwrap();
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "base"]);
    std::fs::write(bed.path("out/srv"), "local").unwrap();
    std::fs::write(bed.path("out/etc/hostname"), "n1\n").unwrap();
    let update = |more: &[&'static str]| [&["image", "extract", "base", &out, "--update"], more].concat();
    let said = bed.ok(&update(&["--dry-run"]));
    assert!(said.contains("\n+ /etc/motd\n") && said.contains("\n= /srv (local)\n"), "{said}");
    assert!(said.contains("verdict: reboot\n  kernel: ") && !bed.path("out/etc/motd").exists(), "{said}");
    let said = bed.ok(&update(&["--verify"]));
    assert!(said.contains("kept, local: 1: /srv\n") && said.contains(", verified\n"), "{said}");
    assert_eq!(bed.ok(&["image", "diff", "base", &out]), "+ /etc/hostname (name of the node)\n+ /srv\n");
    assert!(bed.ok(&update(&["--local", "delete"])).contains("deleted, local: 1: /srv\n"));
    let at = bed.command(&["image", "diff", "base", "."]).current_dir(bed.path("out")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&at.stdout).lines().last(), Some("+ /etc/hostname (name of the node)"));
    // Where no image has that name, a directory may have one without a slash.
    let at = bed.command(&["image", "diff", "base", "out"]).current_dir(bed.dir.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&at.stdout).lines().last(), Some("+ /etc/hostname (name of the node)"));
    bed.fails(10, &["image", "diff", "base", "./nowhere"]);
    bed.fails(2, &["image", "diff", "base", "base", "--exact"]);
    bed.fails(2, &["image", "extract", "base", "x", "--dry-run"]);
    bed.fails(10, &["image", "extract", "base", &bed.text("nowhere"), "--update"]);
    bed.fails(16, &["image", "extract", "base", &bed.text("out")]);
}
