//! The program `cvctl` from outside: what it prints, how it exits, that its JSON is what the schemas say.
//!
//! One program to link, a file for each subject.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod ending;
mod image;
mod layout;
mod output;
mod packages;
mod recorded;
mod role;
mod schema;
mod sign;
mod store;
mod terminal;
mod update;

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory with a tree, and a place for a store.
struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let bed = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(bed.path("root")).unwrap();
        bed
    }

    /// With a small tree that was captured as generation 1 of `base`.
    fn captured() -> Self {
        let bed = Self::new();
        common::small_tree(&bed.path("root"));
        bed.ok(&["store", "init", &bed.text("store")]);
        bed.ok(&["image", "capture", &bed.text("root"), "--name", "base"]);
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cvctl"));
        // Without progress: how slow the machine is shall not decide what is printed.
        command.arg("-q").args(args).env("CV_STORE", self.path("store")).env("CV_STATE", self.path("state"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs and wants success and silence on stderr; gives stdout.
    fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && stderr.is_empty(), "{args:?}: {:?} {stderr}", out.status);
        String::from_utf8(out.stdout).unwrap()
    }

    /// Runs with `-o json` and wants a document that fits its schema.
    fn json(&self, schema: &str, args: &[&str]) -> Value {
        let value: Value = serde_json::from_str(&self.ok(&[&["-o", "json"], args].concat())).unwrap();
        validate(schema, &value);
        value
    }

    /// Runs and wants an error with this code, in text and in JSON; gives the error.
    fn fails(&self, code: i32, args: &[&str]) -> Value {
        let out = self.run(args);
        let stderr = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.starts_with("cvctl: ") || (code == 2 && stderr.starts_with("error: ")), "{args:?}: {stderr}");
        let out = self.run(&[args, &["-o", "json"]].concat());
        let stderr = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(code), "{args:?}: {stderr}");
        let value: Value = serde_json::from_str(&stderr).unwrap_or_else(|e| panic!("{args:?}: {e}: {stderr}"));
        validate("error", &value);
        assert_eq!(value["error"]["code"], code);
        value["error"].clone()
    }
}

fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/cli")
}

fn validate(schema: &str, value: &Value) {
    let path = schemas().join(format!("{schema}.json"));
    let mut all = boon::Schemas::new();
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("schema.json", serde_json::from_str(&text).unwrap()).unwrap();
    let index = compiler.compile("schema.json", &mut all).unwrap_or_else(|e| panic!("{schema}: {e:#}"));
    all.validate(value, index).unwrap_or_else(|e| panic!("{schema}: {e:#}\n{value}"));
}

#[test]
fn the_whole_story() {
    let bed = Bed::new();
    common::small_tree(&bed.path("root"));
    let (root, store) = (bed.text("root"), bed.text("store"));
    assert!(bed.ok(&["store", "init", &store]).starts_with("store "));
    assert!(bed.ok(&["image", "capture", &root, "--name", "base", "--tag", "v1"]).starts_with("base@1 "));
    assert!(bed.ok(&["image", "capture", &root, "--name", "base"]).contains("(unchanged)"));
    std::fs::write(bed.path("root/etc/motd"), "welcome\n").unwrap();
    bed.ok(&["image", "capture", &root, "--name", "base", "--expect-parent", "1", "--report", &bed.text("report")]);
    let report: Value = serde_json::from_slice(&std::fs::read(bed.path("report")).unwrap()).unwrap();
    validate("image-capture", &report);

    let diff = bed.ok(&["image", "diff", "base:v1", "base"]);
    assert_eq!(diff, "~ /etc mtime\n+ /etc/motd\n");
    assert_eq!(bed.ok(&["image", "cat", "base", "/etc/motd"]), "welcome\n");
    let ls = bed.ok(&["image", "ls", "base", "etc/"]);
    assert!(ls.lines().any(|l| l.starts_with("-rw-") && l.ends_with(" /etc/motd")), "{ls}");
    assert!(bed.ok(&["image", "ls", "base"]).contains(" /bin -> usr/bin\n"));
    assert!(bed.ok(&["image", "show", "base"]).contains("base@2\n"));
    let list = bed.ok(&["image", "list"]);
    assert!(list.lines().nth(1).unwrap().ends_with("v1@1"), "{list}");

    assert_eq!(bed.ok(&["image", "tag", "base", "base:v2"]), "base:v2 is base@2\n");
    assert!(bed.ok(&["image", "rollback", "base", "--to", "base:v1"]).starts_with("base@3 "));
    let log = bed.ok(&["image", "log", "base"]);
    assert_eq!(log.lines().count(), 4);
    assert!(log.lines().nth(1).unwrap().contains("rollback"), "{log}");

    let archive = bed.text("base.tar.gz");
    bed.ok(&["image", "export", "base:v2", "--format", "tar", "--output", &archive]);
    bed.fails(16, &["image", "export", "base:v2", "--format", "tar", "--output", &archive]);
    assert!(bed.ok(&["image", "import", &archive, "--name", "copy", "--tag", "t"]).starts_with("copy@1: "));
    assert_eq!(bed.ok(&["image", "diff", "base:v2", "copy:t"]), "");
    bed.ok(&["image", "rm", "copy"]);

    let said = bed.ok(&["image", "extract", "base:v2", &bed.text("out"), "--verify"]);
    assert!(said.ends_with(", verified\n"), "{said}");
    assert_eq!(std::fs::read(bed.path("out/etc/motd")).unwrap(), b"welcome\n");
    assert!(bed.ok(&["store", "check", "--read-data"]).starts_with("0 faults"));
    bed.ok(&["image", "rm", "base:v2"]);
    bed.ok(&["image", "rm", "base@2"]);
    bed.ok(&["image", "rm", "base"]);
    assert_eq!(bed.ok(&["image", "list"]).lines().count(), 1);
}

#[test]
fn help_and_completion_are_data() {
    let bed = Bed::new();
    assert!(bed.ok(&["--help"]).contains("completion"));
    assert!(bed.ok(&["image", "capture", "--help"]).contains("--expect-parent"));
    assert!(bed.ok(&["--version"]).starts_with("cvctl "));
    for shell in ["bash", "zsh", "fish"] {
        assert!(bed.ok(&["completion", shell]).contains("cvctl"));
    }
    bed.ok(&["man", &bed.text("man")]);
    let page = std::fs::read_to_string(bed.path("man/cvctl-image-capture.1")).unwrap();
    assert!(page.contains("expect\\-parent"), "{page}");
}
