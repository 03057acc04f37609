//! What holds for every document: stacks of partition, array, encryption, group and volumes on several sets.
//!
//! Invariants: places are aligned, within the usable range and apart; replicas are alike; the arithmetic of arrays and
//! groups holds from below; the answer is the same each time, and what it says about sizes is what comes out when it is
//! asked for; and a bigger disk makes nothing smaller and leaves nothing out that a smaller one has.

use super::super::{ALIGN, PV_START, range, usable};
use super::*;
use crate::layout::size::Size;
use crate::units::ByteSize;
use proptest::prelude::*;
use std::fmt::Write as _;

/// One set and what stands on it.
#[derive(Clone, Debug)]
struct Plot {
    disks: usize,
    big_sectors: bool,
    optimal: u64,
    per_disk: bool,
    boot: bool,
    plain: Vec<(String, bool, bool)>,
    base: String,
    array: Option<(u32, &'static str, &'static str)>,
    luks: bool,
    volumes: Vec<Vol>,
    reserve: Option<u32>,
    extent: u64,
}

#[derive(Clone, Debug)]
struct Vol {
    size: String,
    kind: u8,
    stripes: bool,
    optional: bool,
}

fn size() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (1u64..200).prop_map(|n| format!("{n}MiB")),
        1 => (1u64..3000).prop_map(|n| format!("{n}kB")),
        2 => (1u64..=7).prop_map(|n| format!("{n}%")),
        4 => (1u64..80, proptest::option::of(0u64..900), 1u32..=1000).prop_map(|(min, extra, weight)| {
            let max = extra.map_or_else(String::new, |e| format!(", max: {}MiB", min + e));
            format!("{{min: {min}MiB{max}, weight: {weight}}}")
        }),
        1 => (1u64..=5, 1u64..400).prop_map(|(p, max)| format!("{{percent-of: disk, percent: {p}, max: {max}MiB}}")),
        1 => (1u64..=200, 1u64..100).prop_map(|(p, max)| format!("{{percent-of: ram, percent: {p}, max: {max}MiB}}")),
    ]
}

fn volume() -> impl Strategy<Value = Vol> {
    (size(), 0u8..8, any::<bool>(), proptest::bool::weighted(0.3)).prop_map(|(size, kind, stripes, optional)| Vol {
        size,
        kind,
        stripes,
        optional,
    })
}

fn plot() -> impl Strategy<Value = Plot> {
    let array = prop_oneof![
        Just((0u32, "", "1.2")),
        Just((1, "", "1.0")),
        Just((1, "", "1.2")),
        Just((5, ", chunk: 64KiB", "1.2")),
        Just((6, "", "1.2")),
        Just((10, "", "1.2")),
        Just((10, ", layout: f2, chunk: 4MiB", "1.2")),
        Just((10, ", layout: o2", "1.0")),
    ];
    let optimal = prop_oneof![5 => Just(0u64), 1 => Just(1536 << 10), 1 => Just(33_553_920), 1 => Just(2 << 20)];
    let base = prop_oneof![2 => Just("rest".to_owned()), 1 => (1u32..100).prop_map(|w| format!("{{weight: {w}}}"))];
    let form = (1usize..6, any::<bool>(), optimal, proptest::bool::weighted(0.15), any::<bool>());
    let plain = proptest::collection::vec((size(), any::<bool>(), proptest::bool::weighted(0.2)), 0..4);
    let above = (proptest::option::weighted(0.7, array), any::<bool>(), proptest::collection::vec(volume(), 0..6));
    let extent = prop_oneof![Just(1u64), Just(4), Just(32)];
    (form, plain, base, above, proptest::option::of(1u32..10), extent).prop_map(
        |((disks, big_sectors, optimal, per_disk, boot), plain, base, (array, luks, volumes), reserve, extent)| Plot {
            disks,
            big_sectors,
            optimal,
            per_disk,
            boot,
            plain,
            base,
            array,
            luks,
            volumes,
            reserve,
            extent,
        },
    )
}

impl Plot {
    fn array(&self) -> Option<(u32, &'static str, &'static str)> {
        self.array.filter(|(level, layout, _)| {
            let least = match (level, *layout) {
                (5, _) => 3,
                (6, _) => 4,
                (10, _) => 2,
                _ => 1,
            };
            self.disks >= least
        })
    }
}

fn text(plots: &[Plot]) -> String {
    let (mut disks, mut partitions, mut raid, mut luks, mut lvm, mut filesystems) =
        (String::new(), String::new(), String::new(), String::new(), String::new(), String::new());
    for (s, plot) in plots.iter().enumerate() {
        let _ = writeln!(disks, "  s{s}: {{count: {}, per-disk: {}}}", plot.disks, plot.per_disk);
        let _ = writeln!(partitions, "  s{s}/base: {{type: linux, size: {}}}", plot.base);
        if plot.boot {
            let _ = writeln!(
                partitions,
                "  s{s}/esp: {{type: esp, size: 260MiB}}\n  s{s}/core: {{type: bios-boot, size: 1MiB}}"
            );
        }
        for (i, (size, end, optional)) in plot.plain.iter().enumerate() {
            let side = if *end { ", at: end, leave-free: 3MiB" } else { "" };
            let _ = writeln!(partitions, "  s{s}/p{i}: {{type: linux, size: {size}, optional: {optional}{side}}}");
        }
        let mut on = format!("s{s}/base");
        let single = plot.disks == 1 || plot.array().is_some();
        if let Some((level, more, metadata)) = plot.array() {
            let _ = writeln!(raid, "  a{s}: {{level: {level}, members: [{on}], metadata: \"{metadata}\"{more}}}");
            on = format!("raid/a{s}");
        }
        if plot.luks && single {
            let _ = writeln!(luks, "  c{s}: {{on: {on}, version: 2, keys: [{{secret: \"ref:x\"}}]}}");
            on = format!("luks/c{s}");
        }
        if plot.volumes.is_empty() {
            let _ = writeln!(filesystems, "  f{s}: {{on: {on}, type: ext4}}");
            continue;
        }
        let reserve = plot.reserve.map_or_else(String::new, |r| format!("    reserve: {r}%\n"));
        let _ = writeln!(lvm, "  g{s}:\n    pvs: [{on}]\n    extent: {}MiB\n{reserve}    lvs:", plot.extent);
        for (v, vol) in plot.volumes.iter().enumerate() {
            let kind = match vol.kind {
                0 => ", kind: thin-pool".to_owned(),
                1 => ", kind: thin-pool, chunk: 64KiB".to_owned(),
                _ if vol.stripes && !single => format!(", stripes: {}", plot.disks),
                _ => String::new(),
            };
            let _ = writeln!(lvm, "      v{v}: {{size: {}, optional: {}{kind}}}", vol.size, vol.optional);
            if vol.kind < 2 {
                let _ = writeln!(lvm, "      t{v}: {{kind: thin, pool: v{v}, virtual-size: 1GiB}}");
            } else if vol.kind == 7 {
                let _ = writeln!(filesystems, "  f{s}-{v}: {{on: lvm/g{s}/v{v}, type: swap}}");
            }
        }
    }
    let mut all = "schema: cv.layout/v1\nname: test\n".to_owned();
    let parts = [("disks", disks), ("partitions", partitions), ("raid", raid), ("luks", luks), ("lvm", lvm)];
    for (name, body) in parts.into_iter().chain([("filesystems", filesystems)]).filter(|(_, b)| !b.is_empty()) {
        let _ = write!(all, "{name}:\n{body}");
    }
    all
}

/// Disks of about this many MiB; each of a set a little different. All of a set have grown, or the first alone.
fn ground_of(plots: &[Plot], mib: u64, odd: u64, (grown, alone): (u64, bool)) -> Ground {
    let sets = plots.iter().enumerate().map(|(s, plot)| {
        let sector = if plot.big_sectors { 4096 } else { 512 };
        // The one case where that helps nobody: members of level 0 have one data offset, by the smallest.
        let alone = alone && !(plot.per_disk && plot.array().is_some_and(|a| a.0 == 0));
        let one = |d: usize| {
            let grown = if alone && d > 0 { 0 } else { grown };
            let size = (mib + (d as u64 * 37) % 11) * MIB + odd * u64::from(sector) + grown * MIB / 4;
            DiskSize { name: format!("s{s}d{d}"), size, sector, optimal_io: plot.optimal, kept: Vec::new() }
        };
        (format!("s{s}"), (0..plot.disks).map(one).collect())
    });
    Ground { sets: sets.collect(), ram: Some(GIB), ..Ground::default() }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

/// The places of the partitions.
fn places_are_right(plots: &[Plot], spec: &Spec, ground: &Ground, solved: &Solved) -> Result<(), TestCaseError> {
    for (s, plot) in plots.iter().enumerate() {
        let set = format!("s{s}");
        let own: Vec<_> = spec.partitions.iter().filter(|(k, _)| k.set == set).collect();
        let unit = range::unit(&ground.sets[&set]);
        for (d, placed) in solved.disks[&set].iter().enumerate() {
            prop_assert_eq!(placed.len(), own.len());
            let disk = &ground.sets[&set][d];
            let (first, end) = usable(disk.size, disk.sector);
            let mut sorted: Vec<_> = placed.iter().zip(&own).filter_map(|(p, o)| Some(((*p)?, o.1))).collect();
            sorted.sort_by_key(|(p, _)| p.start);
            let mut at = first;
            for (p, partition) in sorted {
                prop_assert!(
                    p.start >= at && p.start.is_multiple_of(unit) && p.length.is_multiple_of(unit) && p.length > 0
                );
                prop_assert!(unit.is_multiple_of(ALIGN) && !p.kept);
                at = p.start + p.length + partition.leave_free.map_or(0, ByteSize::bytes);
            }
            prop_assert!(at <= end);
            let mut numbers: Vec<u32> = placed.iter().flatten().map(|p| p.number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), placed.iter().flatten().count());
            for (p, (key, partition)) in placed.iter().zip(&own) {
                let Some(p) = p else { continue };
                let first = solved.disks[&set][0].iter().zip(&own).find(|(_, o)| o.0 == *key).and_then(|(p, _)| *p);
                prop_assert!(plot.per_disk || first.is_some_and(|f| f.length == p.length));
                if let Size::Fixed(bytes) = partition.size {
                    prop_assert_eq!(p.length, bytes.bytes().next_multiple_of(unit));
                }
            }
        }
    }
    Ok(())
}

/// Arrays, encrypted devices and groups have what is below them, and no more.
fn arithmetic_is_right(plots: &[Plot], solved: &Solved) -> Result<(), TestCaseError> {
    for (s, plot) in plots.iter().enumerate() {
        let base = Object::Partition(key(&format!("s{s}"), "base"));
        let Some(members) = solved.devices.get(&base) else { continue };
        let smallest = members.iter().min().copied().unwrap_or(0);
        let mut devices = members.clone();
        if let Some((level, _, metadata)) = plot.array() {
            let a = solved.arrays[&format!("a{s}")];
            let n = u64::from(a.members);
            prop_assert_eq!((n as usize, a.spares), (plot.disks, 0));
            prop_assert!(a.data_offset + a.component <= smallest);
            prop_assert_eq!(a.data_offset == 0, metadata == "1.0");
            prop_assert!(a.chunk == 0 || (a.component.is_multiple_of(a.chunk) && a.size.is_multiple_of(a.chunk)));
            let of_data = match level {
                0 => a.size,
                1 => a.component,
                5 => a.component * (n - 1),
                6 => a.component * (n - 2),
                _ => a.component * n / 2 / a.chunk * a.chunk,
            };
            prop_assert!(a.size <= of_data && (level == 10 || a.size == of_data), "{:?}", a);
            prop_assert!(level != 0 || (a.size >= a.component * n && a.size <= members.iter().sum()));
            prop_assert!(a.size + 2 * n * a.chunk >= of_data);
            devices = vec![a.size];
        }
        if let Some(c) = solved.crypts.get(&format!("c{s}")) {
            prop_assert!(
                c.offset + c.size <= devices[0] && c.size.is_multiple_of(4096) && c.offset + c.size + 4096 > devices[0]
            );
            devices = vec![c.size];
        }
        if let Some(g) = solved.groups.get(&format!("g{s}")) {
            prop_assert_eq!(g.devices.len(), devices.len());
            for (extents, device) in g.devices.iter().zip(&devices) {
                prop_assert_eq!(*extents, (device - PV_START) / g.extent);
            }
            prop_assert_eq!(g.extents, g.devices.iter().sum::<u64>());
            let thin = |name: &str| name.starts_with('t');
            let used = g.volumes.iter().filter(|(n, _)| !thin(n)).map(|(_, v)| v.extents + v.metadata).sum::<u64>();
            prop_assert_eq!(used + g.spare + g.reserved + g.free, g.extents);
            prop_assert!(g.volumes.values().all(|v| v.metadata <= g.spare && v.extents > 0));
        }
    }
    Ok(())
}

/// Sizes of everything that has one, by name.
fn sizes(solved: &Solved) -> Vec<(String, Vec<u64>)> {
    let mut all: Vec<_> = solved.devices.iter().map(|(o, sizes)| (o.to_string(), sizes.clone())).collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn properties(
        plots in proptest::collection::vec(plot(), 1..4),
        mib in prop_oneof![2 => 20u64..4000, 1 => 7_000u64..9_000, 1 => 130_000u64..140_000],
        odd in 0u64..3000,
        grown in prop_oneof![3 => 0u64..40, 1 => 0u64..4000],
        alone in any::<bool>(),
    ) {
        let text = text(&plots);
        let spec = spec(&text);
        let ground = ground_of(&plots, mib, odd, (0, false));
        let answer = solved(&spec, &ground);
        prop_assert_eq!(&answer, &solved(&spec, &ground));
        let bigger = solved(&spec, &ground_of(&plots, mib, odd, (grown, alone)));
        let small = match answer {
            Ok(small) => small,
            Err(found) => {
                prop_assert!(found.iter().all(|d| d.code == "F210" && d.hint.is_some()), "{:?}", found);
                return Ok(());
            }
        };
        places_are_right(&plots, &spec, &ground, &small)?;
        arithmetic_is_right(&plots, &small)?;
        prop_assert_eq!(small.warnings.is_empty(), small.dropped.is_empty());

        let Ok(bigger) = bigger else { return Err(TestCaseError::fail(format!("a bigger disk is too small\n{text}"))) };
        for gone in &bigger.dropped {
            prop_assert!(small.dropped.contains(gone), "{gone} leaves a bigger disk\n{text}");
        }
        if bigger.dropped == small.dropped {
            for ((name, a), (_, b)) in sizes(&small).iter().zip(&sizes(&bigger)) {
                for (a, b) in a.iter().zip(b) {
                    prop_assert!(a <= b, "{name}: {a} becomes {b}\n{text}");
                }
            }
        }
    }

    /// Asked for exactly what it gave, it gives that.
    #[test]
    fn what_comes_out_goes_in(plots in proptest::collection::vec(plot(), 1..3), mib in 300u64..4000) {
        let plots: Vec<Plot> = plots.into_iter().map(|p| Plot { per_disk: false, ..p }).collect();
        let mut spec = spec(&text(&plots));
        let ground = ground_of(&plots, mib, 0, (0, false));
        let Ok(first) = solved(&spec, &ground) else { return Ok(()) };
        for (key, p) in &mut spec.partitions {
            if let Some(size) = first.size_of(&Object::Partition(key.clone())) {
                p.size = Size::Fixed(ByteSize::new(size));
                p.min = None;
            }
        }
        for (group, g) in &mut spec.lvm {
            for (name, volume) in g.lvs.iter_mut().filter(|(_, v)| v.size.is_some()) {
                if let Some(size) = first.size_of(&Object::Volume(group.clone(), name.clone())) {
                    volume.size = Some(Size::Fixed(ByteSize::new(size)));
                }
            }
        }
        // What was left out would be tried again.
        spec.partitions.retain(|key, _| !first.is_dropped(&Object::Partition(key.clone())));
        for (group, g) in &mut spec.lvm {
            g.lvs.retain(|name, _| !first.is_dropped(&Object::Volume(group.clone(), name.clone())));
        }
        spec.filesystems.retain(|name, _| !first.is_dropped(&Object::Filesystem(name.clone())));
        let again = solved(&spec, &ground).map_err(|found| TestCaseError::fail(format!("{found:#?}")))?;
        prop_assert_eq!(sizes(&first), sizes(&again));
    }
}
