//! References from one object of a document to another.

use super::PartitionKey;
use schemars::JsonSchema;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;

/// Something that others can stand on: a partition on every disk of its set, or one device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ref {
    /// `SET/NAME`.
    Partition(PartitionKey),
    /// `raid/NAME`.
    Raid(String),
    /// `luks/NAME`.
    Luks(String),
    /// `lvm/GROUP/VOLUME`.
    Volume(String, String),
}

impl Ref {
    /// First words of references, which no set of disks can have as its name.
    pub const RESERVED: [&str; 3] = ["raid", "luks", "lvm"];

    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('/')?;
        let names: Vec<&str> = rest.split('/').collect();
        if names.iter().any(|n| n.is_empty()) {
            return None;
        }
        match (first, &names[..]) {
            ("raid", [name]) => Some(Self::Raid((*name).to_owned())),
            ("luks", [name]) => Some(Self::Luks((*name).to_owned())),
            ("lvm", [group, volume]) => Some(Self::Volume((*group).to_owned(), (*volume).to_owned())),
            ("lvm" | "", _) => None,
            (set, [name]) => Some(Self::Partition(PartitionKey { set: set.to_owned(), name: (*name).to_owned() })),
            _ => None,
        }
    }

    /// The path of the object in the document, such as `raid.boot`.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Partition(key) => format!("partitions.{key}"),
            Self::Raid(name) => format!("raid.{name}"),
            Self::Luks(name) => format!("luks.{name}"),
            Self::Volume(group, volume) => format!("lvm.{group}.lvs.{volume}"),
        }
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(key) => key.fmt(f),
            Self::Raid(name) => write!(f, "raid/{name}"),
            Self::Luks(name) => write!(f, "luks/{name}"),
            Self::Volume(group, volume) => write!(f, "lvm/{group}/{volume}"),
        }
    }
}

impl Serialize for Ref {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for Ref {
    fn schema_name() -> Cow<'static, str> {
        "Ref".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "`SET/NAME` of a partition, `raid/NAME`, `luks/NAME` or `lvm/GROUP/VOLUME`.",
            "pattern": "^[^/]+/[^/]+(/[^/]+)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        for text in ["os/boot", "raid/pv", "luks/state", "lvm/sys/root"] {
            assert_eq!(Ref::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "os", "os/", "/boot", "a/b/c", "raid/a/b", "lvm/sys", "lvm/sys/", "luks/", "lvm/a/b/c"] {
            assert_eq!(Ref::parse(text), None, "{text}");
        }
    }
}
