//! Arrays, encrypted devices and volume groups of a document.

use super::Draft;
use super::names::{is_name, unique};
use crate::layout::foreign::foreign_crypttab_option;
use crate::layout::observed::{Array, Group, Node, Volume as Seen};
use crate::layout::ondisk::luks::Header;
use crate::layout::ondisk::md;
use crate::layout::size::Size;
use crate::layout::solve::md::CHUNK;
use crate::layout::spec::{
    Bitmap, Key, Level, Luks, Metadata, Preserve, Raid, Raid10Layout, Ref, Resync, Volume, VolumeGroup, VolumeKind,
};
use crate::layout::unchanged;
use crate::units::ByteSize;
use indexmap::IndexMap;

/// What documents take where they say nothing.
const STRIPE: u64 = 64 << 10;
const POOL_CHUNK: u64 = 64 << 10;

impl Draft<'_> {
    /// Arrays, in the order in which each stands on what is there already.
    pub(super) fn arrays(&mut self) {
        let all: Vec<(usize, &Array)> = self.observed.arrays.iter().enumerate().collect();
        for (index, array) in all {
            if self.references.contains_key(&Node::Array(index)) {
                continue;
            }
            let Some(members) = self.references_of(array.members.iter().map(|m| m.on)) else { continue };
            self.array(index, array, members);
        }
    }

    fn array(&mut self, index: usize, array: &Array, members: Vec<Ref>) {
        let what = self.observed.name(Node::Array(index));
        let metadata = match array.version {
            md::Version::V1_0 => Some(Metadata::V1_0),
            md::Version::V1_2 => Some(Metadata::V1_2),
            md::Version::V0_90 | md::Version::V1_1 => None,
        };
        let (Some(level), Some(metadata)) = (unchanged::level(array), metadata) else {
            let (level, layout, version) = (array.level, array.layout, array.version);
            self.unsupported.push(format!("{what}: {level} with layout {layout:#x} and metadata {version}"));
            return;
        };
        if array.members.iter().any(|m| m.role == md::Role::Journal) {
            self.unsupported.push(format!("{what}: a journal"));
        }
        if array.active() < array.raid_disks as usize {
            let (is, wanted) = (array.active(), array.raid_disks);
            self.notes.push(format!("{what} is degraded: {is} of {wanted} members are there, and in this document"));
        }
        if array.reshaping {
            self.notes.push(format!("{what} is changing its shape: it is written as it was read"));
        }
        let stored = array.short_name();
        let id = if is_name(stored) { stored.to_owned() } else { "md".to_owned() };
        let id = unique(&id, |n| self.spec.raid.contains_key(n));
        let layout =
            unchanged::raid10_layout(array.layout).filter(|l| level == Level::Raid10 && *l != Raid10Layout::NEAR_2);
        let raid = Raid {
            level,
            members,
            spares: u32::try_from(array.spares()).unwrap_or(0),
            metadata,
            layout,
            chunk: Some(array.chunk).filter(|c| level.is_striped() && *c != CHUNK).map(ByteSize::new),
            bitmap: (level.is_redundant() && !array.bitmap).then_some(Bitmap::None),
            sync: Resync::Background,
            name: Some(stored.to_owned()).filter(|n| *n != id && !n.is_empty()),
            adopt: None,
            preserve: Preserve::Never,
        };
        self.references.insert(Node::Array(index), Ref::Raid(id.clone()));
        self.spec.raid.insert(id, raid);
    }

    /// Encrypted devices and groups stand on each other, and arrays on both: as long as something new can be said.
    pub(super) fn crypts_and_groups(&mut self) {
        loop {
            let before = self.references.len();
            for index in 0..self.observed.crypts.len() {
                let on = self.observed.crypts[index].on;
                if !self.references.contains_key(&Node::Crypt(index))
                    && let Some(on) = self.references.get(&on).cloned()
                {
                    self.crypt(index, on);
                }
            }
            for index in 0..self.observed.groups.len() {
                let group = &self.observed.groups[index];
                if self.spec.lvm.contains_key(&group.name) {
                    continue;
                }
                if let Some(pvs) = self.references_of(group.pvs.iter().filter_map(|p| p.on)) {
                    self.group(index, group, pvs);
                }
            }
            self.arrays();
            if self.references.len() == before {
                return;
            }
        }
    }

    fn crypt(&mut self, index: usize, on: Ref) {
        let crypt = &self.observed.crypts[index];
        let what = self.observed.name(Node::Crypt(index));
        let system = self.observed.system.as_ref();
        let line = system.and_then(|s| s.crypttab.iter().find(|l| self.observed.named(&l.what) == Some(crypt.on)));
        let mapped = crypt.open.as_ref().and_then(|o| o.mapped.as_deref());
        // A name made of the UUID says nothing on another machine.
        let given = line.map(|l| l.name.as_str()).or(mapped).filter(|n| is_name(n) && !n.ends_with(&crypt.header.uuid));
        let name = given.map(str::to_owned).or_else(|| self.purpose(Node::Crypt(index))).filter(|n| is_name(n));
        let id = unique(name.as_deref().unwrap_or("crypt"), |n| self.spec.luks.contains_key(n));
        if crypt.header.version != 2 {
            self.unsupported.push(format!("{what}: LUKS {}; the document makes version 2", crypt.header.version));
        }
        for token in crypt.header.tokens.iter().filter(|t| !t.is_tpm2()) {
            let kind = &token.kind;
            self.notes.push(format!("{what}: how {kind} opens it is not captured; add it to the keys of luks.{id}"));
        }
        if crypt.open.is_none() {
            self.notes.push(format!("{what} is not open: what is in it is not in this document"));
        }
        let made = |o: &&String| matches!(o.as_str(), "luks" | "tpm2-device=auto" | "initramfs");
        let own: Vec<String> = line.into_iter().flat_map(|l| &l.options).filter(|o| !made(o)).cloned().collect();
        let (foreign, options): (Vec<_>, Vec<_>) = own.into_iter().partition(|o| foreign_crypttab_option(o));
        for option in foreign {
            self.notes.push(format!("{what}: the option {option} of crypttab cannot stand in a document"));
        }
        let luks = Luks {
            on,
            version: 2,
            keys: keys(&crypt.header),
            options,
            label: crypt.header.label.clone(),
            preserve: Preserve::Never,
        };
        self.references.insert(Node::Crypt(index), Ref::Luks(id.clone()));
        self.spec.luks.insert(id, luks);
    }

    fn group(&mut self, index: usize, group: &Group, pvs: Vec<Ref>) {
        let missing = group.pvs.iter().filter(|p| p.on.is_none()).count();
        if missing > 0 {
            self.unsupported
                .push(format!("volume group {}: {missing} of its physical volumes are missing", group.name));
        }
        if pvs.is_empty() {
            return;
        }
        if !group.tags.is_empty() {
            self.notes.push(format!("the tags of volume group {} are not captured", group.name));
        }
        let filling = filling(group);
        let mut lvs = IndexMap::new();
        for (place, seen) in group.volumes.iter().enumerate() {
            let what = format!("volume {}/{}", group.name, seen.name);
            let kind = match &seen.kind {
                Ok(kind) => *kind,
                Err(kind) => {
                    self.unsupported.push(format!("{what}: {kind}"));
                    continue;
                }
            };
            if !seen.tags.is_empty() {
                self.notes.push(format!("the tags of {what} are not captured"));
            }
            lvs.insert(seen.name.clone(), volume(group, seen, kind, filling == Some(place)));
            let reference = Ref::Volume(group.name.clone(), seen.name.clone());
            self.references.insert(Node::Volume { group: index, volume: place }, reference);
        }
        let extent = ByteSize::new(group.extent);
        let made = VolumeGroup { pvs, extent, reserve: None, lvs, preserve: Preserve::Never };
        self.spec.lvm.insert(group.name.clone(), made);
    }
}

/// Which volume is as big as there is room: the largest, where nothing is free.
fn filling(group: &Group) -> Option<usize> {
    let takes_room = |v: &Seen| matches!(v.kind, Ok(VolumeKind::Linear | VolumeKind::ThinPool));
    let all = group.volumes.iter().enumerate().filter(|(_, v)| takes_room(v));
    let largest = all.max_by_key(|(place, v)| (v.extents, std::cmp::Reverse(*place)));
    largest.filter(|_| group.free == 0).map(|(place, _)| place)
}

fn volume(group: &Group, seen: &Seen, kind: VolumeKind, fills: bool) -> Volume {
    let size = ByteSize::new(seen.extents.saturating_mul(group.extent));
    let thin = kind == VolumeKind::Thin;
    let (stripes, stripe) = seen.stripes.unzip();
    Volume {
        kind,
        size: (!thin).then_some(if fills { Size::Rest } else { Size::Fixed(size) }),
        stripes,
        stripe_size: stripe.filter(|s| *s != STRIPE).map(ByteSize::new),
        chunk: seen.chunk.filter(|c| *c != POOL_CHUNK).map(ByteSize::new),
        pool: seen.pool.clone(),
        virtual_size: thin.then_some(size),
        optional: false,
        preserve: Preserve::Never,
    }
}

/// What opens an encrypted device: the TPM is no secret, and which secret it is nobody captures.
fn keys(header: &Header) -> Vec<Key> {
    let mut keys = Vec::new();
    for token in header.tokens.iter().filter(|t| t.is_tpm2()) {
        let key = Key::Tpm2 { pcrs: token.pcrs.clone() };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let by_token = |id: u32| header.tokens.iter().any(|t| t.keyslots.contains(&id));
    if keys.is_empty() || header.keyslots.iter().any(|slot| !by_token(slot.id)) {
        keys.push(Key::Secret("ref:TODO".to_owned()));
    }
    keys
}
