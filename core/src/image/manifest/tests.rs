//! Invariant: a manifest that decodes encodes to the same bytes, except for skipped fields.

use super::*;
use crate::image::FormatError;
use crate::image::leb::{put, put_str};

fn sample() -> Manifest {
    Manifest {
        pages: vec![
            PageRef { first: vec![], hash: Hash::of(b"1"), rows: 2, bytes: 30 },
            PageRef { first: b"etc".to_vec(), hash: Hash::of(b"2"), rows: 1, bytes: 20 },
        ],
        totals: Totals { rows: 3, directories: 2, files: 1, size: 10, data: 10, ..Totals::default() },
        facts: Some(serde_json::json!({"os": {"ID": "debian"}, "architecture": "x86_64"})),
        parent: Some(Hash::of(b"parent")),
        ..Manifest::default()
    }
}

#[test]
fn it_comes_back() {
    let m = sample();
    let bytes = m.encode();
    assert_eq!(Manifest::decode(&bytes).unwrap(), m);
    assert_eq!(m.page_of(b"bin").unwrap().rows, 2);
    assert_eq!(m.page_of(b"etc/fstab").unwrap().rows, 1);
}

#[test]
fn facts_do_not_change_the_tree_id() {
    let mut m = sample();
    let (tree, image) = (m.tree_id(), Hash::of(&m.encode()));
    m.facts = None;
    assert_eq!(m.tree_id(), tree);
    assert_ne!(Hash::of(&m.encode()), image);
}

#[test]
fn unknown_even_fields_are_skipped_and_odd_ones_refused() {
    for (tag, ok) in [(100, true), (101, false)] {
        let mut bytes = sample().encode();
        put(&mut bytes, tag);
        put_str(&mut bytes, b"future");
        match Manifest::decode(&bytes) {
            Ok(m) => assert!(ok && m == sample()),
            Err(e) => assert!(!ok && matches!(e, FormatError::Unknown { .. })),
        }
    }
}

#[test]
fn damage_never_panics() {
    let good = sample().encode();
    for n in 0..good.len() {
        // Cut between two optional fields it is another manifest, with another id.
        if let Ok(m) = Manifest::decode(&good[..n]) {
            assert_eq!(m.encode(), good[..n]);
        }
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[n] ^= 1 << bit;
            if let Ok(m) = Manifest::decode(&bad) {
                let again = m.encode();
                // A tag that became an unknown even one was skipped.
                assert!(again == bad || again.len() < bad.len(), "{n} {bit} {m:?}");
            }
        }
    }
}
