//! What of a plan is there already and stays: which devices, which bytes of the disks, and what that is for people.
//!
//! ```text
//! kept partition ── kept array ── kept group ── kept volume ── kept filesystem     its bytes are never written
//!        │                             └─────── new volume ─── new filesystem      LVM gives it free extents
//!        └ new array, filesystem …                                                 only the entry in the table stays
//! ```

use super::{Device, Layer, Plan};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::ondisk::lvm::mapper_name;
use crate::layout::ranges::Ranges;
use crate::layout::spec::Wipe;
use crate::layout::teardown::{Held, Kind};
use crate::layout::{apply, teardown};
use crate::sys::sysfs::{Kernel, KernelPartition};
use crate::units::human;
use uuid::Uuid;

/// Where an image, or the boot loader that comes with it, writes.
const SYSTEM: [&str; 10] =
    ["/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/etc", "/usr", "/var", "/lib", "/usr/lib"];

impl Plan {
    /// Whether a device is there already and stays.
    #[must_use]
    pub fn is_kept(&self, device: Device) -> bool {
        match device {
            Device::Partition { disk, partition } => self.disks[disk].partitions[partition].kept,
            Device::Array(i) => self.arrays[i].kept,
            Device::Crypt(i) => self.crypts[i].kept,
            Device::Volume { group, volume } => self.groups[group].volumes[volume].kept,
        }
    }

    /// Whether a layer is there already and stays.
    #[must_use]
    pub fn is_layer_kept(&self, layer: Layer) -> bool {
        match layer {
            Layer::Array(i) => self.arrays[i].kept,
            Layer::Crypt(i) => self.crypts[i].kept,
            Layer::Group(i) => self.groups[i].kept,
        }
    }

    /// The devices that something is made on directly, each as often as it is.
    pub(in crate::layout) fn made_on(&self) -> impl Iterator<Item = Device> + '_ {
        let members = self.arrays.iter().filter(|a| !a.kept).flat_map(|a| a.members.iter().copied());
        let encrypted = self.crypts.iter().filter(|c| !c.kept).map(|c| c.on);
        let physical = self.groups.iter().filter(|g| !g.kept).flat_map(|g| g.pvs.iter().map(|(d, _)| *d));
        let filesystems = self.filesystems.iter().filter(|f| !f.kept).flat_map(|f| f.places().map(|(d, _)| d));
        members.chain(encrypted).chain(physical).chain(filesystems)
    }

    /// Whether what is in a device stays, too: it is kept, and nothing is made on it.
    #[must_use]
    pub fn content_stays(&self, device: Device) -> bool {
        self.is_kept(device) && self.made_on().all(|d| d != device)
    }

    /// What of a disk is never written: what is in kept partitions, and in those that the document does not have.
    #[must_use]
    pub fn kept_ranges(&self, disk: usize) -> Ranges {
        let planned = &self.disks[disk];
        let own =
            (0..planned.partitions.len()).filter(|p| self.content_stays(Device::Partition { disk, partition: *p }));
        let own = own.map(|p| (planned.partitions[p].start, planned.partitions[p].length));
        own.chain(planned.others.iter().map(|p| (p.start, p.length))).collect()
    }

    /// Whether nothing of a disk is written, because all of it stays and its table is whole.
    #[must_use]
    pub fn is_untouched(&self, disk: usize) -> bool {
        let planned = &self.disks[disk];
        let partitions = 0..planned.partitions.len();
        let stays = |p: usize| self.content_stays(Device::Partition { disk, partition: p });
        let (new, found) = (planned.table(false), &planned.facts.contents.table);
        let same = |t: &crate::layout::gpt::Table| (t.disk, &t.entries) == (new.disk, &new.entries);
        !partitions.is_empty()
            && partitions.into_iter().all(stays)
            && [&found.primary, &found.backup].iter().all(|copy| copy.as_ref().is_ok_and(same))
    }

    /// Whether a layer is in the kernel when all are made. What is encrypted and kept is opened only for what is made in
    /// it: nobody has to give a secret for nothing.
    #[must_use]
    pub fn is_started(&self, layer: Layer) -> bool {
        let (own, below) = (self.layer_above(layer), self.layer_below(layer));
        let there = |device: Device| match device {
            Device::Partition { .. } => true,
            Device::Array(i) => self.is_started(Layer::Array(i)),
            Device::Crypt(i) => self.is_started(Layer::Crypt(i)),
            Device::Volume { group, .. } => self.is_started(Layer::Group(group)),
        };
        let needed = || !matches!(layer, Layer::Crypt(_)) || own.iter().any(|d| self.carries_made(*d));
        !self.is_layer_kept(layer) || below.into_iter().all(there) && needed()
    }

    /// Whether anything that is made stands on a device, over whatever lies between.
    pub(in crate::layout) fn carries_made(&self, device: Device) -> bool {
        let made_volume = |g: &super::PlannedGroup| g.volumes.iter().any(|v| !v.kept) || !g.replaced.is_empty();
        let groups = self.groups.iter().filter(|g| made_volume(g)).flat_map(|g| g.pvs.iter().map(|(d, _)| *d));
        self.made_on().chain(groups).any(|d| self.foundation(d).contains(&device))
    }

    /// What the kernel has made of the disks and is stopped before they are written, the topmost first.
    #[must_use]
    pub fn stopped(&self) -> &[Held] {
        &self.stopped
    }

    /// Everything that stays, in lines for people, from the partitions up.
    #[must_use]
    pub fn kept_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (disk, d) in self.disks.iter().enumerate() {
            let path = d.facts.path.display();
            for (partition, p) in d.partitions.iter().enumerate().filter(|(_, p)| p.kept) {
                let only =
                    if self.content_stays(Device::Partition { disk, partition }) { "" } else { ", not what is in it" };
                let size = human(p.length);
                lines.push(format!("partition {} \"{}\" of {path}, {size}: {}{only}", p.number, p.name, p.key));
            }
            let others = d.others.iter();
            lines.extend(others.map(|p| {
                format!("partition {} \"{}\" of {path}, {}: not in the layout", p.number, p.name, human(p.length))
            }));
        }
        for layer in self.layers.iter().filter(|l| self.is_layer_kept(**l)) {
            match *layer {
                Layer::Array(i) => {
                    let a = &self.arrays[i];
                    lines.push(format!("array \"{}\" of level {}, {}: raid/{}", a.name, a.level, human(a.size), a.id));
                }
                Layer::Crypt(i) => {
                    let c = &self.crypts[i];
                    lines.push(format!("encrypted device {}, {}: luks/{}", c.uuid, human(c.size), c.id));
                }
                Layer::Group(i) => {
                    let g = &self.groups[i];
                    lines.push(format!("volume group {}", g.name));
                    let kept = g.volumes.iter().filter(|v| v.kept);
                    lines.extend(kept.map(|v| format!("volume {}/{}, {}", g.name, v.name, human(v.size))));
                }
            }
        }
        for fs in self.filesystems.iter().filter(|f| f.kept) {
            let label = fs.label.as_ref().map(|l| format!(" \"{l}\"")).unwrap_or_default();
            let on = self.references(fs.places().map(|(d, _)| d));
            lines.push(format!("{}{label} on {on}, with all that is in it: filesystems.{}", fs.kind.name(), fs.id));
        }
        lines
    }

    /// Whether what stays can: the table can be written with it, and what is installed writes nothing of it.
    pub(super) fn check_kept(&self, installs: bool, found: &mut Vec<Diagnostic>, of_writing: &mut Vec<Diagnostic>) {
        for (index, disk) in self.disks.iter().enumerate() {
            let path = format!("disks.{}", disk.set);
            let name = disk.facts.path.display();
            let stays = disk.partitions.iter().any(|p| p.kept);
            if stays && let Err(e) = apply::gpt::check(&disk.table(true), disk.facts.size) {
                let text = format!("with what is kept on {name} no table can be written: {}", e.message());
                found.push(Diagnostic::error("F228", &path, text).hint("repair the table by hand"));
            }
            let lost = self.lost_lines(index);
            let keeps = self.spec.disks.get(&disk.set).is_some_and(|d| d.preserve.keeps());
            if keeps && disk.wipe == Wipe::None && !lost.is_empty() {
                let text = format!("wipe is none, and on {name} would be lost: {}", lost.join("; "));
                let d = Diagnostic::error("F225", &path, text);
                of_writing.push(d.hint("write wipe: signatures when it may be erased"));
            }
            let core = disk.partitions.iter().find(|p| p.kept && p.kind.is("bios-boot"));
            if let Some(core) = core.filter(|_| installs && self.spec.boot.is_some()) {
                let text = format!("{} is kept, and the boot loader is written there", core.key);
                found.push(
                    Diagnostic::error("F234", format!("partitions.{}", core.key), text).hint("let it be made anew"),
                );
            }
        }
        let kept = self.filesystems.iter().filter(|f| installs && f.kept);
        for (fs, mount) in kept.flat_map(|f| f.mounts().map(move |m| (f, m.mount))) {
            if SYSTEM.contains(&mount.at.as_str()) {
                let text =
                    format!("filesystems.{} is kept, and an image would be installed onto it at {}", fs.id, mount.at);
                let d = Diagnostic::error("F234", format!("filesystems.{}", fs.id), text);
                found.push(d.hint("let it be made anew, or make the plan without the image"));
            }
        }
    }

    /// Decides about disks that are held: what may be stopped is, for the others the refusal stands. While anything on a disk
    /// runs, nobody gets the disk for himself: so what stands on something that stays is stopped, too.
    pub(super) fn stop_holders(
        &mut self,
        kernel: &Kernel,
        held: Vec<Diagnostic>,
        refused: &mut Vec<Diagnostic>,
        found: &mut Vec<Diagnostic>,
    ) {
        if held.is_empty() {
            return;
        }
        let free = |disk: &usize| self.may_stop(*disk);
        let (ours, others): (Vec<usize>, Vec<usize>) = (0..self.disks.len()).partition(free);
        let facts = |disks: &[usize]| teardown::numbers(disks.iter().map(|d| &self.disks[*d].facts));
        if facts(&others).into_iter().any(|n| teardown::is_only_held(kernel, n)) {
            refused.extend(held);
            return;
        }
        match teardown::order(kernel, &facts(&ours)) {
            Ok(order) => {
                let left = order.iter().filter(|h| self.stays(kernel, h) && !self.is_started_again(kernel, h));
                let left: Vec<String> = left.map(ToString::to_string).collect();
                if !left.is_empty() {
                    let text = format!("stopped, and not started again although it stays: {}", left.join(", "));
                    let path = held.first().map(|d| d.path.clone()).unwrap_or_default();
                    let d = Diagnostic::warning("F237", path, text);
                    found.push(d.hint("start it afterwards: mdadm --assemble --scan, vgchange -ay, cryptsetup open"));
                }
                self.stopped = order;
            }
            Err(why) => {
                let path = held.first().map(|d| d.path.clone()).unwrap_or_default();
                let d = Diagnostic::error("F204", path, format!("in use: {why}"));
                refused.push(d.hint("stop it first, or leave these disks out"));
            }
        }
    }

    /// Whether something that runs stands on nothing but partitions that are not written.
    fn stays(&self, kernel: &Kernel, held: &Held) -> bool {
        let mut kept = Vec::new();
        for (index, disk) in self.disks.iter().enumerate() {
            let ranges = self.kept_ranges(index);
            for number in teardown::numbers([&disk.facts]) {
                let stays = |p: &KernelPartition| ranges.covers(p.start, p.length);
                kept.extend(kernel.partitions(number).into_iter().filter(stays).map(|p| p.device));
            }
        }
        teardown::foundation(kernel, held.number).iter().all(|device| kept.contains(device))
    }

    /// Whether something that runs is started again when the disks are written, or is a part of such a thing.
    fn is_started_again(&self, kernel: &Kernel, held: &Held) -> bool {
        let is_kept = |layer: Layer| self.is_layer_kept(layer) && self.is_started(layer);
        let Kind::Mapped(name) = &held.kind else {
            let uuid = kernel.attribute(held.number, "md/uuid").and_then(|u| u.parse::<Uuid>().ok());
            let mut arrays = self.arrays.iter().enumerate().filter(|(i, _)| is_kept(Layer::Array(*i)));
            return arrays.any(|(_, a)| Some(a.uuid) == uuid);
        };
        let own = kernel.attribute(held.number, "dm/uuid").unwrap_or_default();
        if let Some(rest) = own.strip_prefix("CRYPT-") {
            let mut crypts = self.crypts.iter().enumerate().filter(|(i, _)| is_kept(Layer::Crypt(*i)));
            return crypts.any(|(_, c)| rest.contains(&c.uuid.simple().to_string()));
        }
        // Hidden volumes have a word behind the two UUIDs, and come and go with the visible ones.
        let is_hidden = own.strip_prefix("LVM-").is_some_and(|rest| rest.contains('-'));
        let groups = self.groups.iter().enumerate().filter(|(i, _)| is_kept(Layer::Group(*i)));
        let mut volumes = groups.flat_map(|(_, g)| g.volumes.iter().filter(|v| v.kept).map(move |v| (g, v)));
        is_hidden || volumes.any(|(g, v)| mapper_name(&g.name, &v.name) == *name)
    }

    /// Lines about what a disk loses: what is on it and does not stay. None where nothing of it is written.
    pub(super) fn lost_lines(&self, disk: usize) -> Vec<String> {
        let planned = &self.disks[disk];
        let stays = self.kept_ranges(disk);
        if stays.is_empty() { planned.facts.contents.describe() } else { planned.facts.contents.lost_but(&stays) }
    }

    /// Whether who holds a disk of the plan is stopped for it: all of it is made anew anyway, or stays as it is.
    pub(in crate::layout) fn may_stop(&self, disk: usize) -> bool {
        let d = &self.disks[disk];
        teardown::is_allowed(d.wipe, &d.facts) || d.partitions.iter().any(|p| p.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::device::Medium;
    use crate::layout::observed::Partition;
    use crate::layout::{Disks, Layout, PlanOptions};
    use std::path::Path;

    /// A kept array on the first partition; the second is made anew; the ninth is not in the document.
    fn plan() -> Plan {
        let text = "schema: cv.layout/v1\nname: x\ndisks: {d: {preserve: if-exists}}\npartitions:\n  \
                    d/a: {type: linux-raid, size: 100MiB, preserve: if-exists}\n  d/b: {type: linux, size: 50MiB}\n\
                    raid: {a: {level: 1, members: [d/a], preserve: if-exists}}\n";
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("d");
        std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
        let disks = Disks::from([("d".to_owned(), vec![path])]);
        let mut plan = Layout::parse(text.as_bytes(), "x").unwrap().plan(&disks, &PlanOptions::default()).unwrap();
        let disk = &mut plan.disks[0];
        disk.facts.medium = Medium::Block { major: 8, minor: 0 };
        disk.partitions[0].kept = true;
        let (number, start, length) = (9, 500 << 20, 10 << 20);
        let kind = disk.partitions[1].kind;
        disk.others =
            vec![Partition { number, kind, uuid: Uuid::nil(), name: "x".into(), start, length, attributes: 0 }];
        plan.arrays[0].kept = true;
        plan
    }

    #[test]
    fn what_stays_and_is_not_started_again_is_told() {
        let mut plan = plan();
        let tmp = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = tmp.path().join("dev/block").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let disk = &plan.disks[0];
        let own = disk.partitions.iter().map(|p| (p.number, p.start, p.length));
        let others = disk.others.iter().map(|p| (p.number, p.start, p.length));
        // An array on each partition, and an open device on that of the others.
        for (number, start, length) in own.chain(others) {
            let inside = format!("8:0/sda{number}");
            write(&format!("{inside}/partition"), &number.to_string());
            write(&format!("{inside}/dev"), &format!("8:{number}"));
            write(&format!("{inside}/start"), &(start / 512).to_string());
            write(&format!("{inside}/size"), &(length / 512).to_string());
            write(&format!("8:{number}/partition"), &number.to_string());
            write(&format!("8:{number}/holders/md{number}/dev"), &format!("9:{number}"));
            write(&format!("9:{number}/slaves/sda{number}/dev"), &format!("8:{number}"));
            write(&format!("9:{number}/md/level"), "raid1");
        }
        write("9:1/md/uuid", &plan.arrays[0].uuid.to_string());
        write("9:9/holders/dm-0/dev", "253:0");
        write("253:0/slaves/md9/dev", "9:9");
        write("253:0/dm/uuid", "CRYPT-LUKS2-00000000000000000000000000000001-x");
        write("253:0/dm/name", "x");
        let kernel = Kernel::at(tmp.path(), Path::new("/nonexistent"));
        let (mut refused, mut found) = (Vec::new(), Vec::new());
        let held = vec![Diagnostic::error("F204", "disks.d", "in use")];
        plan.stop_holders(&kernel, held, &mut refused, &mut found);
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(plan.stopped.len(), 4);
        let [one] = &found[..] else { panic!("{found:?}") };
        // What the plan starts again, and what is lost anyway, is not among it.
        assert_eq!((one.code, one.path.as_str()), ("F237", "disks.d"));
        assert!(one.message.ends_with("it stays: 253:0 (x), 9:9"), "{one}");
    }
}
