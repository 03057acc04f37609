//! `cvctl` where verbs meet: whom a comparison believes, what an import reports, what a repair removed.
#![allow(missing_docs)]

mod common;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Bed(tempfile::TempDir);

impl Bed {
    /// A store with generation 1 of `base`, signed by `a`; `b` is another key.
    fn new() -> Self {
        let bed = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(bed.path("root")).unwrap();
        common::small_tree(&bed.path("root"));
        ["a", "b"].iter().for_each(|key| drop(bed.ok(&["key", "generate", "--output", &bed.text(key)])));
        bed.ok(&["store", "init", &bed.text("store")]);
        bed.ok(&["image", "capture", &bed.text("root"), "--name", "base", "--exact", "--sign-key", &bed.text("a")]);
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Exit code, stdout, stderr.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cvctl"));
        command.arg("-q").args(args).env("CV_STORE", self.path("store")).env("CV_STATE", self.path("state"));
        let out = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }

    fn ok(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    }

    fn fails(&self, code: i32, args: &[&str]) -> String {
        let (found, _, err) = self.run(args);
        assert_eq!(found, code, "{args:?}: {err}");
        err
    }
}

fn fits(schema: &str, value: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/cli/{schema}.json"));
    let (mut all, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    let text = std::fs::read_to_string(path).unwrap();
    compiler.add_resource("schema.json", serde_json::from_str(&text).unwrap()).unwrap();
    let index = compiler.compile("schema.json", &mut all).unwrap();
    all.validate(value, index).unwrap_or_else(|e| panic!("{schema}: {e:#}\n{value}"));
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_comparison_believes_the_keys_that_it_is_given() {
    let bed = Bed::new();
    let (root, right, wrong) = (bed.text("root"), bed.text("a.pub"), bed.text("b.pub"));
    std::fs::write(bed.path("root/etc/motd"), "changed\n").unwrap();
    let diff = |key: &str| bed.ok(&["image", "diff", "base", &root, "--exact", "--key", key]);
    assert!(diff(&right).contains("/etc/motd"));
    let err = bed.fails(14, &["image", "diff", "base", &root, "--key", &wrong]);
    assert!(err.contains("none of those given"), "{err}");
    // One of several is enough; before other arguments with an equals sign.
    bed.ok(&["image", "diff", &format!("--key={wrong}"), &format!("--key={right}"), "base", &root]);
    // What is not signed is refused on either side.
    bed.ok(&["image", "capture", &root, "--name", "base", "--exact"]);
    bed.fails(14, &["image", "diff", "base", &root, "--key", &right]);
    bed.fails(14, &["image", "diff", "base@1", "base@2", "--key", &right]);
    bed.ok(&["image", "diff", "base@1", "base@2"]);
    bed.ok(&["image", "sign", "base", "--sign-key", &bed.text("a")]);
    let value = json(&bed.ok(&["-o", "json", "image", "diff", "base@1", "base@2", "--key", &right]));
    fits("image-diff", &value);
    bed.fails(2, &["image", "diff", "base", &root, "--key", &bed.text("a")]);
    // Older than what was seen: a store of yesterday.
    bed.ok(&["image", "diff", "base", &root, "--key", &right]);
    for name in ["0000000000000002", "HEAD"] {
        std::fs::remove_file(bed.path("store/refs/base").join(name)).unwrap();
    }
    std::fs::write(bed.path("store/refs/base/HEAD"), common::head("base", 1)).unwrap();
    bed.fails(20, &["image", "diff", "base", &root, "--key", &right]);
}

#[test]
fn an_import_reports_what_it_found() {
    let bed = Bed::new();
    std::fs::create_dir(bed.path("root/srv")).unwrap();
    std::fs::create_dir(bed.path("root/etc/munge")).unwrap();
    std::fs::write(bed.path("root/etc/munge/munge.key"), [7; 128]).unwrap();
    let tar = bed.text("a.tar");
    common::run("tar", &["-C", &bed.text("root"), "-cf", &tar, "."]);
    let report = bed.text("report");
    let import = ["image", "import", &tar, "--name", "i", "--report", &report];
    let read = || json(&std::fs::read_to_string(&report).unwrap());
    bed.fails(16, &[&import[..], &["--forbid-secrets"]].concat());
    assert_eq!((&read()["secrets"][0]["rule"], &read()["image"]), (&"munge-key".into(), &Value::Null));
    bed.fails(10, &["image", "show", "i"]);
    let done = json(&bed.ok(&[&["-o", "json"], &import[..]].concat()));
    fits("image-import", &done);
    fits("image-import", &read());
    assert_eq!(read(), done);
    assert_eq!((&done["secrets_count"], &done["secrets"][0]["path"]), (&1.into(), &"/etc/munge/munge.key".into()));
}

#[test]
fn a_repair_tells_what_it_wrote_from_what_it_removed() {
    let bed = Bed::new();
    bed.ok(&["image", "derive", "base", "--kind", "cpio"]);
    bed.ok(&["store", "init", &bed.text("copy")]);
    bed.ok(&["store", "sync", "--to", &bed.text("copy")]);
    let blobs = bed.path("store/blobs");
    let dir = std::fs::read_dir(&blobs).unwrap().next().unwrap().unwrap().path();
    let document = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&document, "x").unwrap();
    std::fs::write(bed.path("store/refs/base/HEAD"), "x").unwrap();
    let value = json(&bed.ok(&["-o", "json", "store", "repair", "--from", &bed.text("copy")]));
    fits("store-repair", &value);
    let key = document.strip_prefix(bed.path("store")).unwrap().to_str().unwrap();
    assert_eq!((&value["healed"], &value["removed"]), (&json(r#"["refs/base/HEAD"]"#), &serde_json::json!([key])));
    assert!(!document.exists());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(&document, "x").unwrap();
    assert!(bed.ok(&["store", "repair", "--from", &bed.text("copy")]).contains(&format!("removed {key}\n")));
}

/// A pack that cannot be read goes, and what was in it comes into another.
#[test]
fn a_pack_that_is_gone_for_good_was_removed() {
    let bed = Bed::new();
    bed.ok(&["store", "init", &bed.text("copy")]);
    bed.ok(&["store", "sync", "--to", &bed.text("copy")]);
    let mut packs = Vec::new();
    for dir in std::fs::read_dir(bed.path("store/packs")).unwrap() {
        packs.extend(std::fs::read_dir(dir.unwrap().path()).unwrap().map(|e| e.unwrap().path()));
    }
    for pack in &packs {
        let bytes = std::fs::read(pack).unwrap();
        std::fs::write(pack, &bytes[..bytes.len() / 2]).unwrap();
    }
    let value = json(&bed.ok(&["-o", "json", "store", "repair", "--from", &bed.text("copy")]));
    fits("store-repair", &value);
    let named: Vec<&str> =
        ["healed", "removed"].iter().flat_map(|k| value[k].as_array().unwrap()).map(|v| v.as_str().unwrap()).collect();
    for pack in &packs {
        let key = pack.strip_prefix(bed.path("store")).unwrap().to_str().unwrap();
        let (removed, gone) = (value["removed"].as_array().unwrap().contains(&key.into()), !pack.exists());
        assert!(named.contains(&key) && removed == gone, "{key}: {value}");
    }
    assert_eq!(value["faults"], json("[]"));
    bed.ok(&["store", "check", "--read-data"]);
}
