//! Making filesystems and swap space with the programs that own the formats.

use crate::error::Result;
use crate::layout::plan::{Device, Plan, PlannedFilesystem};
use crate::layout::profile::Series;
use crate::layout::spec::FsType;
use crate::sys::program::{Call, Program};
use std::path::Path;
use std::time::Duration;

/// Making a filesystem on a big slow disk takes minutes.
const LIMIT: Duration = Duration::from_secs(3600);

/// The program that makes this type.
#[must_use]
pub fn program(kind: FsType) -> Program {
    match kind {
        FsType::Vfat => Program::MkfsVfat,
        FsType::Ext4 => Program::MkfsExt4,
        FsType::Xfs => Program::MkfsXfs,
        FsType::Btrfs => Program::MkfsBtrfs,
        FsType::Swap => Program::Mkswap,
    }
}

/// The version of the program here, where it matters what it knows.
///
/// # Errors
/// As [`Call::run`].
pub fn version(fs: &PlannedFilesystem, stop: &dyn Fn() -> bool) -> Result<Option<Series>> {
    if !fs.has_features() {
        return Ok(None);
    }
    let said = Call::new(program(fs.kind)).arg("-V").run(stop)?;
    // mke2fs tells it to stderr. One that says nothing is very old.
    let said = [said.stdout, said.stderr].concat();
    Ok(Some(Series::in_words(&String::from_utf8_lossy(&said)).unwrap_or(Series(0, 0))))
}

/// The run that makes a filesystem with the identity `uuid` on a device whose node is `node`. It is told what the `version`
/// of the program knows; without one, for people, all that may be said to it.
#[must_use]
pub fn call(
    plan: &Plan,
    fs: &PlannedFilesystem,
    device: Device,
    uuid: &str,
    node: &Path,
    version: Option<Series>,
) -> Call {
    let esp = plan.foundation(device).into_iter().any(|d| match d {
        Device::Partition { disk, partition } => plan.disks()[disk].partitions[partition].kind.is("esp"),
        _ => false,
    });
    run(fs, uuid, plan.glance(device).sector, esp, node, version)
}

/// The same in a file, which does not tell the program the sectors of the disk whose part it becomes.
#[must_use]
pub fn call_for_file(
    plan: &Plan,
    fs: &PlannedFilesystem,
    device: Device,
    uuid: &str,
    file: &Path,
    version: Option<Series>,
) -> Call {
    call(plan, &told(fs, plan.glance(device).sector), device, uuid, file, version)
}

/// The filesystem with arguments that say how large sectors are, where the document does not say it.
fn told(fs: &PlannedFilesystem, sector: u32) -> PlannedFilesystem {
    let mut fs = fs.clone();
    let (flag, value) = match fs.kind {
        FsType::Xfs => ("-s", format!("size={sector}")),
        // No block is smaller than a sector.
        FsType::Ext4 if sector > 1024 => ("-b", sector.to_string()),
        _ => return fs,
    };
    if !fs.arguments.iter().any(|a| a.starts_with(flag)) {
        fs.arguments.splice(0..0, [flag.to_owned(), value]);
    }
    fs
}

fn run(fs: &PlannedFilesystem, uuid: &str, sector: u32, esp: bool, node: &Path, version: Option<Series>) -> Call {
    let call = Call::new(program(fs.kind)).limit(LIMIT);
    let labelled = |call: Call, flag: &str| match &fs.label {
        Some(label) => call.arg(flag).arg(label),
        None => call,
    };
    let call = match fs.kind {
        FsType::Ext4 => labelled(call.args(["-q", "-F", "-U", uuid]), "-L"),
        FsType::Xfs => labelled(call.args(["-q", "-f", "-m", &format!("uuid={uuid}")]), "-L"),
        FsType::Btrfs => labelled(call.args(["-q", "-f", "-U", uuid]), "-L"),
        FsType::Swap => labelled(call.args(["-U", uuid]), "-L"),
        FsType::Vfat => {
            let call = call.args(["-i", &uuid.replace('-', ""), "-S", &sector.to_string()]);
            // Firmware reads any FAT, and some reads only FAT32 on a fixed disk.
            let call = if esp { call.args(["-F", "32"]) } else { call };
            labelled(call, "-n")
        }
    };
    let arguments = match fs.readers {
        Some(readers) => readers.arguments(fs.kind, &fs.arguments, version),
        None => fs.arguments.clone(),
    };
    call.args(arguments).arg(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::profile::Readers;

    /// What the programs of this machine make has the features of its readers: read out of the superblocks.
    #[test]
    fn features_are_those_of_the_readers() {
        const BIGTIME: u32 = 8;
        const NREXT64: u32 = 32;
        const METADATA_CSUM: u32 = 0x400;
        const CSUM_SEED: u32 = 0x2000;
        const ORPHAN_FILE: u32 = 0x1000;
        let dir = tempfile::tempdir().unwrap();
        let make = |kind: FsType, kernel, arguments: &[&str]| {
            let file = dir.path().join(kind.name());
            std::fs::File::create(&file).unwrap().set_len(kind.minimum().max(64 << 20)).unwrap();
            let fs = PlannedFilesystem {
                id: "x".into(),
                kind,
                on: Device::Array(0),
                uuid: String::new(),
                mirrors: Vec::new(),
                label: None,
                arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
                readers: Some(Readers { kernel, grub: false }),
                mount: None,
                subvolumes: Vec::new(),
                kept: false,
            };
            let version = version(&fs, &|| false).unwrap();
            run(&fs, "11111111-2222-4333-8444-555555555555", 512, false, &file, version).run(&|| false).unwrap();
            std::fs::read(&file).unwrap()
        };
        if program(FsType::Xfs).find().is_err() || program(FsType::Ext4).find().is_err() {
            eprintln!("skipped: features_are_those_of_the_readers: it needs mkfs.xfs and mkfs.ext4");
            return;
        }
        let xfs = |kernel, arguments: &[&str]| {
            let bytes = make(FsType::Xfs, kernel, arguments);
            u32::from_be_bytes(bytes[216..220].try_into().unwrap())
        };
        assert_eq!(xfs(Series(4, 18), &[]) & (BIGTIME | NREXT64), 0);
        assert_eq!(xfs(Series(6, 1), &[]) & (BIGTIME | NREXT64), BIGTIME);
        assert_eq!(xfs(Series(4, 18), &["-i", "nrext64=1"]) & (BIGTIME | NREXT64), NREXT64);
        // Compatible, incompatible, and such that can be read.
        let ext4 = |kernel, arguments: &[&str]| {
            let bytes = make(FsType::Ext4, kernel, arguments);
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            [word(1024 + 92) & ORPHAN_FILE, word(1024 + 96) & CSUM_SEED, word(1024 + 100) & METADATA_CSUM]
        };
        assert_eq!(ext4(Series(3, 10), &[]), [0, 0, 0]);
        assert_eq!(ext4(Series(4, 18), &[])[2], METADATA_CSUM);
        assert_eq!(ext4(Series(4, 18), &["-O", "metadata_csum_seed"]), [0, CSUM_SEED, METADATA_CSUM]);
        assert_eq!(ext4(Series(3, 10), &["-O", "orphan_file,metadata_csum"]), [ORPHAN_FILE, 0, METADATA_CSUM]);
    }

    #[test]
    fn commands_carry_identity_and_own_arguments() {
        let fs = |kind| PlannedFilesystem {
            id: "x".into(),
            kind,
            on: Device::Array(0),
            uuid: "1A2B-3C4D".into(),
            mirrors: Vec::new(),
            label: Some("L".into()),
            arguments: vec!["-a".into()],
            readers: None,
            mount: None,
            subvolumes: Vec::new(),
            kept: false,
        };
        let line = |kind| run(&fs(kind), "1A2B-3C4D", 4096, true, Path::new("/dev/x"), None).preview().join(" ");
        assert_eq!(line(FsType::Vfat), "mkfs.vfat -i 1A2B3C4D -S 4096 -F 32 -n L -a /dev/x");
        assert_eq!(line(FsType::Xfs), "mkfs.xfs -q -f -m uuid=1A2B-3C4D -L L -a /dev/x");
        let told = |kind, sector, given: &str| {
            told(&PlannedFilesystem { arguments: vec![given.into()], ..fs(kind) }, sector).arguments
        };
        assert_eq!(told(FsType::Xfs, 512, "-a"), ["-s", "size=512", "-a"]);
        assert_eq!(told(FsType::Xfs, 4096, "-ssize=4096"), ["-ssize=4096"]);
        assert_eq!((told(FsType::Ext4, 4096, "-a").len(), told(FsType::Ext4, 512, "-a").len()), (3, 1));
    }
}
