//! Whether the disks already are what a plan would make of them. Then it changes nothing, and takes over the identities
//! that are there.
//!
//! ```text
//! Plan ┐            no difference ─> a plan without steps, with the UUIDs of the disks
//!      ├─ compare ─┤
//! Observed ┘        differences ───> the plan as it is, and why
//! ```
//!
//! Compared is what the document decides: partitions with number, place, type, name and attributes; arrays with level,
//! members, chunk, layout, metadata and bitmap; the version of LUKS; groups with their extents and volumes; filesystems
//! with type and label. Not compared is what only their making decides: arguments of mkfs, passphrases, how an array
//! became equal, which of its members wait; and what is in the filesystems, the boot loader among it.

use super::observed::{Array, Given, Group, Node, Observed};
use super::ondisk::md;
use super::plan::{Device, Layer, Plan, PlannedArray, PlannedCrypt, PlannedDisk, PlannedFilesystem, PlannedGroup};
use super::spec::{Bitmap, Level, Metadata, Raid10Layout, VolumeKind};
use crate::units::human;
use std::collections::{BTreeSet, HashMap};

/// More differences are not listed.
const LIMIT: usize = 100;

/// Looks at the disks of a plan and compares. Where nothing differs, the plan gets the identities that are there.
pub(super) fn settle(plan: &mut Plan) {
    let disks: Vec<Given> =
        plan.disks.iter().map(|d| Given { path: d.facts.path.clone(), sector: Some(d.facts.sector) }).collect();
    let found = match Observed::of_disks(&disks, None) {
        Ok(observed) => take_over(plan, &observed),
        Err(e) => vec![e.to_string()],
    };
    plan.differences = Some(found);
}

/// What differs; where nothing does, the plan gets the identities that are there.
fn take_over(plan: &mut Plan, observed: &Observed) -> Vec<String> {
    let mut comparison = Comparison { plan: &*plan, observed, nodes: HashMap::new(), found: Vec::new() };
    comparison.all();
    let Comparison { nodes, found, .. } = comparison;
    if found.is_empty() {
        adopt(plan, observed, &nodes);
    }
    found
}

/// A plan beside what is there.
struct Comparison<'a> {
    plan: &'a Plan,
    observed: &'a Observed,
    /// What there is for each device of the plan.
    nodes: HashMap<Device, Node>,
    found: Vec<String>,
}

impl Comparison<'_> {
    fn all(&mut self) {
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
        let is_known = |q: &&super::observed::Partition| {
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
        let own = |a: &Array| a.members.iter().map(|m| m.on).collect::<BTreeSet<_>>();
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
        let is_other = |v: &&super::observed::Volume| !group.kept && group.volumes.iter().all(|w| w.name != v.name);
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

/// The number of the layout that levels 5 and 6 have where nobody chooses.
const LEFT_SYMMETRIC: u32 = 2;

/// The layout of a level 10 by its number, where documents have a word for it.
pub(super) fn raid10_layout(number: u32) -> Option<Raid10Layout> {
    let (near, far, offset) = (number & 0xff, number >> 8 & 0xff, number >> 16);
    let (kind, copies) = match (near, far, offset) {
        (copies, 1, 0) => ('n', copies),
        (1, copies, 0) => ('f', copies),
        (1, copies, 1) => ('o', copies),
        _ => return None,
    };
    (2..=9).contains(&copies).then_some(Raid10Layout { kind, copies })
}

/// The level of an array, where documents have it; with parity only in the usual layout.
pub(super) fn level(array: &Array) -> Option<Level> {
    let md::Level::Raid(number) = array.level else { return None };
    let level = Level::from_number(number.into())?;
    let usual = match level {
        Level::Raid5 | Level::Raid6 => array.layout == LEFT_SYMMETRIC,
        Level::Raid10 => raid10_layout(array.layout).is_some(),
        Level::Raid0 | Level::Raid1 => true,
    };
    usual.then_some(level)
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

/// The identities that are there become those of the plan.
fn adopt(plan: &mut Plan, observed: &Observed, nodes: &HashMap<Device, Node>) {
    for (disk, is) in plan.disks.iter_mut().zip(&observed.disks) {
        let Some(table) = &is.table else { continue };
        disk.guid = table.guid;
        for p in &mut disk.partitions {
            if let Some(is) = table.partitions.iter().find(|q| q.number == p.number) {
                p.uuid = is.uuid;
            }
        }
    }
    for (i, array) in plan.arrays.iter_mut().enumerate() {
        if let Some(Node::Array(n)) = nodes.get(&Device::Array(i)) {
            array.uuid = observed.arrays[*n].uuid;
        }
    }
    for (i, crypt) in plan.crypts.iter_mut().enumerate() {
        if let Some(Node::Crypt(n)) = nodes.get(&Device::Crypt(i))
            && let Ok(uuid) = observed.crypts[*n].header.uuid.parse()
        {
            crypt.uuid = uuid;
        }
    }
    for group in &mut plan.groups {
        let Some(is) = observed.groups.iter().find(|g| g.name == group.name) else { continue };
        for (device, uuid) in &mut group.pvs {
            if let Some(pv) = is.pvs.iter().find(|p| p.on.is_some() && p.on == nodes.get(device).copied()) {
                uuid.clone_from(&pv.uuid);
            }
        }
    }
    let uuid_on = |device: &Device| observed.filesystem_on(*nodes.get(device)?)?.uuid.clone();
    for fs in &mut plan.filesystems {
        if let Some(uuid) = uuid_on(&fs.on) {
            fs.uuid = uuid;
        }
        for (device, uuid) in &mut fs.mirrors {
            if let Some(is) = uuid_on(device) {
                *uuid = is;
            }
        }
    }
}

/// For tests: what differs.
#[cfg(test)]
pub(super) fn differing(plan: &Plan, observed: &Observed) -> Vec<String> {
    take_over(&mut plan.clone(), observed)
}

/// For tests of those who look at what is there: the disks as they are when a plan was applied.
#[cfg(test)]
pub(super) fn applied(plan: &Plan) -> Observed {
    use super::observed;
    use super::ondisk::luks;
    let node = |device: Device| match device {
        Device::Partition { disk, partition } => {
            Node::Partition { disk, number: plan.disks[disk].partitions[partition].number }
        }
        Device::Array(i) => Node::Array(i),
        Device::Crypt(i) => Node::Crypt(i),
        Device::Volume { group, volume } => Node::Volume { group, volume },
    };
    let running = || {
        let number = crate::sys::sysfs::DeviceNumber { major: 253, minor: 0 };
        Some(observed::Running { kernel: "dm-0".into(), number, mapped: None })
    };
    let disks = plan.disks.iter().map(|d| observed::Disk {
        path: d.facts.path.clone(),
        device: None,
        size: d.facts.size,
        sector: d.facts.sector,
        hardware: None,
        table: Some(observed::Table {
            guid: d.guid,
            whole: true,
            partitions: d
                .partitions
                .iter()
                .map(|p| observed::Partition {
                    number: p.number,
                    kind: p.kind,
                    uuid: p.uuid,
                    name: p.name.clone(),
                    start: p.start,
                    length: p.length,
                    attributes: p.attributes,
                })
                .collect(),
        }),
    });
    let arrays = plan.arrays.iter().map(|a| {
        let data = a.members.len() - a.spares as usize;
        let role = |n: usize| if n < data { md::Role::Active(u16::try_from(n).unwrap()) } else { md::Role::Spare };
        observed::Array {
            uuid: a.uuid,
            name: format!("any:{}", a.name),
            version: if a.metadata == Metadata::V1_0 { md::Version::V1_0 } else { md::Version::V1_2 },
            level: md::Level::Raid(u8::try_from(a.level.number()).unwrap()),
            layout: match (a.level, a.layout) {
                (Level::Raid10, Some(l)) if l.kind == 'n' => 0x100 | l.copies,
                (Level::Raid10, Some(l)) => (if l.kind == 'o' { 0x1_0000 } else { 0 }) | l.copies << 8 | 1,
                (level, _) if level.has_parity() => LEFT_SYMMETRIC,
                _ => 0,
            },
            chunk: a.chunk.unwrap_or(0),
            raid_disks: u32::try_from(data).unwrap(),
            members: (0..).zip(&a.members).map(|(n, d)| observed::Member { on: node(*d), role: role(n) }).collect(),
            data_offset: a.data_offset,
            component: a.component,
            size: a.size,
            bitmap: a.bitmap == Bitmap::Internal,
            reshaping: false,
            running: running(),
        }
    });
    let crypts = plan.crypts.iter().map(|c| observed::Crypt {
        on: node(c.on),
        size: c.size,
        open: running(),
        header: luks::Header {
            version: 2,
            offset: 0,
            secondary: None,
            uuid: c.uuid.to_string(),
            label: c.label.clone(),
            subsystem: None,
            sequence: 1,
            cipher: "aes-xts-plain64".into(),
            sector: 512,
            data_offset: c.data_offset,
            keyslots: Vec::new(),
            tokens: Vec::new(),
        },
    });
    let groups = plan.groups.iter().map(|g| observed::Group {
        name: g.name.clone(),
        uuid: "vg".into(),
        extent: g.extent,
        extents: g.extents,
        free: g.free,
        pvs: g.pvs.iter().map(|(d, u)| observed::Physical { uuid: u.clone(), on: Some(node(*d)) }).collect(),
        tags: Vec::new(),
        volumes: g
            .volumes
            .iter()
            .map(|v| observed::Volume {
                name: v.name.clone(),
                uuid: format!("lv-{}", v.name),
                kind: Ok(v.kind),
                extents: v.size / g.extent,
                stripes: v.stripes.filter(|(n, _)| *n > 1),
                chunk: v.chunk,
                metadata: v.metadata,
                pool: v.pool.clone(),
                size: v.size,
                tags: Vec::new(),
                active: running(),
            })
            .collect(),
    });
    let filesystems = plan.filesystems.iter().flat_map(|f| {
        let made = |(device, uuid): (Device, &str)| observed::Filesystem {
            on: node(device),
            kind: f.kind.name().to_owned(),
            label: f.label.clone(),
            uuid: Some(uuid.to_owned()),
            subvolumes: Ok(f.subvolumes.iter().map(|s| s.name.clone()).collect()),
        };
        f.places().map(made).collect::<Vec<_>>()
    });
    Observed {
        disks: disks.collect(),
        arrays: arrays.collect(),
        crypts: crypts.collect(),
        groups: groups.collect(),
        filesystems: filesystems.collect(),
        oddities: Vec::new(),
        system: None,
    }
}

#[cfg(test)]
mod tests;
