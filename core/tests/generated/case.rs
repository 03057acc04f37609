//! Layouts for disks that can be made here, each with the disks that it is for.
//!
//! ```text
//! plain    one disk: partitions ──────────────────────> ext4, xfs, btrfs, swap     kernel or offline backend
//! stacked  disks: partitions ─ [array] ─ [volumes] ───> the same, and mirrored ESPs     offline backend
//! ```

use proptest::prelude::*;
use std::fmt::Write as _;

/// A layout, and the disks that it is for.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) sector: u32,
    pub(crate) disks: usize,
    /// Beyond what the document needs, in MiB and sectors.
    pub(crate) spare: u64,
    pub(crate) odd: u64,
    /// Every byte of the disks is something before.
    pub(crate) used: bool,
    pub(crate) offline: bool,
    wipe: &'static str,
    esp: bool,
    parts: Vec<Part>,
}

/// A partition, and what stands on it.
#[derive(Clone, Debug)]
struct Part {
    size: Size,
    at_end: bool,
    leave_free: bool,
    label: bool,
    /// Of several disks: level, metadata, chunk.
    array: (u8, bool, u64),
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Filesystem(&'static str),
    Volumes { extent: u64, reserve: bool, volumes: Vec<Volume> },
}

#[derive(Clone, Debug)]
struct Volume {
    size: Size,
    kind: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Size {
    Fixed(u64),
    Percent(u64),
    Flex(u64, u64, u32),
    Rest,
}

impl Size {
    /// In a document, where one `rest` may stand.
    fn text(self, rest: &mut bool, plus: u64) -> String {
        match self {
            Self::Fixed(mib) => format!("{}MiB", mib + plus),
            Self::Percent(p) => format!("{p}%"),
            Self::Rest if !std::mem::replace(rest, true) => "rest".to_owned(),
            Self::Rest => format!("{{min: {}MiB}}", 16 + plus),
            Self::Flex(min, more, weight) => {
                let (min, max) = (min + plus, min + more + plus);
                format!("{{min: {min}MiB, max: {max}MiB, weight: {weight}}}")
            }
        }
    }

    fn is_fixed(self) -> bool {
        matches!(self, Self::Fixed(_) | Self::Rest)
    }
}

/// What a filesystem needs to be made, in MiB.
fn least(kind: &str) -> u64 {
    match kind {
        "xfs" => 300,
        "btrfs" => 114,
        _ => 16,
    }
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        4 => (1u64..120).prop_map(Size::Fixed),
        1 => (1u64..12).prop_map(Size::Percent),
        2 => (8u64..64, 0u64..200, 1u32..6).prop_map(|(min, more, weight)| Size::Flex(min, more, weight)),
        2 => Just(Size::Rest),
    ]
}

fn kind() -> impl Strategy<Value = &'static str> {
    prop_oneof![5 => Just("ext4"), 2 => Just("xfs"), 1 => Just("btrfs"), 1 => Just("swap")]
}

fn part(stacked: bool) -> impl Strategy<Value = Part> {
    let volume = (size(), kind()).prop_map(|(size, kind)| Volume { size, kind });
    let volumes = (prop::sample::select(vec![1u64, 4, 8]), any::<bool>(), prop::collection::vec(volume, 1..4))
        .prop_map(|(extent, reserve, volumes)| Content::Volumes { extent, reserve, volumes });
    let content = prop_oneof![
        3 => kind().prop_map(Content::Filesystem),
        (if stacked { 2 } else { 0 }) => volumes,
    ];
    let array = (prop_oneof![4 => Just(1u8), 1 => Just(0u8), 1 => Just(10u8)], any::<bool>(), 0u64..3);
    (size(), any::<bool>(), prop::bool::weighted(0.2), any::<bool>(), array, content).prop_map(
        |(size, at_end, leave_free, label, array, content)| Part { size, at_end, leave_free, label, array, content },
    )
}

/// Any case of either kind.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    let of = |stacked: bool| {
        let disks = if stacked { 1..4usize } else { 1..2 };
        let wipe = prop::sample::select(vec!["signatures", "all", "discard", "table", "zero"]);
        let sector = prop::sample::select(vec![512u32, 4096]);
        let about = (sector, disks, 0u64..200, 0u64..2000, prop::bool::weighted(0.3));
        let rest = (any::<bool>(), wipe, any::<bool>(), prop::collection::vec(part(stacked), 1..5));
        (about, rest).prop_map(move |((sector, disks, spare, odd, used), (offline, wipe, esp, parts))| Case {
            sector,
            disks,
            spare,
            odd,
            used,
            offline: stacked || offline,
            wipe,
            // An ESP is mounted to be filled: the offline backend alone can do without the kernel.
            esp: esp && stacked,
            parts,
        })
    };
    prop_oneof![1 => of(false), 1 => of(true)]
}

impl Case {
    /// The document.
    pub(crate) fn text(&self) -> String {
        let (mut partitions, mut raid, mut lvm, mut filesystems) =
            (String::new(), String::new(), String::new(), String::new());
        let (mut rest, mut root, mut mounts) = (false, false, 0);
        if self.esp {
            let size = if self.sector == 4096 { 260 } else { 100 };
            let mirror = if self.disks > 1 { ", mirror: sync" } else { "" };
            let _ = writeln!(partitions, "  d/esp: {{type: esp, size: {size}MiB}}");
            let _ =
                writeln!(filesystems, "  esp: {{on: d/esp, type: vfat, label: ESP{mirror}, mount: {{at: /boot/efi}}}}");
        }
        for (i, part) in self.parts.iter().enumerate() {
            // The first has the root: it cannot be swap, and has room for the tree.
            let first = i == 0;
            let plus = match &part.content {
                Content::Filesystem(kind) => least(kind) + if first { 48 } else { 0 },
                Content::Volumes { .. } => 0,
            };
            let end = if part.at_end && !first { ", at: end" } else { "" };
            let free = if part.leave_free { ", leave-free: 3MiB" } else { "" };
            let size = match part.content {
                // What stands on it says how much it needs.
                Content::Volumes { .. } if part.size.is_fixed() => "{min: 8MiB}".to_owned(),
                _ => part.size.text(&mut rest, plus),
            };
            let single = self.disks == 1;
            let kind = match (&part.content, single) {
                (_, false) => "linux-raid",
                (Content::Filesystem("swap"), _) if !first => "swap",
                (Content::Filesystem(_), _) => "linux",
                (Content::Volumes { .. }, _) => "linux-lvm",
            };
            let min = if matches!(part.size, Size::Percent(_)) {
                format!(", min: {}MiB", plus.max(8))
            } else {
                String::new()
            };
            let _ = writeln!(partitions, "  d/p{i}: {{type: {kind}, size: {size}{min}{end}{free}}}");
            let mut on = format!("d/p{i}");
            if !single {
                raid += &self.array(i, part, &on);
                on = format!("raid/a{i}");
            }
            let mut filesystem = |id: String, on: String, kind: &str, label: bool| {
                let kind = if kind == "swap" && !root { "ext4" } else { kind };
                let at = match (root, kind) {
                    (_, "swap") => String::new(),
                    (false, _) => ", mount: {at: /}".to_owned(),
                    (true, _) => {
                        mounts += 1;
                        // One below another, now and then.
                        let at =
                            if mounts % 3 == 2 { format!("/m{}/below", mounts - 1) } else { format!("/m{mounts}") };
                        format!(", mount: {{at: {at}, options: [noatime]}}")
                    }
                };
                root |= kind != "swap";
                let label = if label { format!(", label: {id}") } else { String::new() };
                let _ = writeln!(filesystems, "  {id}: {{on: {on}, type: {kind}{label}{at}}}");
            };
            match &part.content {
                Content::Filesystem(kind) => filesystem(format!("f{i}"), on, kind, part.label),
                Content::Volumes { extent, reserve, volumes } => {
                    let reserve = if *reserve { "reserve: 7%, " } else { "" };
                    let mut rest = false;
                    let lines: Vec<String> = volumes
                        .iter()
                        .enumerate()
                        .map(|(v, volume)| {
                            let plus = least(volume.kind) + if first && v == 0 { 48 } else { 0 };
                            let size = match volume.size {
                                Size::Percent(p) => format!("{{min: {}MiB, max: {}MiB}}", p + plus, p + plus + 40),
                                size => size.text(&mut rest, plus),
                            };
                            format!("v{v}: {{size: {size}}}")
                        })
                        .collect();
                    let _ = writeln!(
                        lvm,
                        "  g{i}: {{pvs: [{on}], extent: {extent}MiB, {reserve}lvs: {{{}}}}}",
                        lines.join(", ")
                    );
                    for (v, volume) in volumes.iter().enumerate() {
                        filesystem(format!("f{i}{v}"), format!("lvm/g{i}/v{v}"), volume.kind, part.label);
                    }
                }
            }
        }
        let mut all = format!(
            "schema: cv.layout/v1\nname: generated\ndisks: {{d: {{count: {}, wipe: {}}}}}\n",
            self.disks, self.wipe
        );
        for (name, body) in [("partitions", partitions), ("raid", raid), ("lvm", lvm), ("filesystems", filesystems)] {
            if !body.is_empty() {
                let _ = write!(all, "{name}:\n{body}");
            }
        }
        all
    }

    fn array(&self, i: usize, part: &Part, on: &str) -> String {
        let (level, old, chunk) = part.array;
        let chunk = 64 << chunk;
        let more = match level {
            0 => format!("chunk: {chunk}KiB"),
            10 => format!("chunk: {chunk}KiB, layout: n2"),
            _ => format!("metadata: \"{}\"", if old { "1.0" } else { "1.2" }),
        };
        format!("  a{i}: {{level: {level}, members: [{on}], {more}}}\n")
    }
}
