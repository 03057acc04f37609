//! Invariant: any bytes give an inventory or an error, never a panic, and an inventory is the same again in its JSON form. The
//! bytes are cut in two at the first zero byte; the second part is a document, or a few others are taken. A plan for the
//! machine is the same twice, has only disks of the inventory, and each once; it is shown as text, JSON and picture.
#![no_main]
use libcv::layout::inventory::Inventory;
use libcv::layout::{Disks, Layout, PlanOptions};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

const LAYOUTS: [&str; 3] = [
    "schema: cv.layout/v1\nname: one\ndisks: {d: {match: {}, pick: smallest}}\npartitions: {d/a: {type: linux, size: rest}}\n",
    "schema: cv.layout/v1\nname: all\ndisks: {d: {match: {not: {removable: true}}, count: {min: 1}, pick: all, optional: true}}\n\
     partitions: {d/m: {type: linux-raid, size: rest}}\nraid: {r: {level: 1, members: [d/m]}}\n",
    "schema: cv.layout/v1\nname: two\ndisks: {a: {match: {rotational: false}, pick: largest}, b: {match: {size: {min: 1GB}}, \
     count: {min: 1, max: 4}, pick: all, exclude: [a], wipe: all}}\npartitions: {a/a: {type: linux, size: 50%}, b/b: {type: linux, size: rest}}\n",
];

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|b| *b == 0);
    let (json, document) = cut.map_or((bytes, None), |at| (&bytes[..at], Some(&bytes[at + 1..])));
    let Ok(inventory) = Inventory::from_json(json) else { return };
    let again = Inventory::from_json(inventory.to_json().to_string().as_bytes());
    assert_eq!(again.expect("the JSON form is an inventory"), inventory);
    let layouts: Vec<Layout> = match document {
        Some(text) => Layout::parse(text, "fuzz").into_iter().collect(),
        None => LAYOUTS.iter().map(|text| Layout::parse(text.as_bytes(), "fuzz").expect("a right document")).collect(),
    };
    let options = PlanOptions { seed: Some([1; 16]), ram: Some(1 << 30), ..PlanOptions::default() };
    for layout in layouts {
        let plan = || layout.plan_recorded(&inventory, &Disks::new(), &options);
        let Ok(plan) = plan() else {
            assert!(plan().is_err());
            continue;
        };
        assert_eq!(layout.plan_recorded(&inventory, &Disks::new(), &options).expect("again").token(), plan.token());
        let mut seen = BTreeSet::new();
        for disk in plan.disks() {
            let node = disk.facts.path.to_str().expect("a node of the inventory");
            assert!(inventory.find_node(None, node).is_some() && seen.insert(node));
        }
        assert!(plan.to_text().contains(plan.token()) && plan.to_svg().contains(plan.token()));
        assert_eq!(plan.to_json()["recorded"], true);
    }
});
