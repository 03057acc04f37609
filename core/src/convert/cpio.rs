//! cpio as `newc`: what a kernel unpacks as an initramfs. The normative text is in `core/docs/formats.md`.
//!
//! ```text
//! entry = "070701" ino mode uid gid nlink mtime size major minor rmajor rminor namesize 0    8 hex digits each
//!         name NUL, padded to 4; data, padded to 4          the last one is TRAILER!!!
//! ```
//!
//! Names of one file have one inode number; the last of them carries the data, as the kernel's own archives have it.

use super::export::{Exported, Format};
use super::rows::{self, APART, Groups, Sink};
use crate::error::{Error, Result};
use crate::event::Unit;
use crate::image::loss::{self, Losses};
use crate::image::row::Group;
use crate::image::{Kind, Row};
use crate::job::Task;
use crate::store::{ChunkSource, Image};
use crate::sys::confined::show;
use std::collections::HashMap;

const MAGIC: &str = "070701";
const TRAILER: &[u8] = b"TRAILER!!!";
const HEADER: usize = 110;
/// The end is padded to this, as by the other programs.
const BLOCK: u64 = 512;
const LINKS_OF_LINKS: &str = "hard links of symbolic links";

/// Writes the archive, and gives `out` back.
///
/// # Errors
/// `Unsupported` for a file of 4 GiB or more, or one that would end the archive; `Integrity`, `Cancelled`, what the
/// output returns.
pub(super) fn write<S: Sink>(image: &Image, out: S, task: &Task) -> Result<(S, Exported)> {
    let mut names = HashMap::<Group, u32>::new();
    rows::expect(image, task, |row| {
        if let (Some(group), false) = (row.group, matches!(row.kind, Kind::Link(_))) {
            *names.entry(group).or_default() += 1;
        }
        check(row)
    })?;
    task.stage("write", image.manifest().totals.data, Unit::Bytes);
    let mut writer = Writer {
        out,
        at: 0,
        source: image.store(),
        left: names.clone(),
        names,
        groups: Groups::default(),
        report: Exported::new(Format::Cpio),
        losses: Losses::default(),
        task,
    };
    for (row, number) in image.rows()?.zip(1u64..) {
        task.check()?;
        let row = row?;
        writer.row(&row, number).map_err(|e| e.fact("entry", show(&row.path).into_owned()))?;
    }
    writer.finish()
}

fn check(row: &Row) -> Result<()> {
    let cannot = |why: &str| {
        let e = Error::unsupported(format!("/{} {why}", show(&row.path)));
        Err(e.fact("entry", show(&row.path).into_owned()))
    };
    if row.size() > u64::from(u32::MAX) {
        return cannot("has more than 4 GiB, which cpio cannot hold");
    }
    if row.path == TRAILER {
        return cannot("has the name that ends an archive of cpio");
    }
    Ok(())
}

struct Writer<'a, S: Sink> {
    out: S,
    at: u64,
    source: &'a dyn ChunkSource,
    /// Names of each group, and how many of them are still to come.
    names: HashMap<Group, u32>,
    left: HashMap<Group, u32>,
    groups: Groups,
    report: Exported,
    losses: Losses,
    task: &'a Task,
}

impl<S: Sink> Writer<'_, S> {
    fn row(&mut self, row: &Row, number: u64) -> Result<()> {
        self.report.entry(&row.path);
        self.lost(row)?;
        let link = matches!(row.kind, Kind::Link(_));
        // Nobody who unpacks gives a symbolic link a second name.
        let (inode, links) = match row.group.filter(|_| !link) {
            None => (number, if row.is_directory() { 2 } else { 1 }),
            Some(group) => {
                let left = self.left.entry(group).or_default();
                *left = left.saturating_sub(1);
                (self.groups.first(row, number).unwrap_or(number), self.names.get(&group).copied().unwrap_or(1))
            }
        };
        let last = row.group.and_then(|g| self.left.get(&g)).is_none_or(|&left| left == 0);
        let size = match &row.kind {
            Kind::File { size, .. } if last => *size,
            Kind::Link(target) => target.len() as u64,
            _ => 0,
        };
        let (major, minor) = if let Kind::Device { major, minor } = row.kind { (major, minor) } else { (0, 0) };
        let name: &[u8] = if row.path.is_empty() { b"." } else { &row.path };
        let mtime = row.mtime.0.clamp(0, i64::from(u32::MAX)) as u64;
        let numbers = [inode, row.mode.into(), row.uid.into(), row.gid.into(), links.into(), mtime, size];
        self.header(numbers, (major, minor), name)?;
        match &row.kind {
            Kind::Link(target) => self.put(target)?,
            Kind::File { content, .. } if size > 0 => {
                let apart = size >= APART;
                self.boundary(apart)?;
                let (source, task) = (self.source, self.task);
                self.report.bytes += rows::copy(content, source, task, |bytes| self.put(bytes))?;
                self.boundary(apart)?;
            }
            _ => {}
        }
        self.pad(4)
    }

    fn lost(&mut self, row: &Row) -> Result<()> {
        self.losses.attributes(row, |_| false);
        self.losses.seconds_only(row, 0..=i64::from(u32::MAX));
        self.losses.flags(row);
        match &row.kind {
            Kind::File { content, .. } if rows::has_hole(content, self.source)? => {
                self.losses.add(loss::HOLES, &row.path);
            }
            Kind::Link(_) if row.group.is_some() => self.losses.add(LINKS_OF_LINKS, &row.path),
            _ => {}
        }
        Ok(())
    }

    /// Numbers: inode, mode, owner, group, links, time, size.
    fn header(&mut self, numbers: [u64; 7], (major, minor): (u32, u32), name: &[u8]) -> Result<()> {
        let mut header = Vec::with_capacity(HEADER + name.len() + 1);
        header.extend_from_slice(MAGIC.as_bytes());
        let rest = [0, 0, major.into(), minor.into(), name.len() as u64 + 1, 0];
        for n in numbers.into_iter().chain(rest) {
            header.extend_from_slice(format!("{n:08X}").as_bytes());
        }
        header.extend_from_slice(name);
        header.push(0);
        self.put(&header)?;
        self.pad(4)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|e| Error::io("write", "the archive", e))
    }

    fn boundary(&mut self, apart: bool) -> Result<()> {
        if apart { self.out.boundary().map_err(|e| Error::io("write", "the archive", e)) } else { Ok(()) }
    }

    fn pad(&mut self, to: u64) -> Result<()> {
        let n = self.at.next_multiple_of(to) - self.at;
        self.put(&[0; BLOCK as usize][..n as usize])
    }

    fn finish(mut self) -> Result<(S, Exported)> {
        self.header([0, 0, 0, 0, 1, 0, 0], (0, 0), TRAILER)?;
        self.pad(BLOCK)?;
        self.out.flush().map_err(|e| Error::io("write", "the archive", e))?;
        self.report.losses = self.losses.list();
        Ok((self.out, self.report))
    }
}
