//! Every verb's JSON fits its schema, and there is a schema for every verb.

use super::layout::{can_apply, layout};
use super::{Bed, common, schemas, validate};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

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
    let token = bed.json("token-create", &["token", "create", "--name", "far", "--max-size", "1GiB"]);
    assert!(token["secret"].is_string() && token["token"]["max_size"] == 1 << 30);
    let file = bed.text("token");
    let token = bed.json("token-create", &["token", "create", "--name", "far", "--output", &file]);
    assert_eq!((&token["secret"], &token["file"]), (&Value::Null, &file.as_str().into()));
    assert_eq!(bed.json("token-list", &["token", "list"])["tokens"].as_array().unwrap().len(), 2);
    bed.json("token-rm", &["token", "rm", token["token"]["id"].as_str().unwrap()]);
    bed.json("node-add", &["node", "add", "n1"]);
    let nodes = bed.json("node-list", &["node", "list"]);
    assert_eq!((&nodes["nodes"][0]["name"], &nodes["nodes"][0]["seen"]), (&"n1".into(), &Value::Null));
    bed.json("node-rm", &["node", "rm", "n1"]);
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
    servers_in_json(&bed);
    multicast_in_json(&bed);
    super::role::in_json(&bed);
    super::packages::in_json(&bed);
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

/// A program that ends with the test, however that ends.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn servers_in_json(bed: &Bed) {
    let mut serve = bed.command(&["-o", "json", "serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running(serve.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(serve.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    validate("serve", &said);
    let url = format!("http://{}", said["listening"].as_str().unwrap());
    let done = bed.json("store-mirror", &["--store", &url, "store", "mirror", "--to", &bed.text("mirror")]);
    assert!(done["packs"].as_u64().unwrap() > 0);
    let found = bed.json("doctor-http", &["doctor", "http", &url]);
    assert_eq!(found["servers"][0]["findings"][0]["check"], "name");
    std::fs::write(bed.path("policy.yaml"), "schema: cv.policy/v1\n").unwrap();
    std::fs::write(bed.path("secret"), "cvn1-x\n").unwrap();
    let mut node = bed.command(&["-o", "json", "connect", "--server", "http://127.0.0.1:1", "--policy"]);
    let mut node = node.arg(bed.path("policy.yaml")).stdout(Stdio::piped()).spawn().map(Running).unwrap();
    let mut line = String::new();
    BufReader::new(node.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    validate("connect", &serde_json::from_str(&line).unwrap());
}

/// Over loopback, in a group that no other run has.
fn multicast_in_json(bed: &Bed) {
    let group = format!("239.192.70.1:{}", 20_000 + std::process::id() % 20_000);
    let args = ["--interface", "lo", "--group", &group];
    let mut send = bed.command(&["-o", "json", "mcast", "send", "tar", "--receivers", "1", "--rate", "500Mbit"]);
    let send = send.args(args).stdout(Stdio::piped()).spawn().unwrap();
    let place = bed.text("received");
    let got = bed.json("mcast-recv", &[&["mcast", "recv", &place][..], &args, &["--name", "tar"]].concat());
    assert_eq!((&got["name"], bed.path("received/etc").is_dir()), (&"tar".into(), true));
    let done = send.wait_with_output().unwrap();
    assert!(done.status.success());
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    validate("mcast-send", &said);
    assert_eq!(said["receivers"][0]["standing"], "done");
    doctor_in_json(bed, &args);
}

fn doctor_in_json(bed: &Bed, args: &[&str]) {
    let send = ["-o", "json", "doctor", "multicast", "send", "--receivers", "1", "--seconds", "30"];
    let send = bed.command(&[&send, args].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let recv = ["doctor", "multicast", "recv", "--seconds", "8"];
    let got = bed.json("doctor-multicast-recv", &[&recv, args].concat());
    assert!(got["sender"].is_string() && got["counts"].as_array().unwrap().len() >= 6, "{got}");
    let done = send.wait_with_output().unwrap();
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    validate("doctor-multicast-send", &said);
    assert!(done.status.success() && said["receivers"].as_array().unwrap().len() == 1, "{said}");
}

fn layouts_in_json(bed: &Bed) {
    let args = layout(bed);
    let [file, disk, place] = args.each_ref().map(String::as_str);
    let found = bed.json("layout-check", &["layout", "check", file]);
    assert_eq!(found["files"][0]["diagnostics"].as_array().unwrap().len(), 0);
    bed.json("layout-schema", &["layout", "schema"]);
    let image = place.split_once('=').unwrap().1;
    // With nothing on the disk there is no document, but the disks of the machine can be recorded.
    bed.fails(21, &["layout", "capture", "--disk", image]);
    let recorded = ["layout", "capture", "--disk", image, "--inventory-out", &bed.text("inventory.json")];
    let captured = bed.json("layout-capture", &recorded);
    assert_eq!(captured["layout"]["disks"], serde_json::json!({}));
    let inventory: Value = serde_json::from_slice(&std::fs::read(bed.path("inventory.json")).unwrap()).unwrap();
    assert!(!inventory["disks"].as_array().unwrap().is_empty());
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

fn page_name(page: &Value) -> String {
    Path::new(page.as_str().unwrap()).file_stem().unwrap().to_str().unwrap().to_owned()
}
