//! What is recorded of a machine: its layout, its disks, and plans that are made elsewhere.

use super::layout::{LAYOUT, can_apply};
use super::{Bed, common};
use libcv::sys::loopdev::LoopDevice;
use serde_json::Value;
use std::fs::File;
use std::os::fd::AsFd;

/// A plan from a recorded inventory has the token of the plan that the machine makes itself, which it then confirms.
#[test]
fn a_plan_is_made_elsewhere_and_confirmed_on_the_machine() {
    if !common::can("a_plan_is_made_elsewhere_and_confirmed_on_the_machine", &["mkfs.ext4"]) {
        return;
    }
    let bed = Bed::captured();
    std::fs::write(bed.path("small.yaml"), LAYOUT).unwrap();
    let image = common::image(bed.dir.path(), "disk", 256 << 20);
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let device = LoopDevice::attach(file.as_fd(), 512).unwrap();
    let (document, disk) = (bed.text("small.yaml"), format!("d={}", device.path().display()));
    let inventory = bed.text("inventory.json");
    bed.ok(&["layout", "capture", "--inventory-out", &inventory]);
    let call = ["layout", "plan", &document, "--disk", &disk, "--hostname", "n1", "--image", "base"];
    let here = bed.json("layout-plan", &call);
    let there = bed.json("layout-plan", &[&call[..], &["--inventory", &inventory]].concat());
    assert_eq!((here["recorded"].as_bool(), there["recorded"].as_bool()), (Some(false), Some(true)));
    for key in ["token", "seed", "disks", "fstab", "filesystems", "steps"] {
        assert_eq!(here[key], there[key], "{key}");
    }
    let text = bed.ok(&[&call[..], &["--inventory", &inventory]].concat());
    assert!(text.starts_with("Layout small on 1 disk, as they were recorded\n"), "{text}");
    let svg = bed.ok(&[&call[..], &["--inventory", &inventory, "-o", "svg"]].concat());
    let token = there["token"].as_str().unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains(token));

    let apply = ["layout", "apply", &document, "--disk", &disk, "--hostname", "n1", "--image", "base"];
    bed.json("layout-apply", &[&apply[..], &["--confirm", token]].concat());
    // The disk is another one now, and what was planned of the old one confirms nothing.
    let e = bed.fails(16, &[&apply[..], &["--confirm", token]].concat());
    assert_eq!(e["detail"]["code"], "A400");
}

#[test]
fn an_inventory_that_is_none_is_refused() {
    let bed = Bed::new();
    std::fs::write(bed.path("small.yaml"), LAYOUT).unwrap();
    let document = bed.text("small.yaml");
    let plan = |inventory: &str| ["layout", "plan", &document, "--inventory", inventory].map(str::to_owned);
    let fails = |code: i32, inventory: &str| bed.fails(code, &plan(inventory).each_ref().map(String::as_str));
    fails(10, &bed.text("none.json"));
    std::fs::write(bed.path("bad.json"), "{").unwrap();
    assert_eq!(fails(2, &bed.text("bad.json"))["detail"]["line"], 1);
    let empty = "{\"schema\": \"cv.inventory/v1\", \"machine\": {}, \"disks\": []}";
    std::fs::write(bed.path("empty.json"), empty).unwrap();
    assert_eq!(fails(2, &bed.text("empty.json"))["detail"]["code"], "F201");
    let named = ["layout", "plan", &document, "--disk", "d=/dev/sda", "--inventory", &bed.text("empty.json")];
    bed.fails(10, &named);
}

/// What is captured from disks is right as a document, and means there what is there.
#[test]
fn a_captured_document_is_right_and_changes_nothing() {
    if !can_apply() {
        return;
    }
    let bed = Bed::captured();
    std::fs::write(bed.path("small.yaml"), LAYOUT).unwrap();
    let disk = common::image(bed.dir.path(), "disk", 256 << 20).display().to_string();
    let named = format!("d={disk}");
    bed.ok(&["layout", "apply", &bed.text("small.yaml"), "--disk", &named, "--image", "base", "--yes"]);
    let (out, inventory) = (bed.text("captured.yaml"), bed.text("inventory.json"));
    let call = ["layout", "capture", "--disk", &disk, "--name", "captured"];
    let shown = bed.ok(&call);
    let said = bed.ok(&[&call[..], &["--output", &out, "--inventory-out", &inventory]].concat());
    assert!(said.ends_with(&format!("{out}: sets of disks: 1\n")), "{said}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), shown);
    bed.ok(&["layout", "check", &out]);
    let recorded: Value = serde_json::from_slice(&std::fs::read(&inventory).unwrap()).unwrap();
    assert_eq!(recorded["schema"], "cv.inventory/v1");
    let captured = bed.json("layout-capture", &call);
    let set = captured["layout"]["disks"].as_object().unwrap().keys().next().unwrap().clone();
    assert_eq!(captured["unsupported"], serde_json::json!([]));
    let plan = bed.json("layout-plan", &["layout", "plan", &out, "--disk", &format!("{set}={disk}")]);
    assert_eq!((&plan["unchanged"], &plan["differences"]), (&true.into(), &serde_json::json!([])));
}

#[test]
fn what_has_no_layout_gives_no_document() {
    let bed = Bed::new();
    let disk = common::image(bed.dir.path(), "disk", 16 << 20).display().to_string();
    let call = ["layout", "capture", "--disk", &disk];
    bed.fails(21, &call);
    bed.fails(21, &[&call[..], &["--output", &bed.text("none.yaml")]].concat());
    assert!(!bed.path("none.yaml").exists());
    // The disks of a new machine can be recorded all the same.
    let said = bed.ok(&[&call[..], &["--inventory-out", &bed.text("inventory.json")]].concat());
    assert!(said.ends_with("no disk has a layout yet\n") && bed.path("inventory.json").exists(), "{said}");
}
