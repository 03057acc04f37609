//! Rows become pages, in order: old rows where nothing changed, new ones where something was read.

use super::CaptureOptions;
use super::cache::Seen;
use super::contents::Contents;
use super::plan::{OldRows, Plan, is_linked, row_mtime, row_size};
use crate::error::Result;
use crate::image::Hash;
use crate::image::manifest::{PageRef, Totals};
use crate::image::page::{Page, PageWriter};
use crate::image::row::{Content, Group, Kind, Row};
use crate::image::rules::data_bytes;
use crate::job::Task;
use crate::secrets::Hit;
use crate::store::image::each_item;
use crate::store::{ChunkWriter, Image, Session};
use crate::tree::entry::EMPTIED;
use crate::tree::{Entry, Tree};
use std::collections::{BTreeSet, HashMap};

/// What the rows came to.
#[derive(Default)]
pub(super) struct Emitted {
    pub(super) pages: Vec<PageRef>,
    pub(super) totals: Totals,
    pub(super) seen: Vec<Seen>,
    /// Secrets by row.
    pub(super) found: Vec<(u32, Hit)>,
    pub(super) users: BTreeSet<u32>,
    pub(super) groups: BTreeSet<u32>,
}

#[allow(clippy::too_many_arguments)]
pub(super) fn emit(
    tree: &Tree,
    order: &[u32],
    plan: &Plan,
    read: &Contents,
    found: &HashMap<u32, Vec<Hit>>,
    parent: Option<&Image>,
    session: &Session,
    options: &CaptureOptions,
    task: &Task,
) -> Result<Emitted> {
    let links = links(tree, order, read);
    let mut old = OldRows::new(parent.filter(|_| plan.kept.contains(&true)));
    let mut out = Emitted::default();
    let mut pages = PageWriter::default();
    let mut chunks = ChunkWriter::new(session, options.level)?;
    let mut path = Vec::new();
    let mut groups_seen: HashMap<Group, Row> = HashMap::new();
    for (i, &n) in order.iter().enumerate() {
        if i % 4096 == 0 {
            task.check()?;
        }
        if read.vanished.contains(&n) || beneath_vanished(tree, n, read) {
            continue;
        }
        let entry = read.fresh.get(&n).copied().unwrap_or(*tree.entry(n));
        tree.path_into(n, &mut path);
        let kept = plan.kept[n as usize];
        let mut row = match if kept { old.find(&path)? } else { None } {
            Some((_, row)) => row.clone(),
            None => new_row(n, &path, &entry, tree, read),
        };
        row.group = links.get(&entry.ino).filter(|_| is_linked(tree.entry(n))).copied();
        // All names of one file say the same, even where it changed between the reading of two of them.
        let mut counts = true;
        if let Some(group) = row.group {
            match groups_seen.get(&group) {
                Some(first) => {
                    row = Row { path: std::mem::take(&mut row.path), ..first.clone() };
                    counts = false;
                }
                None => {
                    groups_seen.insert(group, Row { path: Vec::new(), ..row.clone() });
                }
            }
        }
        count(&mut out.totals, &row, counts, read.far_data(n), parent)?;
        out.users.insert(row.uid);
        out.groups.insert(row.gid);
        if let Some(hits) = found.get(&n) {
            let at = out.seen.len() as u32;
            out.found.extend(hits.iter().map(|hit| (at, *hit)));
        }
        out.seen.push(if row.torn { Seen::default() } else { Seen::of(&entry) });
        if let Some(page) = pages.add(&row)? {
            store_page(page, &mut out.pages, &mut chunks)?;
        }
    }
    if let Some(page) = pages.finish() {
        store_page(page, &mut out.pages, &mut chunks)?;
    }
    out.totals.groups = groups_seen.len() as u64;
    // Of an unchanged tree every page is known, and nothing is written.
    chunks.close()?;
    Ok(out)
}

/// An entry whose directory vanished while the tree was read has no place any more.
fn beneath_vanished(tree: &Tree, n: u32, read: &Contents) -> bool {
    if read.vanished.is_empty() {
        return false;
    }
    let mut at = n;
    while at != 0 {
        at = tree.entry(at).parent;
        if read.vanished.contains(&at) {
            return true;
        }
    }
    false
}

/// The hard link groups: inode → name of the group, for inodes with several names in the tree.
fn links(tree: &Tree, order: &[u32], read: &Contents) -> HashMap<u64, Group> {
    let mut first: HashMap<u64, (u32, bool)> = HashMap::new();
    for &n in order {
        let e = tree.entry(n);
        if !is_linked(e) || read.vanished.contains(&n) || beneath_vanished(tree, n, read) {
            continue;
        }
        let key = read.fresh.get(&n).map_or(e.ino, |f| f.ino);
        first.entry(key).and_modify(|(_, several)| *several = true).or_insert((n, false));
    }
    let several = first.into_iter().filter(|(_, (_, several))| *several);
    several.map(|(ino, (n, _))| (ino, Hash::of(&tree.path(n)).half())).collect()
}

fn new_row(n: u32, path: &[u8], e: &Entry, tree: &Tree, read: &Contents) -> Row {
    let emptied = tree.entry(n).has(EMPTIED);
    let kind = if e.is_file() {
        let content = if emptied { Content::empty() } else { read.content(n) };
        Kind::File { size: row_size(e), content }
    } else if e.is_directory() {
        Kind::Directory
    } else if e.is_link() {
        Kind::Link(read.target(n))
    } else if let Some((major, minor)) = e.device() {
        Kind::Device { major, minor }
    } else {
        Kind::Fifo
    };
    Row {
        path: path.to_vec(),
        mode: u32::from(e.mode),
        uid: e.uid,
        gid: e.gid,
        mtime: row_mtime(e),
        xattrs: read.xattrs(n),
        inode_flags: e.inode_flags(),
        torn: read.torn.contains(&n),
        group: None,
        kind,
    }
}

fn store_page(page: Page, pages: &mut Vec<PageRef>, chunks: &mut ChunkWriter<'_>) -> Result<()> {
    let hash = chunks.put(&page.bytes)?;
    pages.push(PageRef { first: page.first, hash, rows: page.rows as u32, bytes: page.bytes.len() as u32 });
    Ok(())
}

fn count(t: &mut Totals, row: &Row, counts: bool, far: Option<u64>, parent: Option<&Image>) -> Result<()> {
    t.rows += 1;
    match &row.kind {
        Kind::Directory => t.directories += 1,
        Kind::Link(_) => t.links += 1,
        Kind::Device { .. } | Kind::Fifo => t.special += 1,
        Kind::File { size, content } => {
            t.files += 1;
            if counts {
                t.size += size;
                t.data += data(content, far, parent)?;
            }
        }
    }
    Ok(())
}

/// Bytes of the chunks of a file. What is not in the row is in the lists of the parent image.
fn data(content: &Content, far: Option<u64>, parent: Option<&Image>) -> Result<u64> {
    match (content, far, parent) {
        (Content::Near(items), _, _) => Ok(data_bytes(items)),
        (Content::Far { .. }, Some(data), _) => Ok(data),
        (Content::Far { .. }, None, Some(parent)) => {
            let mut sum = 0;
            each_item(parent.store(), content, |i| {
                sum += data_bytes(std::slice::from_ref(i));
                Ok(())
            })?;
            Ok(sum)
        }
        (Content::Far { .. }, None, None) => Ok(0),
    }
}
