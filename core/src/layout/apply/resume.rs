//! What an interrupted run left, judged by its journal and by the disks.
//!
//! ```text
//!             the journal says "end"      it does not
//! it is there         skip                  again      mkfs that was cut looks finished, too
//! nothing is          again                 again      ours: erased before it is made again
//! another thing is    refused (A412)        refused    somebody was here since
//! ```
//!
//! All identities follow from the seed, which is in the journal: "did this apply make it?" is a question of UUIDs.

use super::backend::Devices;
use super::journal::{Header, Journal, JournalDisk};
use super::{ApplyOptions, gpt};
use crate::error::{Error, Result};
use crate::layout::MARKER;
use crate::layout::gate::Gate;
use crate::layout::gpt as table;
use crate::layout::ondisk::{luks, lvm, md};
use crate::layout::place::Place;
use crate::layout::plan::{Device, Layer, Plan, PlannedDisk, PlannedFilesystem};
use crate::layout::signature::{self, Signature};
use crate::layout::spec::{Key, VolumeKind, Wipe};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Whether a journal is of what this plan makes.
///
/// # Errors
/// `Refused` (A411) with what differs.
pub(super) fn check(journal: &Journal, plan: &Plan, options: &ApplyOptions, installs: bool) -> Result<()> {
    let (then, now) = (journal.header(), Header::of(plan, options.backend, installs));
    let disks = |h: &Header| -> Value { h.disks.iter().map(identity).collect() };
    let whole: [(&str, Value, Value); 8] = [
        ("the layout", json!(then.layout_hash), json!(now.layout_hash)),
        ("the image", json!(then.image), json!(now.image)),
        ("what is installed", json!(then.installs), json!(now.installs)),
        ("the host name", json!(then.hostname), json!(now.hostname)),
        ("the backend", json!(then.backend), json!(now.backend)),
        ("the disks", disks(then), disks(&now)),
        ("the seed", json!(then.seed), json!(now.seed)),
        ("what is made", json!(then.result), json!(now.result)),
    ];
    match whole.into_iter().find(|(_, then, now)| then != now) {
        None => Ok(()),
        Some((what, then, now)) => {
            let text = format!("the journal {} is of another plan: {what} differs", journal.path().display());
            Err(Error::refused(text)
                .hint("resume with the layout, image, host name and disks of then, or apply without resuming")
                .fact("code", "A411")
                .fact("expected", then)
                .fact("actual", now))
        }
    }
}

/// What stays of a disk when it is half-made and the machine starts again: not its path.
fn identity(disk: &JournalDisk) -> Value {
    json!([disk.set, disk.size, disk.sector, disk.model, disk.serial, disk.wwid])
}

/// Whether the table of a disk is there and stays. Nothing is written.
///
/// # Errors
/// `Refused` (A412) when the disk is not what the run left.
pub(super) fn keeps_table(journal: &Journal, plan: &Plan, index: usize, gate: &Gate) -> Result<bool> {
    let disk = &plan.disks()[index];
    let found = table::read(gate, gate.sector()).map_err(|e| Error::io("read", gate.name(), e))?;
    let is = found.table();
    let (step, then) = (disk.id(plan), &journal.header().disks[index]);
    if journal.has_ended(&format!("table:{step}")) {
        return match is {
            Some(t) if is_planned(t, disk) => Ok(true),
            _ => Err(differs(gate.name(), "its partition table is not the one that was written")),
        };
    }
    let guid = is.map(|t| t.disk);
    let begun = journal.has_begun(&format!("erase:{step}")) || journal.has_begun(&format!("table:{step}"));
    let known = if begun {
        // The old table holds until the new one stands, unless everything is erased.
        let gone = then.had.is_none() || matches!(disk.wipe, Wipe::Discard | Wipe::Zero);
        guid == then.had || guid == Some(then.gets) || guid.is_none() && gone
    } else {
        disk.facts.fingerprint == then.fingerprint
    };
    if known { Ok(false) } else { Err(differs(gate.name(), "what is on it is something else than then")) }
}

/// Whether a table is that of the plan, with or without the marks.
fn is_planned(is: &table::Table, disk: &PlannedDisk) -> bool {
    let mut is = is.clone();
    for entry in is.entries.values_mut() {
        entry.name = entry.name.strip_suffix(MARKER).unwrap_or(&entry.name).to_owned();
    }
    let planned = disk.table(false);
    (is.disk, is.entries) == (planned.disk, planned.entries)
}

/// Whether the marks are off all disks, which is the last that a run does.
///
/// # Errors
/// `Refused` (A412) when one of them is not as it was left.
pub(super) fn is_committed(plan: &Plan, gates: &[Gate]) -> Result<()> {
    for (disk, gate) in plan.disks().iter().zip(gates) {
        gpt::verify(gate, &disk.table(false))
            .map_err(|e| differs(gate.name(), "its partition table is not the one that was written").cause(e))?;
    }
    Ok(())
}

/// Whether a layer is there, whole and with the identities of the plan.
///
/// # Errors
/// `Io`.
pub(super) fn holds(plan: &Plan, layer: Layer, devices: &dyn Devices, gates: &[Gate]) -> Result<bool> {
    let failed = |device: Device| move |e: std::io::Error| Error::io("read", plan.glance(device).reference, e);
    for device in plan.layer_below(layer) {
        let reader = devices.read(device, gates)?;
        let place = Place::whole(&*reader);
        let right = match layer {
            Layer::Array(i) => {
                let array = &plan.arrays()[i];
                let active = array.members.len() - array.spares as usize;
                md::read(&place)
                    .map_err(failed(device))?
                    .is_some_and(|s| (s.uuid, s.raid_disks as usize, s.present()) == (array.uuid, active, active))
            }
            Layer::Crypt(i) => {
                // What only the TPM opens is made again: a half-made one may be sealed to nothing yet.
                let crypt = &plan.crypts()[i];
                let opens = crypt.keys.iter().any(|k| matches!(k, Key::Secret(_)));
                let wanted = crypt.uuid.to_string();
                opens && luks::read(&place).map_err(failed(device))?.is_some_and(|h| h.uuid == wanted)
            }
            Layer::Group(i) => {
                let group = &plan.groups()[i];
                let uuid = group.pvs.iter().find(|(d, _)| *d == device).map(|(_, uuid)| uuid.as_str());
                let volume = lvm::read(&place).map_err(failed(device))?.filter(|v| Some(v.uuid.as_str()) == uuid);
                volume.as_ref().and_then(|v| v.group()).is_some_and(|g| {
                    let has = |v: &crate::layout::plan::PlannedVolume| {
                        let there = g.volume(&v.name);
                        there.is_some_and(|l| v.kind != VolumeKind::Linear || g.size_of(l) == v.size)
                    };
                    g.name == group.name && group.volumes.iter().all(has)
                })
            }
        };
        if !right {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Everything recognised on a device.
///
/// # Errors
/// `Io`.
pub(super) fn recognised(plan: &Plan, device: Device, devices: &dyn Devices, gates: &[Gate]) -> Result<Vec<Signature>> {
    let reader = devices.read(device, gates)?;
    let found = signature::find(&*reader, 0, reader.size());
    found.map_err(|e| Error::io("read", plan.glance(device).reference, e))
}

/// Whether a device has this filesystem and nothing else.
pub(super) fn is_filesystem(found: &[Signature], fs: &PlannedFilesystem, uuid: &str) -> bool {
    matches!(found, [s] if s.kind == fs.kind.name() && s.uuid.as_deref() == Some(uuid))
}

/// Refuses a device on which something is that this apply did not make.
///
/// # Errors
/// `Refused` (A412); `Io`.
pub(super) fn ours(plan: &Plan, device: Device, devices: &dyn Devices, gates: &[Gate]) -> Result<()> {
    let known = identities(plan);
    let found = recognised(plan, device, devices, gates)?;
    match found.iter().find(|s| !s.uuid.as_ref().is_some_and(|uuid| known.contains(uuid))) {
        None => Ok(()),
        Some(s) => {
            let name = plan.glance(device).reference;
            Err(differs(&name, &format!("it carries {s}, which this apply did not make")))
        }
    }
}

fn identities(plan: &Plan) -> BTreeSet<String> {
    let arrays = plan.arrays().iter().map(|a| a.uuid.to_string());
    let crypts = plan.crypts().iter().map(|c| c.uuid.to_string());
    let physical = plan.groups().iter().flat_map(|g| g.pvs.iter().map(|(_, uuid)| uuid.clone()));
    let filesystems = plan.filesystems().iter().flat_map(|f| f.places().map(|(_, uuid)| uuid.to_owned()));
    arrays.chain(crypts).chain(physical).chain(filesystems).collect()
}

/// Something is not what the interrupted run left.
pub(super) fn differs(name: &str, what: &str) -> Error {
    Error::refused(format!("{name} is not as the interrupted apply left it: {what}"))
        .hint("if it may be erased, apply without resuming: that begins anew")
        .fact("code", "A412")
        .fact("path", name)
}
