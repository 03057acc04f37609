//! Arithmetic of arrays: where the data begins on a member, how much of it is used, how much the array has.
//!
//! ```text
//! 1.2  | superblock, bitmap, room for a change of shape |  component …                          |
//! 1.0  |  component …                                     | under 1 MiB: bitmap and superblock  |
//! ```
//!
//! The plan gives mdadm `--data-offset` and `--size`, so what stands here is what becomes. The offset is that of mdadm
//! (`validate_geometry1` in its super1.c), with one exception. There it doubles where a member passes a power of two,
//! and an array would become smaller because its members are bigger. Here it grows byte by byte until the array has
//! caught up. (An array has one offset, that of its smallest member. So where members of level 0 differ, and the smallest
//! alone becomes bigger, the others can lose what it gains.)

use super::range::ALIGN;
use crate::layout::ondisk::md::{Version, write};
use crate::layout::spec::{Bitmap, Level, Metadata, Raid, Raid10Layout};
use crate::units::ByteSize;

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
/// The chunk of a level that has chunks, where the document gives none: that of mdadm.
pub const CHUNK: u64 = 512 * KIB;
/// What mdadm leaves for a change of shape, at most.
const HEADROOM: u64 = 128 << 20;
/// Superblock and list of bad blocks at the end of a member with metadata 1.0.
const TAIL: u64 = 12 * KIB;

/// An array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArraySize {
    /// How many members hold data.
    pub members: u32,
    /// How many wait.
    pub spares: u32,
    /// Where the data begins on each member, in bytes: `--data-offset`.
    pub data_offset: u64,
    /// How much of each member is used, in bytes: `--size`, but for level 0, whose members are used whole; there it is
    /// that of the smallest.
    pub component: u64,
    /// The bytes that follow each other on one member; 0 without chunks.
    pub chunk: u64,
    /// The size of the array in bytes.
    pub size: u64,
    /// The size of its logical sector in bytes.
    pub sector: u32,
    /// Whether it has a bitmap.
    pub bitmap: bool,
}

/// The arithmetic of one array of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    level: Level,
    metadata: Metadata,
    copies: Copies,
    chunk: u64,
    bitmap: bool,
}

/// The copies of level 10.
#[derive(Clone, Copy, Debug)]
struct Copies {
    near: u64,
    far: u64,
}

impl Geometry {
    pub(super) fn of(raid: &Raid) -> Self {
        let layout = raid.layout.unwrap_or(Raid10Layout::NEAR_2);
        let copies = match layout.kind {
            'n' => Copies { near: layout.copies.into(), far: 1 },
            _ => Copies { near: 1, far: layout.copies.into() },
        };
        let chunk = if raid.level.is_striped() { raid.chunk.map_or(CHUNK, ByteSize::bytes).max(512) } else { 0 };
        let bitmap = raid.level.is_redundant() && raid.bitmap != Some(Bitmap::None);
        Self { level: raid.level, metadata: raid.metadata, copies, chunk, bitmap }
    }

    /// The array over members of these sizes, the spares among them; none where there are too few or they are too small.
    pub(super) fn over(&self, sizes: &[u64], spares: u32, sector: u32) -> Option<ArraySize> {
        let members = u32::try_from(sizes.len()).ok()?.checked_sub(spares)?;
        let least = if self.level == Level::Raid10 { self.copies.near.max(self.copies.far) } else { 0 };
        if members < self.level.least_members() || u64::from(members) < least {
            return None;
        }
        let smallest = *sizes.iter().min()?;
        let data_offset = self.offset(smallest);
        let component = self.component(smallest);
        let size = match self.level {
            Level::Raid0 => sizes.iter().map(|s| self.whole(s.saturating_sub(self.taken(*s, data_offset)))).sum(),
            _ => self.size(component, members.into()),
        };
        let (chunk, bitmap) = (self.chunk, self.bitmap);
        (size > 0).then_some(ArraySize { members, spares, data_offset, component, chunk, size, sector, bitmap })
    }

    /// What each of `members` must have for the array to have `size`. Above the largest there can be, all there is.
    pub(super) fn least_member(&self, size: u64, members: u64) -> u64 {
        let (mut low, mut high) = (0, u64::MAX / ALIGN);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.size(self.component(middle * ALIGN), members) >= size { high = middle } else { low = middle + 1 }
        }
        low * ALIGN
    }

    /// The size of the array by what is used of each member.
    fn size(&self, component: u64, members: u64) -> u64 {
        let data = match self.level {
            Level::Raid0 => members,
            Level::Raid1 => 1,
            Level::Raid5 => members.saturating_sub(1),
            Level::Raid6 => members.saturating_sub(2),
            // As the kernel does it, each division rounded down.
            Level::Raid10 => {
                let chunks = component / self.chunk / self.copies.far;
                return (chunks.saturating_mul(members) / self.copies.near).saturating_mul(self.chunk);
            }
        };
        component.saturating_mul(data)
    }

    /// How much of a member is used; never less of a bigger one.
    fn component(&self, member: u64) -> u64 {
        match (self.metadata, self.level) {
            (Metadata::V1_2, _) => self.whole(member.saturating_sub(self.offset(member))),
            (Metadata::V1_0, Level::Raid0) => self.whole(member.saturating_sub(self.taken(member, 0))),
            // Whole MiB, as everywhere.
            (Metadata::V1_0, _) => self.whole((member / ALIGN).saturating_sub(1) * ALIGN),
        }
    }

    /// What the metadata of a member takes away.
    fn taken(&self, member: u64, data_offset: u64) -> u64 {
        match self.metadata {
            Metadata::V1_2 => data_offset,
            Metadata::V1_0 => TAIL + write::bitmap_space(member) + member % 4096,
        }
    }

    fn whole(&self, bytes: u64) -> u64 {
        bytes.checked_div(self.chunk).map_or(bytes, |chunks| chunks * self.chunk)
    }

    fn offset(&self, member: u64) -> u64 {
        if self.metadata == Metadata::V1_0 {
            return 0;
        }
        let member = member / ALIGN * ALIGN;
        // Where the default jumps: beyond 8 and 200 GiB for the bitmap, at powers of two for the headroom.
        let bitmap = [8 * GIB + 4 * KIB + 512, 200 * GIB + 64 * KIB];
        let headroom = (0..20).map(|n| (HEADROOM << 10) >> n);
        let jumps = bitmap.into_iter().chain(headroom).filter(|jump| *jump <= member);
        let before = jumps.map(|jump| (jump - 1) / ALIGN * ALIGN);
        let data = before.map(|m| m.saturating_sub(data_offset(m, self.chunk))).max().unwrap_or(0);
        data_offset(member, self.chunk).min(member - data)
    }
}

/// Where mdadm lets the data begin on a member of this size with metadata 1.2, in bytes.
#[must_use]
pub fn data_offset(member: u64, chunk: u64) -> u64 {
    write::data_offset(Version::V1_2, member, chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::spec::{Ref, Resync};

    const MIB: u64 = 1 << 20;

    fn raid(level: Level) -> Raid {
        Raid {
            level,
            members: vec![Ref::Raid("x".into())],
            spares: 0,
            metadata: Metadata::V1_2,
            layout: None,
            chunk: None,
            bitmap: None,
            sync: Resync::Background,
            name: None,
            adopt: None,
            preserve: crate::layout::spec::Preserve::Never,
        }
    }

    fn size(raid: &Raid, members: &[u64]) -> Option<u64> {
        Geometry::of(raid).over(members, raid.spares, 512).map(|a| a.size)
    }

    /// What mdadm 4.2 chose for members of these sizes.
    #[test]
    fn the_offset_is_that_of_mdadm() {
        assert_eq!(data_offset(400 * MIB, 0), MIB);
        assert_eq!(data_offset(893 * GIB, 0), 129 * MIB);
        // Two chunks of 512 KiB: the headroom is not halved below 1 MiB.
        assert_eq!(data_offset(64 * MIB, CHUNK), 2 * MIB);
        assert_eq!(Geometry::of(&raid(Level::Raid1)).offset(914_089 * MIB), 129 * MIB);
    }

    #[test]
    fn levels_by_hand() {
        // 102 MiB: the default offset is 2 MiB with chunks (12 KiB and 4 KiB and 1 MiB, rounded up), 1 MiB without.
        let four = [102 * MIB; 4];
        assert_eq!(size(&raid(Level::Raid1), &four), Some(101 * MIB));
        assert_eq!(size(&raid(Level::Raid0), &four), Some(400 * MIB));
        assert_eq!(size(&raid(Level::Raid5), &four), Some(300 * MIB));
        assert_eq!(size(&raid(Level::Raid6), &four), Some(200 * MIB));
        assert_eq!(size(&raid(Level::Raid10), &four), Some(200 * MIB));
        assert_eq!(size(&raid(Level::Raid0), &[102 * MIB, 202 * MIB]), Some(300 * MIB));
        assert_eq!(size(&raid(Level::Raid5), &[102 * MIB, 202 * MIB, 102 * MIB]), Some(200 * MIB));
        assert_eq!(size(&raid(Level::Raid6), &four[1..]), None);
        assert_eq!(size(&raid(Level::Raid1), &[MIB]), None);
    }

    #[test]
    fn copies_spares_chunks_and_old_metadata() {
        let layout = |text| Raid { layout: Raid10Layout::parse(text), ..raid(Level::Raid10) };
        // 200 chunks on each of three members: 600 chunks hold 300 twice; far copies want an even number on each.
        assert_eq!(size(&layout("n2"), &[102 * MIB; 3]), Some(150 * MIB));
        assert_eq!(size(&layout("f2"), &[102 * MIB; 3]), Some(150 * MIB));
        assert_eq!(size(&layout("o3"), &[102 * MIB; 3]), Some(66 * 3 * CHUNK));
        assert_eq!(size(&layout("n3"), &[102 * MIB; 2]), None);
        let spare = Raid { spares: 1, ..raid(Level::Raid10) };
        assert_eq!(size(&spare, &[102 * MIB; 5]), Some(200 * MIB));
        // 64 MiB chunks: two of them are the least headroom; 129 MiB in front, and what is left of a chunk is lost.
        let coarse = Raid { chunk: Some(ByteSize::new(64 * MIB)), ..raid(Level::Raid5) };
        assert_eq!(size(&coarse, &[300 * MIB; 3]), Some(2 * 128 * MIB));
        let old = Raid { metadata: Metadata::V1_0, ..raid(Level::Raid1) };
        assert_eq!(size(&old, &[1024 * MIB; 2]), Some(1023 * MIB));
        assert_eq!(Geometry::of(&old).over(&[GIB; 2], 0, 512).unwrap().data_offset, 0);
    }

    /// A bigger member never means a smaller array, and the least member is the least.
    #[test]
    fn what_is_used_never_shrinks() {
        let edges = [1u64, 64, 128, 1024, 8192, 16_384, 65_536, 131_072, 204_800];
        for raid in Level::ALL.map(raid) {
            let geometry = Geometry::of(&raid);
            for edge in edges {
                let mut before = 0;
                for m in edge.saturating_sub(3)..edge + 140 {
                    let component = geometry.component(m * MIB);
                    assert!(component >= before, "{} {m}", raid.level);
                    assert!(component == 0 || component + data_offset(m * MIB, geometry.chunk) >= m * MIB - CHUNK);
                    before = component;
                }
            }
            for want in [1, 300 * MIB, 8 * GIB, 127 * GIB + 1, 130 * GIB, 5 << 40] {
                let least = geometry.least_member(want, 4);
                assert!(geometry.over(&[least; 4], 0, 512).unwrap().size >= want);
                let less = geometry.over(&[least - MIB; 4], 0, 512).map_or(0, |a| a.size);
                assert!(less < want, "{} {want} {least}", raid.level);
            }
        }
    }
}
