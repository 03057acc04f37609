//! cpio as `newc`, small: the archive of the node's own files is written, and initramfs images are looked into.
//!
//! ```text
//! image = segment…      segment = archive | gzip(archive) | zstd(archive), zeros between them
//! entry = "070701" 13 numbers of 8 hex digits, name NUL, padded to 4, data, padded to 4; the last is TRAILER!!!
//! ```
//!
//! The first archive of an image is often one with microcode, not compressed. The writer of `convert` writes images out
//! of a store; this one writes a handful of files out of memory. Format: Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

const TRAILER: &[u8] = b"TRAILER!!!";
const HEADER: usize = 110;
/// More than this many entries has no initramfs: a distribution's with all drivers has some thousands.
const ENTRIES: usize = 500_000;
/// More bytes than this are not unpacked.
const UNPACKED: u64 = 4 << 30;
/// No name is longer.
const NAME: u64 = 4096;
/// Of a file that is kept, no more than this.
const KEPT: u64 = 1 << 20;

/// What an image holds: names without a leading slash, with the content of those that were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) names: BTreeMap<String, Option<Vec<u8>>>,
    /// How the first segment is compressed that could not be read.
    pub(super) unreadable: Option<&'static str>,
}

/// An archive with these files, and the directories that lead to them; the same files make the same bytes.
pub(super) fn write(files: &BTreeMap<String, (u32, Vec<u8>)>) -> Vec<u8> {
    let mut entries: BTreeMap<&str, (u32, &[u8])> = BTreeMap::new();
    for (path, (mode, bytes)) in files {
        for (i, _) in path.match_indices('/') {
            entries.insert(&path[..i], (0o040_755, b""));
        }
        entries.insert(path, (0o100_000 | mode, bytes));
    }
    let mut out = Vec::new();
    for (inode, (name, (mode, bytes))) in (1u64..).zip(entries) {
        entry(&mut out, inode, mode, name.as_bytes(), bytes);
    }
    entry(&mut out, 0, 0, TRAILER, b"");
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn entry(out: &mut Vec<u8>, inode: u64, mode: u32, name: &[u8], bytes: &[u8]) {
    let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
    let numbers = [inode, mode.into(), 0, 0, links, 0, bytes.len() as u64, 0, 0, 0, 0, name.len() as u64 + 1, 0];
    out.extend_from_slice(b"070701");
    numbers.iter().for_each(|n| out.extend_from_slice(format!("{n:08X}").as_bytes()));
    out.extend_from_slice(name);
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Looks into an image; `keep` says of which files the content is wanted.
///
/// # Errors
/// `InvalidData` for what is no initramfs.
pub(super) fn read(image: &[u8], keep: &dyn Fn(&str) -> bool) -> io::Result<Listing> {
    let (mut listing, mut rest) = (Listing::default(), image);
    loop {
        rest = &rest[rest.iter().position(|b| *b != 0).unwrap_or(rest.len())..];
        if rest.is_empty() {
            return Ok(listing);
        }
        if rest.starts_with(b"07070") {
            // Archives stand one after the other; a reader of a slice leaves what comes next.
            archive(&mut rest, &mut listing, keep)?;
        } else if rest.starts_with(&[0x1f, 0x8b]) {
            let mut inside = io::BufReader::new(flate2::bufread::GzDecoder::new(rest));
            archives(&mut inside, &mut listing, keep)?;
            rest = inside.into_inner().into_inner();
        } else if rest.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let decoder = zstd::stream::read::Decoder::with_buffer(rest)?.single_frame();
            let mut inside = io::BufReader::new(decoder);
            archives(&mut inside, &mut listing, keep)?;
            rest = inside.into_inner().finish();
        } else {
            listing.unreadable = Some(compression(rest)?);
            return Ok(listing);
        }
    }
}

fn compression(bytes: &[u8]) -> io::Result<&'static str> {
    let known: [(&[u8], &str); 5] = [
        (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
        (&[0x02, 0x21, 0x4c, 0x18], "lz4"),
        (b"BZh", "bzip2"),
        (&[0x5d, 0, 0], "lzma"),
        (&[0x89, b'L', b'Z', b'O'], "lzo"),
    ];
    let found = known.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name);
    found.ok_or_else(|| wrong("it is neither cpio nor compressed"))
}

/// All archives of a decompressed segment, to its very end.
fn archives(from: &mut impl BufRead, listing: &mut Listing, keep: &dyn Fn(&str) -> bool) -> io::Result<()> {
    loop {
        let zeros = {
            let bytes = from.fill_buf()?;
            if bytes.is_empty() {
                return Ok(());
            }
            bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len())
        };
        if zeros > 0 {
            from.consume(zeros);
            continue;
        }
        archive(from, listing, keep)?;
    }
}

fn archive(from: &mut impl Read, listing: &mut Listing, keep: &dyn Fn(&str) -> bool) -> io::Result<()> {
    let mut unpacked = 0u64;
    loop {
        let mut header = [0u8; HEADER];
        from.read_exact(&mut header)?;
        if !matches!(&header[..6], b"070701" | b"070702") {
            return Err(wrong("an entry has no header"));
        }
        let number = |i: usize| -> io::Result<u64> {
            let text = header.get(6 + i * 8..14 + i * 8).and_then(|b| std::str::from_utf8(b).ok());
            let number = text.and_then(|t| u32::from_str_radix(t, 16).ok());
            number.map(u64::from).ok_or_else(|| wrong("a number is none"))
        };
        let (mode, size, named) = (number(1)?, number(6)?, number(11)?);
        unpacked += size;
        if named == 0 || named > NAME || unpacked > UNPACKED || listing.names.len() > ENTRIES {
            return Err(wrong("it is larger than any initramfs"));
        }
        let mut name = vec![0; named as usize];
        from.read_exact(&mut name)?;
        skip(from, (HEADER as u64 + named).next_multiple_of(4) - HEADER as u64 - named)?;
        name.pop();
        if name == TRAILER {
            return Ok(());
        }
        let name = String::from_utf8_lossy(&name).trim_start_matches("./").trim_start_matches('/').to_owned();
        let regular = mode & 0o170_000 == 0o100_000;
        let mut content = None;
        if regular && size <= KEPT && keep(&name) {
            let mut bytes = vec![0; size as usize];
            from.read_exact(&mut bytes)?;
            content = Some(bytes);
        } else {
            skip(from, size)?;
        }
        skip(from, size.next_multiple_of(4) - size)?;
        listing.names.insert(name, content);
    }
}

fn skip(from: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut from.take(bytes), &mut io::sink())?;
    if skipped == bytes { Ok(()) } else { Err(wrong("it is cut off")) }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, (u32, Vec<u8>)> {
        list.iter().map(|(n, c)| ((*n).to_owned(), (0o644, c.as_bytes().to_vec()))).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn segments_of_every_kind_are_found() {
        let early = write(&files(&[("kernel/x86/microcode/GenuineIntel.bin", "m")]));
        let main = write(&files(&[("conf/initramfs.conf", "MODULES=most\n"), ("usr/sbin/mdadm", "elf")]));
        let node = write(&files(&[("etc/mdadm/mdadm.conf", "ARRAY")]));
        for main in [main.clone(), gzip(&main), zstd::encode_all(&main[..], 1).unwrap()] {
            let mut image = early.clone();
            image.extend(main);
            image.resize(image.len().next_multiple_of(4), 0);
            image.extend(&node);
            let found = read(&image, &|n| n.starts_with("conf/")).unwrap();
            assert_eq!(found.unreadable, None);
            assert_eq!(found.names["conf/initramfs.conf"].as_deref(), Some(&b"MODULES=most\n"[..]));
            for name in ["kernel/x86/microcode", "usr/sbin/mdadm", "etc/mdadm/mdadm.conf"] {
                assert_eq!(found.names[name], None);
            }
        }
        let mut xz = early;
        xz.extend([0xfd, b'7', b'z', b'X', b'Z', 0]);
        let found = read(&xz, &|_| false).unwrap();
        assert_eq!((found.unreadable, found.names.len()), (Some("xz"), 4));
    }

    #[test]
    fn other_programs_read_it() {
        let archive = write(&files(&[("etc/mdadm/mdadm.conf", "ARRAY\n"), ("a", "")]));
        assert_eq!(archive.len() % 512, 0);
        let mut cpio = match std::process::Command::new("cpio")
            .args(["-t", "--quiet"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(_) => return eprintln!("skipped: other_programs_read_it: it needs the program cpio"),
        };
        cpio.stdin.take().unwrap().write_all(&archive).unwrap();
        let out = cpio.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), "a\netc\netc/mdadm\netc/mdadm/mdadm.conf\n");
    }

    proptest! {
        /// Whatever bytes come, reading ends with a listing or an error.
        #[test]
        fn hostile_images_end(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..400) {
            let _ = read(&bytes, &|_| true);
            let mut archive = write(&files(&[("a/b", "12345")]));
            let at = at % archive.len();
            let n = bytes.len().min(archive.len() - at).min(9);
            archive[at..at + n].copy_from_slice(&bytes[..n]);
            let _ = read(&archive, &|_| true);
            let mut packed = gzip(&archive);
            let at = at % packed.len();
            packed[at] ^= 0x10;
            let _ = read(&packed, &|_| true);
            bytes.splice(..0, b"070701".iter().copied());
            let _ = read(&bytes, &|_| true);
        }
    }
}
