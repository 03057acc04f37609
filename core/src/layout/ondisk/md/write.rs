//! Making members of an array without the kernel: superblocks 1.0 and 1.2, with a bitmap of version 4.
//!
//! An array whose members are written like this is assembled by the kernel as if `mdadm --create --assume-clean` had
//! made it; nothing about its data is written. What mdadm leaves free on a member is left free here, so that a plan can
//! say how large the array will be, whoever makes it.

use super::{BITMAP_MAGIC, FEATURE_BITMAP, HEADER, Level, MAGIC, Role, Version, checksum};
use crate::error::{Error, Result};
use crate::layout::ondisk::Piece;
use uuid::Uuid;

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// So many members the list of roles has room for: the superblock is then one sector.
const ROLES: u16 = 128;
/// One bit of a bitmap stands for this much, or more where it would not fit.
const BITMAP_CHUNK: u64 = 64 * MIB;
const BITMAP_HEADER: u64 = 256;
/// The size of the list of bad blocks.
const BAD_BLOCKS: u64 = 4096;
/// How often, in seconds, the kernel cleans the bitmap.
const DAEMON_SLEEP: u32 = 5;
/// A level 0 array whose members differ in size needs this and a layout since Linux 5.4.
const FEATURE_RAID0_LAYOUT: u32 = 4096;
const NAME_LIMIT: usize = 32;

/// An array that is to be.
#[derive(Clone, Debug)]
pub struct Array {
    /// Its identity.
    pub uuid: Uuid,
    /// Its name, usually with a host before a colon.
    pub name: String,
    /// 1.0 or 1.2.
    pub version: Version,
    /// How it spreads data.
    pub level: Level,
    /// How exactly, as [`super::Superblock::layout`].
    pub layout: u32,
    /// The piece that goes to one member; 0 for level 1.
    pub chunk: u64,
    /// How many members hold data.
    pub raid_disks: u16,
    /// How much of each member is used; 0 for levels 0 and linear, which use all.
    pub member_size: u64,
    /// Where the data begins on each member.
    pub data_offset: u64,
    /// Whether it gets a write-intent bitmap.
    pub bitmap: bool,
    /// Whether all copies and parities are right already; else the kernel makes them so.
    pub clean: bool,
    /// Seconds since 1970.
    pub created: u64,
}

/// A member of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its place in the array.
    pub role: u16,
    /// Its identity.
    pub uuid: Uuid,
    /// The size of its device.
    pub size: u64,
}

/// The room that mdadm leaves for a bitmap on a device of this size.
#[must_use]
pub fn bitmap_space(size: u64) -> u64 {
    match size {
        s if s < 64 << 10 => 0,
        s if s - (64 << 10) >= 200 * GIB => 128 << 10,
        s if s - (4 << 10) > 8 * GIB => 64 << 10,
        _ => 4 << 10,
    }
}

/// Where mdadm (3.3 and later) lets the data begin, by default, on a device of this size.
///
/// Behind the superblock and the bitmap comes room for a later change of shape: 128 MiB, or about a thousandth of the
/// device, but not less than two chunks. The sum is rounded up to 1 MiB.
#[must_use]
pub fn data_offset(version: Version, size: u64, chunk: u64) -> u64 {
    if matches!(version, Version::V0_90 | Version::V1_0) {
        return 0;
    }
    let mut headroom = 128 * MIB;
    while headroom << 10 > size && headroom > SECTOR && (chunk == 0 || headroom / 2 >= chunk * 2) {
        headroom /= 2;
    }
    (24 * SECTOR + bitmap_space(size) + headroom).next_multiple_of(MIB)
}

/// How much of a device of this size mdadm uses, by default, with the data at `data_offset`; 0 when it is too small.
///
/// mdadm counts in KiB, of levels with chunks in whole chunks, and of level 1 in 64 KiB, for which it may become level 5.
#[must_use]
pub fn usable(version: Version, level: Level, size: u64, data_offset: u64, chunk: u64) -> u64 {
    let whole = size / SECTOR * SECTOR;
    let room = match version {
        Version::V0_90 => version.offset(whole).unwrap_or(0),
        // Superblock, list of bad blocks, bitmap.
        Version::V1_0 => (whole & !0xfff).saturating_sub((8 << 10) + BAD_BLOCKS + bitmap_space(size)),
        Version::V1_1 | Version::V1_2 => whole.saturating_sub(data_offset),
    };
    let unit = if level == Level::Raid(1) { 64 << 10 } else { chunk.max(1024) };
    room / unit * unit
}

impl Array {
    /// What is written to a member: bytes and where they belong on its device.
    ///
    /// # Errors
    /// `Invalid` when the numbers do not go together; `Unsupported` for other versions.
    pub fn member(&self, member: &Member) -> Result<Vec<Piece>> {
        let place = self.check(member)?;
        let bitmap = if self.bitmap { Some(self.bitmap_place(place.offset)?) } else { None };
        let mut bytes = vec![0; HEADER + 2 * usize::from(ROLES)];
        let mut features = if bitmap.is_some() { FEATURE_BITMAP } else { 0 };
        if self.level == Level::Raid(0) && self.layout != 0 {
            features |= FEATURE_RAID0_LAYOUT;
        }
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC.to_le_bytes());
        put(4, &1u32.to_le_bytes());
        put(8, &features.to_le_bytes());
        put(16, self.uuid.as_bytes());
        put(32, self.name.as_bytes());
        put(64, &self.created.to_le_bytes());
        put(72, &self.level.number().to_le_bytes());
        put(76, &self.layout.to_le_bytes());
        put(80, &(self.member_size / SECTOR).to_le_bytes());
        put(88, &narrow(self.chunk / SECTOR)?.to_le_bytes());
        put(92, &u32::from(self.raid_disks).to_le_bytes());
        if let Some((offset, _)) = bitmap {
            put(96, &relative(offset, place.offset)?.to_le_bytes());
        }
        put(128, &(self.data_offset / SECTOR).to_le_bytes());
        put(136, &(place.data_size / SECTOR).to_le_bytes());
        put(144, &(place.offset / SECTOR).to_le_bytes());
        put(160, &u32::from(member.role).to_le_bytes());
        put(168, member.uuid.as_bytes());
        // A list of bad blocks of 4 KiB, in units of a sector; empty until there are some.
        put(185, &[9]);
        put(186, &8u16.to_le_bytes());
        put(188, &relative(place.bad_blocks, place.offset)?.to_le_bytes());
        put(192, &self.created.to_le_bytes());
        put(200, &1u64.to_le_bytes());
        put(208, &if self.clean || !self.level.is_redundant() { u64::MAX } else { 0 }.to_le_bytes());
        put(220, &u32::from(ROLES).to_le_bytes());
        for n in 0..ROLES {
            let role = if n < self.raid_disks { Role::Active(n) } else { Role::Spare };
            put(HEADER + 2 * usize::from(n), &role.number().to_le_bytes());
        }
        let sum = checksum(&bytes);
        bytes[216..220].copy_from_slice(&sum.to_le_bytes());
        let mut pieces = vec![(place.offset, bytes)];
        if let Some((offset, chunk)) = bitmap {
            pieces.push((offset, self.bitmap_bytes(chunk)?));
        }
        Ok(pieces)
    }

    /// Whether the numbers go together; gives where things are on the member.
    fn check(&self, member: &Member) -> Result<Layout> {
        if !matches!(self.version, Version::V1_0 | Version::V1_2) {
            return Err(Error::unsupported(format!("superblocks of version {} are not written", self.version))
                .hint("use metadata 1.0 or 1.2"));
        }
        let wrong = |text: String| Err(Error::invalid(format!("array {}: {text}", self.name)));
        if self.name.len() > NAME_LIMIT || self.name.contains('\0') {
            return wrong(format!("its name is longer than {NAME_LIMIT} bytes, or has a zero byte"));
        }
        if self.raid_disks == 0 || self.raid_disks > ROLES || member.role >= self.raid_disks {
            return wrong(format!("member {} of {} cannot be", member.role, self.raid_disks));
        }
        let sizes = [self.chunk, self.member_size, self.data_offset];
        if sizes.iter().any(|s| !s.is_multiple_of(SECTOR)) {
            return wrong("its sizes are not whole sectors".to_owned());
        }
        let size = member.size / SECTOR * SECTOR;
        let Some(offset) = self.version.offset(size) else { return wrong("a member is too small".to_owned()) };
        let space = if self.bitmap { self.bitmap_room() } else { bitmap_space(self.member_size) };
        let needed = BAD_BLOCKS + if self.bitmap { space } else { 0 };
        let data_end = self.data_offset.saturating_add(self.member_size);
        let layout = match self.version {
            // The list of bad blocks lies right before the superblock, the bitmap before that.
            Version::V1_0 => {
                let room = (space + BAD_BLOCKS).min(offset.saturating_sub(data_end));
                let data_size = offset.saturating_sub(room).saturating_sub(self.data_offset);
                Layout { offset, bad_blocks: offset.saturating_sub(BAD_BLOCKS), data_size }
            }
            _ => {
                let bad_blocks = (offset + 4096 + space).min(self.data_offset.saturating_sub(BAD_BLOCKS));
                Layout { offset, bad_blocks, data_size: size.saturating_sub(self.data_offset) }
            }
        };
        let fits = match self.version {
            Version::V1_0 => data_end.saturating_add(needed) <= offset,
            _ => offset + 4096 + needed <= self.data_offset && data_end <= size,
        };
        if !fits || layout.data_size == 0 {
            return wrong(format!("its data does not fit on a member of {} bytes", member.size));
        }
        Ok(layout)
    }

    /// Bytes that the bitmap covers: of level 10 the array, of others a member.
    fn covered(&self) -> u64 {
        let copies = u64::from((self.layout & 0xff) * (self.layout >> 8 & 0xff)).max(1);
        match self.level {
            Level::Raid(10) => self.member_size.saturating_mul(self.raid_disks.into()) / copies,
            _ => self.member_size,
        }
    }

    /// What one bit stands for: 64 MiB, or more where the room that mdadm leaves asks for it.
    fn bitmap_chunk(&self) -> u64 {
        let bits = (bitmap_space(self.member_size).max(4096) - BITMAP_HEADER) * 8;
        let mut chunk = BITMAP_CHUNK;
        while self.covered().div_ceil(chunk) > bits {
            chunk *= 2;
        }
        chunk
    }

    /// The bytes of the bitmap, whole blocks.
    fn bitmap_room(&self) -> u64 {
        (BITMAP_HEADER + self.covered().div_ceil(self.bitmap_chunk()).div_ceil(8)).next_multiple_of(4096)
    }

    /// Where the bitmap goes, and its chunk.
    fn bitmap_place(&self, superblock: u64) -> Result<(u64, u64)> {
        if !self.level.is_redundant() {
            return Err(Error::invalid(format!("array {}: a {} array has no bitmap", self.name, self.level)));
        }
        let before = superblock.saturating_sub(BAD_BLOCKS + self.bitmap_room());
        Ok((if self.version == Version::V1_0 { before } else { superblock + 4096 }, self.bitmap_chunk()))
    }

    fn bitmap_bytes(&self, chunk: u64) -> Result<Vec<u8>> {
        let room = usize::try_from(self.bitmap_room()).map_err(|_| Error::limit("a bitmap is too large"))?;
        // What is not known to be right is marked, all of it.
        let mut bytes = vec![if self.clean { 0 } else { 0xff }; room];
        bytes[..256].fill(0);
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &BITMAP_MAGIC.to_le_bytes());
        put(4, &4u32.to_le_bytes());
        put(8, self.uuid.as_bytes());
        put(24, &1u64.to_le_bytes());
        put(32, &1u64.to_le_bytes());
        put(40, &(self.covered() / SECTOR).to_le_bytes());
        put(52, &narrow(chunk)?.to_le_bytes());
        put(56, &DAEMON_SLEEP.to_le_bytes());
        Ok(bytes)
    }
}

/// Where things are on a member.
struct Layout {
    offset: u64,
    bad_blocks: u64,
    data_size: u64,
}

fn narrow(number: u64) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::invalid(format!("{number} is too large for a superblock")))
}

/// The distance to the superblock in sectors, which may be negative.
fn relative(offset: u64, superblock: u64) -> Result<i32> {
    let distance = (i128::from(offset) - i128::from(superblock)) / i128::from(SECTOR);
    i32::try_from(distance).map_err(|_| Error::invalid("a bitmap is too far from its superblock"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::layout::ondisk::md;
    use crate::layout::place::Place;

    /// Data offsets and sizes in sectors that mdadm 4.2 chose for members of these sizes.
    #[test]
    fn geometry_is_that_of_mdadm() {
        let offset = |bytes: u64, chunk: u64| data_offset(Version::V1_2, bytes, chunk) / SECTOR;
        assert_eq!(offset(400 * MIB, 0), 2048);
        assert_eq!(offset(893 * GIB, 0), 264_192);
        assert_eq!(offset(64 * MIB, 512 << 10), 4096);
        assert_eq!(data_offset(Version::V1_0, GIB, 0), 0);
        assert_eq!(usable(Version::V1_0, Level::Raid(1), 100 * MIB, 0, 0), 100 * MIB - (64 << 10));
        assert_eq!(usable(Version::V1_2, Level::Raid(5), 100 * MIB, MIB, 512 << 10), 99 * MIB);
        assert_eq!(
            (usable(Version::V1_2, Level::Linear, 1000, MIB, 0), usable(Version::V1_0, Level::Linear, 1000, 0, 0)),
            (0, 0)
        );
    }

    pub(crate) fn array(version: Version, level: u8, bitmap: bool) -> Array {
        let (layout, chunk) = match level {
            10 => (0x102, 64 << 10),
            0 => (0, 64 << 10),
            _ => (0, 0),
        };
        let data_offset = data_offset(version, 32 * MIB, chunk);
        let size = if level == 0 {
            0
        } else {
            usable(version, Level::from_number(level.into()), 32 * MIB, data_offset, chunk)
        };
        Array {
            uuid: Uuid::from_u128(0x1234_5678_9abc_def0_1122_3344_5566_7788),
            name: "any:pv".into(),
            version,
            level: Level::from_number(level.into()),
            layout,
            chunk,
            raid_disks: 2,
            member_size: size,
            data_offset,
            bitmap,
            clean: true,
            created: 1_700_000_000,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (version, level, bitmap) in [
            (Version::V1_0, 1, true),
            (Version::V1_0, 0, false),
            (Version::V1_2, 1, true),
            (Version::V1_2, 1, false),
            (Version::V1_2, 10, true),
            (Version::V1_2, 0, false),
        ] {
            let array = array(version, level, bitmap);
            let member = Member { role: 1, uuid: Uuid::from_u128(7), size: 32 * MIB };
            let mut disk = vec![0u8; 32 << 20];
            for (at, bytes) in array.member(&member).unwrap() {
                let at = usize::try_from(at).unwrap();
                disk[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            let read = md::read(&Place::whole(&disk)).unwrap().unwrap();
            assert_eq!((read.version, read.uuid, read.name.as_str()), (version, array.uuid, "any:pv"));
            assert_eq!((read.level, read.layout, read.chunk), (array.level, array.layout, array.chunk));
            assert_eq!((read.member_size, read.data_offset), (array.member_size, array.data_offset));
            assert_eq!((read.role, read.raid_disks, read.clean), (Role::Active(1), 2, true));
            assert_eq!((read.created, read.present(), read.short_name()), (1_700_000_000, 2, "pv"));
            assert_eq!(read.member_uuid, Some(member.uuid));
            assert_eq!(read.mdadm_uuid(), "12345678:9abcdef0:11223344:55667788");
            assert!(read.data_size >= read.member_size && read.data_offset + read.data_size <= 32 * MIB);
            match read.bitmap {
                Some(b) => assert_eq!((bitmap, b.version, b.chunk, b.covers), (true, 4, 64 * MIB, array.member_size)),
                None => assert!(!bitmap),
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let member = Member { role: 0, uuid: Uuid::nil(), size: 32 * MIB };
        let good = array(Version::V1_2, 1, true);
        let refused = |change: &dyn Fn(&mut Array)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.member(&member).unwrap_err().kind()
        };
        use crate::ErrorKind::{Invalid, Unsupported};
        assert_eq!(refused(&|a| a.version = Version::V0_90), Unsupported);
        assert_eq!(refused(&|a| a.name = "x".repeat(33)), Invalid);
        assert_eq!(refused(&|a| a.raid_disks = 0), Invalid);
        assert_eq!(refused(&|a| a.member_size = 33 * MIB), Invalid);
        assert_eq!(refused(&|a| a.member_size = u64::MAX - 511), Invalid);
        assert_eq!(refused(&|a| a.data_offset = 8192), Invalid);
        assert_eq!(refused(&|a| a.chunk = 100), Invalid);
        assert_eq!(refused(&|a| a.level = Level::Raid(0)), Invalid);
        assert!(good.member(&Member { size: 4096, ..member }).is_err());
    }
}
