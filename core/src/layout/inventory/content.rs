//! What a disk carries, as values that go into JSON and come back.
//!
//! Made from [`Contents`], which is read from the disk; an inventory that was recorded elsewhere brings it along.

use crate::layout::device::Contents;
use crate::layout::gpt::Mbr;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// What a disk carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Content {
    /// A hash over begin, end and everything recognised, in hexadecimal digits.
    pub fingerprint: String,
    /// The partition table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Table>,
    /// What looks like a filesystem, array or volume, on the disk and on its partitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Mark>,
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Table {
    /// Its kind.
    pub kind: TableKind,
    /// The GUID of the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub guid: Option<Uuid>,
    /// Its partitions, by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Entry>,
}

/// The kind of a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TableKind {
    /// A GPT, both copies whole.
    Gpt,
    /// A GPT of which one copy is broken.
    HalfGpt,
    /// An MBR table.
    Mbr,
    /// The remains of a GPT.
    Remains,
}

/// A partition by the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Entry {
    /// Its number.
    pub number: u32,
    /// The GUID of its type.
    #[schemars(with = "String")]
    pub kind: Uuid,
    /// Its GUID.
    #[schemars(with = "String")]
    pub uuid: Uuid,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its first byte.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// A signature of a filesystem, array or volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mark {
    /// Its type, as `blkid` names it.
    pub kind: String,
    /// The first byte of the disk or partition that it lies on.
    pub start: u64,
    /// The length of that place in bytes.
    pub length: u64,
    /// Its label; of an array its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Whether several machines may be using it at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        match &self.label {
            Some(label) => write!(f, " \"{label}\""),
            None => Ok(()),
        }
    }
}

impl Content {
    /// From what was read, and its fingerprint.
    #[must_use]
    pub fn new(contents: &Contents, fingerprint: &str) -> Self {
        let found = &contents.table;
        let table = match (found.table(), found.mbr) {
            (Some(table), _) => {
                let whole = found.primary.is_ok() && found.backup.is_ok();
                let kind = if whole { TableKind::Gpt } else { TableKind::HalfGpt };
                let entries = table.entries.iter().map(|(number, e)| {
                    let (start, length) = table.bytes(e);
                    Entry { number: *number, kind: e.kind, uuid: e.uuid, name: e.name.clone(), start, length }
                });
                Some(Table { kind, guid: Some(table.disk), partitions: entries.collect() })
            }
            (None, Mbr::Partitions) => Some(Table { kind: TableKind::Mbr, guid: None, partitions: Vec::new() }),
            (None, Mbr::Protective) => Some(Table { kind: TableKind::Remains, guid: None, partitions: Vec::new() }),
            (None, Mbr::None) => None,
        };
        let marks = contents.signatures.iter().map(|(start, length, s)| Mark {
            kind: s.kind.to_string(),
            start: *start,
            length: *length,
            label: s.label.clone(),
            uuid: s.uuid.clone(),
            shared: s.is_shared(),
        });
        Self { fingerprint: fingerprint.to_owned(), table, signatures: marks.collect() }
    }
}
