//! Making filesystems and swap space with the programs that own the formats.

use crate::layout::plan::{Device, Plan, PlannedFilesystem};
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

/// The run that makes a filesystem with the identity `uuid` on a device whose node is `node`.
#[must_use]
pub fn call(plan: &Plan, fs: &PlannedFilesystem, device: Device, uuid: &str, node: &Path) -> Call {
    let esp = match device {
        Device::Partition { disk, partition } => plan.disks()[disk].partitions[partition].kind.is("esp"),
        _ => false,
    };
    run(fs, uuid, plan.glance(device).sector, esp, node)
}

/// The same in a file, which does not tell the program the sectors of the disk whose part it becomes.
#[must_use]
pub fn call_for_file(plan: &Plan, fs: &PlannedFilesystem, device: Device, uuid: &str, file: &Path) -> Call {
    call(plan, &told(fs, plan.glance(device).sector), device, uuid, file)
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

fn run(fs: &PlannedFilesystem, uuid: &str, sector: u32, esp: bool, node: &Path) -> Call {
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
    call.args(&fs.arguments).arg(node)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            mount: None,
            kept: false,
        };
        let line = |kind| run(&fs(kind), "1A2B-3C4D", 4096, true, Path::new("/dev/x")).preview().join(" ");
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
