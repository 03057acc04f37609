//! The image that a tree was made from.

use super::*;
use crate::common::run;
use common::watched::Watched;
use libcv::sign::{Keyring, Signer};
use libcv::store::Trust;
use libcv::tree::diff::DiffOptions;

#[test]
fn what_changed_in_disguise_is_found_where_the_origin_is_known() {
    let bed = Bed::deployed();
    let stamp = |p: &str| run("touch", &["-m", "-d", "2020-01-01 00:00:00 UTC", bed.at(p).to_str().unwrap()]);
    bed.write("tree/opt/tool", "version 1");
    stamp("tree/opt/tool");
    let first = bed.capture();
    bed.update(&first, &node()).unwrap();
    // As reproducible builds do: the same size, the same time.
    bed.write("tree/opt/tool", "version 2");
    stamp("tree/opt/tool");
    let second = bed.capture();
    let done = bed.update(&second, &node()).unwrap();
    assert_eq!((done.replaced, bed.read("out/opt/tool").as_str()), (1, "version 2"));
    // Somebody did it by hand: only a paranoid update, or a diff, reads the content.
    bed.write("out/opt/tool", "version X");
    stamp("out/opt/tool");
    assert_eq!(bed.update(&second, &node()).unwrap().replaced, 0);
    let found = second.diff_tree(bed.at("out"), &DiffOptions::default(), &Task::quiet()).unwrap();
    assert!(found.iter().any(|c| c.change.path == b"opt/tool"));
    assert_eq!(bed.update(&second, &UpdateOptions { paranoid: true, ..node() }).unwrap().replaced, 1);
    assert_eq!(bed.read("out/opt/tool"), "version 2");
}

#[test]
fn the_origin_needs_no_signature_of_a_key_that_the_new_image_needs() {
    let bed = Bed::deployed();
    let stamp = |p: &str| run("touch", &["-m", "-d", "2020-01-01 00:00:00 UTC", bed.at(p).to_str().unwrap()]);
    bed.write("tree/opt/tool", "version 1");
    bed.write("tree/opt/gone", "");
    stamp("tree/opt/tool");
    let first = bed.capture();
    bed.update(&first, &node()).unwrap();
    bed.write("tree/opt/tool", "version 2");
    stamp("tree/opt/tool");
    std::fs::remove_file(bed.at("tree/opt/gone")).unwrap();
    bed.capture();
    let signer = Signer::generate().unwrap();
    bed.store.signing(signer.clone()).sign("t").unwrap();
    let believed = bed.store.trusting(Trust::new(Keyring::new(vec![signer.public()]).unwrap()));
    assert!(believed.image_by_id(first.id()).is_err());
    let task = Task::quiet();
    believed.image("t").unwrap().update(bed.at("out"), &node(), &task).unwrap();
    assert_eq!((bed.read("out/opt/tool").as_str(), task.warnings().len()), ("version 2", 0));
    assert!(!bed.at("out/opt/gone").exists());
}

#[test]
fn an_origin_of_which_a_part_is_lost_counts_as_none() {
    let bed = Bed::new();
    for d in 0..8 {
        (0..300).for_each(|n| bed.write(&format!("tree/{d}/{n}"), format!("{d} {n}")));
    }
    bed.write("tree/7/gone", "");
    let first = bed.capture();
    bed.extract(&bed.at("out"));
    let packs = || {
        let keys = bed.store.blobs().walk("packs").unwrap();
        keys.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let old = packs();
    // Each page changes, so that the new image needs none of the old ones.
    std::fs::remove_file(bed.at("tree/7/gone")).unwrap();
    run("find", &[bed.at("tree").to_str().unwrap(), "-exec", "touch", "-m", "-d", "2020-01-01", "{}", "+"]);
    let second = bed.capture();
    assert!(first.manifest().pages.len() > 2 && packs().len() > old.len());
    bed.store.blobs().delete_all(&old).unwrap();
    let store = Store::open(bed.at("store")).unwrap();
    let image = store.image_by_id(second.id()).unwrap();
    for dry_run in [true, false] {
        let task = Task::quiet();
        let done = image.update(bed.at("out"), &UpdateOptions { dry_run, ..node() }, &task).unwrap();
        assert_eq!((done.deleted, done.local_kept.paths), (0, vec!["/7/gone".to_owned()]));
        assert!(task.warnings().iter().any(|w| w.contains("cannot be read")), "{:?}", task.warnings());
    }
    assert!(bed.at("out/7/gone").exists());
}

#[test]
fn the_index_is_read_for_the_pages_of_both_images_and_once_more_for_the_content() {
    let bed = Bed::deployed();
    bed.write("tree/etc/more", "one more file");
    let second = bed.capture();
    let reads = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeMap::<String, usize>::new()));
    let counted = reads.clone();
    let before = move |verb: &str, key: &str| {
        if verb == "get" && key.ends_with(".idx") {
            *counted.lock().unwrap().entry(key.to_owned()).or_default() += 1;
        }
        Ok(())
    };
    let dir = libcv::store::local::LocalDir::open(&bed.at("store")).unwrap();
    let store = Store::with_backend(Box::new(Watched { dir, before })).unwrap();
    let image = store.image_by_id(second.id()).unwrap();
    let done = image.update(bed.at("out"), &whole(), &Task::quiet()).unwrap();
    assert_eq!((done.created, bed.differences(&second, &bed.at("out"))), (1, none()));
    let reads = reads.lock().unwrap();
    assert!(!reads.is_empty() && reads.values().all(|n| *n == 2), "{reads:?}");
}
