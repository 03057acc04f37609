//! Documents for property tests: every one is right in itself, and together they use every key of the schema.
//!
//! ```text
//! set ──< part: [raid] [luks] ─> filesystem | volume group ──< volume: [luks] ─> filesystem
//! ```
//!
//! A choice that would not be right (two partitions with `rest`, a level that has too few members) becomes the nearest
//! one that is, so that shrinking a document leaves it right.

mod disks;
mod stack;

use self::disks::disks;
use self::stack::{filesystem, group, luks, partition, raid, volume};
use super::{
    Boot, Count, DiskSet, Filesystem, Firmware, FsType, Level, Loader, Luks, Metadata, Mirror, Mount, NeverTouch,
    Nvram, Partition, PartitionKey, PartitionType, Policy, Preserve, Profile, Raid, Ref, Resync, SchemaId, SecureBoot,
    Side, Spec, Volume, VolumeGroup, VolumeKind, Wipe,
};
use crate::layout::size::{Base, Percent, Size};
use crate::units::ByteSize;
use indexmap::IndexMap;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// Any document that is right in itself.
pub fn spec() -> impl Strategy<Value = Spec> {
    (vec(set(), 1..4), policy(), option::of(boot()), option::of("[ -~äß]{0,20}"), any::<bool>()).prop_map(
        |(sets, policy, boot, description, follows)| {
            let mut builder = Builder::new(policy, description);
            builder.boot(&sets[0], boot, follows);
            sets.iter().enumerate().for_each(|(i, set)| builder.set(i, set));
            builder.spec
        },
    )
}

/// What is chosen for a set.
#[derive(Clone, Debug)]
struct SetChoice {
    disks: DiskSet,
    parts: Vec<PartChoice>,
    keep: Option<Preserve>,
}

/// What is chosen for a partition and all that stands on it.
#[derive(Clone, Debug)]
struct PartChoice {
    partition: Partition,
    raid: Option<Raid>,
    luks: Option<Luks>,
    group: Option<(VolumeGroup, Vec<VolumeChoice>)>,
    filesystem: Filesystem,
    keep: bool,
}

#[derive(Clone, Debug)]
struct VolumeChoice {
    volume: Volume,
    luks: Option<Luks>,
    filesystem: Filesystem,
}

struct Builder {
    spec: Spec,
    mounts: u32,
}

impl Builder {
    fn new(policy: Policy, description: Option<String>) -> Self {
        let spec = Spec {
            schema: SchemaId::V1,
            name: "generated".into(),
            description,
            extends: Vec::new(),
            firmware: Vec::new(),
            disks: IndexMap::new(),
            partitions: IndexMap::new(),
            raid: IndexMap::new(),
            luks: IndexMap::new(),
            lvm: IndexMap::new(),
            filesystems: IndexMap::new(),
            boot: None,
            policy,
        };
        Self { spec, mounts: 0 }
    }

    /// What the first set starts from, besides what it has.
    fn boot(&mut self, first: &SetChoice, boot: Option<Boot>, follows: bool) {
        let Some(mut boot) = boot else { return };
        let bios = boot.loader == Loader::Grub2;
        self.spec.firmware = match (follows, bios) {
            (true, _) => Vec::new(),
            (false, true) => vec![Firmware::Bios, Firmware::Uefi],
            (false, false) => vec![Firmware::Uefi],
        };
        boot.install_on = "z0".into();
        let mut partition = |name: &str, kind: &str, size: u64| {
            let key = PartitionKey { set: "z0".into(), name: name.into() };
            self.spec.partitions.insert(key.clone(), plain_partition(kind, Size::Fixed(ByteSize::new(size))));
            Ref::Partition(key)
        };
        if bios {
            partition("bios", "bios-boot", MIB);
        }
        let several = first.disks.count != Count::exactly(1);
        let esp = Filesystem {
            mirror: several.then_some(Mirror::Sync),
            mount: Some(Mount { at: "/boot/efi".into(), options: Vec::new() }),
            ..plain_filesystem(FsType::Vfat, partition("esp", "esp", GIB))
        };
        let mut on = partition("root", "linux", 8 * GIB);
        if several {
            self.spec.raid.insert("root".into(), plain_raid(Level::Raid1, on));
            on = Ref::Raid("root".into());
        }
        let mount = Some(Mount { at: "/".into(), options: Vec::new() });
        self.spec.filesystems.insert("esp".into(), esp);
        self.spec.filesystems.insert("root".into(), Filesystem { mount, ..plain_filesystem(FsType::Ext4, on) });
        self.spec.boot = Some(boot);
    }

    fn set(&mut self, index: usize, choice: &SetChoice) {
        // Backwards, so that the order of the document is not that of the alphabet.
        let set = if index == 0 { "z0".to_owned() } else { format!("s{}", 9 - index) };
        let mut disks = choice.disks.clone();
        if index > 0 {
            disks.exclude = vec!["z0".to_owned()];
        }
        if let Some(keep) = choice.keep {
            disks.preserve = keep;
            disks.wipe = if disks.wipe == Wipe::None { Wipe::None } else { Wipe::Signatures };
        }
        let (mut rest, mut percent) = (false, 0);
        for (i, part) in choice.parts.iter().enumerate() {
            let mut partition = part.partition.clone();
            partition.size = fitting(partition.size, &mut rest, &mut percent);
            partition.min.take_if(|_| !matches!(partition.size, Size::Rest | Size::Percent(_)));
            partition.uuid.take_if(|_| disks.count != Count::exactly(1));
            partition.start.take_if(|_| i > 0 || partition.at == Side::End || self.spec.boot.is_some());
            partition.number = partition.number.map(|n| (n - 1) % 8 + 16 * u32::try_from(i).unwrap() + 8);
            let keep = choice.keep.filter(|_| part.keep).unwrap_or_default();
            partition.preserve = keep;
            let key = PartitionKey { set: set.clone(), name: format!("p{}", 9 - i) };
            let equal = matches!(partition.size, Size::Fixed(_));
            self.spec.partitions.insert(key.clone(), partition);
            self.part(part, &format!("{set}-{i}"), Ref::Partition(key), &mut disks, equal, keep);
        }
        self.spec.disks.insert(set, disks);
    }

    fn part(&mut self, choice: &PartChoice, id: &str, mut on: Ref, disks: &mut DiskSet, equal: bool, keep: Preserve) {
        let (least, several) = (disks.count.min, disks.count != Count::exactly(1));
        let raid = choice
            .raid
            .clone()
            .or_else(|| (several && choice.group.is_none()).then(|| plain_raid(Level::Raid1, on.clone())));
        if let Some(mut raid) = raid {
            if raid.level.least_members().max(raid.layout.map_or(0, |l| l.copies)) + raid.spares > least {
                raid = plain_raid(Level::Raid1, on.clone());
            }
            disks.per_disk &= equal;
            raid.members = vec![on];
            raid.preserve = keep;
            raid.adopt.take_if(|_| !keep.keeps());
            self.spec.raid.insert(id.to_owned(), raid);
            on = Ref::Raid(id.to_owned());
        }
        if let Some(luks) = choice.luks.clone().filter(|_| !several || matches!(on, Ref::Raid(_))) {
            self.spec.luks.insert(id.to_owned(), Luks { on, preserve: keep, ..luks });
            on = Ref::Luks(id.to_owned());
        }
        let Some((group, volumes)) = &choice.group else {
            return self.filesystem(id.to_owned(), &choice.filesystem, on, keep);
        };
        let mut group = VolumeGroup { pvs: vec![on], preserve: keep, ..group.clone() };
        let (mut rest, mut percent) = (false, group.reserve.map_or(0, |r| r.number().into()));
        for (i, choice) in volumes.iter().enumerate() {
            let mut volume = choice.volume.clone();
            volume.size = volume.size.map(|s| fitting(s, &mut rest, &mut percent));
            volume.preserve = if i % 2 == 0 { keep } else { Preserve::Never };
            group.lvs.insert(format!("v{}", 9 - i), volume);
        }
        for (i, choice) in volumes.iter().enumerate() {
            let name = format!("v{}", 9 - i);
            if group.lvs[&name].kind == VolumeKind::ThinPool {
                let mut thin = plain_volume(VolumeKind::Thin);
                thin.pool = Some(name);
                thin.virtual_size = Some(ByteSize::new(700 * GIB));
                group.lvs.insert(format!("t{i}"), thin);
                let on = Ref::Volume(id.to_owned(), format!("t{i}"));
                let mut filesystem = choice.filesystem.clone();
                if filesystem.kind == FsType::Swap {
                    filesystem = plain_filesystem(FsType::Ext4, on.clone());
                }
                self.filesystem(format!("{id}-t{i}"), &filesystem, on, Preserve::Never);
                continue;
            }
            let keep = group.lvs[&name].preserve;
            let mut on = Ref::Volume(id.to_owned(), name);
            if let Some(luks) = choice.luks.clone() {
                let id = format!("{id}.{i}");
                self.spec.luks.insert(id.clone(), Luks { on, preserve: keep, ..luks });
                on = Ref::Luks(id);
            }
            self.filesystem(format!("{id}-{i}"), &choice.filesystem, on, keep);
        }
        self.spec.lvm.insert(id.to_owned(), group);
    }

    fn filesystem(&mut self, id: String, choice: &Filesystem, on: Ref, keep: Preserve) {
        let keep = if choice.kind == FsType::Swap { Preserve::Never } else { keep };
        let mut fs = Filesystem { on, preserve: keep, ..choice.clone() };
        let subvolumes = fs.subvolumes.values_mut().filter_map(|s| s.mount.as_mut());
        for mount in fs.mount.iter_mut().chain(subvolumes) {
            self.mounts += 1;
            mount.at = format!("/srv/m{}", self.mounts);
        }
        self.spec.filesystems.insert(id, fs);
    }
}

/// A size that goes with those before it: at most one `rest`, at most 100 %.
fn fitting(size: Size, rest: &mut bool, percent: &mut u32) -> Size {
    let share = match size {
        Size::Rest if std::mem::replace(rest, true) => return Size::Flex { min: size_of(1), max: None, weight: 1 },
        Size::Percent(p) => p.number().into(),
        Size::Of { base: Base::Disk, percent, .. } => percent,
        other => return other,
    };
    if *percent + share > 100 {
        return Size::Flex { min: size_of(2), max: Some(size_of(20)), weight: 7 };
    }
    *percent += share;
    size
}

fn size_of(gib: u64) -> ByteSize {
    ByteSize::new(gib * GIB)
}

fn plain_partition(kind: &str, size: Size) -> Partition {
    Partition {
        number: None,
        kind: PartitionType::parse(kind).unwrap(),
        size,
        name: None,
        uuid: None,
        attrs: Vec::new(),
        start: None,
        at: Side::Next,
        leave_free: None,
        optional: false,
        min: None,
        preserve: Preserve::Never,
    }
}

fn plain_raid(level: Level, on: Ref) -> Raid {
    Raid {
        level,
        members: vec![on],
        spares: 0,
        metadata: Metadata::V1_2,
        layout: None,
        chunk: None,
        bitmap: None,
        sync: Resync::Background,
        name: None,
        adopt: None,
        preserve: Preserve::Never,
    }
}

fn plain_volume(kind: VolumeKind) -> Volume {
    Volume {
        kind,
        size: None,
        stripes: None,
        stripe_size: None,
        chunk: None,
        pool: None,
        virtual_size: None,
        optional: false,
        preserve: Preserve::Never,
    }
}

fn plain_filesystem(kind: FsType, on: Ref) -> Filesystem {
    Filesystem {
        on,
        kind,
        label: None,
        uuid: None,
        mkfs: Vec::new(),
        profile: Profile::Auto,
        mount: None,
        mirror: None,
        subvolumes: IndexMap::new(),
        preserve: Preserve::Never,
    }
}

fn nowhere() -> Ref {
    Ref::Raid("nowhere".into())
}

fn set() -> impl Strategy<Value = SetChoice> {
    let keep = option::weighted(0.2, select(vec![Preserve::IfExists, Preserve::Require]));
    (disks(), vec(part(), 0..5), keep).prop_map(|(disks, parts, keep)| SetChoice { disks, parts, keep })
}

fn part() -> impl Strategy<Value = PartChoice> {
    let volumes = vec((volume(), option::weighted(0.2, luks()), filesystem()), 0..4).prop_map(|list| {
        list.into_iter().map(|(volume, luks, filesystem)| VolumeChoice { volume, luks, filesystem }).collect::<Vec<_>>()
    });
    let group = (group(), volumes);
    let stack = (option::of(raid()), option::weighted(0.2, luks()), option::of(group));
    (partition(), stack, filesystem(), any::<bool>()).prop_map(|(partition, (raid, luks, group), filesystem, keep)| {
        PartChoice { partition, raid, luks, group, filesystem, keep }
    })
}

fn percent() -> impl Strategy<Value = Percent> {
    (1u32..=100).prop_map(|n| Percent::new(n).unwrap())
}

/// Sizes that everything fits into.
fn size(of_disk: bool) -> impl Strategy<Value = Size> {
    let base = if of_disk { vec![Base::Ram, Base::Disk] } else { vec![Base::Ram] };
    prop_oneof![
        (GIB / 512..60 * GIB / 512).prop_map(|n| Size::Fixed(ByteSize::new(n * 512))),
        Just(Size::Rest),
        (1u32..50).prop_map(|n| Size::Percent(Percent::new(n).unwrap())),
        (0u64..20, option::of(1u64..100), 1u32..=1000).prop_map(|(min, more, weight)| Size::Flex {
            min: size_of(min),
            max: more.map(|m| size_of(min + m)),
            weight
        }),
        (select(base), 1u32..=90, option::of(1u64..4), option::of(4u64..90)).prop_map(|(base, percent, min, max)| {
            Size::Of { base, percent, min: min.map(size_of), max: max.map(size_of) }
        }),
    ]
}

fn boot() -> impl Strategy<Value = Boot> {
    let secure = select(SecureBoot::WORDS.map(|(_, s)| s).to_vec());
    let cmdline = vec("[a-z]{1,6}(=[a-z0-9,]{1,6})?", 0..3);
    (any::<bool>(), secure, any::<bool>(), any::<bool>(), any::<bool>(), cmdline).prop_map(
        |(grub, secure_boot, update, keep_pxe_first, removable_fallback, cmdline)| Boot {
            loader: if grub { Loader::Grub2 } else { Loader::SystemdBoot },
            install_on: String::new(),
            // systemd-boot is started without shim.
            secure_boot: if grub || secure_boot != SecureBoot::Shim { secure_boot } else { SecureBoot::Auto },
            nvram: Nvram { update, keep_pxe_first },
            removable_fallback: removable_fallback || !update,
            cmdline,
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    let rule = (vec("[a-z*]{1,6}", 1..3), vec("[a-z]{1,6}", 0..2), vec("[a-z?]{1,6}", 0..2))
        .prop_map(|(label, signature, model)| NeverTouch { label, signature, model, ..NeverTouch::default() });
    (vec(rule, 0..3), any::<bool>()).prop_map(|(never_touch, no_root)| Policy { never_touch, no_root })
}
