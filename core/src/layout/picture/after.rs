//! What will be there: the partitions of a disk as a band, and what each device is used for.

use super::band::{Mark, NAME, PLAIN, STRONG, Segment, Tone};
use super::now::GAP;
use crate::layout::observed::Partition;
use crate::layout::plan::{Device, Layer, Plan, PlannedArray, PlannedFilesystem, PlannedMount};
use crate::layout::spec::FsType;
use crate::units::human;

/// What a device is for.
pub(super) enum Purpose<'a> {
    /// It carries a filesystem.
    Filesystem(&'a PlannedFilesystem),
    /// It carries a copy of one that lies elsewhere.
    Copy(&'a PlannedFilesystem),
    /// It is part of a device, by its place among the layers of the plan.
    Part(usize),
    /// Nothing is made on it.
    Nothing,
}

impl Purpose<'_> {
    pub(super) fn tone(&self) -> Tone {
        match self {
            Self::Filesystem(_) | Self::Copy(_) => Tone::Plain,
            Self::Part(layer) => Tone::Device(*layer),
            Self::Nothing => Tone::Empty,
        }
    }
}

impl Plan {
    pub(super) fn purpose(&self, device: Device) -> Purpose<'_> {
        if let Some(fs) = self.filesystems.iter().find(|f| f.places().any(|(d, _)| d == device)) {
            return if fs.on == device { Purpose::Filesystem(fs) } else { Purpose::Copy(fs) };
        }
        let uses = |layer: &Layer| match *layer {
            Layer::Array(i) => self.arrays[i].members.contains(&device),
            Layer::Crypt(i) => self.crypts[i].on == device,
            Layer::Group(i) => self.groups[i].pvs.iter().any(|(d, _)| *d == device),
        };
        self.layers.iter().position(uses).map_or(Purpose::Nothing, Purpose::Part)
    }

    /// Whether a device waits for another member of its array to fail.
    fn is_spare(&self, device: Device) -> bool {
        let spares = |a: &PlannedArray| a.members.iter().rev().take(a.spares as usize).any(|d| *d == device);
        self.arrays.iter().any(spares)
    }

    /// What a device is used for, in lines; `otherwise` is written where nothing is made on it.
    pub(super) fn purpose_lines(&self, device: Device, otherwise: &str) -> Vec<(super::Face, String)> {
        match self.purpose(device) {
            Purpose::Filesystem(fs) => {
                let mut lines = vec![(PLAIN, labelled(fs))];
                lines.extend(fs.mounts().map(|m| (STRONG, place_line(&m))));
                lines
            }
            Purpose::Copy(fs) => vec![(PLAIN, labelled(fs)), (PLAIN, "a copy".to_owned())],
            Purpose::Part(layer) => {
                let face = super::Face { ink: Tone::Device(layer).colours().1, ..STRONG };
                let mut lines = vec![(face, format!("→ {}", self.layer_name(self.layers[layer])))];
                lines.extend(self.is_spare(device).then(|| (PLAIN, "a spare".to_owned())));
                lines
            }
            Purpose::Nothing if otherwise.is_empty() => Vec::new(),
            Purpose::Nothing => vec![(PLAIN, otherwise.to_owned())],
        }
    }

    /// The same in words.
    pub(super) fn purpose_words(&self, device: Device, otherwise: &str) -> String {
        match self.purpose(device) {
            Purpose::Part(layer) => {
                let spare = if self.is_spare(device) { ", as a spare" } else { "" };
                format!("part of {}{spare}", self.layer_name(self.layers[layer]))
            }
            _ => {
                let lines = self.purpose_lines(device, otherwise);
                lines.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// The reference of a device that is made out of others.
    pub(super) fn layer_name(&self, layer: Layer) -> String {
        match layer {
            Layer::Array(i) => format!("raid/{}", self.arrays[i].id),
            Layer::Crypt(i) => format!("luks/{}", self.crypts[i].id),
            Layer::Group(i) => format!("lvm/{}", self.groups[i].name),
        }
    }

    /// The places of partitions that stay on a disk, with what is in them.
    pub(super) fn kept_places(&self, disk: usize) -> Vec<(u64, u64)> {
        let planned = &self.disks[disk];
        let stays = |n: &usize| self.content_stays(Device::Partition { disk, partition: *n });
        let own = (0..planned.partitions.len()).filter(stays).map(|n| &planned.partitions[n]);
        let own = own.map(|p| (p.start, p.length));
        own.chain(planned.others.iter().map(|p| (p.start, p.length))).collect()
    }

    /// The partitions that a disk will have.
    pub(super) fn after(&self, disk: usize) -> Vec<Segment> {
        let planned = &self.disks[disk];
        let own = planned.partitions.iter().enumerate().map(|(n, p)| (p.start, p.length, self.partition(disk, n)));
        let others = planned.others.iter().map(|p| (p.start, p.length, other(p)));
        let mut sorted: Vec<(u64, u64, Segment)> = own.chain(others).collect();
        sorted.sort_by_key(|(start, ..)| *start);
        let (mut segments, mut at) = (Vec::new(), 0);
        let gap = |segments: &mut Vec<Segment>, size: u64| {
            if size >= GAP {
                segments.push(Segment::free(size, "free", human(size)));
            }
        };
        for (start, length, segment) in sorted {
            gap(&mut segments, start.saturating_sub(at));
            segments.push(segment);
            at = start.saturating_add(length);
        }
        gap(&mut segments, planned.facts.size.saturating_sub(at));
        segments
    }

    fn partition(&self, disk: usize, n: usize) -> Segment {
        let p = &self.disks[disk].partitions[n];
        let device = Device::Partition { disk, partition: n };
        let otherwise = if p.kind.is("bios-boot") { "boot loader" } else { "nothing on it" };
        let mark = p.kept.then_some(Mark::Kept);
        let shown = human(p.length);
        let mut tip = format!(
            "partition {} \"{}\" ({}): {}, {shown} ({} bytes) from {}; {}",
            p.number,
            p.name,
            p.key,
            p.kind,
            p.length,
            human(p.start),
            self.purpose_words(device, otherwise)
        );
        if mark.is_some() {
            tip.push_str(if self.content_stays(device) { "; kept" } else { "; kept, not what is in it" });
        }
        let mut lines = vec![(NAME, p.name.clone()), (PLAIN, shown), (PLAIN, p.kind.to_string())];
        lines.extend(self.purpose_lines(device, otherwise));
        let tone = self.purpose(device).tone();
        Segment { size: p.length, tone, mark, number: Some(p.number), lines, tip }
    }
}

/// Where something is mounted, with the subvolume that it is.
fn place_line(mounted: &PlannedMount<'_>) -> String {
    let of = mounted.subvolume.map(|name| format!(" ({name})")).unwrap_or_default();
    format!("at {}{of}", mounted.mount.at)
}

/// A partition that the document does not have and that stays.
fn other(p: &Partition) -> Segment {
    let shown = human(p.length);
    let text = "not in the layout";
    let tip = format!(
        "partition {} \"{}\": {}, {shown} ({} bytes) from {}; {text}; kept",
        p.number,
        p.name,
        p.kind,
        p.length,
        human(p.start)
    );
    let lines = vec![(NAME, p.name.clone()), (PLAIN, shown), (PLAIN, p.kind.to_string()), (PLAIN, text.to_owned())];
    Segment { size: p.length, tone: Tone::Empty, mark: Some(Mark::Kept), number: Some(p.number), lines, tip }
}

/// Type and label of a filesystem.
fn labelled(fs: &PlannedFilesystem) -> String {
    let space = if fs.kind == FsType::Swap { " space" } else { "" };
    match &fs.label {
        Some(label) => format!("{}{space} \"{label}\"", fs.kind.name()),
        None => format!("{}{space}", fs.kind.name()),
    }
}
