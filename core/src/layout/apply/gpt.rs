//! Writing a partition table so that one valid table exists after every single write.
//!
//! Bytes are made by the types of the `gpt` crate. Its own writer is not used: it renumbers partitions and has moments
//! without any valid table.
//!
//! ```text
//!   the old primary is valid, or there is no table      only the old backup is valid
//!   1 backup array   2 backup header   sync             1 first sector  2 primary array  3 primary header  sync
//!   3 first sector   4 primary array   5 primary header 4 backup array  5 backup header  sync
//!   sync
//! ```
//!
//! The first sector comes after the backup, so that a disk with an MBR keeps it until the new table stands.

use crate::error::{Error, ErrorKind, Result};
use crate::layout::device::{ReadAt, WriteAt};
use crate::layout::gpt::{self as table, Mbr, Table};
use gpt::disk::LogicalBlockSize;
use gpt::header::{Header, HeaderBuilder};
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{OperatingSystem, Type};
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Entries of the array.
const ENTRIES: u32 = 128;
const ENTRY_SIZE: u32 = 128;
/// The part of the first sector that is code of a boot loader.
const BOOT_CODE: usize = 440;

/// What becomes of the boot code in the first sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootCode {
    /// It is erased: the disk must not look bootable.
    Erase,
    /// It stays.
    Keep,
}

/// Writes the table; partitions keep their numbers.
///
/// # Errors
/// `Invalid` for a table that cannot be (overlap, outside of the disk, a number or GUID twice); `Io`.
pub fn write(device: &dyn WriteAt, new: &Table, boot_code: BootCode) -> Result<()> {
    check(new, device.size())?;
    let failed = |e: io::Error| Error::io("write", "a partition table", e);
    let old = table::read(device, new.sector).map_err(failed)?;
    let image = Image::build(new, device.size())?;
    let only_backup = old.primary.is_err() && old.backup.is_ok();
    let first = image.first_sector(device, boot_code, old.mbr).map_err(failed)?;
    let sector = u64::from(new.sector);
    let backup: [Piece<'_>; 2] =
        [(image.tail_start, &image.tail[..image.array]), (image.tail_start + image.array as u64, image.tail_header())];
    let primary: [Piece<'_>; 3] = [
        (0, &first),
        (2 * sector, &image.head[2 * new.sector as usize..]),
        (sector, &image.head[new.sector as usize..2 * new.sector as usize]),
    ];
    let phases: [&[Piece<'_>]; 2] = if only_backup { [&primary, &backup] } else { [&backup, &primary] };
    for phase in phases {
        for (offset, bytes) in phase {
            device.write_at(*offset, bytes).map_err(failed)?;
        }
        device.sync().map_err(failed)?;
    }
    Ok(())
}

/// A place and what is written there.
type Piece<'a> = (u64, &'a [u8]);

/// Reads the table back and compares.
///
/// # Errors
/// `Integrity` when one of the copies is not what was written; `Io`.
pub fn verify(device: &dyn ReadAt, expected: &Table) -> Result<()> {
    let found = table::read(device, expected.sector).map_err(|e| Error::io("read", "a partition table", e))?;
    for (copy, name) in [(&found.primary, "first"), (&found.backup, "second")] {
        if !copy.as_ref().is_ok_and(|t| t.disk == expected.disk && t.entries == expected.entries) {
            return Err(Error::integrity(format!("the {name} copy of the partition table is not what was written"))
                .fact("code", "A403")
                .hint("the disk does not keep what is written to it"));
        }
    }
    Ok(())
}

/// What the crate would accept and must not be.
///
/// # Errors
/// `Invalid` (A404).
pub(in crate::layout) fn check(new: &Table, size: u64) -> Result<()> {
    let sectors = size / u64::from(new.sector);
    let bad = |text: String| Err(Error::invalid(format!("partition table: {text}")).fact("code", "A404"));
    let array = array_sectors(new.sector);
    if sectors < 2 * array + 4 {
        return bad("the disk is too small for one".to_owned());
    }
    let (low, high) = (2 + array, sectors - 2 - array);
    let mut spans: Vec<(u64, u64, u32)> = new.entries.iter().map(|(n, e)| (e.first, e.last, *n)).collect();
    spans.sort_unstable();
    for (first, last, n) in &spans {
        if !(1..=ENTRIES).contains(n) || first > last || *first < low || *last > high {
            return bad(format!("partition {n} lies outside"));
        }
    }
    if let Some(w) = spans.windows(2).find(|w| w[0].1 >= w[1].0) {
        return bad(format!("partitions {} and {} overlap", w[0].2, w[1].2));
    }
    let mut uuids: Vec<_> = new.entries.values().map(|e| e.uuid).collect();
    uuids.sort_unstable();
    if uuids.windows(2).any(|w| w[0] == w[1]) || uuids.iter().any(uuid::Uuid::is_nil) {
        return bad("a GUID stands twice or is zero".to_owned());
    }
    Ok(())
}

fn array_sectors(sector: u32) -> u64 {
    u64::from((ENTRIES * ENTRY_SIZE).div_ceil(sector))
}

/// Begin and end of the disk as they will be.
struct Image {
    head: Vec<u8>,
    tail: Vec<u8>,
    tail_start: u64,
    /// Bytes of the array in `tail`, before the header.
    array: usize,
}

impl Image {
    fn build(new: &Table, size: u64) -> Result<Self> {
        let block = match new.sector {
            512 => LogicalBlockSize::Lb512,
            4096 => LogicalBlockSize::Lb4096,
            other => return Err(Error::unsupported(format!("sectors of {other} bytes"))),
        };
        let bug = |what: &str, e: &dyn std::fmt::Display| Error::new(ErrorKind::Bug, format!("{what}: {e}"));
        let (sector, array) = (u64::from(new.sector), array_sectors(new.sector));
        let last = size / sector - 1;
        let mut disk = Ends::new(size / sector, new.sector);
        let in_mbr = u32::try_from(last).unwrap_or(u32::MAX);
        ProtectiveMBR::with_lb_size(in_mbr).overwrite_lba0(&mut disk).map_err(|e| bug("protective MBR", &e))?;
        for (number, e) in &new.entries {
            let entry = Partition {
                part_type_guid: Type { guid: e.kind, os: OperatingSystem::None },
                part_guid: e.uuid,
                first_lba: e.first,
                last_lba: e.last,
                flags: e.attributes,
                name: e.name.clone(),
            };
            for start in [2, last - array] {
                entry
                    .write_to_device(&mut disk, u64::from(number - 1), start, block, ENTRY_SIZE)
                    .map_err(|e| bug("partition entry", &e))?;
            }
        }
        let mut builder = HeaderBuilder::new();
        builder.disk_guid(new.disk).backup_lba(last).num_parts(ENTRIES).part_size(ENTRY_SIZE);
        builder.first_usable(new.first_usable).last_usable(new.last_usable);
        let mut header = |primary: bool| -> Result<Header> {
            let mut h = builder.primary(primary).build(block).map_err(|e| bug("table header", &e))?;
            // The builder raises what is too low for it; the array stands at the end whatever is usable.
            (h.first_usable, h.last_usable) = (new.first_usable, new.last_usable);
            h.part_start = if primary { 2 } else { last - array };
            Ok(h)
        };
        header(true)?.write_primary(&mut disk, block).map_err(|e| bug("table header", &e))?;
        header(false)?.write_backup(&mut disk, block).map_err(|e| bug("table header", &e))?;
        let array_bytes = usize::try_from(array * sector).unwrap_or(0);
        Ok(Self { head: disk.head, tail: disk.tail, tail_start: disk.tail_start, array: array_bytes })
    }

    fn tail_header(&self) -> &[u8] {
        &self.tail[self.array..]
    }

    /// The first sector, with the boot code that is there when it is to stay.
    fn first_sector(&self, device: &dyn ReadAt, boot_code: BootCode, old: Mbr) -> io::Result<Vec<u8>> {
        let sector = self.tail.len() - self.array;
        let mut first = self.head[..sector].to_vec();
        if boot_code == BootCode::Keep && matches!(old, Mbr::Protective | Mbr::Hybrid) {
            let mut now = vec![0; 512];
            device.read_at(0, &mut now)?;
            first[..BOOT_CODE].copy_from_slice(&now[..BOOT_CODE]);
        }
        Ok(first)
    }
}

/// A disk of which only begin and end exist, for the crate to write into.
#[derive(Debug)]
struct Ends {
    head: Vec<u8>,
    tail: Vec<u8>,
    tail_start: u64,
    at: u64,
}

impl Ends {
    fn new(sectors: u64, sector: u32) -> Self {
        let array = array_sectors(sector);
        let bytes = |n: u64| vec![0; usize::try_from(n * u64::from(sector)).unwrap_or(0)];
        let tail_start = (sectors - 1 - array) * u64::from(sector);
        Self { head: bytes(2 + array), tail: bytes(1 + array), tail_start, at: 0 }
    }

    /// The bytes at the current place, as far as they exist.
    fn here(&mut self) -> io::Result<&mut [u8]> {
        let (start, part) =
            if self.at < self.tail_start { (0, &mut self.head) } else { (self.tail_start, &mut self.tail) };
        let from = usize::try_from(self.at - start).unwrap_or(usize::MAX);
        part.get_mut(from..).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Read for Ends {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let here = self.here()?;
        let n = buffer.len().min(here.len());
        buffer[..n].copy_from_slice(&here[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let here = self.here()?;
        let n = bytes.len().min(here.len());
        here[..n].copy_from_slice(&bytes[..n]);
        self.at += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Ends {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let end = self.tail_start + self.tail.len() as u64;
        let at = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
            SeekFrom::End(n) => end.checked_add_signed(n),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests;
