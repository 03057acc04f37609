//! The table of magic numbers: what, where, and how one that is short is told from chance.
//!
//! The facts are those of `libblkid/src/superblocks` of util-linux, of the kernel's headers of each filesystem, and of
//! `super-intel.c` and `super-ddf.c` of mdadm.

use crate::layout::ondisk::luks::SECONDARY;
use crate::layout::ondisk::{Fields, crc32_raw};
use crate::layout::place::Place;
use std::io;
use std::sync::LazyLock;

/// Where a magic number stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    /// So many bytes after the begin.
    Start(u64),
    /// The length is rounded down to `align`, then `back` bytes back and `plus` on.
    End { align: u64, back: u64, plus: u64 },
}

impl At {
    /// The offset in a place of this length; `None` when the place is too short for it.
    pub(super) fn offset(self, length: u64) -> Option<u64> {
        match self {
            Self::Start(offset) => Some(offset).filter(|o| *o < length),
            Self::End { align, back, plus } => Some((length / align * align).checked_sub(back)? + plus),
        }
    }
}

/// Where an identity stands, counted from the magic number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Id {
    None,
    /// 16 bytes.
    Uuid(i64),
    /// Four words of md 0.90 that are apart.
    OldMd,
    /// Four bytes, as FAT and exFAT show them.
    Serial(i64),
    /// Eight bytes, as NTFS shows them.
    LongSerial(i64),
    /// Text of this length.
    Text(i64, usize),
    /// 32 characters of LVM.
    Lvm(i64),
}

/// Where a label stands, counted from the magic number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    None,
    Text(i64, usize),
    Utf16(i64, usize),
}

/// What must be right besides the magic number.
#[derive(Clone, Debug)]
pub(super) enum Check {
    None,
    /// The size of a block of ext2, 3, 4.
    ExtBlock,
    /// The version of a superblock of md.
    Md(u32),
    /// The format of GFS.
    Gfs(std::ops::RangeInclusive<u32>),
    /// The major version of squashfs.
    Squashfs(std::ops::RangeInclusive<u16>),
    /// 4 KiB for each bit of the bitmap of DRBD.
    Drbd,
    /// The sum of NILFS2.
    Nilfs,
}

/// One magic number at one place.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) kind: &'static str,
    pub(super) version: &'static str,
    pub(super) at: At,
    pub(super) magic: &'static [u8],
    pub(super) id: Id,
    pub(super) label: Label,
    check: Check,
}

impl Form {
    const fn new(kind: &'static str, at: At, magic: &'static [u8]) -> Self {
        Self { kind, version: "", at, magic, id: Id::None, label: Label::None, check: Check::None }
    }

    const fn named(self, id: Id, label: Label) -> Self {
        Self { id, label, ..self }
    }

    const fn version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    const fn check(self, check: Check) -> Self {
        Self { check, ..self }
    }

    /// Whether it stands at this offset.
    pub(super) fn matches(&self, place: &Place<'_>, offset: u64) -> io::Result<bool> {
        if place.bytes(offset, self.magic.len())?.as_deref() != Some(self.magic) {
            return Ok(false);
        }
        let near = |distance: i64, length: usize| match offset.checked_add_signed(distance) {
            Some(at) => place.bytes(at, length),
            None => Ok(None),
        };
        Ok(match &self.check {
            Check::None => true,
            Check::ExtBlock => near(-0x38 + 24, 4)?.is_some_and(|b| Fields(&b).u32(0) <= 6),
            Check::Md(major) => near(4, 4)?.is_some_and(|b| Fields(&b).u32(0) == *major),
            Check::Gfs(formats) => near(24, 4)?.is_some_and(|b| formats.contains(&Fields(&b).be32(0))),
            Check::Squashfs(majors) => near(28, 2)?.is_some_and(|b| majors.contains(&Fields(&b).u16(0))),
            Check::Drbd => near(20, 4)?.is_some_and(|b| Fields(&b).be32(0) == 4096),
            Check::Nilfs => near(-6, 1024)?.or(near(-6, 512)?).is_some_and(|b| nilfs_sum_is_right(&b)),
        })
    }

    /// What a test must write besides the magic number.
    #[cfg(test)]
    pub(super) fn needs(&self) -> Vec<(i64, Vec<u8>)> {
        match &self.check {
            Check::None => vec![],
            // A feature of ext4.
            Check::ExtBlock => vec![(0x28, 0x40u32.to_le_bytes().to_vec())],
            Check::Md(major) => vec![(4, major.to_le_bytes().to_vec())],
            Check::Gfs(formats) => vec![(24, formats.start().to_be_bytes().to_vec())],
            Check::Squashfs(majors) => vec![(28, majors.start().to_le_bytes().to_vec())],
            Check::Drbd => vec![(20, 4096u32.to_be_bytes().to_vec())],
            Check::Nilfs => {
                let mut block = vec![0u8; 280];
                block[6..8].copy_from_slice(self.magic);
                block[8..10].copy_from_slice(&280u16.to_le_bytes());
                let sum = crc32_raw(0, &block);
                block[16..20].copy_from_slice(&sum.to_le_bytes());
                vec![(-6, block)]
            }
        }
    }
}

/// Its magic number has two bytes only. The sum is over the bytes that it says, with its own place as zeros.
fn nilfs_sum_is_right(block: &[u8]) -> bool {
    let f = Fields(block);
    let length = usize::from(f.u16(8));
    let Some(summed) = block.get(..length).filter(|b| b.len() > 20) else { return false };
    let sum = crc32_raw(f.u32(12), &summed[..16]);
    let sum = crc32_raw(sum, &[0; 4]);
    crc32_raw(sum, &summed[20..]) == f.u32(16)
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MD: &[u8] = b"\xfc\x4e\x2b\xa9";
const BTRFS: &[u8] = b"_BHRfS_M";
/// Pages of the machines that have had swap.
const PAGES: [u64; 5] = [4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB];
const DDF: &[u8] = b"\xde\x11\xde\x11";
const IMSM: &[u8] = b"Intel Raid ISM Cfg Sig. ";

/// All of them.
pub(super) static FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| {
    let mut all = filesystems();
    all.extend(swap());
    all.extend(volumes());
    all.extend(raid());
    all
});

fn at(kind: &'static str, offset: u64, magic: &'static [u8]) -> Form {
    Form::new(kind, At::Start(offset), magic)
}

fn filesystems() -> Vec<Form> {
    let btrfs = |offset: u64| at("btrfs", offset + 0x40, BTRFS).named(Id::Uuid(-0x20), Label::Text(0xeb, 256));
    let fat = |offset, magic, version, serial, label| {
        at("vfat", offset, magic).version(version).named(Id::Serial(serial), Label::Text(label, 11))
    };
    let reiser = |offset, magic| at("reiserfs", offset, magic).named(Id::Uuid(0x20), Label::Text(0x30, 16));
    let gfs = |kind, formats| {
        let form = at(kind, 64 * KIB, b"\x01\x16\x19\x70\x00\x00\x00\x01").check(Check::Gfs(formats));
        form.named(Id::Uuid(256), Label::Text(160, 64))
    };
    let nilfs =
        |place| Form::new("nilfs2", place, b"\x34\x34").check(Check::Nilfs).named(Id::Uuid(146), Label::Text(162, 80));
    let mut all = vec![
        // Which of the family it is, its features tell: `names`.
        at("ext4", 0x438, b"\x53\xef").check(Check::ExtBlock).named(Id::Uuid(0x30), Label::Text(0x40, 16)),
        at("xfs", 0, b"XFSB").named(Id::Uuid(32), Label::Text(108, 12)),
        btrfs(64 * KIB),
        btrfs(64 * MIB),
        btrfs(256 * GIB),
        // Kernels have never written the third copy, mkfs once did.
        btrfs(1024 * 1024 * GIB),
        fat(0x52, b"FAT32   ", "FAT32", 0x43 - 0x52, 0x47 - 0x52),
        fat(0x52, b"MSWIN", "FAT32", 0x43 - 0x52, 0x47 - 0x52),
        fat(0x36, b"FAT16   ", "FAT16", 0x27 - 0x36, 0x2b - 0x36),
        fat(0x36, b"FAT12   ", "FAT12", 0x27 - 0x36, 0x2b - 0x36),
        fat(0x36, b"FAT     ", "", 0x27 - 0x36, 0x2b - 0x36),
        fat(0x36, b"MSDOS", "", 0x27 - 0x36, 0x2b - 0x36),
        at("exfat", 3, b"EXFAT   ").named(Id::Serial(97), Label::None),
        at("ntfs", 3, b"NTFS    ").named(Id::LongSerial(69), Label::None),
        at("ReFS", 0, b"\x00\x00\x00ReFS\x00"),
        at("iso9660", 32 * KIB + 1, b"CD001").named(Id::None, Label::Text(39, 32)),
        at("squashfs", 0, b"hsqs").check(Check::Squashfs(4..=u16::MAX)),
        at("squashfs3", 0, b"hsqs").check(Check::Squashfs(0..=3)),
        at("squashfs3", 0, b"sqsh"),
        at("erofs", 1024, b"\xe2\xe1\xf5\xe0").named(Id::Uuid(48), Label::Text(64, 16)),
        at("f2fs", 1024, b"\x10\x20\xf5\xf2").named(Id::Uuid(0x6c), Label::Utf16(0x7c, 512)),
        at("f2fs", 4096 + 1024, b"\x10\x20\xf5\xf2").named(Id::Uuid(0x6c), Label::Utf16(0x7c, 512)),
        nilfs(At::Start(1024 + 6)),
        nilfs(At::End { align: 4096, back: 4096, plus: 6 }),
        reiser(64 * KIB + 0x34, b"ReIsEr2Fs"),
        reiser(64 * KIB + 0x34, b"ReIsEr3Fs"),
        at("reiserfs", 64 * KIB + 0x34, b"ReIsErFs"),
        at("reiserfs", 8 * KIB + 0x34, b"ReIsErFs"),
        at("reiserfs", 8 * KIB + 20, b"ReIsErFs"),
        at("reiser4", 64 * KIB, b"ReIsEr4"),
        at("jfs", 32 * KIB, b"JFS1").named(Id::Uuid(136), Label::Text(152, 16)),
        gfs("gfs", 1309..=1309),
        gfs("gfs2", 1801..=1899),
        at("ocfs", 8 * KIB, b"OracleCFS"),
        at("VMFS", 2 * MIB, b"\x5e\xf1\xab\x2f").named(Id::None, Label::Text(29, 128)),
        at("apfs", 32, b"NXSB"),
    ];
    let block_sizes = [KIB, 2 * KIB, 4 * KIB, 8 * KIB];
    all.extend(block_sizes.map(|at_block| at("ocfs2", at_block, b"OCFSV2").named(Id::Uuid(336), Label::Text(272, 64))));
    all
}

/// Swap, and what hibernation makes of it: the last ten bytes of the first page.
fn swap() -> Vec<Form> {
    let kinds: [(&str, &[u8]); 6] = [
        ("swap", b"SWAPSPACE2"),
        ("swap", b"SWAP-SPACE"),
        ("swsuspend", b"S1SUSPEND"),
        ("swsuspend", b"S2SUSPEND"),
        ("swsuspend", b"ULSUSPEND"),
        ("swsuspend", b"LINHIB0001"),
    ];
    let forms = PAGES.into_iter().flat_map(|page| {
        let (from, distance) = (page - 10, 10 - i64::try_from(page).unwrap_or(0));
        kinds.map(|(kind, magic)| {
            at(kind, from, magic).named(Id::Uuid(distance + 0x40c), Label::Text(distance + 0x41c, 16))
        })
    });
    // TuxOnIce overwrites the begin and leaves the end of the page.
    let tux_on_ice = at("swsuspend", 0, b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c");
    forms.chain([tux_on_ice.named(Id::Uuid(0x40c), Label::Text(0x41c, 16))]).collect()
}

/// What holds other things.
fn volumes() -> Vec<Form> {
    let luks = |offset, magic| at("crypto_LUKS", offset, magic).named(Id::Text(168, 40), Label::Text(24, 48));
    let bcache: &[u8] = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
    let bcachefs: &[u8] = b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef";
    let stratis: &[u8] = b"!Stra0tis\x86\xff\x02^\x41rh";
    let mut all = vec![luks(0, b"LUKS\xba\xbe")];
    all.extend(SECONDARY.map(|offset| luks(offset, b"SKUL\xba\xbe")));
    all.extend([0, 512, 1024, 1536].map(|o| at("LVM2_member", o, b"LABELONE").named(Id::Lvm(32), Label::None)));
    all.extend([
        at("LVM1_member", 0, b"HM\x01\x00"),
        at("DM_snapshot_cow", 0, b"SnAp"),
        at("DM_verity_hash", 0, b"verity\0\0"),
        at("DM_integrity", 0, b"integrt\0"),
        at("vdo", 0, b"dmvdo001"),
        at("BitLocker", 0, b"\xeb\x58\x90-FVE-FS-"),
        at("BitLocker", 0, b"\xeb\x52\x90-FVE-FS-"),
        at("bcache", 4096 + 24, bcache).named(Id::Uuid(16), Label::Text(48, 32)),
        at("bcachefs", 4096 + 24, bcachefs).named(Id::Uuid(32), Label::Text(48, 32)),
        at("bcachefs", 2 * MIB + 24, bcachefs).named(Id::Uuid(32), Label::Text(48, 32)),
        at("ceph_bluestore", 0, b"bluestore block device").named(Id::Text(23, 36), Label::None),
        at("stratis", 512 + 4, stratis).named(Id::Text(60, 32), Label::None),
        at("stratis", 9 * 512 + 4, stratis).named(Id::Text(60, 32), Label::None),
        at("VMFS_volume_member", MIB, b"\x0d\xd0\x01\xc0"),
    ]);
    all
}

/// Arrays of Linux and of controllers, and DRBD.
fn raid() -> Vec<Form> {
    let md = |version, place| {
        let form = Form::new("linux_raid_member", place, MD).version(version).check(Check::Md(1));
        form.named(Id::Uuid(16), Label::Text(32, 32))
    };
    let old = At::End { align: 64 * KIB, back: 64 * KIB, plus: 0 };
    let mut all = vec![
        md("1.1", At::Start(0)),
        md("1.2", At::Start(4096)),
        md("1.0", At::End { align: 4 * KIB, back: 8 * KIB, plus: 0 }),
        Form::new("linux_raid_member", old, MD).version("0.90").check(Check::Md(0)).named(Id::OldMd, Label::None),
        // Of a machine with the other byte order.
        Form::new("linux_raid_member", old, b"\xa9\x2b\x4e\xfc\x00\x00\x00\x00").version("0.90"),
    ];
    // Two sectors before the end, of both sizes.
    all.extend([512, 4096].map(|s| Form::new("isw_raid_member", At::End { align: s, back: 2 * s, plus: 0 }, IMSM)));
    // The last sector; an older place is kept by some controllers.
    all.extend([1, 257].map(|n| Form::new("ddf_raid_member", At::End { align: 512, back: 512 * n, plus: 0 }, DDF)));
    let drbd: [(&[u8], &str); 3] =
        [(b"\x83\x74\x02\x6b", "v08"), (b"\x83\x74\x02\x6c", "v08"), (b"\x83\x74\x02\x6d", "v09")];
    for align in [KIB, 4 * KIB] {
        all.extend(drbd.map(|(magic, version)| {
            let place = At::End { align, back: 4 * KIB, plus: 60 };
            Form::new("drbd", place, magic).version(version).check(Check::Drbd)
        }));
    }
    all
}
