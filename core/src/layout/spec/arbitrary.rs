//! Documents for property tests: every one is right in itself, and together they use every key of the schema.
//!
//! ```text
//! set ──< part: [raid] [luks] ─> filesystem | volume group ──< volume: [luks] ─> filesystem
//! ```
//!
//! A choice that would not be right (two partitions with `rest`, a level that has too few members) becomes the nearest
//! one that is, so that shrinking a document leaves it right.

use super::{
    Adopt, Attribute, Bitmap, Boot, Count, Degraded, DiskSet, End, Filesystem, Firmware, FsType, Has, Key, Level,
    Loader, Luks, Match, Metadata, Mirror, Mount, NeverTouch, Nvram, Partition, PartitionKey, PartitionType, Pick,
    Policy, Preserve, Profile, Raid, Raid10Layout, Ref, Require, Resync, Same, SchemaId, SecureBoot, Side, SizeRange,
    Spec, Subvolume, Transport, Volume, VolumeGroup, VolumeKind, Wipe,
};
use crate::layout::size::{Base, Percent, Size};
use crate::units::ByteSize;
use indexmap::IndexMap;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

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

fn disks() -> impl Strategy<Value = DiskSet> {
    let count =
        (1u32..9, option::of(0u32..20), select(vec![1u32, 1, 2, 4])).prop_map(|(min, more, multiple_of)| {
            match (more, multiple_of) {
                (Some(0), _) => Count::exactly(min),
                (None, 4) => Count::exactly(1),
                (more, n) => Count {
                    min: min.next_multiple_of(n),
                    max: more.map(|m| (min + m).next_multiple_of(n)),
                    multiple_of: n,
                },
            }
        });
    let pick = select(vec![
        Pick::Unique,
        Pick::All,
        Pick::Smallest,
        Pick::Largest,
        Pick::ByPath(End::First),
        Pick::ByPath(End::Last),
    ]);
    let same = proptest::sample::subsequence(Same::WORDS.map(|(_, s)| s).to_vec(), 0..=Same::WORDS.len());
    let require = (same, option::of(percent())).prop_map(|(same, size_spread)| Require { same, size_spread });
    let wipe = select(Wipe::WORDS.map(|(_, w)| w).to_vec());
    let sector = option::of(select(vec![512u32, 4096]));
    (option::of(rules()), count, pick, require, wipe, any::<bool>(), any::<bool>(), sector).prop_map(
        |(matching, count, pick, require, wipe, optional, per_disk, sector)| DiskSet {
            matching,
            count,
            pick,
            exclude: Vec::new(),
            require,
            wipe,
            preserve: Preserve::Never,
            optional,
            per_disk,
            sector,
        },
    )
}

fn rules() -> impl Strategy<Value = Match> {
    let patterns = || vec("[A-Za-z0-9*?._-]{1,8}", 0..3);
    let range = (option::of(0u64..5000), option::of(0u64..5000))
        .prop_map(|(min, more)| SizeRange { min: min.map(size_of), max: more.map(|m| size_of(min.unwrap_or(0) + m)) });
    let has = (option::of("[a-z*]{1,6}"), any::<u128>()).prop_map(|(label, n)| {
        let id = Uuid::from_u128(n | 1);
        let md = id.simple().to_string();
        Has {
            fs_uuid: label.is_none().then(|| id.to_string()),
            md_uuid: Some([&md[..8], &md[8..16], &md[16..24], &md[24..]].join(":")),
            gpt_guid: Some(id.to_string()),
            label,
        }
    });
    let transport = proptest::sample::subsequence(Transport::WORDS.map(|(_, t)| t).to_vec(), 0..3);
    let flag = || option::of(any::<bool>());
    let names = (patterns(), patterns(), patterns(), patterns(), patterns(), patterns(), patterns());
    let facts = (option::of(1u32..9), option::of(range), flag(), transport, flag(), option::of(has));
    let leaf = (names, facts).prop_map(|(n, f)| Match {
        by_id: n.0,
        by_path: n.1,
        wwid: n.2,
        serial: n.3,
        model: n.4,
        vendor: n.5,
        slot: n.6,
        nsid: f.0,
        size: f.1,
        rotational: f.2,
        transport: f.3,
        removable: f.4,
        logical_sector: f.2.map(|r| if r { 512 } else { 4096 }),
        has: f.5,
        ..Match::default()
    });
    leaf.prop_recursive(2, 8, 3, |inner| {
        (vec(inner.clone(), 0..3), vec(inner.clone(), 0..3), option::of(inner.clone()), vec(inner, 0..2)).prop_map(
            |(all, any, not, first_of)| Match { all, any, not: not.map(Box::new), first_of, ..Match::default() },
        )
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

fn partition() -> impl Strategy<Value = Partition> {
    let kinds: Vec<PartitionType> = PartitionType::names()
        .filter(|n| !matches!(*n, "esp" | "bios-boot"))
        .chain(["11111111-2222-3333-4444-555555555555"])
        .map(|n| PartitionType::parse(n).unwrap())
        .collect();
    let attrs = proptest::sample::subsequence(Attribute::ALL.to_vec(), 0..4);
    let places = (option::of(1u64..2000), select(vec![Side::Next, Side::Next, Side::End]), option::of(0u64..300));
    let rare = (option::of("[a-zäß ]{1,20}"), option::of(1u128..), attrs, option::of(1u64..900), any::<bool>());
    (option::of(1u32..9), select(kinds), size(true), places, rare).prop_map(
        |(number, kind, size, (start, at, free), (name, uuid, attrs, min, optional))| Partition {
            number,
            kind,
            size,
            name,
            uuid: uuid.map(Uuid::from_u128),
            attrs,
            start: start.map(|m| ByteSize::new(m * MIB)),
            at,
            leave_free: free.map(|m| ByteSize::new(m * MIB)),
            optional,
            min: min.map(|m| ByteSize::new(m * MIB)),
            preserve: Preserve::Never,
        },
    )
}

fn raid() -> impl Strategy<Value = Raid> {
    let adopt = (option::of("any:[a-z]{1,9}"), any::<u128>(), any::<bool>()).prop_map(|(name, id, allow)| Adopt {
        uuid: name.is_none().then(|| Uuid::from_u128(id | 1).to_string()),
        name,
        degraded: if allow { Degraded::Allow } else { Degraded::Refuse },
    });
    let layout =
        option::of((select(vec!['n', 'f', 'o']), 2u32..4).prop_map(|(kind, copies)| Raid10Layout { kind, copies }));
    let sync = select(Resync::WORDS.map(|(_, s)| s).to_vec());
    let bitmap = option::of(select(vec![Bitmap::Internal, Bitmap::None]));
    let numbers = (0u32..3, option::of(12u32..30), any::<bool>());
    (select(Level::ALL.to_vec()), numbers, layout, bitmap, sync, option::of(adopt)).prop_map(
        |(level, (spares, chunk, old), layout, bitmap, sync, adopt)| Raid {
            level,
            members: Vec::new(),
            spares: if level.is_redundant() { spares } else { 0 },
            metadata: if old { Metadata::V1_0 } else { Metadata::V1_2 },
            layout: layout.filter(|_| level == Level::Raid10),
            chunk: chunk.filter(|_| level.is_striped()).map(|n| ByteSize::new(1 << n)),
            bitmap: bitmap.filter(|b| level.is_redundant() || *b == Bitmap::None),
            sync: match sync {
                _ if !level.is_redundant() => Resync::Background,
                Resync::AssumeClean if level.has_parity() => Resync::Zero,
                other => other,
            },
            name: None,
            adopt,
            preserve: Preserve::Never,
        },
    )
}

fn luks() -> impl Strategy<Value = Luks> {
    let tpm = option::of(vec(0u32..24, 0..4)).prop_map(|p| p.map(|pcrs| Key::Tpm2 { pcrs }));
    let options = proptest::sample::subsequence(vec!["discard".to_owned(), "nofail".into(), "tries=3".into()], 0..=3);
    ("[a-z/]{1,12}", tpm, options, option::of("[a-z]{1,40}")).prop_map(|(name, tpm, options, label)| Luks {
        on: nowhere(),
        version: 2,
        keys: [Key::Secret(format!("ref:{name}"))].into_iter().chain(tpm).collect(),
        options,
        label,
        preserve: Preserve::Never,
    })
}

fn group() -> impl Strategy<Value = VolumeGroup> {
    (0u32..8, option::of(1u32..40)).prop_map(|(extent, reserve)| VolumeGroup {
        pvs: Vec::new(),
        extent: ByteSize::new(MIB << extent),
        reserve: reserve.and_then(Percent::new),
        lvs: IndexMap::new(),
        preserve: Preserve::Never,
    })
}

fn volume() -> impl Strategy<Value = Volume> {
    let plain = (any::<bool>(), size(false), option::of(1u64..64), any::<bool>());
    plain.prop_map(|(pool, size, chunk, optional)| {
        let kind = if pool { VolumeKind::ThinPool } else { VolumeKind::Linear };
        Volume {
            size: Some(size),
            stripes: (!pool && optional).then_some(1),
            chunk: chunk.filter(|_| pool).map(|n| ByteSize::new(n << 16)),
            optional,
            ..plain_volume(kind)
        }
    })
}

fn filesystem() -> impl Strategy<Value = Filesystem> {
    let options = proptest::sample::subsequence(vec!["noatime".to_owned(), "nofail".into(), "nodev".into()], 0..=3);
    let mount = option::of(options.prop_map(|options| Mount { at: String::new(), options }));
    let profile = select(Profile::WORDS.map(|(_, p)| p).to_vec());
    (select(FsType::ALL.to_vec()), option::of("[A-Z]{1,11}"), mount, profile, 0usize..3).prop_map(
        |(kind, label, mount, profile, subvolumes)| {
            let profile = match (kind, profile) {
                (FsType::Vfat | FsType::Swap, _) => Profile::Auto,
                (FsType::Btrfs, p) if p != Profile::Default => Profile::Auto,
                (_, p) => p,
            };
            let subvolume = |i| (format!("@{}/x", 9 - i), Subvolume { mount: mount.clone() });
            let subvolumes = if kind == FsType::Btrfs { subvolumes } else { 0 };
            let mkfs: &[&str] = match kind {
                FsType::Xfs => &["-i", "maxpct=5"],
                FsType::Ext4 => &["-m", "0"],
                FsType::Vfat | FsType::Btrfs | FsType::Swap => &[],
            };
            Filesystem {
                label,
                mkfs: mkfs.iter().map(|w| (*w).to_owned()).collect(),
                profile,
                subvolumes: (0..subvolumes).map(subvolume).collect(),
                mount: mount.clone().filter(|_| kind != FsType::Swap),
                ..plain_filesystem(kind, nowhere())
            }
        },
    )
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
