//! The programs of others.

use super::*;
use libcv::convert::{ExportOptions, Format, export};
use std::process::Command;

fn has(program: &str) -> bool {
    let there = ["/usr/bin", "/usr/local/bin"].iter().any(|d| Path::new(d).join(program).exists());
    if !there {
        common::skip("OCI", &format!("{program} is not installed"));
    }
    there
}

fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// What differs between a tree and the image, but for the root itself, which the other program makes.
fn differences(image: &Image, tree: &Path) -> Vec<String> {
    let root = libcv::sys::confined::Root::open(tree).unwrap();
    let found = libcv::tree::compare::compare(image, image.store(), &root, false, 2, &Task::quiet()).unwrap();
    found.iter().filter(|d| !d.path.is_empty()).map(ToString::to_string).collect()
}

#[test]
fn umoci_and_skopeo_read_what_we_export() {
    if !common::is_root() || !has("umoci") || !has("skopeo") {
        return;
    }
    let bed = Bed::new();
    let tree = bed.dir.path().join("tree");
    odd(&tree);
    // umoci writes holes as zeros, all 2^40 of them; and it cannot make a path over PATH_MAX.
    for path in ["tib", &"d".repeat(200)] {
        let _ = std::fs::remove_file(tree.join(path));
        let _ = std::fs::remove_dir_all(tree.join(path));
    }
    let image = bed.capture(&tree, "odd");
    let at = |name: &str| bed.dir.path().join(name).to_str().unwrap().to_owned();
    for (format, name, compression) in [
        (Format::Oci, "zstd", Compression::Zstd),
        (Format::OciArchive, "archive", Compression::Gzip),
        (Format::Oci, "gzip", Compression::Gzip),
    ] {
        let options = ExportOptions { format, compression: Some(compression), ..ExportOptions::default() };
        let done = export(&image, at(name), &options, &Task::quiet()).unwrap();
        assert!(done.losses.iter().all(|l| l.feature == "holes"), "{:?}", done.losses);
        let transport = if format == Format::Oci { "oci" } else { "oci-archive" };
        let said: Value =
            serde_json::from_str(&run("skopeo", &["inspect", &format!("{transport}:{}", at(name))])).unwrap();
        assert_eq!(said["Digest"].as_str(), done.digest.as_deref());
        assert_eq!(said["Layers"].as_array().unwrap().len(), 1);
    }
    run("umoci", &["unpack", "--image", &format!("{}:odd", at("gzip")), &at("bundle")]);
    let found = differences(&image, &bed.dir.path().join("bundle/rootfs"));
    // A hole is zeros to it.
    let other: Vec<_> = found.iter().filter(|d| !d.contains("bytes of the medium")).collect();
    assert!(other.is_empty(), "{other:#?}");
}

#[test]
fn layers_that_umoci_makes_import_as_it_unpacks_them() {
    if !common::is_root() || !has("umoci") {
        return;
    }
    let bed = Bed::new();
    let at = |name: &str| bed.dir.path().join(name).to_str().unwrap().to_owned();
    let (layout, image) = (at("layout"), format!("{}:t", at("layout")));
    run("umoci", &["init", "--layout", &layout]);
    run("umoci", &["new", "--image", &image]);
    let root = |bundle: &str| bed.dir.path().join(bundle).join("rootfs");
    let step = |bundle: &str, change: &dyn Fn(&Path)| {
        run("umoci", &["unpack", "--image", &image, &at(bundle)]);
        change(&root(bundle));
        run("umoci", &["repack", "--image", &image, &at(bundle)]);
    };
    step("one", &|root| {
        common::small_tree(root);
        common::odd_tree(root, 20);
        common::thaw(root);
        std::fs::remove_file(root.join("tib")).unwrap();
        std::fs::remove_dir_all(root.join("d".repeat(200))).unwrap();
        std::fs::remove_file(root.join("a/socket")).unwrap();
        std::fs::create_dir_all(root.join("opt/app/old/deep")).unwrap();
        std::fs::write(root.join("opt/app/old/deep/f"), "old").unwrap();
    });
    step("two", &|root| {
        std::fs::remove_dir_all(root.join("home")).unwrap();
        std::fs::remove_file(root.join("a/plain")).unwrap();
        std::fs::write(root.join("a/zero"), "not any more").unwrap();
        std::fs::remove_file(root.join("etc/fstab")).unwrap();
        std::fs::create_dir(root.join("etc/fstab")).unwrap();
        std::fs::write(root.join("etc/fstab/in"), "x").unwrap();
        std::fs::remove_dir_all(root.join("many")).unwrap();
        std::fs::write(root.join("many"), "a file now").unwrap();
        std::fs::hard_link(root.join("usr/bin/big"), root.join("usr/bin/big2")).unwrap();
        common::run("setfattr", &["-n", "user.more", "-v", "1", root.join("a/xattr").to_str().unwrap()]);
        std::fs::rename(root.join("acl"), root.join("acl-moved")).unwrap();
    });
    let insert = bed.dir.path().join("insert");
    std::fs::create_dir_all(insert.join("new")).unwrap();
    std::fs::write(insert.join("new/f"), "new").unwrap();
    run("umoci", &["insert", "--image", &image, "--opaque", insert.to_str().unwrap(), "/opt/app"]);
    run("umoci", &["insert", "--image", &image, "--whiteout", "/links"]);
    run("umoci", &["config", "--image", &image, "--config.entrypoint", "/sbin/init", "--config.env", "A=b"]);
    run("umoci", &["unpack", "--image", &image, &at("all")]);
    let done = bed.bring(Path::new(&layout)).unwrap();
    assert_eq!(done.layers, 4);
    let found = differences(&bed.image(), &root("all"));
    let other: Vec<_> = found.iter().filter(|d| !d.contains("bytes of the medium")).collect();
    assert!(other.is_empty(), "{other:#?}");
    let row = |p: &str| bed.image().row(p.as_bytes());
    assert!(
        row("opt/app/old").is_err() && row("opt/app/new/f").is_ok() && row("links").is_err() && row("home").is_err()
    );
    let facts = bed.image().manifest().facts.clone().unwrap();
    assert_eq!(facts["oci"]["config"]["Entrypoint"], json!(["/sbin/init"]));
}
