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
use super::journal::{self, Header, Journal, JournalDisk};
use super::{ApplyOptions, gpt};
use crate::error::{Error, Result};
use crate::layout::MARKER;
use crate::layout::device::{OpenDisk, ReadAt};
use crate::layout::gate::Gate;
use crate::layout::gpt::{self as table, Mbr};
use crate::layout::ondisk::{luks, lvm, md};
use crate::layout::place::Place;
use crate::layout::plan::{Device, Layer, Plan, PlannedDisk, PlannedFilesystem};
use crate::layout::signature::{self, Signature};
use crate::layout::spec::{Key, VolumeKind, Wipe};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;

/// Whether a journal is of what this plan makes.
///
/// # Errors
/// `Refused` (A411) with what differs.
pub(super) fn check(past: &Journal, plan: &Plan, options: &ApplyOptions, installs: bool) -> Result<()> {
    let (then, now) = (past.header(), Header::of(plan, options.backend, installs));
    let disks = |h: &Header| -> Value { h.disks.iter().map(identity).collect() };
    let whole: [(&str, Value, Value); 9] = [
        ("the layout", json!(then.layout_hash), json!(now.layout_hash)),
        ("the image", json!(then.image), json!(now.image)),
        ("what is installed", json!(then.installs), json!(now.installs)),
        ("the host name", json!(then.hostname), json!(now.hostname)),
        ("the backend", json!(then.backend), json!(now.backend)),
        ("the disks", disks(then), disks(&now)),
        ("the seed", json!(then.seed), json!(now.seed)),
        ("what is kept", json!(then.kept), json!(now.kept)),
        ("what is made", json!(then.result), json!(now.result)),
    ];
    match whole.into_iter().find(|(_, then, now)| then != now) {
        None => Ok(()),
        Some((what, then, now)) => {
            let text = format!("the journal {} is of another plan: {what} differs", past.path().display());
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

/// Judges all disks that are written by a look at them, before anything that stands on them is stopped.
///
/// # Errors
/// As [`keeps_table`].
pub(super) fn judge(past: &Journal, plan: &Plan) -> Result<()> {
    for (index, disk) in plan.disks().iter().enumerate().filter(|(i, _)| !plan.is_untouched(*i)) {
        let file = File::open(&disk.facts.path).map_err(|e| Error::io("open", disk.facts.path.display(), e))?;
        keeps_table(past, plan, index, &OpenDisk { file, size: disk.facts.size })?;
    }
    Ok(())
}

/// Whether the table of a disk is there and stays. Nothing is written.
///
/// # Errors
/// `Refused` (A412) when the disk is not what the run left.
pub(super) fn keeps_table(past: &Journal, plan: &Plan, index: usize, device: &dyn ReadAt) -> Result<bool> {
    let disk = &plan.disks()[index];
    let (name, sector) = (disk.facts.path.display().to_string(), disk.facts.sector);
    let failed = |e: std::io::Error| Error::io("read", &name, e);
    let found = table::read(device, sector).map_err(failed)?;
    let is = found.table();
    let (step, then) = (disk.id(plan), &past.header().disks[index]);
    if past.has_ended(&format!("table:{step}")) {
        return match is {
            Some(t) if is_planned(t, disk) => Ok(true),
            _ => Err(differs(&name, "its partition table is not the one that was written")),
        };
    }
    let guid = is.map(|t| t.disk);
    let begun = past.has_begun(&format!("erase:{step}")) || past.has_begun(&format!("table:{step}"));
    if !begun {
        let as_then = if disk.facts.held { &then.outline } else { &then.fingerprint };
        let known = disk.facts.fingerprint == *as_then;
        return if known { Ok(false) } else { Err(differs(&name, "what is on it is something else than then")) };
    }
    if guid.is_some() {
        let known = guid == then.had || guid == Some(then.gets);
        return if known { Ok(false) } else { Err(differs(&name, "it has another partition table")) };
    }
    // The first sectors hold what they held until the new table stands, unless everything is erased.
    let erased = matches!(disk.wipe, Wipe::Discard | Wipe::Zero) && found.mbr == Mbr::None;
    let as_then = then.had.is_none() && journal::head(device, sector).map_err(failed)? == then.head;
    if !erased && !as_then {
        return Err(differs(&name, "its first sectors are neither what was there nor what was written"));
    }
    let ours = identities(plan);
    let now = signature::find(device, 0, device.size()).map_err(failed)?;
    let strange = |s: &&Signature| !then.had_signature(s) && !s.uuid.as_ref().is_some_and(|u| ours.contains(u));
    match now.iter().find(strange) {
        None => Ok(false),
        Some(s) => Err(differs(&name, &format!("it carries {s}, which was not on it and is not of this apply"))),
    }
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
