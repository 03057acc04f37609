//! What all imports have in common: entries of archives go into a builder, the tree into the store, a name gets it.

use super::build::{About, Builder, Node};
use super::oci::layer::{Meaning, meaning};
use super::tar::{Entry, Kind, Limits, Reader};
use crate::error::{Error, Result};
use crate::event::Unit;
use crate::image::path::is_note;
use crate::image::row::{BLOCK, CHARACTER, DIRECTORY, FIFO, LINK, REGULAR};
use crate::image::{Hash, Kind as RowKind};
use crate::job::Task;
use crate::secrets::{Finding, Policy};
use crate::store::content::{ChunkPool, ContentWriter, with_pool};
use crate::store::name::{check_image_name, check_name};
use crate::store::{Session, Store};
use crate::sys::confined::show;
use crate::tree::report::{self, ReportFile};
use serde::Serialize;
use serde_json::json;
use std::io::Read;
use std::path::PathBuf;

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Tag for the new generation.
    pub tag: Option<String>,
    /// zstd level, 1 to 19.
    pub level: i32,
    /// Threads that compress; 0 is one for each core.
    pub threads: usize,
    /// Keep attributes that are bound to a machine, too.
    pub exact: bool,
    /// How much of an archive, or of all layers, is believed.
    pub limits: Limits,
    /// Fail with `Conflict` unless this is the newest generation (0: the name is new).
    pub expect_parent: Option<u64>,
    /// What is done about secrets.
    pub secrets: Policy,
    /// Write what was done into this file as JSON: as [`Imported`], but with every secret, whatever their number. When
    /// nothing is published although the archive was read whole, such as because of secrets, what is only known then is
    /// `null`; of one that could not be read there is no report, and what stands in the file stays.
    pub report: Option<PathBuf>,
    /// Of an OCI layout with images for several: `os/architecture[/variant]`; else that of this machine.
    pub platform: Option<String>,
    /// Of an OCI layout with several images: the name of one.
    pub reference: Option<String>,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            tag: None,
            level: 3,
            threads: 0,
            exact: false,
            limits: Limits::default(),
            expect_parent: None,
            secrets: Policy::default(),
            report: None,
            platform: None,
            reference: None,
        }
    }
}

/// What an import did.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// The name.
    pub name: String,
    /// The generation that now holds the tree; an old one when it equals the newest.
    pub generation: u64,
    /// The image id.
    pub image: Hash,
    /// The tree id.
    pub tree: Hash,
    /// Whether a generation was made.
    pub changed: bool,
    /// What was read: `tar`, `oci`, `docker` or `squashfs`.
    pub format: &'static str,
    /// Layers of an OCI image; else 0.
    pub layers: u64,
    /// Entries of the tree.
    pub entries: u64,
    /// Bytes of the archives, decompressed.
    pub read_bytes: u64,
    /// Bytes added to the store.
    pub stored_bytes: u64,
    /// Directories that nothing describes: they belong to root and have mode 0755 and time 0.
    pub implied: u64,
    /// Entries that took the place of earlier ones of the same name.
    pub replaced: u64,
    /// Entries that a later layer removed.
    pub removed: u64,
    /// Secrets in the tree, at most 10,000; they are in the image.
    pub secrets: Vec<Finding>,
    /// How many there are in all.
    pub secrets_count: u64,
    /// What could not be kept.
    pub notes: Vec<String>,
}

/// Where a tree comes from.
pub(super) struct Origin {
    pub(super) format: &'static str,
    pub(super) layers: u64,
    /// What an OCI image says beside its tree.
    pub(super) oci: Option<serde_json::Value>,
}

impl Origin {
    pub(super) fn new(format: &'static str) -> Self {
        Self { format, layers: 0, oci: None }
    }
}

/// A tree on its way into the store.
pub(super) struct Tree<'t, 'p> {
    pub(super) builder: Builder,
    content: ContentWriter,
    pool: &'t mut ChunkPool<'p>,
    task: &'t Task,
    read_bytes: u64,
}

impl Tree<'_, '_> {
    /// Adds all entries of an archive.
    pub(super) fn archive<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<()> {
        let done = self.entries(reader, false);
        self.ended(reader);
        done
    }

    /// Adds a layer: an archive whose whiteouts hide what is in the layers before it.
    pub(super) fn layer<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<()> {
        self.builder.begin_layer();
        let done = self.entries(reader, true).and_then(|()| self.builder.end_layer());
        self.ended(reader);
        done
    }

    fn ended<R: Read>(&mut self, reader: &Reader<R>) {
        self.read_bytes += reader.position();
        reader.notes().iter().for_each(|n| self.builder.note(n.clone()));
    }

    fn entries<R: Read>(&mut self, reader: &mut Reader<R>, layer: bool) -> Result<()> {
        reader.stop_with(self.task.cancel_token());
        while let Some(entry) = reader.next_entry()? {
            self.task.check()?;
            let path = entry.path.clone();
            if is_note(&path) {
                self.builder.note(format!("/{} was left out: a note of libcv about another tree", show(&path)));
                continue;
            }
            let said = if layer { meaning(&path)? } else { Meaning::Entry };
            let done = match said {
                Meaning::Entry => self.add(entry, reader),
                Meaning::Whiteout(hidden) => self.builder.hide(hidden, false),
                Meaning::Opaque(directory) => self.builder.hide(directory, true),
                Meaning::Foreign => {
                    self.builder.note(format!("/{} was left out: a note of another program", show(&path)));
                    Ok(())
                }
            };
            done.map_err(|e| e.fact("entry", show(&path).into_owned()))?;
        }
        Ok(())
    }

    fn add<R: Read>(&mut self, entry: Entry, reader: &mut Reader<R>) -> Result<()> {
        let Self { builder, content, pool, task, .. } = self;
        let (mut data, mut secrets) = (0, Vec::new());
        let (bits, kind) = match entry.kind {
            Kind::HardLink(target) => return builder.link(&entry.path, &target, |n, bytes| reader.charge(n, bytes)),
            Kind::Directory => (DIRECTORY, RowKind::Directory),
            Kind::Fifo => (FIFO, RowKind::Fifo),
            Kind::Link(target) => (LINK, RowKind::Link(target)),
            Kind::Device { block, major, minor } => {
                (if block { BLOCK } else { CHARACTER }, RowKind::Device { major, minor })
            }
            Kind::File { size, segments } => {
                let (mut at, scan) = (0, builder.scan_mut());
                scan.begin(size);
                let mut source = |buf: &mut [u8]| {
                    task.check()?;
                    let n = reader.read(buf)?;
                    scan.add(&entry.path, &buf[..n]);
                    task.advance(n as u64);
                    Ok(n)
                };
                for s in segments {
                    content.hole(s.offset - at, pool)?;
                    content.extent(s.length, &mut source, pool)?;
                    at = s.offset + s.length;
                }
                content.hole(size - at, pool)?;
                let (content, bytes) = content.finish(pool)?;
                data = bytes;
                secrets = scan.end(&entry.path).to_vec();
                (REGULAR, RowKind::File { size, content })
            }
        };
        let xattrs = builder.xattrs(&entry.path, entry.xattrs, pool)?;
        // Linux makes links with all bits, whatever was asked for.
        let permissions = if bits == LINK { 0o777 } else { entry.mode };
        let node = Node {
            mode: bits | permissions,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs,
            inode_flags: entry.inode_flags,
            kind,
            data,
            secrets,
            implied: false,
        };
        builder.add(&entry.path, node, |n, bytes| reader.charge(n, bytes))
    }
}

/// Refuses early what would be refused in the end.
pub(super) fn check(store: &Store, name: &str, options: &ImportOptions) -> Result<()> {
    check_image_name(name)?;
    options.tag.iter().try_for_each(|t| check_name(t).map(drop))?;
    store.expect_generation(name, options.expect_parent)
}

/// Lets `read` fill a tree and publishes it as the next generation of `name`.
pub(super) fn bring(
    store: &Store,
    name: &str,
    origin: Origin,
    options: &ImportOptions,
    task: &Task,
    read: impl FnOnce(&mut Tree<'_, '_>) -> Result<()>,
) -> Result<Imported> {
    check(store, name, options)?;
    let what = format!("import of {name}");
    store.in_session(&what, task, |session| bring_into(session, name, origin, options, task, read))
}

fn bring_into(
    session: &Session,
    name: &str,
    origin: Origin,
    options: &ImportOptions,
    task: &Task,
    read: impl FnOnce(&mut Tree<'_, '_>) -> Result<()>,
) -> Result<Imported> {
    let store = session.store();
    let wanted = options.secrets.wanted()?;
    let report = options.report.as_deref().map(ReportFile::begin).transpose()?;
    task.stage("read", 0, Unit::Bytes);
    let threads = crate::job::threads(options.threads);
    let (mut builder, built, read_bytes) = with_pool(session, options.level, threads, |pool| {
        let (builder, content) = (Builder::new(options.exact), ContentWriter::default());
        let mut tree = Tree { builder, content, pool, task, read_bytes: 0 };
        read(&mut tree)?;
        let built = tree.builder.rows(tree.pool, task)?;
        Ok((tree.builder, built, tree.read_bytes))
    })?;
    task.stage("store", 0, Unit::Entries);
    let amplification = session.bound_amplification(&built.pages, options.level, threads, task)?;
    let stored_bytes = session.finish()?;
    task.check()?;
    let secrets = wanted.judge(&builder.secrets());
    // What it came to is put in once it is known.
    let mut done = Imported {
        name: name.to_owned(),
        generation: 0,
        image: Hash([0; 32]),
        tree: Hash([0; 32]),
        changed: false,
        format: origin.format,
        layers: origin.layers,
        entries: builder.len(),
        read_bytes,
        stored_bytes,
        implied: builder.implied,
        replaced: builder.replaced,
        removed: builder.removed,
        secrets: secrets.list.clone(),
        secrets_count: secrets.count,
        notes: std::mem::take(&mut builder.notes),
    };
    let report = report.map(|file| file.secrets(wanted.each(&builder.secrets()))).transpose()?;
    report.iter().try_for_each(|r| r.draft(&done.rest(false)))?;
    if let Err(e) = secrets.enforce(options.secrets.forbid, task) {
        // The error counts; the draft stands there in any case, but in a pipe.
        report.iter().for_each(|r| r.finish(&done.rest(false)).unwrap_or_default());
        return Err(e);
    }
    task.stage("publish", 1, Unit::Steps);
    done.notes.iter().for_each(|n| task.warn(n.clone()));
    let about = About {
        policy: json!({"amplification": amplification.percent(), "exact": options.exact, "imported": origin.format,
                       "notes": done.notes}),
        fact: origin.oci.map(|oci| ("oci", oci)),
    };
    let (image, changed) = builder.publish(session, name, built, about, options.expect_parent)?;
    let generation = image.release().map_or(0, |r| r.generation);
    if let Some(tag) = &options.tag {
        store.advance_tag(name, tag, generation)?;
    }
    task.advance(1);
    (done.generation, done.image, done.tree, done.changed) = (generation, image.id(), image.tree_id(), changed);
    // The generation is there: a report that cannot be finished does not undo it.
    if let Some(Err(e)) = report.map(|r| r.finish(&done.rest(true))) {
        let note = format!("the report is not finished: {e}");
        task.warn(note.clone());
        done.notes.push(note);
    }
    Ok(done)
}

impl Imported {
    /// The report but for its list; before an image is published, without what is known only then.
    fn rest(&self, published: bool) -> serde_json::Value {
        report::rest(self, if published { &[] } else { &["generation", "image", "tree", "changed"] })
    }
}

/// An image of containers that was taken for a plain archive, because it came compressed or through a pipe.
pub(super) fn no_layout(tree: &Tree<'_, '_>) -> Result<()> {
    let has = |path: &str| tree.builder.has(path.as_bytes());
    if (has("oci-layout") && has("index.json")) || (has("manifest.json") && has("repositories")) {
        return Err(Error::unsupported("this is an image of containers, which is not read from a pipe or compressed")
            .hint("give it as a file, decompressed"));
    }
    Ok(())
}
