//! What a superblock calls itself: UUID, label, and which of a family it is.

use super::Signature;
use super::forms::{Form, Id, Label};
use crate::layout::ondisk::{Fields, lvm};
use crate::layout::place::Place;
use std::io;
use uuid::Uuid;

/// What a superblock of ext4 may call itself besides.
pub(super) const EXTENDED: [&str; 3] = ["ext2", "ext3", "jbd"];

/// The signature of this form at this offset.
pub(super) fn signature(place: &Place<'_>, form: &Form, offset: u64) -> io::Result<Signature> {
    let near = Near { place, offset };
    let mut found = Signature {
        kind: form.kind,
        version: Some(form.version).filter(|v| !v.is_empty()).map(str::to_owned),
        label: near.label(form.label)?,
        uuid: near.id(form.id)?,
        group: None,
        offset,
        copies: Vec::new(),
    };
    match form.kind {
        "ext4" => found.kind = near.extended()?,
        "crypto_LUKS" => {
            let version = near.bytes(6, 2)?.map(|b| Fields(&b).be16(0));
            found.version = version.map(|v| v.to_string());
            // Where LUKS2 has a label, LUKS1 has its cipher.
            found.label = found.label.filter(|_| version == Some(2));
        }
        "LVM2_member" => {
            // What it is a part of stands in the metadata; a damaged one says nothing.
            let volume = lvm::read(place)?;
            if let Some(group) = volume.as_ref().and_then(lvm::PhysicalVolume::group) {
                let plain = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
                found.label = Some(group.name.clone()).filter(|n| n.chars().all(plain));
                found.group = Some(group.uuid.clone());
            }
        }
        "vfat" => found.label = found.label.filter(|l| l != "NO NAME"),
        _ => {}
    }
    Ok(found)
}

/// Bytes around a magic number.
struct Near<'a> {
    place: &'a Place<'a>,
    offset: u64,
}

impl Near<'_> {
    fn bytes(&self, distance: i64, length: usize) -> io::Result<Option<Vec<u8>>> {
        match self.offset.checked_add_signed(distance) {
            Some(at) => self.place.bytes(at, length),
            None => Ok(None),
        }
    }

    fn id(&self, id: Id) -> io::Result<Option<String>> {
        let text = |distance, length| -> io::Result<_> {
            Ok(self.bytes(distance, length)?.map(|b| Fields(&b).text(0, length)))
        };
        let found: Option<String> = match id {
            Id::None => None,
            Id::Uuid(distance) => self.bytes(distance, 16)?.and_then(|b| uuid(&b)),
            Id::OldMd => self.bytes(0, 64)?.and_then(|b| {
                let words = [5, 13, 14, 15].map(|n| Fields(&b).u32(4 * n).to_be_bytes());
                uuid(words.as_flattened())
            }),
            Id::Serial(distance) => {
                let raw = self.bytes(distance, 4)?;
                raw.map(|b| format!("{:02X}{:02X}-{:02X}{:02X}", b[3], b[2], b[1], b[0]))
            }
            Id::LongSerial(distance) => self.bytes(distance, 8)?.map(|b| format!("{:016X}", Fields(&b).u64(0))),
            Id::Text(distance, length) => text(distance, length)?,
            Id::Lvm(distance) => text(distance, 32)?.map(|id| lvm::hyphened(&id)),
        };
        Ok(found.filter(|t| !t.is_empty()))
    }

    fn label(&self, label: Label) -> io::Result<Option<String>> {
        let text = match label {
            Label::None => None,
            Label::Text(distance, length) => self.bytes(distance, length)?.map(|b| Fields(&b).text(0, length)),
            Label::Utf16(distance, units) => self.bytes(distance, 2 * units)?.map(|b| {
                let units: Vec<u16> = (0..units).map(|i| Fields(&b).u16(2 * i)).take_while(|u| *u != 0).collect();
                String::from_utf16_lossy(&units).replace(char::is_control, "?")
            }),
        };
        Ok(text.filter(|t| !t.is_empty()))
    }

    /// Features tell ext2, ext3 and ext4 apart: each has some that the one before does not know.
    fn extended(&self) -> io::Result<&'static str> {
        const JOURNAL: u32 = 0x4;
        const JOURNAL_DEVICE: u32 = 0x8;
        /// Of ext2: file types, groups of metadata. Of ext3 also: a journal that waits.
        const INCOMPATIBLE: (u32, u32) = (0x12, 0x16);
        const READ_ONLY: u32 = 0x7;
        let Some(bytes) = self.bytes(0x24, 12)? else { return Ok("ext4") };
        let f = Fields(&bytes);
        let (compatible, incompatible, read_only) = (f.u32(0), f.u32(4), f.u32(8));
        Ok(match () {
            () if incompatible & JOURNAL_DEVICE != 0 => "jbd",
            () if read_only & !READ_ONLY != 0 || incompatible & !INCOMPATIBLE.1 != 0 => "ext4",
            () if compatible & JOURNAL != 0 => "ext3",
            () if incompatible & !INCOMPATIBLE.0 != 0 => "ext4",
            () => "ext2",
        })
    }
}

fn uuid(bytes: &[u8]) -> Option<String> {
    Uuid::from_slice(bytes).ok().filter(|u| !u.is_nil()).map(|u| u.to_string())
}
