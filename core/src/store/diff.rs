//! What differs between two images: a walk over both in path order, where pages that both have are not even read.

use super::rows::RowCursor;
use super::{ChunkSource, Image, Store};
use crate::error::Result;
use crate::event::Unit;
use crate::image::{ChunkSet, Kind, Row, path};
use crate::job::Task;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::HashSet;

/// A path that the two images do not have alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Bytes relative to the root; empty for the root itself.
    pub path: Vec<u8>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// What of it changed; empty unless `kind` is `Changed`.
    pub fields: Vec<Field>,
}

/// What happened to a path from the first image to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Only the second image has it.
    Added,
    /// Only the first image has it.
    Removed,
    /// Both have it, not alike.
    Changed,
}

/// A part of an entry that may change.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// It is another kind of entry; its content is not compared.
    Kind,
    /// Permissions.
    Mode,
    /// Numeric owner or group.
    Owner,
    /// Modification time.
    Mtime,
    /// Size of a regular file.
    Size,
    /// Bytes or holes of a regular file.
    Content,
    /// Target of a symbolic link.
    Target,
    /// Device number.
    Device,
    /// Extended attributes, ACLs and capabilities among them.
    Xattrs,
    /// Inode flags.
    Flags,
    /// The hard link group.
    Links,
    /// Whether the file changed while it was read.
    Torn,
}

impl Field {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 12] = [
        Self::Kind,
        Self::Mode,
        Self::Owner,
        Self::Mtime,
        Self::Size,
        Self::Content,
        Self::Target,
        Self::Device,
        Self::Xattrs,
        Self::Flags,
        Self::Links,
        Self::Torn,
    ];

    /// The name, as it stands in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Mtime => "mtime",
            Self::Size => "size",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::Xattrs => "xattrs",
            Self::Flags => "flags",
            Self::Links => "links",
            Self::Torn => "torn",
        }
    }
}

impl Change {
    /// The change as the JSON object that every skin hands out: `{path, kind, fields}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut out = serde_json::json!({ "kind": self.kind, "fields": self.fields });
        crate::image::dump::put_path(&mut out, &self.path);
        out
    }
}

impl Store {
    /// What changed from image `a` to image `b`, in path order. Reads only pages that one of them does not have.
    ///
    /// # Errors
    /// `Integrity` when a page is missing or damaged; `Cancelled`.
    pub fn diff(&self, a: &Image, b: &Image, task: &Task) -> Result<Vec<Change>> {
        let mut out = Vec::new();
        let single = |row: &Row, kind| Change { path: row.path.clone(), kind, fields: Vec::new() };
        self.each_pair(a, b, task, &mut |x, y| match (x, y) {
            (Some(x), Some(y)) => {
                let fields = fields(x, y);
                if !fields.is_empty() {
                    out.push(Change { path: x.path.clone(), kind: ChangeKind::Changed, fields });
                }
            }
            (Some(x), None) => out.push(single(x, ChangeKind::Removed)),
            (None, Some(y)) => out.push(single(y, ChangeKind::Added)),
            (None, None) => {}
        })?;
        Ok(out)
    }

    /// Gives the rows of each path, of both images or of one, in path order, but for those in pages that both have.
    pub(crate) fn each_pair(
        &self,
        a: &Image,
        b: &Image,
        task: &Task,
        give: &mut dyn FnMut(Option<&Row>, Option<&Row>),
    ) -> Result<()> {
        let pages = |i: &Image| i.manifest().pages.iter().map(|p| p.hash).collect::<HashSet<_>>();
        let (of_a, of_b) = (pages(a), pages(b));
        let mut set = ChunkSet::default();
        for p in a.manifest().pages.iter().chain(&b.manifest().pages) {
            if !(of_a.contains(&p.hash) && of_b.contains(&p.hash)) {
                set.insert(p.hash, p.bytes);
            }
        }
        self.expect(&set)?;
        task.stage("diff", (a.manifest().pages.len() + b.manifest().pages.len()) as u64, Unit::Steps);
        let (mut a, mut b) = (RowCursor::new(a, 0), RowCursor::new(b, 0));
        loop {
            if skip_equal(&mut a, &mut b) {
                task.advance(2);
                continue;
            }
            let order = match (a.path(), b.path()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(x), Some(y)) => path::compare(x, y),
            };
            let pages =
                u64::from(order.is_le() && a.at_page().is_some()) + u64::from(order.is_ge() && b.at_page().is_some());
            if pages > 0 {
                task.check()?;
                task.advance(pages);
            }
            let old = if order.is_le() { Some(a.get()?) } else { None };
            let new = if order.is_ge() { Some(b.get()?) } else { None };
            give(old, new);
            if order.is_le() {
                a.pass()?;
            }
            if order.is_ge() {
                b.pass()?;
            }
        }
    }
}

/// Steps over a page that is next on both sides.
fn skip_equal(a: &mut RowCursor<'_>, b: &mut RowCursor<'_>) -> bool {
    let equal = matches!((a.at_page(), b.at_page()), (Some(x), Some(y)) if x.hash == y.hash);
    if equal {
        a.skip_page();
        b.skip_page();
    }
    equal
}

fn fields(a: &Row, b: &Row) -> Vec<Field> {
    let mut out = Vec::new();
    let mut note = |differs: bool, field| {
        if differs {
            out.push(field);
        }
    };
    note(a.kind_bits() != b.kind_bits(), Field::Kind);
    note(a.mode & 0o7777 != b.mode & 0o7777, Field::Mode);
    note((a.uid, a.gid) != (b.uid, b.gid), Field::Owner);
    note(a.mtime != b.mtime, Field::Mtime);
    match (&a.kind, &b.kind) {
        (Kind::File { size, content }, Kind::File { size: size2, content: content2 }) => {
            note(size != size2, Field::Size);
            note(content != content2, Field::Content);
        }
        (Kind::Link(x), Kind::Link(y)) => note(x != y, Field::Target),
        (Kind::Device { .. }, Kind::Device { .. }) => note(a.kind != b.kind, Field::Device),
        _ => {}
    }
    note(a.xattrs != b.xattrs, Field::Xattrs);
    note(a.inode_flags != b.inode_flags, Field::Flags);
    note(a.group != b.group, Field::Links);
    note(a.torn != b.torn, Field::Torn);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Content, Hash, Item};

    fn row() -> Row {
        let item = Item::Chunk { length: 3, hash: Hash::of(b"abc") };
        Row {
            path: b"a".to_vec(),
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            mtime: (1, 0),
            xattrs: [].into(),
            inode_flags: 0,
            torn: false,
            group: None,
            kind: Kind::File { size: 3, content: Content::Near(vec![item]) },
        }
    }

    #[test]
    fn each_field_is_told_apart() {
        let a = row();
        assert_eq!(fields(&a, &a), []);
        let hole = Kind::File { size: 3, content: Content::Near(vec![Item::Hole(3)]) };
        assert_eq!(fields(&a, &Row { kind: hole, ..row() }), [Field::Content]);
        let changed = Row { mode: 0o100_600, gid: 1, mtime: (1, 1), group: Some([1; 16]), torn: true, ..row() };
        assert_eq!(fields(&a, &changed), [Field::Mode, Field::Owner, Field::Mtime, Field::Links, Field::Torn]);
        let link = |t: &[u8]| Row { mode: 0o120_777, kind: Kind::Link(t.to_vec()), ..row() };
        assert_eq!(fields(&link(b"x"), &link(b"y")), [Field::Target]);
        assert_eq!(fields(&a, &link(b"y")), [Field::Kind, Field::Mode]);
    }

    #[test]
    fn names_are_those_of_the_json() {
        for f in [Field::Kind, Field::Mtime, Field::Xattrs, Field::Links, Field::Content, Field::Torn] {
            assert_eq!(serde_json::to_value(f).unwrap(), f.name());
        }
    }
}
