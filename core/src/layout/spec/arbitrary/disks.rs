//! Sets of disks, and rules for them.

use super::{percent, size_of};
use crate::layout::spec::{Count, DiskSet, End, Has, Match, Pick, Preserve, Require, Same, SizeRange, Transport, Wipe};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

pub(super) fn disks() -> impl Strategy<Value = DiskSet> {
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
