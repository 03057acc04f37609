//! What disks a machine has: read from the kernel, or from a text that was recorded elsewhere.
//!
//! ```text
//! / or a recorded tree ── tree ─┬ names   transport, by-path, by-id ┐
//!                               ├ vpd     what SCSI disks say       ├─ read ── multipath ──> Inventory <─> JSON
//!                               ├ udev    what udev noted           │                          │
//!                               └ stack   holders, mounts, swap     ┘          look ── content of each disk
//! ```
//!
//! Reading opens no disk and writes nothing; [`Inventory::of_this_machine`] opens them, for reading. Names and numbers of the
//! kernel are facts of this boot and never decide anything; a disk is known by its [`Identity`]. The JSON is
//! `cv.inventory/v1`, with its schema in `core/schemas/cv.inventory.v1.json`.

mod content;
mod disk;
mod look;
mod multipath;
mod names;
mod read;
mod stack;
mod tree;
mod udev;
mod vpd;

pub use content::{Content, Entry, Mark, Table, TableKind};
pub use disk::{Disk, Holder, How, Identity, Multipath, Partition, Path, Transport, Usage};
pub(crate) use names::natural;
pub(crate) use read::boot;

use crate::error::{Error, Result};
use crate::sys::sysfs::DeviceNumber;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// More disks than a machine can have; a text with more is refused.
const DISK_LIMIT: usize = 1 << 16;

/// The disks of a machine, and what else a layout may depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "cv.inventory/v1", description = "The disks of a machine")]
pub struct Inventory {
    /// The version of the schema.
    pub schema: SchemaId,
    /// The machine.
    pub machine: Machine,
    /// Its disks, by place.
    pub disks: Vec<Disk>,
}

/// The version of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchemaId {
    /// The first version.
    #[serde(rename = "cv.inventory/v1")]
    V1,
}

/// Facts of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Machine {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its architecture, as `uname -m` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Its memory in bytes; 0 when not known.
    #[serde(default)]
    pub memory: u64,
    /// Whether it was started by UEFI.
    #[serde(default)]
    pub uefi: bool,
    /// Whether it has a TPM 2.0.
    #[serde(default)]
    pub tpm2: bool,
    /// What the kernel calls this boot of it: identities that nobody gave a seed for are of one boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

impl Inventory {
    /// The machine whose `sys`, `proc` and `run/udev` lie below `root`: `/` for this one. Nothing is opened but files
    /// that describe; what cannot be read is not there.
    #[must_use]
    pub fn read(root: &std::path::Path) -> Self {
        read::read(root)
    }

    /// What the disk of this number calls itself, as [`Inventory::read`] has it of the machine below `root`: its model, its
    /// serial number and its world wide name. A map of multipath is called what its paths are.
    #[must_use]
    pub fn names(root: &std::path::Path, number: DeviceNumber) -> [Option<String>; 3] {
        read::names(root, number)
    }

    /// This machine, with what its disks carry: they are opened for reading, several at a time. Those without a medium
    /// are left out; why a disk cannot be read is noted at the disk.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let mut inventory = Self::read(std::path::Path::new("/"));
        look::look(&mut inventory.disks);
        inventory
    }

    /// From a file with JSON in the form `cv.inventory/v1`.
    ///
    /// # Errors
    /// As [`Inventory::from_json`]; `NotFound` and `Io` from the file.
    pub fn load(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let name = path.as_ref().display();
        let bytes = std::fs::read(path.as_ref()).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!("there is no inventory at {name}")),
            _ => Error::io("read", name.to_string(), e),
        })?;
        Self::from_json(&bytes).map_err(|e| e.fact("path", name.to_string()))
    }

    /// From JSON in the form `cv.inventory/v1`.
    ///
    /// # Errors
    /// `Invalid` with line and column when it is not that; `Limit` when it has too many disks.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let inventory: Self = serde_json::from_slice(bytes).map_err(|e| {
            Error::invalid(format!("this is no inventory: {e}"))
                .fact("line", e.line())
                .fact("column", e.column())
                .hint("an inventory is JSON with \"schema\": \"cv.inventory/v1\", as cvctl layout capture --inventory-out writes it")
        })?;
        if inventory.disks.len() > DISK_LIMIT {
            return Err(Error::limit(format!("an inventory of {} disks", inventory.disks.len())));
        }
        inventory.check()?;
        Ok(inventory)
    }

    /// What every reader relies on: two disks are never one, and numbers can be reckoned with.
    fn check(&self) -> Result<()> {
        let mut names = std::collections::BTreeSet::new();
        for disk in &self.disks {
            if !names.insert(disk.node()) {
                return Err(Error::invalid(format!("the inventory has two disks named {}", disk.node())));
            }
            let sectors = [disk.logical_sector, disk.physical_sector];
            if sectors.iter().any(|s| !s.is_power_of_two() || !(512..=1 << 20).contains(s)) {
                let text = format!("{} has sectors of {} bytes in the inventory", disk.name, disk.logical_sector);
                return Err(Error::invalid(text).hint("a power of two from 512 on"));
            }
        }
        Ok(())
    }

    /// As JSON, which [`Inventory::from_json`] reads again.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The JSON Schema of the inventory.
    #[must_use]
    pub fn json_schema() -> Value {
        let mut schema = schemars::schema_for!(Inventory).to_value();
        schema["$id"] = "cv.inventory/v1".into();
        schema
    }

    /// The disk with this identity.
    #[must_use]
    pub fn find(&self, identity: &Identity) -> Option<&Disk> {
        let mut all = self.disks.iter().filter(|d| d.identity().is(identity));
        let found = all.next()?;
        // Two of the same identity are none: nobody could say which is meant.
        all.next().is_none().then_some(found)
    }

    /// The disk that a device number or a node in `/dev` stands for.
    #[must_use]
    pub fn find_node(&self, number: Option<DeviceNumber>, node: &str) -> Option<&Disk> {
        let by_number = number.and_then(|n| self.disks.iter().find(|d| d.has_number(n)));
        by_number.or_else(|| self.disks.iter().find(|d| d.has_node(node)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema in the repository is what the types say; `LIBCV_BLESS=1` writes it anew.
    #[test]
    fn the_schema_in_the_repository_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/cv.inventory.v1.json");
        let now = format!("{:#}\n", Inventory::json_schema());
        if std::env::var_os("LIBCV_BLESS").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == now, "core/schemas/cv.inventory.v1.json is out of date: run the tests with LIBCV_BLESS=1");
    }

    #[test]
    fn what_is_no_inventory_is_refused_with_its_place() {
        let e = Inventory::from_json(b"{\n\"schema\": \"cv.inventory/v9\"}").unwrap_err();
        assert_eq!((e.kind(), &e.facts()["line"]), (crate::ErrorKind::Invalid, &2.into()));
        assert!(Inventory::from_json(b"").is_err());
        let twice = r#"{"schema":"cv.inventory/v1","machine":{},"disks":[D,D]}"#.replace(
            'D',
            r#"{"name":"a","number":"8:0","transport":"sata","size":1,"logical-sector":512,"physical-sector":512}"#,
        );
        assert!(Inventory::from_json(twice.as_bytes()).unwrap_err().message().contains("two disks"));
        let odd = twice.replace("logical-sector\":512", "logical-sector\":0");
        assert_eq!(Inventory::from_json(odd.as_bytes()).unwrap_err().kind(), crate::ErrorKind::Invalid);
    }
}
