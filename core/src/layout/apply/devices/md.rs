//! Arrays with mdadm, which gets every number from the plan: what it would choose differs between its versions.

use crate::error::{Error, Result};
use crate::layout::plan::PlannedArray;
use crate::layout::spec::{Bitmap, Level, Metadata, Resync};
use crate::sys::program::{Call, Program};
use crate::sys::sysfs::{DeviceNumber, Kernel};
use std::path::Path;

/// How fast the members are made equal while the disks are being filled, in KiB/s for each.
const QUIET: &str = "20000";

/// The run that makes an array out of `members`; `device` is the name that the kernel's device gets, in `/dev/md`.
pub(super) fn create(array: &PlannedArray, members: &[&Path], device: &Path) -> Call {
    let kib = |bytes: u64| (bytes / 1024).to_string();
    let active = array.members.len() - array.spares as usize;
    let mut call = mdadm()
        .args(["--create", "--run", "--quiet"])
        .arg(device)
        .args(["--level", &array.level.to_string(), "--raid-devices", &active.to_string()])
        .args(["--metadata", array.metadata.name(), "--homehost", "any", "--name", &array.name])
        .args(["--uuid", &array.md_uuid()]);
    if array.spares > 0 {
        call = call.args(["--spare-devices", &array.spares.to_string()]);
    }
    if let Some(chunk) = array.chunk {
        call = call.args(["--chunk", &kib(chunk)]);
    }
    if let Some(layout) = array.layout {
        call = call.args(["--layout", &layout.to_string()]);
    }
    if array.level.is_redundant() {
        call = call.args(["--bitmap", if array.bitmap == Bitmap::Internal { "internal" } else { "none" }]);
        call = call.args(["--size", &kib(array.component)]);
    }
    if array.metadata == Metadata::V1_2 {
        call = call.args(["--data-offset", &format!("{}K", kib(array.data_offset))]);
    }
    if matches!(array.sync, Resync::AssumeClean | Resync::Zero) && array.level.is_redundant() {
        call = call.arg("--assume-clean");
    }
    // It asks whether one member makes sense. And a level 5 would begin as a degraded one that recovers: when the power
    // fails before it has, nothing starts it again.
    if active == 1 || array.level == Level::Raid5 {
        call = call.arg("--force");
    }
    call.args(members)
}

/// The run that starts an array that is there, out of these members and no others.
pub(super) fn assemble(array: &PlannedArray, members: &[&Path], device: &Path) -> Call {
    let call = mdadm().args(["--assemble", "--quiet", "--config", "none", "--uuid", &array.md_uuid()]);
    // One that lacks members starts only when it is told to; that it may was decided when the plan was made.
    call.arg("--run").arg(device).args(members)
}

/// The run that stops an array.
pub(super) fn stop(device: &Path) -> Call {
    mdadm().args(["--stop", "--quiet"]).arg(device)
}

fn mdadm() -> Call {
    // Nodes and names are ours to make; waiting for a udev that does not know them would take minutes.
    Call::new(Program::Mdadm).env("MDADM_NO_UDEV", "1").env("MDADM_NO_SYSTEMCTL", "1")
}

/// The array that holds a member.
///
/// # Errors
/// `Io` when the kernel shows none.
pub(super) fn of_member(member: DeviceNumber, name: &str) -> Result<DeviceNumber> {
    let held = Kernel::default().holders(member).into_iter().find(|(holder, _)| holder.starts_with("md"));
    held.map(|(_, number)| number).ok_or_else(|| Error::io("find the array", name, rustix::io::Errno::NODEV))
}

/// Keeps the copying between members out of the way while the disks are filled.
///
/// # Errors
/// `Io`.
pub(super) fn calm(array: &PlannedArray, number: DeviceNumber) -> Result<()> {
    if !array.level.is_redundant() {
        return Ok(());
    }
    let kernel = Kernel::default();
    let set = |name: &str, value: &str| {
        kernel.set(number, name, value).map_err(|e| Error::io("set", format!("{name} of {}", array.name), e))
    };
    if array.sync == Resync::FrozenUntilBoot {
        set("md/sync_action", "frozen")
    } else {
        set("md/sync_speed_max", QUIET)
    }
}

/// Takes the limit away again.
pub(super) fn release(array: &PlannedArray, number: DeviceNumber) {
    if array.level.is_redundant() && array.sync != Resync::FrozenUntilBoot {
        // It only stays slower than it could be.
        let _ = Kernel::default().set(number, "md/sync_speed_max", "system");
    }
}
