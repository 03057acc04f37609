//! Rules by which a set chooses disks: what a disk is, where it is plugged in, what lies on it.

use super::schema;
use crate::layout::size::bytes_schema;
use crate::units::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Rules for disks: every key that is given must hold. Texts are patterns with `*` and `?`, one of which must fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Match {
    /// All of these hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<Match>,
    /// One of these holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<Match>,
    /// This does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<Match>>,
    /// The first of these that holds for any disk at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_of: Vec<Match>,
    /// Names in `/dev/disk/by-id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub by_id: Vec<String>,
    /// Names in `/dev/disk/by-path`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub by_path: Vec<String>,
    /// World wide names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub wwid: Vec<String>,
    /// Serial numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub serial: Vec<String>,
    /// Models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub model: Vec<String>,
    /// Vendors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub vendor: Vec<String>,
    /// The number of an NVMe namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nsid: Option<u32>,
    /// Bounds of the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<SizeRange>,
    /// Whether it turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotational: Option<bool>,
    /// How it is attached, one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more::<Transport>")]
    pub transport: Vec<Transport>,
    /// Whether the medium can be taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removable: Option<bool>,
    /// The size of a logical sector in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sector")]
    pub logical_sector: Option<u32>,
    /// The slot of the enclosure or of the bus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::one_or_more_texts")]
    pub slot: Vec<String>,
    /// What it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has: Option<Has>,
}

impl Match {
    /// Whether it names disks by who they are: such sets choose first. A pattern that several could fit names nobody.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        let exact = |text: &String| !text.contains(['*', '?']);
        let named = |list: &&Vec<String>| !list.is_empty() && list.iter().all(exact);
        let carries = |has: &Has| {
            has.fs_uuid.is_some()
                || has.md_uuid.is_some()
                || has.gpt_guid.is_some()
                || has.label.as_ref().is_some_and(exact)
        };
        let branches = |list: &[Self]| !list.is_empty() && list.iter().all(Self::is_identity);
        [&self.by_id, &self.wwid, &self.serial].iter().any(named)
            || self.has.as_ref().is_some_and(carries)
            || self.all.iter().any(Self::is_identity)
            || branches(&self.any)
            || branches(&self.first_of)
    }
}

/// Bounds of a size; each may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SizeRange {
    /// The least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub min: Option<ByteSize>,
    /// The most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes_schema")]
    pub max: Option<ByteSize>,
}

/// What a disk carries already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Has {
    /// The label of a filesystem, as a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The UUID of a filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_uuid: Option<String>,
    /// The UUID of an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md_uuid: Option<String>,
    /// The GUID of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpt_guid: Option<String>,
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// NVMe, over PCI Express or a network.
    Nvme,
    /// Serial ATA, behind a controller for ATA.
    Sata,
    /// Serial attached SCSI; disks with SATA behind such a controller as well.
    Sas,
    /// Fibre Channel.
    Fc,
    /// iSCSI.
    Iscsi,
    /// A volume of a RAID controller, or SCSI of another kind.
    Scsi,
    /// USB.
    Usb,
    /// Virtio, as block device or as SCSI.
    Virtio,
    /// SD and MMC cards.
    Mmc,
    /// A disk of Xen.
    Xen,
    /// A disk of Hyper-V.
    Hyperv,
    /// Persistent memory.
    Pmem,
    /// A disk of User-Mode Linux.
    Ubd,
    /// A network block device.
    Nbd,
    /// An optical drive.
    Optical,
    /// A floppy disk.
    Floppy,
    /// A file as a block device.
    Loop,
    /// Memory as a block device, compressed or not.
    Ram,
    /// A device of the device mapper.
    Dm,
    /// An array of md.
    Md,
    /// Anything else.
    Other,
}

impl Transport {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 21] = [
        ("nvme", Self::Nvme),
        ("sata", Self::Sata),
        ("sas", Self::Sas),
        ("fc", Self::Fc),
        ("iscsi", Self::Iscsi),
        ("scsi", Self::Scsi),
        ("usb", Self::Usb),
        ("virtio", Self::Virtio),
        ("mmc", Self::Mmc),
        ("xen", Self::Xen),
        ("hyperv", Self::Hyperv),
        ("pmem", Self::Pmem),
        ("ubd", Self::Ubd),
        ("nbd", Self::Nbd),
        ("optical", Self::Optical),
        ("floppy", Self::Floppy),
        ("loop", Self::Loop),
        ("ram", Self::Ram),
        ("dm", Self::Dm),
        ("md", Self::Md),
        ("other", Self::Other),
    ];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, t)| *t == self).map_or("other", |(name, _)| name)
    }

    /// Whether it is no disk of the machine, and is taken only when a rule names its transport.
    #[must_use]
    pub const fn is_virtual(self) -> bool {
        matches!(self, Self::Nbd | Self::Optical | Self::Floppy | Self::Loop | Self::Ram | Self::Dm | Self::Md)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_told_from_patterns() {
        let serial = |text: &str| Match { serial: vec![text.to_owned()], ..Match::default() };
        let model = Match { model: vec!["x".to_owned()], ..Match::default() };
        assert!(serial("S1").is_identity() && !serial("S*").is_identity() && !model.is_identity());
        assert!(Match { any: vec![serial("S1"), serial("S2")], ..model.clone() }.is_identity());
        assert!(!Match { any: vec![serial("S1"), model.clone()], ..Match::default() }.is_identity());
        assert!(Match { all: vec![serial("S1"), model.clone()], ..Match::default() }.is_identity());
        assert!(!Match { not: Some(Box::new(serial("S1"))), ..model }.is_identity());
    }
}
