//! What a filesystem or a format cannot hold of an image: said by feature, with a count and an example.

use super::row::{Row, Xattr};
use crate::sys::confined::show;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that a target cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    // In the order of their names, which is the canonical order of the JSON.
    /// How many entries need it.
    pub count: u64,
    /// One of them.
    pub example: String,
    /// What, such as `attributes user.`.
    pub feature: String,
}

/// Whole seconds only are kept.
pub const NANOSECONDS: &str = "nanoseconds of modification times";
/// Times that are out of range.
pub const TIMES: &str = "modification times";
/// `chattr`.
pub const FLAGS: &str = "inode flags";
/// Zeros stand where holes were.
pub const HOLES: &str = "holes";
const ATTRIBUTES: &str = "attributes ";

/// The class of attributes that a target has or has not: the namespace, and ACLs apart.
#[must_use]
pub fn class(name: &[u8]) -> &[u8] {
    if name.starts_with(b"system.") {
        return name;
    }
    name.iter().position(|&c| c == b'.').map_or(name, |i| &name[..=i])
}

/// What is lost so far.
#[derive(Clone, Debug, Default)]
pub struct Losses(BTreeMap<String, (u64, String)>);

impl Losses {
    /// An entry loses something.
    pub fn add(&mut self, feature: impl Into<String>, path: &[u8]) {
        self.0.entry(feature.into()).or_insert_with(|| (0, format!("/{}", show(path)))).0 += 1;
    }

    /// Counts the attributes that `holds` does not take; an entry counts once for each class.
    pub fn attributes(&mut self, row: &Row, holds: impl Fn(&Xattr) -> bool) {
        let mut last: &[u8] = &[];
        for x in row.xattrs.iter().filter(|x| !holds(x)) {
            // Sorted by name, so a class stands together.
            if class(&x.name) != last {
                last = class(&x.name);
                self.add(format!("{ATTRIBUTES}{}", show(last)), &row.path);
            }
        }
    }

    /// Counts a time that is not a number of seconds within `range`, and flags of the inode.
    pub fn seconds_only(&mut self, row: &Row, range: std::ops::RangeInclusive<i64>) {
        if !range.contains(&row.mtime.0) {
            self.add(TIMES, &row.path);
        } else if row.mtime.1 != 0 {
            self.add(NANOSECONDS, &row.path);
        }
    }

    /// Counts flags of the inode.
    pub fn flags(&mut self, row: &Row) {
        if row.inode_flags != 0 {
            self.add(FLAGS, &row.path);
        }
    }

    /// What was counted, by feature.
    #[must_use]
    pub fn list(self) -> Vec<Loss> {
        self.0.into_iter().map(|(feature, (count, example))| Loss { count, example, feature }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Content, Kind, Value};

    fn row(path: &str, mtime: (i64, u32), names: &[&str]) -> Row {
        let xattr = |n: &&str| Xattr { name: n.as_bytes().to_vec(), value: Value::Near(vec![1]) };
        Row {
            path: path.into(),
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            mtime,
            xattrs: names.iter().map(xattr).collect(),
            inode_flags: 0x10,
            torn: false,
            group: None,
            kind: Kind::File { size: 0, content: Content::empty() },
        }
    }

    #[test]
    fn entries_count_once_for_each_feature() {
        let mut losses = Losses::default();
        let (a, b) = (["user.a", "user.b"], ["system.posix_acl_access", "trusted.x", "user.c"]);
        for r in [row("a", (1, 5), &a), row("b", (-1, 5), &b)] {
            losses.attributes(&r, |x| x.name.starts_with(b"trusted."));
            losses.seconds_only(&r, 0..=i64::from(u32::MAX));
            losses.flags(&r);
        }
        let list: Vec<_> =
            losses.list().into_iter().map(|l| format!("{} {} {}", l.feature, l.count, l.example)).collect();
        let wanted = [
            "attributes system.posix_acl_access 1 /b",
            "attributes user. 2 /a",
            "inode flags 2 /a",
            "modification times 1 /b",
            "nanoseconds of modification times 1 /a",
        ];
        assert_eq!(list, wanted);
    }
}
