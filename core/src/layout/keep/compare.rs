//! Whether what is there is what the document says. Of what it leaves open, what is there is taken.

use super::find::Finder;
use crate::layout::observed::{Group, Node, Partition, Volume as Is};
use crate::layout::ondisk::md;
use crate::layout::size::Size;
use crate::layout::solve::ALIGN;
use crate::layout::spec::{Bitmap, Degraded, Metadata, PartitionKey, Volume, VolumeKind};
use crate::layout::unchanged::{level, raid10_layout};
use crate::units::{ByteSize, human};
use std::collections::BTreeSet;

/// The longest unit of partitions: a fixed size may have been rounded up to it.
const UNIT_LIMIT: u64 = 16 << 20;

impl Finder<'_> {
    /// Says that what is kept is another thing than the document means.
    fn differs(&mut self, path: &str, what: &str, is: &str, wanted: &str) {
        let text = format!("{path} is kept, but {what} is {is} and not {wanted}");
        self.refuse("F227", path, text, "say in the document what is there");
    }

    pub(super) fn compare_partition(&mut self, disk: &str, key: &PartitionKey, is: &Partition) {
        let wanted = &self.spec.partitions[key];
        let path = format!("partitions.{key}");
        let what = |property: &str| format!("the {property} of partition {} of {disk}", is.number);
        if is.kind != wanted.kind {
            self.differs(&path, &what("type"), &is.kind.to_string(), &wanted.kind.to_string());
        }
        if let Some(number) = wanted.number.filter(|n| *n != is.number) {
            self.differs(&path, &what("number"), &is.number.to_string(), &number.to_string());
        }
        if let Some(start) = wanted.start.map(ByteSize::bytes).filter(|s| *s != is.start) {
            self.differs(&path, &what("start"), &format!("byte {}", is.start), &format!("byte {start}"));
        }
        self.compare_size(&path, &what("size"), &wanted.size, is.length, ALIGN);
        if is.number > 128 {
            let text = format!("{path} is kept, but its number {} is over 128", is.number);
            self.refuse("F234", path, text, "libcv writes tables of 128 entries");
        }
    }

    /// A fixed size is that or rounded up to a unit; others have their bounds.
    fn compare_size(&mut self, path: &str, what: &str, wanted: &Size, is: u64, unit: u64) {
        let text = |bytes: u64| format!("{} ({bytes} bytes)", human(bytes));
        let (least, most) = match *wanted {
            Size::Fixed(bytes) => {
                let bytes = bytes.bytes();
                // Volumes have whole extents; partitions of disks that like longer I/O have longer units.
                let most = if unit == ALIGN { UNIT_LIMIT } else { unit };
                let rounded = |u: &u64| *u <= most && bytes.next_multiple_of(*u) == is;
                if bytes != is && ![unit, unit * 2, unit * 4, unit * 8, unit * 16].iter().any(rounded) {
                    self.differs(path, what, &text(is), &text(bytes));
                }
                return;
            }
            Size::Rest | Size::Percent(_) => return,
            Size::Flex { min, max, .. } => (min.bytes(), max),
            Size::Of { min, max, .. } => (min.map_or(0, ByteSize::bytes), max),
        };
        if is < least {
            self.differs(path, what, &text(is), &format!("at least {}", human(least)));
        } else if let Some(most) = max_of(most, unit).filter(|m| is > *m) {
            self.differs(path, what, &text(is), &format!("at most {}", human(most)));
        }
    }

    pub(super) fn compare_array(&mut self, name: &str, index: usize, below: &[Option<Node>], there: &BTreeSet<Node>) {
        let (raid, is) = (&self.spec.raid[name], &self.observed.arrays[index]);
        let path = format!("raid.{name}");
        let of = |what: &str| format!("the {what} of the array \"{}\"", is.name);
        if level(is) != Some(raid.level) {
            self.differs(&path, &of("level"), &is.level.to_string(), &raid.level.to_string());
            return;
        }
        let version = match raid.metadata {
            Metadata::V1_0 => md::Version::V1_0,
            Metadata::V1_2 => md::Version::V1_2,
        };
        if is.version != version {
            self.differs(&path, &of("metadata"), &is.version.to_string(), raid.metadata.name());
        }
        if let Some(chunk) = raid.chunk.map(ByteSize::bytes).filter(|c| *c != is.chunk) {
            self.differs(&path, &of("chunk"), &human(is.chunk), &human(chunk));
        }
        let layout = raid10_layout(is.layout);
        if let Some(wanted) = raid.layout.filter(|l| Some(*l) != layout) {
            let is = layout.map_or_else(|| "another one".to_owned(), |l| l.to_string());
            self.differs(&path, &of("layout"), &is, &wanted.to_string());
        }
        if let Some(wanted) = raid.bitmap.filter(|b| (*b == Bitmap::Internal) != is.bitmap) {
            let word = |there: bool| if there { "internal" } else { "none" };
            self.differs(&path, &of("bitmap"), word(is.bitmap), word(wanted == Bitmap::Internal));
        }
        // To start such a one, as is said below, would only choose a half.
        if is.split {
            let text = format!(
                "{path} is kept, but members of the array \"{}\" went on without each other, and nobody knows whose data are \
                 right",
                is.name
            );
            let hint = "look at each alone, and take the other out for good: mdadm --zero-superblock DEVICE";
            self.refuse("F228", path, text, hint);
            return;
        }
        if is.reshaping {
            let text = format!("{path} is kept, but the array \"{}\" is changing its shape", is.name);
            self.refuse("F228", &path, text, "wait until it is done: cat /proc/mdstat");
        } else if is.size == 0 {
            let text = format!("{path} is kept, but how big the array \"{}\" is cannot be told", is.name);
            self.refuse("F228", &path, text, "start it: mdadm --assemble --scan");
        }
        let degraded = raid.adopt.as_ref().map(|a| a.degraded).unwrap_or_default();
        if is.active() < is.raid_disks as usize && degraded == Degraded::Refuse {
            let has = is.active();
            let text = format!(
                "{path} is kept, but of the array \"{}\" {has} of {} members are there",
                is.name, is.raid_disks
            );
            self.refuse("F220", path, text, "add what is missing, or write adopt: {degraded: allow}");
            return;
        }
        let own: BTreeSet<Node> = is.members.iter().map(|m| m.on).collect();
        self.compare_members(&path, &format!("the array \"{}\"", is.name), &own, below, there);
    }

    /// What is kept stands on all that the document says, and on nothing else.
    fn compare_members(
        &mut self,
        path: &str,
        what: &str,
        own: &BTreeSet<Node>,
        below: &[Option<Node>],
        there: &BTreeSet<Node>,
    ) {
        if let Some(other) = own.difference(there).next() {
            let on = self.observed.name(*other);
            let text = format!("{path} is kept, but {what} also stands on {on}, which the document does not say");
            self.refuse("F227", path, text, "say in the document what it stands on, or take that out by hand");
        }
        let extra = there.difference(own).next().map(|n| self.observed.name(*n));
        let missing = below.iter().any(Option::is_none).then(|| "a disk that does not have its partition".to_owned());
        if let Some(more) = extra.or(missing) {
            let text = format!("{path} is kept, and {more} would have to be added to {what}, which is not done here");
            self.refuse("F234", path, text, "give the set only the disks that it is on, or add to it by hand");
        }
    }

    pub(super) fn compare_crypt(&mut self, name: &str, index: usize) {
        let (luks, is) = (&self.spec.luks[name], &self.observed.crypts[index]);
        let path = format!("luks.{name}");
        if is.header.version != 2 {
            self.differs(&path, "the version of its header", &is.header.version.to_string(), "2");
        }
        if let Some(label) = luks.label.as_ref().filter(|l| is.header.label.as_ref() != Some(l)) {
            let has = is.header.label.clone().unwrap_or_else(|| "none".to_owned());
            self.differs(&path, "its label", &has, label);
        }
        if is.header.uuid.parse::<uuid::Uuid>().is_err() {
            let text = format!("{path} is kept, but its header has no UUID");
            self.refuse("F228", path, text, "give it one: cryptsetup luksUUID --uuid");
        }
    }

    pub(super) fn compare_group(&mut self, name: &str, index: usize, below: &[Option<Node>], there: &BTreeSet<Node>) {
        let is: &Group = &self.observed.groups[index];
        let path = format!("lvm.{name}");
        let missing = is.pvs.iter().filter(|p| p.on.is_none()).count();
        if missing > 0 {
            let text = format!("{path} is kept, but {missing} of its {} physical volumes are missing", is.pvs.len());
            self.refuse("F220", path, text, "add the disks that they are on");
            return;
        }
        let own: BTreeSet<Node> = is.pvs.iter().filter_map(|p| p.on).collect();
        self.compare_members(&path, &format!("the volume group \"{name}\""), &own, below, there);
    }

    pub(super) fn compare_volume(&mut self, group: &str, name: &str, index: usize, place: usize) {
        let wanted = &self.spec.lvm[group].lvs[name];
        let (extent, is) = (self.observed.groups[index].extent, &self.observed.groups[index].volumes[place]);
        let path = format!("lvm.{group}.lvs.{name}");
        if is.kind != Ok(wanted.kind) {
            self.differs(&path, "its kind", kind_name(is), wanted.kind.name());
            return;
        }
        if wanted.kind == VolumeKind::Thin {
            let shown = wanted.virtual_size.map_or(0, ByteSize::bytes).next_multiple_of(extent.max(1));
            if shown != is.size {
                self.differs(&path, "its size", &human(is.size), &human(shown));
            }
            if wanted.pool != is.pool {
                let pool = |p: &Option<String>| p.clone().unwrap_or_else(|| "none".to_owned());
                self.differs(&path, "its pool", &pool(&is.pool), &pool(&wanted.pool));
            }
            return;
        }
        if let Some(size) = &wanted.size {
            self.compare_size(&path, "its size", size, is.extents.saturating_mul(extent), extent.max(1));
        }
        let stripes = |n: Option<u32>| n.filter(|n| *n > 1).unwrap_or(1);
        let (has, wants) = (stripes(is.stripes.map(|(n, _)| n)), stripes(wanted.stripes));
        if wanted.stripes.is_some() && has != wants {
            self.differs(&path, "the number of its stripes", &has.to_string(), &wants.to_string());
        }
        if let Some(chunk) = wanted.chunk.map(ByteSize::bytes).filter(|c| is.chunk != Some(*c)) {
            self.differs(&path, "its chunk", &human(is.chunk.unwrap_or(0)), &human(chunk));
        }
    }

    /// A volume of a kept group that is made anew: how LVM shares out the metadata of pools then is not planned.
    pub(super) fn compare_replaced(&mut self, group: &str, name: &str, wanted: &Volume, is: Option<&Is>) {
        let path = format!("lvm.{group}.lvs.{name}");
        if wanted.kind == VolumeKind::ThinPool {
            let text = format!("{path} would be made in a group that is kept, which is not done for thin pools");
            self.refuse("F234", path, text, "keep the pool as well, or make it by hand");
            return;
        }
        if wanted.stripes.is_some_and(|n| n > 1) {
            let text =
                format!("{path} would be striped in a group that is kept, where room beside each other is not planned");
            self.refuse("F234", path, text, "leave stripes out, or keep the volume as well");
            return;
        }
        if let Some(is) = is.filter(|is| is.kind != Ok(wanted.kind)) {
            let text = format!("{path} would replace a volume of another kind ({}) in a kept group", kind_name(is));
            self.refuse("F227", path, text, "remove that by hand, or take another name");
            return;
        }
        // LVM removes the snapshots of a volume with it.
        let volumes = self.kept.groups.get(group).map(|g| &self.observed.groups[*g].volumes);
        let snapshot = is.and(volumes).into_iter().flatten().find(|v| v.kind.as_ref().is_err_and(|k| k == "snapshot"));
        if let Some(snapshot) = snapshot {
            let text =
                format!("{path} would be made anew, and the snapshot {} in its group may be one of it", snapshot.name);
            self.refuse("F227", path, text, "remove the snapshot by hand");
        }
    }

    /// One that may be kept, and is made because it is not there.
    pub(super) fn compare_made(&mut self, group: &str, name: &str) {
        let wanted = &self.spec.lvm[group].lvs[name];
        self.compare_replaced(group, name, wanted, None);
    }

    pub(super) fn compare_filesystem(&mut self, name: &str, below: &[Option<Node>]) {
        let wanted = &self.spec.filesystems[name];
        let path = format!("filesystems.{name}");
        for (n, node) in below.iter().enumerate() {
            let Some(is) = node.and_then(|node| self.observed.filesystem_on(node)) else {
                let place = node.map_or_else(|| "a disk of its set".to_owned(), |n| self.observed.name(n));
                let text =
                    format!("{path} is kept, and would have to be made on {place} as well, which is not done here");
                self.refuse("F234", &path, text, "copy it there by hand, or name only the disks that have it");
                continue;
            };
            let on = self.observed.name(is.on);
            if is.kind != wanted.kind.name() {
                self.differs(&path, &format!("what is on {on}"), &is.kind, wanted.kind.name());
                continue;
            }
            if let Some(label) = wanted.label.as_ref().filter(|l| is.label.as_ref() != Some(l)) {
                let has = is.label.clone().unwrap_or_else(|| "none".to_owned());
                self.differs(&path, &format!("the label of what is on {on}"), &has, label);
            }
            let same = |u: &&String| is.uuid.as_ref().is_some_and(|is| is.eq_ignore_ascii_case(u));
            if let Some(uuid) = wanted.uuid.as_ref().filter(|u| n == 0 && !same(u)) {
                let has = is.uuid.clone().unwrap_or_else(|| "none".to_owned());
                self.differs(&path, &format!("the UUID of what is on {on}"), &has, uuid);
            }
            if is.uuid.is_none() {
                let text = format!("{path} is kept, but what is on {on} has no UUID to mount it by");
                self.refuse("F228", &path, text, "give it one by hand");
            }
            self.compare_subvolumes(name, &on, &is.subvolumes);
        }
    }
}

impl Finder<'_> {
    /// Those that the document has are there; others stay in it.
    fn compare_subvolumes(&mut self, name: &str, on: &str, is: &Result<BTreeSet<String>, String>) {
        let wanted = &self.spec.filesystems[name].subvolumes;
        let path = format!("filesystems.{name}");
        match is {
            Ok(is) => {
                for missing in wanted.keys().filter(|s| !is.contains(*s)) {
                    let text = format!("{path} is kept, and what is on {on} has no subvolume {missing}");
                    self.refuse("F227", &path, text, "make it by hand: btrfs subvolume create, or leave it out");
                }
            }
            Err(why) if !wanted.is_empty() => {
                let text = format!("{path} is kept, and its subvolumes on {on} cannot be told: {why}");
                self.refuse("F228", &path, text, "leave them out of the document, or let it be made anew");
            }
            Err(_) => {}
        }
    }
}

/// Bounds are rounded down when they are planned; what is there was made by whoever made it.
fn max_of(most: Option<ByteSize>, unit: u64) -> Option<u64> {
    most.map(|m| m.bytes().next_multiple_of(unit))
}

fn kind_name(is: &Is) -> &str {
    match &is.kind {
        Ok(kind) => kind.name(),
        Err(other) => other,
    }
}
