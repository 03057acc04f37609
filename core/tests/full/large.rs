//! What is larger than a pack, or than the disk.

use super::*;
use common::small_tree;

#[test]
fn a_large_capture_and_a_full_target() {
    let Some(b) = Bed::new("a large capture on a full disk", 8 << 20) else { return };
    let tree = b.at("tree");
    small_tree(&tree);
    let store = Store::init(b.place()).unwrap();
    b.capture(&store, "t");
    std::fs::write(tree.join("much"), noise(20 << 20, 1)).unwrap();
    let full = store.capture(&tree, "t", &b.options(), &task()).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Limit, "{full:?}");
    check(&store);
    assert_eq!(store.image("t").unwrap().release().unwrap().generation, 1);
    assert_eq!(store.blobs().list("tmp").unwrap(), [""; 0]);
    std::fs::write(tree.join("much"), "little").unwrap();
    assert!(store.capture(&tree, "t", &b.options(), &task()).unwrap().changed);
    // A full target.
    std::fs::write(tree.join("much"), noise(20 << 20, 1)).unwrap();
    let roomy = Store::init(b.at("roomy")).unwrap();
    b.capture(&roomy, "t");
    let out = b.disk.path().join("out");
    let full = roomy.image("t").unwrap().extract(out, &ExtractOptions::default(), &task()).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Limit, "{full:?}");
}

#[test]
fn packs_that_were_stored_in_vain_go_unless_another_is_at_work() {
    let Some(b) = Bed::new("packs that were stored in vain", 90 << 20) else { return };
    b.write("little", 200_000, 1);
    let store = Store::init(b.place()).unwrap();
    b.capture(&store, "t");
    let packs = || store.blobs().walk("packs").unwrap().len();
    // One pack is finished before the disk is full.
    b.write("much", 120 << 20, 2);
    for held in [false, true] {
        let writer = held.then(|| store.session("another writer").unwrap());
        let full = store.capture(b.at("tree"), "t", &b.options(), &task()).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Limit, "{full:?}");
        // Who is at work may count on it.
        assert_eq!(packs(), if held { 2 } else { 1 });
        check(&store);
        drop(writer);
    }
    store.collect(&at_once(), &task()).unwrap();
    assert_eq!(packs(), 1);
}
