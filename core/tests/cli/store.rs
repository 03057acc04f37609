//! Where a store may be, and how damage in it is told.

use super::{Bed, validate};
use serde_json::Value;

#[test]
fn a_store_is_a_directory_or_a_place_in_s3() {
    let bed = Bed::new();
    bed.fails(2, &["--store", "s3://x", "image", "list"]);
    bed.fails(2, &["store", "init", "s3://bucket/../prefix"]);
    let e = bed.fails(21, &["--store", "ftp://host/images", "image", "list"]);
    assert_eq!(e["message"], "there are no stores at ftp://");
    if !cfg!(feature = "s3") {
        let e = bed.fails(21, &["--store", "s3://bucket/prefix", "image", "list"]);
        assert_eq!(e["message"], "this build of libcv has no stores in S3");
    }
}

#[test]
fn damage_is_told_with_the_images_that_it_touches() {
    let bed = Bed::captured();
    let mut packs = vec![bed.path("store/packs")];
    while packs[0].is_dir() {
        packs = std::fs::read_dir(&packs[0]).unwrap().map(|e| e.unwrap().path()).collect();
        packs.sort_by_key(|p| std::cmp::Reverse(std::fs::metadata(p).unwrap().len()));
    }
    let mut bytes = std::fs::read(&packs[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let _ = std::fs::remove_file(&packs[0]);
    std::fs::write(&packs[0], bytes).unwrap();
    let e = bed.fails(14, &["store", "check", "--read-data"]);
    assert_eq!(e["detail"]["images"].as_array().unwrap().len(), 1);
    let out = bed.run(&["store", "check", "--read-data", "-o", "json"]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    validate("store-check", &report);
    assert_eq!(report["faults"].as_array().unwrap().len(), 1);
    let out = bed.run(&["image", "extract", "base", &bed.text("out")]);
    assert_eq!(out.status.code(), Some(14));
}
