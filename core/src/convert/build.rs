//! Entries in any order become an image: what archives bring.
//!
//! The builder holds the tree as it would stand on a disk after the entries so far: a later entry replaces an earlier
//! one of the same name, another name of a file shares its node. Nothing is ever reached through a link.
//!
//! ```text
//!  entries ──> upper ─┐ end of a layer: what is hidden goes, what is above takes the place of what is below
//!            whiteouts ┴─> lower ──> rows ──> pages
//! ```

use crate::error::{Error, Result};
use crate::image::facts::{Peek, facts, id_names};
use crate::image::manifest::{PageRef, Totals};
use crate::image::page::{NEAR_VALUE, PageWriter};
use crate::image::resolve::{Seen, resolve};
use crate::image::row::{DIRECTORY, KIND_MASK, Value, Xattr};
use crate::image::rules::{DROPPED_XATTRS, Rules};
use crate::image::{Content, FormatError, Hash, Kind, Manifest, Row, Xattrs, path};
use crate::job::Task;
use crate::secrets::{Hit, Scan};
use crate::store::content::ChunkPool;
use crate::store::image::each_item;
use crate::store::{ChunkSource, Image, Reason, Session, Store};
use crate::sys::confined::show;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;

/// Most notes that are kept.
const NOTE_LIMIT: usize = 1000;

/// A path in the order of an image.
#[derive(Clone, PartialEq, Eq)]
struct Key(Vec<u8>);

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        path::compare(&self.0, &other.0)
    }
}

/// An entry without its names.
pub(crate) struct Node {
    /// `st_mode` with the kind.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: Xattrs,
    pub(crate) inode_flags: u32,
    pub(crate) kind: Kind,
    /// Bytes of the chunks of a file.
    pub(crate) data: u64,
    /// Secrets in the content of a file.
    pub(crate) secrets: Vec<Hit>,
    /// A directory that no entry described so far.
    pub(crate) implied: bool,
}

impl Node {
    fn directory() -> Self {
        Self {
            mode: DIRECTORY | 0o755,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: [].into(),
            inode_flags: 0,
            kind: Kind::Directory,
            data: 0,
            secrets: Vec::new(),
            implied: true,
        }
    }

    fn is_directory(&self) -> bool {
        self.mode & KIND_MASK == DIRECTORY
    }
}

/// What a manifest says beside the tree.
pub(crate) struct About {
    pub(crate) policy: serde_json::Value,
    /// A fact that the tree itself does not tell.
    pub(crate) fact: Option<(&'static str, serde_json::Value)>,
}

/// A tree that is built.
pub(crate) struct Builder {
    nodes: Vec<Node>,
    /// Names of the layer that is built; without layers, of the tree.
    names: BTreeMap<Key, usize>,
    /// Names of the layers before it.
    lower: BTreeMap<Key, usize>,
    /// What the layer hides of those before it.
    hidden: Vec<Hidden>,
    sets: HashSet<Xattrs>,
    exact: bool,
    scan: Scan,
    /// Directories that no entry describes.
    pub(crate) implied: u64,
    /// Entries that took the place of earlier ones.
    pub(crate) replaced: u64,
    /// Entries of a layer that a later one removed.
    pub(crate) removed: u64,
    pub(crate) notes: Vec<String>,
}

/// What a layer hides of the layers before it.
struct Hidden {
    path: Vec<u8>,
    /// Only what is in the directory; else the entry itself, too.
    inside: bool,
}

/// The rows of a finished tree.
pub(crate) struct Built {
    pub(crate) pages: Vec<PageRef>,
    pub(crate) totals: Totals,
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
}

fn unsafe_entry(path: &[u8], rule: &'static str) -> Error {
    FormatError::Unsafe { path: show(&path[..path.len().min(512)]).into_owned(), rule }.into()
}

impl Builder {
    /// An empty tree. `exact` keeps attributes that are bound to a machine.
    pub(crate) fn new(exact: bool) -> Self {
        Self {
            nodes: Vec::new(),
            names: BTreeMap::new(),
            lower: BTreeMap::new(),
            hidden: Vec::new(),
            sets: HashSet::new(),
            exact,
            scan: Scan::default(),
            implied: 0,
            replaced: 0,
            removed: 0,
            notes: Vec::new(),
        }
    }

    fn node(&self, path: &[u8]) -> Option<&Node> {
        // A `Key` to look up with costs an allocation, which is little next to what an entry costs anyhow.
        self.names.get(&Key(path.to_vec())).map(|&n| &self.nodes[n])
    }

    /// Adds an entry; one of the same name gives way. `charge` is asked for the directories above it that have to be
    /// made, with their number and the bytes of their paths, before they are: a short name may be very deep.
    pub(crate) fn add(&mut self, path: &[u8], node: Node, charge: impl FnOnce(u64, u64) -> Result<()>) -> Result<()> {
        path::check(path)?;
        if path.is_empty() && !node.is_directory() {
            return Err(unsafe_entry(path, "the root is a directory"));
        }
        self.parents(path, charge)?;
        if node.is_directory()
            && let Some(&n) = self.names.get(&Key(path.to_vec()))
            && self.nodes[n].is_directory()
        {
            self.implied -= u64::from(self.nodes[n].implied);
            self.nodes[n] = node;
            return Ok(());
        }
        self.make_room(path)?;
        self.names.insert(Key(path.to_vec()), self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    /// Gives the entry at `target` another name; `charge` as for [`Builder::add`].
    pub(crate) fn link(
        &mut self,
        path: &[u8],
        target: &[u8],
        charge: impl FnOnce(u64, u64) -> Result<()>,
    ) -> Result<()> {
        path::check(path)?;
        let key = Key(target.to_vec());
        let Some(&n) = self.names.get(&key).or_else(|| self.lower.get(&key)) else {
            return Err(unsafe_entry(path, "a hard link leads to an entry that came before"));
        };
        if self.nodes[n].is_directory() {
            return Err(unsafe_entry(path, "a hard link does not lead to a directory"));
        }
        if path == target {
            return Ok(());
        }
        self.parents(path, charge)?;
        self.make_room(path)?;
        self.names.insert(Key(path.to_vec()), n);
        Ok(())
    }

    /// Whatever stands at `path` gives way, unless it is a directory with entries.
    fn make_room(&mut self, path: &[u8]) -> Result<()> {
        let Some(old) = self.node(path) else { return Ok(()) };
        if old.is_directory() {
            let next = self.names.range((Bound::Excluded(Key(path.to_vec())), Bound::Unbounded));
            if path.is_empty() || next.take(1).any(|(k, _)| beneath(&k.0, path)) {
                return Err(unsafe_entry(path, "a directory with entries does not give way to something else"));
            }
        }
        self.implied -= u64::from(old.implied);
        self.replaced += 1;
        self.names.remove(&Key(path.to_vec()));
        Ok(())
    }

    /// The directories above an entry: what is no directory is an error, what is missing is made.
    fn parents(&mut self, path: &[u8], charge: impl FnOnce(u64, u64) -> Result<()>) -> Result<()> {
        let mut missing = Vec::new();
        let mut at = path;
        while !at.is_empty() {
            at = path::parent(at);
            match self.node(at) {
                Some(n) if n.is_directory() => break,
                Some(_) => return Err(unsafe_entry(path, "the parent of an entry is a directory")),
                None => missing.push(at),
            }
        }
        charge(missing.len() as u64, missing.iter().map(|dir| dir.len() as u64).sum())?;
        for dir in missing {
            self.implied += 1;
            self.names.insert(Key(dir.to_vec()), self.nodes.len());
            self.nodes.push(Node::directory());
        }
        Ok(())
    }

    /// Begins a layer over what there is so far.
    pub(crate) fn begin_layer(&mut self) {
        self.lower = std::mem::take(&mut self.names);
    }

    /// The layer hides what stands at `path` in the layers before it; with `inside` only what is in that directory.
    pub(crate) fn hide(&mut self, path: Vec<u8>, inside: bool) -> Result<()> {
        path::check(&path)?;
        self.hidden.push(Hidden { path, inside });
        Ok(())
    }

    /// Lays the layer over those before it.
    pub(crate) fn end_layer(&mut self) -> Result<()> {
        let (upper, mut tree) = (std::mem::take(&mut self.names), std::mem::take(&mut self.lower));
        for Hidden { path, inside } in std::mem::take(&mut self.hidden) {
            self.removed += remove(&mut tree, &path, !inside);
        }
        for (key, n) in upper {
            let new = &self.nodes[n];
            if let Some(old) = tree.get(&key).map(|&old| &self.nodes[old]) {
                match (old.is_directory(), new.is_directory()) {
                    // The layer says nothing of it, but has entries in it.
                    (true, true) if new.implied => continue,
                    (false, true) if new.implied => {
                        return Err(unsafe_entry(&key.0, "the parent of an entry is a directory"));
                    }
                    (true, true) => {}
                    (true, false) => self.removed += remove(&mut tree, &key.0, true),
                    (false, _) => self.replaced += 1,
                }
            }
            tree.insert(key, n);
        }
        self.implied = tree.values().filter(|&&n| self.nodes[n].implied).count() as u64;
        self.names = tree;
        Ok(())
    }

    /// Whether the tree has an entry of this path.
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        self.node(path).is_some()
    }

    /// The attributes of an entry; those that would act or belong elsewhere are left out, and noted.
    pub(crate) fn xattrs(
        &mut self,
        path: &[u8],
        list: Vec<(Vec<u8>, Vec<u8>)>,
        pool: &mut ChunkPool<'_>,
    ) -> Result<Xattrs> {
        if list.is_empty() {
            return Ok([].into());
        }
        let mut set = Vec::with_capacity(list.len());
        for (name, value) in list {
            let dropped = DROPPED_XATTRS.iter().find(|(front, _)| name.starts_with(front));
            if let Some((_, why)) = dropped.filter(|_| !self.exact) {
                self.note(format!("/{}: attribute {} left out: {why}", show(path), show(&name)));
                continue;
            }
            let value = if value.len() > NEAR_VALUE {
                Value::Far { length: value.len() as u32, hash: pool.put(&value)? }
            } else {
                Value::Near(value)
            };
            set.push(Xattr { name, value });
        }
        set.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let set: Xattrs = set.into();
        if let Some(shared) = self.sets.get(&set) {
            return Ok(shared.clone());
        }
        self.sets.insert(set.clone());
        Ok(set)
    }

    pub(crate) fn note(&mut self, note: String) {
        if self.notes.len() < NOTE_LIMIT {
            self.notes.push(note);
        }
    }

    /// What looks at each file while it is read.
    pub(crate) fn scan_mut(&mut self) -> &mut Scan {
        &mut self.scan
    }

    /// The files in which secrets were found, in the order of their first names.
    pub(crate) fn secrets(&self) -> Vec<(&[u8], &[Hit])> {
        let mut told = HashSet::new();
        let named = self.names.iter().map(|(key, &n)| (key.0.as_slice(), n));
        let found = named.filter(|(_, n)| !self.nodes[*n].secrets.is_empty());
        found.filter(|(_, n)| told.insert(*n)).map(|(path, n)| (path, self.nodes[n].secrets.as_slice())).collect()
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> u64 {
        self.names.len() as u64
    }

    /// Ends the tree: rows become pages.
    pub(crate) fn rows(&mut self, pool: &mut ChunkPool<'_>, task: &Task) -> Result<Built> {
        if !self.names.contains_key(&Key(Vec::new())) {
            self.parents(b"x", |_, _| Ok(()))?;
        }
        // Nodes with several names, and the group that the first of them names.
        let mut count = vec![0u32; self.nodes.len()];
        self.names.values().for_each(|&n| count[n] = count[n].saturating_add(1));
        let mut groups = HashMap::new();
        let mut out =
            Built { pages: Vec::new(), totals: Totals::default(), users: BTreeSet::new(), groups: BTreeSet::new() };
        let (mut pages, mut rules, mut far) = (PageWriter::default(), Rules::default(), 0u64);
        for (i, (key, &n)) in self.names.iter().enumerate() {
            if i % 4096 == 0 {
                task.check()?;
            }
            let node = &self.nodes[n];
            let linked = count[n] > 1;
            let group = linked.then(|| *groups.entry(n).or_insert_with(|| Hash::of(&key.0).half()));
            let row = Row {
                path: key.0.clone(),
                mode: node.mode,
                uid: node.uid,
                gid: node.gid,
                mtime: node.mtime,
                xattrs: node.xattrs.clone(),
                inode_flags: node.inode_flags,
                torn: false,
                group,
                kind: node.kind.clone(),
            };
            let counts = rules.row(&row)?;
            if counts && matches!(row.kind, Kind::File { content: Content::Far { .. }, .. }) {
                far = far.saturating_add(node.data);
            }
            out.users.insert(row.uid);
            out.groups.insert(row.gid);
            if let Some(page) = pages.add(&row)? {
                store(page, &mut out.pages, pool)?;
            }
        }
        if let Some(page) = pages.finish() {
            store(page, &mut out.pages, pool)?;
        }
        out.totals = rules.finish()?;
        out.totals.data = out.totals.data.saturating_add(far);
        Ok(out)
    }

    /// Publishes the tree, whose chunks must be durable, unless it equals the newest generation. True when it did not.
    pub(crate) fn publish(
        &self,
        session: &Session,
        name: &str,
        built: Built,
        about: About,
        expect: Option<u64>,
    ) -> Result<(Image, bool)> {
        let store = session.store();
        let newest = store.base(name)?;
        if let Some(same) = newest.as_ref().filter(|n| n.manifest().pages == built.pages)
            && let Some(release) = same.release()
            && store.has_signed(release)?
        {
            return Ok((same.clone(), false));
        }
        let peek = Finished { builder: self, store };
        let mut facts = facts(&peek);
        if let (Some(facts), Some((key, value))) = (facts.as_object_mut(), about.fact) {
            facts.insert(key.to_owned(), value);
        }
        let manifest = Manifest {
            facts: Some(facts),
            names: Some(id_names(&peek, &built.users, &built.groups)),
            pages: built.pages,
            totals: built.totals,
            policy: Some(about.policy),
            parent: newest.as_ref().map(Image::id),
            layout: None,
        };
        Ok((session.publish_tagged(name, &manifest, Reason::Import, expect, None)?, true))
    }
}

/// Removes what is beneath `path`, and with `itself` the entry, too. Says how many entries that were.
fn remove(tree: &mut BTreeMap<Key, usize>, path: &[u8], itself: bool) -> u64 {
    let from = Key(path.to_vec());
    let range = (if itself { Bound::Included(from) } else { Bound::Excluded(from) }, Bound::Unbounded);
    let of = |k: &Key| path.is_empty() || k.0 == path || beneath(&k.0, path);
    let gone: Vec<Key> = tree.range(range).map(|(k, _)| k).take_while(|k| of(k)).cloned().collect();
    gone.iter().for_each(|k| {
        tree.remove(k);
    });
    gone.len() as u64
}

fn beneath(path: &[u8], dir: &[u8]) -> bool {
    path.starts_with(dir) && path.get(dir.len()) == Some(&b'/')
}

fn store(page: crate::image::page::Page, pages: &mut Vec<PageRef>, pool: &mut ChunkPool<'_>) -> Result<()> {
    let hash = pool.put(&page.bytes)?;
    pages.push(PageRef { first: page.first, hash, rows: page.rows as u32, bytes: page.bytes.len() as u32 });
    Ok(())
}

/// A finished tree that can be asked for its facts.
struct Finished<'b> {
    builder: &'b Builder,
    store: &'b Store,
}

impl Finished<'_> {
    fn find(&self, path: &[u8]) -> Option<(Vec<u8>, &Node)> {
        let mut look = |p: &[u8]| {
            Ok::<_, ()>(match self.builder.node(p).map(|n| &n.kind) {
                None => Seen::Absent,
                Some(Kind::Directory) => Seen::Directory,
                Some(Kind::Link(target)) => Seen::Link(target.clone()),
                Some(_) => Seen::Other("an entry"),
            })
        };
        let at = resolve(path, true, &mut look).ok()?;
        let node = self.builder.node(&at)?;
        Some((at, node))
    }
}

impl Peek for Finished<'_> {
    fn read(&self, path: &[u8], limit: u64) -> Option<Vec<u8>> {
        let (_, Node { kind: Kind::File { content, .. }, .. }) = self.find(path)? else { return None };
        let mut out = Vec::new();
        let done = each_item(self.store, content, |item| {
            if let crate::image::Item::Chunk { hash, length } = item {
                out.extend(self.store.chunk(hash, *length)?);
            }
            if out.len() as u64 >= limit { Err(Error::cancelled()) } else { Ok(()) }
        });
        out.truncate(limit as usize);
        (done.is_ok() || out.len() as u64 == limit).then_some(out)
    }

    fn names(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let Some((at, node)) = self.find(path) else { return Vec::new() };
        if !node.is_directory() {
            return Vec::new();
        }
        let all = self.builder.names.range(Key(at.clone())..).skip(1);
        let inside = all.take_while(|(k, _)| at.is_empty() || beneath(&k.0, &at));
        inside.filter(|(k, _)| path::parent(&k.0) == at).map(|(k, _)| path::name(&k.0).to_vec()).collect()
    }

    fn exists(&self, path: &[u8]) -> bool {
        self.find(path).is_some()
    }
}
