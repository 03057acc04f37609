//! What a disk carries, as values that go into JSON and come back.
//!
//! Made from [`Contents`], which is read from the disk; an inventory that was recorded elsewhere brings it along.

use crate::layout::device::Contents;
use crate::layout::gpt::{self, Mbr};
use crate::layout::signature::{self, Signature};
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
    /// A GPT, and an MBR that has some of its partitions.
    HybridGpt,
    /// A GPT of which both copies are damaged.
    BrokenGpt,
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
    /// Its label; of an array its name, of a physical volume of LVM that of its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Of a physical volume of LVM: the UUID of its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
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
                let kind = match found.mbr {
                    Mbr::Hybrid => TableKind::HybridGpt,
                    _ if whole => TableKind::Gpt,
                    _ => TableKind::HalfGpt,
                };
                let entries = table.entries.iter().map(|(number, e)| {
                    let (start, length) = table.bytes(e);
                    Entry { number: *number, kind: e.kind, uuid: e.uuid, name: e.name.clone(), start, length }
                });
                Some(Table { kind, guid: Some(table.disk), partitions: entries.collect() })
            }
            (None, _) if found.is_broken() => {
                Some(Table { kind: TableKind::BrokenGpt, guid: None, partitions: Vec::new() })
            }
            (None, Mbr::Partitions | Mbr::Hybrid) => {
                Some(Table { kind: TableKind::Mbr, guid: None, partitions: Vec::new() })
            }
            (None, Mbr::Protective) => Some(Table { kind: TableKind::Remains, guid: None, partitions: Vec::new() }),
            (None, Mbr::None) => None,
        };
        let marks = contents.signatures.iter().map(|(start, length, s)| Mark {
            kind: s.kind.to_string(),
            start: *start,
            length: *length,
            label: s.label.clone(),
            uuid: s.uuid.clone(),
            group: s.group.clone(),
            shared: s.is_shared(),
        });
        Self { fingerprint: fingerprint.to_owned(), table, signatures: marks.collect() }
    }

    /// As if it had been read from the disk, which has so many bytes. What is not recorded (attributes of partitions,
    /// which copy of a table is broken) is as if it were well.
    #[must_use]
    pub(in crate::layout) fn contents(&self, size: u64, sector: u32) -> Contents {
        let kind = self.table.as_ref().map(|t| t.kind);
        let primary = match &self.table {
            Some(t) if matches!(t.kind, TableKind::Gpt | TableKind::HalfGpt | TableKind::HybridGpt) => {
                Ok(t.read(size, sector))
            }
            Some(t) if t.kind == TableKind::BrokenGpt => Err(gpt::Fault::Array),
            _ => Err(gpt::Fault::Absent),
        };
        let backup = match kind {
            Some(TableKind::HalfGpt) => Err(gpt::Fault::Header),
            _ => primary.clone(),
        };
        let mbr = match kind {
            None => Mbr::None,
            Some(TableKind::Mbr) => Mbr::Partitions,
            Some(TableKind::HybridGpt) => Mbr::Hybrid,
            Some(_) => Mbr::Protective,
        };
        let signatures = self.signatures.iter().map(|m| (m.start, m.length, m.signature()));
        Contents { table: gpt::Found { primary, backup, mbr }, signatures: signatures.collect() }
    }
}

impl Table {
    fn read(&self, size: u64, sector: u32) -> gpt::Table {
        let unit = u64::from(sector.max(1));
        let last = (size / unit).saturating_sub(1);
        let entries = self.partitions.iter().filter(|p| p.length >= unit).map(|p| {
            let (first, sectors) = (p.start / unit, p.length / unit);
            let last = first.saturating_add(sectors - 1);
            let entry = gpt::Entry { kind: p.kind, uuid: p.uuid, first, last, attributes: 0, name: p.name.clone() };
            (p.number, entry)
        });
        gpt::Table {
            disk: self.guid.unwrap_or_default(),
            sector,
            first_usable: 0,
            last_usable: last,
            other: last,
            entries: entries.collect(),
        }
    }
}

impl Mark {
    fn signature(&self) -> Signature {
        Signature {
            kind: signature::kind(&self.kind),
            version: None,
            label: self.label.clone(),
            uuid: self.uuid.clone(),
            group: self.group.clone(),
            offset: 0,
            copies: Vec::new(),
        }
    }
}
