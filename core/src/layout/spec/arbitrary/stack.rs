//! Partitions, and each thing that stands on one; on what, the builder says.

use super::{MIB, nowhere, plain_filesystem, plain_volume, size};
use crate::layout::size::Percent;
use crate::layout::spec::{
    Adopt, Attribute, Bitmap, Degraded, Filesystem, FsType, Key, Level, Luks, Metadata, Mount, Partition,
    PartitionType, Preserve, Profile, Raid, Raid10Layout, Resync, Side, Subvolume, Volume, VolumeGroup, VolumeKind,
};
use crate::units::ByteSize;
use indexmap::IndexMap;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

pub(super) fn partition() -> impl Strategy<Value = Partition> {
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

pub(super) fn raid() -> impl Strategy<Value = Raid> {
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

pub(super) fn luks() -> impl Strategy<Value = Luks> {
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

pub(super) fn group() -> impl Strategy<Value = VolumeGroup> {
    (0u32..8, option::of(1u32..40)).prop_map(|(extent, reserve)| VolumeGroup {
        pvs: Vec::new(),
        extent: ByteSize::new(MIB << extent),
        reserve: reserve.and_then(Percent::new),
        lvs: IndexMap::new(),
        preserve: Preserve::Never,
    })
}

pub(super) fn volume() -> impl Strategy<Value = Volume> {
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

pub(super) fn filesystem() -> impl Strategy<Value = Filesystem> {
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
