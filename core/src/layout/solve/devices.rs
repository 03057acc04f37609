//! The sizes of everything, from the partitions up.

use super::fit::Set;
use super::lvm::{self, GroupSize, VolumeSize};
use super::md::Geometry;
use super::{CryptSize, LUKS_HEADER, Problem, Short, Solved};
use crate::layout::spec::{VolumeGroup, VolumeKind};
use crate::layout::stack::Object;
use crate::units::ByteSize;
use indexmap::IndexMap;

/// Encrypted devices have whole sectors of 4 KiB, whatever is below.
const CRYPT_SECTOR: u64 = 4096;

impl Problem<'_> {
    /// Solves it as it is, or says what falls short.
    pub(super) fn attempt(&self) -> Result<Solved, Vec<Short>> {
        let needs = self.needs();
        let mut short = needs.short.clone();
        let mut solved = Solved::default();
        for name in self.spec.disks.keys() {
            let set = self.set(name, |o| needs.of(o));
            match set.fit() {
                Ok(placed) => {
                    solved.unused.insert(name.clone(), unused(&set));
                    solved.disks.insert(name.clone(), placed);
                }
                Err(found) => short.push(found),
            }
        }
        if short.is_empty() {
            self.build(|o| needs.of(o), &mut solved, &mut short);
        }
        if short.is_empty() { Ok(solved) } else { Err(short) }
    }

    fn build(&self, need: impl Fn(&Object) -> u64, solved: &mut Solved, short: &mut Vec<Short>) {
        for object in self.stack.order().iter().filter(|o| !self.gone.contains(*o)) {
            let sizes = match object {
                Object::Partition(key) => {
                    let mut own = self.spec.partitions.keys().filter(|k| k.set == key.set);
                    let index = own.position(|k| k == key);
                    let placed = solved.disks.get(&key.set).into_iter().flatten();
                    placed.filter_map(|disk| disk.get(index?).copied().flatten()).map(|p| p.length).collect()
                }
                Object::Raid(name) => match self.array(object, name, solved) {
                    Some(size) => vec![size],
                    None => {
                        let has = self.below_sizes(object, solved).into_iter().min().unwrap_or(0);
                        short.push(Short::Device { object: object.clone(), needs: need(object), has });
                        continue;
                    }
                },
                Object::Luks(name) => {
                    let on = self.below_sizes(object, solved).into_iter().min().unwrap_or(0);
                    let size = on.saturating_sub(LUKS_HEADER) / CRYPT_SECTOR * CRYPT_SECTOR;
                    let made = CryptSize { offset: LUKS_HEADER, size };
                    let crypt = self.ground.kept.crypts.get(name).copied().unwrap_or(made);
                    solved.crypts.insert(name.clone(), crypt);
                    vec![crypt.size]
                }
                Object::Group(name) => {
                    let Some(group) = self.spec.lvm.get(name) else { continue };
                    let Some(size) = self.group(object, name, group, &need, solved) else {
                        let devices = self.below_sizes(object, solved);
                        let extent = self.extent(name, group);
                        let extents: u64 = devices.iter().map(|d| lvm::extents_on(*d, extent)).sum();
                        let has = extents.saturating_mul(extent);
                        short.push(Short::Device { object: object.clone(), needs: need(object), has });
                        continue;
                    };
                    solved.groups.insert(name.clone(), size);
                    continue;
                }
                Object::Volume(group, name) => {
                    let volume = solved.groups.get(group).and_then(|g| Some((g.extent, g.volumes.get(name)?)));
                    volume.map(|(extent, v)| v.extents.saturating_mul(extent)).into_iter().collect()
                }
                Object::Filesystem(_) => continue,
            };
            solved.devices.insert(object.clone(), sizes);
        }
    }

    /// The devices that an object stands on.
    fn below_sizes(&self, object: &Object, solved: &Solved) -> Vec<u64> {
        self.stack.below(object).iter().filter_map(|o| solved.devices.get(o)).flatten().copied().collect()
    }

    /// The largest logical sector below an object.
    fn sector(&self, object: &Object) -> u32 {
        let below = self.stack.foundation(object);
        let sets = below.iter().filter_map(|o| match o {
            Object::Partition(key) => Some(self.disks(&key.set)),
            _ => None,
        });
        sets.flatten().map(|d| d.sector).max().unwrap_or(512)
    }

    fn array(&self, object: &Object, name: &str, solved: &mut Solved) -> Option<u64> {
        let made = || {
            let raid = self.spec.raid.get(name)?;
            Geometry::of(raid).over(&self.below_sizes(object, solved), raid.spares, self.sector(object))
        };
        let array = self.ground.kept.arrays.get(name).copied().or_else(made)?;
        solved.arrays.insert(name.to_owned(), array);
        Some(array.size)
    }

    fn group(
        &self,
        object: &Object,
        name: &str,
        group: &VolumeGroup,
        need: impl Fn(&Object) -> u64,
        solved: &Solved,
    ) -> Option<GroupSize> {
        let extent = self.extent(name, group);
        let kept = self.ground.kept.groups.get(name);
        let devices: Vec<u64> = match kept {
            Some(_) => Vec::new(),
            None => self.below_sizes(object, solved).into_iter().map(|d| lvm::extents_on(d, extent)).collect(),
        };
        let extents = kept.map_or_else(|| devices.iter().sum(), |k| k.extents);
        let wishes = self.wishes(name, group, need);
        let (mut got, spare) = wishes.share(extents)?;
        let reserved = if group.reserve.is_some() { got.pop().unwrap_or(0) } else { 0 };
        let free = extents - spare - reserved - got.iter().sum::<u64>();
        let mut made: IndexMap<&str, VolumeSize> = self
            .made_volumes(name, group)
            .zip(got)
            .map(|(volume, extents)| (volume, VolumeSize { extents, ..VolumeSize::default() }))
            .collect();
        let mut lost = 0;
        for (i, pool) in &wishes.pools {
            let volume = &mut made[*i];
            let data = pool.data(volume.extents);
            lost += volume.extents - pool.whole(data);
            *volume = VolumeSize { extents: data, metadata: pool.metadata(data), chunk: pool.chunk(data) };
        }
        let mut volumes = IndexMap::new();
        for (volume, v) in &group.lvs {
            let thin = || {
                let shown = v.virtual_size.map_or(0, ByteSize::bytes).div_ceil(extent);
                (v.kind == VolumeKind::Thin).then_some(VolumeSize { extents: shown, ..VolumeSize::default() })
            };
            let gone = self.gone.contains(&Object::Volume(name.to_owned(), volume.clone()));
            let kept = || kept.and_then(|k| k.volumes.get(volume)).copied();
            let size = made.get(volume.as_str()).copied().or_else(kept).or_else(thin);
            volumes.extend(size.filter(|_| !gone).map(|s| (volume.clone(), s)));
        }
        Some(GroupSize { extent, devices, extents, reserved, free: free + lost, spare, volumes })
    }
}

/// What each disk has beyond the smallest of its set, in bytes, where it can use none of it.
fn unused(set: &Set) -> Vec<u64> {
    let all: Vec<u64> = set.disks.iter().map(|d| set.capacity(d)).collect();
    let least = if set.per_disk { u64::MAX } else { all.iter().min().copied().unwrap_or(0) };
    all.into_iter().map(|c| c.saturating_sub(least).saturating_mul(set.unit)).collect()
}
