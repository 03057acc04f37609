//! An image becomes an archive.

use super::{Compression, Encoder, Entry, Kind, Segment, Writer};
use crate::error::{Error, Result};
use crate::event::Unit;
use crate::image::row::{BLOCK, Group, KIND_MASK, Value};
use crate::image::{ChunkSet, Content, Item, Kind as RowKind, Row};
use crate::job::Task;
use crate::store::image::each_item;
use crate::store::{ChunkSource, Image};
use crate::sys::confined::show;
use serde::Serialize;
use std::collections::HashMap;
use std::io::{BufWriter, Write};

/// `PATH_MAX` without the end of the string: what GNU tar and the system calls take at once.
const PATH_MAX: usize = 4095;
/// Most long paths that the report names; it counts them all.
const REPORT_LIMIT: usize = 10_000;

/// How to export.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExportOptions {
    /// How to compress.
    pub compression: Compression,
    /// Level of the compression; 0 is the usual one.
    pub level: i32,
}

/// What an export did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exported {
    /// Entries written.
    pub entries: u64,
    /// Bytes of file content written.
    pub bytes: u64,
    /// Paths beyond `PATH_MAX`, which GNU tar cannot extract; at most 10,000 of them.
    pub long_paths: Vec<String>,
    /// How many there are in all.
    pub long_paths_count: u64,
}

/// Writes `image` as an archive; the same image and options give the same bytes.
///
/// # Errors
/// `Integrity` when the image is damaged, what the output returns, `Cancelled`.
pub fn export<W: Write>(image: &Image, out: W, options: &ExportOptions, task: &Task) -> Result<(W, Exported)> {
    let totals = &image.manifest().totals;
    task.stage("write", totals.data, Unit::Bytes);
    let mut needed = ChunkSet::default();
    for row in image.rows()? {
        task.check()?;
        need(&row?, &mut needed);
    }
    image.store().expect(&needed)?;
    let mut export = Export {
        source: image.store(),
        out: Writer::new(BufWriter::with_capacity(1 << 20, Encoder::new(out, options.compression, options.level)?)),
        groups: HashMap::new(),
        report: Exported::default(),
        task,
    };
    for row in image.rows()? {
        task.check()?;
        let row = row?;
        export.row(&row).map_err(|e| e.fact("entry", show(&row.path).into_owned()))?;
    }
    if export.report.long_paths_count > 0 {
        let n = export.report.long_paths_count;
        task.warn(format!("{n} paths are over {PATH_MAX} bytes: GNU tar cannot extract them"));
    }
    let failed = |e| Error::io("write", "the archive", e);
    let encoder = export.out.finish()?.into_inner().map_err(|e| failed(e.into_error()))?;
    let mut out = encoder.finish().map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok((out, export.report))
}

/// The chunks of a row as far as the row names them.
fn need(row: &Row, set: &mut ChunkSet) {
    if let RowKind::File { content, .. } = &row.kind {
        match content {
            Content::Near(items) => {
                for item in items {
                    if let Item::Chunk { hash, length } = item {
                        set.insert(*hash, *length);
                    }
                }
            }
            Content::Far { lists, .. } => {
                for (bytes, hash) in lists {
                    set.insert(*hash, *bytes);
                }
            }
        }
    }
    for x in row.xattrs.iter() {
        if let Value::Far { length, hash } = x.value {
            set.insert(hash, length);
        }
    }
}

struct Export<'a, W: Write> {
    source: &'a dyn ChunkSource,
    out: Writer<W>,
    groups: HashMap<Group, Vec<u8>>,
    report: Exported,
    task: &'a Task,
}

impl<W: Write> Export<'_, W> {
    fn row(&mut self, row: &Row) -> Result<()> {
        self.report.entries += 1;
        if row.path.len() > PATH_MAX {
            self.report.long_paths_count += 1;
            if self.report.long_paths.len() < REPORT_LIMIT {
                self.report.long_paths.push(show(&row.path).into_owned());
            }
        }
        let mut entry = Entry {
            path: row.path.clone(),
            mode: row.mode & 0o7777,
            uid: row.uid,
            gid: row.gid,
            mtime: row.mtime,
            xattrs: Vec::new(),
            inode_flags: row.inode_flags,
            kind: Kind::Directory,
        };
        if let Some(group) = row.group {
            if let Some(first) = self.groups.get(&group) {
                entry.kind = Kind::HardLink(first.clone());
                entry.inode_flags = 0;
                return self.out.entry(&entry);
            }
            self.groups.insert(group, row.path.clone());
        }
        for x in row.xattrs.iter() {
            let value = match &x.value {
                Value::Near(v) => v.clone(),
                Value::Far { length, hash } => self.source.chunk(hash, *length)?,
            };
            entry.xattrs.push((x.name.clone(), value));
        }
        entry.kind = match &row.kind {
            RowKind::Directory => Kind::Directory,
            RowKind::Fifo => Kind::Fifo,
            RowKind::Link(target) => Kind::Link(target.clone()),
            RowKind::Device { major, minor } => {
                Kind::Device { block: row.mode & KIND_MASK == BLOCK, major: *major, minor: *minor }
            }
            RowKind::File { size, content } => return self.file(entry, *size, content),
        };
        self.out.entry(&entry)
    }

    fn file(&mut self, mut entry: Entry, size: u64, content: &Content) -> Result<()> {
        let (mut segments, mut at) = (Vec::<Segment>::new(), 0u64);
        each_item(self.source, content, |item| {
            if let Item::Chunk { length, .. } = *item {
                let length = u64::from(length);
                match segments.last_mut() {
                    Some(last) if last.offset + last.length == at => last.length += length,
                    _ => segments.push(Segment { offset: at, length }),
                }
            }
            at += item.length();
            Ok(())
        })?;
        entry.kind = Kind::File { size, segments };
        self.out.entry(&entry)?;
        let Self { source, out, report, task, .. } = self;
        each_item(*source, content, |item| {
            if let Item::Chunk { hash, length } = item {
                task.check()?;
                out.data(&source.chunk(hash, *length)?)?;
                report.bytes += u64::from(*length);
                task.advance(u64::from(*length));
            }
            Ok(())
        })
    }
}
