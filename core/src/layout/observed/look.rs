//! Looking at disks: from the table up, layer by layer, until nothing new appears.
//!
//! ```text
//! a device ─ member of an array?  ─ keep until its array can be put together
//!          ─ encrypted?           ─ its open side is the next device
//!          ─ physical volume?     ─ keep until its group can be put together
//!          ─ else                 ─ a filesystem, or nothing known
//! nothing left to look at: put together what is whole; then what is not
//! ```

use super::given::{Given, open};
use super::members::{Judged, judge};
use super::source::{Source, Stretch};
use super::{
    Array, Crypt, Disk, Filesystem, Group, Member, Node, Observed, Oddity, Partition, Physical, Running, System, Table,
    geometry, kernel,
};
use crate::error::Result;
use crate::layout::inventory::Inventory;
use crate::layout::ondisk::lvm::text::{self, Mapping};
use crate::layout::ondisk::lvm::{self, Metadata};
use crate::layout::ondisk::{btrfs, luks, md, spread};
use crate::layout::place::Place;
use crate::layout::spec::{FsType, PartitionType, VolumeKind};
use crate::layout::{gpt, signature};
use crate::sys::sysfs::{DeviceNumber, Kernel};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::rc::Rc;
use uuid::Uuid;

/// More things are not looked at: volumes of groups in volumes of groups.
const DEVICE_LIMIT: usize = 4096;

impl Observed {
    /// Looks at these disks or image files, and at the system whose root is `root`.
    ///
    /// # Errors
    /// `NotFound`, `Denied` or `Io` of a disk; `Invalid` for what is none. What cannot be read on it is an oddity.
    pub fn of_disks(disks: &[Given], root: Option<&Path>) -> Result<Self> {
        let machine = Inventory::read(Path::new("/"));
        let opened = disks.iter().map(|d| open(d, &machine)).collect::<Result<Vec<_>>>()?;
        Ok(Looker::new(&Kernel::default()).look(opened, root.map(System::read)).0)
    }

    /// The same, with what each of the encrypted devices lies on, for reading.
    ///
    /// # Errors
    /// As [`Observed::of_disks`].
    pub(in crate::layout) fn with_encrypted(disks: &[Given]) -> Result<(Self, Vec<Source>)> {
        let machine = Inventory::read(Path::new("/"));
        let opened = disks.iter().map(|d| open(d, &machine)).collect::<Result<Vec<_>>>()?;
        Ok(Looker::new(&Kernel::default()).look(opened, None))
    }

    /// Looks at all disks of this machine that carry a partition table or are used, and at the system that runs.
    ///
    /// # Errors
    /// As [`Observed::of_disks`]; disks that cannot be opened are oddities.
    pub fn of_this_machine(machine: &Inventory, root: &Path) -> Result<Self> {
        let mut opened = Vec::new();
        let mut oddities = Vec::new();
        for disk in machine.disks.iter().filter(|d| !d.transport.is_virtual() && d.size > 0 && !d.lacks_a_map()) {
            match open(&disk.node().into(), machine) {
                Ok(one) => opened.push(one),
                Err(e) => oddities.push(Oddity { on: None, text: e.to_string() }),
            }
        }
        let (mut found, _) = Looker::new(&Kernel::default()).look(opened, Some(System::read(root)));
        found.oddities.splice(0..0, oddities);
        Ok(found)
    }
}

/// What is known so far.
struct Looker<'k> {
    kernel: &'k Kernel,
    found: Observed,
    /// The kernel's devices.
    numbers: HashMap<Node, DeviceNumber>,
    todo: VecDeque<(Node, Source)>,
    members: Vec<(Node, Source, md::Superblock)>,
    physical: Vec<(Node, Source, lvm::PhysicalVolume)>,
    /// What the encrypted devices lie on, in their order.
    encrypted: Vec<Source>,
}

impl<'k> Looker<'k> {
    fn new(kernel: &'k Kernel) -> Self {
        Self {
            kernel,
            found: Observed::default(),
            numbers: HashMap::new(),
            todo: VecDeque::new(),
            members: Vec::new(),
            physical: Vec::new(),
            encrypted: Vec::new(),
        }
    }

    fn look(mut self, disks: Vec<(Disk, Source)>, system: Option<System>) -> (Observed, Vec<Source>) {
        for (disk, source) in disks {
            self.disk(disk, &source);
        }
        loop {
            while let Some((node, source)) = self.todo.pop_front() {
                if let Err(e) = self.device(node, &source) {
                    self.odd(node, format!("it cannot be read: {e}"));
                }
            }
            // What is not whole may be once everything else is there.
            let progress = [true, false].into_iter().any(|whole| self.array(whole) || self.group(whole));
            if !progress {
                break;
            }
        }
        self.found.system = system;
        (self.found, self.encrypted)
    }

    fn odd(&mut self, on: Node, text: impl Into<String>) {
        self.found.oddities.push(Oddity { on: Some(on), text: text.into() });
    }

    fn add(&mut self, node: Node, source: Source, running: Option<&Running>) {
        if let Some(running) = running {
            self.numbers.insert(node, running.number);
        }
        if self.numbers.len() + self.todo.len() < DEVICE_LIMIT {
            self.todo.push_back((node, source));
        }
    }

    fn disk(&mut self, mut disk: Disk, source: &Source) {
        let index = self.found.disks.len();
        let node = Node::Disk(index);
        if let Some(device) = disk.device {
            self.numbers.insert(node, device);
        }
        let table = match gpt::read(&**source, disk.sector) {
            Ok(table) => table,
            Err(e) => {
                self.found.disks.push(disk);
                self.odd(node, format!("it cannot be read: {e}"));
                return;
            }
        };
        let whole = table.primary.is_ok() && table.backup.is_ok();
        let known = disk.device.map(|d| self.kernel.partitions(d)).unwrap_or_default();
        let mut partitions = Vec::new();
        match table.table() {
            Some(t) => {
                for (number, entry) in &t.entries {
                    let (start, length) = t.bytes(entry);
                    partitions.push(Partition {
                        number: *number,
                        kind: PartitionType::from_guid(entry.kind),
                        uuid: entry.uuid,
                        name: entry.name.clone(),
                        start,
                        length,
                        attributes: entry.attributes,
                    });
                    let part = Node::Partition { disk: index, number: *number };
                    if let Some(k) = known.iter().find(|k| (k.number, k.start, k.length) == (*number, start, length)) {
                        self.numbers.insert(part, k.device);
                    }
                    self.todo.push_back((part, Rc::new(Stretch::new(source, start, length))));
                }
                disk.table = Some(Table { guid: t.disk, whole, partitions });
            }
            None if matches!(table.mbr, gpt::Mbr::Partitions | gpt::Mbr::Hybrid) => {
                self.odd(node, "it has an MBR partition table");
            }
            None => self.todo.push_back((node, source.clone())),
        }
        self.found.disks.push(disk);
    }

    fn device(&mut self, node: Node, source: &Source) -> io::Result<()> {
        let place = Place::whole(&**source);
        if let Some(superblock) = md::read(&place)? {
            self.members.push((node, source.clone(), superblock));
            return Ok(());
        }
        if let Some(header) = luks::read(&place)? {
            self.crypt(node, source, header);
            return Ok(());
        }
        if let Some(volume) = lvm::read(&place)? {
            if let Metadata::Broken(why) = &volume.metadata {
                self.odd(node, format!("its LVM metadata cannot be used: {why}"));
            }
            self.physical.push((node, source.clone(), volume));
            return Ok(());
        }
        self.filesystem(node, source)
    }

    fn filesystem(&mut self, node: Node, source: &Source) -> io::Result<()> {
        let mut found = signature::find(&**source, 0, source.size())?;
        // Where several are found, what a document can name goes first.
        found.sort_by_key(|s| !FsType::ALL.iter().any(|t| t.name() == s.kind));
        if found.len() > 1 {
            let others: Vec<&str> = found[1..].iter().map(|s| s.kind).collect();
            self.odd(node, format!("besides {} it carries the signature of {}", found[0].kind, others.join(", ")));
        }
        if let Some(first) = found.into_iter().next() {
            let kind = first.kind.to_owned();
            let subvolumes = match first.kind {
                "btrfs" => btrfs::subvolumes(&Place::whole(&**source))?,
                _ => Ok(BTreeSet::new()),
            };
            let spread = spread::read(&Place::whole(&**source), first.kind, first.offset)?;
            let (label, uuid) = (first.label, first.uuid);
            self.found.filesystems.push(Filesystem { on: node, kind, label, uuid, subvolumes, spread });
        }
        Ok(())
    }

    fn crypt(&mut self, on: Node, source: &Source, header: luks::Header) {
        let index = self.found.crypts.len();
        let open = self.numbers.get(&on).and_then(|n| kernel::crypt(self.kernel, *n, &header.uuid));
        let mut size = source.size().saturating_sub(header.data_offset);
        match open.as_ref().map(kernel::open) {
            Some(Ok(disk)) => {
                size = disk.size;
                self.add(Node::Crypt(index), Rc::new(disk), open.as_ref());
            }
            Some(Err(e)) => self.odd(on, format!("its open side cannot be read: {e}")),
            None => {}
        }
        self.encrypted.push(source.clone());
        self.found.crypts.push(Crypt { on, header, size, open });
    }

    /// Puts together one array whose members were seen; `whole`: only one that lacks none.
    fn array(&mut self, whole: bool) -> bool {
        let uuids: Vec<Uuid> = self.members.iter().map(|(_, _, s)| s.uuid).collect();
        let count = |uuid: &Uuid| {
            let own = self.members.iter().filter(|(_, _, s)| s.uuid == *uuid);
            own.filter(|(_, _, s)| matches!(s.role, md::Role::Active(_))).count()
        };
        let is_whole =
            |uuid: &Uuid| self.members.iter().any(|(_, _, s)| s.uuid == *uuid && s.raid_disks as usize <= count(uuid));
        let Some(uuid) = uuids.iter().find(|u| !whole || is_whole(u)).copied() else { return false };
        let (mut own, others) = std::mem::take(&mut self.members).into_iter().partition(|(_, _, s)| s.uuid == uuid);
        self.members = others;
        self.assemble(&mut own);
        true
    }

    fn assemble(&mut self, own: &mut Vec<(Node, Source, md::Superblock)>) {
        let all: Vec<DeviceNumber> = own.iter().filter_map(|(n, _, _)| self.numbers.get(n).copied()).collect();
        let running = kernel::array(self.kernel, &all);
        let used = |node: &Node| {
            let number = self.numbers.get(node).copied();
            running.as_ref().map(|r| kernel::member(self.kernel, r.number, number))
        };
        let Judged { roles, split } = judge(&own.iter().map(|(node, _, s)| (s, used(node))).collect::<Vec<_>>());
        let mut members = Vec::new();
        for ((node, source, s), role) in std::mem::take(own).into_iter().zip(roles) {
            match role {
                Some(role) => members.push((node, source, md::Superblock { role, ..s })),
                None => self.odd(node, format!("it is an outdated member of the array {}", s.mdadm_uuid())),
            }
        }
        members.sort_by_key(|(node, _, s)| (s.role.number(), *node));
        let Some((_, _, first)) = members.iter().max_by_key(|(_, _, s)| s.events) else { return };
        let first = first.clone();
        let index = self.found.arrays.len();
        let mut source = geometry::array(&first, &members);
        let mut size = source.as_ref().map_or(0, |s| s.size());
        if let Some(r) = &running {
            match kernel::open(r) {
                Ok(disk) => {
                    size = disk.size;
                    source = Some(Rc::new(disk));
                }
                Err(_) => size = kernel::size(self.kernel, r.number).unwrap_or(size),
            }
        }
        match source {
            Some(source) => self.add(Node::Array(index), source, running.as_ref()),
            None => self.found.oddities.push(Oddity {
                on: Some(Node::Array(index)),
                text: "it does not run, and what is on it cannot be seen without".to_owned(),
            }),
        }
        let data_offset = members.first().map_or(0, |(_, _, s)| s.data_offset);
        self.found.arrays.push(Array {
            uuid: first.uuid,
            name: first.name.clone(),
            version: first.version,
            level: first.level,
            layout: first.layout,
            chunk: first.chunk,
            raid_disks: first.raid_disks,
            members: members.iter().map(|(on, _, s)| Member { on: *on, role: s.role }).collect(),
            data_offset,
            component: first.member_size,
            size,
            bitmap: first.bitmap.is_some(),
            reshaping: first.reshaping,
            split,
            running,
        });
    }

    /// Puts together one group whose physical volumes were seen; `whole`: only one that lacks none.
    fn group(&mut self, whole: bool) -> bool {
        let has = |uuid: &str| self.physical.iter().any(|(_, _, p)| p.uuid == uuid);
        let mut best: Option<text::VolumeGroup> = None;
        for (_, _, p) in &self.physical {
            let Some(group) = p.group() else { continue };
            let is_whole = group.physical.iter().all(|p| has(&p.uuid));
            let better = best.as_ref().is_none_or(|b| b.uuid == group.uuid && b.seqno < group.seqno);
            if better && (!whole || is_whole) {
                best = Some(group.clone());
            }
        }
        let Some(group) = best else {
            if !whole {
                for (node, _, _) in std::mem::take(&mut self.physical) {
                    self.odd(node, "it is a physical volume of no group that could be read");
                }
            }
            return false;
        };
        let belongs = |p: &lvm::PhysicalVolume| group.physical.iter().any(|g| g.uuid == p.uuid);
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.physical).into_iter().partition(|(_, _, p)| belongs(p));
        self.physical = others;
        self.activate(&group, &own);
        true
    }

    fn activate(&mut self, group: &text::VolumeGroup, own: &[(Node, Source, lvm::PhysicalVolume)]) {
        let index = self.found.groups.len();
        let node_of = |uuid: &str| own.iter().find(|(_, _, p)| p.uuid == uuid).map(|(n, _, _)| *n);
        let pvs: Vec<Physical> =
            group.physical.iter().map(|p| Physical { uuid: p.uuid.clone(), on: node_of(&p.uuid) }).collect();
        let numbers: Vec<DeviceNumber> = pvs.iter().filter_map(|p| self.numbers.get(&p.on?).copied()).collect();
        let mut shown: Vec<&text::Logical> = group.logical.iter().filter(|l| l.is_visible()).collect();
        // A pool before what is in it; otherwise as they stand.
        shown.sort_by_key(|l| matches!(l.segments.first().map(|s| &s.mapping), Some(Mapping::Thin { .. })));
        let sources: HashMap<&str, (Source, u64)> = group
            .physical
            .iter()
            .filter_map(|p| {
                let (_, source, _) = own.iter().find(|(_, _, o)| o.uuid == p.uuid)?;
                Some((p.name.as_str(), (source.clone(), p.start)))
            })
            .collect();
        let mut volumes = Vec::new();
        for (place, logical) in shown.into_iter().enumerate() {
            let mut volume = geometry::volume(group, logical);
            volume.active = kernel::volume(self.kernel, &numbers, &group.uuid, &logical.uuid);
            let node = Node::Volume { group: index, volume: place };
            let opened = volume.active.as_ref().and_then(|a| kernel::open(a).ok());
            let source = match opened {
                Some(disk) => Some(Rc::new(disk) as Source),
                None => geometry::mapped(group, logical, &sources),
            };
            match (source, &volume.kind) {
                (_, Ok(VolumeKind::ThinPool)) => {}
                (Some(source), _) => self.add(node, source, volume.active.as_ref()),
                (None, _) => self.odd(node, "it is not active, and what is on it cannot be seen without"),
            }
            volumes.push(volume);
        }
        self.found.groups.push(Group {
            name: group.name.clone(),
            uuid: group.uuid.clone(),
            extent: group.extent_size,
            extents: group.physical.iter().fold(0, |sum, p| sum.saturating_add(p.extents)),
            free: group.free_extents(),
            pvs,
            volumes,
            tags: group.tags.clone(),
        });
    }
}
