//! What is made out of partitions: a tile for each array and encrypted device, and one with a band for each volume group.

use super::band::{self, NAME, PLAIN, Segment, Tone};
use super::canvas::{Area, Canvas};
use super::text::Face;
use super::{HEADING, INSIDE, MARGIN, QUIET};
use crate::layout::plan::{Device, Layer, Plan, PlannedGroup, PlannedVolume};
use crate::layout::spec::VolumeKind;
use crate::units::human;

const GAP: u32 = 16;
const PADDING: u32 = 16;
/// The bar at the left side, in the colour that its parts have.
const BAR: u32 = 8;
const CONTENT_HEIGHT: u32 = 46;
const VOLUMES_HEIGHT: u32 = 72;
/// Of a line that says what kind of volumes they are.
const KIND_HEIGHT: u32 = 14;
const THIN: Face = Face::bold(12, "#52606d");

/// Draws the tiles, two beside each other where both are narrow, and gives where they end.
pub(super) fn draw(plan: &Plan, canvas: &mut Canvas<'_>, mut y: u32) -> u32 {
    let half = (INSIDE - GAP) / 2;
    let mut row: Option<u32> = None;
    for (n, layer) in plan.layers.iter().enumerate() {
        match (*layer, row.take()) {
            (Layer::Group(i), beside) => {
                y = beside.map_or(y, |end| end + GAP);
                y = draw_group(plan, canvas, n, &plan.groups[i], i, y) + GAP;
            }
            (_, None) => row = Some(draw_single(plan, canvas, n, Area::new(MARGIN, y, half, 0))),
            (_, Some(end)) => {
                let area = Area::new(MARGIN + half + GAP, y, half, 0);
                y = end.max(draw_single(plan, canvas, n, area)) + GAP;
            }
        }
    }
    row.map_or(y, |end| end + GAP)
}

/// Name and size of a device and what it consists of; gives where that ends.
fn draw_heading(plan: &Plan, canvas: &mut Canvas<'_>, n: usize, area: Area, size: u64) -> u32 {
    let (left, right) = (area.x + BAR + PADDING, area.x + area.width - PADDING);
    let face = Face { ink: Tone::Device(n).colours().1, ..HEADING };
    canvas.text_to(right, area.y + 24, HEADING, &human(size));
    let y = canvas.lines(left, area.y + 24, face, &plan.layer_name(plan.layers[n]), right - left - 110, 18);
    canvas.lines(left, y + 18, QUIET, &made_of(plan, plan.layers[n]), right - left, 16)
}

fn frame(canvas: &mut Canvas<'_>, n: usize, area: Area, sheet: &Canvas<'_>) {
    let (_, ink) = Tone::Device(n).colours();
    canvas.rect(area, 8, "#ffffff", ink);
    canvas.framed(Area { width: BAR, ..area }, 4, ink, "stroke=\"none\"");
    canvas.put(sheet);
}

/// An array or the open side of an encrypted device: one thing is on it.
fn draw_single(plan: &Plan, canvas: &mut Canvas<'_>, n: usize, area: Area) -> u32 {
    let device = match plan.layers[n] {
        Layer::Array(i) => Device::Array(i),
        Layer::Crypt(i) | Layer::Group(i) => Device::Crypt(i),
    };
    let mut sheet = canvas.sheet();
    let size = plan.glance(device).size;
    let y = draw_heading(plan, &mut sheet, n, area, size) + 10;
    let tone = plan.purpose(device).tone();
    let mut lines = plan.purpose_lines(device, "nothing on it");
    if let Some((face, _)) = lines.first_mut().filter(|(f, _)| *f == PLAIN) {
        *face = NAME;
    }
    let tip = in_words(plan, plan.layers[n]);
    let content = Segment { size, tone, mark: None, number: None, lines, tip };
    let inside = Area::new(area.x + BAR + PADDING, y, area.width - BAR - 2 * PADDING, CONTENT_HEIGHT);
    let y = band::draw(&mut sheet, inside, &[content]) + PADDING;
    frame(canvas, n, Area { height: y - area.y, ..area }, &sheet);
    y
}

/// A volume group: its volumes to scale, and under them what lies in its pools.
fn draw_group(plan: &Plan, canvas: &mut Canvas<'_>, n: usize, group: &PlannedGroup, index: usize, top: u32) -> u32 {
    let area = Area::new(MARGIN, top, INSIDE, 0);
    let mut sheet = canvas.sheet();
    let size = group.extents.saturating_mul(group.extent);
    let mut y = draw_heading(plan, &mut sheet, n, area, size) + 10;
    let inside = Area::new(area.x + BAR + PADDING, 0, area.width - BAR - 2 * PADDING, VOLUMES_HEIGHT);
    let kinds = if group.volumes.iter().any(|v| kind(v).is_some()) { KIND_HEIGHT } else { 0 };
    let volume = |(volume, v): (usize, &PlannedVolume)| {
        let device = Device::Volume { group: index, volume };
        draw_volume(plan, device, v)
    };
    let numbered = || group.volumes.iter().enumerate();
    let mut segments: Vec<Segment> = numbered().filter(|(_, v)| v.kind != VolumeKind::Thin).map(volume).collect();
    let used = group.volumes.iter().map(|v| v.extents).sum::<u64>().saturating_add(group.free);
    let rest = group.extents.saturating_sub(used).saturating_mul(group.extent);
    if rest > 0 {
        segments.push(Segment::free(rest, "for the pools", human(rest)));
    }
    let free = group.free.saturating_mul(group.extent);
    if free > 0 {
        segments.push(Segment::free(free, "free", human(free)));
    }
    y = band::draw(&mut sheet, Area { y, height: VOLUMES_HEIGHT + kinds, ..inside }, &segments);
    for pool in group.volumes.iter().filter(|v| v.kind == VolumeKind::ThinPool) {
        let thin: Vec<Segment> = numbered().filter(|(_, v)| v.pool.as_ref() == Some(&pool.name)).map(volume).collect();
        if !thin.is_empty() {
            let shown: u64 = thin.iter().map(|s| s.size).fold(0, u64::saturating_add);
            let text =
                format!("in {}, which has {}: thin volumes that show {}", pool.name, human(pool.size), human(shown));
            y = sheet.lines(inside.x, y + 20, THIN, &text, inside.width, 16) + 8;
            y = band::draw(&mut sheet, Area { y, ..inside }, &thin);
        }
    }
    y += PADDING;
    frame(canvas, n, Area { height: y - top, ..area }, &sheet);
    y
}

fn draw_volume(plan: &Plan, device: Device, volume: &PlannedVolume) -> Segment {
    let shown = human(volume.size);
    let kind = kind(volume);
    let otherwise = if volume.kind == VolumeKind::ThinPool { "" } else { "nothing on it" };
    let reference = plan.glance(device).reference;
    let mut told = vec![format!("{reference}: {shown} ({} bytes)", volume.size)];
    told.extend(kind.clone());
    told.push(plan.purpose_words(device, otherwise));
    told.retain(|t| !t.is_empty());
    let tip = told.join("; ");
    let mut lines = vec![(NAME, volume.name.clone()), (PLAIN, shown)];
    lines.extend(kind.map(|k| (PLAIN, k)));
    lines.extend(plan.purpose_lines(device, otherwise));
    Segment { size: volume.size, tone: plan.purpose(device).tone(), mark: None, number: None, lines, tip }
}

/// What is not said of an ordinary volume.
fn kind(volume: &PlannedVolume) -> Option<String> {
    match volume.kind {
        VolumeKind::Linear => volume.stripes.filter(|(n, _)| *n > 1).map(|(n, _)| format!("{n} stripes")),
        VolumeKind::ThinPool => Some("a thin pool".to_owned()),
        VolumeKind::Thin => None,
    }
}

/// What a device is and what it is made of.
fn made_of(plan: &Plan, layer: Layer) -> String {
    match layer {
        Layer::Array(i) => {
            let a = &plan.arrays[i];
            let members = plan.references(a.members.iter().copied());
            let layout = a.layout.map(|l| format!(" ({l})")).unwrap_or_default();
            let spares = match a.spares {
                0 => String::new(),
                1 => ", the last one a spare".to_owned(),
                n => format!(", the last {n} spares"),
            };
            format!("RAID{}{layout} of {members}{spares}, metadata {}", a.level, a.metadata.name())
        }
        Layer::Crypt(i) => format!("LUKS2 on {}", plan.glance(plan.crypts[i].on).reference),
        Layer::Group(i) => {
            let g = &plan.groups[i];
            let pvs = plan.references(g.pvs.iter().map(|(d, _)| *d));
            format!("volume group on {pvs}, in extents of {}", human(g.extent))
        }
    }
}

/// A device in one sentence.
pub(super) fn in_words(plan: &Plan, layer: Layer) -> String {
    let name = plan.layer_name(layer);
    let single = |device: Device| {
        let size = human(plan.glance(device).size);
        format!("{name}: {}, {size}; {}", made_of(plan, layer), plan.purpose_words(device, "nothing on it"))
    };
    match layer {
        Layer::Array(i) => single(Device::Array(i)),
        Layer::Crypt(i) => single(Device::Crypt(i)),
        Layer::Group(group) => {
            let volumes = plan.groups[group].volumes.iter().enumerate();
            let told = volumes.map(|(volume, v)| draw_volume(plan, Device::Volume { group, volume }, v).tip);
            let told: Vec<String> = told.take(super::READ_OUT).collect();
            format!("{name}: {}; {}", made_of(plan, layer), told.join("; "))
        }
    }
}
