//! The tree as it will be: what actions change, in memory, over the root as it is.

use super::action::FILE_LIMIT;
use super::{ConfigError, display, failed};
use crate::error::{Error, Result};
use crate::image::resolve::{Seen, Stuck, resolve};
use crate::sys::confined::{Links, Root, split};
use crate::sys::xattr::{self, Of, Xattr};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::AsFd;

/// What stands at a name of the root, or is to stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Absent,
    Directory,
    File(File),
    Link(Vec<u8>),
    /// A device, FIFO or socket: never touched.
    Other(&'static str),
}

/// A regular file. What is `None` in a new one is decided when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// `None` for a file over the limit, which is neither edited nor equal to anything.
    pub(super) content: Option<Vec<u8>>,
    pub(super) mode: u32,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) xattrs: Option<Vec<Xattr>>,
}

/// A name whose node is not what it was.
pub(super) struct Change {
    pub(super) path: Vec<u8>,
    pub(super) existed: bool,
    pub(super) after: Node,
}

/// How the name stands after all actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Same,
    New,
    Different,
}

struct Entry {
    before: Node,
    after: Node,
}

pub(super) struct Draft<'r> {
    root: &'r Root,
    entries: BTreeMap<Vec<u8>, Entry>,
    touched: BTreeSet<Vec<u8>>,
}

impl<'r> Draft<'r> {
    pub(super) fn new(root: &'r Root) -> Self {
        Self { root, entries: BTreeMap::new(), touched: BTreeSet::new() }
    }

    /// The name without links that `path`, absolute, leads to; see [`resolve`].
    ///
    /// `openat2` can follow links, too, but it gives an open file, not a name, and knows nothing of the links that an
    /// earlier action is going to make. All work is done on the name, with links refused: one that is slipped in
    /// meanwhile is an error.
    pub(super) fn resolve(&self, path: &[u8], follow: bool) -> Result<Vec<u8>> {
        resolve(path, follow, &mut |p| self.look(p)).map_err(|e| match e {
            Stuck::Loop => ConfigError::Unsafe { path: display(path), rule: "its links do not end" }.into(),
            Stuck::NotDirectory(at, found) => {
                ConfigError::Kind { path: display(&at), found, wanted: "a directory" }.into()
            }
            Stuck::Look(e) => e,
        })
    }

    fn look(&self, path: &[u8]) -> Result<Seen> {
        if let Some(entry) = self.entries.get(path) {
            return Ok(match &entry.after {
                Node::Absent => Seen::Absent,
                Node::Directory => Seen::Directory,
                Node::Link(target) => Seen::Link(target.clone()),
                Node::File(_) => Seen::Other("a file"),
                Node::Other(what) => Seen::Other(what),
            });
        }
        let Some(stat) = self.lstat(path)? else { return Ok(Seen::Absent) };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Seen::Directory,
            FileType::Symlink => Seen::Link(self.read_link(path)?),
            FileType::RegularFile => Seen::Other("a file"),
            other => Seen::Other(describe(other)),
        })
    }

    /// The node at a resolved name, as the actions so far leave it.
    pub(super) fn node(&mut self, path: &[u8]) -> Result<&Node> {
        if !self.entries.contains_key(path) {
            let before = self.load(path)?;
            self.entries.insert(path.to_vec(), Entry { after: before.clone(), before });
        }
        Ok(self.entries.get(path).map_or(&Node::Absent, |e| &e.after))
    }

    /// The content of the file that `path` leads to, with its resolved name; `None` where there is none.
    pub(super) fn read(&mut self, path: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let at = self.resolve(path, true)?;
        let content = match self.node(&at)? {
            Node::File(File { content: Some(c), .. }) => Some(c.clone()),
            Node::File(_) => return Err(ConfigError::Limit { what: display(&at), limit: FILE_LIMIT }.into()),
            Node::Absent | Node::Link(_) => None,
            Node::Directory => return Err(wrong(&at, "a directory")),
            Node::Other(what) => return Err(wrong(&at, what)),
        };
        Ok((at, content))
    }

    /// Gives the file at a resolved name this content; what is `None` stays, or is the default of a new file.
    pub(super) fn put_file(
        &mut self,
        at: &[u8],
        content: Vec<u8>,
        mode: Option<u32>,
        (uid, gid): (Option<u32>, Option<u32>),
    ) -> Result<()> {
        let mut file = match self.node(at)? {
            Node::File(old) => old.clone(),
            Node::Absent | Node::Link(_) => File { content: None, mode: 0o644, owner: None, xattrs: None },
            Node::Directory => return Err(wrong(at, "a directory")),
            Node::Other(what) => return Err(wrong(at, what)),
        };
        file.content = Some(content);
        file.mode = mode.unwrap_or(file.mode);
        if uid.is_some() || gid.is_some() {
            let (u, g) = file.owner.unwrap_or_else(caller);
            file.owner = Some((uid.unwrap_or(u), gid.unwrap_or(g)));
        }
        self.put(at, Node::File(file))
    }

    /// Makes the resolved name a link with this text.
    pub(super) fn put_link(&mut self, at: &[u8], target: &[u8]) -> Result<()> {
        match self.node(at)? {
            Node::Directory => return Err(wrong(at, "a directory")),
            Node::Other(what) => return Err(wrong(at, what)),
            _ => {}
        }
        self.put(at, Node::Link(target.to_vec()))
    }

    /// Says that an action is about this name although it leaves it alone.
    pub(super) fn touch(&mut self, at: &[u8]) {
        self.touched.insert(at.to_vec());
    }

    fn put(&mut self, at: &[u8], node: Node) -> Result<()> {
        if self.node(at)? != &node {
            self.directory(split(at).0)?;
            if let Some(entry) = self.entries.get_mut(at) {
                entry.after = node;
            }
        }
        self.touch(at);
        Ok(())
    }

    /// Sees to it that a directory is there, with its parents.
    fn directory(&mut self, at: &[u8]) -> Result<()> {
        if at.is_empty() || self.look(at)? == Seen::Directory {
            return Ok(());
        }
        self.directory(split(at).0)?;
        self.node(at)?;
        if let Some(entry) = self.entries.get_mut(at) {
            entry.after = Node::Directory;
        }
        Ok(())
    }

    /// The names that were touched since the last call.
    pub(super) fn take_touched(&mut self) -> BTreeSet<Vec<u8>> {
        std::mem::take(&mut self.touched)
    }

    pub(super) fn fate(&self, at: &[u8]) -> Fate {
        match self.entries.get(at) {
            Some(e) if e.before == Node::Absent && e.after != Node::Absent => Fate::New,
            Some(e) if e.before != e.after => Fate::Different,
            _ => Fate::Same,
        }
    }

    /// What differs from the root, parents before children.
    pub(super) fn into_changes(self) -> Vec<Change> {
        let changed = self.entries.into_iter().filter(|(_, e)| e.before != e.after);
        changed.map(|(path, e)| Change { path, existed: e.before != Node::Absent, after: e.after }).collect()
    }

    fn lstat(&self, path: &[u8]) -> Result<Option<Stat>> {
        match self.root.lstat(path, Links::Refuse) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(failed("look at", path, e)),
        }
    }

    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>> {
        let (dir, name) =
            self.root.parent(path, Links::Refuse).map_err(|e| failed("open the directory of", path, e))?;
        let target = rustix::fs::readlinkat(&dir, name, Vec::new()).map_err(|e| failed("read the link", path, e))?;
        Ok(target.into_bytes())
    }

    fn load(&self, path: &[u8]) -> Result<Node> {
        let Some(stat) = self.lstat(path)? else { return Ok(Node::Absent) };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Node::Directory),
            FileType::Symlink => Ok(Node::Link(self.read_link(path)?)),
            FileType::RegularFile => self.load_file(path),
            other => Ok(Node::Other(describe(other))),
        }
    }

    fn load_file(&self, path: &[u8]) -> Result<Node> {
        let io = |e: Errno| failed("read", path, e);
        // Nothing but a regular file stood here a moment ago; should a FIFO have come, it does not block.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.root.open_at(path, flags, Mode::empty(), Links::Refuse).map_err(io)?;
        let stat = rustix::fs::fstat(&fd).map_err(io)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::RegularFile {
            return Err(wrong(path, describe(kind)));
        }
        let xattrs = xattr::list(Of::Open(fd.as_fd())).map_err(io)?;
        let mut content = Vec::new();
        std::fs::File::from(fd)
            .take(FILE_LIMIT + 1)
            .read_to_end(&mut content)
            .map_err(|e| Error::io("read", display(path), e))?;
        Ok(Node::File(File {
            content: Some(content).filter(|c| c.len() as u64 <= FILE_LIMIT),
            mode: stat.st_mode & 0o7777,
            owner: Some((stat.st_uid, stat.st_gid)),
            xattrs: Some(xattrs),
        }))
    }

    /// The names in a directory; none where there is no directory.
    pub(super) fn names(&self, dir: &[u8]) -> Result<BTreeSet<Vec<u8>>> {
        let mut names = BTreeSet::new();
        for (path, entry) in &self.entries {
            let (parent, name) = split(path);
            if parent == dir && entry.after != Node::Absent {
                names.insert(name.to_vec());
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let io = |e: Errno| failed("list", dir, e);
        let fd = match self.root.open_at(dir, flags, Mode::empty(), Links::Refuse) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(names),
            Err(e) => return Err(io(e)),
        };
        for entry in rustix::fs::Dir::new(fd).map_err(io)? {
            let name = entry.map_err(io)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.insert(name);
            }
        }
        Ok(names)
    }
}

/// Owner of what is made without one: whoever runs this, root in a deployment.
pub(super) fn caller() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn wrong(path: &[u8], found: &'static str) -> Error {
    ConfigError::Kind { path: display(path), found, wanted: "a file" }.into()
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Symlink => "a link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something unknown",
    }
}
