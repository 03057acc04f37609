//! Images in and out, and the secrets in them.

use super::{Bed, common};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn formats_are_told_by_content_and_losses_are_said() {
    let bed = Bed::captured();
    let show = |name: &str| bed.json("image-show", &["image", "show", name])["tree"].clone();
    let (oci, archive, cpio) = (bed.text("oci"), bed.text("any-name"), bed.text("a.cpio.gz"));
    let export =
        |format: &'static str, to: &str| bed.ok(&["image", "export", "base", "--format", format, "--output", to]);
    assert!(export("oci", &oci).ends_with(" entries\n"));
    export("oci-archive", &archive);
    for from in [&oci, &archive] {
        bed.ok(&["image", "import", from, "--name", "back", "--ref", "base"]);
        assert_eq!(show("back"), show("base"));
    }
    assert!(bed.ok(&["image", "import", &oci, "--name", "back"]).contains("nothing changed"));
    bed.fails(10, &["image", "import", &oci, "--name", "back", "--ref", "none"]);
    bed.fails(2, &["image", "import", &oci, "--name", "back", "--platform", "linux"]);
    bed.fails(10, &["image", "import", &bed.text("nothing"), "--name", "back"]);
    bed.fails(21, &["image", "import", &bed.text("root"), "--name", "back"]);
    let said = export("cpio", &cpio);
    assert!(said.starts_with("lost: nanoseconds of modification times ("), "{said}");
    assert_eq!(std::fs::read(&cpio).unwrap()[..2], [0x1f, 0x8b]);
    // As a stream, and only what is one.
    let out = bed.run(&["image", "export", "base", "--format", "erofs", "--output", "-"]);
    assert_eq!((out.status.code(), &out.stdout[1024..1028]), (Some(0), &[0xe2, 0xe1, 0xf5, 0xe0][..]));
    bed.fails(2, &["image", "export", "base", "--format", "oci", "--output", "-"]);
    bed.fails(2, &["image", "export", "base", "--format", "zip", "--output", "x"]);
    // The same bytes at another time, and the time that a build asks for.
    let second = bed.text("second");
    export("oci", &second);
    common::run("diff", &["-r", &oci, &second]);
    let dated = |seconds: &str, to: &str| {
        let args = ["image", "export", "base", "--format", "oci", "--output", to];
        bed.command(&args).env("SOURCE_DATE_EPOCH", seconds).output().unwrap().status.code()
    };
    assert_eq!((dated("1000", &bed.text("dated")), dated("soon", &bed.text("never"))), (Some(0), Some(2)));
    assert!(bed.ok(&["image", "derive", "base", "--kind", "cpio"]).ends_with(", made\n"));
    assert!(bed.ok(&["image", "derive", "base", "--kind", "cpio"]).ends_with(", was there\n"));
    assert!(bed.ok(&["store", "check", "--read-data"]).starts_with("0 faults"));
}

#[test]
fn an_archive_goes_to_stdout() {
    let bed = Bed::captured();
    let file = bed.text("a.tar");
    bed.ok(&["image", "export", "base", "--format", "tar", "--output", &file]);
    let out = bed.command(&["image", "export", "base", "--format", "tar", "--output", "-"]).output().unwrap();
    assert!(out.status.success() && out.stdout == std::fs::read(&file).unwrap());
    assert!(!Path::new("-").exists());
}

#[test]
fn secrets_are_warned_of_or_refused() {
    let bed = Bed::captured();
    let root = bed.text("root");
    std::fs::create_dir(bed.path("root/etc/munge")).unwrap();
    std::fs::write(bed.path("root/etc/munge/munge.key"), "0123456789abcdef").unwrap();
    std::fs::write(bed.path("root/home/u/.netrc"), "machine h login l password hunter2\n").unwrap();
    let capture = ["image", "capture", &root, "--name", "base"];
    let e = bed.fails(16, &[&capture[..], &["--forbid-secrets"]].concat());
    assert!(
        e["message"]
            .as_str()
            .unwrap()
            .starts_with("2 secrets are in the tree: /etc/munge/munge.key is the key of MUNGE")
    );
    bed.fails(16, &[&capture[..], &["--forbid-secrets", "--allow-secret", "/etc/munge/munge.key"]].concat());
    assert_eq!(bed.ok(&["image", "log", "base"]).lines().count(), 2);
    let said =
        bed.ok(&[&capture[..], &["--forbid-secrets", "--allow-secret", "/etc/munge", "--exclude", ".netrc"]].concat());
    assert!(said.contains("secrets: 0 found, 1 more that are wanted, 0 encrypted\n"), "{said}");
    // Without -q each is a warning.
    let mut command = Command::new(env!("CARGO_BIN_EXE_cvctl"));
    command.args(capture).env("CV_STORE", bed.path("store")).env("CV_STATE", bed.path("state"));
    let out = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(out.stderr).unwrap();
    assert!(
        out.status.success()
            && stderr.contains("warning: /home/u/.netrc holds a password for a host (line 1, netrc-password)")
    );
    assert!(!stderr.contains("hunter2"));
    let archive = bed.text("a.tar");
    bed.ok(&["image", "export", "base", "--format", "tar", "--output", &archive]);
    bed.fails(16, &["image", "import", &archive, "--name", "tar", "--forbid-secrets"]);
    let args = [
        "image",
        "import",
        &archive,
        "--name",
        "tar",
        "--forbid-secrets",
        "--allow-secret",
        "/etc",
        "--allow-secret",
        ".netrc",
    ];
    assert!(bed.ok(&args).contains("2 more that are wanted"));
}

#[test]
fn a_limit_that_would_not_be_one_is_refused() {
    let bed = Bed::captured();
    let (root, capture) = (bed.text("root"), ["image", "capture", "--name", "x", "--max-size", "1B"]);
    bed.fails(2, &capture);
    bed.fails(2, &[&capture[..], &[&root]].concat());
    bed.fails(2, &[&capture[..], &["--to", "http://127.0.0.1:1", "--token-file", "x", &root]].concat());
    // Of a node it is one: what is said is that nobody knows it.
    bed.fails(10, &[&capture[..], &["--node", "n1"]].concat());
}
