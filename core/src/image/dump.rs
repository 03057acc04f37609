//! Formats as annotated text: for people, and for golden tests.

use super::manifest::Manifest;
use super::row::{Content, Item, Kind, Row, Value};
use crate::sys::clock;
use crate::sys::confined::show;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use std::fmt::Write;

impl Row {
    /// The word for its kind, as it stands in JSON.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::File { .. } => "file",
            Kind::Directory => "directory",
            Kind::Link(_) => "link",
            Kind::Device { .. } if self.kind_bits() == super::row::BLOCK => "block",
            Kind::Device { .. } => "character",
            Kind::Fifo => "fifo",
        }
    }

    /// The row as the JSON object that every skin hands out: `{path, kind, mode, uid, gid, mtime, size, …}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut out = json!({
            "kind": self.kind_name(),
            "mode": format!("{:04o}", self.mode & 0o7777),
            "uid": self.uid,
            "gid": self.gid,
            "mtime": format!("{}.{:09}Z", clock::rfc3339(self.mtime.0).trim_end_matches('Z'), self.mtime.1),
            "size": self.size(),
        });
        put_path(&mut out, &self.path);
        match &self.kind {
            Kind::Link(target) => out["target"] = show(target).into(),
            Kind::Device { major, minor } => out["device"] = json!([major, minor]),
            _ => {}
        }
        if !self.xattrs.is_empty() {
            out["xattrs"] = self.xattrs.iter().map(|x| serde_json::Value::from(show(&x.name))).collect();
        }
        if let Some(group) = &self.group {
            out["links"] = super::hash::hex(group).into();
        }
        if self.inode_flags != 0 {
            out["flags"] = self.inode_flags.into();
        }
        if self.torn {
            out["torn"] = true.into();
        }
        out
    }
}

/// Adds the path of an entry: absolute, with `\xHH` for what cannot be printed; when it is not UTF-8 its bytes as well.
pub fn put_path(out: &mut serde_json::Value, path: &[u8]) {
    out["path"] = format!("/{}", show(path)).into();
    if std::str::from_utf8(path).is_err() {
        out["path_base64"] = BASE64.encode(path).into();
    }
}

/// One row as a line of `name value` pairs.
#[must_use]
pub fn row(row: &Row) -> String {
    let mut out = format!(
        "{} {:06o} {}:{} {}.{:09}",
        if row.path.is_empty() { "/".into() } else { show(&row.path) },
        row.mode,
        row.uid,
        row.gid,
        clock::rfc3339(row.mtime.0).trim_end_matches('Z'),
        row.mtime.1,
    );
    match &row.kind {
        Kind::File { size, content } => {
            let _ = write!(out, " size {size}");
            match content {
                Content::Near(items) => {
                    for item in items {
                        let _ = match item {
                            Item::Chunk { length, hash } => write!(out, " {}+{length}", hash.short()),
                            Item::Hole(n) => write!(out, " hole+{n}"),
                        };
                    }
                }
                Content::Far { items, lists } => {
                    let _ = write!(out, " {items} items in {} lists", lists.len());
                }
            }
        }
        Kind::Link(target) => {
            let _ = write!(out, " -> {}", show(target));
        }
        Kind::Device { major, minor } => {
            let _ = write!(out, " {major}:{minor}");
        }
        Kind::Directory | Kind::Fifo => {}
    }
    if let Some(group) = row.group {
        let _ = write!(out, " group {}", super::hash::hex(&group[..6]));
    }
    for x in row.xattrs.iter() {
        let _ = match &x.value {
            Value::Near(v) => write!(out, " {}={}", show(&x.name), super::hash::hex(v)),
            Value::Far { length, hash } => write!(out, " {}={}+{length}", show(&x.name), hash.short()),
        };
    }
    if row.inode_flags != 0 {
        let _ = write!(out, " flags {:#x}", row.inode_flags);
    }
    if row.torn {
        out.push_str(" torn");
    }
    out
}

/// A manifest, a line for each field and page.
#[must_use]
pub fn manifest(m: &Manifest) -> String {
    let mut out = format!("tree {}\ntotals {:?}\n", m.tree_id(), m.totals);
    for (name, value) in [("policy", &m.policy), ("facts", &m.facts), ("names", &m.names)] {
        if let Some(v) = value {
            let _ = writeln!(out, "{name} {v}");
        }
    }
    if let Some(p) = m.parent {
        let _ = writeln!(out, "parent {p}");
    }
    for p in &m.pages {
        let first = if p.first.is_empty() { "/".into() } else { show(&p.first) };
        let _ = writeln!(out, "page {} rows {} bytes {} from {first}", p.hash.short(), p.rows, p.bytes);
    }
    out
}
