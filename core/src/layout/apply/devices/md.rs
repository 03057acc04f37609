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

/// The array that holds one of these members: which of them works is asked afterwards.
///
/// # Errors
/// `Io` when the kernel shows none.
pub(super) fn of_members(kernel: &Kernel, members: &[DeviceNumber], name: &str) -> Result<DeviceNumber> {
    let mut held = members.iter().flat_map(|m| kernel.holders(*m));
    let found = held.find(|(_, number)| kernel.attribute(*number, "md/level").is_some());
    found.map(|(_, number)| number).ok_or_else(|| Error::io("find the array", name, rustix::io::Errno::NODEV))
}

/// The first member, by its place among these, that an array runs without or that failed in it.
pub(super) fn missing(kernel: &Kernel, array: DeviceNumber, members: &[DeviceNumber]) -> Option<usize> {
    members.iter().position(|m| {
        let is_held = kernel.holders(*m).iter().any(|(_, holder)| *holder == array);
        let state = kernel.name(*m).and_then(|name| kernel.attribute(array, &format!("md/dev-{name}/state")));
        !is_held || state.is_some_and(|s| s.split(',').any(|word| word == "faulty"))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An array of 8:1 and 8:2, of which the first failed and the kernel let go; 8:3 is none of it.
    #[test]
    fn the_array_is_found_by_any_member_and_all_of_them_are_asked_for() {
        let tmp = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = tmp.path().join("dev/block").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("9:0/md/level", "raid1");
        write("8:2/holders/md0/dev", "9:0");
        write("8:3/holders/dm-0/dev", "253:0");
        write("253:0/size", "8");
        let kernel = Kernel::at(tmp.path(), tmp.path());
        let [one, two, three] = [1, 2, 3].map(|minor| DeviceNumber { major: 8, minor });
        let array = of_members(&kernel, &[one, two], "a").unwrap();
        assert_eq!(array, DeviceNumber { major: 9, minor: 0 });
        assert_eq!(of_members(&kernel, &[one, three], "a").unwrap_err().kind(), crate::ErrorKind::Io);
        assert_eq!(missing(&kernel, array, &[one, two]), Some(0));
        assert_eq!(missing(&kernel, array, &[two]), None);
        write("8:1/holders/md0/dev", "9:0");
        assert_eq!(missing(&kernel, array, &[one, two]), None);
        write("9:0/md/dev-8:2/state", "faulty");
        assert_eq!(missing(&kernel, array, &[one, two]), Some(1));
    }
}
