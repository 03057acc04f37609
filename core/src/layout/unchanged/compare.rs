//! A plan, object by object, beside what is on its disks: from the partitions up, so that each finds what it stands on.

use super::{LEFT_SYMMETRIC, LIMIT, raid10_layout};
use crate::layout::observed::{self, Array, Group, Node, Observed};
use crate::layout::ondisk::md;
use crate::layout::plan::{
    Device, Layer, Plan, PlannedArray, PlannedCrypt, PlannedDisk, PlannedFilesystem, PlannedGroup,
};
use crate::layout::spec::{Bitmap, Metadata, VolumeKind};
use crate::units::human;
use std::collections::{BTreeSet, HashMap};

/// A plan beside what is there.
pub(super) struct Comparison<'a> {
    pub(super) plan: &'a Plan,
    pub(super) observed: &'a Observed,
    /// What there is for each device of the plan.
    pub(super) nodes: HashMap<Device, Node>,
    pub(super) found: Vec<String>,
}

impl Comparison<'_> {
    pub(super) fn all(&mut self) {
        for (index, disk) in self.plan.disks.iter().enumerate() {
            self.disk(index, disk);
        }
        for layer in &self.plan.layers {
            match *layer {
                Layer::Array(i) => self.array(i, &self.plan.arrays[i]),
                Layer::Crypt(i) => self.crypt(i, &self.plan.crypts[i]),
                Layer::Group(i) => self.group(i, &self.plan.groups[i]),
            }
        }
        for fs in &self.plan.filesystems {
            self.filesystem(fs);
        }
    }

    fn differs(&mut self, text: impl Into<String>) {
        if self.found.len() < LIMIT {
            self.found.push(text.into());
        }
    }

    /// Says so where two values are not the same.
    fn same<T: PartialEq>(&mut self, what: &str, is: &T, wanted: &T, show: impl Fn(&T) -> String) {
        if is != wanted {
            self.differs(format!("{what} is {} and would be {}", show(is), show(wanted)));
        }
    }

    fn disk(&mut self, index: usize, disk: &PlannedDisk) {
        let path = disk.facts.path.display();
        let Some(table) = self.observed.disks.get(index).and_then(|d| d.table.as_ref()) else {
            self.differs(format!("{path} has no GPT"));
            return;
        };
        if !table.whole {
            self.differs(format!("one copy of the GPT of {path} is damaged"));
        }
        for (place, p) in disk.partitions.iter().enumerate() {
            let what = format!("partition {} of {path}", p.number);
            let Some(is) = table.partitions.iter().find(|q| q.number == p.number) else {
                self.differs(format!("{what} is not there: it would be {}", p.key));
                continue;
            };
            self.same(&format!("the start of {what}"), &is.start, &p.start, place_text);
            self.same(&format!("the size of {what}"), &is.length, &p.length, size_text);
            self.same(&format!("the type of {what}"), &is.kind, &p.kind, ToString::to_string);
            self.same(&format!("the name of {what}"), &is.name, &p.name, |n| format!("\"{n}\""));
            let bits = |b: &u64| format!("{b:#x}");
            self.same(&format!("the attributes of {what}"), &is.attributes, &p.attributes, bits);
            if let Some(uuid) = self.plan.spec.partitions.get(&p.key).and_then(|q| q.uuid).filter(|_| disk.index == 0) {
                self.same(&format!("the UUID of {what}"), &is.uuid, &uuid, ToString::to_string);
            }
            let device = Device::Partition { disk: index, partition: place };
            self.nodes.insert(device, Node::Partition { disk: index, number: p.number });
        }
        let is_known = |q: &&observed::Partition| {
            disk.partitions.iter().any(|p| p.number == q.number) || disk.others.iter().any(|p| p.number == q.number)
        };
        for other in table.partitions.iter().filter(|q| !is_known(q)) {
            self.differs(format!("partition {} of {path} is not in the layout", other.number));
        }
    }

    /// What there is for these devices; none where one of them is missing already.
    fn nodes_of(&self, devices: impl IntoIterator<Item = Device>) -> Option<BTreeSet<Node>> {
        devices.into_iter().map(|d| self.nodes.get(&d).copied()).collect()
    }

    fn array(&mut self, index: usize, array: &PlannedArray) {
        let what = format!("raid/{}", array.id);
        let Some(members) = self.nodes_of(array.members.iter().copied()) else { return };
        // What failed in a kept one is none of those that it is started with.
        let counts = |m: &&observed::Member| !array.kept || m.role != md::Role::Faulty;
        let own = |a: &Array| a.members.iter().filter(counts).map(|m| m.on).collect::<BTreeSet<_>>();
        let Some(place) = self.observed.arrays.iter().position(|a| !own(a).is_disjoint(&members)) else {
            self.differs(format!("{what} is not there: its members are in no array"));
            return;
        };
        let is = &self.observed.arrays[place];
        if own(is) != members {
            self.differs(format!("{what} has other members"));
        }
        let level = md::Level::Raid(u8::try_from(array.level.number()).unwrap_or(u8::MAX));
        self.same(&format!("the level of {what}"), &is.level, &level, ToString::to_string);
        let version = match array.metadata {
            Metadata::V1_0 => md::Version::V1_0,
            Metadata::V1_2 => md::Version::V1_2,
        };
        self.same(&format!("the metadata of {what}"), &is.version, &version, ToString::to_string);
        if let Some(chunk) = array.chunk {
            self.same(&format!("the chunk of {what}"), &is.chunk, &chunk, size_text);
        }
        if let Some(layout) = array.layout {
            let same = raid10_layout(is.layout) == Some(layout);
            if !same {
                self.differs(format!("the layout of {what} is {:#x} and would be {layout}", is.layout));
            }
        }
        if array.level.has_parity() && is.layout != LEFT_SYMMETRIC {
            self.differs(format!("the layout of {what} is {} and would be left-symmetric", is.layout));
        }
        let bitmap = |b: &bool| if *b { "internal" } else { "none" }.to_owned();
        self.same(&format!("the bitmap of {what}"), &is.bitmap, &(array.bitmap == Bitmap::Internal), bitmap);
        self.same(&format!("the name of {what}"), &is.short_name(), &array.name.as_str(), |n| format!("\"{n}\""));
        if !array.kept {
            let data = array.members.len().saturating_sub(array.spares as usize);
            self.same(&format!("the number of members with data of {what}"), &(is.raid_disks as usize), &data, |n| {
                n.to_string()
            });
        }
        if is.active() < is.raid_disks as usize && !array.kept {
            self.differs(format!("{what} is degraded: {} of {} members are there", is.active(), is.raid_disks));
        }
        if is.split {
            self.differs(format!("members of {what} went on without each other"));
        }
        if is.reshaping {
            self.differs(format!("{what} is changing its shape"));
        }
        // Without the kernel it cannot be told of every array.
        if is.size != 0 {
            self.same(&format!("the size of {what}"), &is.size, &array.size, size_text);
        }
        self.nodes.insert(Device::Array(index), Node::Array(place));
    }

    fn crypt(&mut self, index: usize, crypt: &PlannedCrypt) {
        let what = format!("luks/{}", crypt.id);
        let Some(on) = self.nodes.get(&crypt.on).copied() else { return };
        let Some(place) = self.observed.crypts.iter().position(|c| c.on == on) else {
            self.differs(format!("{what} is not there: {} is not encrypted", self.observed.name(on)));
            return;
        };
        let is = &self.observed.crypts[place];
        self.same(&format!("the version of {what}"), &is.header.version, &2, ToString::to_string);
        self.same(&format!("the label of {what}"), &is.header.label, &crypt.label, label_text);
        self.same(&format!("the size of {what}"), &is.size, &crypt.size, size_text);
        let device = Device::Crypt(index);
        let carries = |d: &Device| *d == device;
        let used = self.plan.filesystems.iter().any(|f| carries(&f.on))
            || self.plan.arrays.iter().any(|a| a.members.iter().any(carries))
            || self.plan.groups.iter().any(|g| g.pvs.iter().any(|(d, _)| carries(d)))
            || self.plan.crypts.iter().any(|c| carries(&c.on));
        if used && is.open.is_none() && crypt.kept && !self.plan.carries_made(device) {
            return;
        }
        if used && is.open.is_none() {
            self.differs(format!("{what} is not open, and what is in it cannot be seen"));
            return;
        }
        self.nodes.insert(device, Node::Crypt(place));
    }

    fn group(&mut self, index: usize, group: &PlannedGroup) {
        let what = format!("lvm/{}", group.name);
        let Some(devices) = self.nodes_of(group.pvs.iter().map(|(d, _)| *d)) else { return };
        let own = |g: &Group| g.pvs.iter().filter_map(|p| p.on).collect::<BTreeSet<_>>();
        let Some(place) = self.observed.groups.iter().position(|g| !own(g).is_disjoint(&devices)) else {
            self.differs(format!("{what} is not there: its devices are in no volume group"));
            return;
        };
        let is = &self.observed.groups[place];
        if own(is) != devices || is.pvs.len() != devices.len() {
            self.differs(format!("{what} has other physical volumes"));
        }
        self.same(&format!("the name of {what}"), &is.name, &group.name, |n| format!("\"{n}\""));
        self.same(&format!("the extent of {what}"), &is.extent, &group.extent, size_text);
        let count = |n: &u64| format!("{n} extents");
        self.same(&format!("the size of {what}"), &is.extents, &group.extents, count);
        for (n, volume) in group.volumes.iter().enumerate() {
            let what = format!("{what}/{}", volume.name);
            let Some(at) = is.volumes.iter().position(|v| v.name == volume.name) else {
                self.differs(format!("{what} is not there"));
                continue;
            };
            let v = &is.volumes[at];
            let kind = |k: &Result<VolumeKind, String>| match k {
                Ok(kind) => kind.name().to_owned(),
                Err(other) => other.clone(),
            };
            if v.is_unfinished() {
                self.differs(format!("{what} was left unfinished"));
            }
            self.same(&format!("the kind of {what}"), &v.kind, &Ok(volume.kind), kind);
            self.same(&format!("the size of {what}"), &v.size, &volume.size, size_text);
            let wanted = volume.stripes.filter(|(n, _)| *n > 1);
            let stripes = |s: &Option<(u32, u64)>| match s {
                Some((n, size)) => format!("in {n} stripes of {}", human(*size)),
                None => "not striped".to_owned(),
            };
            self.same(&what, &v.stripes, &wanted, stripes);
            if volume.kind == VolumeKind::ThinPool {
                let chunk = |c: &Option<u64>| c.map_or_else(String::new, human);
                self.same(&format!("the chunk of {what}"), &v.chunk, &volume.chunk, chunk);
                self.same(&format!("the metadata of {what}"), &v.metadata, &volume.metadata, count);
            }
            self.same(&format!("the pool of {what}"), &v.pool, &volume.pool, label_text);
            self.nodes.insert(Device::Volume { group: index, volume: n }, Node::Volume { group: place, volume: at });
        }
        // What else is in a group that is kept stays in it.
        let is_other = |v: &&observed::Volume| !group.kept && group.volumes.iter().all(|w| w.name != v.name);
        for other in is.volumes.iter().filter(is_other) {
            self.differs(format!("{what}/{} is not in the layout", other.name));
        }
        self.same(&format!("what is free in {what}"), &is.free, &group.free, count);
    }

    fn filesystem(&mut self, fs: &PlannedFilesystem) {
        let given = self.plan.spec.filesystems.get(&fs.id).and_then(|f| f.uuid.as_ref());
        for (n, (device, uuid)) in fs.places().enumerate() {
            let Some(node) = self.nodes.get(&device).copied() else { continue };
            let what = format!("filesystems.{} on {}", fs.id, self.observed.name(node));
            let Some(is) = self.observed.filesystem_on(node) else {
                self.differs(format!("{what} is not there"));
                continue;
            };
            self.same(&format!("the type of {what}"), &is.kind.as_str(), &fs.kind.name(), |k| (*k).to_owned());
            self.same(&format!("the label of {what}"), &is.label, &fs.label, label_text);
            if given.is_some() && n == 0 && !is.uuid.as_deref().is_some_and(|u| u.eq_ignore_ascii_case(uuid)) {
                let has = is.uuid.as_deref().unwrap_or("none");
                self.differs(format!("the UUID of {what} is {has} and would be {uuid}"));
            }
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "it shows any value by reference")]
fn size_text(bytes: &u64) -> String {
    format!("{} ({bytes} bytes)", human(*bytes))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "it shows any value by reference")]
fn place_text(bytes: &u64) -> String {
    format!("at byte {bytes}")
}

#[expect(clippy::ref_option, reason = "it shows any value by reference")]
fn label_text(label: &Option<String>) -> String {
    label.as_ref().map_or_else(|| "none".to_owned(), |l| format!("\"{l}\""))
}
