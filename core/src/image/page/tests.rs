//! Invariants: rows → pages → rows is the identity; pages that decode encode to the same bytes; an insertion changes
//! at most two pages.

use super::*;
use crate::image::path;
use crate::image::row::{Content, Item, Kind, Row, Value, Xattr};
use crate::image::{FormatError, Hash};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn file(path: &str, content: Content, size: u64) -> Row {
    Row {
        path: path.as_bytes().to_vec(),
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        mtime: (1_700_000_000, 5),
        xattrs: [].into(),
        inode_flags: 0,
        torn: false,
        group: None,
        kind: Kind::File { size, content },
    }
}

fn pages(rows: &[Row]) -> Vec<Vec<u8>> {
    let mut w = PageWriter::default();
    let mut out = Vec::new();
    for row in rows {
        out.extend(w.add(row).unwrap().map(|p| p.bytes));
    }
    out.extend(w.finish().map(|p| p.bytes));
    out
}

fn any_kind() -> impl Strategy<Value = (u32, Kind)> {
    let item = prop_oneof![
        (1u32..=1 << 20).prop_map(|n| Item::Chunk { length: n, hash: Hash::of(&n.to_le_bytes()) }),
        (1u64..1 << 40).prop_map(Item::Hole),
    ];
    let items = prop::collection::vec(item, 0..6).prop_map(|mut v| {
        v.dedup_by(|a, b| matches!((a, b), (Item::Hole(_), Item::Hole(_))));
        v
    });
    prop_oneof![
        items.prop_map(|v| {
            let size = v.iter().map(Item::length).sum();
            (0o100_644, Kind::File { size, content: Content::Near(v) })
        }),
        Just((0o040_755, Kind::Directory)),
        Just((0o010_600, Kind::Fifo)),
        prop::collection::vec(1u8..=255, 1..20).prop_map(|t| (0o120_777, Kind::Link(t))),
        (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| (0o020_600, Kind::Device { major, minor })),
    ]
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let xattrs = prop::collection::btree_map("[a-z]{1,6}", prop::collection::vec(any::<u8>(), 0..40), 0..3);
    let one = (
        any_kind(),
        any::<(u32, u32, i64)>(),
        0u32..1_000_000_000,
        xattrs,
        prop_oneof![Just(0u32), Just(0x10), Just(0x30)],
        any::<bool>(),
    );
    let paths = prop::collection::btree_set("[a-c]{1,2}(/[a-c.]{3}){0,3}", 1..60);
    (paths, prop::collection::vec(one, 60)).prop_map(|(paths, parts)| {
        let mut sorted: Vec<_> = paths.into_iter().map(String::into_bytes).filter(|p| path::check(p).is_ok()).collect();
        sorted.sort_by(|a, b| path::compare(a, b));
        sorted
            .into_iter()
            .zip(parts)
            .map(|(path, ((mode, kind), (uid, gid, s), ns, xattrs, inode_flags, torn))| Row {
                path,
                mode,
                uid,
                gid,
                mtime: (s, ns),
                xattrs: xattrs
                    .into_iter()
                    .map(|(n, v)| Xattr { name: n.into_bytes(), value: Value::Near(v) })
                    .collect::<Vec<_>>()
                    .into(),
                inode_flags,
                torn,
                group: (torn && kind != Kind::Directory).then_some([7; 16]),
                kind,
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn rows_come_back(rows in any_rows()) {
        let encoded = pages(&rows);
        let back: Vec<Row> = encoded.iter().flat_map(|p| decode(p).unwrap()).collect();
        prop_assert_eq!(&back, &rows);
        prop_assert_eq!(pages(&back), encoded);
    }

    #[test]
    fn a_changed_byte_never_panics_and_stays_canonical(rows in any_rows(), at: prop::sample::Index, to: u8) {
        for mut page in pages(&rows) {
            let i = at.index(page.len());
            page[i] = to;
            if let Ok(back) = decode(&page) {
                let mut w = PageWriter::default();
                let mut out = Vec::new();
                for row in &back {
                    out.extend(w.add(row).unwrap().map(|p| p.bytes));
                }
                out.extend(w.finish().map(|p| p.bytes));
                // The cut may differ (a reader accepts any), but an unsplit page is the same bytes.
                if out.len() == 1 {
                    prop_assert_eq!(&out[0], &page);
                }
            }
        }
    }
}

#[test]
fn an_insertion_changes_at_most_two_pages() {
    let rows: Vec<Row> = (0..5000).map(|i| file(&format!("f{i:05}"), Content::empty(), 0)).collect();
    let before: BTreeSet<Hash> = pages(&rows).iter().map(|p| Hash::of(p)).collect();
    for at in [17, 2500, 4999] {
        let mut more = rows.clone();
        more.insert(at, file(&format!("f{:05}x", at - 1), Content::empty(), 0));
        let after: BTreeSet<Hash> = pages(&more).iter().map(|p| Hash::of(p)).collect();
        assert!(after.difference(&before).count() <= 2, "{at}");
    }
}

#[test]
fn large_attributes_and_many_rows_cut_pages() {
    let value = Value::Near(vec![1; NEAR_VALUE]);
    let rows: Vec<Row> = (0..3000u32)
        .map(|i| {
            let mut row = file(&format!("f{i:05}"), Content::empty(), 0);
            let name = format!("user.{i:05}").into_bytes();
            row.xattrs = [Xattr { name, value: value.clone() }].into();
            row
        })
        .collect();
    let encoded = pages(&rows);
    assert!(encoded.iter().all(|p| p.len() <= SOFT_LIMIT));
    let back: Vec<Row> = encoded.iter().flat_map(|p| decode(p).unwrap()).collect();
    assert_eq!(back, rows);
}

#[test]
fn lists_come_back_and_rules_hold() {
    let items: Vec<Item> = (1..=700u32).map(|n| Item::Chunk { length: n, hash: Hash::of(&n.to_le_bytes()) }).collect();
    assert_eq!(decode_list(&encode_list(&items), 700).unwrap(), items);
    assert_eq!(decode_list(&[3, 3], 2), Err(FormatError::malformed("content list", "two holes follow each other")));
    let twice = pages(&[file("a", Content::empty(), 0)]);
    let mut bytes = twice[0].clone();
    bytes[5] = 2;
    bytes.extend_from_slice(&twice[0][6..]);
    assert!(decode(&bytes).is_err());
}
