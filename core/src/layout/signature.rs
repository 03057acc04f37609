//! What lies on a place of a disk: filesystems, arrays, volumes, told by their magic numbers.

use super::device::ReadAt;
use std::fmt;
use std::io;
use uuid::Uuid;

/// Something that was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its type, as `blkid` names it.
    pub kind: &'static str,
    /// Its label.
    pub label: Option<String>,
    /// Its UUID as text; of vfat the volume id.
    pub uuid: Option<String>,
    /// Where in its place the magic number stands.
    pub offset: u64,
}

impl Signature {
    /// Whether several machines may be using it at once; it is never overwritten.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.kind, "gfs2" | "ocfs2" | "VMFS_volume_member")
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

/// Type, place of the magic number from the begin, the number.
const MAGIC: [(&str, u64, &[u8]); 25] = [
    ("ext4", 0x438, b"\x53\xef"),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 0x1_0040, b"_BHRfS_M"),
    ("swap", 4096 - 10, b"SWAPSPACE2"),
    ("vfat", 0x52, b"FAT32   "),
    ("vfat", 0x36, b"FAT16   "),
    ("vfat", 0x36, b"FAT12   "),
    ("exfat", 3, b"EXFAT   "),
    ("ntfs", 3, b"NTFS    "),
    ("crypto_LUKS", 0, b"LUKS\xba\xbe"),
    ("LVM2_member", 0, b"LABELONE"),
    ("LVM2_member", 512, b"LABELONE"),
    ("LVM2_member", 1024, b"LABELONE"),
    ("LVM2_member", 1536, b"LABELONE"),
    ("linux_raid_member", 0, b"\xfc\x4e\x2b\xa9"),
    ("linux_raid_member", 4096, b"\xfc\x4e\x2b\xa9"),
    ("bcache", 4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"),
    ("iso9660", 0x8001, b"CD001"),
    ("squashfs", 0, b"hsqs"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("zfs_member", 128 << 10, b"\x0c\xb1\xba\x00\x00\x00\x00\x00"),
    ("gfs2", 0x1_0000, b"\x01\x16\x19\x70\x00\x00\x00\x01"),
    ("ocfs2", 2 * 4096, b"OCFSV2"),
    ("VMFS_volume_member", 0x10_0000, b"\x0d\xd0\x01\xc0"),
];

/// Everything recognised in `length` bytes from `start` on.
///
/// # Errors
/// Of the device.
pub fn find(device: &dyn ReadAt, start: u64, length: u64) -> io::Result<Vec<Signature>> {
    let place = Place { device, start, length };
    let mut found = Vec::new();
    for (kind, offset, magic) in MAGIC {
        if place.bytes(offset, magic.len())?.as_deref() == Some(magic) {
            found.push(place.signature(kind, offset)?);
        }
    }
    // md 1.0 and 0.90 stand near the end.
    let ends = [(length / 512).checked_sub(16).map(|s| (s & !7) * 512), (length & !0xffff).checked_sub(0x1_0000)];
    for offset in ends.into_iter().flatten().filter(|o| *o > 4096) {
        if place.bytes(offset, 4)?.as_deref() == Some(b"\xfc\x4e\x2b\xa9") {
            found.push(place.signature("linux_raid_member", offset)?);
        }
    }
    Ok(found)
}

struct Place<'a> {
    device: &'a dyn ReadAt,
    start: u64,
    length: u64,
}

impl Place<'_> {
    /// Some bytes; `None` beyond the end of the place.
    fn bytes(&self, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Ok(None);
        }
        // Devices are read in whole sectors anyway; the kernel's cache makes the small reads cheap.
        let mut buffer = vec![0; length];
        self.device.read_at(self.start + offset, &mut buffer)?;
        Ok(Some(buffer))
    }

    fn signature(&self, kind: &'static str, offset: u64) -> io::Result<Signature> {
        let (uuid, label) = match kind {
            "ext4" => (self.uuid(0x468)?, self.text(0x478, 16)?),
            "xfs" => (self.uuid(32)?, self.text(108, 12)?),
            "btrfs" => (self.uuid(0x1_0020)?, self.text(0x1_012b, 256)?),
            "swap" => (self.uuid(0x40c)?, self.text(0x41c, 16)?),
            "vfat" if offset == 0x52 => (self.volume_id(0x43)?, self.text(0x47, 11)?),
            "vfat" => (self.volume_id(0x27)?, self.text(0x2b, 11)?),
            "linux_raid_member" => (self.uuid(offset + 16)?, self.text(offset + 32, 32)?),
            _ => (None, None),
        };
        let label = label.filter(|l| l != "NO NAME");
        Ok(Signature { kind, label, uuid, offset })
    }

    fn uuid(&self, offset: u64) -> io::Result<Option<String>> {
        let raw = self.bytes(offset, 16)?.and_then(|b| Uuid::from_slice(&b).ok());
        Ok(raw.filter(|u| !u.is_nil()).map(|u| u.to_string()))
    }

    fn volume_id(&self, offset: u64) -> io::Result<Option<String>> {
        let raw = self.bytes(offset, 4)?;
        Ok(raw.map(|b| format!("{:02X}{:02X}-{:02X}{:02X}", b[3], b[2], b[1], b[0])))
    }

    fn text(&self, offset: u64, length: usize) -> io::Result<Option<String>> {
        let Some(raw) = self.bytes(offset, length)? else { return Ok(None) };
        let end = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
        let text = String::from_utf8_lossy(&raw[..end]).trim().replace(char::is_control, "?");
        Ok((!text.is_empty()).then_some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_magic_is_found_and_only_there() {
        for (kind, offset, magic) in MAGIC {
            let mut disk = vec![0u8; 4 << 20];
            let at = (1 << 20) + usize::try_from(offset).unwrap();
            disk[at..at + magic.len()].copy_from_slice(magic);
            let found = find(&disk, 1 << 20, 2 << 20).unwrap();
            assert!(found.iter().any(|s| s.kind == kind && s.offset == offset), "{kind}: {found:?}");
            assert!(find(&disk, 3 << 20, 1 << 20).unwrap().is_empty());
        }
        assert!(find(&vec![0u8; 10], 0, 10).unwrap().is_empty());
    }

    #[test]
    fn arrays_at_the_end_are_found() {
        let mut disk = vec![0u8; 1 << 20];
        let at = ((1 << 20) / 512 - 16) / 8 * 8 * 512;
        disk[at..at + 4].copy_from_slice(b"\xfc\x4e\x2b\xa9");
        disk[at + 32..at + 37].copy_from_slice(b"any:x");
        let found = find(&disk, 0, 1 << 20).unwrap();
        assert_eq!((found.len(), found[0].to_string()), (1, "linux_raid_member \"any:x\"".to_owned()));
    }
}
