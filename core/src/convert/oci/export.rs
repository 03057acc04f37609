//! An image becomes an image of containers with one layer.

use super::document::{
    CONFIG, Config, Descriptor, History, INDEX, Index, LAYER, MANIFEST, Manifest, Platform, REF_NAME, RootFs, Run,
};
use super::layer::is_mark;
use super::layout::{INDEX as INDEX_FILE, MARK, VERSION};
use super::select::architecture;
use super::{Digest, Sum};
use crate::convert::aside::Aside;
use crate::convert::export::{ExportOptions, Exported, Format, sync};
use crate::convert::squashfs::newest;
use crate::convert::tar::{Compression, Encoder, Entry, Keep, Kind, Writer, archive as write_layer};
use crate::error::{Error, Result};
use crate::job::Task;
use crate::store::Image;
use crate::sys::clock;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;

/// Names that would hide something.
const MARKS: &str = "names that begin with .wh.";
const KEEP: Keep = Keep { entry: no_mark, ..Keep::ALL };

fn no_mark(path: &[u8]) -> Result<(), &'static str> {
    if path.split(|&c| c == b'/').any(is_mark) { Err(MARKS) } else { Ok(()) }
}

/// Everything of a layout but the layer's own bytes.
struct Documents {
    /// Path in the layout and content, in the order of an archive.
    files: Vec<(String, Vec<u8>)>,
    layer: String,
    digest: Digest,
}

/// Writes a layout into the directory `path`, which is empty.
///
/// # Errors
/// As [`crate::convert::export`].
pub(in crate::convert) fn directory(
    image: &Image,
    path: &Path,
    options: &ExportOptions,
    task: &Task,
) -> Result<Exported> {
    let blobs = path.join("blobs/sha256");
    for dir in [&path.join("blobs"), &blobs] {
        std::fs::create_dir(dir).map_err(|e| Error::io("create", dir.display(), e))?;
    }
    let part = blobs.join("layer");
    let file = File::create_new(&part).map_err(|e| Error::io("create", part.display(), e))?;
    let (file, layer, mut done) = layer(image, file, options, task)?;
    sync(&file, &part)?;
    let documents = documents(image, &layer, options, task)?;
    let place = path.join(&documents.layer);
    std::fs::rename(&part, &place).map_err(|e| Error::io("name", place.display(), e))?;
    for (name, bytes) in &documents.files {
        let at = path.join(name);
        let mut file = File::create_new(&at).map_err(|e| Error::io("create", at.display(), e))?;
        file.write_all(bytes).map_err(|e| Error::io("write", at.display(), e))?;
        sync(&file, &at)?;
    }
    (done.format, done.digest) = (Format::Oci, Some(documents.digest.to_string()));
    Ok(done)
}

/// Writes the same as an archive to where `aside` stands.
///
/// # Errors
/// As [`crate::convert::export`].
pub(in crate::convert) fn archive(
    image: &Image,
    aside: &Aside,
    options: &ExportOptions,
    task: &Task,
) -> Result<Exported> {
    // The size of the layer stands before it, so it is written before.
    let part = Aside::new(&aside.path().with_added_extension("layer"))?;
    let (mut file, layer, mut done) = layer(image, part.create()?, options, task)?;
    let documents = documents(image, &layer, options, task)?;
    let out = aside.create()?;
    let mut tar = Writer::new(BufWriter::with_capacity(1 << 20, out));
    let entry = |path: &str, kind| Entry {
        path: path.into(),
        mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        xattrs: Vec::new(),
        inode_flags: 0,
        kind,
    };
    for (name, bytes) in &documents.files {
        tar.entry(&entry(name, Kind::file(bytes.len() as u64)))?;
        tar.data(bytes)?;
    }
    tar.entry(&entry(&documents.layer, Kind::file(layer.size)))?;
    file.rewind().map_err(|e| Error::io("read", part.path().display(), e))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        task.check()?;
        match file.read(&mut buffer).map_err(|e| Error::io("read", part.path().display(), e))? {
            0 => break,
            n => tar.data(&buffer[..n])?,
        }
    }
    let out = tar.finish()?.into_inner();
    let out = out.map_err(|e| Error::io("write", aside.path().display(), e.into_error()))?;
    sync(&out, aside.path())?;
    (done.format, done.digest) = (Format::OciArchive, Some(documents.digest.to_string()));
    Ok(done)
}

/// The layer as it was written.
struct Layer {
    media_type: String,
    blob: Digest,
    size: u64,
    plain: Digest,
}

fn layer(image: &Image, file: File, options: &ExportOptions, task: &Task) -> Result<(File, Layer, Exported)> {
    let compression = options.compression.unwrap_or_default();
    let failed = |e| Error::io("write", "the layer", e);
    let blob = Summed::new(BufWriter::with_capacity(1 << 20, file));
    let plain = Summed::new(Encoder::new(blob, compression, options.level)?);
    let (plain, done) = write_layer(image, plain, KEEP, task)?;
    let blob = plain.out.finish().map_err(failed)?;
    let file = blob.out.into_inner().map_err(|e| failed(e.into_error()))?;
    let ending = match compression {
        Compression::None => "",
        Compression::Zstd => "+zstd",
        Compression::Gzip => "+gzip",
    };
    let media_type = format!("{LAYER}{ending}");
    Ok((file, Layer { media_type, blob: blob.sum.finish(), size: blob.size, plain: plain.sum.finish() }, done))
}

/// A writer that knows the digest and number of bytes.
struct Summed<W> {
    out: W,
    sum: Sum,
    size: u64,
}

impl<W> Summed<W> {
    fn new(out: W) -> Self {
        Self { out, sum: Sum::default(), size: 0 }
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(buf)?;
        self.sum.update(&buf[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn documents(image: &Image, layer: &Layer, options: &ExportOptions, task: &Task) -> Result<Documents> {
    let mut files = Vec::new();
    let mut blob = |bytes: Vec<u8>, media_type: &str| {
        let digest = Digest::of(&bytes);
        let descriptor = Descriptor::new(media_type, &digest, bytes.len() as u64);
        files.push((format!("blobs/sha256/{}", digest.hex()), bytes));
        (descriptor, digest)
    };
    let (config, platform) = config(image, layer, options, task)?;
    let (config, _) = blob(json(&config)?, CONFIG);
    let annotations = [("libcv.image", image.id().to_string()), ("libcv.tree", image.tree_id().to_string())];
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.into(),
        config,
        layers: vec![Descriptor::new(layer.media_type.clone(), &layer.blob, layer.size)],
        annotations: annotations.map(|(k, v)| (k.to_owned(), v)).into(),
    };
    let (mut manifest, digest) = blob(json(&manifest)?, MANIFEST);
    manifest.platform = Some(platform);
    manifest.annotations = BTreeMap::from([(REF_NAME.to_owned(), name(image, options)?)]);
    let index = Index { schema_version: 2, media_type: INDEX.into(), manifests: vec![manifest] };
    let front =
        [(MARK.to_owned(), json(&json!({"imageLayoutVersion": VERSION}))?), (INDEX_FILE.to_owned(), json(&index)?)];
    files.splice(0..0, front);
    Ok(Documents { files, layer: format!("blobs/sha256/{}", layer.blob.hex()), digest })
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::new(crate::ErrorKind::Bug, "a document is no JSON").cause(e))
}

/// The name in the layout: what was asked for, the name through which the image was opened, or the start of its id.
fn name(image: &Image, options: &ExportOptions) -> Result<String> {
    let Some(name) = &options.reference else {
        return Ok(image.release().map_or_else(|| image.id().short(), |r| r.name.clone()));
    };
    let word = |c: char| c.is_ascii_alphanumeric() || "-._:@/+".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(word) {
        return Err(Error::invalid(format!("\"{name}\" is no name for an image of containers")));
    }
    Ok(name.clone())
}

fn config(image: &Image, layer: &Layer, options: &ExportOptions, task: &Task) -> Result<(Config, Platform)> {
    let facts = image.manifest().facts.clone().unwrap_or_default();
    let text = |v: &serde_json::Value| v.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    // What the image was imported with comes back; else what its own programs are for.
    let machine = text(&facts["oci"]["architecture"])
        .or_else(|| text(&facts["architecture"]).map(|a| architecture(&a).to_owned()))
        .unwrap_or_else(|| architecture(std::env::consts::ARCH).to_owned());
    let run = Run::from_fact(&facts["oci"]["config"]);
    let created = match options.created {
        Some(seconds) => seconds,
        None => newest(image, task, |_| Ok(()))?,
    };
    let created = clock::rfc3339(created);
    let history =
        History { created: created.clone(), created_by: "libcv".to_owned(), comment: format!("image {}", image.id()) };
    let config = Config {
        created: Some(created),
        architecture: machine.clone(),
        os: "linux".into(),
        variant: None,
        config: Some(run.unwrap_or_default()),
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![layer.plain.to_string()] },
        history: vec![history],
    };
    Ok((config, Platform { architecture: machine, os: "linux".into(), variant: None }))
}
