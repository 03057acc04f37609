//! A GUID partition table as values: bytes in, struct out. Nothing is written here; see [`super::apply::gpt`].
//!
//! ```text
//! LBA 0     1              2 ..                                          last-array  last
//! | PMBR | primary header | primary array |   partitions   | backup array | backup header |
//! ```
//!
//! The reader is for hostile bytes: every number is checked before it is used, and reading the backup does not depend
//! on the primary.

use super::device::ReadAt;
use std::collections::BTreeMap;
use std::io;
use uuid::Uuid;

const SIGNATURE: &[u8; 8] = b"EFI PART";
/// The least size of a header, and what this writes.
const HEADER_SIZE: usize = 92;
/// Longer arrays are not read: 128 entries need 16 KiB.
const ARRAY_LIMIT: u64 = 1 << 20;

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The GUID of its type.
    pub kind: Uuid,
    /// Its own GUID.
    pub uuid: Uuid,
    /// Its first sector.
    pub first: u64,
    /// Its last sector.
    pub last: u64,
    /// Its attributes.
    pub attributes: u64,
    /// Its name.
    pub name: String,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The GUID of the disk.
    pub disk: Uuid,
    /// The size of a sector in bytes.
    pub sector: u32,
    /// The first sector that partitions may use.
    pub first_usable: u64,
    /// The last sector that partitions may use.
    pub last_usable: u64,
    /// Where its other copy is, by its header.
    pub other: u64,
    /// The partitions by number, which is the place in the array and not the order on the disk.
    pub entries: BTreeMap<u32, Entry>,
}

impl Table {
    /// Where a partition lies: start and length in bytes.
    #[must_use]
    pub fn bytes(&self, entry: &Entry) -> (u64, u64) {
        let sector = u64::from(self.sector);
        let sectors = (entry.last + 1).saturating_sub(entry.first);
        (entry.first.saturating_mul(sector), sectors.saturating_mul(sector))
    }
}

/// Why a copy of the table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is none.
    Absent,
    /// The header's checksum is wrong.
    Header,
    /// The array's checksum is wrong.
    Array,
    /// Numbers that cannot be.
    Geometry(&'static str),
}

/// What the first sector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mbr {
    /// No partition table.
    None,
    /// The protective entry of a GPT.
    Protective,
    /// The protective entry beside others: two tables, and which one holds depends on who looks.
    Hybrid,
    /// A table of its own.
    Partitions,
}

/// What a disk has at the places of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The copy at the begin.
    pub primary: Result<Table, Fault>,
    /// The copy at the end.
    pub backup: Result<Table, Fault>,
    /// The first sector.
    pub mbr: Mbr,
}

impl Found {
    /// The table that holds: the primary, or where that is broken the backup.
    #[must_use]
    pub fn table(&self) -> Option<&Table> {
        self.primary.as_ref().ok().or(self.backup.as_ref().ok())
    }

    /// Whether there was a table, of which no copy can be read: where its partitions lay nobody knows.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        let is_there = |copy: &Result<Table, Fault>| *copy != Err(Fault::Absent);
        self.table().is_none() && (is_there(&self.primary) || is_there(&self.backup))
    }
}

/// Reads both copies with this sector size.
///
/// # Errors
/// Of the device only; what is wrong with the bytes is part of the answer.
pub fn read(device: &dyn ReadAt, sector: u32) -> io::Result<Found> {
    let sectors = device.size() / u64::from(sector);
    let mut first = vec![0; 512];
    if device.size() >= 512 {
        device.read_at(0, &mut first)?;
    }
    Ok(Found {
        primary: copy(device, sector, 1, sectors)?,
        backup: copy(device, sector, sectors.saturating_sub(1), sectors)?,
        mbr: mbr(&first),
    })
}

/// The sector size with which there is a table, if there is one.
///
/// # Errors
/// Of the device.
pub fn detect_sector(device: &dyn ReadAt) -> io::Result<Option<u32>> {
    for sector in [512, 4096] {
        if read(device, sector)?.table().is_some() {
            return Ok(Some(sector));
        }
    }
    Ok(None)
}

fn mbr(sector: &[u8]) -> Mbr {
    if sector[510..512] != [0x55, 0xaa] {
        return Mbr::None;
    }
    let types: Vec<u8> = (0..4).map(|i| sector[446 + 16 * i + 4]).collect();
    // A boot sector of a FAT filesystem has the same last two bytes; what stands where the entries are is then code or
    // text, and looks like no table: the first byte of an entry is 0x00 or 0x80.
    let plausible = (0..4).all(|i| matches!(sector[446 + 16 * i], 0 | 0x80));
    match () {
        () if types.contains(&0xee) && types.iter().any(|t| !matches!(t, 0 | 0xee)) => Mbr::Hybrid,
        () if types.contains(&0xee) => Mbr::Protective,
        () if plausible && types.iter().any(|t| *t != 0) => Mbr::Partitions,
        () => Mbr::None,
    }
}

/// Reads the copy whose header is at `at`.
fn copy(device: &dyn ReadAt, sector: u32, at: u64, sectors: u64) -> io::Result<Result<Table, Fault>> {
    if sectors < 6 || at == 0 {
        return Ok(Err(Fault::Absent));
    }
    let size = u64::from(sector);
    let mut bytes = vec![0; sector as usize];
    device.read_at(at * size, &mut bytes)?;
    let header = match header(&bytes, at, sectors) {
        Ok(h) => h,
        Err(fault) => return Ok(Err(fault)),
    };
    let mut array = vec![0; header.count as usize * header.entry_size as usize];
    device.read_at(header.array * size, &mut array)?;
    if crc32fast::hash(&array) != header.array_crc {
        return Ok(Err(Fault::Array));
    }
    let mut entries = BTreeMap::new();
    for (number, raw) in (1u32..).zip(array.chunks_exact(header.entry_size as usize)) {
        if raw[..16].iter().any(|b| *b != 0) {
            entries.insert(number, entry(raw));
        }
    }
    Ok(Ok(Table {
        disk: header.disk,
        sector,
        first_usable: header.first_usable,
        last_usable: header.last_usable,
        other: header.other,
        entries,
    }))
}

struct Header {
    other: u64,
    first_usable: u64,
    last_usable: u64,
    disk: Uuid,
    array: u64,
    count: u32,
    entry_size: u32,
    array_crc: u32,
}

fn header(bytes: &[u8], at: u64, sectors: u64) -> Result<Header, Fault> {
    if &bytes[..8] != SIGNATURE {
        return Err(Fault::Absent);
    }
    let size = u32_at(bytes, 12) as usize;
    if !(HEADER_SIZE..=bytes.len()).contains(&size) {
        return Err(Fault::Geometry("size of the header"));
    }
    let mut summed = bytes[..size].to_vec();
    summed[16..20].fill(0);
    if crc32fast::hash(&summed) != u32_at(bytes, 16) {
        return Err(Fault::Header);
    }
    let h = Header {
        other: u64_at(bytes, 32),
        first_usable: u64_at(bytes, 40),
        last_usable: u64_at(bytes, 48),
        disk: uuid_at(bytes, 56),
        array: u64_at(bytes, 72),
        count: u32_at(bytes, 80),
        entry_size: u32_at(bytes, 84),
        array_crc: u32_at(bytes, 88),
    };
    if u64_at(bytes, 24) != at {
        return Err(Fault::Geometry("place of the header"));
    }
    if h.entry_size < 128 || !h.entry_size.is_multiple_of(8) || h.count == 0 {
        return Err(Fault::Geometry("size of an entry"));
    }
    let length = u64::from(h.count) * u64::from(h.entry_size);
    let fits = length <= ARRAY_LIMIT
        && h.array >= 2
        && h.array.checked_add(length.div_ceil(bytes.len() as u64)).is_some_and(|end| end <= sectors);
    if !fits {
        return Err(Fault::Geometry("place of the array"));
    }
    Ok(h)
}

fn entry(raw: &[u8]) -> Entry {
    let units: Vec<u16> = (0..36).map(|i| u16::from_le_bytes([raw[56 + 2 * i], raw[57 + 2 * i]])).collect();
    let end = units.iter().position(|u| *u == 0).unwrap_or(units.len());
    Entry {
        kind: uuid_at(raw, 0),
        uuid: uuid_at(raw, 16),
        first: u64_at(raw, 32),
        // An entry that ends at 2^64 could not be counted.
        last: u64_at(raw, 40).min(u64::MAX - 1),
        attributes: u64_at(raw, 48),
        name: String::from_utf16_lossy(&units[..end]),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn uuid_at(bytes: &[u8], at: usize) -> Uuid {
    let mut raw = [0; 16];
    raw.copy_from_slice(&bytes[at..at + 16]);
    Uuid::from_bytes_le(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_absent() {
        for size in [0usize, 511, 512, 4096, 1 << 20] {
            let found = read(&vec![0u8; size], 512).unwrap();
            assert_eq!((found.primary, found.backup, found.mbr), (Err(Fault::Absent), Err(Fault::Absent), Mbr::None));
        }
    }

    #[test]
    fn an_mbr_is_told_from_a_protective_one() {
        let mut disk = vec![0u8; 1 << 20];
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(read(&disk, 512).unwrap().mbr, Mbr::None);
        disk[446 + 4] = 0x83;
        assert_eq!(read(&disk, 512).unwrap().mbr, Mbr::Partitions);
        disk[446 + 4] = 0xee;
        assert_eq!(read(&disk, 512).unwrap().mbr, Mbr::Protective);
    }

    proptest! {
        /// Whatever stands in a header: the reader answers, within the limits.
        #[test]
        fn any_header_is_read(tail in proptest::collection::vec(any::<u8>(), 84), valid in any::<bool>()) {
            let mut disk = vec![0u8; 64 * 512];
            disk[512..520].copy_from_slice(SIGNATURE);
            disk[520..604].copy_from_slice(&tail);
            if valid {
                disk[524..528].copy_from_slice(&92u32.to_le_bytes());
                disk[536..544].copy_from_slice(&1u64.to_le_bytes());
                disk[528..532].fill(0);
                let crc = crc32fast::hash(&disk[512..604]);
                disk[528..532].copy_from_slice(&crc.to_le_bytes());
            }
            let _ = read(&disk, 512).unwrap();
        }
    }
}
