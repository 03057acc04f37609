//! Whether all of a filesystem lies where its superblock does: the other devices of a btrfs, a log or journal elsewhere.
//!
//! ```text
//! btrfs  num_devices                            how many there are, this one included
//! xfs    sb_logstart 0, sb_rblocks not 0        the log, and the realtime section, lie on other devices
//! ext4   has_journal, and no s_journal_inum     the journal lies on another device
//! ```
//!
//! Sources: `uapi/linux/btrfs_tree.h`, `fs/xfs/libxfs/xfs_format.h` and `fs/ext4/ext4.h` of Linux.

use super::Fields;
use crate::layout::place::Place;
use std::io;

/// Where the magic number stands in the superblock, and how much of that is read.
const BTRFS: (u64, usize) = (0x40, 0x90);
const XFS: (u64, usize) = (0, 56);
const EXT: (u64, usize) = (0x38, 0xe4);
const HAS_JOURNAL: u32 = 4;

/// Over what a filesystem is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// How many devices it is made of, as far as it says.
    pub devices: u64,
    /// What of it lies on a device that it does not name.
    pub outside: Option<&'static str>,
}

/// One device that has it all.
impl Default for Spread {
    fn default() -> Self {
        Self { devices: 1, outside: None }
    }
}

/// What the superblock says whose magic number stands at `magic`; `kind` as `blkid` names it.
///
/// # Errors
/// Of the device.
pub fn read(place: &Place<'_>, kind: &str, magic: u64) -> io::Result<Spread> {
    let (back, length) = match kind {
        "btrfs" => BTRFS,
        "xfs" => XFS,
        "ext3" | "ext4" => EXT,
        _ => return Ok(Spread::default()),
    };
    let Some(start) = magic.checked_sub(back) else { return Ok(Spread::default()) };
    let Some(bytes) = place.bytes(start, length)? else { return Ok(Spread::default()) };
    let f = Fields(&bytes);
    let one = Spread::default();
    Ok(match kind {
        "btrfs" => Spread { devices: f.u64(0x88).max(1), ..one },
        "xfs" if f.be64(48) == 0 => Spread { outside: Some("its log"), ..one },
        "xfs" if f.be64(16) != 0 => Spread { outside: Some("its realtime section"), ..one },
        "ext3" | "ext4" if f.u32(0x5c) & HAS_JOURNAL != 0 && f.u32(0xe0) == 0 => {
            Spread { outside: Some("its journal"), ..one }
        }
        _ => one,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(kind: &str, magic: u64, fields: &[(usize, &[u8])]) -> Spread {
        let mut disk = vec![0u8; 128 << 10];
        for (at, bytes) in fields {
            disk[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        read(&Place::whole(&disk), kind, magic).unwrap()
    }

    #[test]
    fn what_lies_elsewhere_is_told() {
        let one = Spread::default();
        let btrfs = |n: u64| spread("btrfs", 0x1_0040, &[(0x1_0088, &n.to_le_bytes())]).devices;
        assert_eq!((btrfs(1), btrfs(2), btrfs(0)), (1, 2, 1));
        let xfs = |log: u64, realtime: u64| {
            spread("xfs", 0, &[(48, &log.to_be_bytes()), (16, &realtime.to_be_bytes())]).outside
        };
        assert_eq!((xfs(0x40_0006, 0), xfs(0, 0)), (None, Some("its log")));
        assert_eq!(xfs(0x40_0006, 1), Some("its realtime section"));
        let ext = |kind: &str, features: u32, inode: u32| {
            spread(kind, 0x438, &[(0x45c, &features.to_le_bytes()), (0x4e0, &inode.to_le_bytes())]).outside
        };
        // What mkfs.ext4 sets, alone, with -J device, and with -O ^has_journal.
        assert_eq!(
            (ext("ext4", 0x3c, 8), ext("ext4", 0x3c, 0), ext("ext4", 0x38, 0)),
            (None, Some("its journal"), None)
        );
        assert_eq!(ext("ext3", 0x3c, 0), Some("its journal"));
        // What is cut off, or begins before the place, says nothing.
        let cut = vec![0u8; 0x1_0080];
        assert_eq!(read(&Place::whole(&cut), "btrfs", 0x1_0040).unwrap(), one);
        assert_eq!((spread("btrfs", 0x3f, &[]), spread("vfat", 0x52, &[])), (one, one));
    }
}
