//! Pages become rows; nothing is believed.

use super::*;
use crate::image::leb::Reader;
use crate::image::path;
use crate::image::row::{self, Content, Item, Kind, Row, Value, Xattr, Xattrs};
use crate::image::{FormatError, chunker};
use crate::sys::confined::show;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

/// The rows of a page, all at once.
///
/// # Errors
/// Any [`FormatError`]: the bytes may come from anywhere.
pub fn decode(bytes: &[u8]) -> Result<Vec<Row>, FormatError> {
    let mut rows = Rows::new(bytes)?;
    let mut out = Vec::with_capacity(rows.left);
    while let Some(row) = rows.read()? {
        out.push(row.clone());
    }
    Ok(out)
}

/// The rows of a page, one after the other. They are read into the same place, so that a page of a thousand rows takes
/// no thousand allocations.
pub struct Rows<B> {
    bytes: B,
    at: usize,
    left: usize,
    sets: Sets,
    /// The row that was read last; without path before the first.
    row: Row,
    begun: bool,
    spare: Spare,
}

/// Memory of the pieces and the link target of rows before.
#[derive(Default)]
struct Spare {
    items: Vec<Item>,
    target: Vec<u8>,
}

impl<B: AsRef<[u8]>> Rows<B> {
    /// Before the first row.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn new(bytes: B) -> Result<Self, FormatError> {
        let whole = bytes.as_ref();
        if whole.len() > BYTE_LIMIT {
            return Err(FormatError::Limit { what: "a page", limit: BYTE_LIMIT as u64 });
        }
        let mut r = Reader::new("page", whole);
        r.magic(MAGIC, VERSION)?;
        let left = r.count(ROW_LIMIT, "the number of rows of a page")?;
        if left == 0 {
            return r.bad("a page has at least one row");
        }
        let (at, sets) = (whole.len() - r.left(), Sets::default());
        let row = Row {
            path: Vec::new(),
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: sets.none.clone(),
            inode_flags: 0,
            torn: false,
            group: None,
            kind: Kind::Fifo,
        };
        Ok(Self { bytes, at, left, sets, row, begun: false, spare: Spare::default() })
    }

    /// How many rows are still to be read.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }

    /// The row that was read last.
    #[must_use]
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// Any [`FormatError`]; after one the rest is not to be read.
    pub fn read(&mut self) -> Result<Option<&Row>, FormatError> {
        let whole = self.bytes.as_ref();
        let mut r = Reader::new("page", &whole[self.at..]);
        if self.left == 0 {
            r.end()?;
            return Ok(None);
        }
        self.left -= 1;
        match std::mem::replace(&mut self.row.kind, Kind::Fifo) {
            Kind::File { content: Content::Near(items), .. } => self.spare.items = items,
            Kind::Link(target) => self.spare.target = target,
            _ => {}
        }
        read_row(&mut r, self.begun, &mut self.row, &mut self.sets, &mut self.spare)?;
        self.begun = true;
        self.at = whole.len() - r.left();
        Ok(Some(&self.row))
    }
}

struct Sets {
    known: Vec<Xattrs>,
    distinct: HashSet<Xattrs>,
    none: Xattrs,
}

impl Default for Sets {
    fn default() -> Self {
        Self { known: Vec::new(), distinct: HashSet::new(), none: Arc::new([]) }
    }
}

/// Reads a row over the one before it.
fn read_row(
    r: &mut Reader<'_>,
    begun: bool,
    row: &mut Row,
    sets: &mut Sets,
    spare: &mut Spare,
) -> Result<(), FormatError> {
    read_path(r, begun, &mut row.path)?;
    row.mode = r.leb_max(0xffff, "a mode")? as u32;
    row.uid = r.leb_max(u64::from(u32::MAX), "a uid")? as u32;
    row.gid = r.leb_max(u64::from(u32::MAX), "a gid")? as u32;
    let seconds = r.signed()?.wrapping_add(if begun { row.mtime.0 } else { 0 });
    let nanos = r.leb()?;
    if nanos >= 1_000_000_000 {
        return r.bad("nanoseconds are under a second");
    }
    row.mtime = (seconds, nanos as u32);
    let flags = r.leb()?;
    if flags & !(HAS_GROUP | HAS_XATTRS | HAS_INODE_FLAGS | TORN) != 0 {
        return r.bad("unknown row flags are set");
    }
    row.torn = flags & TORN != 0;
    row.group = if flags & HAS_GROUP != 0 { Some(r.array()?) } else { None };
    row.xattrs = if flags & HAS_XATTRS != 0 { read_xattrs(r, sets)? } else { sets.none.clone() };
    row.inode_flags = if flags & HAS_INODE_FLAGS != 0 {
        let f = r.leb()?;
        if f == 0 || f & !u64::from(row::INODE_FLAGS) != 0 {
            return r.bad("inode flags are none of those kept");
        }
        f as u32
    } else {
        0
    };
    row.kind = match row.mode & row::KIND_MASK {
        row::REGULAR => read_file(r, &mut spare.items)?,
        row::DIRECTORY => Kind::Directory,
        row::FIFO => Kind::Fifo,
        row::LINK => {
            let target = r.str(TARGET_LIMIT, "a link target")?;
            if target.is_empty() || target.contains(&0) {
                return r.bad("a link target is empty or holds a NUL");
            }
            let mut whole = std::mem::take(&mut spare.target);
            whole.clear();
            whole.extend_from_slice(target);
            Kind::Link(whole)
        }
        row::CHARACTER | row::BLOCK => Kind::Device {
            major: r.leb_max(u64::from(u32::MAX), "a device number")? as u32,
            minor: r.leb_max(u64::from(u32::MAX), "a device number")? as u32,
        },
        _ => return r.bad("a mode of a kind that images do not hold"),
    };
    if row.is_directory() && row.group.is_some() {
        return r.bad("a directory is in a hard link group");
    }
    if row.path.is_empty() && !row.is_directory() {
        return r.bad("the root is not a directory");
    }
    Ok(())
}

/// Turns the path of the row before into that of this one.
fn read_path(r: &mut Reader<'_>, begun: bool, path: &mut Vec<u8>) -> Result<(), FormatError> {
    let shared = r.count(path::PATH_LIMIT, "a path")?;
    let suffix = r.str(path::PATH_LIMIT, "a path")?;
    if shared > path.len() {
        return r.bad("a path shares more than the one before it has");
    }
    if path.get(shared).is_some_and(|c| suffix.first() == Some(c)) {
        return r.bad("a path shares more with the one before it than it says");
    }
    // Up to what both share they are equal, so that the rest decides on the order.
    let after = begun && path::compare_rest(&path[shared..], suffix).is_ge();
    path.truncate(shared);
    path.extend_from_slice(suffix);
    path::check_after(path, shared)?;
    if after {
        return Err(FormatError::Unsafe {
            path: show(path).into_owned(),
            rule: "paths are in order, and none occurs twice",
        });
    }
    Ok(())
}

fn read_xattrs(r: &mut Reader<'_>, sets: &mut Sets) -> Result<Xattrs, FormatError> {
    let number = r.count(ROW_LIMIT, "the number of attribute sets")?;
    match number.cmp(&sets.known.len()) {
        Ordering::Less => return Ok(sets.known[number].clone()),
        Ordering::Greater => return r.bad("an attribute set is used before it is defined"),
        Ordering::Equal => {}
    }
    let start = r.left();
    let count = r.count(XATTR_LIMIT, "the number of attributes")?;
    if count == 0 {
        return r.bad("an attribute set is empty");
    }
    let mut set: Vec<Xattr> = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let name = r.str(path::NAME_LIMIT, "an attribute name")?;
        if name.is_empty() || name.contains(&0) {
            return r.bad("an attribute name is empty or holds a NUL");
        }
        if set.last().is_some_and(|x| x.name.as_slice() >= name) {
            return r.bad("attributes are not in the order of their names");
        }
        let tag = r.leb_max((VALUE_LIMIT as u64) << 1 | 1, "an attribute value")?;
        let length = (tag >> 1) as usize;
        let far = tag & 1 == 1;
        if far != (length > NEAR_VALUE) {
            return r.bad("an attribute value is in the wrong place for its length");
        }
        let value = if far {
            Value::Far { length: length as u32, hash: r.hash()? }
        } else {
            Value::Near(r.take(length)?.to_vec())
        };
        set.push(Xattr { name: name.to_vec(), value });
    }
    if start - r.left() > SET_LIMIT {
        return Err(FormatError::Limit { what: "an attribute set", limit: SET_LIMIT as u64 });
    }
    let set: Xattrs = set.into();
    if !sets.distinct.insert(set.clone()) {
        return r.bad("an attribute set is defined twice");
    }
    sets.known.push(set.clone());
    Ok(set)
}

fn read_file(r: &mut Reader<'_>, spare: &mut Vec<Item>) -> Result<Kind, FormatError> {
    let size = r.leb_max(i64::MAX as u64, "the size of a file")?;
    let tag = r.leb()?;
    let count = tag >> 1;
    if count > ITEM_LIMIT {
        return Err(FormatError::Limit { what: "the number of pieces of a file", limit: ITEM_LIMIT });
    }
    let content = if tag & 1 == 0 {
        if count > NEAR_ITEMS as u64 {
            return r.bad("more items in a row than belong there");
        }
        let mut items = std::mem::take(spare);
        read_items(r, count as usize, &mut items)?;
        check_sum(r, &items, size)?;
        Content::Near(items)
    } else {
        if count <= NEAR_ITEMS as u64 {
            return r.bad("lists for a file with few items");
        }
        let expected = count.div_ceil(LIST_ITEMS as u64);
        if r.leb()? != expected {
            return r.bad("a file has the wrong number of lists for its items");
        }
        let mut lists = Vec::with_capacity((expected as usize).min(r.left() / 33 + 1));
        for _ in 0..expected {
            let bytes = r.leb_max(chunker::CHUNK_LIMIT as u64, "a list")? as u32;
            if bytes == 0 {
                return r.bad("a list is empty");
            }
            lists.push((bytes, r.hash()?));
        }
        Content::Far { items: count, lists }
    };
    Ok(Kind::File { size, content })
}

fn read_items(r: &mut Reader<'_>, count: usize, items: &mut Vec<Item>) -> Result<(), FormatError> {
    items.clear();
    items.reserve(count.min(r.left()));
    for _ in 0..count {
        let tag = r.leb()?;
        let length = tag >> 1;
        if length == 0 {
            return r.bad("a piece of a file is empty");
        }
        items.push(if tag & 1 == 1 {
            if matches!(items.last(), Some(Item::Hole(_))) {
                return r.bad("two holes follow each other");
            }
            Item::Hole(length)
        } else {
            if length > chunker::CHUNK_LIMIT as u64 {
                return Err(FormatError::Limit { what: "a chunk", limit: chunker::CHUNK_LIMIT as u64 });
            }
            Item::Chunk { length: length as u32, hash: r.hash()? }
        });
    }
    Ok(())
}

fn check_sum(r: &Reader<'_>, items: &[Item], size: u64) -> Result<(), FormatError> {
    let sum = items.iter().try_fold(0u64, |sum, i| sum.checked_add(i.length()));
    if sum == Some(size) { Ok(()) } else { r.bad("the pieces of a file do not add up to its size") }
}

/// The items of a list of `count` items. That the lists of a file add up to its size is for whoever has them all.
///
/// # Errors
/// Any [`FormatError`].
pub fn decode_list(bytes: &[u8], count: usize) -> Result<Vec<Item>, FormatError> {
    let mut r = Reader::new("content list", bytes);
    let mut items = Vec::new();
    read_items(&mut r, count, &mut items)?;
    r.end()?;
    Ok(items)
}
