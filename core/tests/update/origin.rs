//! The image that a tree was made from.

use super::*;
use crate::common::run;
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
