//! What lies on a place of a disk: filesystems, arrays, volumes, told by their magic numbers.
//!
//! ```text
//! find ── forms: one magic number at one offset, from the begin or the end
//!      └─ what has to be searched: ZFS, UDF, GPFS                         ──> Signature, and where its copies are
//! areas ─ every place in which find can find something: what is erased
//! ```
//!
//! More is found than `blkid` reports: it believes a superblock only when its sum is right, and looks for a copy only
//! when the first is gone. What is erased must be found in any state.

mod forms;
mod names;
mod search;

use super::device::ReadAt;
use super::place::Place;
use forms::FORMS;
use std::fmt;
use std::io;

/// Something that was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its type, as `blkid` names it.
    pub kind: &'static str,
    /// Its version, where there are several: `1.2` of arrays, `FAT32`, `2` of LUKS.
    pub version: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// Its UUID as text; of vfat the volume id.
    pub uuid: Option<String>,
    /// Of a physical volume of LVM, whose label is the name of its group: the UUID of that.
    pub group: Option<String>,
    /// Where in its place the magic number stands.
    pub offset: u64,
    /// Where else it stands: copies that are used when the first is gone.
    pub copies: Vec<u64>,
}

impl Signature {
    /// Whether several machines may be using it at once; it is never overwritten.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.kind, "gfs" | "gfs2" | "ocfs" | "ocfs2" | "VMFS" | "VMFS_volume_member" | "gpfs")
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        match &self.label {
            Some(label) => write!(f, " \"{label}\""),
            None => Ok(()),
        }
    }
}

/// A type by its name; of one that this version does not know, that it does not.
pub(super) fn kind(name: &str) -> &'static str {
    let mut all = FORMS.iter().map(|f| f.kind).chain(names::EXTENDED).chain(search::KINDS);
    all.find(|k| *k == name).unwrap_or("something unknown")
}

/// Everything recognised in `length` bytes from `start` on.
///
/// # Errors
/// Of the device.
pub fn find(device: &dyn ReadAt, start: u64, length: u64) -> io::Result<Vec<Signature>> {
    let place = Place::new(device, start, length);
    let mut found: Vec<Signature> = Vec::new();
    for form in FORMS.iter() {
        let Some(offset) = form.at.offset(place.length()) else { continue };
        // The places of some versions may be one place in this length.
        let seen = |s: &Signature| s.kind == form.kind && (s.offset == offset || s.copies.contains(&offset));
        if !found.iter().any(seen) && form.matches(&place, offset)? {
            add(&mut found, names::signature(&place, form, offset)?);
        }
    }
    for signature in search::all(&place)? {
        add(&mut found, signature);
    }
    Ok(found)
}

/// A copy goes to what it is a copy of. Superblocks of arrays are none of each other: each version counts.
fn add(found: &mut Vec<Signature>, new: Signature) {
    match found.iter_mut().find(|s| s.kind == new.kind && new.kind != "linux_raid_member") {
        Some(first) => {
            first.copies.push(new.offset);
            first.copies.extend(new.copies);
        }
        None => found.push(new),
    }
}

/// Every area of a place of this length in which [`find`] can find something: offset and length, in blocks of 4 KiB.
#[must_use]
pub fn areas(length: u64) -> Vec<(u64, u64)> {
    const BLOCK: u64 = 4096;
    let forms = FORMS.iter().filter_map(|f| Some((f.at.offset(length)?, f.magic.len() as u64)));
    let all = forms.chain(search::areas(length)).filter(|(offset, bytes)| offset.saturating_add(*bytes) <= length);
    let mut areas: Vec<(u64, u64)> = all
        .map(|(offset, bytes)| {
            let from = offset / BLOCK * BLOCK;
            (from, (offset + bytes).next_multiple_of(BLOCK).min(length) - from)
        })
        .collect();
    areas.sort_unstable();
    areas.dedup();
    areas
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: u64 = 8 << 20;

    fn put(disk: &mut [u8], at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).unwrap();
        disk[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[test]
    fn every_magic_is_found_and_only_there() {
        for form in FORMS.iter() {
            let Some(offset) = form.at.offset(SIZE).filter(|o| o + form.magic.len() as u64 <= SIZE) else {
                continue;
            };
            let mut disk = vec![0u8; 18 << 20];
            put(&mut disk, (1 << 20) + offset, form.magic);
            for (distance, bytes) in form.needs() {
                put(&mut disk, (1 << 20) + offset.checked_add_signed(distance).unwrap(), &bytes);
            }
            let found = find(&disk, 1 << 20, SIZE).unwrap();
            assert!(found.iter().any(|s| s.kind == form.kind && s.offset == offset), "{}: {found:?}", form.kind);
            assert!(find(&disk, 9 << 20, 9 << 20).unwrap().is_empty(), "{}", form.kind);
            let area = areas(SIZE).into_iter().any(|(from, bytes)| from <= offset && offset < from + bytes);
            assert!(area, "{}", form.kind);
        }
        assert!(find(&vec![0u8; 10], 0, 10).unwrap().is_empty());
    }

    #[test]
    fn arrays_at_the_end_are_found() {
        let mut disk = vec![0u8; 1 << 20];
        let at = ((1 << 20) / 512 - 16) / 8 * 8 * 512;
        put(&mut disk, at, b"\xfc\x4e\x2b\xa9\x01");
        put(&mut disk, at + 32, b"any:x");
        let found = find(&disk, 0, 1 << 20).unwrap();
        assert_eq!((found.len(), found[0].to_string()), (1, "linux_raid_member \"any:x\"".to_owned()));
        assert_eq!(found[0].version.as_deref(), Some("1.0"));
    }

    #[test]
    fn copies_belong_to_the_first() {
        let mut disk = vec![0u8; 66 << 20];
        put(&mut disk, 0x1_0040, b"_BHRfS_M");
        put(&mut disk, (64 << 20) + 0x40, b"_BHRfS_M");
        let found = find(&disk, 0, 66 << 20).unwrap();
        assert_eq!((found.len(), found[0].offset, &found[0].copies[..]), (1, 0x1_0040, &[(64 << 20) + 0x40][..]));
        // Without the first the copy is what is found.
        put(&mut disk, 0x1_0040, &[0; 8]);
        let found = find(&disk, 0, 66 << 20).unwrap();
        assert_eq!((found.len(), found[0].offset), (1, (64 << 20) + 0x40));
    }

    #[test]
    fn the_extended_filesystems_are_told_apart() {
        let kind = |compatible: u32, incompatible: u32, read_only: u32| {
            let mut disk = vec![0u8; 64 << 10];
            put(&mut disk, 0x438, b"\x53\xef");
            for (at, value) in [(0x45c, compatible), (0x460, incompatible), (0x464, read_only)] {
                put(&mut disk, at, &value.to_le_bytes());
            }
            let found = find(&disk, 0, 64 << 10).unwrap();
            assert_eq!(found.len(), 1);
            found[0].kind
        };
        // What mkfs.ext2, mkfs.ext3 and mkfs.ext4 set, and mke2fs -O journal_dev.
        assert_eq!(kind(0x38, 0x2, 0x3), "ext2");
        assert_eq!(kind(0x3c, 0x2, 0x3), "ext3");
        assert_eq!(kind(0x3c, 0x2c2, 0x46b), "ext4");
        assert_eq!(kind(0, 0x8, 0), "jbd");
        // ext4 without a journal.
        assert_eq!(kind(0x38, 0x2c2, 0x46b), "ext4");
    }

    proptest! {
        /// Whatever is found lies in an area, whatever the bytes and the length.
        #[test]
        fn what_is_found_is_in_an_area(length in 0u64..200 << 10, which in any::<prop::sample::Index>(), fill in any::<u8>()) {
            let form = &FORMS[which.index(FORMS.len())];
            let mut disk = vec![fill; usize::try_from(length).unwrap()];
            if let Some(offset) = form.at.offset(length).filter(|o| o + form.magic.len() as u64 <= length) {
                put(&mut disk, offset, form.magic);
            }
            let areas = areas(length);
            for s in find(&disk, 0, length).unwrap() {
                for offset in s.copies.iter().chain([&s.offset]) {
                    prop_assert!(areas.iter().any(|(from, bytes)| from <= offset && *offset < from + bytes));
                }
            }
            prop_assert!(areas.iter().all(|(from, bytes)| *bytes > 0 && from + bytes <= length));
        }
    }
}
