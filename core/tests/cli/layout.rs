//! Layouts: nothing is destroyed without a yes.

use super::terminal::on_a_terminal;
use super::{Bed, common, validate};
use serde_json::Value;
use std::path::Path;

pub(super) const LAYOUT: &str = "
schema: cv.layout/v1
name: small
disks: {d: {wipe: all}}
partitions:
  d/root: {number: 1, type: linux, size: 96MiB}
  d/rest: {number: 2, type: home, size: rest}
filesystems:
  root: {on: d/root, type: ext4, label: root, mount: {at: /}}
";

/// Writes a layout and an empty disk; gives the arguments that name both.
pub(super) fn layout(bed: &Bed) -> [String; 3] {
    std::fs::write(bed.path("small.yaml"), LAYOUT).unwrap();
    std::fs::File::create(bed.path("disk")).unwrap().set_len(256 << 20).unwrap();
    [bed.text("small.yaml"), "--disk".to_owned(), format!("d={}", bed.text("disk"))]
}

/// Whether disks can be written here: root, loop devices, mkfs.ext4.
pub(super) fn can_apply() -> bool {
    let able = common::is_root()
        && Path::new("/dev/loop-control").exists()
        && ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"].iter().any(|p| Path::new(p).exists());
    if !able {
        eprintln!("skipped: applying a layout: needs root, loop devices and mkfs.ext4");
    }
    able
}

#[test]
fn nothing_is_destroyed_without_a_yes() {
    let bed = Bed::captured();
    let args = layout(&bed);
    let [file, disk, place] = args.each_ref().map(String::as_str);
    let apply = |more: &[&'static str]| [&["layout", "apply", file, disk, place], more].concat();
    let blank = std::fs::metadata(bed.path("disk")).unwrap();
    // Nobody to ask: the plan is shown, nothing is done.
    let out = bed.run(&apply(&[]));
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(16));
    assert!(stderr.contains("WHAT IS LOST") || stderr.contains("Steps"), "{stderr}");
    assert!(stderr.contains("\nhint: look at the plan, then give --confirm "), "{stderr}");
    let out = bed.run(&apply(&["-o", "json"]));
    let error: Value = serde_json::from_slice(&out.stderr).unwrap();
    validate("error", &error);
    validate("layout-plan", &error["error"]["detail"]["plan"]);
    assert_eq!(error["error"]["code"], 16);
    bed.fails(16, &apply(&["--confirm", "of-another-plan"]));
    bed.fails(2, &apply(&["--yes", "--confirm", "x"]));
    bed.fails(2, &["layout", "plan", file, "--disk", "d"]);
    bed.fails(10, &["layout", "check", &bed.text("none.yaml")]);
    std::fs::write(bed.path("bad.yaml"), LAYOUT.replace("96MiB", "96")).unwrap();
    let e = bed.fails(2, &["layout", "plan", &bed.text("bad.yaml"), disk, place]);
    assert_eq!(e["detail"]["code"], "L108");
    // On a terminal it asks, and another answer is a no.
    let (code, seen) = on_a_terminal(&bed, &apply(&[]), "yes\n");
    assert_eq!(code, 16, "{seen}");
    assert!(seen.contains("type "), "{seen}");
    let after = std::fs::metadata(bed.path("disk")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((after.blocks(), after.modified().unwrap()), (blank.blocks(), blank.modified().unwrap()));

    if can_apply() {
        let plan = bed.json("layout-plan", &["layout", "plan", file, disk, place, "--image", "base"]);
        let answer = format!("{}\n", plan["token"].as_str().unwrap());
        let (code, seen) = on_a_terminal(&bed, &apply(&["--image", "base"]), &answer);
        assert_eq!(code, 0, "{seen}");
        assert!(seen.contains("applied small as planned"), "{seen}");
    }
}

#[test]
fn an_apply_is_resumed_by_its_journal() {
    if !["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"].iter().any(|p| Path::new(p).exists()) {
        eprintln!("skipped: resuming an apply: needs mkfs.ext4");
        return;
    }
    let bed = Bed::captured();
    let args = layout(&bed);
    let [file, disk, place] = args.each_ref().map(String::as_str);
    let journal = bed.text("journal");
    let apply = ["layout", "apply", file, disk, place, "--backend", "offline", "--journal", &journal];
    let e = bed.fails(10, &[&apply[..], &["--resume", "--yes"]].concat());
    assert_eq!(e["detail"]["code"], "A410");
    let token = bed.json("layout-plan", &[&apply[..], &["--dry-run"]].concat())["token"].as_str().unwrap().to_owned();
    assert!(!bed.path("journal").exists(), "a dry run leaves a journal");
    let done = bed.json("layout-apply", &[&apply[..], &["--confirm", &token]].concat());
    assert_eq!(done["journal"].as_str(), Some(journal.as_str()));
    // The power failed before the end: the last two lines are not there, and the marks are not off.
    let text = std::fs::read_to_string(&journal).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines.iter().position(|l| l.contains("\"step\":\"copy\"")).unwrap();
    std::fs::write(&journal, lines[..cut].join("\n") + "\n{\"seq\":").unwrap();
    let e = bed.fails(16, &[&apply[..], &["--hostname", "other", "--resume", "--yes"]].concat());
    assert_eq!(e["detail"]["code"], "A411");
    std::fs::write(bed.path("disk"), []).unwrap();
    std::fs::File::options().write(true).open(bed.path("disk")).unwrap().set_len(256 << 20).unwrap();
    let e = bed.fails(16, &[&apply[..], &["--resume", "--yes"]].concat());
    assert_eq!(e["detail"]["code"], "A412", "the disk lost its table");
    let seeded = bed.json("layout-apply", &[&apply[..], &["--yes"]].concat());
    assert!(bed.path("journal.old").exists());
    // The token that confirmed the first time does so again.
    let token = seeded["token"].as_str().unwrap();
    let again = bed.json("layout-apply", &[&apply[..], &["--resume", "--confirm", token]].concat());
    assert_eq!(again["filesystems"], seeded["filesystems"]);
    std::fs::write(bed.path("other"), "mine").unwrap();
    let other = bed.text("other");
    let to_other = ["layout", "apply", file, disk, place, "--backend", "offline", "--journal", &other, "--yes"];
    std::fs::File::create(bed.path("disk")).unwrap().set_len(256 << 20).unwrap();
    bed.fails(11, &to_other);
    assert_eq!(std::fs::read_to_string(bed.path("other")).unwrap(), "mine");
}

#[test]
fn a_plan_has_a_picture_and_nothing_else_has() {
    let bed = Bed::captured();
    let args = layout(&bed);
    let [file, disk, place] = args.each_ref().map(String::as_str);
    let plan = ["layout", "plan", file, disk, place, "--seed", "07070707070707070707070707070707"];
    let svg = bed.ok(&[&plan[..], &["-o", "svg"]].concat());
    let json: Value = serde_json::from_str(&bed.ok(&[&plan[..], &["-o", "json"]].concat())).unwrap();
    let token = json["token"].as_str().unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains(token), "{svg}");
    for other in
        [&["store", "check"][..], &["layout", "check", file], &["layout", "apply", file, disk, place, "--dry-run"]]
    {
        let out = bed.run(&[other, &["-o", "svg"]].concat());
        assert_eq!((out.status.code(), out.stdout.len()), (Some(2), 0), "{other:?}");
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(said, "cvctl: only `layout plan` has a picture\nhint: give -o text or -o json\n");
    }
    // What is wrong is said in words.
    let out = bed.run(&["layout", "plan", file, "-o", "svg"]);
    assert!(!out.status.success() && out.stdout.is_empty());
    assert!(String::from_utf8(out.stderr).unwrap().starts_with("cvctl: "));
}

#[test]
fn a_token_is_for_one_image() {
    let bed = Bed::captured();
    std::fs::write(bed.path("root/more"), "more").unwrap();
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "other"]);
    let args = layout(&bed);
    let [file, disk, place] = args.each_ref().map(String::as_str);
    let plan = bed.json("layout-plan", &["layout", "plan", file, disk, place, "--image", "base"]);
    let token = plan["token"].as_str().unwrap();
    bed.fails(16, &["layout", "apply", file, disk, place, "--image", "other", "--confirm", token]);
    bed.fails(2, &["layout", "plan", file, disk, place, "--sector", "0"]);
}

#[test]
fn documents_that_extend_others_are_found() {
    let bed = Bed::captured();
    let args = layout(&bed);
    let [file, disk, place] = args.each_ref().map(String::as_str);
    std::fs::create_dir(bed.path("site")).unwrap();
    let text = "schema: cv.layout/v1\nname: own\nextends: small\nfilesystems: {root: {label: own}}\n";
    std::fs::write(bed.path("site/own.yaml"), text).unwrap();
    let (own, dir) = (bed.text("site/own.yaml"), bed.path("small.yaml").parent().unwrap().display().to_string());
    assert_eq!(bed.fails(2, &["layout", "check", &own])["detail"]["code"], "L008");
    let found = bed.json("layout-check", &["layout", "check", &own, file, "--layout-path", &dir]);
    assert_eq!(found["files"].as_array().unwrap().len(), 2);
    let plan = bed.json("layout-plan", &["layout", "plan", &own, disk, place, "--layout-path", &dir]);
    assert_eq!(plan["filesystems"][0]["label"], "own");
    let apply = ["layout", "apply", &own, disk, place, "--layout-path", &dir, "--dry-run"];
    assert_eq!(bed.json("layout-plan", &apply)["layout"], "own");
    // A mistake is shown in the document that has it.
    std::fs::write(bed.path("small.yaml"), LAYOUT.replace("96MiB", "96")).unwrap();
    let out = bed.run(&["layout", "check", &own, "--layout-path", &dir]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.starts_with(&format!("{file}:6:")) && said.contains(" L108 partitions.d/root.size: "), "{said}");
}
