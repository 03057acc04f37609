//! What is built of disks, and who uses it: holders, mounts, swap, resolved down to disks.
//!
//! ```text
//! sda ── sda2 ── md127 ── mounted at /boot
//!     └─ sda3 ── md126 ── dm-0 (sys-root) ── mounted at /
//! ```

use super::disk::{Holder, How, Partition, Usage};
use super::tree::{Device, Tree};
use super::udev::Entry;
use crate::layout::ondisk::lvm::mapper_name;
use crate::sys::sysfs::{self, DeviceNumber, Mount};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where live systems mount the medium that they came from.
const MEDIA: [&str; 7] = [
    "/run/initramfs/live",
    "/run/live/medium",
    "/lib/live/mount/medium",
    "/run/archiso/bootmnt",
    "/cdrom",
    "/run/install/repo",
    "/isodevice",
];

/// A block device: a disk, a partition, or something built of them.
#[derive(Clone, Debug)]
struct Node {
    device: Device,
    number: DeviceNumber,
    /// What is directly on it: partitions and holders.
    above: Vec<String>,
}

/// All block devices of a machine, and their uses.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    tree: &'a Tree,
    nodes: BTreeMap<String, Node>,
    uses: BTreeMap<String, BTreeSet<Usage>>,
}

impl<'a> Stack<'a> {
    pub(super) fn read(tree: &'a Tree) -> Self {
        let mut stack = Self { tree, nodes: BTreeMap::new(), uses: BTreeMap::new() };
        for (name, device) in tree.block_devices() {
            stack.add(&name, &device);
            for inner in tree.inside(&device, "") {
                let partition = device.child(&inner);
                if tree.number(&partition, "partition").is_some() {
                    stack.add(&inner, &partition);
                    if let Some(node) = stack.nodes.get_mut(&name) {
                        node.above.push(inner);
                    }
                }
            }
        }
        stack.hold_loops();
        stack.find_uses();
        stack
    }

    fn add(&mut self, name: &str, device: &Device) {
        let number = self.tree.attribute(device, "dev").and_then(|t| DeviceNumber::parse(&t));
        if let Some(number) = number {
            let above = self.tree.inside(device, "holders");
            self.nodes.insert(name.to_owned(), Node { device: device.clone(), number, above });
        }
    }

    /// A loop device over a block device is a holder that the kernel does not list.
    fn hold_loops(&mut self) {
        let loops: Vec<(String, String)> = self
            .nodes
            .iter()
            .filter_map(|(name, node)| {
                let file = self.tree.attribute(&node.device, "loop/backing_file")?;
                Some((name.clone(), self.resolve(Path::new(&file))?))
            })
            .collect();
        for (holder, on) in loops {
            if let Some(node) = self.nodes.get_mut(&on) {
                node.above.push(holder);
            }
        }
    }

    fn find_uses(&mut self) {
        let text = self.tree.bytes("proc/self/mountinfo").unwrap_or_default();
        let mounts = sysfs::parse_mountinfo(&String::from_utf8_lossy(&text));
        let pools = self.pools();
        let mut uses: Vec<(String, Usage)> = Vec::new();
        for mount in &mounts {
            let Some(device) = self.device_of(mount) else { continue };
            let at = mount.target.to_string_lossy().into_owned();
            let how = match at.as_str() {
                "/" => How::Root,
                at if MEDIA.contains(&at) => How::Medium,
                _ => How::Mounted,
            };
            let pool = pools.iter().find(|p| p.contains(&device));
            for device in pool.map_or_else(|| vec![device.clone()], |p| p.iter().cloned().collect()) {
                let at = (how != How::Root).then(|| at.clone());
                uses.push((device.clone(), Usage { how, device, at }));
            }
        }
        // A mounted loop device has its file somewhere: an installer's medium, by whatever name it is mounted.
        let is_mounted: BTreeSet<String> = uses.iter().map(|(device, _)| device.clone()).collect();
        for name in is_mounted.iter().filter(|n| n.starts_with("loop")) {
            let file = self.nodes.get(name).and_then(|n| self.tree.attribute(&n.device, "loop/backing_file"));
            let below = file.and_then(|f| {
                let holds =
                    mounts.iter().filter(|m| Path::new(&f).starts_with(&m.target) && m.target != Path::new("/"));
                holds.max_by_key(|m| m.target.as_os_str().len())
            });
            if let Some((mount, device)) = below.and_then(|m| Some((m, self.device_of(m)?))) {
                let at = Some(mount.target.to_string_lossy().into_owned());
                uses.push((device.clone(), Usage { how: How::Medium, device, at }));
            }
        }
        let swaps = self.tree.text("proc/swaps").unwrap_or_default();
        for line in swaps.lines().skip(1) {
            let path = line.split_whitespace().next().map(sysfs::unescape).unwrap_or_default();
            if let Some(device) = self.resolve(Path::new(&path)) {
                uses.push((device.clone(), Usage { how: How::Swap, device, at: None }));
            }
        }
        for (device, usage) in uses {
            self.uses.entry(device).or_default().insert(usage);
        }
    }

    /// Devices that are one btrfs: a mount names one of them, and all are used.
    fn pools(&self) -> Vec<BTreeSet<String>> {
        let all = self.tree.names("sys/fs/btrfs").into_iter();
        all.map(|id| self.tree.names(&format!("sys/fs/btrfs/{id}/devices")).into_iter().collect::<BTreeSet<_>>())
            .filter(|pool| !pool.is_empty())
            .collect()
    }

    fn device_of(&self, mount: &Mount) -> Option<String> {
        if mount.device.major == 0 {
            return self.resolve(&mount.source);
        }
        self.nodes.iter().find(|(_, n)| n.number == mount.device).map(|(name, _)| name.clone())
    }

    /// The kernel's name of a node in `/dev`.
    fn resolve(&self, path: &Path) -> Option<String> {
        let rest = path.to_str()?.strip_prefix("/dev/")?;
        if self.nodes.contains_key(rest) {
            return Some(rest.to_owned());
        }
        let mapped = match rest.split_once('/') {
            Some(("mapper", name)) => name.to_owned(),
            Some((group, volume)) => mapper_name(group, volume),
            None => return None,
        };
        let by_label = |(_, n): &(&String, &Node)| self.tree.attribute(&n.device, "dm/name").as_ref() == Some(&mapped);
        let by_link = |(_, n): &(&String, &Node)| Entry::read(self.tree, n.number).has_link(rest);
        let found = self.nodes.iter().find(by_label).or_else(|| self.nodes.iter().find(by_link));
        found.map(|(name, _)| name.clone())
    }

    /// The partitions of a disk, by number.
    pub(super) fn partitions(&self, disk: &str) -> Vec<Partition> {
        let above = self.nodes.get(disk).map_or(&[][..], |n| &n.above);
        let mut found: Vec<Partition> = above
            .iter()
            .filter_map(|name| {
                let node = self.nodes.get(name)?;
                let number = |attribute: &str| self.tree.number(&node.device, attribute);
                Some(Partition {
                    number: u32::try_from(number("partition")?).ok()?,
                    name: name.clone(),
                    device: node.number,
                    start: number("start")?.checked_mul(512)?,
                    length: number("size")?.checked_mul(512)?,
                })
            })
            .collect();
        found.sort_by_key(|p| p.number);
        found
    }

    /// Everything that is built of a device, what lies below first.
    pub(super) fn holders(&self, disk: &str) -> Vec<Holder> {
        let order = self.above(disk);
        let is_partition = |name: &String| {
            self.nodes.get(disk).is_some_and(|d| d.above.contains(name)) && {
                self.nodes.get(name).is_some_and(|n| self.tree.number(&n.device, "partition").is_some())
            }
        };
        let built = order.iter().filter(|name| *name != disk && !is_partition(name));
        built.filter_map(|name| self.holder(name, &order)).collect()
    }

    fn holder(&self, name: &str, order: &[String]) -> Option<Holder> {
        let node = self.nodes.get(name)?;
        let text = |attribute: &str| self.tree.attribute(&node.device, attribute);
        let udev = Entry::read(self.tree, node.number);
        let mapped = text("dm/uuid");
        let kind = match (name, mapped.as_deref().and_then(|u| u.split('-').next())) {
            (_, Some("LVM")) => "lvm",
            (_, Some("CRYPT")) => "crypt",
            (_, Some("mpath")) => "mpath",
            (_, Some(part)) if part.strip_prefix("part").is_some_and(|n| n.parse::<u32>().is_ok()) => "partition",
            (name, None) if self.tree.number(&node.device, "partition").is_some() && !name.starts_with("dm-") => {
                "partition"
            }
            (name, _) => name.split(|c: char| c.is_ascii_digit() || c == '-').next().unwrap_or(name),
        };
        let on = order.iter().filter(|below| self.nodes.get(*below).is_some_and(|b| b.above.iter().any(|a| a == name)));
        Some(Holder {
            name: name.to_owned(),
            number: node.number,
            kind: kind.to_owned(),
            label: text("dm/name").or_else(|| udev.property("MD_NAME").map(str::to_owned)),
            uuid: mapped.or_else(|| text("md/uuid")).or_else(|| udev.property("MD_UUID").map(str::to_owned)),
            level: text("md/level"),
            on: on.cloned().collect(),
        })
    }

    /// The device and everything above it, what lies below first.
    fn above(&self, device: &str) -> Vec<String> {
        // Depth first, each node after what it lies on: the reverse of the order in which they are finished.
        let (mut done, mut seen) = (Vec::new(), BTreeSet::new());
        let mut todo = vec![(device.to_owned(), false)];
        while let Some((name, is_finished)) = todo.pop() {
            if is_finished {
                done.push(name);
            } else if seen.insert(name.clone()) {
                todo.push((name.clone(), true));
                let above = self.nodes.get(&name).map_or(&[][..], |n| &n.above);
                todo.extend(above.iter().rev().map(|a| (a.clone(), false)));
            }
        }
        done.reverse();
        done
    }

    /// Who uses a device or something built of it, the worst first.
    pub(super) fn uses(&self, disk: &str) -> Vec<Usage> {
        let all = self.above(disk).into_iter().filter_map(|name| self.uses.get(&name)).flatten();
        all.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}
