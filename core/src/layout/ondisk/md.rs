//! Superblocks of Linux software RAID: versions 1.0, 1.1, 1.2 and 0.90.
//!
//! ```text
//! 0.90  | data ........................ | superblock |   64 KiB before the end, which is rounded to 64 KiB
//! 1.0   | data ............ | bitmap | bad blocks | superblock |     8 to 12 KiB before the end
//! 1.1   | superblock | bitmap | bad blocks | .. | data ........ |
//! 1.2   | 4 KiB | superblock | bitmap | bad blocks | .. | data  |
//! ```
//!
//! Version 1 is little endian everywhere; of 0.90, which is in the byte order of its machine, the little one is read.
//! Numbers on disk count 512-byte sectors; here they are bytes. Sources: `include/uapi/linux/raid/md_p.h` and
//! `drivers/md/md.c` of Linux, `super0.c` and `super1.c` of mdadm.

mod old;
pub mod write;

use super::Fields;
use crate::layout::place::Place;
use std::fmt;
use std::io;
use uuid::Uuid;

pub(crate) const MAGIC: u32 = 0xa92b_4efc;
pub(crate) const BITMAP_MAGIC: u32 = 0x6d74_6962;
const HEADER: usize = 256;
/// A superblock of version 1 has no more bytes than this, its list of roles included.
const SUPERBLOCK_LIMIT: usize = 4096;
const FEATURE_BITMAP: u32 = 1;
const FEATURE_RECOVERY: u32 = 2;
const FEATURE_RESHAPE: u32 = 4;

/// The version of a superblock, which also says where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The old one, near the end.
    V0_90,
    /// Near the end.
    V1_0,
    /// At the begin.
    V1_1,
    /// 4 KiB after the begin: the default of mdadm.
    V1_2,
}

impl Version {
    /// Every version, in the order in which mdadm prefers them.
    pub const ALL: [Self; 4] = [Self::V1_2, Self::V1_1, Self::V1_0, Self::V0_90];

    /// Where the superblock stands in a place of this length; `None` when the place is too short.
    #[must_use]
    pub fn offset(self, length: u64) -> Option<u64> {
        match self {
            Self::V0_90 => (length & !0xffff).checked_sub(0x1_0000),
            Self::V1_0 => length.checked_sub(0x2000).map(|o| o & !0xfff),
            Self::V1_1 => Some(0),
            Self::V1_2 => Some(0x1000),
        }
    }
}

/// The name that `mdadm --metadata` takes.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V0_90 => "0.90",
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        })
    }
}

/// How an array spreads its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// One member after the other.
    Linear,
    /// 0, 1, 4, 5, 6 or 10.
    Raid(u8),
    /// Something else, by its number.
    Other(i32),
}

impl Level {
    /// The level of this number on disk.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        match number {
            -1 => Self::Linear,
            0 | 1 | 4 | 5 | 6 | 10 => Self::Raid(u8::try_from(number).unwrap_or(0)),
            other => Self::Other(other),
        }
    }

    /// Its number on disk.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Linear => -1,
            Self::Raid(n) => n.into(),
            Self::Other(n) => n,
        }
    }

    /// Whether a member may be missing.
    #[must_use]
    pub fn is_redundant(self) -> bool {
        !matches!(self, Self::Linear | Self::Raid(0) | Self::Other(_))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear => f.write_str("linear"),
            Self::Raid(n) => write!(f, "raid{n}"),
            Self::Other(n) => write!(f, "level {n}"),
        }
    }
}

/// What a member is to its array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It holds data, at this place in the array.
    Active(u16),
    /// It waits.
    Spare,
    /// It failed.
    Faulty,
    /// It holds the journal.
    Journal,
}

impl Role {
    pub(crate) fn from_number(number: u16) -> Self {
        match number {
            0xffff => Self::Spare,
            0xfffe => Self::Faulty,
            0xfffd => Self::Journal,
            n => Self::Active(n),
        }
    }

    pub(crate) fn number(self) -> u16 {
        match self {
            Self::Active(n) => n,
            Self::Spare => 0xffff,
            Self::Faulty => 0xfffe,
            Self::Journal => 0xfffd,
        }
    }
}

/// The write-intent bitmap of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Where it begins in the place.
    pub offset: u64,
    /// Its format; 4 is the usual one, 5 that of clusters.
    pub version: u32,
    /// How much one bit stands for.
    pub chunk: u64,
    /// How much of the array it covers.
    pub covers: u64,
    /// The events of the array when it was last written.
    pub events: u64,
}

/// What a member says about itself and its array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The format.
    pub version: Version,
    /// Where in the place it was found.
    pub offset: u64,
    /// The identity of the array.
    pub uuid: Uuid,
    /// The name of the array, often `HOST:NAME`; version 0.90 has none.
    pub name: String,
    /// How it spreads data.
    pub level: Level,
    /// How exactly: of level 5 and 6 the rotation, of level 10 the copies (0x102 is two near ones).
    pub layout: u32,
    /// The piece that goes to one member; 0 where there is none.
    pub chunk: u64,
    /// How many members hold data.
    pub raid_disks: u32,
    /// How much of each member is used; 0 where it is all of it (levels 0 and linear).
    pub member_size: u64,
    /// Where the data begins in the place.
    pub data_offset: u64,
    /// How much data the place has room for.
    pub data_size: u64,
    /// The number of this member, which is not its role.
    pub number: u32,
    /// The identity of this member; version 0.90 has none.
    pub member_uuid: Option<Uuid>,
    /// What it is to the array.
    pub role: Role,
    /// What the members with the numbers 0, 1, .. are; many more than there are members may be listed as spares or
    /// faulty.
    pub roles: Vec<Role>,
    /// Counts changes of the array: the member with the most knows best.
    pub events: u64,
    /// Seconds since 1970 when it was made.
    pub created: u64,
    /// Seconds since 1970 when the superblock was last written.
    pub updated: u64,
    /// Whether all copies and parities were right when it was last written.
    pub clean: bool,
    /// How far this member was rebuilt, when it is being rebuilt.
    pub recovery: Option<u64>,
    /// Whether it is changing its shape.
    pub reshaping: bool,
    /// The write-intent bitmap, when there is one inside.
    pub bitmap: Option<Bitmap>,
}

impl Superblock {
    /// The UUID as mdadm writes it: four groups of eight digits.
    #[must_use]
    pub fn mdadm_uuid(&self) -> String {
        mdadm_uuid(&self.uuid)
    }

    /// The name without the host in front of it.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.name.split_once(':').map_or(&self.name, |(_, name)| name)
    }

    /// How many members that hold data the list of roles knows: fewer than `raid_disks` is a degraded array.
    #[must_use]
    pub fn present(&self) -> usize {
        let mut places: Vec<u16> =
            self.roles.iter().filter_map(|r| if let Role::Active(n) = r { Some(*n) } else { None }).collect();
        places.sort_unstable();
        places.dedup();
        places.len()
    }
}

/// A UUID as mdadm writes it: four groups of eight digits.
#[must_use]
pub fn mdadm_uuid(uuid: &Uuid) -> String {
    let digits = uuid.simple().to_string();
    [&digits[..8], &digits[8..16], &digits[16..24], &digits[24..]].join(":")
}

/// Every superblock in the place whose checksum is right, the youngest array first, as mdadm chooses.
///
/// # Errors
/// Of the device.
pub fn read_all(place: &Place<'_>) -> io::Result<Vec<Superblock>> {
    let mut found = Vec::new();
    for version in Version::ALL {
        let Some(offset) = version.offset(place.length()) else { continue };
        found.extend(match version {
            Version::V0_90 => old::read(place, offset)?,
            _ => read_at(place, version, offset)?,
        });
    }
    found.sort_by_key(|s| std::cmp::Reverse(s.created));
    Ok(found)
}

/// The superblock that counts.
///
/// # Errors
/// Of the device.
pub fn read(place: &Place<'_>) -> io::Result<Option<Superblock>> {
    Ok(read_all(place)?.into_iter().next())
}

/// Reads version 1 at its place.
fn read_at(place: &Place<'_>, version: Version, offset: u64) -> io::Result<Option<Superblock>> {
    let Some(head) = place.bytes(offset, HEADER)? else { return Ok(None) };
    let f = Fields(&head);
    let roles = f.u32(220) as usize;
    let length = roles.saturating_mul(2).saturating_add(HEADER);
    if f.u32(0) != MAGIC || f.u32(4) != 1 || length > SUPERBLOCK_LIMIT || sectors(f.u64(144)) != Some(offset) {
        return Ok(None);
    }
    // A place that ends within the list of roles has no superblock there.
    let Some(bytes) = place.bytes(offset, length)? else { return Ok(None) };
    let f = Fields(&bytes);
    if checksum(&bytes) != f.u32(216) {
        return Ok(None);
    }
    let features = f.u32(8);
    let level = Level::from_number(i32::from_le_bytes(f.array(72)));
    let (Some(member_size), Some(data_offset), Some(data_size)) =
        (sectors(f.u64(80)), sectors(f.u64(128)), sectors(f.u64(136)))
    else {
        return Ok(None);
    };
    let roles: Vec<Role> = (0..roles).map(|i| Role::from_number(f.u16(HEADER + 2 * i))).collect();
    let number = f.u32(160);
    let bitmap = match features & FEATURE_BITMAP {
        0 => None,
        _ => bitmap(place, offset.checked_add_signed(i64::from(i32::from_le_bytes(f.array(96))) * 512))?,
    };
    Ok(Some(Superblock {
        version,
        offset,
        uuid: Uuid::from_bytes(f.array(16)),
        name: f.text(32, 32),
        level,
        layout: f.u32(76),
        chunk: u64::from(f.u32(88)) * 512,
        raid_disks: f.u32(92),
        member_size,
        data_offset,
        data_size,
        number,
        member_uuid: Some(Uuid::from_bytes(f.array(168))),
        role: roles.get(number as usize).copied().unwrap_or(Role::Spare),
        roles,
        events: f.u64(200),
        // 40 bits of seconds; the rest counts microseconds.
        created: f.u64(64) & 0xff_ffff_ffff,
        updated: f.u64(192) & 0xff_ffff_ffff,
        clean: f.u64(208) == u64::MAX || !level.is_redundant(),
        recovery: if features & FEATURE_RECOVERY == 0 { None } else { sectors(f.u64(152)) },
        reshaping: features & FEATURE_RESHAPE != 0,
        bitmap,
    }))
}

/// Reads the header of a bitmap.
fn bitmap(place: &Place<'_>, offset: Option<u64>) -> io::Result<Option<Bitmap>> {
    let Some(offset) = offset else { return Ok(None) };
    let Some(bytes) = place.bytes(offset, 256)? else { return Ok(None) };
    let f = Fields(&bytes);
    let (Some(covers), true) = (sectors(f.u64(40)), f.u32(0) == BITMAP_MAGIC) else { return Ok(None) };
    Ok(Some(Bitmap { offset, version: f.u32(4), chunk: f.u32(52).into(), covers, events: f.u64(24) }))
}

/// Sectors as bytes; `None` when there cannot be so many.
fn sectors(count: u64) -> Option<u64> {
    count.checked_mul(512)
}

/// The sum of all words but its own, folded once.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(4).enumerate().filter(|(i, _)| *i != 216 / 4);
    let sum: u64 = words.map(|(_, w)| u64::from(Fields(&[w, &[0; 4]].concat()).u32(0))).sum();
    fold(sum)
}

/// The two halves added; a carry is lost, as in the kernel.
fn fold(sum: u64) -> u32 {
    let halves = (sum & 0xffff_ffff) + (sum >> 32);
    u32::try_from(halves & 0xffff_ffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_are_those_of_the_kernel() {
        assert_eq!(Version::V0_90.offset(1 << 20), Some((1 << 20) - 0x1_0000));
        assert_eq!(Version::V0_90.offset((1 << 20) + 0xffff), Some((1 << 20) - 0x1_0000));
        assert_eq!(Version::V1_0.offset((1 << 20) + 512), Some((1 << 20) - 0x2000));
        assert_eq!((Version::V0_90.offset(0xffff), Version::V1_0.offset(0x1fff)), (None, None));
    }

    #[test]
    fn levels_have_names() {
        let name = |n: i32| Level::from_number(n).to_string();
        assert_eq!((name(-1), name(10), name(-4)), ("linear".into(), "raid10".into(), "level -4".into()));
        assert!([-1, 0, 1, 6, 77].iter().all(|n| Level::from_number(*n).number() == *n));
    }

    proptest! {
        /// Whatever stands in a superblock whose checksum is right: the reader answers, and everything that it says
        /// can be counted in bytes.
        #[test]
        fn any_superblock_is_read(
            body in proptest::collection::vec(any::<u8>(), HEADER + 64), places in any::<[bool; 3]>(), roles in 0u32..400,
        ) {
            let mut disk = vec![0u8; 256 << 10];
            let offsets = [Version::V1_1, Version::V1_2, Version::V1_0].map(|v| v.offset(256 << 10).unwrap());
            for (at, _) in offsets.iter().zip(places).filter(|(_, yes)| *yes) {
                let mut sb = body.clone();
                sb[..8].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0]);
                sb[144..152].copy_from_slice(&(at / 512).to_le_bytes());
                sb[220..224].copy_from_slice(&roles.to_le_bytes());
                let length = HEADER + 2 * roles as usize;
                let at = usize::try_from(*at).unwrap();
                let room = sb.len().min(length);
                disk[at..at + length].fill(0);
                disk[at..at + room].copy_from_slice(&sb[..room]);
                let sum = checksum(&disk[at..at + length]);
                disk[at + 216..at + 220].copy_from_slice(&sum.to_le_bytes());
            }
            for s in read_all(&Place::whole(&disk)).unwrap() {
                prop_assert!(s.present() <= s.roles.len() && s.roles.len() == roles as usize);
                prop_assert!(s.short_name().len() <= s.name.len());
            }
        }
    }
}
