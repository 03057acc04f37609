//! What arrays, volume groups and encrypted volumes write about themselves on their disks.
//!
//! ```text
//! Place ─ md::read ───> Superblock                   Array ─ write ─> bytes and where they go
//!       ─ lvm::read ──> PhysicalVolume, VolumeGroup  VolumeGroup ─ write ─> bytes and where they go
//!       ─ luks::read ─> Header
//!       ─ btrfs::subvolumes ──> their paths
//!       ─ spread::read ──> whether a filesystem has more devices than this
//!       ─ mbr::partitions ──> where partitions were
//!       ─ nested::places ──> where something may begin inside of all these
//! ```
//!
//! Readers are for hostile bytes: every number is checked before it is used, and what is asked of the memory does not
//! depend on what stands on the disk beyond fixed limits. Writers open nothing: they give bytes at offsets.

pub mod btrfs;
pub mod luks;
pub mod lvm;
pub mod mbr;
pub mod md;
pub mod nested;
pub mod spread;

/// Bytes, and where in their place they belong.
pub type Piece = (u64, Vec<u8>);

/// Numbers out of bytes; what lies beyond their end reads as zero.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        if let Some(from) = at.checked_add(N).and_then(|end| self.0.get(at..end)) {
            out.copy_from_slice(from);
        }
        out
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    pub(crate) fn be16(&self, at: usize) -> u16 {
        u16::from_be_bytes(self.array(at))
    }

    pub(crate) fn be32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.array(at))
    }

    pub(crate) fn be64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.array(at))
    }

    /// Text that ends with a zero byte or with its field; what cannot be shown becomes `?`.
    pub(crate) fn text(&self, at: usize, length: usize) -> String {
        let raw = at.checked_add(length).and_then(|end| self.0.get(at..end)).unwrap_or_default();
        let end = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
        String::from_utf8_lossy(&raw[..end]).trim().replace(|c: char| c.is_control() || c == '\u{fffd}', "?")
    }
}

/// CRC-32 (polynomial 0xedb88320) as several formats use it: from `start` on, and not complemented at the end.
pub(crate) fn crc32_raw(start: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!start);
    hasher.update(bytes);
    !hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_beyond_the_end_are_zero() {
        let f = Fields(&[1, 2, 3, 4, b'a', 0, b'b', b'\n']);
        assert_eq!((f.u32(0), f.be16(1), f.u32(6), f.u64(usize::MAX)), (0x0403_0201, 0x0203, 0, 0));
        assert_eq!((f.text(4, 4), f.text(6, 2), f.text(7, 9)), ("a".to_owned(), "b".to_owned(), String::new()));
    }

    #[test]
    fn a_raw_crc_can_go_on() {
        let bit_by_bit = |start: u32, bytes: &[u8]| {
            bytes.iter().fold(start, |crc, b| {
                (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
            })
        };
        for start in [0, 0xf597_a6cf, u32::MAX] {
            assert_eq!(crc32_raw(start, b"123456789"), bit_by_bit(start, b"123456789"));
            assert_eq!(crc32_raw(crc32_raw(start, b"1234"), b"56789"), crc32_raw(start, b"123456789"));
        }
        assert_eq!(!crc32_raw(!0, b"123456789"), 0xcbf4_3926);
    }
}
