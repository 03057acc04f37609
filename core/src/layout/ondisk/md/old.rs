//! The superblock of version 0.90: 1,024 words, of which the disks' descriptions are most.

use super::{Level, MAGIC, Role, Superblock, Version, fold};
use crate::layout::ondisk::Fields;
use crate::layout::place::Place;
use std::io;
use uuid::Uuid;

const SIZE: usize = 4096;
/// Where the disks' descriptions begin, how long each is, and how many there are.
const DISKS: (usize, usize, usize) = (128 * 4, 32 * 4, 27);
/// Where this member's own description stands.
const THIS: usize = 992 * 4;
const CHECKSUM: usize = 38;

/// Reads it at its place.
pub(super) fn read(place: &Place<'_>, offset: u64) -> io::Result<Option<Superblock>> {
    let Some(bytes) = place.bytes(offset, SIZE)? else { return Ok(None) };
    let f = Fields(&bytes);
    let word = |n: usize| f.u32(4 * n);
    // 0.91 is one that changes its shape.
    if word(0) != MAGIC || word(1) != 0 || !matches!(word(2), 90 | 91) {
        return Ok(None);
    }
    let sum: u64 = (0..SIZE / 4).filter(|n| *n != CHECKSUM).map(|n| u64::from(word(n))).sum();
    if fold(sum) != word(CHECKSUM) {
        return Ok(None);
    }
    let mut roles = vec![Role::Faulty; DISKS.2];
    for at in (0..DISKS.2).map(|i| DISKS.0 + i * DISKS.1) {
        let number = f.u32(at) as usize;
        if let (Some(role), true) = (roles.get_mut(number), f.0[at..at + DISKS.1].iter().any(|b| *b != 0)) {
            *role = role_of(&f, at);
        }
    }
    let mut uuid = [0; 16];
    for (to, from) in uuid.chunks_exact_mut(4).zip([5, 13, 14, 15]) {
        // mdadm and blkid show each word as a number.
        to.copy_from_slice(&word(from).to_be_bytes());
    }
    let level = Level::from_number(i32::from_le_bytes(f.array(4 * 7)));
    Ok(Some(Superblock {
        version: Version::V0_90,
        offset,
        uuid: Uuid::from_bytes(uuid),
        name: String::new(),
        level,
        layout: word(64),
        chunk: word(65).into(),
        raid_disks: word(10),
        member_size: u64::from(word(8)) * 1024,
        data_offset: 0,
        data_size: offset,
        number: f.u32(THIS),
        member_uuid: None,
        role: role_of(&f, THIS),
        roles,
        events: u64::from(word(40)) << 32 | u64::from(word(39)),
        created: word(6).into(),
        updated: word(32).into(),
        clean: word(33) & 1 != 0,
        recovery: None,
        reshaping: word(2) == 91,
        // Its place is fixed: right behind the superblock, and the state has a bit for it.
        bitmap: if word(33) & 0x100 == 0 { None } else { super::bitmap(place, offset.checked_add(4096))? },
    }))
}

/// Bits of a disk's state: 0 faulty, 1 active, 2 in sync.
fn role_of(f: &Fields<'_>, at: usize) -> Role {
    let state = f.u32(at + 16);
    match (state & 1, state & 4) {
        (1, _) => Role::Faulty,
        (_, 4) => u16::try_from(f.u32(at + 12)).map_or(Role::Spare, Role::Active),
        _ => Role::Spare,
    }
}
