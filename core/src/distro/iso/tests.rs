//! Media made by hand: what is right is read, what harms is refused with the right code, at once.

use super::*;
use crate::ErrorKind;
use crate::job::Task;
use std::time::{Duration, Instant};

const SECTORS: usize = 40;
const ROOT: usize = 20;
const FILE: u8 = 0;
const DIR: u8 = 2;
const MORE: u8 = 0x80;

fn both(n: u32) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&n.to_le_bytes());
    out[4..].copy_from_slice(&n.to_be_bytes());
    out
}

/// A directory record with a Rock Ridge name, if one is given, and other entries behind it.
fn record(name: &[u8], sector: usize, bytes: u32, flags: u8, rock_ridge: Option<&[u8]>, more: &[u8]) -> Vec<u8> {
    let mut use_area = more.to_vec();
    if let Some(name) = rock_ridge {
        use_area.extend([b'N', b'M', 5 + name.len() as u8, 1, 0]);
        use_area.extend(name);
    }
    let pad = usize::from(name.len().is_multiple_of(2));
    let length = 33 + name.len() + pad + use_area.len();
    let length = length + length % 2;
    let mut out = vec![length as u8, 0];
    out.extend(both(sector as u32));
    out.extend(both(bytes));
    out.extend([124, 5, 1, 0, 0, 0, 0, flags, 0, 0, 1, 0, 0, 1, name.len() as u8]);
    out.extend(name);
    out.extend(vec![0; pad]);
    out.extend(use_area);
    out.resize(length, 0);
    out
}

struct Maker(Vec<u8>);

impl Maker {
    fn new() -> Self {
        let mut m = Self(vec![0; SECTORS * 2048]);
        let size = m.0.len() as u32 / 2048;
        let pvd = &mut m.0[16 * 2048..17 * 2048];
        pvd[..7].copy_from_slice(b"\x01CD001\x01");
        pvd[40..72].fill(b' ');
        pvd[40..44].copy_from_slice(b"TEST");
        pvd[80..88].copy_from_slice(&both(size));
        pvd[120..124].copy_from_slice(&[1, 0, 0, 1]);
        pvd[124..128].copy_from_slice(&[1, 0, 0, 1]);
        pvd[128..132].copy_from_slice(&[0, 8, 8, 0]);
        pvd[132..140].copy_from_slice(&both(10));
        pvd[140..144].copy_from_slice(&18u32.to_le_bytes());
        pvd[148..152].copy_from_slice(&19u32.to_be_bytes());
        pvd[156..190].copy_from_slice(&record(b"\0", ROOT, 2048, DIR, None, b""));
        pvd[881] = 1;
        m.0[17 * 2048..17 * 2048 + 7].copy_from_slice(b"\xffCD001\x01");
        m.0[18 * 2048..18 * 2048 + 10].copy_from_slice(&[1, 0, ROOT as u8, 0, 0, 0, 1, 0, 0, 0]);
        m.0[19 * 2048..19 * 2048 + 10].copy_from_slice(&[1, 0, 0, 0, 0, ROOT as u8, 0, 1, 0, 0]);
        m.directory(ROOT, &[]);
        m
    }

    /// Writes a directory; that of the root says that there is Rock Ridge.
    fn directory(&mut self, sector: usize, records: &[Vec<u8>]) {
        let mut susp = b"SP\x07\x01\xbe\xef\x00".to_vec();
        susp.extend(b"ER\x12\x01\x0a\x00\x00\x01RRIP_1991A");
        let own = if sector == ROOT { susp } else { Vec::new() };
        let mut bytes = record(b"\0", sector, 2048, DIR, None, &own);
        bytes.extend(record(b"\x01", ROOT, 2048, DIR, None, b""));
        records.iter().for_each(|r| bytes.extend(r));
        self.0[sector * 2048..][..bytes.len()].copy_from_slice(&bytes);
    }

    fn root(records: &[Vec<u8>]) -> Vec<u8> {
        let mut m = Self::new();
        m.directory(ROOT, records);
        m.0
    }
}

fn read(medium: &[u8]) -> crate::Result<Listing> {
    let began = Instant::now();
    let found = Listing::read(&medium, &Task::quiet());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    found
}

fn file(name: &[u8], sector: usize, bytes: u32) -> Vec<u8> {
    record(b"X.;1", sector, bytes, FILE, Some(name), b"")
}

#[test]
fn files_and_where_they_are() {
    let mut m = Maker::new();
    m.directory(ROOT, &[file(b"long name.rpm", 30, 100), record(b"D", 22, 2048, DIR, Some(b"BaseOS"), b"")]);
    // A file in two parts that do not follow each other, an empty one, and one without Rock Ridge.
    m.directory(
        22,
        &[
            record(b"B.;1", 31, 2048, MORE, Some(b"big"), b""),
            record(b"B.;1", 34, 5, FILE, Some(b"big"), b""),
            file(b"empty", 0, 0),
            record(b"PLAIN.;1", 35, 7, FILE, None, b""),
        ],
    );
    let found = read(&m.0).unwrap();
    assert_eq!(found.volume.name, "TEST");
    let files: Vec<_> = found.files.iter().map(|(p, f)| (String::from_utf8_lossy(p).into_owned(), f.clone())).collect();
    let of = |size, extents: &[(u64, u64)]| IsoFile { size, extents: extents.to_vec() };
    assert_eq!(
        files,
        [
            ("BaseOS/PLAIN".into(), of(7, &[(35 * 2048, 7)])),
            ("BaseOS/big".into(), of(2053, &[(31 * 2048, 2048), (34 * 2048, 5)])),
            ("BaseOS/empty".into(), of(0, &[])),
            ("long name.rpm".into(), of(100, &[(30 * 2048, 100)])),
        ]
    );
}

#[test]
fn what_harms_is_refused() {
    let directory = |sector, bytes| record(b"D", sector, bytes, DIR, Some(b"d"), b"");
    let link = b"SL\x0a\x01\x00\x00\x03etc";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a loop to the root", Maker::root(&[directory(ROOT, 2048)])),
        ("a directory of 4 GiB", Maker::root(&[directory(22, u32::MAX)])),
        ("a directory outside", Maker::root(&[directory(1 << 20, 2048)])),
        ("a file outside", Maker::root(&[file(b"f", 39, 2049)])),
        ("a file far outside", Maker::root(&[file(b"f", u32::MAX as usize, u32::MAX)])),
        ("..", Maker::root(&[file(b"..", 30, 1)])),
        (".", Maker::root(&[file(b".", 30, 1)])),
        ("a slash", Maker::root(&[file(b"../../etc/passwd", 30, 1)])),
        ("a NUL", Maker::root(&[file(b"a\0b", 30, 1)])),
        ("the same name twice", Maker::root(&[file(b"a", 30, 1), file(b"a", 31, 1)])),
        ("a link", Maker::root(&[record(b"L.;1", 30, 0, FILE, Some(b"l"), link)])),
        (
            "overlapping files",
            Maker::root(&(0..9u8).map(|n| file(&[b'a' + n], 20 + usize::from(n), 11 * 2048 - 9)).collect::<Vec<_>>()),
        ),
    ];
    for (what, medium) in cases {
        let e = read(&medium).err().unwrap_or_else(|| panic!("{what} was taken"));
        assert_eq!(e.kind(), ErrorKind::UnsafeInput, "{what}: {e}");
    }
}

#[test]
fn what_is_damaged_is_told() {
    let good = Maker::root(&[file(b"f", 38, 2048)]);
    read(&good).unwrap();
    // Cut off at each sector, the file is beyond the end or less is there.
    for sector in 0..39 {
        let e = read(&good[..sector * 2048 + 100]).err().unwrap_or_else(|| panic!("{sector} sectors were taken"));
        assert_eq!(e.kind(), ErrorKind::Integrity, "{sector}: {e}");
    }
    for (what, at, bytes, kind) in [
        ("no magic", 16 * 2048 + 1, &b"XX"[..], ErrorKind::Integrity),
        ("a path table of 4 GiB", 16 * 2048 + 132, &[0xff; 8][..], ErrorKind::UnsafeInput),
        ("a list without end", 17 * 2048, &[0][..], ErrorKind::Integrity),
        ("sectors of 512 bytes", 16 * 2048 + 128, &[0, 2, 2, 0][..], ErrorKind::Integrity),
        ("a record of one byte", 20 * 2048, &[1][..], ErrorKind::Integrity),
    ] {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        let e = read(&bad).err().unwrap_or_else(|| panic!("{what} was taken"));
        assert_eq!(e.kind(), kind, "{what}: {e}");
    }
    assert_eq!(read(b"").err().unwrap().kind(), ErrorKind::Integrity);
    assert_eq!(read(&vec![0; 1 << 20]).err().unwrap().kind(), ErrorKind::Integrity);
}

#[test]
fn directories_are_not_too_deep() {
    let mut m = Maker::new();
    m.0.resize(200 * 2048, 0);
    let size = both(200);
    m.0[16 * 2048 + 80..][..8].copy_from_slice(&size);
    let down = |sector| vec![record(b"D", sector, 2048, DIR, Some(b"d"), b"")];
    m.directory(ROOT, &down(50));
    (50..120).for_each(|n| m.directory(n, &down(n + 1)));
    assert_eq!(read(&m.0).err().unwrap().kind(), ErrorKind::UnsafeInput);
    m.directory(90, &[file(b"f", 30, 1)]);
    m.0[90 * 2048..91 * 2048].fill(0);
    m.directory(90, &[file(b"f", 30, 1)]);
    assert_eq!(read(&m.0).unwrap().files.len(), 1);
}

#[test]
fn a_cancelled_walk_ends() {
    let token = crate::job::CancelToken::default();
    token.cancel();
    let medium = Maker::root(&[file(b"f", 30, 1)]);
    let e = Listing::read(&medium.as_slice(), &Task::new(token, None)).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Cancelled);
}

proptest::proptest! {
    /// Invariant: whatever bytes a medium has, it is listed with everything inside, or refused; soon.
    #[test]
    fn changed_media_do_no_harm(
        changes in proptest::collection::vec((16usize * 2048..24 * 2048, proptest::num::u8::ANY), 1..12),
        cut in 0usize..SECTORS * 4096,
    ) {
        let mut m = Maker::new();
        m.directory(ROOT, &[file(b"a.rpm", 30, 5000), record(b"D", 22, 2048, DIR, Some(b"BaseOS"), b"")]);
        m.directory(22, &[file(b"b", 36, 100)]);
        for (at, byte) in changes {
            // Most of a sector is empty: the changes go to its front.
            m.0[at / 2048 * 2048 + at % 2048 % 300] = byte;
        }
        m.0.truncate(cut.max(1));
        if let Ok(found) = read(&m.0) {
            for (path, file) in found.files {
                crate::image::path::check(&path).unwrap();
                proptest::prop_assert_eq!(file.size, file.extents.iter().map(|e| e.1).sum::<u64>());
                proptest::prop_assert!(file.extents.iter().all(|(at, n)| at + n <= m.0.len() as u64));
            }
        }
    }
}
