//! Packages and bills of materials of images, as `cvctl` prints them.

use super::common::rpmdb::database;
use super::{Bed, common};

/// `base@1` and `base@2`, images with packages.
fn packaged(bed: &Bed) {
    let file = bed.path("root/var/lib/rpm/rpmdb.sqlite");
    let _ = std::fs::remove_dir_all(file.parent().unwrap());
    std::fs::create_dir_all(bed.path("root/etc")).unwrap();
    std::fs::write(bed.path("root/etc/os-release"), "ID=rocky\n").unwrap();
    database(&file, &[("alpha", "1"), ("beta", "1"), ("gone", "1")], &[]);
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "packaged"]);
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    database(&file, &[("alpha", "1"), ("beta", "2")], &[("new", "1")]);
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "packaged"]);
}

pub(super) fn in_json(bed: &Bed) {
    packaged(bed);
    let listed = bed.json("image-packages", &["image", "packages", "packaged"]);
    assert_eq!(listed["packages"].as_array().unwrap().len(), 3);
    let file = bed.text("sbom.json");
    for format in ["cyclonedx", "spdx"] {
        let call = ["image", "sbom", "packaged", "--format", format];
        let document = bed.json("image-sbom", &call);
        let written = bed.json("image-sbom", &[&call[..], &["--output", &file]].concat());
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(written["size"], bytes.len());
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(), document);
        std::fs::remove_file(&file).unwrap();
    }
    let call = ["image", "diff", "packaged@1", "packaged@2", "--packages"];
    let changed = &bed.json("image-diff", &call)["packages"]["changed"][0];
    assert_eq!((&changed["old"]["version"], &changed["new"]["version"]), (&"1".into(), &"2".into()));
}

#[test]
fn packages_are_listed_compared_and_written_down() {
    let bed = Bed::new();
    bed.ok(&["store", "init", &bed.text("store")]);
    packaged(&bed);
    let listed = bed.ok(&["image", "packages", "packaged"]);
    assert_eq!(
        listed,
        "NAME   VERSION  ARCH\nalpha  1-1.el9  x86_64\nbeta   2-1.el9  x86_64\nnew    1-1.el9  x86_64\n"
    );
    let diff = ["image", "diff", "packaged@1", "packaged", "--packages"];
    let lines = "! beta 1-1.el9 -> 2-1.el9\n- gone-1-1.el9.x86_64\n+ new-1-1.el9.x86_64\n";
    assert_eq!(bed.ok(&diff), lines);
    assert_eq!(bed.ok(&["image", "diff", "packaged", "packaged", "--packages"]), "");
    let sbom = ["image", "sbom", "packaged", "--format", "spdx"];
    let text = bed.ok(&sbom);
    assert!(text.contains("\"SPDX-2.3\"") && text.contains("pkg:rpm/rocky/new@1-1.el9?arch=x86_64"), "{text}");
    let file = bed.text("sbom.json");
    let to_file = [&sbom[..], &["--output", &file]].concat();
    assert_eq!(bed.ok(&to_file), format!("{file}\n"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    bed.fails(16, &to_file);
    // Nothing is left where the database was read.
    let work = bed.path("work");
    std::fs::create_dir(&work).unwrap();
    assert!(bed.command(&["image", "packages", "packaged"]).env("TMPDIR", &work).output().unwrap().status.success());
    assert_eq!(std::fs::read_dir(&work).unwrap().count(), 0);
}

#[test]
fn a_full_directory_for_copies_is_told_by_its_name() {
    if !common::is_root() {
        common::skip("a_full_directory_for_copies_is_told_by_its_name", "it needs root: sudo cargo test");
        return;
    }
    let bed = Bed::new();
    bed.ok(&["store", "init", &bed.text("store")]);
    let many: Vec<String> = (0..2000).map(|n| format!("package-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|n| (n.as_str(), "1")).collect();
    database(&bed.path("root/var/lib/rpm/rpmdb.sqlite"), &many, &[]);
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "many"]);
    let work = bed.path("work");
    std::fs::create_dir(&work).unwrap();
    let out = libcv::sys::namespace::in_private_mounts(|| {
        libcv::sys::mount::tmpfs(&work, "size=64k,mode=0755")?;
        let out = bed.command(&["image", "packages", "many"]).env("TMPDIR", &work).output().unwrap();
        assert_eq!(std::fs::read_dir(&work).unwrap().count(), 0);
        Ok(out)
    });
    let out = out.unwrap();
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(17), "{stderr}");
    assert!(stderr.contains(&format!("hint: {} has no room", work.display())), "{stderr}");
    assert_eq!(bed.ok(&["image", "packages", "many"]).lines().count(), 2001);
}

#[test]
fn what_has_no_packages_and_what_cannot_be_asked() {
    let bed = Bed::captured();
    let e = bed.fails(10, &["image", "packages", "base"]);
    assert!(e["message"].as_str().unwrap().ends_with("has no package database"), "{e}");
    bed.fails(10, &["image", "sbom", "base", "--format", "cyclonedx"]);
    bed.fails(10, &["image", "diff", "base", "base", "--packages"]);
    bed.fails(10, &["image", "packages", "none"]);
    bed.fails(2, &["image", "sbom", "base"]);
    bed.fails(2, &["image", "sbom", "base", "--format", "swid"]);
    bed.fails(2, &["image", "diff", "base", "./root", "--packages"]);
    bed.fails(2, &["image", "diff", "base", "base", "--packages", "--exact"]);
    // What nobody signed is not believed, whatever is asked of it.
    bed.ok(&["key", "generate", "--output", &bed.text("key")]);
    bed.fails(14, &["image", "packages", "base", "--key", &bed.text("key.pub")]);
    bed.fails(14, &["image", "sbom", "base", "--format", "spdx", "--key", &bed.text("key.pub")]);
}
