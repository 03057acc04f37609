//! What stores, and what names.

use super::*;
use libcv::convert::{DeriveKind, DeriveOptions, derive};
use libcv::store::SyncOptions;

#[test]
fn a_capture() {
    let Some(b) = Bed::new("a capture on a full disk", 4 << 20) else { return };
    let here = Store::init(b.at("here")).unwrap();
    b.write("a", 30_000, 1);
    b.capture(&here, "t");
    b.write("b", 30_000, 2);
    let before = objects(&here);
    let met = b.at_any_write(&Work {
        work: &|store| {
            let options = CaptureOptions { tag: Some("new".into()), ..b.options() };
            store.capture(b.at("tree"), "t", &options, &task()).map(|_| true)
        },
        whole: &|store| {
            check_is_lean(store);
            b.extract(store, "t@1");
            objects(store) == before
        },
        done: &|store| {
            check_is_lean(store);
            b.extract(store, "t:new");
            assert_eq!(store.log("t").unwrap().len(), 2);
        },
    });
    let all = ["leases", "packs", "idx", "CURRENT", "images", "refs", "HEAD", "tags", "cache"];
    assert_eq!(met, kinds(&all));
}

#[test]
fn a_derived_file() {
    let Some(b) = Bed::new("a derived file on a full disk", 4 << 20) else { return };
    let here = Store::init(b.at("here")).unwrap();
    b.write("a", 30_000, 1);
    b.capture(&here, "t");
    let before = objects(&here);
    let met = b.at_any_write(&Work {
        work: &|store| derive(&store.image("t").unwrap(), &DeriveOptions::new(DeriveKind::Cpio), &task()).map(|_| true),
        whole: &|store| {
            check_is_lean(store);
            objects(store) == before
        },
        done: &|store| {
            check_is_lean(store);
            assert_eq!(store.blobs().walk("blobs").unwrap().len(), 1);
        },
    });
    assert_eq!(met, kinds(&["leases", "packs", "idx", "CURRENT", "blobs"]));
}

#[test]
fn a_sync() {
    let Some(b) = Bed::new("a sync to a full disk", 4 << 20) else { return };
    let [here, from] = ["here", "from"].map(|s| Store::init(b.at(s)).unwrap());
    b.write("a", 30_000, 1);
    b.capture(&from, "t");
    from.sync(&here, &SyncOptions::default(), &task()).unwrap();
    for (name, seed) in [("t", 2), ("t", 3), ("u", 4)] {
        b.write("b", 20_000, seed);
        b.capture(&from, name);
    }
    from.remove("t@2").unwrap();
    from.tag("t", "t", "stable").unwrap();
    let before = objects(&here);
    let met = b.at_any_write(&Work {
        work: &|store| from.sync(store, &SyncOptions::default(), &task()).map(|_| true),
        whole: &|store| {
            check_is_lean(store);
            b.extract(store, "t@1");
            objects(store) == before
        },
        done: &|store| {
            check_is_lean(store);
            ["t@1", "t:stable", "u@1"].iter().for_each(|r| b.extract(store, r));
            assert_eq!(store.refs().release("t", 3).unwrap(), from.refs().release("t", 3).unwrap());
        },
    });
    let all = ["leases", "packs", "idx", "CURRENT", "images", "refs", "HEAD", "tags"];
    assert_eq!(met, kinds(&all));
}

#[test]
fn names_and_tags() {
    let Some(b) = Bed::new("names and tags on a full disk", 4 << 20) else { return };
    let here = Store::init(b.at("here")).unwrap();
    for seed in [1, 2] {
        b.write("a", 30_000, seed);
        b.capture(&here, "t");
    }
    here.tag("t", "t", "old").unwrap();
    let before = objects(&here);
    let met = b.at_any_write(&Work {
        work: &|store| {
            store.tag("t@1", "t", "stable")?;
            if store.image("t")?.id() != store.image("t@1")?.id() {
                store.rollback("t", "t:stable")?;
            }
            if store.refs().tag("t", "old")?.is_some() {
                store.remove("t:old")?;
            }
            Ok(true)
        },
        whole: &|store| {
            check_is_lean(store);
            b.extract(store, "t@2");
            objects(store) == before
        },
        done: &|store| {
            check_is_lean(store);
            let log: Vec<_> = store.log("t").unwrap().into_iter().map(|l| l.release.generation).collect();
            let tags = store.refs().tags("t").unwrap().into_iter().map(|t| t.tag);
            assert_eq!((log, tags.collect()), (vec![3, 2, 1], vec!["stable".to_owned()]));
        },
    });
    assert_eq!(met, kinds(&["leases", "tags", "refs", "HEAD"]));
}
