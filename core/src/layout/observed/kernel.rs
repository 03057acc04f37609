//! Which arrays, encrypted devices and volumes the kernel has started, found from what they stand on.
//!
//! sysfs lists at each device what holds it. So a device is the one that runs on these very disks, and not another of
//! the same name or UUID.

use super::Running;
use super::members::Use;
use crate::layout::device::OpenDisk;
use crate::sys::block;
use crate::sys::sysfs::{DeviceNumber, Kernel};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The array that one of these members belongs to.
pub(super) fn array(kernel: &Kernel, members: &[DeviceNumber]) -> Option<Running> {
    members.iter().flat_map(|m| kernel.holders(*m)).find_map(|(name, number)| {
        kernel.attribute(number, "md/level")?;
        // An array that lacks too many members is there and has no size.
        (size(kernel, number)? > 0).then_some(Running { kernel: name, number, mapped: None })
    })
}

/// What a member does in an array that runs.
pub(super) fn member(kernel: &Kernel, array: DeviceNumber, member: Option<DeviceNumber>) -> Use {
    let holds = |m: &DeviceNumber| kernel.holders(*m).iter().any(|(_, holder)| *holder == array);
    let Some(member) = member.filter(holds) else { return Use::Absent };
    let state = kernel.name(member).and_then(|name| kernel.attribute(array, &format!("md/dev-{name}/state")));
    let is_faulty = state.is_some_and(|s| s.split(',').any(|word| word == "faulty"));
    if is_faulty { Use::Failed } else { Use::Works }
}

/// The open side of the encrypted device `on`, by the UUID of its header.
pub(super) fn crypt(kernel: &Kernel, on: DeviceNumber, uuid: &str) -> Option<Running> {
    let wanted = uuid.replace('-', "");
    kernel.holders(on).into_iter().find_map(|(name, number)| {
        let own = kernel.attribute(number, "dm/uuid")?;
        let mut words = own.split('-');
        let right = words.next() == Some("CRYPT") && words.any(|w| w == wanted);
        right.then(|| Running { kernel: name, number, mapped: kernel.attribute(number, "dm/name") })
    })
}

/// The volume of a group over these physical volumes. Thin ones stand on hidden ones.
pub(super) fn volume(kernel: &Kernel, physical: &[DeviceNumber], group: &str, volume: &str) -> Option<Running> {
    let wanted = format!("LVM-{}{}", group.replace('-', ""), volume.replace('-', ""));
    let (mut todo, mut seen) = (physical.to_vec(), BTreeSet::new());
    while let Some(device) = todo.pop() {
        for (name, number) in kernel.holders(device) {
            if kernel.attribute(number, "dm/uuid").as_deref() == Some(&wanted) {
                return Some(Running { kernel: name, number, mapped: kernel.attribute(number, "dm/name") });
            }
            if seen.insert(number) {
                todo.push(number);
            }
        }
    }
    None
}

/// The size of a device in bytes.
pub(super) fn size(kernel: &Kernel, device: DeviceNumber) -> Option<u64> {
    kernel.attribute(device, "size")?.parse::<u64>().ok()?.checked_mul(512)
}

/// Opens a started device for reading, if its node is there and is this device.
pub(super) fn open(running: &Running) -> io::Result<OpenDisk> {
    let mapped = running.mapped.as_ref().map(|m| Path::new("/dev/mapper").join(m));
    let nodes = [Some(PathBuf::from("/dev").join(&running.kernel)), mapped];
    for node in nodes.into_iter().flatten() {
        if let Some(disk) = open_node(&node, running.number)? {
            return Ok(disk);
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("{} has no node in /dev", running.kernel)))
}

fn open_node(node: &Path, number: DeviceNumber) -> io::Result<Option<OpenDisk>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(fd) = rustix::fs::open(node, flags, Mode::empty()) else { return Ok(None) };
    let file = File::from(fd);
    let meta = file.metadata()?;
    if !meta.file_type().is_block_device() || DeviceNumber::from_raw(meta.rdev()) != number {
        return Ok(None);
    }
    let size = block::size(file.as_fd())?;
    Ok(Some(OpenDisk { file, size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A partition 8:1 that is in md0, which is open as dm-0, which is a PV with a pool (dm-2 on dm-1) and a volume in it.
    fn machine(sys: &Path) {
        let link = |from: &str, name: &str, to: &str| {
            let device = sys.join("dev/block").join(to);
            write(&device.join("size"), "2048\n");
            write(&sys.join("dev/block").join(from).join("holders").join(name).join("dev"), &format!("{to}\n"));
        };
        for (from, name, to) in [
            ("8:1", "md0", "9:0"),
            ("9:0", "dm-0", "253:0"),
            ("253:0", "dm-1", "253:1"),
            ("253:1", "dm-2", "253:2"),
            ("253:2", "dm-3", "253:3"),
        ] {
            link(from, name, to);
        }
        let attribute =
            |device: &str, name: &str, text: &str| write(&sys.join("dev/block").join(device).join(name), text);
        attribute("9:0", "md/level", "raid1\n");
        attribute("253:0", "dm/uuid", "CRYPT-LUKS2-0123456789abcdef0123456789abcdef-home\n");
        attribute("253:0", "dm/name", "home\n");
        attribute("253:2", "dm/uuid", "LVM-AABB-tpool\n");
        attribute("253:3", "dm/uuid", "LVM-AABB\n");
        attribute("253:3", "dm/name", "v-t\n");
    }

    #[test]
    fn started_devices_are_found_from_below() {
        let tmp = tempfile::tempdir().unwrap();
        machine(tmp.path());
        let kernel = Kernel::at(tmp.path(), tmp.path());
        let number = |major, minor| DeviceNumber { major, minor };
        assert_eq!(array(&kernel, &[number(8, 1)]).unwrap().number, number(9, 0));
        assert_eq!(array(&kernel, &[number(9, 0)]), None);
        let used = |on| member(&kernel, number(9, 0), on);
        assert_eq!(
            [used(Some(number(8, 1))), used(Some(number(8, 2))), used(None)],
            [Use::Works, Use::Absent, Use::Absent]
        );
        let state = tmp.path().join("dev/block/9:0/md/dev-8:1/state");
        for (text, is) in
            [("in_sync,write_mostly\n", Use::Works), ("spare\n", Use::Works), ("faulty,write_mostly\n", Use::Failed)]
        {
            write(&state, text);
            assert_eq!(used(Some(number(8, 1))), is);
        }
        let open = crypt(&kernel, number(9, 0), "01234567-89ab-cdef-0123-456789abcdef").unwrap();
        assert_eq!(open.mapped.as_deref(), Some("home"));
        assert_eq!(crypt(&kernel, number(9, 0), "11234567-89ab-cdef-0123-456789abcdef"), None);
        assert_eq!(volume(&kernel, &[number(253, 0)], "A-A", "B-B").unwrap().number, number(253, 3));
        assert_eq!(volume(&kernel, &[number(253, 0)], "A-A", "C-C"), None);
        assert!(open_node(Path::new("/dev/null"), number(1, 3)).unwrap().is_none());
    }
}
