//! What no single place tells: ZFS, UDF, GPFS.
//!
//! ```text
//! ZFS   | label 0 | label 1 | .... | label 2 | label 3 |        256 KiB each, at the end rounded to 256 KiB
//!          8K blank, 8K boot, 112K nvlist, 128K uberblocks of 1 KiB or more
//! UDF   32 KiB: a sequence of descriptors, one of which is NSR02 or NSR03
//! GPFS  a text in the first sectors
//! ```
//!
//! Sources: "ZFS On-Disk Specification" (draft, 2006), ECMA-167 part 2, and the NSD discovery of IBM Storage Scale,
//! which reads a descriptor from the second sector.

use super::Signature;
use crate::layout::ondisk::Fields;
use crate::layout::place::Place;
use std::io;

/// What is found here.
pub(super) const KINDS: [&str; 3] = ["zfs_member", "udf", "gpfs"];
const KIB: u64 = 1 << 10;
const ZFS_LABEL: u64 = 256 * KIB;
/// ZFS takes no smaller device.
const ZFS_LEAST: u64 = 64 << 20;
const NVLIST: u64 = 16 * KIB;
const NVLIST_SIZE: usize = 112 << 10;
const UBERBLOCKS: u64 = 128 * KIB;
const UBERBLOCK: [u8; 8] = 0x00ba_b10c_u64.to_le_bytes();
const UDF: u64 = 32 * KIB;
const UDF_DESCRIPTORS: u64 = 64;
const GPFS: usize = 16 << 10;

/// What is found.
pub(super) fn all(place: &Place<'_>) -> io::Result<Vec<Signature>> {
    let mut found = zfs(place)?;
    found.extend(udf(place)?);
    found.extend(gpfs(place)?);
    Ok(found)
}

/// Where it may be.
pub(super) fn areas(length: u64) -> Vec<(u64, u64)> {
    let mut areas: Vec<(u64, u64)> = labels(length).into_iter().map(|at| (at, ZFS_LABEL)).collect();
    areas.push((UDF, (UDF_DESCRIPTORS * 4096).min(length.saturating_sub(UDF))));
    areas.push((0, (GPFS as u64).min(length)));
    areas.retain(|(_, bytes)| *bytes > 0);
    areas
}

fn bare(kind: &'static str, offset: u64) -> Signature {
    Signature { kind, version: None, label: None, uuid: None, group: None, offset, copies: Vec::new() }
}

/// The offsets of the four labels.
fn labels(length: u64) -> Vec<u64> {
    let end = length / ZFS_LABEL * ZFS_LABEL;
    if length < ZFS_LEAST {
        return Vec::new();
    }
    vec![0, ZFS_LABEL, end - 2 * ZFS_LABEL, end - ZFS_LABEL]
}

/// Each label with a list of names and values, or with an uberblock.
fn zfs(place: &Place<'_>) -> io::Result<Vec<Signature>> {
    let mut found = Vec::new();
    for label in labels(place.length()) {
        let mut s = bare("zfs_member", label + NVLIST);
        let list = place.bytes(label + NVLIST, NVLIST_SIZE)?.unwrap_or_default();
        let pool = Nvlist::read(&list);
        let blocks = place.bytes(label + UBERBLOCKS, (ZFS_LABEL - UBERBLOCKS) as usize)?.unwrap_or_default();
        // In the byte order of the machine that wrote it.
        let is_uber = |block: &[u8]| block[..8] == UBERBLOCK || block[..8].iter().eq(UBERBLOCK.iter().rev());
        let uber = blocks.chunks_exact(1024).zip(0u64..).find(|(block, _)| is_uber(block));
        match (pool, uber) {
            (Some(pool), _) => (s.label, s.uuid) = (pool.name, pool.guid.map(|g| g.to_string())),
            (None, Some((_, number))) => s.offset = label + UBERBLOCKS + number * KIB,
            (None, None) => continue,
        }
        found.push(s);
    }
    Ok(found)
}

/// The pool, as a label's list in XDR names it.
struct Nvlist {
    name: Option<String>,
    guid: Option<u64>,
}

impl Nvlist {
    /// `None` when it is not the list of a label.
    fn read(bytes: &[u8]) -> Option<Self> {
        const NUMBER: u32 = 8;
        const TEXT: u32 = 9;
        let f = Fields(bytes);
        // XDR, either byte order of the machine, version 0.
        if !matches!(bytes.get(..4)?, [1, 0 | 1, 0, 0]) || f.be32(4) != 0 {
            return None;
        }
        let mut pool = Self { name: None, guid: None };
        let (mut at, mut known) = (12usize, 0);
        // Pairs: size encoded and decoded, length of the name, name, type, count, value; then zeros.
        loop {
            let (size, name_length) = (f.be32(at) as usize, f.be32(at + 8) as usize);
            if size < 20 || at + size > bytes.len() || name_length > size - 20 {
                break;
            }
            let value = at + 12 + name_length.next_multiple_of(4);
            let name = f.text(at + 12, name_length);
            match (name.as_str(), f.be32(value)) {
                ("name", TEXT) => pool.name = Some(f.text(value + 12, (f.be32(value + 8) as usize).min(256))),
                ("pool_guid", NUMBER) => pool.guid = Some(f.be64(value + 8)),
                ("version" | "state" | "txg" | "guid", NUMBER) => known += 1,
                _ => {}
            }
            at += size;
        }
        (known > 0 || pool.guid.is_some()).then_some(pool)
    }
}

/// Descriptors of 2 KiB, or as long as a block of 4 KiB.
fn udf(place: &Place<'_>) -> io::Result<Option<Signature>> {
    for step in [2048, 4096] {
        for offset in (0..UDF_DESCRIPTORS).map(|n| UDF + n * step + 1) {
            match place.bytes(offset, 5)?.as_deref() {
                Some(b"NSR02" | b"NSR03") => return Ok(Some(bare("udf", offset))),
                Some(b"BEA01" | b"BOOT2" | b"CD001" | b"CDW02" | b"TEA01") => {}
                _ => break,
            }
        }
    }
    Ok(None)
}

/// The descriptor of a disk of version 1 says in words what made it. Version 2 has a partition table with a type of its
/// own.
fn gpfs(place: &Place<'_>) -> io::Result<Option<Signature>> {
    let length = place.length().min(GPFS as u64) as usize;
    let bytes = place.bytes(0, length)?.unwrap_or_default();
    let found = memchr::memmem::find(&bytes, b"NSD descriptor for ");
    let found = found.filter(|at| memchr::memmem::find(&bytes[*at..], b"created by GPFS").is_some());
    Ok(found.map(|at| bare("gpfs", at as u64)))
}

#[cfg(test)]
mod tests {
    use super::super::{areas, find};
    use super::*;
    use proptest::prelude::*;

    /// A label's list as XDR, with these pairs.
    fn nvlist(name: &str, guid: u64) -> Vec<u8> {
        let mut out = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let mut pair = |key: &str, kind: u32, value: &[u8]| {
            let mut body = (key.len() as u32).to_be_bytes().to_vec();
            body.extend(key.as_bytes());
            body.resize(4 + key.len().next_multiple_of(4), 0);
            body.extend(kind.to_be_bytes());
            body.extend(1u32.to_be_bytes());
            body.extend(value);
            let size = 8 + body.len() as u32;
            out.extend(size.to_be_bytes());
            out.extend(size.to_be_bytes());
            out.extend(body);
        };
        pair("version", 8, &5000u64.to_be_bytes());
        let mut text = (name.len() as u32).to_be_bytes().to_vec();
        text.extend(name.as_bytes());
        text.resize(4 + name.len().next_multiple_of(4), 0);
        pair("name", 9, &text);
        pair("pool_guid", 8, &guid.to_be_bytes());
        out.extend([0; 8]);
        out
    }

    fn put(disk: &mut [u8], at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).unwrap();
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[test]
    fn every_label_of_zfs_is_found_alone() {
        let length = (65 << 20) + 12345u64;
        for label in labels(length) {
            let mut disk = vec![0u8; usize::try_from(length).unwrap()];
            put(&mut disk, label + NVLIST, &nvlist("tank", 12_345_678_901_234_567_890));
            let found = find(&disk, 0, length).unwrap();
            assert_eq!((found.len(), found[0].to_string()), (1, "zfs_member \"tank\"".to_owned()));
            assert_eq!(found[0].uuid.as_deref(), Some("12345678901234567890"));
            put(&mut disk, label + NVLIST, &[0; 512]);
            assert!(find(&disk, 0, length).unwrap().is_empty());
            // One uberblock of either byte order, in the last slot.
            for bytes in [UBERBLOCK, 0x00ba_b10c_u64.to_be_bytes()] {
                put(&mut disk, label + ZFS_LABEL - KIB, &bytes);
                let found = find(&disk, 0, length).unwrap();
                assert_eq!((found[0].kind, found[0].offset), ("zfs_member", label + ZFS_LABEL - KIB));
            }
            assert!(areas(length).contains(&(label, ZFS_LABEL)));
        }
    }

    #[test]
    fn udf_is_found_with_both_descriptors() {
        for step in [2048u64, 4096] {
            let mut disk = vec![0u8; 1 << 20];
            for (n, id) in [b"BEA01", b"NSR02", b"TEA01"].into_iter().enumerate() {
                put(&mut disk, UDF + n as u64 * step + 1, id);
            }
            let found = find(&disk, 0, 1 << 20).unwrap();
            assert_eq!((found.len(), found[0].kind, found[0].offset), (1, "udf", UDF + step + 1));
        }
    }

    #[test]
    fn gpfs_is_found_and_shared() {
        let mut disk = vec![0u8; 1 << 20];
        put(&mut disk, 1088, b"NSD descriptor for /dev/dm-4 created by GPFS Thu Oct  1 10:00:00 2009");
        let found = find(&disk, 0, 1 << 20).unwrap();
        assert!(found[0].kind == "gpfs" && found[0].is_shared());
    }

    proptest! {
        /// Any list is read.
        #[test]
        fn any_list_is_read(mut bytes in proptest::collection::vec(any::<u8>(), 4..400), size in 0u32..64) {
            bytes[..4].copy_from_slice(&[1, 1, 0, 0]);
            if let Some(first) = bytes.get_mut(12..16) {
                first.copy_from_slice(&size.to_be_bytes());
            }
            let _ = Nvlist::read(&bytes);
        }
    }
}
