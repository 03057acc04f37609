//! The disks of another machine: what a plan has to know of them, out of an inventory that was recorded there.
//!
//! ```text
//! Inventory ── find ──> Disk ── facts ──> Facts     as if the disk had been looked at; nothing is opened
//! ```
//!
//! The same document, host name and seed give on that machine the same plan with the same token, as long as the disks
//! are as they were recorded. Whether they are the machine finds out: this plan is confirmed there, and not applied here.

use crate::error::{Error, Result};
use crate::layout::device::{Facts, Medium};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::inventory::{Disk, Inventory};
use crate::layout::select::Choice;
use crate::layout::spec::Spec;
use std::path::Path;

/// The facts of the disk at `path` of that machine.
pub(super) fn facts(inventory: &Inventory, path: &Path) -> Result<Facts> {
    let node = path.to_string_lossy();
    let Some(disk) = inventory.find_node(None, &node) else {
        let known: Vec<String> = inventory.disks.iter().take(8).map(Disk::node).collect();
        let e = Error::not_found(format!("the inventory has no disk at {node}")).fact("path", &*node);
        return Err(e.hint(format!("it has {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })));
    };
    let sector = disk.logical_sector;
    if !matches!(sector, 512 | 4096) {
        return Err(Error::unsupported(format!("{node} has sectors of {sector} bytes"))
            .hint("sectors of 512 and 4096 bytes are supported"));
    }
    let Some(content) = &disk.content else { return Err(not_looked_at(disk, &node)) };
    let size = disk.size / u64::from(sector) * u64::from(sector);
    let facts = Facts {
        path: path.to_owned(),
        medium: Medium::Block { major: disk.number.major, minor: disk.number.minor },
        size,
        sector,
        optimal_io: disk.optimal_io,
        read_only: disk.read_only,
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        wwid: disk.wwid.clone(),
        contents: content.contents(size, sector),
        fingerprint: content.fingerprint.clone(),
        held: false,
        changed: 0,
    };
    Ok(if disk.holders.is_empty() { facts } else { facts.held() })
}

/// What speaks against planning a set from records alone: of what its disks carry it keeps something, and what exactly an
/// inventory does not tell.
pub(super) fn keeps(spec: &Spec, choices: &[Choice], facts: &[Facts]) -> Vec<Diagnostic> {
    let keeping =
        |(choice, facts): &(&Choice, &Facts)| spec.disks[&choice.set].preserve.keeps() && !facts.contents.is_blank();
    let refused = choices.iter().zip(facts).filter(keeping).map(|(choice, facts)| {
        let text = format!("what set {} keeps of {} is not in the inventory", choice.set, facts.path.display());
        Diagnostic::error("L005", format!("disks.{}.preserve", choice.set), text)
            .hint("make the plan on the machine itself, where it can be looked at")
    });
    refused.collect()
}

fn not_looked_at(disk: &Disk, node: &str) -> Error {
    let why = disk.unreadable.as_ref().map(|w| format!(": {w}")).unwrap_or_default();
    Error::invalid(format!("the inventory does not say what {node} carries{why}"))
        .hint("record it as root: cvctl layout capture --inventory-out FILE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::layout::gate;
    use serde_json::{Value, json};

    fn inventory(more: &Value) -> Inventory {
        let mut disk = json!({"name": "sda", "number": "8:0", "transport": "sata", "size": (1u64 << 30) + 512,
            "logical-sector": 4096, "physical-sector": 4096});
        disk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let text = json!({"schema": "cv.inventory/v1", "machine": {}, "disks": [disk]}).to_string();
        Inventory::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn facts_are_those_of_the_disk() {
        let content = json!({"fingerprint": "f", "table": {"kind": "half-gpt", "partitions": [
            {"number": 3, "kind": "0fc63daf-8483-4772-8e79-3d69d8477de4", "uuid": "0fc63daf-8483-4772-8e79-3d69d8477de5",
             "name": "old", "start": 1 << 20, "length": 2 << 20},
            {"number": 4, "kind": "0fc63daf-8483-4772-8e79-3d69d8477de4", "uuid": "0fc63daf-8483-4772-8e79-3d69d8477de6",
             "start": u64::MAX, "length": u64::MAX},
            {"number": 5, "kind": "0fc63daf-8483-4772-8e79-3d69d8477de4", "uuid": "0fc63daf-8483-4772-8e79-3d69d8477de7",
             "start": 0, "length": 0}]},
            "signatures": [{"kind": "ext3", "start": 1 << 20, "length": 2 << 20, "label": "root"},
                {"kind": "of the future", "start": 0, "length": 1}]});
        let found = facts(&inventory(&json!({"content": content})), Path::new("/dev/sda")).unwrap();
        assert_eq!((found.size, found.sector, found.fingerprint.as_str()), (1 << 30, 4096, "f"));
        let lines = found.contents.describe();
        assert_eq!(lines[1], "partition 3 \"old\", 2.0 MiB: ext3 \"root\"");
        assert!(lines[0].contains("2 partitions") && lines.last().unwrap().contains("something unknown"), "{lines:?}");
        assert!(found.contents.table.backup.is_err());
        assert!(gate::inspect_recorded(&found, "disks.d").is_empty());
    }

    #[test]
    fn what_nobody_looked_at_is_not_planned() {
        let e = facts(&inventory(&json!({"unreadable": "Permission denied"})), Path::new("/dev/sda")).unwrap_err();
        assert_eq!((e.kind(), e.message().contains("Permission denied")), (ErrorKind::Invalid, true));
        let e = facts(&inventory(&json!({})), Path::new("/dev/sdb")).unwrap_err();
        assert_eq!((e.kind(), e.hint_text()), (ErrorKind::NotFound, Some("it has /dev/sda")));
        let e = facts(&inventory(&json!({"logical-sector": 1024})), Path::new("/dev/sda")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        let read_only = json!({"read-only": true, "content": {"fingerprint": "f"}});
        let found = facts(&inventory(&read_only), Path::new("/dev/sda")).unwrap();
        assert_eq!(gate::inspect_recorded(&found, "disks.d")[0].code, "F214");
        assert!(found.contents.is_blank());
    }
}
