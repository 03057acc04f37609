//! An archive becomes an image.

use super::{Decoder, Entry, Kind, Limits, Reader};
use crate::convert::build::{Builder, Node};
use crate::error::Result;
use crate::event::Unit;
use crate::image::path::is_note;
use crate::image::row::{BLOCK, CHARACTER, DIRECTORY, FIFO, LINK, REGULAR};
use crate::image::{Hash, Kind as RowKind};
use crate::job::Task;
use crate::secrets::{Finding, Policy};
use crate::store::Store;
use crate::store::content::{ChunkPool, ContentWriter, with_pool};
use crate::store::name::check_name;
use crate::sys::confined::show;
use serde::Serialize;
use serde_json::json;
use std::io::Read;

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
    /// How much of the archive is believed.
    pub limits: Limits,
    /// Fail with `Conflict` unless this is the newest generation (0: the name is new).
    pub expect_parent: Option<u64>,
    /// What is done about secrets.
    pub secrets: Policy,
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
    /// Entries of the tree.
    pub entries: u64,
    /// Bytes of the archive, decompressed.
    pub read_bytes: u64,
    /// Bytes added to the store.
    pub stored_bytes: u64,
    /// Directories that the archive does not describe: they belong to root and have mode 0755 and time 0.
    pub implied: u64,
    /// Entries that took the place of earlier ones of the same name.
    pub replaced: u64,
    /// Secrets in the tree, at most 10,000; they are in the image.
    pub secrets: Vec<Finding>,
    /// How many there are in all.
    pub secrets_count: u64,
    /// What could not be kept.
    pub notes: Vec<String>,
}

/// Imports the archive that `input` gives, compressed or not, as the next generation of `name`. The archive stands for
/// the root: nothing is generalised.
///
/// # Errors
/// `Integrity` when the archive is truncated or cannot be parsed, `UnsafeInput` when an entry breaks a rule, `Limit`
/// when it is too large, `Refused` when secrets are forbidden and there are some, `Unsupported` for a dialect or compression that is not read; `Cancelled`. Nothing is then
/// published.
pub fn import(store: &Store, input: impl Read, name: &str, options: &ImportOptions, task: &Task) -> Result<Imported> {
    check_name(name)?;
    options.tag.iter().try_for_each(|t| check_name(t).map(drop))?;
    store.expect_generation(name, options.expect_parent)?;
    let wanted = options.secrets.wanted()?;
    let threads = crate::job::threads(options.threads);
    let mut reader = Reader::new(Decoder::new(input)?, options.limits);
    let mut builder = Builder::new(options.exact);
    let session = store.session(&format!("import of {name}"))?;
    task.stage("read", 0, Unit::Bytes);
    let built = with_pool(&session, options.level, threads, |pool| {
        let mut content = ContentWriter::default();
        while let Some(entry) = reader.next_entry()? {
            task.check()?;
            let path = entry.path.clone();
            if is_note(&path) {
                builder.notes.push(format!("/{} was left out: a note of libcv about another tree", show(&path)));
                continue;
            }
            add(entry, &mut reader, &mut builder, &mut content, pool, task)
                .map_err(|e| e.fact("entry", show(&path).into_owned()))?;
        }
        builder.rows(pool, task)
    })?;
    task.stage("store", 0, Unit::Entries);
    let stored_bytes = session.finish()?;
    task.check()?;
    let secrets = wanted.judge(&builder.secrets());
    secrets.enforce(options.secrets.forbid, task)?;
    task.stage("publish", 1, Unit::Steps);
    let notes: Vec<String> = reader.notes().iter().cloned().chain(builder.notes.drain(..)).collect();
    notes.iter().for_each(|n| task.warn(n.clone()));
    let policy = json!({"imported": "tar", "exact": options.exact, "notes": notes});
    let (image, changed) = builder.publish(&session, name, built, policy, options.expect_parent)?;
    let generation = image.release().map_or(0, |r| r.generation);
    if let Some(tag) = &options.tag {
        store.refs().advance_tag(name, tag, generation)?;
    }
    task.advance(1);
    Ok(Imported {
        name: name.to_owned(),
        generation,
        image: image.id(),
        tree: image.tree_id(),
        changed,
        entries: builder.len(),
        read_bytes: reader.position(),
        stored_bytes,
        implied: builder.implied,
        replaced: builder.replaced,
        secrets: secrets.list,
        secrets_count: secrets.count,
        notes,
    })
}

fn add<R: Read>(
    entry: Entry,
    reader: &mut Reader<R>,
    builder: &mut Builder,
    content: &mut ContentWriter,
    pool: &mut ChunkPool<'_>,
    task: &Task,
) -> Result<()> {
    let (mut data, mut secrets) = (0, Vec::new());
    let (bits, kind) = match entry.kind {
        Kind::HardLink(target) => return builder.link(&entry.path, &target),
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
    builder.add(&entry.path, node)
}
