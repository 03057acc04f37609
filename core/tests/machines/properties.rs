//! What holds for every machine and every document: the same each time, whatever the kernel calls its disks; a disk in
//! one set at most; no set with a disk that its rules do not fit, or that is in use.

use super::matching::machine;
use libcv::layout::inventory::Inventory;
use libcv::layout::select::{Options, Request, Selection, select};
use libcv::layout::{Diagnostic, Layout};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const TRANSPORTS: [&str; 4] = ["sata", "sas", "nvme", "usb"];

/// A disk by transport, size, place and whether it is in use.
type Kind = (usize, u64, Option<u8>, bool);

fn a_disk() -> impl Strategy<Value = Kind> {
    let size = prop_oneof![Just(500u64), Just(960), Just(4000)];
    (0..4usize, size, proptest::option::weighted(0.8, 0..30u8), proptest::bool::weighted(0.15))
}

fn a_set() -> impl Strategy<Value = String> {
    let rules = prop_oneof![
        Just(String::new()),
        (0..4usize).prop_map(|t| format!("transport: {}", TRANSPORTS[t])),
        (0..4usize, 0..4usize).prop_map(|(a, b)| format!("transport: [{}, {}]", TRANSPORTS[a], TRANSPORTS[b])),
        Just("size: {min: 900GB}".to_owned()),
        Just("size: {max: 1TB}, rotational: false".to_owned()),
        Just("first-of: [{transport: nvme}, {transport: sata}]".to_owned()),
        (0..12u8).prop_map(|n| format!("serial: \"S{n}\"")),
        Just("not: {transport: sas}".to_owned()),
    ];
    let count = prop_oneof![
        (1..3u32).prop_map(|n| n.to_string()),
        (1..3u32, 3..6u32).prop_map(|(a, b)| format!("{{min: {a}, max: {b}}}")),
        Just("{min: 2, max: 8, multiple-of: 2}".to_owned()),
    ];
    let pick =
        proptest::sample::select(vec!["unique", "all", "smallest", "largest", "{by-path: first}", "{by-path: last}"]);
    (rules, count, pick, any::<bool>())
        .prop_map(|(r, c, p, o)| format!("{{match: {{{r}}}, count: {c}, pick: {p}, optional: {o}}}"))
}

/// The machine with these disks; `names` says what the kernel calls each.
fn with_names(disks: &[Kind], names: &[usize]) -> Inventory {
    let list: Vec<(String, &str, u64, Value)> = disks
        .iter()
        .enumerate()
        .map(|(at, (transport, size, place, used))| {
            let name = format!("sd{}", char::from(b'a' + u8::try_from(names[at]).unwrap()));
            let place: Vec<String> = place.iter().map(|p| format!("pci-0000:00:1f.2-ata-{p}-{at}")).collect();
            let uses = if *used { json!([{"how": "swap", "device": name}]) } else { json!([]) };
            let more = json!({"by-path": place, "wwid": format!("naa.{at}"), "serial": format!("S{at}"), "uses": uses});
            (name, TRANSPORTS[*transport], *size, more)
        })
        .collect();
    let mut list: Vec<(&str, &str, u64, Value)> =
        list.iter().map(|(n, t, s, m)| (n.as_str(), *t, *s, m.clone())).collect();
    list.sort_by_key(|d| d.0);
    machine(&list)
}

fn run(layout: &Layout, inventory: &Inventory) -> Result<Selection, Vec<Diagnostic>> {
    select(&Request { spec: layout.spec(), inventory, named: &[], keep: &[], options: Options::default() })
}

/// A selection by who the disks are, or the codes and paths of what was found.
fn essence(inventory: &Inventory, done: &Result<Selection, Vec<Diagnostic>>) -> Vec<String> {
    let wwid = |disk: &Option<usize>| inventory.disks[disk.unwrap()].wwid.clone().unwrap();
    match done {
        Ok(s) => s
            .sets
            .iter()
            .flat_map(|set| set.disks.iter().map(|d| format!("{} {}", set.set, wwid(&d.disk))))
            .chain(s.removed.iter().map(|r| format!("{r} removed")))
            .collect(),
        Err(found) => found.iter().map(|d| format!("{} {}", d.code, d.path)).collect(),
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn selections_are_right_and_do_not_depend_on_names(
        (disks, names) in proptest::collection::vec(a_disk(), 0..12)
            .prop_flat_map(|d| { let n = d.len(); (Just(d), Just((0..n).collect::<Vec<_>>()).prop_shuffle()) }),
        sets in proptest::collection::vec(a_set(), 1..4),
    ) {
        let mut text = "schema: cv.layout/v1\nname: t\ndisks:\n".to_owned();
        for (at, set) in sets.iter().enumerate() {
            text.push_str(&format!("  s{at}: {set}\n"));
        }
        let layout = Layout::parse(text.as_bytes(), "t").unwrap();
        let plain: Vec<usize> = (0..disks.len()).collect();
        let (a, b) = (with_names(&disks, &plain), with_names(&disks, &names));
        let (of_a, of_b) = (run(&layout, &a), run(&layout, &b));
        prop_assert_eq!(&of_a, &run(&layout, &a));
        prop_assert_eq!(essence(&a, &of_a), essence(&b, &of_b), "{}", text);
        match &of_a {
            Err(found) => prop_assert!(!found.is_empty()),
            Ok(done) => {
                let mut seen = BTreeSet::new();
                for set in &done.sets {
                    let spec = &layout.spec().disks[&set.set];
                    let number = u32::try_from(set.disks.len()).unwrap();
                    let most = spec.count.max.unwrap_or(u32::MAX);
                    prop_assert!(spec.count.min <= number && number <= most && number % spec.count.multiple_of == 0);
                    for at in set.disks.iter().map(|d| d.disk.unwrap()) {
                        prop_assert!(seen.insert(at), "one disk in two sets");
                        let disk = &a.disks[at];
                        prop_assert!(disk.uses.is_empty(), "a disk in use");
                        let rules = spec.matching.clone().unwrap_or_default();
                        prop_assert!(rules.transport.is_empty() || rules.transport.contains(&disk.transport));
                        let size = rules.size.unwrap_or_default();
                        prop_assert!(size.min.is_none_or(|m| disk.size >= m.bytes()) && size.max.is_none_or(|m| disk.size <= m.bytes()));
                        prop_assert!(disk.transport.name() != "usb" || text.contains("usb"));
                    }
                }
                // Every disk is in a set or left with a reason.
                let left: BTreeSet<usize> = done.left.iter().map(|l| l.disk).collect();
                prop_assert_eq!(seen.len() + left.len(), a.disks.len());
                prop_assert!(done.left.iter().all(|l| !l.reason.is_empty()));
                let answered: BTreeSet<&str> = done.sets.iter().map(|s| s.set.as_str()).chain(done.removed.iter().map(String::as_str)).collect();
                prop_assert_eq!(answered.len(), layout.spec().disks.len());
            }
        }
    }
}

/// Reading the inventories of a thousand nodes with 24 disks each and selecting takes less than a second with
/// optimisation.
#[test]
fn a_thousand_nodes_take_less_than_a_second() {
    let mut list = Vec::new();
    for at in 0..24u64 {
        let transport = if at < 2 { "nvme" } else { "sas" };
        let more = json!({
            "model": "ST8000NM0075", "vendor": "SEAGATE", "serial": format!("ZA{at:06}"), "rotational": at >= 2,
            "wwid": format!("naa.5000c50094f7{at:04x}"), "by-id": [format!("wwn-0x5000c50094f7{at:04x}"), format!("scsi-35000c50094f7{at:04x}")],
            "by-path": [format!("pci-0000:00:07.0-sas-exp0x5003048020c0a83f-phy{at}-lun-0")],
            "slots": [format!("enclosure/0x5003048020c0a83f/Slot {at:02}")],
            "content": {"fingerprint": "0123456789abcdef0123456789abcdef", "table": {"kind": "gpt", "guid": uuid(at), "partitions": [
                {"number": 1, "kind": uuid(99), "uuid": uuid(at + 100), "name": "member", "start": 1 << 20, "length": 1u64 << 40}
            ]}, "signatures": [{"kind": "linux_raid_member", "start": 1 << 20, "length": 1u64 << 40, "label": "any:old"}]},
        });
        list.push((format!("sd{}", char::from(b'a' + u8::try_from(at).unwrap())), transport, 8000u64, more));
    }
    let list: Vec<(&str, &str, u64, Value)> = list.iter().map(|(n, t, s, m)| (n.as_str(), *t, *s, m.clone())).collect();
    let text = machine(&list).to_json().to_string();
    let document = "schema: cv.layout/v1\nname: t\ndisks:\n  os: {match: {any: [{by-id: [\"nvme-eui.*\"]}, {transport: nvme, model: \"ST8*\"}]}, count: 2, pick: smallest}\n  data: {match: {rotational: true, transport: [sas, sata], size: {min: 4TB}}, count: {min: 4, max: 24}, pick: all, exclude: [os]}\npolicy: {never-touch: [{label: \"ceph*\"}, {signature: [gpfs, vmfs, gfs2]}]}\n";
    let layout = Layout::parse(document.as_bytes(), "t").unwrap();
    let begun = Instant::now();
    for _ in 0..1000 {
        let inventory = Inventory::from_json(text.as_bytes()).unwrap();
        let done = run(&layout, &inventory).unwrap();
        assert_eq!((done.sets[0].disks.len(), done.sets[1].disks.len()), (2, 22));
    }
    let took = begun.elapsed();
    eprintln!("a thousand nodes, {} bytes each: {took:?}", text.len());
    let limit = if cfg!(debug_assertions) { 60 } else { 1 };
    assert!(took < Duration::from_secs(limit), "{took:?}");
}

fn uuid(n: u64) -> String {
    format!("4f68bce3-e8cd-4db1-96e7-{n:012x}")
}
