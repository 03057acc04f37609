//! What a plan does, step by step, for people and programs that decide about it.

use super::{Device, Layer, Plan, PlannedDisk};
use crate::layout::apply::{devices, mkfs, subvolumes};
use crate::layout::spec::{Loader, Wipe};
use std::path::Path;

/// How bad it is to do a step by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// Nothing of what was there is touched.
    None,
    /// Tables and headers are written.
    Metadata,
    /// Data is lost.
    Data,
}

/// Something that will be done.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name, such as `erase:os`.
    pub id: String,
    /// What it does, for people.
    pub title: String,
    /// How bad it is.
    pub danger: Danger,
    /// What is lost.
    pub lost: Vec<String>,
    /// The programs that run, as argument vectors.
    pub commands: Vec<Vec<String>>,
}

impl Step {
    fn harmless(id: &str, title: String) -> Self {
        Self { id: id.to_owned(), title, danger: Danger::None, lost: Vec::new(), commands: Vec::new() }
    }

    fn with_danger(mut self) -> Self {
        if !self.lost.is_empty() {
            self.danger = Danger::Data;
        }
        self
    }

    fn making(id: String, title: String, commands: Vec<Vec<String>>) -> Self {
        Self { id, title, danger: Danger::Metadata, lost: Vec::new(), commands }
    }
}

impl PlannedDisk {
    /// Its set, with its place in it where there are several.
    pub(in crate::layout) fn id(&self, plan: &Plan) -> String {
        let alone = plan.disks.iter().filter(|d| d.set == self.set).count() == 1;
        if alone { self.set.clone() } else { format!("{}#{}", self.set, self.index) }
    }
}

impl Plan {
    /// The name of the step that makes a layer.
    #[must_use]
    pub fn layer_id(&self, layer: Layer) -> String {
        match layer {
            Layer::Array(i) => format!("raid:{}", self.arrays[i].id),
            Layer::Crypt(i) => format!("luks:{}", self.crypts[i].id),
            Layer::Group(i) => format!("lvm:{}", self.groups[i].name),
        }
    }

    /// What is lost where something is made on a device that is kept; of partitions the disk says it.
    fn lost_in(&self, devices: impl IntoIterator<Item = Device>) -> Vec<String> {
        let kept = |d: &Device| self.is_kept(*d) && !matches!(d, Device::Partition { .. });
        devices.into_iter().filter(kept).map(|d| format!("what is in {}", self.glance(d).reference)).collect()
    }

    /// What an apply left unfinished where the document keeps this object.
    fn left_of(&self, kind: &str, id: &str) -> impl Iterator<Item = String> + '_ {
        let path = format!("{kind}.{id}");
        let left = self.unfinished.iter().filter(move |u| u.path == path);
        left.map(|u| format!("{}, left unfinished", u.what))
    }

    fn layer_title(&self, layer: Layer) -> String {
        match layer {
            Layer::Array(i) if self.arrays[i].kept => {
                format!("start the array {}, which is kept", self.arrays[i].id)
            }
            Layer::Crypt(i) if self.crypts[i].kept => {
                format!("open {}, which is kept, as {}", self.glance(self.crypts[i].on).reference, self.crypts[i].id)
            }
            Layer::Group(i) if self.groups[i].kept => {
                let g = &self.groups[i];
                let made = g.volumes.iter().filter(|v| !v.kept).count();
                let new = if made == 0 { String::new() } else { format!(", and make {made} volumes in it") };
                let replaced: Vec<&str> = g.replaced.iter().map(|v| v.name.as_str()).collect();
                let gone =
                    if replaced.is_empty() { String::new() } else { format!(", remove {}", replaced.join(", ")) };
                format!("start the volume group {}, which is kept{gone}{new}", g.name)
            }
            Layer::Array(i) => {
                let a = &self.arrays[i];
                let members = self.references(a.members.iter().copied());
                format!("make the array {} of level {} out of {members}", a.id, a.level)
            }
            Layer::Crypt(i) => {
                let c = &self.crypts[i];
                format!("encrypt {} as {}", self.glance(c.on).reference, c.id)
            }
            Layer::Group(i) => {
                let g = &self.groups[i];
                let on = self.references(g.pvs.iter().map(|(d, _)| *d));
                format!("make the volume group {} on {on}, with {} volumes", g.name, g.volumes.len())
            }
        }
    }

    pub(super) fn make_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if !self.stopped.is_empty() {
            let list = self.stopped.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let mut step = Step::harmless("stop", format!("stop what stands on the disks: {list}"));
            step.commands = self.stopped.iter().map(|h| h.stop().preview()).collect();
            steps.push(step);
        }
        for index in 0..self.disks.len() {
            steps.extend(self.disk_steps(index));
        }
        for layer in &self.layers {
            if !self.is_started(*layer) {
                continue;
            }
            let commands = devices::preview(self, *layer);
            let mut step = Step::making(self.layer_id(*layer), self.layer_title(*layer), commands);
            step.lost = match *layer {
                Layer::Group(i) => {
                    let g = &self.groups[i];
                    g.replaced.iter().map(|v| format!("volume {}/{}", g.name, v.name)).collect()
                }
                Layer::Array(_) | Layer::Crypt(_) => Vec::new(),
            };
            if let Layer::Crypt(i) = *layer {
                step.lost.extend(self.left_of("luks", &self.crypts[i].id));
            }
            if !self.is_layer_kept(*layer) {
                step.lost.extend(self.lost_in(self.layer_below(*layer)));
            }
            steps.push(step.with_danger());
        }
        for fs in self.filesystems.iter().filter(|f| !f.kept) {
            let on = self.references(fs.places().map(|(d, _)| d));
            let mut title = format!("make {} \"{}\" on {on}", fs.kind.name(), fs.id);
            if !fs.subvolumes.is_empty() {
                let names: Vec<&str> = fs.subvolumes.iter().map(|s| s.name.as_str()).collect();
                title.push_str(&format!(" with the subvolumes {}", names.join(", ")));
            }
            let call =
                |(device, uuid)| mkfs::call(self, fs, device, uuid, self.glance(device).path.as_ref(), None).preview();
            let made = subvolumes::calls(fs, Path::new("/")).into_iter().map(|call| call.preview());
            let mut step = Step::making(format!("mkfs:{}", fs.id), title, fs.places().map(call).chain(made).collect());
            step.lost = self.lost_in(fs.places().map(|(d, _)| d));
            step.lost.extend(self.left_of("filesystems", &fs.id));
            steps.push(step.with_danger());
        }
        let mounts = self.mounts();
        let mounted: Vec<&str> = mounts.iter().filter(|m| !m.filesystem.kept).map(|m| m.mount.at.as_str()).collect();
        if !mounted.is_empty() {
            let title = format!("mount {} and install what is deployed, if anything is", mounted.join(", "));
            steps.push(Step::harmless("install", title));
        }
        if let Some(boot) = &self.boot {
            let disks: Vec<String> =
                boot.disks.iter().map(|d| self.disks[*d].facts.path.display().to_string()).collect();
            let loader = match boot.loader {
                Loader::Grub2 => "GRUB",
                Loader::SystemdBoot => "systemd-boot",
            };
            let firmwares: Vec<&str> = boot.firmwares.iter().map(|f| f.name()).collect();
            let (on, kinds) = (disks.join(", "), firmwares.join(" and "));
            let title = format!("install {loader} for {kinds} on {on} from the packages of the image");
            steps.push(Step::harmless("bootloader", title));
        }
        steps.push(Step::harmless("verify", "unmount and read back".to_owned()));
        let title = "take the mark off the partition names".to_owned();
        steps.push(Step::making("commit".to_owned(), title, devices::preview_of_commit(self)));
        steps
    }

    fn disk_steps(&self, index: usize) -> Vec<Step> {
        if self.is_untouched(index) {
            return Vec::new();
        }
        let disk = &self.disks[index];
        let (id, path) = (disk.id(self), disk.facts.path.display());
        let lost = self.lost_lines(index);
        let kept = disk.partitions.iter().filter(|p| p.kept).count() + disk.others.len();
        let around = if kept == 0 { "" } else { ", around what is kept" };
        let danger = if lost.is_empty() { Danger::Metadata } else { Danger::Data };
        let mut steps = Vec::new();
        if !matches!(disk.wipe, Wipe::None | Wipe::Table) {
            let how = match disk.wipe {
                Wipe::Discard => "discard everything on",
                Wipe::Zero => "overwrite everything with zeros on",
                _ => "erase signatures on",
            };
            let title = format!("{how} {path}{around}");
            steps.push(Step { id: format!("erase:{id}"), title, danger, lost: lost.clone(), commands: Vec::new() });
        }
        let all = disk.partitions.len() + disk.others.len();
        let stay = if kept == 0 { String::new() } else { format!(", of which {kept} stay as they are") };
        let title = format!("write a partition table with {all} partitions to {path}{stay}");
        steps.push(Step { id: format!("table:{id}"), title, danger, lost, commands: Vec::new() });
        steps
    }
}
