//! Writes a planned filesystem from front to end.

use super::BLOCK;
use super::inode::{self, About, Layout};
use super::plan::{Map, Plan};
use crate::convert::export::{Exported, Format};
use crate::convert::rows::{self, APART, Groups, Sink};
use crate::error::{Error, Result};
use crate::event::Unit;
use crate::image::loss::{HOLES, Losses};
use crate::image::row::Xattrs;
use crate::image::{Content, Hash, Item, Kind, Row};
use crate::job::Task;
use crate::store::image::each_item;
use crate::store::{ChunkSource, Image};
use crate::sys::confined::show;

/// Writes `image` as a filesystem, and gives `out` back; the same tree gives the same bytes.
///
/// # Errors
/// `Unsupported` for what the format has no place for at all; `Integrity`, `Cancelled`, what the output returns.
pub(in crate::convert) fn write<S: Sink>(image: &Image, out: S, task: &Task) -> Result<(S, Exported)> {
    task.stage("plan", 0, Unit::Entries);
    let plan = Plan::make(image, task)?;
    task.stage("write", image.manifest().totals.data, Unit::Bytes);
    let mut losses = Losses::default();
    plan.narrowed.iter().for_each(|path| losses.add(HOLES, path));
    let report = Exported::new(Format::Erofs);
    let mut writer = Writer { plan: &plan, source: image.store(), out, at: 0, losses, report, task };
    // An identity that the tree gives it.
    let uuid = uuid::Builder::from_custom_bytes(Hash::of(&image.tree_id().0).half()).into_uuid().into_bytes();
    let front = inode::superblock(plan.inodes.len() as u64, plan.newest, plan.blocks, uuid, !plan.maps.is_empty());
    writer.put(&front)?;
    writer.each(image, Writer::inode)?;
    writer.pad(BLOCK)?;
    writer.each(image, Writer::content)?;
    let Writer { mut out, losses, mut report, .. } = writer;
    out.flush().map_err(failed)?;
    report.losses = losses.list();
    Ok((out, report))
}

fn failed(e: std::io::Error) -> Error {
    Error::io("write", "the image", e)
}

struct Writer<'a, S: Sink> {
    plan: &'a Plan,
    source: &'a dyn ChunkSource,
    out: S,
    at: u64,
    losses: Losses,
    report: Exported,
    task: &'a Task,
}

impl<S: Sink> Writer<'_, S> {
    /// Calls `f` with each inode's first row, in order.
    fn each(&mut self, image: &Image, f: fn(&mut Self, &Row, u32) -> Result<()>) -> Result<()> {
        let (mut groups, mut number) = (Groups::default(), 0);
        for row in image.rows()? {
            self.task.check()?;
            let row = row?;
            if groups.first(&row, number.into()).is_some() {
                continue;
            }
            f(self, &row, number).map_err(|e| e.fact("entry", show(&row.path).into_owned()))?;
            number += 1;
        }
        Ok(())
    }

    fn inode(&mut self, row: &Row, number: u32) -> Result<()> {
        let node = &self.plan.inodes[number as usize];
        self.report.entry(&row.path);
        // Further names are entries as well.
        self.report.entries += u64::from(if row.is_directory() { 0 } else { node.links - 1 });
        self.losses.attributes(row, inode::holds);
        self.losses.flags(row);
        let zeros = node.at - self.at;
        self.zeros(zeros)?;
        let device = if let Kind::Device { major, minor } = row.kind { inode::device(major, minor) } else { None };
        let about = About {
            number: number + 1,
            links: node.links,
            size: node.size,
            layout: node.layout,
            xattrs: node.xattrs,
            device: device.unwrap_or(0),
        };
        self.put(&inode::inode(row, &about))?;
        let kept: Xattrs = row.xattrs.iter().filter(|x| inode::holds(x)).cloned().collect();
        self.put(&inode::xattrs(&rows::xattrs(&kept, self.source)?))?;
        match node.layout {
            Layout::Inline => self.body(row, number),
            Layout::Chunks(_) => match self.plan.maps.get(&number) {
                Some((map, first)) => self.put(&map.encode(*first)),
                None => Ok(()),
            },
            Layout::Blocks(_) => Ok(()),
        }
    }

    /// What stands in blocks.
    fn content(&mut self, row: &Row, number: u32) -> Result<()> {
        let node = &self.plan.inodes[number as usize];
        if node.size == 0 || node.layout == Layout::Inline {
            return Ok(());
        }
        if let (Some((map, _)), Kind::File { content, .. }) = (self.plan.maps.get(&number), &row.kind) {
            return self.sparse(content, map);
        }
        let apart = matches!(row.kind, Kind::File { .. }) && node.size >= APART;
        self.boundary(apart)?;
        self.body(row, number)?;
        self.boundary(apart)?;
        self.pad(BLOCK)
    }

    fn body(&mut self, row: &Row, number: u32) -> Result<()> {
        match &row.kind {
            Kind::Link(target) => self.put(target),
            Kind::Directory => {
                let bytes = inode::directory(&self.plan.entries(number).unwrap_or_default());
                self.put(&bytes)
            }
            Kind::File { content, .. } => {
                let (source, task) = (self.source, self.task);
                self.report.bytes += rows::copy(content, source, task, |bytes| self.put(bytes))?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The ranges of a file with holes that have blocks.
    fn sparse(&mut self, content: &Content, map: &Map) -> Result<()> {
        let (source, task) = (self.source, self.task);
        let (mut from, mut at) = (0, 0);
        each_item(source, content, |item| {
            task.check()?;
            if let Item::Chunk { hash, length } = *item {
                self.between(map, from, at)?;
                self.put(&source.chunk(&hash, length)?)?;
                self.report.bytes += u64::from(length);
                task.advance(length.into());
                from = at + u64::from(length);
            }
            at += item.length();
            Ok(())
        })?;
        self.between(map, from, u64::MAX)
    }

    /// Zeros for the parts of a hole that have blocks.
    fn between(&mut self, map: &Map, from: u64, to: u64) -> Result<()> {
        let start = map.ranges.partition_point(|r| r.1 <= from);
        for (a, b) in map.ranges[start..].iter().take_while(|r| r.0 < to) {
            self.zeros((*b).min(to) - (*a).max(from))?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes).map_err(failed)
    }

    fn zeros(&mut self, mut n: u64) -> Result<()> {
        while n > 0 {
            let part = n.min(BLOCK);
            self.put(&[0; BLOCK as usize][..part as usize])?;
            n -= part;
        }
        Ok(())
    }

    fn boundary(&mut self, apart: bool) -> Result<()> {
        if apart { self.out.boundary().map_err(failed) } else { Ok(()) }
    }

    fn pad(&mut self, to: u64) -> Result<()> {
        self.zeros(self.at.next_multiple_of(to) - self.at)
    }
}
