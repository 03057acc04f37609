//! Disks as they are: something to read from, and the facts that tell one from another. Opened for reading only.

use super::gpt::{self, Fault, Mbr};
use super::inventory::{Content, Inventory};
use super::ranges::Ranges;
use super::signature::{self, Signature};
use crate::error::{Error, Result};
use crate::sys::block;
use crate::sys::sysfs::{DeviceNumber, Kernel};
use crate::units::human;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Types of partitions of shared storage, which keep their signatures in places of their own.
const SHARED_TYPES: [(u128, &str); 3] = [
    (0x37af_fc90_ef7d_4e96_91c3_2d7a_e055_b174, "a partition of IBM Storage Scale (GPFS)"),
    (0xaa31_e02a_400f_11db_9590_000c_2911_d1b8, "a partition of VMware VMFS"),
    (0x381c_fccc_7288_11e0_92ee_000c_2911_d0b2, "a partition of VMware vSAN"),
];
/// A member of an array, as `blkid` calls it.
const MEMBER: &str = "linux_raid_member";
/// How much of the begin and the end of a disk its fingerprint covers.
const FINGERPRINT: u64 = 1 << 20;

/// Bytes that can be read at any place.
pub trait ReadAt {
    /// How many there are.
    fn size(&self) -> u64;

    /// Fills the buffer from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the end; those of the device.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Bytes that can be written at any place, in an order that holds.
pub trait WriteAt: ReadAt {
    /// Writes all of `bytes` from `offset` on.
    ///
    /// # Errors
    /// Those of the device.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything written before is on the medium.
    ///
    /// # Errors
    /// Those of the device.
    fn sync(&self) -> io::Result<()>;
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }
}

impl<T: WriteAt + ?Sized> WriteAt for &T {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|o| self.get(o..o.checked_add(buffer.len())?));
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// An open file or device of a known size.
#[derive(Debug)]
pub struct OpenDisk {
    /// The descriptor.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
}

impl OpenDisk {
    /// Opens a block device for reading.
    ///
    /// # Errors
    /// Of the device.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = block::size(file.as_fd())?;
        Ok(Self { file, size })
    }
}

impl ReadAt for OpenDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// What a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Medium {
    /// A block device, by its number.
    Block {
        /// The driver.
        major: u32,
        /// The device of this driver.
        minor: u32,
    },
    /// A raw image file, by the device and inode it lies on.
    File {
        /// The device of the filesystem.
        device: u64,
        /// The number of the file in it.
        inode: u64,
    },
}

/// A disk and what tells it from others.
#[derive(Clone, Debug)]
pub struct Facts {
    /// As it was named.
    pub path: PathBuf,
    /// What it is.
    pub medium: Medium,
    /// Its size in bytes, whole sectors.
    pub size: u64,
    /// The size of a logical sector in bytes.
    pub sector: u32,
    /// The length of I/O that it likes best, in bytes; 0 when it does not say.
    pub optimal_io: u64,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Model, serial number and world wide name, as far as the kernel tells them.
    pub model: Option<String>,
    /// The serial number.
    pub serial: Option<String>,
    /// The world wide name.
    pub wwid: Option<String>,
    /// What it carries.
    pub contents: Contents,
    /// A hash over begin, end and signatures; where it is `held`, its [`Contents::outline`].
    pub fingerprint: String,
    /// Whether the kernel has made something of it that may write to it at any time: an array, say.
    pub held: bool,
    /// When the file was last changed, in nanoseconds; 0 of a device.
    pub changed: i128,
}

/// What a disk carries.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The tables.
    pub table: gpt::Found,
    /// What looks like a filesystem, array or volume: where it begins, how long its place is, what it is.
    pub signatures: Vec<(u64, u64, Signature)>,
}

impl Facts {
    /// Looks at the disk at `path`; `sector` is the sector size that an image file gets.
    ///
    /// # Errors
    /// `NotFound` when nothing is there; `Invalid` when it is neither a block device nor a regular file; `Denied` or
    /// `Io` when it cannot be read.
    pub fn look(path: &Path, sector: Option<u32>) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| match e {
            rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => {
                Error::not_found(format!("there is no disk at {}", path.display()))
                    .hint("an image file must exist with its size: truncate -s 8G FILE")
                    .fact("path", path.display().to_string())
            }
            rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => {
                Error::new(crate::ErrorKind::Denied, format!("{} may not be read", path.display()))
                    .hint("run as root")
                    .cause(e)
            }
            e => Error::io("open", path.display(), e),
        })?;
        let file = File::from(fd);
        let failed = |e: io::Error| Error::io("read", path.display(), e);
        let meta = file.metadata().map_err(failed)?;
        if meta.file_type().is_block_device() {
            return Self::of_device(path, file, DeviceNumber::from_raw(meta.rdev()));
        }
        if !meta.file_type().is_file() {
            return Err(Error::invalid(format!("{} is neither a block device nor a regular file", path.display()))
                .fact("code", "F215")
                .fact("path", path.display().to_string()));
        }
        let disk = OpenDisk { file, size: meta.len() };
        let sector = match sector {
            Some(s) => s,
            None => gpt::detect_sector(&disk).map_err(failed)?.unwrap_or(512),
        };
        let disk = OpenDisk { size: meta.len() / u64::from(sector) * u64::from(sector), ..disk };
        let (contents, fingerprint) = Contents::look(&disk, sector).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            medium: Medium::File { device: meta.dev(), inode: meta.ino() },
            size: disk.size,
            sector,
            optimal_io: 0,
            // Root may write whatever the mode says; a mode without any w is meant.
            read_only: meta.mode() & 0o222 == 0 || !may_write(path),
            model: None,
            serial: None,
            wwid: None,
            contents,
            fingerprint,
            held: false,
            changed: i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec()),
        })
    }

    fn of_device(path: &Path, file: File, number: DeviceNumber) -> Result<Self> {
        let failed = |e: rustix::io::Errno| Error::io("ask", path.display(), e);
        let kernel = Kernel::default();
        let fd = file.as_fd();
        let (size, sector) = (block::size(fd).map_err(failed)?, block::logical_sector(fd).map_err(failed)?);
        if !matches!(sector, 512 | 4096) {
            return Err(Error::unsupported(format!("{} has sectors of {sector} bytes", path.display()))
                .hint("sectors of 512 and 4096 bytes are supported"));
        }
        let read_only = block::is_read_only(fd).map_err(failed)?;
        read_anew(&file);
        let disk = OpenDisk { file, size: size / u64::from(sector) * u64::from(sector) };
        let (contents, fingerprint) =
            Contents::look(&disk, sector).map_err(|e| Error::io("read", path.display(), e))?;
        let [model, serial, wwid] = names(number);
        let optimal_io = kernel.attribute(number, "queue/optimal_io_size").and_then(|n| n.parse().ok());
        Ok(Self {
            path: path.to_owned(),
            medium: Medium::Block { major: number.major, minor: number.minor },
            size: disk.size,
            sector,
            optimal_io: optimal_io.unwrap_or_default(),
            read_only,
            model,
            serial,
            wwid,
            contents,
            fingerprint,
            held: false,
            changed: 0,
        })
    }

    /// The same disk, with something on it that runs and writes to it: superblocks, bitmaps, what one member copies to
    /// another.
    #[must_use]
    pub fn held(self) -> Self {
        Self { fingerprint: self.contents.outline(), held: true, ..self }
    }

    /// What identifies the disk: part of what the token confirms.
    #[must_use]
    pub fn identity(&self) -> Value {
        json!({
            "path": self.path.display().to_string(),
            "medium": self.medium,
            "size": self.size,
            "sector": self.sector,
            "model": self.model,
            "serial": self.serial,
            "wwid": self.wwid,
            "fingerprint": self.fingerprint,
        })
    }
}

/// Arrays and mounts write past what the kernel has cached of the whole disk: what it has is read anew. Where it does not, it
/// is no worse than before.
pub(super) fn read_anew(disk: &File) {
    let _ = rustix::fs::fadvise(disk, 0, None, rustix::fs::Advice::DontNeed);
}

/// Model, serial number and world wide name of a device now: the same as in an inventory, so that a plan made from one
/// means the same disks.
pub(super) fn names(number: DeviceNumber) -> [Option<String>; 3] {
    Inventory::names(Path::new("/"), number)
}

/// Whether the file could be opened for writing; it is not opened.
fn may_write(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

impl Contents {
    /// Looks at a disk and makes its fingerprint.
    ///
    /// # Errors
    /// Of the device.
    pub fn look(disk: &dyn ReadAt, sector: u32) -> io::Result<(Self, String)> {
        let table = gpt::read(disk, sector)?;
        let mut places = vec![(0, disk.size())];
        if let Some(t) = table.table() {
            places.extend(t.entries.values().map(|e| t.bytes(e)).filter(|(start, length)| {
                *length > 0 && start.checked_add(*length).is_some_and(|end| end <= disk.size())
            }));
        }
        let mut signatures = Vec::new();
        for (start, length) in places {
            for found in signature::find(disk, start, length)? {
                signatures.push((start, length, found));
            }
        }
        let mut hasher = blake3::Hasher::new();
        let piece = FINGERPRINT.min(disk.size());
        let mut buffer = vec![0; usize::try_from(piece).unwrap_or(0)];
        for offset in [0, disk.size() - piece] {
            disk.read_at(offset, &mut buffer)?;
            hasher.update(&buffer);
        }
        for (start, length, s) in &signatures {
            hasher.update(format!("{start} {length} {s:?}\n").as_bytes());
        }
        let fingerprint = hasher.finalize().to_hex()[..32].to_owned();
        Ok((Self { table, signatures }, fingerprint))
    }

    /// A hash over what it carries, and not over bytes: over what an array that runs does not change. Of a member of one
    /// only that it is a member counts: what is in the array comes to it as it is copied.
    #[must_use]
    pub fn outline(&self) -> String {
        let mut content = Content::new(self, "");
        let members: Vec<(u64, u64)> =
            content.signatures.iter().filter(|m| m.kind == MEMBER).map(|m| (m.start, m.length)).collect();
        content.signatures.retain(|m| m.kind == MEMBER || !members.contains(&(m.start, m.length)));
        let text = serde_json::to_vec(&content).unwrap_or_default();
        blake3::hash(&text).to_hex()[..32].to_owned()
    }

    /// What several machines may be using at once, by its signature or by the type of its partition.
    #[must_use]
    pub fn shared(&self) -> Option<String> {
        let signature = self.signatures.iter().find(|(_, _, s)| s.is_shared()).map(|(_, _, s)| s.to_string());
        let entries = self.table.table().into_iter().flat_map(|t| t.entries.values());
        let kinds = entries.filter_map(|e| SHARED_TYPES.iter().find(|(kind, _)| e.kind == Uuid::from_u128(*kind)));
        signature.or(kinds.map(|(_, name)| (*name).to_owned()).next())
    }

    /// Whether nothing is known to be there.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let absent = |t: &Result<gpt::Table, Fault>| *t == Err(Fault::Absent);
        self.signatures.is_empty()
            && self.table.mbr == Mbr::None
            && absent(&self.table.primary)
            && absent(&self.table.backup)
    }

    /// What would be lost where these bytes stay, in lines for people: whole partitions.
    #[must_use]
    pub fn lost_but(&self, stays: &Ranges) -> Vec<String> {
        let lost = |(_, e): &(&u32, &gpt::Entry)| {
            let (start, length) = self.table.table().map_or((0, 0), |t| t.bytes(e));
            !stays.covers(start, length)
        };
        let entries = self.table.table().into_iter().flat_map(|t| &t.entries);
        entries.filter(lost).map(|(number, e)| self.describe_entry(*number, e)).collect()
    }

    fn describe_entry(&self, number: u32, e: &gpt::Entry) -> String {
        let place = self.table.table().map_or((0, 0), |t| t.bytes(e));
        let on = self.signatures.iter().filter(|(s, l, _)| (*s, *l) == place);
        let on: Vec<String> = on.map(|(_, _, s)| s.to_string()).collect();
        let on = if on.is_empty() { "nothing known on it".to_owned() } else { on.join(", ") };
        format!("partition {number} \"{}\", {}: {on}", e.name, human(place.1))
    }

    /// What would be lost, in lines for people.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match (self.table.table(), self.table.mbr) {
            (Some(t), _) => {
                let broken = if self.table.primary.is_err() { " (its first copy is broken)" } else { "" };
                let hybrid = if self.table.mbr == Mbr::Hybrid { ", and an MBR that has some of them too" } else { "" };
                let several = if t.entries.len() == 1 { "" } else { "s" };
                lines.push(format!("a GPT with {} partition{several}{broken}{hybrid}", t.entries.len()));
                lines.extend(t.entries.iter().map(|(number, e)| self.describe_entry(*number, e)));
            }
            (None, _) if self.table.is_broken() => lines.push("a GPT of which both copies are damaged".to_owned()),
            (None, Mbr::Partitions | Mbr::Hybrid) => lines.push("an MBR partition table".to_owned()),
            (None, Mbr::Protective) => lines.push("the remains of a GPT".to_owned()),
            (None, Mbr::None) => {}
        }
        let whole = self.signatures.iter().filter(|(start, _, _)| *start == 0);
        lines.extend(whole.map(|(_, _, s)| format!("{s} on the whole disk")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::gpt::{Entry, Found, Table};

    /// What an array that runs writes makes no other disk of its member; another array does. An inventory says the same.
    #[test]
    fn the_outline_is_what_an_array_does_not_change() {
        let signature = |kind: &'static str, uuid: &str, version: &str| Signature {
            kind,
            version: Some(version.into()),
            label: None,
            uuid: Some(uuid.into()),
            group: None,
            offset: 4096,
            copies: Vec::new(),
        };
        let contents = |signatures: &[(u64, Signature)]| {
            let table = Found { primary: Err(Fault::Absent), backup: Err(Fault::Absent), mbr: Mbr::None };
            let signatures = signatures.iter().map(|(start, s)| (*start, 1 << 30, s.clone())).collect();
            Contents { table, signatures }
        };
        let member = (0, signature(MEMBER, "a", "1.2"));
        let is = contents(std::slice::from_ref(&member));
        assert_eq!(is.outline(), contents(&[member.clone(), (0, signature("ext4", "x", "1"))]).outline());
        for other in [
            contents(&[]),
            contents(&[(0, signature(MEMBER, "b", "1.2"))]),
            contents(&[member.clone(), (1 << 30, signature("ext4", "x", "1"))]),
        ] {
            assert_ne!(is.outline(), other.outline());
        }
        assert_eq!(Content::new(&is, "f").contents(2 << 30, 512).outline(), is.outline());
    }

    #[test]
    fn shared_storage_is_known_by_its_type() {
        let contents = |kind: u128| {
            let kind = Uuid::from_u128(kind);
            let entry = Entry { kind, uuid: Uuid::nil(), first: 40, last: 50, attributes: 0, name: String::new() };
            let table = Table {
                disk: Uuid::nil(),
                sector: 512,
                first_usable: 34,
                last_usable: 100,
                other: 200,
                entries: [(1, entry)].into(),
            };
            let table = Found { primary: Ok(table), backup: Err(Fault::Absent), mbr: Mbr::Protective };
            Contents { table, signatures: Vec::new() }
        };
        // Linux filesystem data, and GPFS.
        assert_eq!(contents(0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4).shared(), None);
        assert!(contents(0x37af_fc90_ef7d_4e96_91c3_2d7a_e055_b174).shared().unwrap().contains("GPFS"));
    }
}
