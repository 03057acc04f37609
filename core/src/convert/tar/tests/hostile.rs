//! Archives that lie, are cut off, or want too much.

use super::gnu::{gnu_tar, sample_tree};
use super::*;
use crate::job::CancelToken;

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
    // One that goes on and on, and says nothing.
    let endless = |b: &mut [u8; BLOCK]| {
        b[257..265].copy_from_slice(b"ustar  \0");
        b[482] = 1;
    };
    let mut nothing = vec![0; BLOCK];
    nothing[504] = 1;
    assert_eq!(kind_of(&archive(&[header(b"a", b'S', 0, endless), nothing.repeat(4000)])), Limit);
    assert_eq!(kind_of(&sparse(&new, vec![b'0'; 2 << 20])), Limit);
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

/// Zeros, so many; at the first byte the end is asked for.
struct Zeros(u64, CancelToken);

impl Read for Zeros {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.1.cancel();
        let n = buf.len().min(self.0 as usize);
        buf[..n].fill(0);
        self.0 -= n as u64;
        Ok(n)
    }
}

#[test]
fn what_is_passed_over_can_be_cancelled() {
    let length = 1 << 30;
    let unwanted = |kind, fill: fn(&mut [u8; BLOCK])| {
        let (stop, front) = (CancelToken::default(), header(b"a", kind, length, fill));
        let mut reader = Reader::new(front.chain(Zeros(length, stop.clone())), Limits::default());
        reader.stop_with(stop);
        let error = loop {
            match reader.next_entry() {
                Ok(entry) => assert!(entry.is_some()),
                Err(e) => break e.kind(),
            }
        };
        assert!(reader.position() < 4 << 20, "{} bytes were read", reader.position());
        error
    };
    assert_eq!(unwanted(b'0', |_| {}), Cancelled);
    assert_eq!(unwanted(b'D', |_| {}), Cancelled);
}

#[test]
fn names_of_an_incremental_dump_count_as_data() {
    let dump = [header(b"d", b'D', 8 * BLOCK as u64, |_| {}), vec![0; 8 * BLOCK]].concat();
    let limits = Limits { data: 12 * BLOCK as u64, ..Limits::default() };
    assert_eq!(read_all(&archive(std::slice::from_ref(&dump)), limits).unwrap()[0].0.kind, Kind::Directory);
    assert_eq!(read_all(&archive(&[dump.clone(), dump]), limits).unwrap_err().kind(), Limit);
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
