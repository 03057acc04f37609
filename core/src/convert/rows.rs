//! What writers of all formats do with rows: look the chunks up together, find the first name of a hard link group,
//! get attribute values and content.

use crate::error::Result;
use crate::image::row::{Group, Value, Xattrs};
use crate::image::{ChunkSet, Content, Item, Row};
use crate::job::Task;
use crate::store::image::each_item;
use crate::store::needs::named;
use crate::store::{ChunkSource, Image};
use std::collections::HashMap;
use std::io::Write;

/// `PATH_MAX` without the end of the string: what the system calls take at once.
pub(super) const PATH_MAX: usize = 4095;

/// Says which chunks will be asked for; `each` sees every row once on the way.
pub(super) fn expect(image: &Image, task: &Task, mut each: impl FnMut(&Row) -> Result<()>) -> Result<()> {
    let mut needed = ChunkSet::default();
    image.each_row(|row| {
        task.check()?;
        named(row, &mut |hash, length| {
            needed.insert(*hash, length);
            Ok(())
        })?;
        each(row)
    })?;
    image.store().expect(&needed)
}

/// The attributes with their values.
pub(super) fn xattrs(set: &Xattrs, source: &dyn ChunkSource) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let value = |v: &Value| match v {
        Value::Near(v) => Ok(v.clone()),
        Value::Far { length, hash } => source.chunk(hash, *length),
    };
    set.iter().map(|x| Ok((x.name.clone(), value(&x.value)?))).collect()
}

/// Runs of data of a file: offset and length.
pub(super) fn extents(content: &Content, source: &dyn ChunkSource) -> Result<Vec<(u64, u64)>> {
    let (mut out, mut at) = (Vec::<(u64, u64)>::new(), 0u64);
    each_item(source, content, |item| {
        if let Item::Chunk { length, .. } = *item {
            let length = u64::from(length);
            match out.last_mut() {
                Some((offset, n)) if *offset + *n == at => *n += length,
                _ => out.push((at, length)),
            }
        }
        at += item.length();
        Ok(())
    })?;
    Ok(out)
}

/// Whether a file has a hole.
pub(super) fn has_hole(content: &Content, source: &dyn ChunkSource) -> Result<bool> {
    let mut hole = false;
    each_item(source, content, |item| {
        hole |= matches!(item, Item::Hole(_));
        Ok(())
    })?;
    Ok(hole)
}

/// Writes the bytes of a file, holes as zeros. Gives how many bytes were data.
pub(super) fn copy(
    content: &Content,
    source: &dyn ChunkSource,
    task: &Task,
    mut out: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let (zeros, mut data) = ([0; 16 << 10], 0);
    each_item(source, content, |item| {
        task.check()?;
        match *item {
            Item::Chunk { hash, length } => {
                out(&source.chunk(&hash, length)?)?;
                data += u64::from(length);
                task.advance(u64::from(length));
            }
            Item::Hole(mut left) => {
                while left > 0 {
                    task.check()?;
                    let n = left.min(zeros.len() as u64);
                    out(&zeros[..n as usize])?;
                    left -= n;
                }
            }
        }
        Ok(())
    })?;
    Ok(data)
}

/// Which inode a row is a name of.
#[derive(Default)]
pub(super) struct Groups(HashMap<Group, u64>);

impl Groups {
    /// The number given to the group's first name, or `None` for the first name, to which `number` is given now.
    pub(super) fn first(&mut self, row: &Row, number: u64) -> Option<u64> {
        let group = row.group?;
        let known = self.0.get(&group).copied();
        if known.is_none() {
            self.0.insert(group, number);
        }
        known
    }
}

/// A writer that is told where the content of a file begins and ends: whoever cuts the stream cuts it there as well,
/// so that the content becomes the chunks that it has in the image.
pub(super) trait Sink: Write {
    /// Here content begins or ends.
    fn boundary(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A sink of a plain writer.
pub(super) struct Plain<W>(pub(super) W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Sink for Plain<W> {}

/// Content of fewer bytes is not cut apart: it would make a chunk of every small file, and one of every header.
pub(super) const APART: u64 = 64 << 10;
