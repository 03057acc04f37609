//! What the kernel has made of the disks of a plan and nobody uses: arrays, volumes, open encrypted devices. It is stopped
//! before the disks are written, the topmost first.
//!
//! ```text
//! sda2 ┐                  ┌ dm-1 (sys-root)
//!      ├ md127 ── dm-0 ───┤                      stopped: dm-1, dm-2, dm-0, md127
//! sdb2 ┘          (luks)  └ dm-2 (sys-var)
//! ```
//!
//! Only what stands on disks of the plan alone, and only where the plan may do so: the set says `wipe: all`, the disk was
//! left unfinished by an application, or what is on it is kept and started again.

use super::MARKER;
use super::device::{Facts, Medium};
use super::spec::Wipe;
use crate::error::Result;
use crate::sys::program::{Call, Program};
use crate::sys::sysfs::{DeviceNumber, Kernel, Use};
use std::collections::BTreeSet;
use std::fmt;

/// Something that is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The kernel's name, such as `md127` or `dm-3`.
    pub kernel: String,
    /// Its number.
    pub number: DeviceNumber,
    /// What it is to the program that stops it.
    pub kind: Kind,
}

/// How something is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An array of md.
    Array,
    /// A volume or the open side of an encrypted device, by its name in `/dev/mapper`.
    Mapped(String),
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Array => f.write_str(&self.kernel),
            Kind::Mapped(name) => write!(f, "{} ({name})", self.kernel),
        }
    }
}

impl Held {
    /// The run that stops it.
    #[must_use]
    pub fn stop(&self) -> Call {
        match &self.kind {
            Kind::Array => {
                let call = Call::new(Program::Mdadm).env("MDADM_NO_UDEV", "1").env("MDADM_NO_SYSTEMCTL", "1");
                call.args(["--stop", "--quiet"]).arg(format!("/dev/{}", self.kernel))
            }
            // One program for both, whoever made them; udev may be looking at it just now.
            Kind::Mapped(name) => {
                Call::new(Program::Dmsetup).env("DM_DISABLE_UDEV", "1").args(["remove", "--retry", name])
            }
        }
    }
}

/// Whether a disk may be taken out of whatever it is part of, by what its set says and what is on it.
#[must_use]
pub fn is_allowed(wipe: Wipe, facts: &Facts) -> bool {
    let entries = facts.contents.table.table().into_iter().flat_map(|t| t.entries.values());
    wipe == Wipe::All || entries.into_iter().any(|e| e.name.ends_with(MARKER))
}

/// Whether a disk is in use only by what stands on it: nothing of it is mounted or swapped to.
#[must_use]
pub fn is_only_held(kernel: &Kernel, disk: DeviceNumber) -> bool {
    let uses = kernel.uses(disk);
    !uses.is_empty() && uses.iter().all(|u| matches!(u, Use::Held(..)))
}

/// The numbers of disks; image files have none.
#[must_use]
pub fn numbers<'f>(disks: impl IntoIterator<Item = &'f Facts>) -> Vec<DeviceNumber> {
    let number = |f: &Facts| match f.medium {
        Medium::Block { major, minor } => Some(DeviceNumber { major, minor }),
        Medium::File { .. } => None,
    };
    disks.into_iter().filter_map(number).collect()
}

/// What stands on these disks, in the order in which it can be stopped.
///
/// # Errors
/// Why it cannot be, for people: it stands on other disks as well, or is nothing that libcv stops.
pub fn order(kernel: &Kernel, disks: &[DeviceNumber]) -> Result<Vec<Held>, String> {
    // Depth first, each after everything that stands on it: those are stopped before it.
    let (mut done, mut seen) = (Vec::new(), BTreeSet::new());
    let mut todo: Vec<(DeviceNumber, bool)> = disks.iter().rev().map(|d| (*d, false)).collect();
    while let Some((device, is_finished)) = todo.pop() {
        if is_finished {
            done.push(device);
        } else if seen.insert(device) {
            todo.push((device, true));
            todo.extend(kernel.partitions(device).into_iter().map(|p| (p.device, false)));
            todo.extend(kernel.holders(device).into_iter().map(|(_, holder)| (holder, false)));
        }
    }
    let built = done.into_iter().filter(|d| !disks.contains(d) && !kernel.is_partition(*d));
    built.map(|device| held(kernel, device, &seen)).collect()
}

/// The disks and partitions that a device stands on, over whatever lies between.
#[must_use]
pub fn foundation(kernel: &Kernel, device: DeviceNumber) -> BTreeSet<DeviceNumber> {
    let (mut lowest, mut seen, mut todo) = (BTreeSet::new(), BTreeSet::new(), vec![device]);
    while let Some(device) = todo.pop() {
        let below = kernel.slaves(device);
        if below.is_empty() {
            lowest.insert(device);
        }
        todo.extend(below.into_iter().filter(|b| seen.insert(*b)));
    }
    lowest
}

fn held(kernel: &Kernel, device: DeviceNumber, ours: &BTreeSet<DeviceNumber>) -> Result<Held, String> {
    let name = kernel.name(device).unwrap_or_else(|| device.to_string());
    if let Some(other) = kernel.slaves(device).into_iter().find(|s| !ours.contains(s)) {
        let other = kernel.name(other).unwrap_or_else(|| other.to_string());
        return Err(format!("{name} also stands on {other}, which is no disk of the plan that may be taken out of it"));
    }
    let text = |attribute: &str| kernel.attribute(device, attribute);
    if text("md/level").is_some() {
        return Ok(Held { kernel: name, number: device, kind: Kind::Array });
    }
    let uuid = text("dm/uuid").unwrap_or_default();
    match text("dm/name").filter(|_| uuid.starts_with("LVM-") || uuid.starts_with("CRYPT-")) {
        Some(mapped) => Ok(Held { kernel: name, number: device, kind: Kind::Mapped(mapped) }),
        None => Err(format!("{name} holds it, which is neither an array nor a volume nor an encrypted device")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Two disks with a partition each in md0, with an open LUKS on it that carries a pool and a thin volume.
    fn machine(sys: &Path) -> Kernel {
        let write = |path: &str, text: &str| {
            let path = sys.join("dev/block").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for (disk, name) in [(0, "sda1"), (16, "sdb1")] {
            let partition = disk + 1;
            write(&format!("8:{disk}/{name}/partition"), "1");
            write(&format!("8:{disk}/{name}/dev"), &format!("8:{partition}"));
            write(&format!("8:{disk}/{name}/start"), "2048");
            write(&format!("8:{disk}/{name}/size"), "2048");
            write(&format!("8:{partition}/partition"), "1");
        }
        let links = [("8:1", "9:0"), ("8:17", "9:0"), ("9:0", "253:0"), ("253:0", "253:1"), ("253:1", "253:2")];
        for (below, above) in links {
            write(&format!("{below}/holders/{above}/dev"), above);
            write(&format!("{above}/slaves/{below}/dev"), below);
        }
        write("9:0/md/level", "raid1");
        for (device, uuid, name) in
            [("0", "CRYPT-LUKS2-1", "luks"), ("1", "LVM-a-tpool", "v-p-tpool"), ("2", "LVM-b", "v-t")]
        {
            write(&format!("253:{device}/dm/uuid"), uuid);
            write(&format!("253:{device}/dm/name"), name);
        }
        Kernel::at(sys, sys)
    }

    const DISKS: [DeviceNumber; 2] = [DeviceNumber { major: 8, minor: 0 }, DeviceNumber { major: 8, minor: 16 }];

    #[test]
    fn the_topmost_is_stopped_first() {
        let tmp = tempfile::tempdir().unwrap();
        let kernel = machine(tmp.path());
        let order = order(&kernel, &DISKS).unwrap();
        let kinds: Vec<&Kind> = order.iter().map(|h| &h.kind).collect();
        let mapped = |name: &str| Kind::Mapped(name.to_owned());
        assert_eq!(kinds, [&mapped("v-t"), &mapped("v-p-tpool"), &mapped("luks"), &Kind::Array]);
        assert_eq!(order[0].stop().preview(), ["dmsetup", "remove", "--retry", "v-t"]);
        assert_eq!(order[3].stop().preview()[..2], ["mdadm", "--stop"]);
        let partitions = [1, 17].map(|minor| DeviceNumber { major: 8, minor });
        assert_eq!(foundation(&kernel, order[0].number), BTreeSet::from(partitions));
        assert!(is_only_held(&kernel, DISKS[0]));
        std::fs::create_dir_all(tmp.path().join("self")).unwrap();
        std::fs::write(tmp.path().join("self/mountinfo"), "1 0 253:2 / /srv rw - ext4 /dev/dm-2 rw\n").unwrap();
        assert!(!is_only_held(&kernel, DISKS[0]));
    }

    #[test]
    fn what_stands_on_other_disks_or_is_something_else_is_not_stopped() {
        let tmp = tempfile::tempdir().unwrap();
        let kernel = machine(tmp.path());
        assert!(order(&kernel, &DISKS[..1]).unwrap_err().contains("also stands on"));
        std::fs::write(tmp.path().join("dev/block/253:2/dm/uuid"), "mpath-x").unwrap();
        assert!(order(&kernel, &DISKS).unwrap_err().contains("neither an array"));
    }
}
