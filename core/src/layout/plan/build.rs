//! Out of sizes and identities: the devices and filesystems of a plan, from the ground up.

use super::{
    Device, Layer, Plan, PlannedArray, PlannedCrypt, PlannedFilesystem, PlannedGroup, PlannedSubvolume, PlannedVolume,
};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::keep::Kept;
use crate::layout::observed::Node;
use crate::layout::ondisk::{lvm, md};
use crate::layout::profile::{Readers, Series};
use crate::layout::solve::Solved;
use crate::layout::spec::{
    Bitmap, Filesystem, FsType, Level, Loader, Luks, Raid, Raid10Layout, Ref, VolumeGroup, VolumeKind,
};
use crate::layout::stack::{Object, Stack};
use crate::layout::{token, unchanged};
use crate::units::ByteSize;
use std::collections::HashMap;

/// What a striped volume is cut in where a document says nothing.
const STRIPE: u64 = 64 << 10;

pub(super) struct Builder<'a> {
    plan: &'a mut Plan,
    stack: &'a Stack,
    solved: &'a Solved,
    kept: &'a Kept,
    made: HashMap<Object, Vec<Device>>,
    /// The oldest kernel that has to read the filesystems.
    kernel: Series,
    /// The devices of the plan that are there already.
    there: HashMap<Node, Device>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        plan: &'a mut Plan,
        stack: &'a Stack,
        solved: &'a Solved,
        kept: &'a Kept,
        kernel: Series,
    ) -> Self {
        let mut made: HashMap<Object, Vec<Device>> = HashMap::new();
        let mut there = HashMap::new();
        for (disk, d) in plan.disks.iter().enumerate() {
            for (partition, p) in d.partitions.iter().enumerate() {
                let object = Object::Partition(p.key.clone());
                made.entry(object).or_default().push(Device::Partition { disk, partition });
                if p.kept {
                    there.insert(Node::Partition { disk, number: p.number }, Device::Partition { disk, partition });
                }
            }
        }
        Self { plan, stack, solved, kept, made, there, kernel }
    }

    pub(super) fn build(mut self) -> Result<()> {
        let spec = self.plan.spec.clone();
        for object in self.stack.order().to_vec() {
            if self.solved.is_dropped(&object) {
                continue;
            }
            match &object {
                Object::Raid(name) => self.array(&object, name, &spec.raid[name])?,
                Object::Luks(name) => self.crypt(&object, name, &spec.luks[name])?,
                Object::Group(name) => self.group(name, &spec.lvm[name])?,
                Object::Partition(_) | Object::Volume(..) | Object::Filesystem(_) => {}
            }
        }
        for (id, fs) in &spec.filesystems {
            if !self.solved.is_dropped(&Object::Filesystem(id.clone())) {
                self.filesystem(id, fs)?;
            }
        }
        Ok(())
    }

    /// The devices that a reference stands for.
    fn devices(&self, reference: &Ref) -> Vec<Device> {
        self.made.get(&Object::from(reference)).cloned().unwrap_or_default()
    }

    fn all(&self, references: &[Ref]) -> Vec<Device> {
        references.iter().flat_map(|r| self.devices(r)).collect()
    }

    fn device(&self, reference: &Ref) -> Result<Device> {
        self.devices(reference).first().copied().ok_or_else(|| unsolved(&reference.path()))
    }

    /// The largest sectors of some devices: what is made of them has these.
    fn sector(&self, devices: &[Device]) -> u32 {
        devices.iter().map(|d| self.plan.glance(*d).sector).max().unwrap_or(512)
    }

    fn array(&mut self, object: &Object, name: &str, raid: &Raid) -> Result<()> {
        let size = self.solved.arrays.get(name).ok_or_else(|| unsolved(&object.path()))?;
        let index = self.plan.arrays.len();
        let members = self.all(&raid.members);
        let striped = size.chunk > 0;
        let mut array = PlannedArray {
            id: name.to_owned(),
            level: raid.level,
            spares: raid.spares,
            metadata: raid.metadata,
            chunk: striped.then_some(size.chunk),
            layout: (raid.level == Level::Raid10).then(|| raid.layout.unwrap_or(Raid10Layout::NEAR_2)),
            bitmap: if size.bitmap { Bitmap::Internal } else { Bitmap::None },
            sync: raid.sync,
            name: raid.name.clone().unwrap_or_else(|| name.to_owned()),
            uuid: token::uuid(&self.plan.seed, &object.path()),
            data_offset: size.data_offset,
            component: size.component,
            size: size.size,
            sector: size.sector,
            members,
            kept: false,
        };
        if let Some((node, is)) = self.kept.array(name) {
            // By their places in it, and without those that are missing.
            let works = is.members.iter().filter(|m| m.role != md::Role::Faulty);
            array.members = works.filter_map(|m| self.there.get(&m.on).copied()).collect();
            array.spares = size.spares;
            array.layout = array.layout.and_then(|_| unchanged::raid10_layout(is.layout));
            array.name = is.short_name().to_owned();
            array.uuid = is.uuid;
            array.kept = true;
            self.there.insert(node, Device::Array(index));
        }
        self.plan.arrays.push(array);
        self.plan.layers.push(Layer::Array(index));
        self.made.insert(object.clone(), vec![Device::Array(index)]);
        Ok(())
    }

    fn crypt(&mut self, object: &Object, name: &str, luks: &Luks) -> Result<()> {
        let size = self.solved.crypts.get(name).ok_or_else(|| unsolved(&object.path()))?;
        let on = self.device(&luks.on)?;
        let index = self.plan.crypts.len();
        let mut crypt = PlannedCrypt {
            id: name.to_owned(),
            on,
            uuid: token::uuid(&self.plan.seed, &object.path()),
            label: luks.label.clone(),
            keys: luks.keys.clone(),
            options: luks.options.clone(),
            data_offset: size.offset,
            size: size.size,
            sector: self.sector(&[on]),
            for_grub: self.grub_opens(object),
            kept: false,
        };
        if let Some((node, is)) = self.kept.crypt(name) {
            // That it is one was checked when it was found.
            crypt.uuid = is.header.uuid.parse().unwrap_or(crypt.uuid);
            crypt.label.clone_from(&is.header.label);
            crypt.kept = true;
            self.there.insert(node, Device::Crypt(index));
        }
        self.plan.crypts.push(crypt);
        self.plan.layers.push(Layer::Crypt(index));
        self.made.insert(object.clone(), vec![Device::Crypt(index)]);
        Ok(())
    }

    /// Whether what stands on an object is where GRUB finds the kernel.
    fn grub_opens(&self, object: &Object) -> bool {
        let kernel = self.kernels().map(|id| Object::Filesystem(id.to_owned()));
        kernel.is_some_and(|k| self.stack.burden(object).contains(&k))
    }

    /// The filesystem that GRUB finds the kernel in.
    fn kernels(&self) -> Option<&str> {
        let spec = &self.plan.spec;
        spec.boot.as_ref().filter(|b| b.loader == Loader::Grub2)?;
        let mounted = |at: &str| spec.filesystems.iter().find(|(_, f)| f.is_mounted_at(at));
        mounted("/boot").or_else(|| mounted("/")).map(|(id, _)| id.as_str())
    }

    fn group(&mut self, name: &str, group: &VolumeGroup) -> Result<()> {
        let path = format!("lvm.{name}");
        let size = self.solved.groups.get(name).ok_or_else(|| unsolved(&path))?;
        let seed = self.plan.seed;
        let pvs: Vec<Device> = self.all(&group.pvs);
        let identified = pvs.iter().map(|d| {
            let reference = self.plan.glance(*d).reference;
            let replica = match d {
                Device::Partition { disk, .. } => self.plan.disks[*disk].index,
                _ => 0,
            };
            (*d, lvm::uuid(&token::bytes(&seed, &format!("{path}.pvs.{reference}#{replica}"))))
        });
        let there = self.kept.group(name).map(|is| {
            let device = |p: &crate::layout::observed::Physical| Some((*self.there.get(&p.on?)?, p.uuid.clone()));
            is.pvs.iter().filter_map(device).collect::<Vec<_>>()
        });
        let identified = there.unwrap_or_else(|| identified.collect());
        let mut volumes = Vec::new();
        // A pool stands before what is in it: the order of the stack.
        for object in self.stack.order() {
            let Object::Volume(of, volume) = object else { continue };
            if of != name || self.solved.is_dropped(object) {
                continue;
            }
            let wanted = &group.lvs[volume];
            let solved = size.volumes.get(volume).copied().unwrap_or_default();
            let mut planned = PlannedVolume {
                name: volume.clone(),
                kind: wanted.kind,
                extents: if wanted.kind == VolumeKind::Thin { 0 } else { solved.extents },
                stripes: wanted.stripes.map(|n| (n, wanted.stripe_size.map_or(STRIPE, ByteSize::bytes))),
                chunk: (wanted.kind == VolumeKind::ThinPool).then_some(solved.chunk),
                metadata: solved.metadata,
                pool: wanted.pool.clone(),
                size: solved.extents * size.extent,
                kept: false,
            };
            if let Some((_, is)) = self.kept.volume(name, volume) {
                planned.stripes = is.stripes;
                planned.chunk = is.chunk;
                planned.size = is.size;
                planned.kept = true;
            }
            volumes.push(planned);
        }
        // A striped volume needs room beside each other on several devices, which a linear one may leave or not.
        volumes.sort_by_key(|v| v.stripes.is_none_or(|(n, _)| n < 2));
        let index = self.plan.groups.len();
        for (n, volume) in volumes.iter().enumerate() {
            let object = Object::Volume(name.to_owned(), volume.name.clone());
            let device = Device::Volume { group: index, volume: n };
            self.made.insert(object, vec![device]);
            if let Some((node, _)) = self.kept.volume(name, &volume.name) {
                self.there.insert(node, device);
            }
        }
        let group = PlannedGroup {
            name: name.to_owned(),
            pvs: identified,
            extent: size.extent,
            extents: size.extents,
            free: size.free + size.reserved,
            volumes,
            sector: self.sector(&pvs),
            kept: self.kept.group(name).is_some(),
            replaced: self.kept.replaced(name).to_vec(),
        };
        self.plan.groups.push(group);
        self.plan.layers.push(Layer::Group(index));
        Ok(())
    }

    fn filesystem(&mut self, id: &str, fs: &Filesystem) -> Result<()> {
        let seed = self.plan.seed;
        let path = format!("filesystems.{id}");
        let derived = |path: &str| match fs.kind {
            FsType::Vfat => token::volume_id(&seed, path),
            _ => token::uuid(&seed, path).to_string(),
        };
        let uuid = match (&fs.uuid, fs.kind) {
            (Some(given), FsType::Vfat) => given.to_uppercase(),
            (Some(given), _) => given.to_lowercase(),
            (None, _) => derived(&path),
        };
        let mut devices = self.devices(&fs.on).into_iter();
        let on = devices.next().ok_or_else(|| unsolved(&path))?;
        let kept = self.kept.filesystem(id);
        let is = |n: usize| kept.as_ref().and_then(|uuids| uuids.get(n).cloned().flatten());
        let mirrors =
            (1..).zip(devices).map(|(n, device)| (device, is(n).unwrap_or_else(|| derived(&format!("{path}#{n}")))));
        self.plan.filesystems.push(PlannedFilesystem {
            id: id.to_owned(),
            kind: fs.kind,
            on,
            uuid: is(0).unwrap_or(uuid),
            mirrors: mirrors.collect(),
            kept: kept.is_some(),
            // What the document leaves open is as it is.
            label: fs.label.clone().or_else(|| self.kept.label(id).map(str::to_owned)),
            arguments: fs.mkfs.clone(),
            readers: Readers::of(fs.profile, self.kernel, self.kernels() == Some(id)),
            mount: fs.mount.clone(),
            subvolumes: subvolumes(fs),
        });
        Ok(())
    }
}

/// A parent before what is in it, whatever the order of the document.
fn subvolumes(fs: &Filesystem) -> Vec<PlannedSubvolume> {
    let planned = fs.subvolumes.iter().map(|(name, s)| PlannedSubvolume { name: name.clone(), mount: s.mount.clone() });
    let mut list: Vec<_> = planned.collect();
    list.sort_by_key(|s| s.name.matches('/').count());
    list
}

fn unsolved(path: &str) -> Error {
    Error::new(ErrorKind::Bug, format!("{path} has no size"))
}
