//! Images of containers in and out: layers with whiteouts against a model, layouts that lie, umoci and skopeo as judges.
#![allow(missing_docs)]

mod common;

use libcv::capture::CaptureOptions;
use libcv::convert::tar::{Compression, Encoder, Entry, Kind, Writer};
use libcv::convert::{ExportOptions, Format, ImportOptions, Imported, export, import};
use libcv::image::row;
use libcv::job::Task;
use libcv::store::{Image, Store};
use libcv::{ErrorKind, Result};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::Command;

type Layer = Vec<(Entry, Vec<u8>)>;

fn entry(path: &str, mode: u32, kind: Kind) -> (Entry, Vec<u8>) {
    let data =
        if let Kind::File { size, .. } = kind { path.bytes().cycle().take(size as usize).collect() } else { vec![] };
    (Entry { path: path.into(), mode, uid: 1, gid: 2, mtime: (3, 0), xattrs: vec![], inode_flags: 0, kind }, data)
}

fn file(path: &str, size: u64) -> (Entry, Vec<u8>) {
    entry(path, 0o644, Kind::file(size))
}

fn dir(path: &str) -> (Entry, Vec<u8>) {
    entry(path, 0o700, Kind::Directory)
}

fn link(path: &str, target: &str) -> (Entry, Vec<u8>) {
    entry(path, 0o777, Kind::Link(target.into()))
}

fn hard(path: &str, target: &str) -> (Entry, Vec<u8>) {
    entry(path, 0, Kind::HardLink(target.into()))
}

fn pack(layer: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut w = Writer::new(Vec::new());
    for (e, data) in layer {
        w.entry(e).unwrap();
        w.data(data).unwrap();
    }
    w.finish().unwrap()
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layout that is made by hand.
struct Layout {
    dir: tempfile::TempDir,
}

impl Layout {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        std::fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn blob(&self, media: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        std::fs::write(self.path().join("blobs/sha256").join(&digest[7..]), bytes).unwrap();
        json!({"mediaType": media, "digest": digest, "size": bytes.len()})
    }

    fn document(&self, media: &str, value: &Value) -> Value {
        self.blob(media, value.to_string().as_bytes())
    }

    fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        std::fs::write(self.path().join("index.json"), index.to_string()).unwrap();
    }

    /// Config and layers become a manifest.
    fn manifest(&self, layers: &[Layer]) -> Value {
        let packed: Vec<Vec<u8>> = layers.iter().map(|l| pack(l)).collect();
        self.manifest_of(&packed)
    }

    fn manifest_of(&self, layers: &[Vec<u8>]) -> Value {
        let (mut blobs, mut plain) = (Vec::new(), Vec::new());
        for (n, bytes) in layers.iter().enumerate() {
            plain.push(digest(bytes));
            let (compression, ending) =
                [(Compression::Gzip, "+gzip"), (Compression::None, ""), (Compression::Zstd, "+zstd")][n % 3];
            let mut e = Encoder::new(Vec::new(), compression, 0).unwrap();
            e.write_all(bytes).unwrap();
            blobs.push(self.blob(&format!("{LAYER}{ending}"), &e.finish().unwrap()));
        }
        let run = json!({"Env": ["PATH=/bin"], "Entrypoint": ["/init"], "Labels": {"a": "b"}, "Unknown": 1.5});
        let rootfs = json!({"type": "layers", "diff_ids": plain});
        let config = json!({"architecture": "arm64", "os": "linux", "config": run, "rootfs": rootfs, "history": []});
        let config = self.document(CONFIG, &config);
        self.document(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": blobs}))
    }

    fn with(layers: &[Layer]) -> Self {
        let layout = Self::new();
        layout.index(&[layout.manifest(layers)]);
        layout
    }
}

/// A store of its own.
struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn bring(&self, path: &Path) -> Result<Imported> {
        self.bring_as(path, &ImportOptions::default())
    }

    fn bring_as(&self, path: &Path, options: &ImportOptions) -> Result<Imported> {
        import(&self.store, path, "a", options, &Task::quiet())
    }

    fn fails(&self, path: &Path, kind: ErrorKind, what: &str) {
        let e = self.bring(path).map(drop).unwrap_err();
        assert_eq!(e.kind(), kind, "{what}: {e:?}");
        assert!(self.store.images().unwrap().is_empty(), "{what}");
    }

    fn image(&self) -> Image {
        self.store.image("a").unwrap()
    }

    fn capture(&self, tree: &Path, name: &str) -> Image {
        let options =
            CaptureOptions { exact: true, state: Some(self.dir.path().join("state")), ..CaptureOptions::default() };
        self.store.capture(tree, name, &options, &Task::quiet()).unwrap();
        self.store.image(name).unwrap()
    }
}

/// Paths of an image with what they are.
fn listed(image: &Image) -> Vec<String> {
    let one = |r: row::Row| {
        let path = String::from_utf8(r.path.clone()).unwrap();
        format!("{path} {} {:o} {}", r.kind_name(), r.mode & 0o7777, r.size())
    };
    image.rows().unwrap().map(|r| one(r.unwrap())).collect()
}

#[test]
fn layers_hide_what_is_beneath_them() {
    let bed = Bed::new();
    let layers: Vec<Layer> = vec![
        vec![
            dir("keep"),
            file("keep/a", 10),
            file("keep/b", 20),
            dir("opaque"),
            file("opaque/old", 1),
            dir("opaque/deep"),
            file("opaque/deep/old", 1),
            dir("tree"),
            file("tree/x/y", 5),
            file("to-dir", 7),
            hard("second", "to-dir"),
            dir("to-file"),
            file("to-file/gone", 3),
            link("to-link", "keep"),
            file("same", 1),
        ],
        vec![
            // The new entry before its whiteout, and after it: both only hide what is beneath.
            file("keep/a", 11),
            file("keep/.wh.a", 0),
            file("keep/.wh.b", 0),
            file("opaque/new", 2),
            entry("opaque/.wh..wh..opq", 0, Kind::file(0)),
            file(".wh.tree", 0),
            dir("to-dir"),
            file("to-dir/in", 4),
            file("to-file", 8),
            dir("to-link"),
            file("to-link/in", 9),
            file(".wh.never-was", 0),
            // To a file of the layer beneath.
            hard("third", "second"),
            file(".wh.same", 0),
            file("same", 2),
            file(".wh..wh.aufs", 0),
        ],
        vec![dir("to-file"), file("to-file/back", 6), dir("keep/sub"), file("keep/sub/f", 1)],
    ];
    let layout = Layout::with(&layers);
    let done = bed.bring(layout.path()).unwrap();
    assert_eq!((done.format, done.layers, done.changed), ("oci", 3, true));
    let wanted = [
        " directory 755 0",
        "keep directory 700 0",
        "keep/a file 644 11",
        "keep/sub directory 700 0",
        "keep/sub/f file 644 1",
        "opaque directory 700 0",
        "opaque/new file 644 2",
        "same file 644 2",
        "second file 644 7",
        "third file 644 7",
        "to-dir directory 700 0",
        "to-dir/in file 644 4",
        "to-file directory 700 0",
        "to-file/back file 644 6",
        "to-link directory 700 0",
        "to-link/in file 644 9",
    ];
    assert_eq!(listed(&bed.image()), wanted);
    let row = |p: &str| bed.image().row(p.as_bytes()).unwrap();
    assert!(row("second").group.is_some() && row("second").group == row("third").group);
    assert_eq!((done.implied, done.removed), (1, 11));
    assert_eq!(done.notes.len(), 1, "{:?}", done.notes);
    // What a container would run is a fact.
    let facts = bed.image().manifest().facts.clone().unwrap();
    assert_eq!(facts["oci"]["config"], json!({"Env": ["PATH=/bin"], "Entrypoint": ["/init"], "Labels": {"a": "b"}}));
    assert_eq!(facts["oci"]["architecture"], "arm64");
    assert!(!bed.bring(layout.path()).unwrap().changed);
    assert!(bed.store.check(true, &Task::quiet()).unwrap().faults.is_empty());
}

// The same as an archive, made by GNU tar.

#[test]
fn an_archive_is_told_from_a_tree() {
    let bed = Bed::new();
    let layout = Layout::with(&[vec![dir("d"), file("d/f", 700_000)], vec![file("d/.wh.f", 0), file("g", 5)]]);
    let tree = bed.bring(layout.path()).unwrap().tree;
    let archive = bed.dir.path().join("archive");
    for order in [&["."][..], &["index.json", "blobs", "oci-layout"], &["oci-layout", "blobs", "index.json"]] {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(layout.path()).arg("-cf").arg(&archive).args(order);
        assert!(tar.status().unwrap().success());
        let done = bed.bring(&archive).unwrap();
        assert_eq!((done.tree, done.format), (tree, "oci"), "{order:?}");
    }
    // Compressed it cannot be read in any order: that is said, and no tree of blobs is made.
    let gz = bed.dir.path().join("archive.gz");
    let mut e = Encoder::new(std::fs::File::create(&gz).unwrap(), Compression::Gzip, 0).unwrap();
    e.write_all(&std::fs::read(&archive).unwrap()).unwrap();
    e.finish().unwrap();
    assert_eq!(bed.bring(&gz).unwrap_err().kind(), ErrorKind::Unsupported);
    // A tree that has a directory of that name is a tree.
    let plain = bed.dir.path().join("plain");
    std::fs::write(&plain, pack(&[dir("blobs"), file("blobs/x", 5)])).unwrap();
    assert_eq!(bed.bring(&plain).unwrap().format, "tar");
}

#[test]
fn an_archive_of_docker_save_is_read() {
    let bed = Bed::new();
    let layers: [Layer; 3] = [vec![dir("d"), file("d/f", 7)], vec![file("d/.wh.f", 0), file("g", 5)], vec![]];
    let want = bed.bring(Layout::with(&layers).path()).unwrap().tree;
    let plain: Vec<Vec<u8>> = layers.iter().map(|l| pack(l)).collect();
    let ids: Vec<String> = plain.iter().map(|b| digest(b)).collect();
    let config = json!({"os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}}).to_string();
    let name = format!("{}.json", &digest(config.as_bytes())[7..]);
    let saved = |config_name: &str| {
        let layers = ["one.tar", "two/layer.tar", "three.tar"];
        let all = json!([{"Config": config_name, "RepoTags": ["x:y"], "Layers": layers}]).to_string();
        let data = |path: &str, bytes: &[u8]| (entry(path, 0o644, Kind::file(bytes.len() as u64)).0, bytes.to_vec());
        let entries = [
            data(config_name, config.as_bytes()),
            data("one.tar", &plain[0]),
            link("two/layer.tar", "../real.tar"),
            data("real.tar", &plain[1]),
            data("three.tar", &plain[2]),
            data("manifest.json", all.as_bytes()),
        ];
        let path = bed.dir.path().join("saved");
        std::fs::write(&path, pack(&entries)).unwrap();
        path
    };
    let done = bed.bring(&saved(&name)).unwrap();
    assert_eq!((done.tree, done.format, done.layers), (want, "docker", 3));
    let other = |r: &str| ImportOptions { reference: Some(r.into()), ..ImportOptions::default() };
    assert_eq!(bed.bring_as(&saved(&name), &other("x:y")).unwrap().tree, want);
    assert_eq!(bed.bring_as(&saved(&name), &other("z")).unwrap_err().kind(), ErrorKind::NotFound);
    let lie = format!("{}.json", "0".repeat(64));
    assert_eq!(bed.bring(&saved(&lie)).unwrap_err().kind(), ErrorKind::Integrity);
}

#[test]
fn one_of_several_images_is_chosen() {
    let bed = Bed::new();
    let layout = Layout::new();
    let with = |mut d: Value, platform: Option<(&str, &str)>, name: Option<&str>| {
        if let Some((architecture, variant)) = platform {
            d["platform"] = json!({"os": "linux", "architecture": architecture, "variant": variant});
        }
        if let Some(name) = name {
            d["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        d
    };
    let size = |n| layout.manifest(&[vec![file("f", n)]]);
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let nested = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        with(size(1), Some(("mips", "")), None),
        with(size(2), Some((machine, "")), None),
        with(size(3), Some(("arm", "v6")), None),
        with(size(4), Some(("arm", "v7")), None),
        with(size(9), Some(("unknown", "")), None),
    ]});
    let nested = layout.document(INDEX, &nested);
    layout.index(&[with(nested.clone(), None, Some("all")), with(size(5), None, Some("five"))]);
    let chosen = |reference: Option<&str>, platform: Option<&str>| -> Result<u64> {
        let to_text = |t: Option<&str>| t.map(str::to_owned);
        let options =
            ImportOptions { reference: to_text(reference), platform: to_text(platform), ..ImportOptions::default() };
        bed.bring_as(layout.path(), &options)?;
        Ok(bed.image().row(b"f").unwrap().size())
    };
    assert_eq!(chosen(Some("five"), None).unwrap(), 5);
    assert_eq!(chosen(Some("all"), None).unwrap(), 2);
    assert_eq!(chosen(Some("all"), Some("linux/mips")).unwrap(), 1);
    assert_eq!(chosen(Some("all"), Some("linux/arm")).unwrap(), 3);
    assert_eq!(chosen(Some("all"), Some("linux/arm/v7")).unwrap(), 4);
    let kind = |r, p| chosen(r, p).unwrap_err().kind();
    assert_eq!(kind(None, None), ErrorKind::Invalid);
    assert_eq!(kind(Some("six"), None), ErrorKind::NotFound);
    assert_eq!(kind(Some("all"), Some("linux/sparc")), ErrorKind::NotFound);
    assert_eq!(kind(Some("all"), Some("linux")), ErrorKind::Invalid);
    // The same one under two names is one.
    layout.index(&[with(nested.clone(), None, Some("all")), with(nested, None, Some("latest"))]);
    assert_eq!(chosen(None, None).unwrap(), 2);
}

// What a layout must not do.

#[test]
fn a_layout_that_lies_is_refused() {
    let bed = Bed::new();
    let layer = || vec![dir("d"), file("d/f", 100_000)];
    let edit = |what: &str, kind: ErrorKind, edit: &dyn Fn(&Layout, &mut Value, &mut Value)| {
        let layout = Layout::new();
        let descriptor = layout.manifest(&[layer()]);
        let read = |d: &Value| -> Value {
            let name = &d["digest"].as_str().unwrap()[7..];
            serde_json::from_slice(&std::fs::read(layout.path().join("blobs/sha256").join(name)).unwrap()).unwrap()
        };
        let mut manifest = read(&descriptor);
        let mut config = read(&manifest["config"]);
        edit(&layout, &mut manifest, &mut config);
        if manifest["config"]["changed"].is_null() {
            manifest["config"] = layout.document(CONFIG, &config);
        }
        if manifest["index"].is_null() {
            layout.index(&[layout.document(MANIFEST, &manifest)]);
        }
        bed.fails(layout.path(), kind, what);
    };
    use ErrorKind::{Integrity, Limit, NotFound, UnsafeInput, Unsupported};
    let blob =
        |layout: &Layout, d: &Value| layout.path().join("blobs/sha256").join(&d["digest"].as_str().unwrap()[7..]);
    edit("another byte in a layer", Integrity, &|l, m, _| {
        let path = blob(l, &m["layers"][0]);
        let mut bytes = std::fs::read(&path).unwrap();
        // The name of a compressed file's system: no program looks at it, only the digest does.
        bytes[9] ^= 1;
        std::fs::write(path, bytes).unwrap();
    });
    edit("another plain digest", Integrity, &|_, _, c| c["rootfs"]["diff_ids"][0] = digest(b"x").into());
    edit("a size that is too small", Integrity, &|_, m, _| m["layers"][0]["size"] = 5.into());
    edit("a size that is too large", Integrity, &|_, m, _| m["layers"][0]["size"] = (1u64 << 50).into());
    edit("a negative size", Integrity, &|_, m, _| m["layers"][0]["size"] = (-1).into());
    edit("a missing layer", Integrity, &|l, m, _| std::fs::remove_file(blob(l, &m["layers"][0])).unwrap());
    edit("a config that is cut off", Integrity, &|l, m, _| {
        m["config"] = l.blob(CONFIG, b"{\"rootfs\"");
        m["config"]["changed"] = true.into();
    });
    edit("a config with another digest", Integrity, &|l, m, _| {
        let config = l.blob(CONFIG, b"{}");
        std::fs::write(blob(l, &config), b"[]").unwrap();
        m["config"] = config;
        m["config"]["changed"] = true.into();
    });
    for bad in ["sha256:../../../../etc/passwd", "sha256:12", "../../x", "sha256:ABCD", ""] {
        edit(bad, UnsafeInput, &|_, m, _| m["layers"][0]["digest"] = bad.into());
    }
    edit("another algorithm", Unsupported, &|_, m, _| {
        m["layers"][0]["digest"] = format!("sha512:{}", "0".repeat(128)).into();
    });
    for media in [
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/octet-stream",
        "",
    ] {
        edit(media, Unsupported, &|_, m, _| m["layers"][0]["mediaType"] = media.into());
    }
    edit("a layer that is a manifest", UnsafeInput, &|_, m, _| m["layers"][0]["mediaType"] = MANIFEST.into());
    edit("an artefact", Unsupported, &|_, m, _| {
        m["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into();
        m["config"]["changed"] = true.into();
    });
    edit("more digests than layers", UnsafeInput, &|_, _, c| {
        let ids = c["rootfs"]["diff_ids"].as_array_mut().unwrap();
        ids.push(digest(b"").into());
    });
    edit("another system", Unsupported, &|_, _, c| c["os"] = "windows".into());
    edit("another schema", Unsupported, &|_, m, _| m["schemaVersion"] = 1.into());
    edit("a manifest without end", Limit, &|l, m, _| {
        let mut d = l.blob(MANIFEST, &vec![b' '; 9 << 20]);
        d["size"] = (9 << 20).into();
        l.index(&[d]);
        m["index"] = true.into();
    });
    edit("an index that leads to a config", UnsafeInput, &|l, m, c| {
        l.index(&[l.document(CONFIG, c)]);
        m["index"] = true.into();
    });
    edit("indexes in indexes", Limit, &|l, m, _| {
        let mut d = l.document(MANIFEST, m);
        for _ in 0..9 {
            d = l.document(INDEX, &json!({"schemaVersion": 2, "manifests": [d]}));
        }
        l.index(&[d]);
        m["index"] = true.into();
    });
    edit("an index that names itself", Integrity, &|l, m, _| {
        // No index can hold its own digest; one that says so has another.
        let loops = json!({"mediaType": INDEX, "digest": digest(b"loop"), "size": 4});
        std::fs::write(l.path().join("blobs/sha256").join(&digest(b"loop")[7..]), b"LOOP").unwrap();
        l.index(&[loops]);
        m["index"] = true.into();
    });
    edit("no image at all", NotFound, &|l, m, _| {
        l.index(&[]);
        m["index"] = true.into();
    });
    edit("a layer behind a link", UnsafeInput, &|l, m, _| {
        let path = blob(l, &m["layers"][0]);
        std::fs::rename(&path, l.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(l.path().join("elsewhere"), path).unwrap();
    });
    edit("a layer that is a FIFO", UnsafeInput, &|l, m, _| {
        let path = blob(l, &m["layers"][0]);
        std::fs::remove_file(&path).unwrap();
        common::run("mkfifo", &[path.to_str().unwrap()]);
    });
    edit("another version of layouts", Unsupported, &|l, _, _| {
        std::fs::write(l.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    });
    // Whatever a layer was, nothing is published.
    assert!(bed.store.check(true, &Task::quiet()).unwrap().faults.is_empty());
}

#[test]
fn a_layer_that_breaks_a_rule_is_refused() {
    let bed = Bed::new();
    let base = || vec![dir("d"), file("d/f", 5), link("l", "/etc"), file("plain", 1)];
    for (what, layer) in [
        ("a whiteout of nothing", vec![file(".wh.", 0)]),
        ("a whiteout of the directory above", vec![file("d/.wh...", 0)]),
        ("a whiteout of itself", vec![file("d/.wh..", 0)]),
        ("an entry in a whiteout", vec![file(".wh.d/x", 1)]),
        ("through a link of a layer beneath", vec![file("l/passwd", 1)]),
        ("beneath a file of a layer beneath", vec![file("plain/x", 1)]),
        ("a hard link to nothing", vec![hard("x", "nothing")]),
        ("a hard link to a directory", vec![hard("x", "d")]),
        ("a hard link through a link", vec![hard("x", "l/shadow")]),
        ("a file for a full directory of the same layer", vec![dir("n"), file("n/f", 1), file("n", 1)]),
    ] {
        bed.fails(Layout::with(&[base(), layer]).path(), ErrorKind::UnsafeInput, what);
    }
    // The digest says that a layer is whole, so it may lack its end; but not a part of an entry.
    let mut bytes = pack(&[file("f", 100)]);
    bytes.truncate(bytes.len() - 1024);
    let ends = |bytes: &[u8]| {
        let layout = Layout::new();
        layout.index(&[layout.manifest_of(&[bytes.to_vec()])]);
        layout
    };
    let other = Bed::new();
    for whole in [bytes.len(), bytes.len() - 1, bytes.len() - 412] {
        assert_eq!(other.bring(ends(&bytes[..whole]).path()).unwrap().entries, 2);
    }
    for short in [bytes.len() - 413, bytes.len() - 511, 100] {
        bed.fails(ends(&bytes[..short]).path(), ErrorKind::Integrity, "cut off");
    }
    // A bomb of small layers has the limits of one archive.
    let many: Vec<Layer> = (0..30).map(|n| (0..40).map(|i| file(&format!("{n}-{i}"), 0)).collect()).collect();
    let limits = libcv::convert::tar::Limits { entries: 1000, ..Default::default() };
    let options = ImportOptions { limits, ..ImportOptions::default() };
    assert_eq!(bed.bring_as(Layout::with(&many).path(), &options).unwrap_err().kind(), ErrorKind::Limit);
    // Attributes that would act in an overlay are left out, and that is said.
    let mut overlay = file("o", 1);
    overlay.0.xattrs = vec![(b"trusted.overlay.opaque".to_vec(), b"y".to_vec()), (b"user.a".to_vec(), b"b".to_vec())];
    let done = bed.bring(Layout::with(&[vec![overlay]]).path()).unwrap();
    assert!(done.notes[0].contains("trusted.overlay.opaque"), "{:?}", done.notes);
    assert_eq!(bed.image().row(b"o").unwrap().xattrs.len(), 1);
}

// Layers against a model.

#[derive(Clone, Debug, PartialEq)]
enum Op {
    Dir,
    File(u64),
    Link,
    Whiteout,
    Opaque,
}

type State = BTreeMap<String, (char, u64)>;

fn above(path: &str) -> Vec<String> {
    let parts: Vec<&str> = path.split('/').collect();
    (1..parts.len()).map(|n| parts[..n].join("/")).collect()
}

/// What a layer makes of a tree; `None` where it breaks a rule.
fn apply(mut tree: State, layer: &BTreeMap<(String, bool), Op>, number: u64) -> Option<State> {
    let inside = |path: &str, dir: &str| path.starts_with(&format!("{dir}/"));
    for ((path, _), op) in layer {
        match op {
            Op::Whiteout => tree.retain(|p, _| p != path && !inside(p, path)),
            Op::Opaque => tree.retain(|p, _| !inside(p, path)),
            _ => {}
        }
    }
    let own: BTreeMap<&String, &Op> = layer.iter().filter(|((_, mark), _)| !mark).map(|((p, _), op)| (p, op)).collect();
    let implied: BTreeSet<String> = own.keys().flat_map(|p| above(p)).filter(|p| !own.contains_key(p)).collect();
    for path in &implied {
        match tree.get(path) {
            Some(('d', _)) => {}
            Some(_) => return None,
            None => drop(tree.insert(path.clone(), ('d', 755))),
        }
    }
    for (path, op) in own {
        if above(path).iter().any(|p| matches!(tree.get(p), Some((kind, _)) if *kind != 'd')) {
            let replaced = above(path).iter().all(|p| layer.get(&(p.clone(), false)).is_none_or(|o| *o == Op::Dir));
            if !replaced {
                return None;
            }
        }
        let new = match op {
            Op::Dir => ('d', 700 + number),
            Op::File(n) => ('f', *n),
            _ => ('l', 0),
        };
        if new.0 != 'd' {
            tree.retain(|p, _| !inside(p, path));
        }
        tree.insert(path.clone(), new);
    }
    Some(tree)
}

fn any_layer() -> impl Strategy<Value = Vec<((String, bool), Op)>> {
    let part = prop_oneof![Just("a"), Just("b"), Just("c")];
    let path = prop::collection::vec(part, 1..4).prop_map(|p| p.join("/"));
    let op = prop_oneof![
        3 => Just(Op::Dir),
        3 => (0u64..40).prop_map(Op::File),
        1 => Just(Op::Link),
        2 => Just(Op::Whiteout),
        1 => Just(Op::Opaque),
    ];
    let one = (path, op).prop_map(|(path, op)| ((path, matches!(op, Op::Whiteout | Op::Opaque)), op));
    // Each path once as an entry and once as a mark, in any order.
    prop::collection::hash_map(one.clone().prop_map(|o| o.0), one.prop_map(|o| o.1), 0..8).prop_map(|all| {
        let fits = |((path, mark), op): ((String, bool), Op)| {
            let op = match (mark, &op) {
                (true, Op::Whiteout | Op::Opaque) | (false, Op::Dir | Op::File(_) | Op::Link) => op,
                (true, _) => Op::Whiteout,
                (false, _) => Op::Dir,
            };
            ((path, mark), op)
        };
        all.into_iter().map(fits).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150), ..ProptestConfig::default() })]

    /// Layers of any entries and whiteouts in any order become the tree that the rules describe, or are refused where
    /// these say so.
    #[test]
    fn layers_become_what_the_model_says(layers in prop::collection::vec(any_layer(), 1..5)) {
        let mut model = Some(State::new());
        let mut packed: Vec<Layer> = Vec::new();
        for (layer, n) in layers.iter().zip(0u64..) {
            let map: BTreeMap<_, _> = layer.iter().cloned().collect();
            model = model.and_then(|tree| apply(tree, &map, n));
            let join = |path: &str, mark: &str| match path.rsplit_once('/') {
                Some((dir, name)) => format!("{dir}/.wh.{}{}", if mark.is_empty() { name } else { "" }, mark),
                None => format!(".wh.{path}"),
            };
            packed.push(layer.iter().map(|((path, _), op)| match op {
                Op::Dir => entry(path, 0o700 + n as u32, Kind::Directory),
                Op::File(size) => file(path, *size),
                Op::Link => link(path, "x"),
                Op::Whiteout => file(&join(path, ""), 0),
                Op::Opaque => file(&format!("{path}/.wh..wh..opq"), 0),
            }).collect());
        }
        let bed = Bed::new();
        let done = bed.bring(Layout::with(&packed).path());
        match (model, done) {
            (None, Err(e)) => prop_assert_eq!(e.kind(), ErrorKind::UnsafeInput),
            (Some(model), Ok(_)) => {
                let found: State = bed.image().rows().unwrap().map(|r| r.unwrap()).filter(|r| !r.path.is_empty()).map(|r| {
                    let what = match r.kind_name() {
                        "directory" if r.mode & 0o7777 == 0o755 => ('d', 755),
                        "directory" => ('d', 700 + u64::from(r.mode & 0o77)),
                        "file" => ('f', r.size()),
                        _ => ('l', 0),
                    };
                    (String::from_utf8(r.path).unwrap(), what)
                }).collect();
                prop_assert_eq!(found, model);
            }
            (model, done) => prop_assert!(false, "model: {:?}, import: {:?}", model, done.map(|d| d.tree)),
        }
    }
}

// Out, and in again.

fn odd(root: &Path) {
    std::fs::create_dir(root).unwrap();
    common::small_tree(root);
    if common::is_root() {
        common::odd_tree(root, 50);
        common::thaw(root);
    }
}

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

// The programs of others.

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
