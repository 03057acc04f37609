//! The program `cvctl` from outside: what it prints, how it exits, that its JSON is what the schemas say.
#![allow(missing_docs)]

mod common;

use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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
fn a_store_is_a_directory_or_a_place_in_s3() {
    let bed = Bed::new();
    bed.fails(2, &["--store", "s3://x", "image", "list"]);
    bed.fails(2, &["store", "init", "s3://bucket/../prefix"]);
    let e = bed.fails(21, &["--store", "ftp://host/images", "image", "list"]);
    assert_eq!(e["message"], "there are no stores at ftp://");
    if !cfg!(feature = "s3") {
        let e = bed.fails(21, &["--store", "s3://bucket/prefix", "image", "list"]);
        assert_eq!(e["message"], "this build of libcv has no stores in S3");
    }
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
fn the_json_of_every_verb_fits_its_schema() {
    let bed = Bed::new();
    common::small_tree(&bed.path("root"));
    if common::is_root() {
        common::run("mknod", &[&bed.text("root/null"), "c", "1", "3"]);
    }
    std::fs::write(bed.path("root").join(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff")), "x").unwrap();
    std::fs::hard_link(bed.path("root/etc/fstab"), bed.path("root/etc/fstab2")).unwrap();
    let (root, store) = (bed.text("root"), bed.text("store"));
    bed.json("store-init", &["store", "init", &store]);
    let first = bed.json("image-capture", &["image", "capture", &root, "--name", "base", "--tag", "v1"]);
    assert!(first["scrubbed_count"].as_u64().unwrap() > 0);
    std::fs::write(bed.path("root").join(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xfe")), "x").unwrap();
    bed.json("image-capture", &["image", "capture", &root, "--name", "base"]);
    bed.json("image-tag", &["image", "tag", "base", "base:v2"]);
    let list = bed.json("image-list", &["image", "list"]);
    assert_eq!(list["images"][0]["tags"].as_array().unwrap().len(), 2);
    let show = bed.json("image-show", &["image", "show", "base:v1"]);
    assert_eq!((&show["image"], &show["tags"]), (&first["image"], &serde_json::json!(["v1"])));
    let by_id = bed.json("image-show", &["image", "show", &first["image"].as_str().unwrap()[..12]]);
    assert_eq!((&by_id["release"], &by_id["tags"]), (&Value::Null, &serde_json::json!([])));
    let diff = bed.json("image-diff", &["image", "diff", "base@1", "base@2"]);
    assert_eq!(diff["changes"][1]["path_base64"], "/g==");
    let ls = bed.json("image-ls", &["image", "ls", "base", "-r"]);
    assert!(ls["entries"].as_array().unwrap().len() > 200);
    bed.json("image-ls", &["image", "ls", "base", "/etc/fstab"]);
    assert_eq!(bed.json("image-cat", &["image", "cat", "base", "home/u/f1"])["text"], "file 1\n");
    assert!(bed.json("image-cat", &["image", "cat", "base", "usr/bin/big"])["base64"].is_string());
    bed.json("image-extract", &["image", "extract", "base", &bed.text("out")]);
    let out = bed.text("out");
    let update = |more: &[&'static str]| [&["image", "extract", "base@1", &out, "--update"], more].concat();
    let dry = bed.json("image-extract", &update(&["--dry-run", "--local", "delete"]));
    assert_eq!((&dry["actions"][0]["path"], &dry["actions"][0]["what"]), (&"/\\xfe".into(), &"delete".into()));
    assert_eq!((&dry["actions"][0]["path_base64"], &dry["verdict"]["need"]), (&"/g==".into(), &"nothing".into()));
    let done = bed.json("image-extract", &update(&[]));
    assert_eq!((&done["deleted"], &done["dry_run"]), (&1.into(), &false.into()));
    std::fs::write(bed.path("out/etc/fstab"), "of the node").unwrap();
    let tree = bed.json("image-diff", &["image", "diff", "base@1", &out]);
    assert!(tree["changes"].as_array().unwrap().iter().any(|c| c["kept"] == "disks of the node"), "{tree}");
    bed.json("store-check", &["store", "check"]);
    bed.json("store-init", &["store", "init", &bed.text("copy")]);
    let synced = bed.json("store-sync", &["store", "sync", "--to", &bed.text("copy")]);
    assert_eq!((&synced["generations"], &synced["images"]), (&serde_json::json!(["base@1", "base@2"]), &2.into()));
    std::fs::remove_file(bed.path("store/refs/base/HEAD")).unwrap();
    let repaired = bed.json("store-repair", &["store", "repair", "--from", &bed.text("copy")]);
    assert_eq!((&repaired["found"], &repaired["faults"]), (&1.into(), &serde_json::json!([])));
    bed.json("image-rollback", &["image", "rollback", "base", "--to", "base@1"]);
    bed.json("image-rm", &["image", "rm", "base"]);
    bed.json("image-log", &["image", "log", "base"]);
    let found = bed.json("store-gc", &["store", "gc", "--dry-run", "--grace", "0s"]);
    assert!(found["dry_run"] == true && found["found"].as_u64().unwrap() > 0);
    bed.json("image-export", &["image", "export", "base@1", "--format", "tar", "--output", &bed.text("a.tar.zst")]);
    let imported = bed.json("image-import", &["image", "import", &bed.text("a.tar.zst"), "--name", "tar"]);
    assert_eq!(imported["changed"], true);
    bed.json("key-generate", &["key", "generate", "--output", &bed.text("key")]);
    bed.json("image-sign", &["image", "sign", "tar", "--sign-key", &bed.text("key")]);
    let verified = bed.json("image-verify", &["image", "verify", "tar", "--key", &bed.text("key.pub")]);
    assert!(verified["key"].is_string());
    let by_id = imported["image"].as_str().unwrap();
    bed.json("image-verify", &["image", "verify", by_id]);
    std::fs::write(bed.path("root/etc/shadow"), "me:$6$salt$0123456789:1::::::\n").unwrap();
    let found =
        bed.json("image-capture", &["image", "capture", &root, "--name", "secret", "--report", &bed.text("report")]);
    assert_eq!(found["secrets"][0]["rule"], "password-hash");
    let oci = bed.text("oci");
    let done =
        bed.json("image-export", &["image", "export", "base@1", "--format", "oci", "--output", &oci, "--ref", "b:1"]);
    assert!(done["digest"].is_string());
    assert_eq!(bed.json("image-import", &["image", "import", &oci, "--name", "oci"])["layers"], 1);
    bed.json("image-export", &["image", "export", "base@1", "--format", "cpio", "--output", &bed.text("a.cpio")]);
    let derive = ["image", "derive", "base@1", "--kind", "erofs"];
    assert_eq!(bed.json("image-derive", &derive)["made"], true);
    let file = bed.text("a.erofs");
    let again = bed.json("image-derive", &[&derive[..], &["--output", &file]].concat());
    assert_eq!(
        (&again["made"], again["size"].as_u64()),
        (&Value::Bool(false), Some(std::fs::metadata(file).unwrap().len()))
    );
    layouts_in_json(&bed);
    bed.json("completion", &["completion", "bash"]);
    let pages = bed.json("man", &["man", &bed.text("man")]);

    // Every verb has a schema, and every schema a verb.
    let names: BTreeSet<String> = pages["pages"].as_array().unwrap().iter().map(page_name).collect();
    let is_leaf = |n: &String| !names.iter().any(|m| m.starts_with(&format!("{n}-")));
    let verbs: BTreeSet<String> =
        names.iter().filter(|n| is_leaf(n)).map(|n| n.trim_start_matches("cvctl-").to_owned()).collect();
    let files = std::fs::read_dir(schemas()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut described: BTreeSet<String> = files.map(|f| f.trim_end_matches(".json").to_owned()).collect();
    assert!(described.remove("error"));
    assert_eq!(verbs, described);
}

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

const LAYOUT: &str = "
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
fn layout(bed: &Bed) -> [String; 3] {
    std::fs::write(bed.path("small.yaml"), LAYOUT).unwrap();
    std::fs::File::create(bed.path("disk")).unwrap().set_len(256 << 20).unwrap();
    [bed.text("small.yaml"), "--disk".to_owned(), format!("d={}", bed.text("disk"))]
}

/// Whether disks can be written here: root, loop devices, mkfs.ext4.
fn can_apply() -> bool {
    let able = common::is_root()
        && Path::new("/dev/loop-control").exists()
        && ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"].iter().any(|p| Path::new(p).exists());
    if !able {
        eprintln!("skipped: applying a layout: needs root, loop devices and mkfs.ext4");
    }
    able
}

fn layouts_in_json(bed: &Bed) {
    let args = layout(bed);
    let [file, disk, place] = args.each_ref().map(String::as_str);
    let found = bed.json("layout-check", &["layout", "check", file]);
    assert_eq!(found["diagnostics"].as_array().unwrap().len(), 0);
    bed.json("layout-schema", &["layout", "schema"]);
    let plan = bed.json("layout-plan", &["layout", "plan", file, disk, place, "--hostname", "n1"]);
    assert_eq!(plan["disks"][0]["partitions"].as_array().unwrap().len(), 2);
    let apply = ["layout", "apply", file, disk, place, "--hostname", "n1"];
    let dry = bed.json("layout-plan", &[&apply[..], &["--dry-run"]].concat());
    assert_eq!(dry["token"], plan["token"]);
    if can_apply() {
        let token = plan["token"].as_str().unwrap();
        let done = bed.json("layout-apply", &[&apply[..], &["--confirm", token]].concat());
        assert_eq!(done["token"], plan["token"]);
    }
}

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

/// Runs with a terminal for all three, types `answer`, and gives exit code and what was on the screen.
fn on_a_terminal(bed: &Bed, args: &[&str], answer: &str) -> (i32, String) {
    use rustix::pty::OpenptFlags;
    use std::io::Write;
    let own = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    rustix::pty::grantpt(&own).unwrap();
    rustix::pty::unlockpt(&own).unwrap();
    let name = rustix::pty::ptsname(&own, Vec::new()).unwrap();
    let open = || std::fs::OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cvctl"));
    command.args(args).env("CV_STORE", bed.path("store")).env("CV_STATE", bed.path("state")).env("TERM", "xterm");
    let mut child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
    drop(command);
    let mut own = std::fs::File::from(own);
    own.write_all(answer.as_bytes()).unwrap();
    let mut seen = Vec::new();
    let mut buf = [0; 4096];
    // The end of the last one that holds the other side is an error here.
    while let Ok(n) = own.read(&mut buf) {
        seen.extend_from_slice(&buf[..n]);
    }
    (child.wait().unwrap().code().unwrap(), String::from_utf8_lossy(&seen).into_owned())
}

#[test]
fn a_terminal_gets_a_bar() {
    let bed = Bed::captured();
    std::fs::write(bed.path("root/noise"), common::noise(60 << 20, 5)).unwrap();
    let args = ["image", "capture", &bed.text("root"), "--name", "bar"];
    let (code, seen) = on_a_terminal(&bed, &args, "");
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("read [") && seen.contains(" of ") && seen.contains(" left"), "{seen:?}");
    let last = seen.trim_end().lines().rev().take(4).collect::<String>();
    assert!(last.contains("bar@1"), "{seen:?}");
    let (code, seen) = on_a_terminal(&bed, &[&args[..], &["-q", "--paranoid"]].concat(), "");
    assert!(code == 0 && !seen.contains('['), "{seen:?}");
}

fn page_name(page: &Value) -> String {
    Path::new(page.as_str().unwrap()).file_stem().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn the_exit_code_is_the_kind_of_the_error() {
    let bed = Bed::captured();
    let (root, store) = (bed.text("root"), bed.text("store"));
    bed.fails(2, &["image", "nonsense"]);
    bed.fails(2, &["image", "capture", &root]);
    bed.fails(2, &["image", "capture", &root, "--name", "x", "--level", "20"]);
    bed.fails(2, &["image", "capture", &root, "--name", "no/name"]);
    bed.fails(2, &["image", "tag", "base", "base"]);
    let e = bed.fails(10, &["image", "show", "bsae"]);
    assert_eq!(e["hint"], "did you mean \"base\"?");
    bed.fails(10, &["image", "cat", "base", "/etc/none"]);
    bed.fails(10, &["--store", &bed.text("nowhere"), "image", "list"]);
    bed.fails(11, &["store", "init", &store]);
    bed.fails(11, &["image", "capture", &root, "--name", "base", "--exact", "--expect-parent", "7"]);
    bed.fails(16, &["store", "init", &root]);
    bed.fails(16, &["image", "rm", "base@1"]);
    bed.fails(16, &["image", "extract", "base", &root]);
    // No store at all.
    let out = bed.command(&["image", "list"]).env_remove("CV_STORE").output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("hint: give --store DIR"));
}

#[test]
fn damage_is_told_with_the_images_that_it_touches() {
    let bed = Bed::captured();
    let mut packs = vec![bed.path("store/packs")];
    while packs[0].is_dir() {
        packs = std::fs::read_dir(&packs[0]).unwrap().map(|e| e.unwrap().path()).collect();
        packs.sort_by_key(|p| std::cmp::Reverse(std::fs::metadata(p).unwrap().len()));
    }
    let mut bytes = std::fs::read(&packs[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let _ = std::fs::remove_file(&packs[0]);
    std::fs::write(&packs[0], bytes).unwrap();
    let e = bed.fails(14, &["store", "check", "--read-data"]);
    assert_eq!(e["detail"]["images"].as_array().unwrap().len(), 1);
    let out = bed.run(&["store", "check", "--read-data", "-o", "json"]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    validate("store-check", &report);
    assert_eq!(report["faults"].as_array().unwrap().len(), 1);
    let out = bed.run(&["image", "extract", "base", &bed.text("out")]);
    assert_eq!(out.status.code(), Some(14));
}

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

/// Starts, waits until it is at work, interrupts, and gives how long it then took and the error line.
fn interrupted(bed: &Bed, args: &[&str], after: Duration) -> (Duration, String) {
    let mut child = bed.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(after);
    assert!(child.try_wait().unwrap().is_none(), "it was faster than the test");
    let began = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let took = began.elapsed();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.code(), Some(24), "{status} {stderr}");
    (took, stderr)
}

#[test]
fn ctrl_c_ends_it_in_half_a_second() {
    let bed = Bed::new();
    std::fs::write(bed.path("root/noise"), common::noise(200 << 20, 11)).unwrap();
    let root = bed.text("root");
    bed.ok(&["store", "init", &bed.text("store")]);
    // On a machine that does other things besides, one of three has to be quick enough.
    let slow = ["image", "capture", &root, "--name", "big", "--level", "19", "--threads", "1", "-o", "json"];
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let (took, stderr) = interrupted(&bed, &slow, Duration::from_millis(600));
        let line: Value = serde_json::from_str(&stderr).unwrap();
        validate("error", &line);
        assert_eq!(line["error"]["kind"], "Cancelled");
        best = best.min(took);
        if best < Duration::from_millis(500) {
            break;
        }
    }
    assert!(best < Duration::from_millis(500), "{best:?}");
    assert!(bed.ok(&["store", "check", "--read-data"]).starts_with("0 faults; 0 images"));
    bed.ok(&["image", "capture", &root, "--name", "big", "--level", "1"]);
    bed.ok(&["store", "check", "--read-data"]);
}

#[test]
fn an_interrupted_deployment_gives_everything_back() {
    if !can_apply() {
        return;
    }
    let bed = Bed::captured();
    std::fs::write(bed.path("root/noise"), common::noise(40 << 20, 5)).unwrap();
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "base"]);
    let args = layout(&bed);
    let [file, disk, place] = args.each_ref().map(String::as_str);
    let apply = ["layout", "apply", file, disk, place, "--image", "base", "--yes"];
    let events = bed.text("events");
    let mut child = bed.command(&[&apply[..], &["--events", &events]].concat()).spawn().unwrap();
    let began = Instant::now();
    while !std::fs::read_to_string(&events).is_ok_and(|t| t.contains("\"transfer\"")) {
        assert!(began.elapsed() < Duration::from_secs(120), "it never came to the transfer");
        std::thread::sleep(Duration::from_millis(2));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(24));
    let last = std::fs::read_to_string(&events).unwrap().lines().last().unwrap().to_owned();
    assert!(last.contains("\"job.end\"") && last.contains("\"code\":24"), "it cleaned up to the end: {last}");
    let disk = std::fs::metadata(bed.path("disk")).unwrap();
    let (device, inode) = { (std::os::unix::fs::MetadataExt::dev(&disk), std::os::unix::fs::MetadataExt::ino(&disk)) };
    assert_eq!(libcv::sys::loopdev::attached_to(device, inode), Vec::<String>::new());
    bed.ok(&apply);
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
fn events_are_lines_of_json() {
    let bed = Bed::captured();
    let file = bed.text("events");
    for _ in 0..2 {
        bed.ok(&["--events", &file, "store", "check", "--read-data"]);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let events: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let second = events.iter().rposition(|e| e["kind"] == "job.start").unwrap();
    assert!(second > 0, "events are appended");
    for job in [&events[..second], &events[second..]] {
        for (i, e) in job.iter().enumerate() {
            assert_eq!((e["seq"].as_u64(), &e["job"]), (Some(i as u64 + 1), &job[0]["job"]));
        }
        assert_eq!((&job[job.len() - 1]["kind"], &job[job.len() - 1]["code"]), (&"job.end".into(), &0.into()));
    }
    let out = bed.run(&["--events", "-", "store", "check"]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.lines().all(|l| serde_json::from_str::<Value>(l).is_ok()) && said.contains("job.end"), "{said}");
    bed.fails(23, &["--events", &bed.text("no/such/file"), "store", "check"]);
}

#[test]
fn people_get_names_and_every_finding() {
    let bed = Bed::captured();
    std::fs::write(bed.path("root/etc/passwd"), format!("me:x:{}:0::/:/bin/sh\n", uid())).unwrap();
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "base", "--tag", "good"]);
    let show = bed.ok(&["image", "show", "base"]);
    assert!(show.lines().any(|l| l.split_whitespace().eq(["tags", "good"])), "{show}");
    assert!(show.contains(" left out, emptied or kept by a rule\n"), "{show}");
    let all = bed.ok(&["image", "ls", "-r", "base"]);
    assert!(all.lines().all(|l| l.contains(&format!(" me:{} ", uid()))), "the image's own passwd names the owner");
    let home = bed.ok(&["image", "ls", "-r", "base", "/home"]);
    assert!(all.contains(&home) && home.lines().count() == 201);
    for reference in ["bsae", "bsae:good", "bsae@1"] {
        assert_eq!(bed.fails(10, &["image", "show", reference])["hint"], "did you mean \"base\"?", "{reference}");
    }
    // Every mistake of a document is shown once: by `check` as its result, elsewhere with the error.
    let args = layout(&bed);
    std::fs::write(bed.path("bad.yaml"), LAYOUT.replace("96MiB", "96").replace("ext4", "exf4")).unwrap();
    let (bad, [_, disk, place]) = (bed.text("bad.yaml"), args.each_ref().map(String::as_str));
    let out = bed.run(&["layout", "check", &bad]);
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), 2);
    assert_eq!(String::from_utf8_lossy(&out.stderr).lines().count(), 1);
    let out = bed.run(&["layout", "plan", &bad, disk, place]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains(": L108 partitions.") && said.contains(": L101 filesystems."), "{said}");
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let bed = Bed::new();
    for i in 0..3000 {
        std::fs::write(bed.path(&format!("root/{i:05}{}", "x".repeat(60))), "").unwrap();
    }
    bed.ok(&["store", "init", &bed.text("store")]);
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "many"]);
    for form in ["text", "json"] {
        let args = ["image", "ls", "many", "-o", form];
        let mut child = bed.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut head = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut head).unwrap();
        let out = child.wait_with_output().unwrap();
        assert_eq!((out.status.code(), out.stderr.as_slice()), (Some(0), &b""[..]));
    }
    // What cannot be written is one.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = bed.command(&["image", "ls", "many"]).stdout(full).output().unwrap();
    assert_eq!(out.status.code(), Some(17));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "cvctl: cannot write the output: no space left on device\n");
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
