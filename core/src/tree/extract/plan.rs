//! Where every byte of every chunk belongs; kept small, about 60 bytes for a file of one chunk, of which the chunk's name takes 36.

mod files;
mod places;

pub(in crate::tree) use files::{File, Files, Pieced};
pub(in crate::tree) use places::{Place, Places};

use crate::error::{Error, ErrorKind, Result};
use crate::image::row::{Group, Kind, Row, Value, Xattr, Xattrs};
use crate::image::rules::Rules;
use crate::image::{ChunkSet, Content, Item, path};
use crate::job::Task;
use crate::store::image::each_item;
use crate::store::{ChunkSource, Image};
use crate::sys::confined::show;
use crate::sys::memory;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// For so many files there is room at once: to grow would leave holes in the heap.
const ROOM: u64 = 1 << 20;

/// Owner, mode, time, attributes and flags of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::tree) struct Meta {
    pub(in crate::tree) mode: u32,
    pub(in crate::tree) uid: u32,
    pub(in crate::tree) gid: u32,
    pub(in crate::tree) mtime: (i64, u32),
    /// Number of the attribute set; 0 is none.
    pub(in crate::tree) xattrs: u32,
    pub(in crate::tree) inode_flags: u32,
}

/// A directory; number 0 is the root. Parents come before children.
pub(in crate::tree) struct Directory {
    pub(in crate::tree) path: Vec<u8>,
    pub(in crate::tree) parent: u32,
    pub(in crate::tree) meta: Meta,
    /// Whether it is there and closed; its own metadata comes last.
    pub(in crate::tree) made: AtomicBool,
    /// Whether it gets its own metadata in the end.
    pub(in crate::tree) due: bool,
}

/// Anything else.
pub(in crate::tree) struct Other {
    pub(in crate::tree) path: Vec<u8>,
    pub(in crate::tree) directory: u32,
    pub(in crate::tree) meta: Meta,
    pub(in crate::tree) what: What,
}

/// An entry that is there and gets other metadata; directories do not stand here.
pub(in crate::tree) struct Changed {
    pub(in crate::tree) path: Vec<u8>,
    pub(in crate::tree) meta: Meta,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tree) enum Make {
    /// It is made.
    New,
    /// It is there, and gets its metadata.
    Metadata,
    /// It is there, or not wanted.
    Nothing,
}

/// What else there is.
pub(in crate::tree) enum What {
    /// A symbolic link.
    Link(Vec<u8>),
    /// A device.
    Device(u32, u32),
    /// A FIFO.
    Fifo,
    /// A further name of the entry at this path.
    Name(Vec<u8>),
}

/// The whole plan.
#[derive(Default)]
pub(in crate::tree) struct Plan {
    pub(in crate::tree) directories: Vec<Directory>,
    pub(in crate::tree) files: Files,
    pub(in crate::tree) others: Vec<Other>,
    pub(in crate::tree) changed: Vec<Changed>,
    pub(in crate::tree) chunks: ChunkSet,
    pub(in crate::tree) bytes: u64,
    /// Where each chunk belongs.
    pub(in crate::tree) places: Places,
    /// One bit for each chunk: it has come.
    came: Vec<AtomicU64>,
    sets: Vec<Xattrs>,
}

impl Plan {
    /// The plan of the whole image.
    pub(in crate::tree) fn make(image: &Image, source: &dyn ChunkSource, task: &Task) -> Result<Self> {
        // What the manifest says is not believed beyond that, and memory that is not used costs nothing.
        let room = image.manifest().totals.files.min(ROOM) as usize;
        let plan = Self {
            files: Files::with_capacity(room),
            chunks: ChunkSet::with_capacity(room),
            places: Places::with_capacity(room),
            ..Self::default()
        };
        let plan = plan.fill(image, source, task, &mut |_, _| Ok(Make::New))?;
        // The rows were read, and there is much to be kept.
        image.store().close_blocks();
        memory::give_back();
        Ok(plan)
    }

    /// The plan of the rows that `choose` wants made; it also hears whether a row's content counts, because it is no
    /// further name of a file. All rows are checked.
    pub(in crate::tree) fn of(
        image: &Image,
        source: &dyn ChunkSource,
        task: &Task,
        choose: &mut dyn FnMut(&Row, bool) -> Result<Make>,
    ) -> Result<Self> {
        Self::default().fill(image, source, task, choose)
    }

    fn fill(
        self,
        image: &Image,
        source: &dyn ChunkSource,
        task: &Task,
        choose: &mut dyn FnMut(&Row, bool) -> Result<Make>,
    ) -> Result<Self> {
        let mut b = Builder {
            plan: Self { sets: vec![[].into()], ..self },
            source,
            numbers: HashMap::new(),
            parents: Vec::new(),
            groups: HashMap::new(),
        };
        let mut rules = Rules::default();
        image.each_row(|row| {
            task.check()?;
            let counts = rules.row(row)?;
            let make = choose(row, counts)?;
            b.row(row, counts, make, &mut rules)
        })?;
        let totals = rules.finish()?;
        if totals != image.manifest().totals {
            return Err(Error::integrity("the totals of the manifest are not those of its rows")
                .fact("images", vec![image.id().to_string()]));
        }
        Ok(b.finish())
    }

    pub(in crate::tree) fn path(&self, file: File<'_>) -> Vec<u8> {
        let directory = &self.directories[file.directory as usize].path;
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        [directory, slash, file.name].concat()
    }

    pub(in crate::tree) fn xattrs(&self, meta: &Meta) -> &[Xattr] {
        &self.sets[meta.xattrs as usize]
    }

    /// The attribute sets that occur, each with how many entries have it and one of them.
    pub(in crate::tree) fn sets(&self) -> &[Xattrs] {
        &self.sets
    }

    /// The directories by their depth, the root first.
    pub(in crate::tree) fn levels(&self) -> Vec<Vec<&Directory>> {
        let mut out: Vec<Vec<&Directory>> = Vec::new();
        for d in &self.directories {
            let depth = if d.path.is_empty() { 0 } else { 1 + d.path.iter().filter(|&&b| b == b'/').count() };
            out.resize_with(out.len().max(depth + 1), Vec::new);
            out[depth].push(d);
        }
        out
    }

    /// Whether a chunk had not come before; it has now.
    pub(in crate::tree) fn first_time(&self, chunk: u32) -> bool {
        let bit = 1 << (chunk % 64);
        self.came[chunk as usize / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// Whether a chunk has come.
    pub(in crate::tree) fn has_come(&self, chunk: u32) -> bool {
        self.came[chunk as usize / 64].load(Ordering::Relaxed) & (1 << (chunk % 64)) != 0
    }
}

struct Builder<'a> {
    plan: Plan,
    source: &'a dyn ChunkSource,
    numbers: HashMap<Xattrs, u32>,
    /// The directories above the current row.
    parents: Vec<u32>,
    groups: HashMap<Group, Vec<u8>>,
}

impl Builder<'_> {
    fn row(&mut self, row: &Row, counts: bool, make: Make, rules: &mut Rules) -> Result<()> {
        let path = &row.path;
        if path == path::MARKER || path == path::UPDATE_MARKER {
            return Err(Error::unsafe_input("the image has an entry of the name that marks unfinished work")
                .fact("path", show(path).into_owned()));
        }
        let directory = self.parent(path);
        let what = match (&row.kind, row.group) {
            (_, Some(group)) if !counts => What::Name(self.groups.get(&group).cloned().unwrap_or_default()),
            (kind, group) => {
                if let Some(group) = group {
                    self.groups.insert(group, path.clone());
                }
                match kind {
                    Kind::Directory => return self.directory(row, directory, make),
                    Kind::File { size, content } => return self.file(row, *size, content, directory, make, rules),
                    Kind::Link(target) => What::Link(target.clone()),
                    Kind::Device { major, minor } => What::Device(*major, *minor),
                    Kind::Fifo => What::Fifo,
                }
            }
        };
        match (make, &what) {
            (Make::New, _) => {
                let meta = self.meta(row)?;
                self.plan.others.push(Other { path: path.clone(), directory, meta, what });
                Ok(())
            }
            // A further name has the metadata of the first.
            (Make::Metadata, What::Name(_)) => Ok(()),
            _ => self.changed(row, make),
        }
    }

    fn directory(&mut self, row: &Row, parent: u32, make: Make) -> Result<()> {
        self.parents.push(self.plan.directories.len() as u32);
        let (made, due) = (AtomicBool::new(make != Make::New), make != Make::Nothing);
        let (path, meta) = (row.path.clone(), self.meta(row)?);
        self.plan.directories.push(Directory { path, parent, meta, made, due });
        Ok(())
    }

    fn file(
        &mut self,
        row: &Row,
        size: u64,
        content: &Content,
        directory: u32,
        make: Make,
        rules: &mut Rules,
    ) -> Result<()> {
        let skipped = make != Make::New;
        if skipped {
            self.changed(row, make)?;
        }
        let far = matches!(content, Content::Far { .. });
        if skipped && !far {
            return Ok(());
        }
        let file = self.plan.files.next()?;
        let (mut offset, mut pieces, mut whole) = (0u64, 0u32, false);
        each_item(self.source, content, |item| {
            if let Item::Chunk { length, hash } = item
                && !skipped
            {
                let chunk = self.plan.chunks.insert(*hash, *length);
                if self.plan.chunks.chunks()[chunk as usize].1 != *length {
                    return Err(Error::integrity(format!("chunk {hash} has two lengths in one image")));
                }
                let is_whole = offset == 0 && u64::from(*length) == size;
                let place = if is_whole { Place::Whole(file) } else { Place::Piece { file, offset } };
                if !self.plan.places.has_room() {
                    return Err(Error::new(
                        ErrorKind::Limit,
                        "the image has more chunks than can be extracted at once",
                    ));
                }
                self.plan.places.add(chunk, place);
                whole |= is_whole;
                self.plan.bytes += u64::from(*length);
                pieces += 1;
            }
            offset = offset.saturating_add(item.length());
            if far {
                rules.list(std::slice::from_ref(item));
            }
            Ok(())
        })?;
        if offset != size {
            let path = show(&row.path);
            return Err(Error::integrity(format!("the pieces of /{path} do not add up to its size")));
        }
        if skipped {
            return Ok(());
        }
        let meta = self.meta(row)?;
        let pieces = (!whole || pieces != 1).then_some((size, pieces));
        self.plan.files.add(path::name(&row.path), directory, meta, pieces);
        Ok(())
    }

    /// An entry that is there, and no directory.
    fn changed(&mut self, row: &Row, make: Make) -> Result<()> {
        if make == Make::Metadata {
            let meta = self.meta(row)?;
            self.plan.changed.push(Changed { path: row.path.clone(), meta });
        }
        Ok(())
    }

    /// The number of the directory that holds `path`; those that are done with are forgotten.
    fn parent(&mut self, path: &[u8]) -> u32 {
        let parent = path::parent(path);
        while self.parents.len() > 1
            && self.parents.last().is_some_and(|&n| self.plan.directories[n as usize].path != parent)
        {
            self.parents.pop();
        }
        self.parents.last().copied().unwrap_or(0)
    }

    fn meta(&mut self, row: &Row) -> Result<Meta> {
        let xattrs = if row.xattrs.is_empty() { 0 } else { self.set(&row.xattrs)? };
        let Row { mode, uid, gid, mtime, inode_flags, .. } = *row;
        Ok(Meta { mode, uid, gid, mtime, xattrs, inode_flags })
    }

    fn set(&mut self, set: &Xattrs) -> Result<u32> {
        if let Some(&n) = self.numbers.get(set) {
            return Ok(n);
        }
        let near = |x: &Xattr| {
            let value = match &x.value {
                Value::Far { length, hash } => Value::Near(self.source.chunk(hash, *length)?),
                near @ Value::Near(_) => near.clone(),
            };
            Ok(Xattr { name: x.name.clone(), value })
        };
        let near = set.iter().map(near).collect::<Result<Vec<_>>>()?;
        let n = self.plan.sets.len() as u32;
        self.plan.sets.push(near.into());
        self.numbers.insert(set.clone(), n);
        Ok(n)
    }

    fn finish(mut self) -> Plan {
        let plan = &mut self.plan;
        plan.files.finish();
        plan.places.settle();
        plan.came = (0..plan.chunks.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        self.plan
    }
}
