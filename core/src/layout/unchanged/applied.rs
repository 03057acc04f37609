//! For tests of those who look at what is there: the disks as they are when a plan was applied.

use super::LEFT_SYMMETRIC;
use crate::layout::observed::{self, Node, Observed};
use crate::layout::ondisk::spread::Spread;
use crate::layout::ondisk::{luks, md};
use crate::layout::plan::{Device, Plan};
use crate::layout::spec::{Bitmap, Level, Metadata};

/// The disks as they are when a plan was applied.
pub(in crate::layout) fn applied(plan: &Plan) -> Observed {
    let node = |device: Device| match device {
        Device::Partition { disk, partition } => {
            Node::Partition { disk, number: plan.disks[disk].partitions[partition].number }
        }
        Device::Array(i) => Node::Array(i),
        Device::Crypt(i) => Node::Crypt(i),
        Device::Volume { group, volume } => Node::Volume { group, volume },
    };
    let running = || {
        let number = crate::sys::sysfs::DeviceNumber { major: 253, minor: 0 };
        Some(observed::Running { kernel: "dm-0".into(), number, mapped: None })
    };
    let disks = plan.disks.iter().map(|d| observed::Disk {
        path: d.facts.path.clone(),
        device: None,
        size: d.facts.size,
        sector: d.facts.sector,
        hardware: None,
        table: Some(observed::Table {
            guid: d.guid,
            whole: true,
            partitions: d
                .partitions
                .iter()
                .map(|p| observed::Partition {
                    number: p.number,
                    kind: p.kind,
                    uuid: p.uuid,
                    name: p.name.clone(),
                    start: p.start,
                    length: p.length,
                    attributes: p.attributes,
                })
                .collect(),
        }),
    });
    let arrays = plan.arrays.iter().map(|a| {
        let data = a.members.len() - a.spares as usize;
        let role = |n: usize| if n < data { md::Role::Active(u16::try_from(n).unwrap()) } else { md::Role::Spare };
        observed::Array {
            uuid: a.uuid,
            name: format!("any:{}", a.name),
            version: if a.metadata == Metadata::V1_0 { md::Version::V1_0 } else { md::Version::V1_2 },
            level: md::Level::Raid(u8::try_from(a.level.number()).unwrap()),
            layout: match (a.level, a.layout) {
                (Level::Raid10, Some(l)) if l.kind == 'n' => 0x100 | l.copies,
                (Level::Raid10, Some(l)) => (if l.kind == 'o' { 0x1_0000 } else { 0 }) | l.copies << 8 | 1,
                (level, _) if level.has_parity() => LEFT_SYMMETRIC,
                _ => 0,
            },
            chunk: a.chunk.unwrap_or(0),
            raid_disks: u32::try_from(data).unwrap(),
            members: (0..).zip(&a.members).map(|(n, d)| observed::Member { on: node(*d), role: role(n) }).collect(),
            data_offset: a.data_offset,
            component: a.component,
            size: a.size,
            bitmap: a.bitmap == Bitmap::Internal,
            reshaping: false,
            split: false,
            running: running(),
        }
    });
    let crypts = plan.crypts.iter().map(|c| observed::Crypt {
        on: node(c.on),
        size: c.size,
        open: running(),
        header: luks::Header {
            version: 2,
            offset: 0,
            secondary: None,
            uuid: c.uuid.to_string(),
            label: c.label.clone(),
            subsystem: None,
            sequence: 1,
            cipher: "aes-xts-plain64".into(),
            sector: 512,
            data_offset: c.data_offset,
            keyslots: Vec::new(),
            tokens: Vec::new(),
        },
    });
    let groups = plan.groups.iter().map(|g| observed::Group {
        name: g.name.clone(),
        uuid: "vg".into(),
        extent: g.extent,
        extents: g.extents,
        free: g.free,
        pvs: g.pvs.iter().map(|(d, u)| observed::Physical { uuid: u.clone(), on: Some(node(*d)) }).collect(),
        tags: Vec::new(),
        volumes: g
            .volumes
            .iter()
            .map(|v| observed::Volume {
                name: v.name.clone(),
                uuid: format!("lv-{}", v.name),
                kind: Ok(v.kind),
                extents: v.size / g.extent,
                stripes: v.stripes.filter(|(n, _)| *n > 1),
                chunk: v.chunk,
                metadata: v.metadata,
                pool: v.pool.clone(),
                size: v.size,
                tags: Vec::new(),
                active: running(),
            })
            .collect(),
    });
    let filesystems = plan.filesystems.iter().flat_map(|f| {
        let made = |(device, uuid): (Device, &str)| observed::Filesystem {
            on: node(device),
            kind: f.kind.name().to_owned(),
            label: f.label.clone(),
            uuid: Some(uuid.to_owned()),
            subvolumes: Ok(f.subvolumes.iter().map(|s| s.name.clone()).collect()),
            spread: Spread::default(),
        };
        f.places().map(made).collect::<Vec<_>>()
    });
    Observed {
        disks: disks.collect(),
        arrays: arrays.collect(),
        crypts: crypts.collect(),
        groups: groups.collect(),
        filesystems: filesystems.collect(),
        oddities: Vec::new(),
        system: None,
    }
}
