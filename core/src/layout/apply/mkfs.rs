//! Making filesystems and swap space with the programs that own the formats.

use crate::layout::plan::{PlannedFilesystem, PlannedPartition};
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

/// The run that makes a filesystem with the planned identity on `device`.
#[must_use]
pub fn call(fs: &PlannedFilesystem, partition: &PlannedPartition, sector: u32, device: &Path) -> Call {
    let call = Call::new(program(fs.kind)).limit(LIMIT);
    let labelled = |call: Call, flag: &str| match &fs.label {
        Some(label) => call.arg(flag).arg(label),
        None => call,
    };
    let call = match fs.kind {
        FsType::Ext4 => labelled(call.args(["-q", "-F", "-U", &fs.uuid]), "-L"),
        FsType::Xfs => labelled(call.args(["-q", "-f", "-m", &format!("uuid={}", fs.uuid)]), "-L"),
        FsType::Btrfs => labelled(call.args(["-q", "-f", "-U", &fs.uuid]), "-L"),
        FsType::Swap => labelled(call.args(["-U", &fs.uuid]), "-L"),
        FsType::Vfat => {
            let call = call.args(["-i", &fs.uuid.replace('-', ""), "-S", &sector.to_string()]);
            // Firmware reads any FAT, and some reads only FAT32 on a fixed disk.
            let call = if partition.kind.is("esp") { call.args(["-F", "32"]) } else { call };
            labelled(call, "-n")
        }
    };
    call.args(&fs.arguments).arg(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::spec::{PartitionKey, PartitionType};

    #[test]
    fn commands_carry_identity_and_own_arguments() {
        let partition = PlannedPartition {
            key: PartitionKey { set: "os".into(), name: "esp".into() },
            number: 1,
            kind: PartitionType::parse("esp").unwrap(),
            name: "esp".into(),
            uuid: uuid::Uuid::from_u128(1),
            start: 0,
            length: 0,
            attributes: 0,
        };
        let fs = |kind| PlannedFilesystem {
            id: "x".into(),
            kind,
            disk: 0,
            partition: 0,
            uuid: "1A2B-3C4D".into(),
            label: Some("L".into()),
            arguments: vec!["-a".into()],
            mount: None,
        };
        let line = |kind| call(&fs(kind), &partition, 4096, Path::new("/dev/x")).preview().join(" ");
        assert_eq!(line(FsType::Vfat), "mkfs.vfat -i 1A2B3C4D -S 4096 -F 32 -n L -a /dev/x");
        assert_eq!(line(FsType::Xfs), "mkfs.xfs -q -f -m uuid=1A2B-3C4D -L L -a /dev/x");
    }
}
