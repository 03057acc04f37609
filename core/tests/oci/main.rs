//! Images of containers in and out: layers with whiteouts against a model, layouts that lie, umoci and skopeo as judges.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod judges;
mod layers;
mod layout;
mod model;
mod out;

use libcv::capture::CaptureOptions;
use libcv::convert::tar::{Compression, Encoder, Entry, Kind, Writer};
use libcv::convert::{ImportOptions, Imported, import};
use libcv::image::row;
use libcv::job::Task;
use libcv::store::{Image, Store};
use libcv::{ErrorKind, Result};
use serde_json::{Value, json};
use sha2::Digest;
use std::io::Write;
use std::path::Path;

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

fn odd(root: &Path) {
    std::fs::create_dir(root).unwrap();
    common::small_tree(root);
    if common::is_root() {
        common::odd_tree(root, 50);
        common::thaw(root);
    }
}
