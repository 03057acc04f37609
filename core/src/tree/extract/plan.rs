//! Where every byte of every chunk belongs; kept small, about 110 bytes a file.

use crate::error::{Error, Result};
use crate::image::row::{Group, Kind, Row, Value, Xattr, Xattrs};
use crate::image::rules::Rules;
use crate::image::{ChunkSet, Content, Item, path};
use crate::job::Task;
use crate::store::image::each_item;
use crate::store::{ChunkSource, Image};
use crate::sys::confined::show;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Owner, mode, time, attributes and flags of an entry.
#[derive(Clone, Copy, Debug)]
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

/// A regular file under its first name.
pub(in crate::tree) struct File {
    name_at: u32,
    name_len: u8,
    pub(in crate::tree) directory: u32,
    pub(in crate::tree) meta: Meta,
    pub(in crate::tree) size: u64,
    /// Chunks that have still to be written.
    pub(in crate::tree) left: AtomicU32,
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

/// A place where a chunk belongs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::tree) struct Use {
    chunk: u32,
    pub(in crate::tree) file: u32,
    pub(in crate::tree) offset: u64,
}

/// The whole plan.
pub(in crate::tree) struct Plan {
    pub(in crate::tree) directories: Vec<Directory>,
    pub(in crate::tree) files: Vec<File>,
    pub(in crate::tree) others: Vec<Other>,
    pub(in crate::tree) changed: Vec<Changed>,
    pub(in crate::tree) chunks: ChunkSet,
    pub(in crate::tree) bytes: u64,
    names: Vec<u8>,
    uses: Vec<Use>,
    /// First use of each chunk.
    first: Vec<u32>,
    /// One bit for each chunk: it has come.
    came: Vec<AtomicU64>,
    sets: Vec<Xattrs>,
}

impl Plan {
    /// The plan of the whole image.
    pub(in crate::tree) fn make(image: &Image, source: &dyn ChunkSource, task: &Task) -> Result<Self> {
        Self::of(image, source, task, &mut |_, _| Ok(Make::New))
    }

    /// The plan of the rows that `choose` wants made; it also hears whether a row's content counts, because it is no
    /// further name of a file. All rows are checked.
    pub(in crate::tree) fn of(
        image: &Image,
        source: &dyn ChunkSource,
        task: &Task,
        choose: &mut dyn FnMut(&Row, bool) -> Result<Make>,
    ) -> Result<Self> {
        let mut b = Builder {
            plan: Self {
                directories: Vec::new(),
                files: Vec::new(),
                others: Vec::new(),
                changed: Vec::new(),
                chunks: ChunkSet::default(),
                bytes: 0,
                names: Vec::new(),
                uses: Vec::new(),
                first: Vec::new(),
                came: Vec::new(),
                sets: vec![[].into()],
            },
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

    pub(in crate::tree) fn name(&self, file: &File) -> &[u8] {
        &self.names[file.name_at as usize..][..file.name_len as usize]
    }

    pub(in crate::tree) fn path(&self, file: &File) -> Vec<u8> {
        let directory = &self.directories[file.directory as usize].path;
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        [directory, slash, self.name(file)].concat()
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

    /// Where a chunk belongs.
    pub(in crate::tree) fn uses(&self, chunk: u32) -> &[Use] {
        let (from, to) = (self.first[chunk as usize], self.first[chunk as usize + 1]);
        &self.uses[from as usize..to as usize]
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
        let file = self.plan.files.len() as u32;
        let (mut offset, mut pieces) = (0u64, 0u32);
        each_item(self.source, content, |item| {
            if let Item::Chunk { length, hash } = item
                && !skipped
            {
                let chunk = self.plan.chunks.insert(*hash, *length);
                if self.plan.chunks.chunks()[chunk as usize].1 != *length {
                    return Err(Error::integrity(format!("chunk {hash} has two lengths in one image")));
                }
                self.plan.uses.push(Use { chunk, file, offset });
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
        let name = path::name(&row.path);
        let name_at = self.plan.names.len() as u32;
        self.plan.names.extend_from_slice(name);
        let (name_len, left, meta) = (name.len() as u8, AtomicU32::new(pieces), self.meta(row)?);
        self.plan.files.push(File { name_at, name_len, directory, meta, size, left });
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
        plan.uses.sort_unstable();
        plan.first = Vec::with_capacity(plan.chunks.len() + 1);
        let mut at = 0;
        for chunk in 0..plan.chunks.len() as u32 {
            plan.first.push(at);
            at += plan.uses[at as usize..].iter().take_while(|u| u.chunk == chunk).count() as u32;
        }
        plan.first.push(at);
        plan.came = (0..plan.chunks.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        self.plan
    }
}
