//! A plan as a picture: an SVG of each disk, now and after, and of what is made out of the partitions.
//!
//! ```text
//! head     layout, host, token; what is lost; what the signs mean
//! card     os /dev/sda       now   |▨ 1 boot ▨ lost ▨|▨▨ 2 data ▨▨ lost ▨▨|  free  |    one for each disk, or for
//!                             ↓     signatures erased, new partition table              several that look the same
//!                            after |1|2 boot > raid/b|3 pv > raid/pv              |
//! tile     raid/b            in the colour that its members have above                  one for each device
//! ```
//!
//! This is what a person looks at before disks are destroyed. So nothing is said by colour alone: what is lost is hatched
//! and has the word on it. Names come from disks and may be anything: see [`text`]. What does not fit into its box is
//! written out below. There are no scripts, styles or fonts from elsewhere, and ids carry the token: several pictures can
//! stand on one page of HTML.

use super::plan::Plan;
use crate::units::human;

mod after;
mod band;
mod canvas;
mod card;
mod now;
mod scale;
mod text;
mod tile;

use band::{Mark, Segment, Tone};
use canvas::{Area, Canvas, Ids};
use card::Card;
use text::Face;

/// The width of all of it. The height is what it takes.
const WIDTH: u32 = 1040;
const MARGIN: u32 = 24;
const INSIDE: u32 = WIDTH - 2 * MARGIN;
/// More warnings are left to the text of the plan.
const WARNINGS: usize = 12;
/// More of a list is not read out.
const READ_OUT: usize = 64;

const TITLE: Face = Face::bold(20, "#16202c");
const HEADING: Face = Face::bold(15, "#16202c");
const TEXT: Face = Face::plain(12, "#16202c");
const QUIET: Face = Face::plain(12, "#52606d");
const TOKEN: Face = Face::bold(15, "#16202c");
const ALARM: Face = Face::bold(14, "#8c1d18");

impl Plan {
    /// The plan as a picture: an SVG document that stands for itself, the same bytes for the same plan.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let cards = Card::of(self);
        let ids = Ids::new(self.token());
        let mut canvas = Canvas::new(&ids);
        let mut y = self.draw_head(&mut canvas, &cards);
        for card in &cards {
            y = card.draw(self, &mut canvas, y) + 16;
        }
        if !self.layers.is_empty() {
            canvas.text(MARGIN, y + 18, HEADING, "Made out of these partitions");
            y = tile::draw(self, &mut canvas, y + 32);
        }
        y = self.draw_warnings(&mut canvas, y);
        canvas.text(
            MARGIN,
            y + 14,
            QUIET,
            "Nothing is written yet. Widths follow sizes; what is small is drawn wider.",
        );
        let title = format!("Layout {}: its disks now and after", self.layout_name());
        canvas.document(WIDTH, y + 14 + MARGIN, &title, &self.in_words(&cards))
    }

    /// What it is, what is lost, and what the signs mean.
    fn draw_head(&self, canvas: &mut Canvas<'_>, cards: &[Card]) -> u32 {
        let mut y = MARGIN + 20;
        canvas.text_to(MARGIN + INSIDE, y, TOKEN, &format!("token {}", self.token()));
        y = canvas.lines(MARGIN, y, TITLE, &format!("Layout {}", self.layout_name()), INSIDE - 190, 24);
        let count = self.disks.len();
        let mut about = vec![format!("{count} {}", if count == 1 { "disk" } else { "disks" })];
        about.extend(self.hostname.as_ref().map(|h| format!("for {h}")));
        about.extend(self.image.as_ref().map(|i| format!("with image {i}")));
        y = canvas.lines(MARGIN, y + 20, QUIET, &about.join(", "), INSIDE, 16) + 10;
        y = self.draw_losses(canvas, cards, y);
        self.draw_legend(canvas, cards, y + 12) + 14
    }

    fn draw_losses(&self, canvas: &mut Canvas<'_>, cards: &[Card], y: u32) -> u32 {
        let losing: Vec<&Card> = cards.iter().filter(|c| c.now.lost > 0).collect();
        if losing.is_empty() {
            canvas.rect(Area::new(MARGIN, y, INSIDE, 34), 6, "#eef2f6", "#8795a5");
            let kept = cards.iter().any(|c| c.now.kept > 0);
            let why = if kept { "what is on these disks is kept" } else { "nothing known is on these disks" };
            canvas.text(MARGIN + 14, y + 22, TEXT, &format!("Nothing known is lost: {why}."));
            return y + 34;
        }
        let things: usize = losing.iter().map(|c| c.now.lost * c.disks.len()).sum();
        let disks: Vec<String> = losing.iter().flat_map(|c| &c.disks).map(|d| self.disk_path(*d)).collect();
        let what = if things == 1 { "1 thing".to_owned() } else { format!("{things} things") };
        let on = match (disks.len(), self.disks.len()) {
            (_, 1) => "the disk".to_owned(),
            (some, all) => format!("{some} of {all} disks"),
        };
        let head = format!("LOST when this is applied: {what} on {on}, hatched below");
        let list = text::wrap(&disks.join(", "), TEXT, INSIDE - 44);
        let height = 36 + 16 * list.len() as u32;
        canvas.rect(Area::new(MARGIN, y, INSIDE, height), 6, "#fff6f5", "#b3261e");
        canvas.hatched(Area::new(MARGIN + 1, y + 1, 12, height - 2));
        canvas.text(MARGIN + 26, y + 22, ALARM, &head);
        for (line, at) in list.iter().zip((y + 40..).step_by(16)) {
            canvas.text(MARGIN + 26, at, TEXT, line);
        }
        y + height
    }

    /// Samples of the signs that it has, with their meaning.
    fn draw_legend(&self, canvas: &mut Canvas<'_>, cards: &[Card], y: u32) -> u32 {
        let lost = cards.iter().any(|c| c.now.lost > 0);
        let kept = cards.iter().any(|c| c.now.kept > 0);
        let samples = [
            (lost, Tone::Old, Some(Mark::Lost), "lost"),
            (kept, Tone::Plain, Some(Mark::Kept), "kept as it is"),
            (true, Tone::Plain, None, "filesystem"),
            (true, Tone::Empty, None, "no filesystem"),
            (true, Tone::Free, None, "free"),
            (!self.layers.is_empty(), Tone::Device(0), None, "part of the device that has this colour and name"),
        ];
        let mut x = MARGIN;
        for (_, tone, mark, meaning) in samples.into_iter().filter(|(there, ..)| *there) {
            band::sample(canvas, Area::new(x, y, 26, 16), tone, mark);
            canvas.text(x + 33, y + 12, QUIET, meaning);
            x += 33 + text::width(meaning, QUIET) + 22;
        }
        y + 16
    }

    fn draw_warnings(&self, canvas: &mut Canvas<'_>, mut y: u32) -> u32 {
        let more = self.warnings.len().saturating_sub(WARNINGS);
        let shown = self.warnings.iter().take(WARNINGS).map(|w| format!("Warning: {w}"));
        let rest = (more > 0).then(|| format!("{more} more warnings stand in the text of the plan"));
        for warning in shown.chain(rest) {
            y = canvas.lines(MARGIN, y + 16, TEXT, &warning, INSIDE, 16);
        }
        y + 8
    }

    fn disk_path(&self, disk: usize) -> String {
        self.disks[disk].facts.path.display().to_string()
    }

    /// The picture for those who cannot see it.
    fn in_words(&self, cards: &[Card]) -> String {
        let told = |segments: &[Segment]| {
            let mut tips: Vec<String> = segments.iter().take(READ_OUT).map(|s| s.tip.clone()).collect();
            let more = segments.len().saturating_sub(READ_OUT);
            tips.extend((more > 0).then(|| format!("and {more} more")));
            tips.join("; ")
        };
        let mut words = vec!["Nothing is written yet.".to_owned()];
        for card in cards {
            let paths: Vec<String> = card.disks.iter().map(|d| self.disk_path(*d)).collect();
            let first = &self.disks[card.disks[0]];
            let (set, size) = (&first.set, human(first.facts.size));
            words.push(format!("Set {set}: {} of {size}.", paths.join(", ")));
            words.push(format!("Now: {}.", told(&card.now.segments)));
            words.extend(card.now.notes.iter().map(|n| format!("{n}.")));
            words.push(format!("After: {}.", told(&card.after)));
        }
        let devices = self.layers.iter().map(|layer| format!("{}.", tile::in_words(self, *layer)));
        words.extend(devices);
        words.join("\n")
    }
}

#[cfg(test)]
mod tests;
