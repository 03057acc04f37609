//! A band: segments side by side, as wide as what they stand for is large.

use super::canvas::{Area, Canvas};
use super::scale;
use super::text::{self, Face};

/// What a segment gets at least, where there are few.
const LEAST: u32 = 96;
/// Narrower ones have no room for texts, and get what their number and a verdict need.
const TEXTS: u32 = 60;
const NUMBERS: u32 = 28;
/// The part of a band, in tenths, that goes to least widths: the rest shows proportions.
const LEAST_TENTHS: u32 = 7;
/// The height of the strip that says what becomes of it.
pub(super) const STRIP: u32 = 15;

pub(super) const NAME: Face = Face::bold(12, "#16202c");
pub(super) const PLAIN: Face = Face::plain(11, "#16202c");
pub(super) const STRONG: Face = Face::bold(11, "#16202c");
const NUMBER: Face = Face::bold(10, "#ffffff");
const VERDICT: Face = Face::bold(10, "#ffffff");

/// What a segment is, by its colour and frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Something that is there now.
    Old,
    /// Room that nothing has.
    Free,
    /// A filesystem.
    Plain,
    /// Something without a filesystem.
    Empty,
    /// A part of a device, by its place among those of the plan.
    Device(usize),
}

/// Light ground and dark frame for devices. Red is left to what is lost.
const DEVICES: [(&str, &str); 8] = [
    ("#dbe9fb", "#1f4e8c"),
    ("#fdebd0", "#8a4b00"),
    ("#dcf1e1", "#1d6b3c"),
    ("#ebdff7", "#5b2c8c"),
    ("#d3f0ee", "#0b6660"),
    ("#fbf3c4", "#6e5a00"),
    ("#fbdde9", "#8f1f57"),
    ("#ece0d5", "#6a4223"),
];

impl Tone {
    /// Its ground and its frame.
    pub(super) fn colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Old => ("#f3f5f7", "#52606d"),
            Self::Free => ("#ffffff", "#8795a5"),
            Self::Plain => ("#e9edf2", "#3b4a5c"),
            Self::Empty => ("#ffffff", "#3b4a5c"),
            Self::Device(n) => DEVICES[n % DEVICES.len()],
        }
    }
}

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is lost.
    Lost,
    /// It is kept.
    Kept,
}

/// A piece of a band. Two that are equal look the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) size: u64,
    pub(super) tone: Tone,
    pub(super) mark: Option<Mark>,
    /// Its number in the table.
    pub(super) number: Option<u32>,
    /// What is written on it, the name first.
    pub(super) lines: Vec<(Face, String)>,
    /// All of it in one sentence.
    pub(super) tip: String,
}

impl Segment {
    /// Room that nothing has.
    pub(super) fn free(size: u64, name: &str, shown: String) -> Self {
        let tip = format!("{name}: {shown}");
        let lines = vec![(PLAIN, name.to_owned()), (PLAIN, shown)];
        Self { size, tone: Tone::Free, mark: None, number: None, lines, tip }
    }

    /// What stands on it, in one line.
    fn in_one_line(&self) -> String {
        let texts: Vec<&str> = self.lines.iter().map(|(_, t)| t.as_str()).filter(|t| !t.is_empty()).collect();
        let number = self.number.map(|n| format!("{n}  ")).unwrap_or_default();
        let verdict = match self.mark {
            Some(Mark::Lost) => ": LOST",
            Some(Mark::Kept) => ": kept",
            None => "",
        };
        format!("{number}{}{verdict}", texts.join(" · "))
    }
}

/// Draws a band; what does not fit into its segment is written out below. Gives the end of it all.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Area, segments: &[Segment]) -> u32 {
    let count = u32::try_from(segments.len()).unwrap_or(u32::MAX).max(1);
    let share = area.width / 10 * LEAST_TENTHS / count;
    let least = share.min(if share < TEXTS { NUMBERS } else { LEAST });
    let sizes: Vec<u64> = segments.iter().map(|s| s.size).collect();
    let mut x = area.x;
    let mut cut = Vec::new();
    for (segment, width) in segments.iter().zip(scale::widths(&sizes, area.width, least)) {
        if !draw_segment(canvas, Area { x, width, ..area }, segment) && segment.tone != Tone::Free {
            cut.push(segment);
        }
        x += width;
    }
    write_out(canvas, Area { y: area.y + area.height, ..area }, &cut)
}

/// Draws a segment; whether everything fitted.
fn draw_segment(canvas: &mut Canvas<'_>, area: Area, segment: &Segment) -> bool {
    let mut whole = true;
    canvas.boxed(area, &segment.tip, |canvas| {
        let Area { width, height, .. } = area;
        ground(canvas, width, height, segment.tone, segment.mark);
        let halo = segment.mark == Some(Mark::Lost);
        let mut x = 8;
        if let Some(number) = segment.number {
            let text = number.to_string();
            let badge = text::width(&text, NUMBER) + 8;
            if badge + 2 > width {
                whole = false;
                return;
            }
            let left = 5.min((width - badge) / 2);
            canvas.framed(Area::new(left, 6, badge, 16), 3, segment.tone.colours().1, "stroke=\"none\"");
            canvas.text_around(left + badge / 2, 18, NUMBER, &text);
            x = badge + 10;
        }
        let mut y = 18;
        let bottom = height - if segment.mark.is_some() { STRIP + 1 } else { 1 };
        for (face, text) in &segment.lines {
            if y + 3 > bottom {
                whole = false;
                break;
            }
            let (text, cut) = text::fit(text, *face, width.saturating_sub(x + 6));
            whole &= !cut;
            if halo && !text.is_empty() {
                // Letters on a hatch want a quiet ground.
                let area = Area::new(x - 2, y - face.size, text::width(&text, *face).min(width - x) + 4, face.size + 4);
                canvas.filled(area, "#fdeeec");
            }
            canvas.text(x, y, *face, &text);
            (x, y) = (8, if y == 18 { 35 } else { y + 14 });
        }
    });
    whole
}

/// Ground, frame and strip of a segment.
fn ground(canvas: &mut Canvas<'_>, width: u32, height: u32, tone: Tone, mark: Option<Mark>) {
    let (fill, stroke) = tone.colours();
    // Between two segments there is a gap, as long as they are not too narrow for it.
    let gap = u32::from(width > 6);
    let inner = Area::new(gap, 1, width - 2 * gap, height - 2);
    let frame = match (tone, mark) {
        (Tone::Free, _) => format!("stroke=\"{stroke}\" stroke-dasharray=\"4 3\""),
        (_, Some(Mark::Lost)) => "stroke=\"#8c1d18\"".to_owned(),
        (_, Some(Mark::Kept)) => "stroke=\"#14532d\" stroke-width=\"3\"".to_owned(),
        _ => format!("stroke=\"{stroke}\""),
    };
    if mark == Some(Mark::Lost) {
        canvas.hatched(inner);
    }
    let fill = if mark == Some(Mark::Lost) { "none" } else { fill };
    canvas.framed(inner, 3, fill, &frame);
    let strip = Area::new(gap, (height - 1).saturating_sub(STRIP), width - 2 * gap, STRIP);
    let (colour, verdict) = match mark {
        Some(Mark::Lost) => ("#8c1d18", "lost"),
        Some(Mark::Kept) => ("#14532d", "kept"),
        None => {
            if let Tone::Device(_) = tone {
                canvas.filled(Area { y: height - 6, height: 5, ..strip }, stroke);
            }
            return;
        }
    };
    if height < 3 * STRIP {
        return;
    }
    canvas.filled(strip, colour);
    if text::width(verdict, VERDICT) + 2 <= width {
        canvas.text_around(width / 2, height - 5, VERDICT, verdict);
    }
}

/// A segment without a text.
pub(super) fn sample(canvas: &mut Canvas<'_>, area: Area, tone: Tone, mark: Option<Mark>) {
    canvas.boxed(area, "a sample", |canvas| ground(canvas, area.width, area.height, tone, mark));
}

/// What did not fit, in two columns; a long one in several lines.
fn write_out(canvas: &mut Canvas<'_>, area: Area, segments: &[&Segment]) -> u32 {
    let column = (area.width - 24) / 2;
    let mut y = area.y;
    for pair in segments.chunks(2) {
        let mut last = y;
        for (segment, x) in pair.iter().zip([area.x, area.x + column + 24]) {
            let face = if segment.mark == Some(Mark::Lost) { Face { ink: "#8c1d18", ..PLAIN } } else { PLAIN };
            last = last.max(canvas.lines(x + 2, y + 16, face, &segment.in_one_line(), column, 14));
        }
        y = last;
    }
    if segments.is_empty() { y } else { y + 4 }
}
