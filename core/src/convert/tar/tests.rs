//! Round trips; GNU tar in both directions and archives that lie are in the files beneath.

mod gnu;
mod hostile;

use super::*;
use crate::ErrorKind::{self, Cancelled, Integrity, Limit, UnsafeInput, Unsupported};
use crate::sys::xattr::{self, Of};
use proptest::prelude::*;
use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

type Read1 = (Entry, Vec<u8>);

fn read_all(bytes: &[u8], limits: Limits) -> crate::Result<Vec<Read1>> {
    let mut reader = Reader::new(Decoder::new(bytes)?, limits);
    let mut out = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let (mut data, mut buf) = (Vec::new(), [0; 1000]);
        loop {
            match reader.read(&mut buf)? {
                0 => break,
                n => data.extend_from_slice(&buf[..n]),
            }
        }
        out.push((entry, data));
    }
    Ok(out)
}

fn write_all(entries: &[Read1]) -> Vec<u8> {
    let mut w = Writer::new(Vec::new());
    for (entry, data) in entries {
        w.entry(entry).unwrap();
        w.data(data).unwrap();
    }
    w.finish().unwrap()
}

fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: path.into(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: (1_700_000_000, 0),
        xattrs: vec![],
        inode_flags: 0,
        kind,
    }
}

fn any_kind() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let name = prop::collection::vec(prop::collection::vec(1u8..=255, 1..200), 1..4).prop_map(|parts| {
        let clean =
            |p: Vec<u8>| p.into_iter().map(|c| if c == b'/' || c == b'.' { b'x' } else { c }).collect::<Vec<_>>();
        parts.into_iter().map(clean).collect::<Vec<_>>().join(&b'/')
    });
    let file = prop::collection::vec((0u64..3, 1u64..4), 0..6).prop_map(|parts| {
        let (mut at, mut segments, mut data) = (0, Vec::<Segment>::new(), Vec::new());
        for (hole, length) in parts {
            at += hole * 512;
            let length = length * 512;
            match segments.last_mut() {
                Some(s) if s.offset + s.length == at => s.length += length,
                _ => segments.push(Segment { offset: at, length }),
            }
            data.extend((0..length).map(|i| (i * 7 + at) as u8));
            at += length;
        }
        (Kind::File { size: at + 100 * (at % 1024), segments }, data)
    });
    prop_oneof![
        file,
        prop::collection::vec(any::<u8>(), 0..3000).prop_map(|d| (Kind::file(d.len() as u64), d)),
        Just((Kind::Directory, vec![])),
        Just((Kind::Fifo, vec![])),
        prop::collection::vec(1u8..=255, 1..300).prop_map(|t| (Kind::Link(t), vec![])),
        name.prop_map(|t| (Kind::HardLink(t), vec![])),
        (any::<bool>(), any::<u32>(), any::<u32>())
            .prop_map(|(block, major, minor)| (Kind::Device { block, major, minor }, vec![])),
    ]
}

fn any_entry() -> impl Strategy<Value = Read1> {
    let part = prop::collection::vec(1u8..=255, 1..200).prop_map(|p| {
        p.into_iter().map(|c| if c == b'/' || c == b'.' { b'.'.wrapping_add(20) } else { c }).collect::<Vec<u8>>()
    });
    let path = prop::collection::vec(part, 1..6).prop_map(|p| p.join(&b'/'));
    let mtime = (prop_oneof![any::<i64>(), 0i64..1 << 34, -5i64..5], prop_oneof![Just(0u32), 0u32..1_000_000_000]);
    let xattrs = prop::collection::btree_map(
        prop::collection::vec(1u8..=255, 1..30),
        prop::collection::vec(any::<u8>(), 0..100),
        0..4,
    );
    (path, 0u32..0o10000, 0..u32::MAX, 0..u32::MAX, mtime, xattrs, any_kind(), any::<[bool; 3]>()).prop_map(
        |(path, mode, uid, gid, mtime, xattrs, (kind, data), flags)| {
            let flagged = matches!(kind, Kind::File { .. } | Kind::Directory);
            let bits = [0x10, 0x20, 0x80_0000];
            let inode_flags = bits.iter().zip(flags).filter(|(_, on)| *on && flagged).map(|(b, _)| b).sum();
            let xattrs = xattrs.into_iter().collect();
            (Entry { path, mode, uid, gid, mtime, xattrs, inode_flags, kind }, data)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300), ..ProptestConfig::default() })]

    /// Whatever entries are written come back, in every compression.
    #[test]
    fn entries_come_back(entries in prop::collection::vec(any_entry(), 0..5)) {
        let plain = write_all(&entries);
        prop_assert!(plain.len().is_multiple_of(BLOCK));
        prop_assert_eq!(&read_all(&plain, Limits::default()).unwrap(), &entries);
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut e = Encoder::new(Vec::new(), compression, 0).unwrap();
            e.write_all(&plain).unwrap();
            prop_assert_eq!(&read_all(&e.finish().unwrap(), Limits::default()).unwrap(), &entries);
        }
    }

    /// Bytes that are changed anywhere end in an error or in other entries, never in a panic.
    #[test]
    fn damage_is_no_panic(entries in prop::collection::vec(any_entry(), 1..4), hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = write_all(&entries);
        for (at, value) in hits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        fuzz(&bytes);
    }
}

#[test]
fn ustar_is_used_where_it_can_say_it() {
    let plain = |e: &Entry| write_all(&[(e.clone(), vec![])]).len();
    let mut e = entry("usr/bin/x", Kind::Fifo);
    assert_eq!(plain(&e), 3 * BLOCK);
    e.path = [&[b'a'; 150][..], b"/", &[b'b'; 100]].concat();
    assert_eq!(plain(&e), 3 * BLOCK);
    e.path = vec![b'\xff'; 100];
    assert_eq!(plain(&e), 3 * BLOCK);
    e.mtime.1 = 1;
    assert_eq!(plain(&e), 5 * BLOCK);
    let bytes = write_all(&[(e.clone(), vec![])]);
    assert!(bytes.windows(19).any(|w| w == b"1 hdrcharset=BINARY"));
    // The same entries, the same bytes.
    assert_eq!(bytes, write_all(&[(e, vec![])]));
}

#[test]
fn wrong_use_of_the_writer_is_an_error() {
    let mut w = Writer::new(Vec::new());
    w.entry(&entry("a", Kind::file(10))).unwrap();
    assert_eq!(w.data(&[0; 11]).unwrap_err().kind(), ErrorKind::Misuse);
    let mut w = Writer::new(Vec::new());
    w.entry(&entry("a", Kind::file(10))).unwrap();
    assert_eq!(w.entry(&entry("b", Kind::Fifo)).unwrap_err().kind(), ErrorKind::Misuse);
    for bad in ["../a", "/a", "a//b", "a/."] {
        assert!(Writer::new(Vec::new()).entry(&entry(bad, Kind::Fifo)).is_err(), "{bad}");
    }
}

// GNU tar, in both directions.
