//! Out, and in again.

use super::*;
use libcv::convert::{ExportOptions, Format, export};
use std::process::Command;

#[test]
fn out_and_in_again_is_the_same_tree() {
    let bed = Bed::new();
    let tree = bed.dir.path().join("tree");
    odd(&tree);
    let image = bed.capture(&tree, "odd");
    let other = Bed::new();
    for (n, format) in [Format::Oci, Format::OciArchive].into_iter().enumerate() {
        for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
            let options = ExportOptions { format, compression: Some(compression), ..ExportOptions::default() };
            let to = |name: &str| bed.dir.path().join(format!("{name}-{n}-{compression:?}"));
            let done = export(&image, to("a"), &options, &Task::quiet()).unwrap();
            let again = export(&image, to("b"), &options, &Task::quiet()).unwrap();
            assert!(done.digest.is_some() && done.digest == again.digest);
            let diff = Command::new("diff").arg("-r").args([to("a"), to("b")]).status().unwrap();
            assert!(diff.success());
            let brought = other.bring(&to("a")).unwrap();
            assert_eq!((brought.tree, brought.layers), (image.tree_id(), 1));
            let e = export(&image, to("a"), &options, &Task::quiet()).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Refused);
        }
    }
    let left = std::fs::read_dir(bed.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(!left.into_iter().any(|n| n.contains(".cv-")));
}

#[test]
fn what_would_hide_something_is_left_out_and_told() {
    let bed = Bed::new();
    let plain = bed.dir.path().join("plain.tar");
    let entries = [file("a", 1), file(".wh.a", 2), file(".wh.d/x", 3), file("d/y", 4), hard("z", ".wh.a")];
    std::fs::write(&plain, pack(&entries)).unwrap();
    bed.bring(&plain).unwrap();
    let options = ExportOptions { format: Format::Oci, ..ExportOptions::default() };
    let to = bed.dir.path().join("oci");
    let done = export(&bed.image(), &to, &options, &Task::quiet()).unwrap();
    assert_eq!((&done.losses[0].feature[..], done.losses[0].count), ("names that begin with .wh.", 3));
    bed.bring(&to).unwrap();
    let wanted = [" directory 755 0", "a file 644 1", "d directory 755 0", "d/y file 644 4", "z file 644 2"];
    assert_eq!(listed(&bed.image()), wanted);
}

#[test]
fn a_config_survives_and_a_time_is_given() {
    let bed = Bed::new();
    bed.bring(Layout::with(&[vec![file("a", 1)]]).path()).unwrap();
    let to = bed.dir.path().join("oci");
    let (format, reference) = (Format::Oci, Some("site/base:v1".to_owned()));
    let options = ExportOptions { format, reference, created: Some(86_400), ..ExportOptions::default() };
    export(&bed.image(), &to, &options, &Task::quiet()).unwrap();
    let read = |name: &str| -> Value { serde_json::from_slice(&std::fs::read(to.join(name)).unwrap()).unwrap() };
    let blob = |d: &Value| read(&format!("blobs/sha256/{}", &d["digest"].as_str().unwrap()[7..]));
    let index = read("index.json");
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "site/base:v1");
    assert_eq!(index["manifests"][0]["platform"], json!({"architecture": "arm64", "os": "linux"}));
    let manifest = blob(&index["manifests"][0]);
    assert_eq!(manifest["annotations"]["libcv.tree"], bed.image().tree_id().to_string());
    let config = blob(&manifest["config"]);
    assert_eq!((&config["created"], &config["architecture"]), (&json!("1970-01-02T00:00:00Z"), &json!("arm64")));
    assert_eq!(config["config"]["Entrypoint"], json!(["/init"]));
    let bad = ExportOptions { reference: Some("a b".into()), ..options };
    let e = export(&bed.image(), bed.dir.path().join("x"), &bad, &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    assert!(!bed.dir.path().join("x").exists());
}
