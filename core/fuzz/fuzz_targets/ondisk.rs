//! Invariant: any bytes on a disk give signatures, arrays, groups and places, or nothing, never a panic; what is found
//! lies where the eraser looks, what is nested lies inside, and a group that can be written is read again as it was.
#![no_main]
use libcv::layout::ondisk::lvm::export::{Written, export};
use libcv::layout::ondisk::{btrfs, luks, lvm, md, nested};
use libcv::layout::place::Place;
use libcv::layout::signature;
use libfuzzer_sys::fuzz_target;

const DISK: usize = 256 << 10;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    if which % 4 == 0 {
        return text(bytes);
    }
    let mut disk = vec![0u8; DISK];
    let at = if which & 0x80 == 0 { [0, 0, 4096, 512][usize::from(which % 4)] } else { 64 << 10 };
    let length = bytes.len().min(DISK - at);
    disk[at..at + length].copy_from_slice(&bytes[..length]);
    match which % 4 {
        2 => fix_md(&mut disk[4096..8192]),
        3 => fix_lvm(&mut disk),
        _ => {}
    }
    let place = Place::whole(&disk);
    let areas = signature::areas(DISK as u64);
    for s in signature::find(&disk, 0, DISK as u64).expect("memory can be read") {
        for offset in s.copies.iter().chain([&s.offset]) {
            assert!(areas.iter().any(|(from, bytes)| from <= offset && *offset < from + bytes));
        }
    }
    for (start, length) in nested::places(&place, 512).expect("memory can be read") {
        assert!(length > 0 && start + length <= DISK as u64);
    }
    let _ = md::read_all(&place).expect("memory can be read");
    let _ = luks::read(&place).expect("memory can be read");
    let _ = btrfs::subvolumes(&place).expect("memory can be read");
    if let Some(volume) = lvm::read(&place).expect("memory can be read")
        && let Some(group) = volume.group()
    {
        again(group);
    }
});

fn text(bytes: &[u8]) {
    if let Ok(group) = lvm::text::parse(bytes) {
        let _ = group.free_extents();
        again(&group);
    }
}

fn again(group: &lvm::text::VolumeGroup) {
    if let Ok(text) = export(group, &Written::default()) {
        let hintless = |group: &lvm::text::VolumeGroup| {
            let mut group = group.clone();
            // No more than a hint, in which control characters are not kept.
            group.physical.iter_mut().for_each(|p| p.device.clear());
            group
        };
        assert_eq!(hintless(&lvm::text::parse(text.as_bytes()).expect("own text is read")), hintless(group));
    }
}

/// A random sum would hide everything behind it; so would another place.
fn fix_md(block: &mut [u8]) {
    block[..8].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0]);
    block[144..152].copy_from_slice(&8u64.to_le_bytes());
    let roles = u32::from_le_bytes([block[220], block[221], block[222], block[223]]) % 1500;
    block[220..224].copy_from_slice(&roles.to_le_bytes());
    let length = 256 + 2 * roles as usize;
    block[216..220].fill(0);
    let words = block[..length].chunks(4).map(|w| {
        let mut word = [0; 4];
        word[..w.len()].copy_from_slice(w);
        u64::from(u32::from_le_bytes(word))
    });
    let sum: u64 = words.sum();
    let folded = (sum & 0xffff_ffff) + (sum >> 32);
    block[216..220].copy_from_slice(&(folded as u32).to_le_bytes());
}

fn fix_lvm(disk: &mut [u8]) {
    disk[512..520].copy_from_slice(b"LABELONE");
    disk[520..528].copy_from_slice(&1u64.to_le_bytes());
    disk[532..544].copy_from_slice(b"\x20\0\0\0LVM2 001");
    // No data area, and one metadata area at 4096.
    disk[584..600].fill(0);
    disk[600..608].copy_from_slice(&4096u64.to_le_bytes());
    let sum = crc(&disk[532..1024]);
    disk[528..532].copy_from_slice(&sum.to_le_bytes());
    disk[4100..4120].copy_from_slice(b"\x20LVM2 x[5A%r0N*>\x01\0\0\0");
    disk[4120..4128].copy_from_slice(&4096u64.to_le_bytes());
    let (offset, length) = (number(disk, 4136) as usize, number(disk, 4144) as usize);
    // Where the text does not wrap, its sum is right, too.
    if offset < DISK && length < DISK && 4096 + offset + length <= DISK {
        let sum = crc(&disk[4096 + offset..4096 + offset + length]);
        disk[4152..4156].copy_from_slice(&sum.to_le_bytes());
    }
    let sum = crc(&disk[4100..4608]);
    disk[4096..4100].copy_from_slice(&sum.to_le_bytes());
}

fn number(disk: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&disk[at..at + 8]);
    u64::from_le_bytes(word)
}

/// LVM's CRC, bit by bit: slow and independent of the library's.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}
