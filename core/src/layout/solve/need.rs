//! The least that everything needs, from the filesystems down to the partitions.
//!
//! An array asks the same of each member. A group, and an array of level 0, asks for a sum: what its devices would have
//! anyway counts first, what is missing is asked of all alike, of none more than it can have.

use super::lvm::{self, Pool, Wishes};
use super::md::Geometry;
use super::share::Claim;
use super::{LUKS_HEADER, Problem, Short};
use crate::layout::size::Size;
use crate::layout::spec::{Level, Raid, Volume, VolumeGroup, VolumeKind};
use crate::layout::stack::Object;
use crate::units::ByteSize;
use std::collections::HashMap;

/// The least of each object in bytes, and what cannot be.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub bytes: HashMap<Object, u64>,
    pub short: Vec<Short>,
}

/// Devices that together give a sum, each so many times.
struct Giver<'a> {
    object: &'a Object,
    times: u64,
    least: u64,
    most: u64,
}

impl Needs {
    /// What stands on an object needs so many bytes of it.
    pub(super) fn of(&self, object: &Object) -> u64 {
        self.bytes.get(object).copied().unwrap_or(0)
    }

    fn ask(&mut self, object: &Object, bytes: u64) {
        let has = self.bytes.entry(object.clone()).or_default();
        *has = (*has).max(bytes);
    }

    fn check(&mut self, object: &Object, has: u64) {
        let needs = self.of(object);
        if needs > has {
            self.short.push(Short::Device { object: object.clone(), needs, has });
        }
    }
}

impl Problem<'_> {
    pub(super) fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        for object in self.stack.order().iter().rev().filter(|o| !self.gone.contains(*o)) {
            match object {
                Object::Filesystem(name) => {
                    if let (Some(fs), [on, ..]) = (self.spec.filesystems.get(name), self.stack.below(object)) {
                        needs.ask(on, fs.kind.minimum());
                    }
                }
                Object::Volume(group, name) => self.volume_needs(object, group, name, &mut needs),
                Object::Group(name) => self.group_needs(object, name, &mut needs),
                Object::Luks(name) => match self.ground.kept.crypts.get(name) {
                    Some(kept) => needs.check(object, kept.size),
                    None => {
                        let bytes = needs.of(object).max(1).saturating_add(LUKS_HEADER);
                        self.stack.below(object).iter().for_each(|on| needs.ask(on, bytes));
                    }
                },
                Object::Raid(name) => match (self.ground.kept.arrays.get(name), self.spec.raid.get(name)) {
                    (Some(kept), _) => needs.check(object, kept.size),
                    (None, Some(raid)) => self.array_needs(object, raid, &mut needs),
                    (None, None) => {}
                },
                Object::Partition(key) => {
                    let fixed = self.spec.partitions.get(key).and_then(|p| fixed(&p.size, self.unit(&key.set)));
                    let kept = self.disks(&key.set).iter().flat_map(|d| &d.kept);
                    let kept = kept.filter(|k| k.key.as_ref() == Some(key)).map(|k| k.length).min();
                    let made = fixed.filter(|_| !self.is_kept_everywhere(key));
                    if let Some(has) = kept.into_iter().chain(made).min() {
                        needs.check(object, has);
                    }
                }
            }
        }
        needs
    }

    fn volume_needs(&self, object: &Object, group: &str, name: &str, needs: &mut Needs) {
        let Some((g, volume)) = self.spec.lvm.get(group).and_then(|g| Some((g, g.lvs.get(name)?))) else { return };
        let extent = self.extent(group, g);
        if let Some(kept) = self.ground.kept.groups.get(group).and_then(|k| k.volumes.get(name)) {
            needs.check(object, kept.extents.saturating_mul(extent));
        } else if volume.kind == VolumeKind::Thin {
            let shown = volume.virtual_size.map_or(0, ByteSize::bytes);
            needs.check(object, shown.div_ceil(extent).saturating_mul(extent));
        } else if let Some(has) = volume.size.as_ref().and_then(|s| fixed(s, extent)) {
            needs.check(object, has);
        }
    }

    fn group_needs(&self, object: &Object, name: &str, needs: &mut Needs) {
        let Some(group) = self.spec.lvm.get(name) else { return };
        let extent = self.extent(name, group);
        let least = self.wishes(name, group, |o| needs.of(o)).least().unwrap_or(u64::MAX);
        needs.ask(object, least.saturating_mul(extent));
        if let Some(kept) = self.ground.kept.groups.get(name) {
            needs.check(object, kept.extents.saturating_mul(extent));
            return;
        }
        let extents = |bytes: u64| lvm::extents_on(bytes, extent);
        self.ask_sum(object, least.max(1), extents, |n| lvm::device_for(n, extent), needs);
    }

    fn array_needs(&self, object: &Object, raid: &Raid, needs: &mut Needs) {
        let geometry = Geometry::of(raid);
        let below = self.stack.below(object);
        let all: u64 = below.iter().map(|o| self.replicas(o)).sum();
        let members = all.saturating_sub(raid.spares.into());
        let size = needs.of(object).max(1);
        if raid.level == Level::Raid0 && below.iter().filter(|o| !self.gone.contains(*o)).count() > 1 {
            let given = |bytes: u64| geometry.over(&[bytes], 0, 0).map_or(0, |a| a.size);
            self.ask_sum(object, size, given, |n| geometry.least_member(n, 1), needs);
            return;
        }
        let least = geometry.least_member(size, members);
        below.iter().for_each(|member| needs.ask(member, least));
    }

    /// Asks the devices below for so many units together.
    fn ask_sum(
        &self,
        object: &Object,
        units: u64,
        units_of: impl Fn(u64) -> u64,
        bytes_for: impl Fn(u64) -> u64,
        needs: &mut Needs,
    ) {
        let below: Vec<&Object> = self.stack.below(object).iter().filter(|o| !self.gone.contains(*o)).collect();
        if let [one] = below[..] {
            needs.ask(one, bytes_for(units.div_ceil(self.replicas(one).max(1))));
            return;
        }
        let givers: Vec<Giver> = below
            .into_iter()
            .map(|o| {
                let (least, most) = (units_of(self.bound(o, needs, false)), units_of(self.bound(o, needs, true)));
                Giver { object: o, times: self.replicas(o), least: least.min(most), most }
            })
            .collect();
        let sum = |each: u64| {
            let given = givers.iter().map(|g| u128::from(each.clamp(g.least, g.most)) * u128::from(g.times));
            given.sum::<u128>()
        };
        let (mut low, mut high) = (0, units);
        while low < high {
            let middle = low + (high - low) / 2;
            if sum(middle) >= u128::from(units) { high = middle } else { low = middle + 1 }
        }
        for g in &givers {
            needs.ask(g.object, bytes_for(low.clamp(g.least, g.most)));
        }
        if sum(low) < u128::from(units) {
            let has = givers.iter().fold(0u64, |all, g| all.saturating_add(g.most.saturating_mul(g.times)));
            let bytes = |units: u64| bytes_for(units).saturating_sub(bytes_for(0));
            needs.short.push(Short::Device { object: object.clone(), needs: bytes(units), has: bytes(has) });
        }
    }

    /// How big a device is at least, or at most, by what is known so far, in bytes.
    fn bound(&self, object: &Object, needs: &Needs, most: bool) -> u64 {
        let below = self.stack.below(object);
        let all = || {
            let sizes = below.iter().flat_map(|o| {
                let times = usize::try_from(self.replicas(o)).unwrap_or(0);
                std::iter::repeat_n(self.bound(o, needs, most), times)
            });
            sizes.collect::<Vec<u64>>()
        };
        match object {
            Object::Partition(key) => {
                let set = self.set(&key.set, |o| needs.of(o));
                let Some(index) = set.wishes.iter().position(|w| w.key == key) else { return 0 };
                let whole = set.disks.iter().map(|d| set.capacity(d)).min().unwrap_or(0);
                let wish = &set.wishes[index];
                let least = wish.claim.at(whole);
                let others = (0..set.wishes.len()).filter(|i| *i != index && !set.wishes[*i].gone);
                let others = others.fold(0u64, |sum, i| sum.saturating_add(set.least(i, whole)));
                let grows = wish.claim.weight > 0 || wish.claim.percent > 0;
                let room = match most && grows {
                    false => least,
                    true => whole.saturating_sub(others).min(wish.claim.most.unwrap_or(u64::MAX)).max(least),
                };
                let kept = set.disks.iter().flat_map(|d| &d.kept).filter(|k| k.key.as_ref() == Some(key));
                kept.map(|k| k.length).min().unwrap_or(room.saturating_mul(set.unit))
            }
            Object::Raid(name) => match (self.ground.kept.arrays.get(name), self.spec.raid.get(name)) {
                (Some(kept), _) => kept.size,
                (None, Some(raid)) => Geometry::of(raid).over(&all(), raid.spares, 0).map_or(0, |a| a.size),
                (None, None) => 0,
            },
            Object::Luks(name) => match self.ground.kept.crypts.get(name) {
                Some(kept) => kept.size,
                None => all().into_iter().min().unwrap_or(0).saturating_sub(LUKS_HEADER),
            },
            Object::Volume(group, name) => {
                let Some(g) = self.spec.lvm.get(group) else { return 0 };
                let extent = self.extent(group, g);
                let in_group: u64 = match self.stack.below(object) {
                    [on] if most => self
                        .stack
                        .below(on)
                        .iter()
                        .map(|o| lvm::extents_on(self.bound(o, needs, most), extent).saturating_mul(self.replicas(o)))
                        .sum(),
                    _ => 0,
                };
                let claim = g.lvs.get(name).and_then(|v| self.volume_claim(v, needs.of(object), extent));
                let claim = claim.unwrap_or_default();
                let least = claim.at(0);
                let room =
                    if claim.weight > 0 { in_group.min(claim.most.unwrap_or(u64::MAX)).max(least) } else { least };
                (if most { room } else { least }).saturating_mul(extent)
            }
            Object::Group(_) | Object::Filesystem(_) => 0,
        }
    }

    /// How many devices an object is.
    pub(super) fn replicas(&self, object: &Object) -> u64 {
        match object {
            _ if self.gone.contains(object) => 0,
            Object::Partition(key) => self.disks(&key.set).len() as u64,
            _ => 1,
        }
    }

    /// The extent of a group: of one that is kept its own.
    pub(super) fn extent(&self, name: &str, group: &VolumeGroup) -> u64 {
        self.ground.kept.groups.get(name).map_or(group.extent.bytes(), |k| k.extent).max(512)
    }

    /// What is wanted of a group: by the volumes that are made, in document order, by what stays, by the reserve.
    pub(super) fn wishes(&self, name: &str, group: &VolumeGroup, need: impl Fn(&Object) -> u64) -> Wishes {
        let extent = self.extent(name, group);
        let mut wishes = Wishes::default();
        for volume in self.made_volumes(name, group) {
            let object = Object::Volume(name.to_owned(), volume.to_owned());
            let v = &group.lvs[volume];
            let Some(mut claim) = self.volume_claim(v, need(&object), extent) else { continue };
            if v.kind == VolumeKind::ThinPool {
                let pool = Pool { extent, chunk: v.chunk.map(ByteSize::bytes) };
                let most = claim.most.unwrap_or(u64::MAX).min(pool.most());
                claim = Claim { least: pool.whole(claim.least), most: Some(pool.whole(most)), ..claim };
                wishes.pools.push((wishes.claims.len(), pool));
            }
            wishes.claims.push(claim);
        }
        if let Some(kept) = self.ground.kept.groups.get(name) {
            let own = kept.volumes.values().map(|v| v.extents.saturating_add(v.metadata));
            let least = own.fold(kept.taken, u64::saturating_add);
            wishes.claims.push(Claim { least, ..Claim::default() });
        }
        wishes.claims.extend(group.reserve.map(|p| Claim { percent: p.number().into(), ..Claim::default() }));
        wishes
    }

    /// The volumes that take new extents of a group: not thin, not kept, not left out.
    pub(super) fn made_volumes<'s>(&'s self, name: &'s str, group: &'s VolumeGroup) -> impl Iterator<Item = &'s str> {
        let kept = self.ground.kept.groups.get(name);
        let made = group.lvs.iter().filter(move |(volume, v)| {
            let gone = self.gone.contains(&Object::Volume(name.to_owned(), (*volume).clone()));
            !gone && v.kind != VolumeKind::Thin && !kept.is_some_and(|k| k.volumes.contains_key(*volume))
        });
        made.map(|(volume, _)| volume.as_str())
    }

    fn volume_claim(&self, volume: &Volume, need: u64, extent: u64) -> Option<Claim> {
        let size = volume.size.unwrap_or(Size::Rest);
        let claim = Claim::of(&size, need, extent, self.ground.ram).ok()?;
        Some(Claim { step: volume.stripes.unwrap_or(1).into(), ..claim })
    }
}

/// The size that is no other, in bytes.
fn fixed(size: &Size, unit: u64) -> Option<u64> {
    match size {
        Size::Fixed(bytes) => Some(bytes.bytes().div_ceil(unit).max(1).saturating_mul(unit)),
        _ => None,
    }
}
