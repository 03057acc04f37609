//! The devices of a plan as they lie on its disks, worked out before anything is written.
//!
//! ```text
//! disks ─ partition ─ Array: md's levels 0, 1, 10 (near) ─ VolumeGroup: linear, striped ─> Mapped
//! ```
//!
//! Where the extents of a volume lie is decided here and stands in the metadata of its group: what is written there is
//! what is mapped.

use super::mapper::{Column, Mapped, Shared, Stretch};
use super::members;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::device::WriteAt;
use crate::layout::ondisk::lvm;
use crate::layout::ondisk::lvm::text::{Logical, Mapping, On, Physical, Segment, VolumeGroup};
use crate::layout::plan::{Device, Plan, PlannedArray, PlannedGroup, PlannedVolume};
use crate::layout::solve::PV_START;
use crate::layout::spec::{Level, VolumeKind};
use crate::layout::token;
use std::rc::Rc;

/// The arrays and groups of a plan.
#[derive(Debug)]
pub struct Stack<'p> {
    plan: &'p Plan,
    groups: Vec<VolumeGroup>,
}

impl<'p> Stack<'p> {
    /// Works it out.
    ///
    /// # Errors
    /// `Unsupported` (F230) for what is not made without the kernel; `Limit` when stripes find no room beside each other.
    pub fn of(plan: &'p Plan) -> Result<Self> {
        if let Some(disk) = plan.disks().iter().find(|d| !d.is_file()) {
            return Err(unsupported(&format!("{} is no image file", disk.facts.path.display())));
        }
        // What is kept, with nothing new in it, is left alone, whatever it is.
        let used = |device: Device| !plan.is_kept(device) || plan.carries_made(device);
        let mut crypts = plan.crypts().iter().enumerate().filter(|(i, _)| used(Device::Crypt(*i)));
        if let Some((_, crypt)) = crypts.next() {
            return Err(unsupported(&format!("luks/{} is encrypted", crypt.id)));
        }
        for (_, array) in plan.arrays().iter().enumerate().filter(|(i, _)| used(Device::Array(*i))) {
            if array.kept {
                return Err(unsupported(&format!("raid/{} is kept, and something is made in it", array.id)));
            }
            members::check(plan, array)?;
        }
        for (group, g) in plan.groups().iter().enumerate().filter(|(_, g)| g.kept) {
            let volumes = (0..g.volumes.len()).map(|volume| Device::Volume { group, volume });
            if !g.replaced.is_empty() || volumes.into_iter().any(used) {
                return Err(unsupported(&format!("lvm/{} is kept, and something is made in it", g.name)));
            }
        }
        let groups = plan.groups().iter().map(|group| lay(plan, group)).collect::<Result<Vec<_>>>()?;
        Ok(Self { plan, groups })
    }

    /// Whether a device can be mapped: where the volumes of a kept group lie is not planned here.
    #[must_use]
    pub fn reaches(&self, device: Device) -> bool {
        self.plan.foundation(device).into_iter().all(|d| match d {
            Device::Partition { .. } => true,
            Device::Array(i) => {
                !self.plan.arrays()[i].kept || members::check(self.plan, &self.plan.arrays()[i]).is_ok()
            }
            Device::Crypt(_) => false,
            Device::Volume { group, .. } => !self.plan.groups()[group].kept,
        })
    }

    /// A group with the places of its volumes.
    #[must_use]
    pub fn group(&self, index: usize) -> &VolumeGroup {
        &self.groups[index]
    }

    /// A device over these disks, which are those of the plan in its order.
    ///
    /// # Errors
    /// `Bug` when it does not fit on what is below.
    pub fn device<'d, D: WriteAt>(&self, device: Device, disks: &'d [D]) -> Result<Mapped<'d>> {
        let below = |device| self.device(device, disks).map(|mapped| Rc::new(mapped) as Shared<'d>);
        let stretches = match device {
            Device::Partition { disk, partition } => {
                let p = &self.plan.disks()[disk].partitions[partition];
                vec![Stretch::linear(p.length, (Rc::new(&disks[disk]) as Shared<'d>, p.start))]
            }
            Device::Array(i) => {
                let array = &self.plan.arrays()[i];
                let column = |member: &Device| Ok((below(*member)?, array.data_offset));
                vec![over(array, array.members.iter().map(column).collect::<Result<_>>()?)]
            }
            Device::Crypt(_) => return Err(unsupported("an encrypted device")),
            Device::Volume { group, volume } => {
                let name = &self.plan.groups()[group].volumes[volume].name;
                let pvs = self.plan.groups()[group].pvs.iter().map(|(pv, _)| below(*pv)).collect::<Result<Vec<_>>>()?;
                volume_stretches(&self.groups[group], name, &pvs)
            }
        };
        let reference = self.plan.glance(device).reference;
        Mapped::new(stretches).map_err(|e| Error::new(ErrorKind::Bug, format!("{reference}: {e}")))
    }
}

/// What is not made without the kernel.
pub(super) fn unsupported(what: &str) -> Error {
    Error::unsupported(format!("{what}, which the offline backend does not make"))
        .hint("use the kernel backend, or another layout")
        .fact("code", "F230")
}

/// The stretch of an array over its members.
fn over<'d>(array: &PlannedArray, columns: Vec<Column<'d>>) -> Stretch<'d> {
    match (array.chunk, array.level) {
        (Some(chunk), Level::Raid10) => {
            let copies = array.layout.map_or(2, |l| l.copies as usize);
            Stretch::striped(array.size, chunk, copies, columns)
        }
        (Some(chunk), _) => Stretch::striped(array.size, chunk, 1, columns),
        (None, _) => Stretch::mirrored(array.size, columns),
    }
}

fn volume_stretches<'d>(group: &VolumeGroup, name: &str, pvs: &[Shared<'d>]) -> Vec<Stretch<'d>> {
    let column = |on: &On| -> Option<Column<'d>> {
        let index = group.physical.iter().position(|p| p.name == on.volume)?;
        Some((pvs[index].clone(), group.physical[index].start + on.extent * group.extent_size))
    };
    let segments = group.volume(name).map(|v| v.segments.as_slice()).unwrap_or_default();
    let stretches = segments.iter().filter_map(|segment| {
        let length = segment.extents * group.extent_size;
        match &segment.mapping {
            Mapping::Linear(on) => Some(Stretch::linear(length, column(on)?)),
            Mapping::Striped { stripe, on } => {
                Some(Stretch::striped(length, *stripe, 1, on.iter().map(column).collect::<Option<_>>()?))
            }
            _ => None,
        }
    });
    stretches.collect()
}

/// Lays the volumes of a group one after the other, as `lvcreate` does in the same order.
fn lay(plan: &Plan, group: &PlannedGroup) -> Result<VolumeGroup> {
    let volumes = if group.kept { &[][..] } else { &group.volumes };
    let physical: Vec<Physical> = group
        .pvs
        .iter()
        .enumerate()
        .map(|(n, (device, uuid))| {
            let glance = plan.glance(*device);
            Physical {
                name: format!("pv{n}"),
                uuid: uuid.clone(),
                device: glance.path,
                status: vec!["ALLOCATABLE".to_owned()],
                size: glance.size,
                start: PV_START,
                extents: glance.size.saturating_sub(PV_START) / group.extent,
            }
        })
        .collect();
    let path = format!("lvm.{}", group.name);
    let id = |path: &str| lvm::uuid(&token::bytes(&plan.seed, path));
    let mut used = vec![0u64; physical.len()];
    let mut logical = Vec::new();
    for volume in volumes {
        if volume.kind != VolumeKind::Linear {
            return Err(unsupported(&format!("lvm/{}/{} is thin or a pool", group.name, volume.name)));
        }
        logical.push(Logical {
            name: volume.name.clone(),
            uuid: id(&format!("{path}.lvs.{}", volume.name)),
            status: ["READ", "WRITE", "VISIBLE"].map(String::from).into(),
            tags: Vec::new(),
            segments: segments(group, volume, &physical, &mut used)?,
        });
    }
    Ok(VolumeGroup {
        name: group.name.clone(),
        uuid: id(&path),
        seqno: 1,
        status: ["RESIZEABLE", "READ", "WRITE"].map(String::from).into(),
        tags: Vec::new(),
        extent_size: group.extent,
        physical,
        logical,
    })
}

/// Takes the extents of a volume from the begin of what is free.
fn segments(
    group: &PlannedGroup,
    volume: &PlannedVolume,
    physical: &[Physical],
    used: &mut [u64],
) -> Result<Vec<Segment>> {
    let (stripes, stripe) = volume.stripes.filter(|(n, _)| *n > 1).map_or((1, 0), |(n, size)| (n as usize, size));
    let mut segments = Vec::new();
    let mut done = 0;
    while done < volume.extents {
        let free = |pv: usize, used: &[u64]| physical[pv].extents.saturating_sub(used[pv]);
        let mut candidates: Vec<usize> = (0..physical.len()).filter(|pv| free(*pv, used) > 0).collect();
        if stripes > 1 {
            // Those with the most room, which can go on beside each other for longest.
            candidates.sort_by_key(|pv| std::cmp::Reverse(free(*pv, used)));
        }
        candidates.truncate(stripes);
        candidates.sort_unstable();
        let room = candidates.iter().map(|pv| free(*pv, used)).min().unwrap_or(0);
        let each = room.min((volume.extents - done) / stripes as u64);
        if candidates.len() < stripes || each == 0 {
            let text = format!("lvm/{}/{} finds no room for its extents", group.name, volume.name);
            return Err(Error::limit(text).hint("give it fewer stripes, or the group larger devices"));
        }
        let on: Vec<On> =
            candidates.iter().map(|pv| On { volume: physical[*pv].name.clone(), extent: used[*pv] }).collect();
        candidates.iter().for_each(|pv| used[*pv] += each);
        let extents = each * stripes as u64;
        let mapping = match <[On; 1]>::try_from(on) {
            Ok([one]) => Mapping::Linear(one),
            Err(on) => Mapping::Striped { stripe, on },
        };
        segments.push(Segment { start: done, extents, mapping });
        done += extents;
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group() -> PlannedGroup {
        let (pvs, volumes) = (Vec::new(), Vec::new());
        let (kept, replaced) = (false, Vec::new());
        PlannedGroup {
            name: "v".into(),
            pvs,
            extent: 4 << 20,
            extents: 0,
            free: 0,
            volumes,
            sector: 512,
            kept,
            replaced,
        }
    }

    fn volume(extents: u64, stripes: u32) -> PlannedVolume {
        PlannedVolume {
            name: "l".into(),
            kind: VolumeKind::Linear,
            extents,
            stripes: Some((stripes, 64 << 10)),
            chunk: None,
            metadata: 0,
            pool: None,
            size: extents * (4 << 20),
            kept: false,
        }
    }

    fn physical(extents: &[u64]) -> Vec<Physical> {
        let made = |(n, extents): (usize, &u64)| Physical {
            name: format!("pv{n}"),
            uuid: String::new(),
            device: String::new(),
            status: Vec::new(),
            size: 0,
            start: PV_START,
            extents: *extents,
        };
        extents.iter().enumerate().map(made).collect()
    }

    #[test]
    fn a_volume_goes_on_where_the_device_ends() {
        let (pvs, mut used) = (physical(&[5, 0, 9]), vec![2, 0, 0]);
        let found = segments(&group(), &volume(8, 1), &pvs, &mut used).unwrap();
        let on = |volume: &str, extent| Mapping::Linear(On { volume: volume.into(), extent });
        assert_eq!(
            found,
            [
                Segment { start: 0, extents: 3, mapping: on("pv0", 2) },
                Segment { start: 3, extents: 5, mapping: on("pv2", 0) },
            ]
        );
        assert_eq!(used, [5, 0, 5]);
        let full = segments(&group(), &volume(5, 1), &pvs, &mut used).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Limit);
    }

    proptest! {
        /// Volumes have the extents that they shall have, no extent has two owners, none lies beyond its device, and
        /// stripes lie on different devices.
        #[test]
        fn extents_have_one_owner(
            sizes in proptest::collection::vec(0u64..50, 1..5), wanted in proptest::collection::vec((1u64..20, 1u32..4), 1..6),
        ) {
            let (pvs, mut used) = (physical(&sizes), vec![0; sizes.len()]);
            let mut owned = std::collections::BTreeSet::new();
            for (each, stripes) in wanted {
                let extents = each * u64::from(stripes);
                let Ok(found) = segments(&group(), &volume(extents, stripes), &pvs, &mut used) else { break };
                let mut next = 0;
                for segment in found {
                    prop_assert_eq!(segment.start, next);
                    next += segment.extents;
                    let areas: Vec<_> = segment.areas().collect();
                    prop_assert_eq!(areas.len(), stripes as usize);
                    for (on, extents) in areas {
                        for extent in on.extent..on.extent + extents {
                            prop_assert!(owned.insert((on.volume.clone(), extent)));
                            let pv: usize = on.volume[2..].parse().unwrap();
                            prop_assert!(extent < sizes[pv]);
                        }
                    }
                }
                prop_assert_eq!(next, extents);
            }
        }
    }
}
