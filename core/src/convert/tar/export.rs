//! An image becomes an archive.

use super::{Compression, Encoder, Entry, Kind, Segment, Writer};
use crate::convert::export::{Exported, Format};
use crate::convert::rows;
use crate::error::{Error, Result};
use crate::event::Unit;
use crate::image::loss::{self, Losses};
use crate::image::row::{BLOCK, Group, KIND_MASK, Xattr, Xattrs};
use crate::image::{Content, Item, Kind as RowKind, Row};
use crate::job::Task;
use crate::store::image::each_item;
use crate::store::{ChunkSource, Image};
use crate::sys::confined::show;
use std::collections::HashMap;
use std::io::{BufWriter, Write};

/// How to export.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExportOptions {
    /// How to compress.
    pub compression: Compression,
    /// Level of the compression; 0 is the usual one.
    pub level: i32,
}

/// Writes `image` as an archive; the same image and options give the same bytes.
///
/// # Errors
/// `Integrity` when the image is damaged, what the output returns, `Cancelled`.
pub fn export<W: Write>(image: &Image, out: W, options: &ExportOptions, task: &Task) -> Result<(W, Exported)> {
    let out = Encoder::new(out, options.compression, options.level)?;
    let (encoder, report) = archive(image, out, Keep::ALL, task)?;
    let failed = |e| Error::io("write", "the archive", e);
    let mut out = encoder.finish().map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok((out, report))
}

/// What of an entry an archive is meant to have, because whoever reads it keeps no more.
#[derive(Clone, Copy)]
pub(in crate::convert) struct Keep {
    /// Whether an attribute is written.
    pub(in crate::convert) xattr: fn(&Xattr) -> bool,
    /// Whether an entry is written, and what is lost when it is not.
    pub(in crate::convert) entry: fn(&[u8]) -> Result<(), &'static str>,
    /// Seconds between these only.
    pub(in crate::convert) seconds: Option<(i64, i64)>,
    /// Flags of inodes.
    pub(in crate::convert) flags: bool,
    /// Files have holes in the end.
    pub(in crate::convert) holes: bool,
}

impl Keep {
    /// Everything.
    pub(in crate::convert) const ALL: Self =
        Self { xattr: |_| true, entry: |_| Ok(()), seconds: None, flags: true, holes: true };
}

/// Writes the plain archive to `out`, and gives `out` back.
pub(in crate::convert) fn archive<W: Write>(image: &Image, out: W, keep: Keep, task: &Task) -> Result<(W, Exported)> {
    task.stage("write", image.manifest().totals.data, Unit::Bytes);
    rows::expect(image, task, |_| Ok(()))?;
    let mut export = Export {
        source: image.store(),
        out: Writer::new(BufWriter::with_capacity(1 << 20, out)),
        groups: HashMap::new(),
        report: Exported::new(Format::Tar),
        losses: Losses::default(),
        keep,
        task,
    };
    for row in image.rows()? {
        task.check()?;
        let row = row?;
        export.row(&row).map_err(|e| e.fact("entry", show(&row.path).into_owned()))?;
    }
    let (out, mut report) = (export.out.finish()?, export.report);
    report.losses = export.losses.list();
    let out = out.into_inner().map_err(|e| Error::io("write", "the archive", e.into_error()))?;
    Ok((out, report))
}

struct Export<'a, W: Write> {
    source: &'a dyn ChunkSource,
    out: Writer<W>,
    groups: HashMap<Group, Vec<u8>>,
    report: Exported,
    losses: Losses,
    keep: Keep,
    task: &'a Task,
}

impl<W: Write> Export<'_, W> {
    fn row(&mut self, row: &Row) -> Result<()> {
        if let Err(lost) = (self.keep.entry)(&row.path) {
            self.losses.add(lost, &row.path);
            return Ok(());
        }
        self.report.entry(&row.path);
        let mut entry = Entry {
            path: row.path.clone(),
            mode: row.mode & 0o7777,
            uid: row.uid,
            gid: row.gid,
            mtime: self.mtime(row),
            xattrs: Vec::new(),
            inode_flags: if self.keep.flags { row.inode_flags } else { 0 },
            kind: Kind::Directory,
        };
        if !self.keep.flags {
            self.losses.flags(row);
        }
        if let Some(group) = row.group {
            if let Some(first) = self.groups.get(&group) {
                entry.kind = Kind::HardLink(first.clone());
                entry.inode_flags = 0;
                return self.out.entry(&entry);
            }
            self.groups.insert(group, row.path.clone());
        }
        let Keep { xattr, .. } = self.keep;
        self.losses.attributes(row, xattr);
        let kept: Xattrs = row.xattrs.iter().filter(|x| xattr(x)).cloned().collect();
        entry.xattrs = rows::xattrs(&kept, self.source)?;
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

    fn mtime(&mut self, row: &Row) -> (i64, u32) {
        let Some((least, most)) = self.keep.seconds else { return row.mtime };
        self.losses.seconds_only(row, least..=most);
        (row.mtime.0.clamp(least, most), 0)
    }

    fn file(&mut self, mut entry: Entry, size: u64, content: &Content) -> Result<()> {
        let segments = rows::extents(content, self.source)?;
        let segments: Vec<_> = segments.into_iter().map(|(offset, length)| Segment { offset, length }).collect();
        let sparse = segments.iter().map(|s| s.length).sum::<u64>() != size;
        if sparse && (!self.keep.holes || super::sparse::widen(size, &segments) != segments) {
            self.losses.add(loss::HOLES, &entry.path);
        }
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
