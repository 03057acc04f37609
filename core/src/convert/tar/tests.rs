//! Round trips, GNU tar in both directions, and archives that lie.

use super::*;
use crate::ErrorKind::{self, Integrity, Limit, UnsafeInput, Unsupported};
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

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn gnu_tar(args: &[&str], dir: &Path) -> Vec<u8> {
    let out = Command::new("tar").current_dir(dir).env("LC_ALL", "C").args(args).output().unwrap();
    assert!(out.status.success(), "tar {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A tree with everything; what this user or filesystem cannot make is left out.
fn sample_tree(dir: &Path) {
    fs::create_dir_all(dir.join("sub/empty")).unwrap();
    fs::write(dir.join("sub/text"), "hello\n").unwrap();
    fs::hard_link(dir.join("sub/text"), dir.join("sub/zz-linked")).unwrap();
    std::os::unix::fs::symlink("../somewhere/else", dir.join("sub/link")).unwrap();
    fs::write(dir.join(std::ffi::OsStr::from_bytes(b"bytes-\xff\xfe")), "b").unwrap();
    fs::write(dir.join("b".repeat(120)), "long").unwrap();
    let deep = dir.join("d".repeat(90)).join("e".repeat(90)).join("f".repeat(90));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("g".repeat(200)), "deep").unwrap();
    std::os::unix::fs::symlink("t".repeat(300), dir.join("long-link")).unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.write_all_at(&[7; 4096], 1 << 20).unwrap();
    sparse.write_all_at(&[8; 5000], 5 << 20).unwrap();
    sparse.set_len(10 << 20).unwrap();
    fs::File::create(dir.join("hole")).unwrap().set_len(1 << 20).unwrap();
    let tail = fs::File::create(dir.join("tail")).unwrap();
    tail.write_all_at(b"end", 1 << 20).unwrap();
    let text = c_path(&dir.join("sub/text"));
    let acl = [
        &2u32.to_le_bytes()[..],
        &[1, 0, 6, 0, 255, 255, 255, 255],
        &[2, 0, 5, 0, 57, 48, 0, 0],
        &[4, 0, 4, 0, 255, 255, 255, 255],
        &[16, 0, 5, 0, 255, 255, 255, 255],
        &[32, 0, 4, 0, 255, 255, 255, 255],
    ]
    .concat();
    for (name, value) in [
        (&b"user.a=b%c"[..], &b"v\n\0x"[..]),
        (b"user.empty", b""),
        (b"security.selinux", b"system_u:object_r:etc_t:s0\0"),
        (b"system.posix_acl_access", &acl),
    ] {
        xattr::set(Of::Path(&text), name, value).ok();
    }
    xattr::set(Of::Path(&c_path(&dir.join("sub"))), b"system.posix_acl_default", &acl).ok();
    let set_time = |p: &str, s: i64, ns: i64| {
        let t = rustix::fs::Timespec { tv_sec: s, tv_nsec: ns as _ };
        let times = rustix::fs::Timestamps { last_access: t, last_modification: t };
        let path = dir.join(p);
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    mknodat(CWD, dir.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    mknodat(CWD, dir.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).ok();
    mknodat(CWD, dir.join("disk"), FileType::BlockDevice, Mode::from_raw_mode(0o660), makedev(259, 70_000)).ok();
    std::os::unix::fs::lchown(dir.join("sub/link"), Some(3_000_000_000), Some(3_000_000)).ok();
    set_time("sub/text", 1_600_000_000, 123_456_789);
    set_time("sparse", -1, 500_000_000);
    set_time("tail", 1 << 33, 0);
    set_time("sub/link", 5, 7);
    set_time("sub/empty", 1_600_000_001, 1);
    set_time("sub", 1_600_000_002, 2);
}

/// What a tree and an archive must agree on.
type Facts = std::collections::BTreeMap<Vec<u8>, (u32, u32, u32, i64, i64, Vec<xattr::Xattr>, u64, Vec<u8>, u64)>;

fn tree_facts(dir: &Path) -> Facts {
    let mut out = Facts::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(at) = todo.pop() {
        for e in fs::read_dir(&at).unwrap() {
            let path = e.unwrap().path();
            let st = fs::symlink_metadata(&path).unwrap();
            let content = match st.file_type() {
                t if t.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
                t if t.is_file() => fs::read(&path).unwrap(),
                t if t.is_dir() => {
                    todo.push(path.clone());
                    vec![]
                }
                _ => st.rdev().to_le_bytes().to_vec(),
            };
            let size = if st.is_file() { st.size() } else { 0 };
            // A hole costs nothing; small differences are the filesystem's.
            let holes = u64::from(st.is_file() && st.size() > st.blocks() * 512 + (1 << 16));
            let name = path.strip_prefix(dir).unwrap().as_os_str().as_bytes().to_vec();
            let xattrs = xattr::list(Of::Path(&c_path(&path))).unwrap();
            let (uid, gid) = (st.uid(), st.gid());
            out.insert(name, (st.mode(), uid, gid, st.mtime(), st.mtime_nsec(), xattrs, size, content, holes));
        }
    }
    out
}

fn archive_facts(read: &[Read1]) -> Facts {
    let mut out = Facts::new();
    for (e, data) in read.iter().filter(|(e, _)| !e.path.is_empty()) {
        let mut holes = 0;
        let (bits, size, content) = match &e.kind {
            Kind::File { size, segments } => {
                let (mut whole, mut at) = (vec![0; *size as usize], 0);
                for s in segments {
                    whole[s.offset as usize..][..s.length as usize].copy_from_slice(&data[at..at + s.length as usize]);
                    at += s.length as usize;
                }
                holes = u64::from(*size > segments.iter().map(|s| s.length).sum::<u64>() + (1 << 16));
                (0o100_000, *size, whole)
            }
            Kind::Directory => (0o040_000, 0, vec![]),
            Kind::Link(t) => (0o120_000, 0, t.clone()),
            Kind::HardLink(t) => {
                let first = out[t].clone();
                out.insert(e.path.clone(), first);
                continue;
            }
            Kind::Fifo => (0o010_000, 0, 0u64.to_le_bytes().to_vec()),
            Kind::Device { block, major, minor } => {
                let bits = if *block { 0o060_000 } else { 0o020_000 };
                (bits, 0, rustix::fs::makedev(*major, *minor).to_le_bytes().to_vec())
            }
        };
        let (s, ns) = (e.mtime.0, i64::from(e.mtime.1));
        out.insert(e.path.clone(), (bits | e.mode, e.uid, e.gid, s, ns, e.xattrs.clone(), size, content, holes));
    }
    out
}

#[track_caller]
fn assert_same(a: &Facts, b: &Facts) {
    assert_eq!(a.keys().map(|k| show(k)).collect::<Vec<_>>(), b.keys().map(|k| show(k)).collect::<Vec<_>>());
    for (path, facts) in a {
        let mut x = (facts.clone(), b[path].clone());
        assert!(x.0.7 == x.1.7, "content of {}", show(path));
        (x.0.7, x.1.7) = (vec![], vec![]);
        assert_eq!(x.0, x.1, "{}", show(path));
    }
}

#[test]
fn gnu_tar_writes_and_we_read() {
    let tmp = tempfile::tempdir().unwrap();
    sample_tree(tmp.path());
    let tree = tree_facts(tmp.path());
    for version in ["0.0", "0.1", "1.0"] {
        let sparse = format!("--sparse-version={version}");
        let args =
            ["--format=posix", &sparse, "--xattrs", "--xattrs-include=*", "--acls", "--selinux", "-S", "-cf", "-", "."];
        let read = read_all(&gnu_tar(&args, tmp.path()), Limits::default()).unwrap();
        assert_same(&tree, &archive_facts(&read));
    }
    // The old format has whole seconds, no attributes, and pairs of its own for holes.
    let read = read_all(&gnu_tar(&["--format=gnu", "-S", "-czf", "-", "."], tmp.path()), Limits::default()).unwrap();
    let mut old = tree;
    for facts in old.values_mut() {
        (facts.4, facts.5) = (0, vec![]);
    }
    assert_same(&old, &archive_facts(&read));
}

#[test]
fn we_write_and_gnu_tar_extracts() {
    let tmp = tempfile::tempdir().unwrap();
    let (from, to) = (tmp.path().join("from"), tmp.path().join("to"));
    fs::create_dir(&from).unwrap();
    sample_tree(&from);
    let args = ["--format=posix", "--xattrs", "--xattrs-include=*", "-S", "-cf", "-", "."];
    let read = read_all(&gnu_tar(&args, &from), Limits::default()).unwrap();
    let ours = write_all(&read);
    assert_eq!(read_all(&ours, Limits::default()).unwrap(), read);
    let file = tmp.path().join("ours.tar");
    fs::write(&file, &ours).unwrap();
    fs::create_dir(&to).unwrap();
    let args =
        ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--selinux", "-xpf", file.to_str().unwrap()];
    gnu_tar(&args, &to);
    assert_same(&tree_facts(&from), &tree_facts(&to));
    assert_eq!(fs::metadata(to.join("sub/text")).unwrap().ino(), fs::metadata(to.join("sub/zz-linked")).unwrap().ino());
    // Python's own reader agrees about names, sizes and times.
    let script = "import sys,tarfile\n\
        for m in tarfile.open(sys.argv[1], errors='surrogateescape', encoding='utf-8'):\n\
        \x20 sys.stdout.buffer.write(b'%s %d %d\\n' % (m.name.encode('utf-8','surrogateescape'), m.size, m.mode))";
    if let Ok(out) = Command::new("python3").arg("-c").arg(script).arg(&file).output() {
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        for (e, _) in read.iter().filter(|(e, _)| !e.path.is_empty()) {
            let size = if let Kind::File { size, .. } = e.kind { size } else { 0 };
            let want = [&e.path[..], format!(" {size} {}\n", e.mode).as_bytes()].concat();
            assert!(out.stdout.windows(want.len()).any(|w| w == want), "{}", show(&want));
        }
    }
}

// Archives that lie.

/// A header block with a right checksum.
fn header(name: &[u8], kind: u8, size: u64, fill: impl FnOnce(&mut [u8; BLOCK])) -> Vec<u8> {
    let mut b = [0; BLOCK];
    b[..name.len()].copy_from_slice(name);
    b[100..107].copy_from_slice(b"0000644");
    b[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    b[156] = kind;
    b[257..265].copy_from_slice(b"ustar\x0000");
    fill(&mut b);
    b[148..156].copy_from_slice(b"        ");
    let sum: u32 = b.iter().map(|&c| u32::from(c)).sum();
    b[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    b.to_vec()
}

fn padded(mut body: Vec<u8>) -> Vec<u8> {
    body.resize(body.len().next_multiple_of(BLOCK), 0);
    body
}

fn pax_header(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    records.iter().for_each(|(k, v)| pax::put(&mut body, k.as_bytes(), v));
    [header(b"x", b'x', body.len() as u64, |_| {}), padded(body)].concat()
}

fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 2 * BLOCK]].concat()
}

#[track_caller]
fn kind_of(bytes: &[u8]) -> ErrorKind {
    let began = Instant::now();
    let e = read_all(bytes, Limits { entries: 1000, metadata: 1 << 20, data: 1 << 30 }).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5));
    e.kind()
}

#[test]
fn traversal_is_refused() {
    for name in [&b"../x"[..], b"a/../../x", b"a/..", b"/../x", b"..", b"./../x"] {
        assert_eq!(kind_of(&archive(&[header(name, b'0', 0, |_| {})])), UnsafeInput);
        assert_eq!(kind_of(&archive(&[pax_header(&[("path", name)]), header(b"a", b'0', 0, |_| {})])), UnsafeInput);
        let link = |b: &mut [u8; BLOCK]| b[157..157 + name.len()].copy_from_slice(name);
        assert_eq!(kind_of(&archive(&[header(b"a", b'1', 0, link)])), UnsafeInput);
        let long = [header(b"././@LongLink", b'L', name.len() as u64, |_| {}), padded(name.to_vec())].concat();
        assert_eq!(kind_of(&archive(&[long, header(b"a", b'0', 0, |_| {})])), UnsafeInput);
    }
    assert_eq!(kind_of(&archive(&[pax_header(&[("path", b"a\0b")]), header(b"a", b'0', 0, |_| {})])), UnsafeInput);
    assert_eq!(kind_of(&archive(&[header(b"./", b'0', 1, |_| {}), vec![0; BLOCK]])), UnsafeInput);
    assert_eq!(kind_of(&archive(&[header(b".", b'2', 0, |b| b[157] = b'x')])), UnsafeInput);
    let fine = read_all(&archive(&[header(b"/./a//b/./", b'5', 0, |_| {})]), Limits::default()).unwrap();
    assert_eq!(fine[0].0.path, b"a/b");
}

#[test]
fn a_truncated_archive_is_never_whole() {
    let tmp = tempfile::tempdir().unwrap();
    sample_tree(tmp.path());
    let plain = gnu_tar(&["--format=posix", "--xattrs", "-S", "-b1", "-cf", "-", "."], tmp.path());
    let end = plain.len();
    for i in 0..200 {
        assert_eq!(kind_of(&plain[..(end - 1) * i / 200]), Integrity, "{i}");
    }
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut e = Encoder::new(Vec::new(), compression, 0).unwrap();
        e.write_all(&plain).unwrap();
        let packed = e.finish().unwrap();
        for i in 0..200 {
            assert_eq!(kind_of(&packed[..(packed.len() - 1) * i / 200]), Integrity, "{compression:?} {i}");
        }
        let mut bad = packed.clone();
        let at = bad.len() / 2;
        bad[at] ^= 0x40;
        assert_eq!(kind_of(&bad), Integrity);
    }
    assert_eq!(kind_of(b""), Integrity);
    assert_eq!(kind_of(b"no archive at all"), Integrity);
    assert_eq!(kind_of(&[b'x'; 2048]), Integrity);
    assert_eq!(kind_of(b"\xfd7zXZ\0rest"), Unsupported);
}

#[test]
fn sizes_that_lie() {
    let file = |size| header(b"a", b'0', size, |_| {});
    assert_eq!(kind_of(&archive(&[file(1 << 20)])), Integrity);
    assert_eq!(kind_of(&archive(&[file(super::header::OCTAL_11)])), Limit);
    let huge = |b: &mut [u8; BLOCK]| b[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(kind_of(&archive(&[header(b"a", b'0', 0, huge)])), Limit);
    let negative = |b: &mut [u8; BLOCK]| b[124..136].copy_from_slice(&[0xff; 12]);
    assert_eq!(kind_of(&archive(&[header(b"a", b'0', 0, negative)])), Integrity);
    // A record that hides headers in data, or data in headers.
    let hidden = padded(header(b"hidden", b'0', 0, |_| {}));
    for (record, said) in [(&b"512"[..], 0), (b"0", 512)] {
        let parts = [pax_header(&[("size", record)]), file(said), hidden.clone()];
        assert_eq!(kind_of(&archive(&parts)), UnsafeInput);
    }
    for kind in *b"123456" {
        assert_eq!(kind_of(&archive(&[header(b"a", kind, 512, |b| b[157] = b'x'), hidden.clone()])), UnsafeInput);
    }
    let parts = [pax_header(&[("size", b"99999999999999999999")]), file(0)];
    assert_eq!(kind_of(&archive(&parts)), Limit);
    for record in ["size", "path", "linkpath", "GNU.sparse.size", "SCHILY.xattr.user.x"] {
        let mut global = pax_header(&[(record, b"1")]);
        global[156] = b'g';
        let global = [header(b"g", b'g', (global.len() - BLOCK) as u64, |_| {}), global[BLOCK..].to_vec()].concat();
        assert_eq!(kind_of(&archive(&[global, file(0)])), UnsafeInput, "{record}");
    }
    let two = [pax_header(&[("path", b"a")]), pax_header(&[("path", b"b")]), file(0)];
    assert_eq!(kind_of(&archive(&two)), Integrity);
    let long = [header(b"././@LongLink", b'L', 1, |_| {}), padded(b"x".to_vec())].concat();
    assert_eq!(kind_of(&archive(&[long, pax_header(&[("path", b"y")]), file(0)])), UnsafeInput);
    assert_eq!(kind_of(&archive(&[pax_header(&[("path", b"y")])])), Integrity);
    assert_eq!(kind_of(&[file(0), vec![0; BLOCK], file(0)].concat()), Integrity);
}

#[test]
fn sparse_maps_that_lie() {
    let sparse = |records: &[(&str, &[u8])], data: Vec<u8>| {
        archive(&[pax_header(records), header(b"a", b'0', data.len() as u64, |_| {}), padded(data)])
    };
    let new: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1024")];
    for (map, kind) in [
        ("1\n18446744073709551615\n512\n", Integrity),
        ("2\n512\n512\n0\n512\n", Integrity),
        ("1\n1024\n512\n", Integrity),
        ("99999999999\n", Limit),
        ("1\n0\n", Integrity),
        ("x", Integrity),
    ] {
        assert_eq!(kind_of(&sparse(&new, [padded(map.into()), vec![1; 512]].concat())), kind, "{map}");
    }
    // A map without an end, and one that is longer than its entry.
    assert_eq!(kind_of(&sparse(&new, vec![b'1'; 1 << 20])), Integrity);
    assert_eq!(kind_of(&sparse(&new, format!("100\n{}", "0\n0\n".repeat(50)).into_bytes())), Integrity);
    assert_eq!(kind_of(&sparse(&[("GNU.sparse.map", b"0,512"), ("GNU.sparse.size", b"99")], vec![1; 512])), Integrity);
    assert_eq!(
        kind_of(&sparse(&[("GNU.sparse.map", b"0,512,1"), ("GNU.sparse.size", b"999")], vec![1; 512])),
        Integrity
    );
    assert_eq!(kind_of(&sparse(&[("GNU.sparse.map", b"0,512")], vec![1; 512])), Integrity);
    assert_eq!(kind_of(&sparse(&[("GNU.sparse.numbytes", b"1")], vec![])), Integrity);
    assert_eq!(kind_of(&sparse(&[("GNU.sparse.major", b"2")], vec![])), Unsupported);
    // A file of 8 EiB without data costs nothing.
    let whale =
        sparse(&[("GNU.sparse.map", b"9223372036854775807,0"), ("GNU.sparse.size", b"9223372036854775807")], vec![]);
    assert_eq!(
        read_all(&whale, Limits::default()).unwrap()[0].0.kind,
        Kind::File { size: i64::MAX as u64, segments: vec![] }
    );
    let over = sparse(&[("GNU.sparse.map", b"0,0"), ("GNU.sparse.size", b"9223372036854775808")], vec![]);
    assert_eq!(kind_of(&over), Limit);
    // GNU's old form.
    let old = |real: &str, pairs: &[(&str, &str)]| {
        let fill = |b: &mut [u8; BLOCK]| {
            b[257..265].copy_from_slice(b"ustar  \0");
            b[483..483 + real.len()].copy_from_slice(real.as_bytes());
            for (i, (offset, length)) in pairs.iter().enumerate() {
                b[386 + 24 * i..][..offset.len()].copy_from_slice(offset.as_bytes());
                b[398 + 24 * i..][..length.len()].copy_from_slice(length.as_bytes());
            }
        };
        archive(&[header(b"a", b'S', 512, fill), vec![1; 512]])
    };
    assert!(read_all(&old("00000002000", &[("00000001000", "00000001000")]), Limits::default()).is_ok());
    assert_eq!(kind_of(&old("00000000100", &[("00000001000", "00000001000")])), Integrity);
    assert_eq!(kind_of(&old("00000002000", &[("00000001000", "00000000777")])), Integrity);
    assert_eq!(kind_of(&old("00000002000", &[("77777777777", "77777777777")])), Integrity);
}

#[test]
fn bombs_are_over_a_limit() {
    // A million entries of nothing, small when compressed.
    let mut e = Encoder::new(Vec::new(), Compression::Zstd, 0).unwrap();
    let one = header(b"dev/x", b'3', 0, |b| b[329..345].copy_from_slice(b"0000001\x000000003\0"));
    let many = one.repeat(1000);
    for _ in 0..1000 {
        e.write_all(&many).unwrap();
    }
    e.write_all(&[0; 2 * BLOCK]).unwrap();
    let bomb = e.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    assert_eq!(kind_of(&bomb), Limit);
    // An extension header of many gigabytes, with and without its bytes.
    assert_eq!(kind_of(&header(b"x", b'x', super::header::OCTAL_11, |_| {})), Limit);
    assert_eq!(kind_of(&header(b"x", b'L', 70 << 20, |_| {})), Integrity);
    let globals = [header(b"g", b'g', 0, |_| {}).repeat(100), header(b"a", b'0', 0, |_| {})].concat();
    assert_eq!(kind_of(&archive(&[globals])), Limit);
    let attributes: Vec<_> = (0..2000).map(|i| (format!("SCHILY.xattr.user.{i}"), b"v".to_vec())).collect();
    let records: Vec<_> = attributes.iter().map(|(k, v)| (k.as_str(), &v[..])).collect();
    assert_eq!(kind_of(&archive(&[pax_header(&records), header(b"a", b'0', 0, |_| {})])), Limit);
    let value = vec![1; 70_000];
    assert_eq!(
        kind_of(&archive(&[pax_header(&[("SCHILY.xattr.user.a", &value)]), header(b"a", b'0', 0, |_| {})])),
        Limit
    );
    let long = vec![b'a'; 70_000];
    assert_eq!(kind_of(&archive(&[pax_header(&[("path", &long)]), header(b"a", b'0', 0, |_| {})])), Limit);
    let target = vec![b'a'; 5000];
    assert_eq!(kind_of(&archive(&[pax_header(&[("linkpath", &target)]), header(b"a", b'2', 0, |_| {})])), Limit);
    // Zeros without end after the end.
    let mut endless = Reader::new(std::io::repeat(0), Limits::default());
    let began = Instant::now();
    assert_eq!(endless.next_entry().unwrap_err().kind(), Limit);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn odd_archives_that_are_fine() {
    // v7: a directory is a name with a slash; no magic.
    let v7 = header(b"d/", 0, 0, |b| b[257..265].fill(0));
    let label = header(b"volume", b'V', 0, |_| {});
    let entries = read_all(&archive(&[label, v7]), Limits::default()).unwrap();
    assert_eq!((entries.len(), &entries[0].0.kind), (1, &Kind::Directory));
    // Global records, as git writes them; later ones overrule earlier ones, an entry's own overrule both.
    let mut body = Vec::new();
    pax::put(&mut body, b"comment", b"0123abcd");
    pax::put(&mut body, b"uid", b"7");
    let global = [header(b"pax_global_header", b'g', body.len() as u64, |_| {}), padded(body)].concat();
    let bytes = archive(&[
        global,
        header(b"a", b'0', 0, |_| {}),
        pax_header(&[("uid", b"8"), ("hdrcharset", b"BINARY"), ("path", b"\xff")]),
        header(b"b", b'0', 0, |_| {}),
    ]);
    let entries = read_all(&bytes, Limits::default()).unwrap();
    assert_eq!((entries[0].0.uid, entries[1].0.uid), (7, 8));
    assert_eq!(entries[1].0.path, b"\xff");
    let foreign = archive(&[pax_header(&[("hdrcharset", b"ISO-IR 8859 1 1998")]), header(b"b", b'0', 0, |_| {})]);
    assert_eq!(kind_of(&foreign), Unsupported);
    assert_eq!(kind_of(&archive(&[header(b"m", b'M', 0, |_| {})])), Unsupported);
    // An ACL that names somebody without a number is lost, and said so.
    let acl = pax_header(&[("SCHILY.acl.access", b"user::rw-,user:joe:r--,group::r--,mask::r--,other::r--")]);
    let bytes = archive(&[acl, header(b"b", b'0', 0, |_| {})]);
    let mut reader = Reader::new(&bytes[..], Limits::default());
    assert!(reader.next_entry().unwrap().unwrap().xattrs.is_empty());
    assert!(reader.notes()[0].contains("joe"));
}

#[test]
fn several_frames_are_one_archive() {
    let plain = write_all(&[(entry("a", Kind::file(5000)), vec![9; 5000])]);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut packed = Vec::new();
        for part in plain.chunks(1000) {
            let mut e = Encoder::new(Vec::new(), compression, 0).unwrap();
            e.write_all(part).unwrap();
            packed.extend(e.finish().unwrap());
        }
        let mut all = Vec::new();
        Decoder::new(&packed[..]).unwrap().read_to_end(&mut all).unwrap();
        assert_eq!(all, plain);
    }
}
