//! What makes room.

use super::*;

#[test]
fn a_collection() {
    let Some(b) = Bed::new("a collection on a full disk", 4 << 20) else { return };
    let here = Store::init(b.at("here")).unwrap();
    (0..8).for_each(|n| b.write(&format!("f{n}"), 20_000, n));
    b.capture(&here, "t");
    (2..8).for_each(|n| std::fs::remove_file(b.at("tree").join(format!("f{n}"))).unwrap());
    b.capture(&here, "t");
    b.write("own", 30_000, 9);
    b.capture(&here, "gone");
    here.remove("gone").unwrap();
    let before = objects(&here);
    let met = b.at_any_write(&Work {
        work: &|store| {
            let options = CollectOptions { keep_last: Some(1), ..at_once() };
            let mut all = true;
            for _ in 0..3 {
                all &= store.collect(&options, &task())?.notes.is_empty();
            }
            Ok(all)
        },
        whole: &|store| {
            check(store);
            b.extract(store, "t");
            objects(store) == before
        },
        done: &|store| {
            check_is_lean(store);
            b.extract(store, "t");
            assert_eq!(store.blobs().walk("packs").unwrap().len(), 2);
        },
    });
    assert_eq!(met, kinds(&["leases", "trash", "packs", "idx", "CURRENT", "refs"]));
}

#[test]
fn of_a_full_disk_the_caches_go_before_a_collection_fails() {
    let Some(b) = Bed::new("caches on a full disk", 4 << 20) else { return };
    let here = Store::init(b.at("here")).unwrap();
    b.write("f", 30_000, 1);
    for name in ["t", "u", "v"] {
        b.capture(&here, name);
        here.remove(name).unwrap();
    }
    assert_eq!(here.blobs().walk("cache").unwrap().len(), 3);
    for pages in [0, 1] {
        b.put();
        b.fill(pages);
        (0..2).for_each(|_| drop(b.open().collect(&at_once(), &task()).unwrap()));
        check(&b.open());
        assert_eq!(
            (b.open().blobs().walk("packs").unwrap(), b.open().blobs().walk("cache").unwrap()),
            (vec![], vec![])
        );
        b.make_room();
    }
}
