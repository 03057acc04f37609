//! Superblocks that older kernels accept.
//!
//! Linux 6.19 and later note the size of a logical sector where kernels before it expect zeros, and those refuse the array.
//! So what a new kernel made would not start with the older one of an image. Zeros are understood by both.

use super::{HEADER, checksum, read};
use crate::layout::place::Place;
use std::io;
use std::ops::Range;

/// Where the size of a logical sector is noted (`logical_block_size` of `struct mdp_superblock_1`).
const BLOCK_SIZE: Range<usize> = 224..228;
const CHECKSUM: Range<usize> = 216..220;

/// The superblock of version 1 in this place as older kernels accept it, and its offset; `None` where it is so already,
/// or where there is none.
///
/// # Errors
/// Of the device.
pub fn accepted_by_older(place: &Place<'_>) -> io::Result<Option<(u64, Vec<u8>)>> {
    let Some(found) = read(place)? else { return Ok(None) };
    let Some(mut bytes) = place.bytes(found.offset, HEADER + 2 * found.roles.len())? else { return Ok(None) };
    if found.member_uuid.is_none() || bytes[BLOCK_SIZE] == [0; 4] {
        return Ok(None);
    }
    bytes[BLOCK_SIZE].fill(0);
    let sum = checksum(&bytes);
    bytes[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
    Ok(Some((found.offset, bytes)))
}

#[cfg(test)]
mod tests {
    use super::super::{Level, Version, write};
    use super::*;

    #[test]
    fn the_size_of_a_sector_is_forgotten_and_nothing_else() {
        let array = write::tests::array(Version::V1_2, 1, false);
        let mut disk = vec![0u8; 32 << 20];
        let member = write::Member { role: 0, uuid: uuid::Uuid::from_u128(1), size: 32 << 20 };
        for (offset, bytes) in array.member(&member).unwrap() {
            let at = usize::try_from(offset).unwrap();
            disk[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let place = |disk: &Vec<u8>| read(&Place::new(disk, 0, disk.len() as u64)).unwrap();
        let before = place(&disk).unwrap();
        assert_eq!(before.level, Level::Raid(1));
        assert_eq!(accepted_by_older(&Place::new(&disk, 0, disk.len() as u64)).unwrap(), None);
        let at = usize::try_from(before.offset).unwrap();
        let length = HEADER + 2 * before.roles.len();
        disk[at + BLOCK_SIZE.start..at + BLOCK_SIZE.end].copy_from_slice(&512u32.to_le_bytes());
        let sum = checksum(&disk[at..at + length]);
        disk[at + CHECKSUM.start..at + CHECKSUM.end].copy_from_slice(&sum.to_le_bytes());
        let (offset, bytes) = accepted_by_older(&Place::new(&disk, 0, disk.len() as u64)).unwrap().unwrap();
        assert_eq!(offset, before.offset);
        disk[at..at + length].copy_from_slice(&bytes);
        assert_eq!(place(&disk).unwrap(), before);
    }
}
