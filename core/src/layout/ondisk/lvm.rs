//! Physical volumes of LVM2: label, header, and the metadata of the volume group in a ring buffer.
//!
//! ```text
//! sector 0-3: LABELONE, PV header ──> data areas: where extents begin
//!                                 └─> metadata areas:
//!                                     | mda header 512 | old text | newest text | .. wraps to the begin
//!                                        └── raw location: offset, size, CRC ──┘
//! ```
//!
//! Little endian. Sources: `lib/label/label.h`, `lib/format_text/layout.h`, `lib/misc/crc.c` of LVM2.

mod config;
pub mod export;
pub mod text;

use super::{Fields, Piece, crc32_raw};
use crate::error::{Error, Result};
use crate::layout::place::Place;
use std::io;
use text::VolumeGroup;

const LABEL: &[u8; 8] = b"LABELONE";
const KIND: &[u8; 8] = b"LVM2 001";
const SECTOR: usize = 512;
/// The label stands in one of so many sectors.
const LABEL_SECTORS: u64 = 4;
const CRC_START: u32 = 0xf597_a6cf;
const MDA_MAGIC: &[u8; 16] = b"\x20LVM2 x[5A%r0N*>";
const MDA_HEADER: u64 = 512;
/// A group with thousands of volumes has about 1 MiB of text.
const TEXT_LIMIT: u64 = 16 << 20;
/// This copy of the metadata is not used.
const IGNORED: u32 = 1;
/// Where this writes the metadata area, as pvcreate does, and how far it reaches.
const MDA: (u64, u64) = (4096, 1 << 20);

/// A stretch in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Where it begins in the place.
    pub start: u64,
    /// How long it is; 0 means up to the end.
    pub size: u64,
}

/// What is known about the volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// This volume belongs to none, or keeps no metadata.
    None,
    /// The newest that was right.
    Group(Box<VolumeGroup>),
    /// There is some, and it cannot be read; why.
    Broken(String),
}

/// A physical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalVolume {
    /// Its identity, as LVM writes it: seven groups with hyphens.
    pub uuid: String,
    /// The sector in which the label stands.
    pub label_sector: u64,
    /// The size of its device, as it was when it was made.
    pub device_size: u64,
    /// Where extents lie.
    pub data: Vec<Area>,
    /// Where metadata lies.
    pub metadata_areas: Vec<Area>,
    /// Whether it belongs to a group, by the flag of newer versions.
    pub used: Option<bool>,
    /// The group.
    pub metadata: Metadata,
}

impl PhysicalVolume {
    /// The group, when its metadata is here and right.
    #[must_use]
    pub fn group(&self) -> Option<&VolumeGroup> {
        match &self.metadata {
            Metadata::Group(group) => Some(group),
            _ => None,
        }
    }
}

/// Reads a physical volume, if there is one.
///
/// # Errors
/// Of the device.
pub fn read(place: &Place<'_>) -> io::Result<Option<PhysicalVolume>> {
    for sector in 0..LABEL_SECTORS {
        let Some(bytes) = place.bytes(sector * SECTOR as u64, SECTOR)? else { continue };
        if let Some(mut volume) = label(&bytes, sector) {
            volume.metadata = metadata(place, &volume.metadata_areas)?;
            return Ok(Some(volume));
        }
    }
    Ok(None)
}

/// The label and the header behind it.
fn label(bytes: &[u8], sector: u64) -> Option<PhysicalVolume> {
    let f = Fields(bytes);
    let right = bytes.starts_with(LABEL)
        && bytes.get(24..32) == Some(KIND)
        && f.u64(8) == sector
        && crc32_raw(CRC_START, bytes.get(20..)?) == f.u32(16);
    let header = f.u32(20) as usize;
    if !right || !(32..SECTOR - 40).contains(&header) {
        return None;
    }
    let mut at = header + 40;
    // Each list ends with an entry of zeros, and all of them with the sector.
    let mut list = || {
        let mut areas = Vec::new();
        while at + 16 <= SECTOR {
            let area = Area { start: f.u64(at), size: f.u64(at + 8) };
            at += 16;
            if area.start == 0 {
                break;
            }
            areas.push(area);
        }
        areas
    };
    let (data, metadata_areas) = (list(), list());
    let used = (f.u32(at) >= 2).then(|| f.u32(at + 4) & 1 != 0);
    Some(PhysicalVolume {
        uuid: hyphened(&f.text(header, 32)),
        label_sector: sector,
        device_size: f.u64(header + 32),
        data,
        metadata_areas,
        used,
        metadata: Metadata::None,
    })
}

/// The newest metadata of all areas.
fn metadata(place: &Place<'_>, areas: &[Area]) -> io::Result<Metadata> {
    let mut best = Metadata::None;
    for area in areas {
        let found = match text_of(place, *area)? {
            Ok(None) => Metadata::None,
            Ok(Some(text)) => match text::parse(&text) {
                Ok(group) => Metadata::Group(Box::new(group)),
                Err(why) => Metadata::Broken(why),
            },
            Err(why) => Metadata::Broken(why.to_owned()),
        };
        best = match (best, found) {
            (Metadata::Group(a), Metadata::Group(b)) if b.seqno > a.seqno => Metadata::Group(b),
            (a @ Metadata::Group(_), _) | (a, Metadata::None) => a,
            (_, b) => b,
        };
    }
    Ok(best)
}

/// The text in one area: `None` when there is none, or why it cannot be had.
fn text_of(place: &Place<'_>, area: Area) -> io::Result<std::result::Result<Option<Vec<u8>>, &'static str>> {
    let Some(bytes) = place.bytes(area.start, SECTOR)? else { return Ok(Err("a metadata area is beyond the end")) };
    let f = Fields(&bytes);
    if crc32_raw(CRC_START, &bytes[4..]) != f.u32(0) || &bytes[4..20] != MDA_MAGIC || f.u32(20) != 1 {
        return Ok(Err("the header of a metadata area is damaged"));
    }
    let (size, location) = (f.u64(32), (f.u64(40), f.u64(48), f.u32(56), f.u32(60)));
    let (offset, length, sum, flags) = location;
    if offset == 0 || flags & IGNORED != 0 {
        return Ok(Ok(None));
    }
    let fits = f.u64(24) == area.start
        && (MDA_HEADER..size).contains(&offset)
        && (1..=TEXT_LIMIT.min(size - MDA_HEADER)).contains(&length);
    if !fits {
        return Ok(Err("the text of a metadata area cannot be where its header says"));
    }
    // What does not fit before the end goes on behind the header.
    let first = length.min(size - offset);
    let mut text = Vec::new();
    for (at, length) in [(offset, first), (MDA_HEADER, length - first)] {
        let piece = match (area.start.checked_add(at), usize::try_from(length)) {
            (Some(at), Ok(length)) => place.bytes(at, length)?,
            _ => None,
        };
        let Some(piece) = piece else { return Ok(Err("the text of a metadata area is beyond the end")) };
        text.extend(piece);
    }
    if crc32_raw(CRC_START, &text) != sum {
        return Ok(Err("the text of a metadata area is damaged"));
    }
    Ok(Ok(Some(text)))
}

/// What makes a device a physical volume of this group: label, header and metadata, and where they belong.
///
/// The volume is the one of `group.physical` with the name `volume`; its data must begin at 1 MiB or later.
///
/// # Errors
/// `Invalid` when there is no such volume, or its numbers cannot be; as [`export::export`].
pub fn write(group: &VolumeGroup, volume: &str, written: &export::Written) -> Result<Vec<Piece>> {
    let Some(own) = group.physical.iter().find(|p| p.name == volume) else {
        return Err(Error::invalid(format!("volume group {} has no physical volume {volume}", group.name)));
    };
    let end = own.start.checked_add(group.extent_size.saturating_mul(own.extents));
    if own.start < MDA.1 || end.is_none_or(|end| end > own.size) {
        let text = format!("the extents of {volume} of volume group {} do not fit on it", group.name);
        return Err(Error::invalid(text));
    }
    let mut text = export::export(group, written)?.into_bytes();
    text.push(0);
    let size = MDA.1 - MDA.0;
    // Half of the area, so that the next version fits beside this one.
    if text.len() as u64 > (size - MDA_HEADER) / 2 {
        return Err(Error::limit(format!("the metadata of volume group {} is too large", group.name)));
    }
    let mut mda = vec![0; SECTOR];
    let mut put = |at: usize, value: &[u8]| mda[at..at + value.len()].copy_from_slice(value);
    put(4, MDA_MAGIC);
    put(20, &1u32.to_le_bytes());
    put(24, &MDA.0.to_le_bytes());
    put(32, &size.to_le_bytes());
    put(40, &MDA_HEADER.to_le_bytes());
    put(48, &(text.len() as u64).to_le_bytes());
    put(56, &crc32_raw(CRC_START, &text).to_le_bytes());
    let sum = crc32_raw(CRC_START, &mda[4..]);
    mda[..4].copy_from_slice(&sum.to_le_bytes());
    mda.extend(text);
    let label = label_bytes(&own.uuid, own.size, own.start, size)?;
    Ok(vec![(SECTOR as u64, label), (MDA.0, mda)])
}

fn label_bytes(uuid: &str, device: u64, data: u64, mda_size: u64) -> Result<Vec<u8>> {
    if !is_uuid(uuid) {
        return Err(Error::invalid(format!("\"{uuid}\" is not a UUID of LVM")));
    }
    let id: Vec<u8> = uuid.bytes().filter(|b| *b != b'-').collect();
    let mut label = vec![0; SECTOR];
    let mut put = |at: usize, value: &[u8]| label[at..at + value.len()].copy_from_slice(value);
    put(0, LABEL);
    put(8, &1u64.to_le_bytes());
    put(20, &32u32.to_le_bytes());
    put(24, KIND);
    put(32, &id);
    put(64, &device.to_le_bytes());
    // Data from here to the end, then the end of the list; the metadata area, and its end; the extension.
    for (i, number) in [data, 0, 0, 0, MDA.0, mda_size, 0, 0].into_iter().enumerate() {
        put(72 + 8 * i, &number.to_le_bytes());
    }
    put(136, &2u32.to_le_bytes());
    put(140, &1u32.to_le_bytes());
    let sum = crc32_raw(CRC_START, &label[20..]);
    label[16..20].copy_from_slice(&sum.to_le_bytes());
    Ok(label)
}

/// The name of a volume in `/dev/mapper`: a dash joins group and volume, and those that they have are doubled.
#[must_use]
pub fn mapper_name(group: &str, volume: &str) -> String {
    format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--"))
}

/// An identity in LVM's form out of 32 bytes of a hash.
#[must_use]
pub fn uuid(hash: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let digits: String = hash.iter().map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()])).collect();
    hyphened(&digits)
}

/// Whether this is an identity in LVM's form.
pub(crate) fn is_uuid(text: &str) -> bool {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    digits.len() == 32
        && digits.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#".contains(&b))
        && hyphened(&digits) == text
}

/// 32 characters in groups of 6, 4, 4, 4, 4, 4 and 6; anything else as it is.
pub(crate) fn hyphened(id: &str) -> String {
    if id.len() != 32 || !id.is_ascii() {
        return id.to_owned();
    }
    let cuts = [0, 6, 10, 14, 18, 22, 26, 32];
    cuts.windows(2).map(|w| &id[w[0]..w[1]]).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::export::Written;
    use super::*;
    use proptest::prelude::*;

    fn disk(group: &VolumeGroup) -> Vec<u8> {
        let mut disk = vec![0u8; 8 << 20];
        for (at, bytes) in write(group, "pv0", &Written::default()).unwrap() {
            let at = usize::try_from(at).unwrap();
            disk[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        disk
    }

    fn refresh(disk: &mut [u8], at: usize, from: usize, sum_at: usize) {
        let sum = crc32_raw(CRC_START, &disk[at + from..at + SECTOR]);
        disk[at + sum_at..at + sum_at + 4].copy_from_slice(&sum.to_le_bytes());
    }

    #[test]
    fn what_is_written_is_read() {
        let group = text::tests::group();
        let disk = disk(&group);
        let read = read(&Place::whole(&disk)).unwrap().unwrap();
        assert_eq!(read.group(), Some(&group));
        assert_eq!((read.uuid.as_str(), read.used), (group.physical[0].uuid.as_str(), Some(true)));
        assert_eq!(read.data, [Area { start: 1 << 20, size: 0 }]);
        assert_eq!(read.metadata_areas, [Area { start: 4096, size: (1 << 20) - 4096 }]);
        assert!(write(&group, "pv9", &Written::default()).is_err());
        let mut bad = group.clone();
        bad.physical[0].extents = u64::MAX;
        assert!(write(&bad, "pv0", &Written::default()).is_err());
    }

    #[test]
    fn text_that_wraps_is_put_together() {
        let group = text::tests::group();
        let mut disk = disk(&group);
        let size = (1 << 20) - 4096;
        let length = usize::try_from(Fields(&disk[4096..]).u64(48)).unwrap();
        let text = disk[4096 + 512..4096 + 512 + length].to_vec();
        disk[4096 + 512..4096 + 512 + length].fill(b'x');
        // 100 bytes before the end of the area, the rest behind the header.
        let offset = size - 100;
        disk[4096 + offset..4096 + size].copy_from_slice(&text[..100]);
        disk[4096 + 512..4096 + 512 + length - 100].copy_from_slice(&text[100..]);
        disk[4096 + 40..4096 + 48].copy_from_slice(&(offset as u64).to_le_bytes());
        refresh(&mut disk, 4096, 4, 0);
        assert_eq!(read(&Place::whole(&disk)).unwrap().unwrap().group(), Some(&group));
    }

    #[test]
    fn damage_is_told_and_the_label_still_read() {
        let good = disk(&text::tests::group());
        let broken = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut disk = good.clone();
            change(&mut disk);
            match read(&Place::whole(&disk)).unwrap().unwrap().metadata {
                Metadata::Broken(why) => why,
                other => panic!("{other:?}"),
            }
        };
        assert!(broken(&|d| d[4096 + 600] ^= 1).contains("text of a metadata area is damaged"));
        assert!(broken(&|d| d[4096 + 50] ^= 1).contains("header of a metadata area is damaged"));
        for (at, value) in [(40, u64::MAX), (48, u64::MAX), (48, TEXT_LIMIT), (24, 5), (32, 0), (40, 100)] {
            let why = broken(&|d| {
                d[4096 + at..4096 + at + 8].copy_from_slice(&value.to_le_bytes());
                refresh(d, 4096, 4, 0);
            });
            assert!(why.contains("cannot be where"), "{at} {value}: {why}");
        }
        let mut disk = good.clone();
        disk[4096 + 60] = 1;
        refresh(&mut disk, 4096, 4, 0);
        assert_eq!(read(&Place::whole(&disk)).unwrap().unwrap().metadata, Metadata::None);
        disk[512 + 40] ^= 1;
        assert_eq!(read(&Place::whole(&disk)).unwrap(), None);
    }

    #[test]
    fn identities_have_lvms_form() {
        let id = uuid(&[7; 32]);
        assert_eq!(id, "777777-7777-7777-7777-7777-7777-777777");
        assert!(is_uuid(&id) && !is_uuid("7") && !is_uuid(&id.replace('-', "")) && !is_uuid(&id.replace('7', "ü")));
        assert_eq!((hyphened("short"), uuid(&[63; 32]).starts_with("111111-")), ("short".into(), true));
    }

    proptest! {
        /// Any header with the right sums is read without harm.
        #[test]
        fn any_label_is_read(
            body in proptest::collection::vec(any::<u8>(), SECTOR - 32), header in 0u32..600, mda in proptest::collection::vec(any::<u8>(), 48),
        ) {
            let mut disk = vec![0u8; 64 << 10];
            disk[512..520].copy_from_slice(LABEL);
            disk[520..528].copy_from_slice(&1u64.to_le_bytes());
            disk[532..536].copy_from_slice(&header.to_le_bytes());
            disk[536..544].copy_from_slice(KIND);
            disk[544..1024].copy_from_slice(&body);
            let with_area = header == 32;
            if with_area {
                disk[512 + 88..512 + 104].fill(0);
                disk[512 + 104..512 + 112].copy_from_slice(&4096u64.to_le_bytes());
            }
            refresh(&mut disk, 512, 20, 16);
            disk[4100..4116].copy_from_slice(MDA_MAGIC);
            disk[4116..4120].copy_from_slice(&1u32.to_le_bytes());
            disk[4120..4168].copy_from_slice(&mda);
            refresh(&mut disk, 4096, 4, 0);
            let found = read(&Place::whole(&disk)).unwrap();
            prop_assert_eq!(found.is_some(), (32..SECTOR as u32 - 40).contains(&header));
        }
    }
}
