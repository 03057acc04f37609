//! What differs between an image and a tree on disk, in the shape of the difference of two images: as if the tree had
//! been captured, but nothing is stored.

use super::entry::{EMPTIED, LINKED};
use super::examine::{Look, examine};
use super::extract;
use super::history::Earlier;
use super::mounts::Mounts;
use super::seen::{Examined, Fields, Found, Seen};
use super::select::Selection;
use super::update::protect::Protection;
use crate::error::Result;
use crate::event::Unit;
use crate::image::row::{Group, Row};
use crate::image::{Hash, path};
use crate::job::Task;
use crate::store::{Change, ChangeKind, ChunkSource, Field, Image};
use crate::tree::walk::Choice;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// How to compare.
#[derive(Clone, Debug, Default)]
pub struct DiffOptions {
    /// The rules of a capture leave nothing out.
    pub exact: bool,
    /// More that is the node's own; patterns as in `.gitignore`, from the root of the tree.
    pub protect: Vec<String>,
    /// Threads; 0 is one for each core.
    pub threads: usize,
}

/// A path that image and tree do not have alike; what only the tree has is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeChange {
    /// What differs.
    pub change: Change,
    /// Why an update would leave it alone: it is the node's own.
    pub kept: Option<&'static str>,
}

impl TreeChange {
    /// As the JSON object that every skin hands out: `{path, kind, fields}`, and `kept` where that is said.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut out = self.change.to_json();
        if let Some(why) = self.kept {
            out["kept"] = why.into();
        }
        out
    }
}

impl Image {
    /// What differs between the image and the tree at `dir`, in path order. Content is compared byte by byte. What a
    /// capture leaves out is left out here, and so are other filesystems that an image leaves alone.
    ///
    /// # Errors
    /// `NotFound` and `Invalid` when there is no such directory; `Io` when an entry cannot be read; `Integrity` when
    /// the image is damaged; `Cancelled`.
    pub fn diff_tree(&self, dir: impl AsRef<Path>, options: &DiffOptions, task: &Task) -> Result<Vec<TreeChange>> {
        diff(self, self.store(), dir.as_ref(), options, task)
    }
}

/// What differs between `image`, whose chunks come from `source`, and the tree at `dir`.
///
/// # Errors
/// As [`Image::diff_tree`].
pub fn diff(
    image: &Image,
    source: &dyn ChunkSource,
    dir: &Path,
    options: &DiffOptions,
    task: &Task,
) -> Result<Vec<TreeChange>> {
    let root = extract::target::open_root(dir)?;
    if let Some(work) = super::unfinished(&root) {
        task.warn(format!("{} holds parts of a tree: {work} did not end", dir.display()));
    }
    let threads = crate::job::threads(options.threads);
    let selection = Selection::new(&[], &[], options.exact, None)?;
    let protection = Protection::new(&options.protect, options.exact, None)?;
    task.stage("diff", image.manifest().totals.rows, Unit::Entries);
    let mounts = Mounts::beneath(&root);
    let look = Look {
        image,
        source,
        root: &root,
        mounts: &mounts,
        earlier: &Earlier::default(),
        by_content: &|_| true,
        medium: false,
        threads,
        task,
    };
    let tree = look.walk(&|p, mode| selection.choose(p, mode))?;
    let (seen, ()) = examine(&look, tree, |_| Ok(()))?;
    let groups = groups(&seen);
    let mut out = Vec::new();
    let mut left_out: Option<Vec<u8>> = None;
    let mut rows = seen.rows();
    image.each_row(|row| {
        let change = rows.next().and_then(|s| row_change(row, &s, &groups, &selection, &mut left_out));
        if let Some((kind, fields)) = change {
            let kept = protection.of(&row.path, row.mode).map(|(_, why)| why);
            out.push(TreeChange { change: Change { path: row.path.clone(), kind, fields }, kept });
        }
        Ok(())
    })?;
    for n in seen.extra() {
        let path = seen.tree.path(n);
        let kept = protection.of(&path, seen.tree.entry(n).mode.into()).map(|(_, why)| why);
        out.push(TreeChange { change: Change { path, kind: ChangeKind::Added, fields: Vec::new() }, kept });
    }
    out.sort_by(|a, b| path::compare(&a.change.path, &b.change.path));
    Ok(out)
}

fn row_change(
    row: &Row,
    seen: &Seen,
    groups: &HashMap<(u64, (u32, u32)), Group>,
    selection: &Selection,
    left_out: &mut Option<Vec<u8>>,
) -> Option<(ChangeKind, Vec<Field>)> {
    if left_out.as_ref().is_some_and(|above| path::is_beneath(&row.path, above)) {
        return None;
    }
    if matches!(selection.machine(&row.path, row.mode), Some((Choice::Leave, _))) {
        *left_out = Some(row.path.clone());
        return None;
    }
    match seen.found {
        Found::Foreign => None,
        Found::Nothing => Some((ChangeKind::Removed, Vec::new())),
        Found::Entry(entry, device) => {
            let mut fields: Fields = seen.differs;
            if groups.get(&(entry.ino, device)).copied() != row.group {
                fields.add(Field::Links);
            }
            (!fields.is_empty()).then(|| (ChangeKind::Changed, fields.list()))
        }
    }
}

/// The hard link groups of the tree, as a capture names them.
fn groups(seen: &Examined) -> HashMap<(u64, (u32, u32)), Group> {
    let mut first: HashMap<u64, (u32, bool)> = HashMap::new();
    for &n in &seen.order {
        let e = seen.tree.entry(n);
        if e.has(LINKED) && !e.has(EMPTIED) {
            first.entry(e.ino).and_modify(|(_, several)| *several = true).or_insert((n, false));
        }
    }
    let several = first.into_iter().filter(|(_, (_, several))| *several);
    several.map(|(ino, (n, _))| ((ino, seen.tree.device), Hash::of(&seen.tree.path(n)).half())).collect()
}
