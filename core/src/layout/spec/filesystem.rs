//! Filesystems and swap space: what they are made with and where they are mounted.

use super::{Preserve, Ref, schema};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A filesystem or swap space.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Filesystem {
    /// What it is made on.
    pub on: Ref,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FsType,
    /// Its label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its UUID; of vfat a volume id such as `1A2B-3C4D`. Without it one is derived from the seed of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// More arguments for the program that makes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mkfs: Vec<String>,
    /// Which features it is made with.
    #[serde(default, skip_serializing_if = "Profile::is_auto")]
    pub profile: Profile,
    /// Where it is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<Mount>,
    /// How it is repeated on the other disks of the set; of an ESP only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Subvolumes of btrfs, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Subvolume>")]
    pub subvolumes: IndexMap<String, Subvolume>,
    /// Whether one that is there already is kept, with all that is in it.
    #[serde(default, skip_serializing_if = "Preserve::is_never")]
    #[schemars(schema_with = "schema::preserve")]
    pub preserve: Preserve,
}

impl Filesystem {
    /// Whether it, or a subvolume of it, is mounted there.
    #[must_use]
    pub fn is_mounted_at(&self, path: &str) -> bool {
        let subvolumes = self.subvolumes.values().filter_map(|s| s.mount.as_ref());
        self.mount.iter().chain(subvolumes).any(|m| m.at == path)
    }
}

/// Which features a filesystem is made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// What the kernel of the image can mount, and GRUB can read where it has to.
    #[default]
    Auto,
    /// What the program that makes it takes by itself.
    Default,
    /// What Linux 4.18 of Enterprise Linux 8 mounts.
    El8,
    /// What Linux 5.14 of Enterprise Linux 9 mounts.
    El9,
    /// What the GRUB of Enterprise Linux 8 reads as well.
    GrubEl8,
}

impl Profile {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 5] = [
        ("auto", Self::Auto),
        ("default", Self::Default),
        ("el8", Self::El8),
        ("el9", Self::El9),
        ("grub-el8", Self::GrubEl8),
    ];

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// How a filesystem is repeated on the other disks of its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mirror {
    /// One on each disk, each with an identity of its own, kept in step by the installed system.
    Sync,
}

impl Mirror {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 1] = [("sync", Self::Sync)];
}

/// A subvolume of btrfs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Subvolume {
    /// Where it is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<Mount>,
}

/// The type of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FsType {
    /// FAT, as firmware reads it.
    Vfat,
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs on one device.
    Btrfs,
    /// Swap space.
    Swap,
}

impl FsType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Vfat, Self::Ext4, Self::Xfs, Self::Btrfs, Self::Swap];

    /// The name in documents, fstab and the kernel.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vfat => "vfat",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Swap => "swap",
        }
    }

    /// The longest label, in bytes of UTF-8.
    #[must_use]
    pub const fn label_limit(self) -> usize {
        match self {
            Self::Vfat => 11,
            Self::Xfs => 12,
            Self::Ext4 | Self::Swap => 16,
            Self::Btrfs => 255,
        }
    }

    /// The smallest device that its mkfs accepts with its defaults, in bytes.
    #[must_use]
    pub const fn minimum(self) -> u64 {
        match self {
            Self::Vfat | Self::Swap => 1 << 20,
            Self::Ext4 => 8 << 20,
            Self::Xfs => 300 << 20,
            Self::Btrfs => 114 << 20,
        }
    }
}

/// Where a filesystem is mounted.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mount {
    /// The absolute path in the installed system.
    #[schemars(regex(pattern = "^/"))]
    pub at: String,
    /// Options as in fstab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}
