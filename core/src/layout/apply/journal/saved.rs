//! What is on a disk before it is written, as far as it can help after a mistake: the table in both copies, superblocks
//! of arrays, metadata of LVM. A few KiB a disk.

use super::record::Saved;
use crate::error::{Error, Result};
use crate::layout::device::ReadAt;
use crate::layout::gpt::Mbr;
use crate::layout::ondisk::{lvm, nested};
use crate::layout::place::Place;
use crate::layout::plan::PlannedDisk;
use crate::layout::solve::backup_bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io;

/// What a superblock of md takes with the list of its members.
const SUPERBLOCK: u64 = 4096;
/// No more of one thing, and no more things, of one disk.
const LIMIT: u64 = 1 << 20;
const COUNT: usize = 512;
const LEVEL: i32 = 3;

/// The pieces of a disk that are saved.
///
/// # Errors
/// `Io`.
pub(super) fn of_disk(disk: &PlannedDisk, device: &dyn ReadAt) -> Result<Vec<Saved>> {
    let name = disk.facts.path.display().to_string();
    let failed = |e: io::Error| Error::io("read", &name, e);
    let mut found: Vec<(&str, u64, u64)> = table(disk);
    for (start, length, s) in &disk.facts.contents.signatures {
        if s.kind == "linux_raid_member" {
            found.extend(s.copies.iter().chain([&s.offset]).map(|at| ("md", start + at, SUPERBLOCK)));
        }
        let outer = Place::new(device, *start, *length);
        let inner = nested::places(&outer, disk.facts.sector).map_err(failed)?;
        for (start, length) in inner.into_iter().chain([(*start, *length)]) {
            if let Some(volume) = lvm::read(&Place::new(device, start, length)).map_err(failed)? {
                // Up to the first extent: label, header and the text of the last changes.
                let reach = volume.data.iter().map(|area| area.start).min().unwrap_or(LIMIT);
                found.push(("lvm", start, reach));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(COUNT);
    let piece = |(what, offset, length): (&str, u64, u64)| -> Result<Option<Saved>> {
        let length = length.min(LIMIT);
        let length = length.min(device.size().saturating_sub(offset));
        let Some(bytes) = Place::whole(device).bytes(offset, usize::try_from(length).unwrap_or(0)).map_err(failed)?
        else {
            return Ok(None);
        };
        let packed = zstd::bulk::compress(&bytes, LEVEL).map_err(|e| Error::io("compress", &name, e))?;
        Ok(Some(Saved { disk: name.clone(), what: what.into(), offset, length, data: STANDARD.encode(packed) }))
    };
    found.into_iter().filter_map(|p| piece(p).transpose()).collect()
}

/// Both copies of a GPT, or the sector with an MBR.
fn table(disk: &PlannedDisk) -> Vec<(&'static str, u64, u64)> {
    let (facts, sector) = (&disk.facts, u64::from(disk.facts.sector));
    match (facts.contents.table.table(), facts.contents.table.mbr) {
        (Some(t), _) => {
            let array = backup_bytes(facts.sector);
            let mut pieces = vec![("table", 0, sector + array), ("table", facts.size.saturating_sub(array), array)];
            // Of a table that was made when the disk was smaller.
            let end = t.other.saturating_add(1).saturating_mul(sector);
            if end < facts.size && end > array {
                pieces.push(("table", end - array, array));
            }
            pieces
        }
        (None, Mbr::None) => Vec::new(),
        (None, _) => vec![("table", 0, sector)],
    }
}
