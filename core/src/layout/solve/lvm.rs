//! Arithmetic of volume groups: extents of a device, metadata of thin pools, and what each volume gets.
//!
//! ```text
//! PV    | label, metadata: 1 MiB | extents …                            |
//! group | volumes | metadata of pools | spare of it | reserve, free     |
//! ```
//!
//! Sizes of pool metadata are those that lvcreate would choose (`_estimate_metadata_size` and `DEFAULT_THIN_POOL_*` of
//! LVM), with one exception: where it takes bigger chunks to stay under 128 MiB, it would take less metadata for a
//! bigger pool; here it stays at 128 MiB. Plans give them to lvcreate (`--poolmetadatasize`, `--chunksize`).

use super::share::{self, Claim};
use indexmap::IndexMap;

const KIB: u64 = 1 << 10;
/// Where the extents of a physical volume begin, in bytes. Plans give it to pvcreate (`--dataalignment 1m`), which
/// would follow the stripes of an array otherwise.
pub const PV_START: u64 = 1 << 20;
/// Bytes of metadata for one chunk of a pool.
const BYTES_PER_CHUNK: u64 = 64;
const LEAST_CHUNK: u64 = 64 * KIB;
const MOST_CHUNK: u64 = 1 << 30;
const LEAST_METADATA: u64 = 2 << 20;
/// Beyond it bigger chunks are chosen, where the document leaves the choice.
const GOOD_METADATA: u64 = 128 << 20;
const MOST_METADATA: u64 = 255 * ((1 << 14) - 64) * 4 * KIB;

/// A volume group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSize {
    /// The size of an extent in bytes.
    pub extent: u64,
    /// The extents of each physical volume, in the order of the document and of the disks. Of a kept group none.
    pub devices: Vec<u64>,
    /// All its extents.
    pub extents: u64,
    /// The extents that no volume gets, by `reserve`.
    pub reserved: u64,
    /// The extents that are left besides those.
    pub free: u64,
    /// The extents of the spare of pool metadata, which LVM makes with the first pool; 0 without pools.
    pub spare: u64,
    /// The volumes in document order, thin ones too. Striped ones are made first: they need room beside each other.
    pub volumes: IndexMap<String, VolumeSize>,
}

/// A volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeSize {
    /// Its extents: of a pool those for data, of a thin volume those that it shows and does not have.
    pub extents: u64,
    /// Of a pool: the extents of its metadata.
    pub metadata: u64,
    /// Of a pool: its chunk in bytes.
    pub chunk: u64,
}

/// A volume group that is there already and stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptGroup {
    /// The size of an extent in bytes.
    pub extent: u64,
    /// All its extents.
    pub extents: u64,
    /// Extents of what stays and is no volume of the document, the spare of pool metadata included.
    pub taken: u64,
    /// Volumes of the document that stay.
    pub volumes: IndexMap<String, VolumeSize>,
}

/// The extents that a device of this size holds.
pub(super) fn extents_on(device: u64, extent: u64) -> u64 {
    device.saturating_sub(PV_START) / extent.max(1)
}

/// The device that holds so many extents.
pub(super) fn device_for(extents: u64, extent: u64) -> u64 {
    extents.saturating_mul(extent).saturating_add(PV_START)
}

/// How pools of a document count their metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    /// The size of an extent in bytes.
    pub extent: u64,
    /// The chunk that the document wants.
    pub chunk: Option<u64>,
}

impl Pool {
    /// The chunk for so many extents of data.
    pub(super) fn chunk(self, data: u64) -> u64 {
        let bytes = data.saturating_mul(self.extent);
        let mut chunk = self.chunk.unwrap_or(LEAST_CHUNK).max(LEAST_CHUNK);
        while self.chunk.is_none() && chunk < MOST_CHUNK && bytes / chunk * BYTES_PER_CHUNK > GOOD_METADATA {
            chunk *= 2;
        }
        chunk
    }

    /// The extents of metadata for so many of data; never fewer for more.
    pub(super) fn metadata(self, data: u64) -> u64 {
        let bytes = data.saturating_mul(self.extent);
        let most = if self.chunk.is_none() { GOOD_METADATA } else { MOST_METADATA };
        let wanted = bytes / self.chunk.unwrap_or(LEAST_CHUNK).max(LEAST_CHUNK) * BYTES_PER_CHUNK;
        wanted.clamp(LEAST_METADATA, most).div_ceil(self.extent)
    }

    /// The most extents of data that its chunks can address.
    pub(super) fn most(self) -> u64 {
        self.chunk.unwrap_or(MOST_CHUNK).max(LEAST_CHUNK).saturating_mul(MOST_METADATA / BYTES_PER_CHUNK) / self.extent
    }

    /// Data and metadata together.
    pub(super) fn whole(self, data: u64) -> u64 {
        data.saturating_add(self.metadata(data))
    }

    /// The most data that fits with its metadata into so many extents.
    pub(super) fn data(self, whole: u64) -> u64 {
        let (mut low, mut high) = (0, whole);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.whole(middle) <= whole { low = middle } else { high = middle - 1 }
        }
        low
    }
}

/// What the volumes of a group want of it, and the reserve.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// By volume; of pools with their metadata. Behind them what stays, and last the reserve, where there are any.
    pub claims: Vec<Claim>,
    /// Which claims are pools.
    pub pools: Vec<(usize, Pool)>,
}

impl Wishes {
    /// What each claim gets of so many extents, and the spare; none where it does not fit.
    pub(super) fn share(&self, extents: u64) -> Option<(Vec<u64>, u64)> {
        let shared = |spare: u64| share::share(&self.claims, extents.checked_sub(spare)?);
        let wanted = |got: &[u64]| self.pools.iter().map(|(i, pool)| pool.metadata(pool.data(got[*i]))).max();
        let mut low = self.least_spare();
        let first = shared(low)?;
        let Some(mut high) = wanted(&first).filter(|w| *w > low) else { return Some((first, low)) };
        // The more spare, the smaller the pools, the less spare they want: the least that is enough.
        let enough = |spare: u64| shared(spare).is_none_or(|got| wanted(&got).unwrap_or(0) <= spare);
        while low < high {
            let middle = low + (high - low) / 2;
            if enough(middle) { high = middle } else { low = middle + 1 }
        }
        Some((shared(low)?, low))
    }

    /// The fewest extents that are enough; none where no number is.
    pub(super) fn least(&self) -> Option<u64> {
        let mut low = share::least(&self.claims)?.checked_add(self.least_spare())?;
        let mut high = low;
        // Only pools by percentage can want more: their least metadata is not what they begin with.
        while self.share(high).is_none() {
            low = high + 1;
            high = high.checked_mul(2).filter(|h| *h < 1 << 56)?;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.share(middle).is_some() { high = middle } else { low = middle + 1 }
        }
        Some(low)
    }

    fn least_spare(&self) -> u64 {
        self.pools.iter().map(|(i, pool)| pool.metadata(pool.data(self.claims[*i].least))).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn extents_of_a_device() {
        // 300 MiB hold 74 extents of 4 MiB: measured with pvcreate.
        assert_eq!(extents_on(300 * MIB, 4 * MIB), 74);
        assert_eq!(device_for(74, 4 * MIB), 297 * MIB);
        assert_eq!(extents_on(10, 4 * MIB), 0);
    }

    #[test]
    fn metadata_of_pools_as_lvcreate_has_it() {
        let pool = |chunk: Option<u64>| Pool { extent: 4 * MIB, chunk };
        let extents = |bytes: u64| bytes / (4 * MIB);
        // 1 GiB in chunks of 64 KiB: 16,384 chunks, 1 MiB, at least 2 MiB, one extent.
        assert_eq!(pool(None).metadata(extents(GIB)), 1);
        // 100 GiB: 100 MiB.
        assert_eq!(pool(None).metadata(extents(100 * GIB)), 25);
        assert_eq!(pool(Some(256 * KIB)).metadata(extents(100 * GIB)), 7);
        // Over 128 GiB the chunks grow.
        assert_eq!((pool(None).chunk(extents(128 * GIB)), pool(None).metadata(extents(128 * GIB))), (64 * KIB, 32));
        assert_eq!((pool(None).chunk(extents(129 * GIB)), pool(None).metadata(extents(129 * GIB))), (128 * KIB, 32));
        assert_eq!((pool(None).chunk(extents(1 << 40)), pool(None).metadata(extents(1 << 40))), (512 * KIB, 32));
        assert_eq!(pool(Some(64 * KIB)).metadata(extents(1 << 40)), 256);
        assert_eq!(pool(None).data(25 + extents(100 * GIB)), extents(100 * GIB));
        assert_eq!(pool(None).data(1), 0);
    }

    #[test]
    fn the_spare_is_as_big_as_the_metadata() {
        let pool = Pool { extent: 4 * MIB, chunk: None };
        let claims = vec![
            Claim { least: 10, most: Some(10), ..Claim::default() },
            Claim { least: 2, weight: 1, ..Claim::default() },
        ];
        let wishes = Wishes { claims, pools: vec![(1, pool)] };
        assert_eq!(wishes.least(), Some(13));
        assert!(wishes.share(12).is_none());
        let (got, spare) = wishes.share(10 + 25_600 + 25 + 25).unwrap();
        assert_eq!((pool.data(got[1]), pool.metadata(pool.data(got[1])), spare), (25_600, 25, 25));
    }
}
