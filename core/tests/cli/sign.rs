//! Keys: what is signed by none of them is not used, nor what was changed, nor what is older than what was seen.

use super::layout::layout;
use super::{Bed, common};

#[test]
fn only_what_is_signed_is_used() {
    let bed = Bed::captured();
    let (root, key, other) = (bed.text("root"), bed.text("key.pub"), bed.text("other.pub"));
    for name in ["key", "other"] {
        assert!(bed.ok(&["key", "generate", "--output", &bed.text(name)]).starts_with("key "));
    }
    bed.fails(11, &["key", "generate", "--output", &bed.text("key")]);
    // Unsigned; then signed where it stands; by another key; with a key that is none.
    let e = bed.fails(14, &["image", "verify", "base", "--key", &key]);
    assert_eq!(e["message"], "generation 1 of base is not signed");
    assert!(bed.ok(&["image", "verify", "base"]).contains("no key was given"));
    assert!(bed.ok(&["image", "sign", "base", "--sign-key", &bed.text("key")]).contains(" is signed by key "));
    let said = bed.ok(&["image", "verify", "base", "--key", &other, &key]);
    assert!(
        said.starts_with("base@1 ") && said.contains("\nsigned by key ") && said.contains("as they should be"),
        "{said}"
    );
    bed.ok(&["image", "verify", &format!("--key={key}"), "base"]);
    bed.fails(14, &["image", "verify", "base", "--key", &other]);
    bed.fails(2, &["image", "verify", "base", "--key", &bed.text("key")]);
    bed.fails(10, &["image", "verify", "base", "--key", &bed.text("none.pub")]);
    bed.fails(2, &["image", "capture", &root, "--name", "base", "--sign-key", &key]);
    // Wherever an image is used.
    bed.fails(14, &["image", "extract", "base", &bed.text("out"), "--key", &other]);
    let archive = bed.text("a.tar");
    bed.fails(14, &["image", "export", "base", "--format", "tar", "--output", &archive, "--key", &other]);
    assert!(!bed.path("out").exists() && !bed.path("a.tar").exists());
    let args = layout(&bed);
    let [file, disk, place] = args.each_ref().map(String::as_str);
    bed.fails(14, &["layout", "plan", file, disk, place, "--image", "base", "--key", &other]);
    bed.fails(14, &["layout", "apply", file, disk, place, "--yes", "--image", "base", "--key", &other]);
    bed.fails(2, &["layout", "plan", file, disk, place, "--key", &key]);
    bed.ok(&["layout", "plan", file, disk, place, "--image", "base", "--key", &key]);
    bed.ok(&["image", "extract", "base", &bed.text("out"), "--key", &key]);
    bed.ok(&["image", "export", "base", "--format", "tar", "--output", &archive, "--key", &key]);
    let derive = |how: [&str; 2]| bed.ok(&[&["image", "derive", "base", "--kind", "cpio"][..], &how].concat());
    bed.fails(14, &["image", "derive", "base", "--kind", "cpio", "--key", &other]);
    assert!(derive(["--sign-key", &bed.text("key")]).ends_with(", made\n"));
    assert!(derive(["--key", &key]).ends_with(", was there\n"));
    // A store of an earlier day; and the release changed.
    common::run("cp", &["-a", &bed.text("store"), &bed.text("mirror")]);
    std::fs::write(bed.path("root/etc/motd"), "two\n").unwrap();
    bed.ok(&["image", "capture", &root, "--name", "base", "--sign-key", &bed.text("key")]);
    bed.ok(&["image", "verify", "base", "--key", &key]);
    let e = bed.fails(20, &["--store", &bed.text("mirror"), "image", "verify", "base", "--key", &key]);
    assert_eq!((&e["detail"]["seen"], &e["detail"]["offered"]), (&2.into(), &1.into()));
    bed.fails(20, &["--store", &bed.text("mirror"), "image", "extract", "base", &bed.text("old"), "--key", &key]);
    // An update is an extraction, too; a refused one leaves the tree as it was.
    let (out, mirror) = (bed.text("out"), bed.text("mirror"));
    let update = ["image", "extract", "base", &out, "--update", "--exact"];
    let motd = || std::fs::read_to_string(bed.path("out/etc/motd")).unwrap_or_default();
    for dry_run in [&["--dry-run"][..], &[]] {
        bed.fails(14, &[&update, &["--key", &other][..], dry_run].concat());
        bed.fails(20, &[&["--store", &mirror], &update[..], &["--key", &key], dry_run].concat());
    }
    assert_eq!(motd(), "");
    bed.ok(&[&update[..], &["--key", &key]].concat());
    assert_eq!(motd(), "two\n");
    std::fs::write(bed.path("root/etc/motd"), "three\n").unwrap();
    bed.ok(&["image", "capture", &root, "--name", "unsigned"]);
    let unsigned = ["image", "extract", "unsigned", &out, "--update", "--exact"];
    let e = bed.fails(14, &[&unsigned[..], &["--key", &key]].concat());
    assert_eq!(e["message"], "generation 1 of unsigned is not signed");
    assert_eq!(motd(), "two\n");
    bed.ok(&["--store", &bed.text("mirror"), "image", "verify", "base@1", "--key", &key]);
    bed.ok(&["image", "rollback", "base", "--to", "base@1", "--sign-key", &bed.text("key")]);
    assert!(bed.ok(&["image", "verify", "base", "--key", &key]).starts_with("base@3 "));
    let release = bed.path("store/refs/base/0000000000000003");
    let text = std::fs::read_to_string(&release).unwrap();
    std::fs::write(&release, text.replace("rollback", "capture")).unwrap();
    bed.fails(14, &["image", "verify", "base", "--key", &key]);
}
