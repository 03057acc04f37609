//! The card of a disk, or of several that look the same: what is there now, and what will be.

use super::band::{self, Segment};
use super::canvas::{Area, Canvas};
use super::now::Now;
use super::text::Face;
use super::{HEADING, INSIDE, MARGIN, QUIET, TEXT};
use crate::layout::plan::{Plan, PlannedDisk};
use crate::layout::spec::Wipe;
use crate::units::human;

/// From this number on, disks that look the same are drawn once.
const MANY: usize = 3;
const PADDING: u32 = 16;
/// What stands left of the bands.
const GUTTER: u32 = 66;
const NOW_HEIGHT: u32 = 72;
const BLANK_HEIGHT: u32 = 44;
const AFTER_HEIGHT: u32 = 88;
const SIDE: Face = Face::bold(13, "#16202c");
const ALARM: Face = Face::bold(12, "#8c1d18");
const FINE: Face = Face::bold(12, "#14532d");

/// A disk, or several that look the same.
pub(super) struct Card {
    /// Their places in the plan.
    pub(super) disks: Vec<usize>,
    pub(super) now: Now,
    pub(super) after: Vec<Segment>,
}

impl Card {
    /// The cards of a plan, in the order of its disks.
    pub(super) fn of(plan: &Plan) -> Vec<Self> {
        let mut cards: Vec<Self> = Vec::new();
        for disk in 0..plan.disks.len() {
            let now = Now::of(&plan.disks[disk], &plan.kept_places(disk));
            let card = Self { disks: vec![disk], now, after: plan.after(disk) };
            match cards.iter_mut().find(|c| c.looks_like(&card, plan)) {
                Some(same) => same.disks.push(disk),
                None => cards.push(card),
            }
        }
        // Two are drawn both: that is what a mirror looks like.
        let mut drawn: Vec<Self> = cards.into_iter().flat_map(Self::spread).collect();
        drawn.sort_by_key(|c| c.disks[0]);
        drawn
    }

    fn looks_like(&self, other: &Self, plan: &Plan) -> bool {
        let traits = |card: &Self| {
            let PlannedDisk { set, facts, .. } = &plan.disks[card.disks[0]];
            (set.clone(), facts.size, facts.sector, facts.model.clone())
        };
        traits(self) == traits(other) && self.now == other.now && self.after == other.after
    }

    fn spread(self) -> Vec<Self> {
        if self.disks.len() >= MANY {
            return vec![self];
        }
        let one = |disk: usize| Self { disks: vec![disk], now: self.now.clone(), after: self.after.clone() };
        self.disks.iter().map(|d| one(*d)).collect()
    }

    /// Draws it, and gives where it ends.
    pub(super) fn draw(&self, plan: &Plan, canvas: &mut Canvas<'_>, top: u32) -> u32 {
        let mut sheet = canvas.sheet();
        let (left, right) = (MARGIN + PADDING, MARGIN + INSIDE - PADDING);
        let bands = Area::new(left + GUTTER, 0, right - left - GUTTER, 0);
        let mut y = self.draw_heading(plan, &mut sheet, left, right, top + 26) + 12;

        sheet.text(left, y + 18, SIDE, "now");
        match (self.now.lost, self.now.kept) {
            (0, _) => {}
            (_, 0) => sheet.text(left, y + 36, ALARM, "all lost"),
            (n, _) => sheet.text(left, y + 36, ALARM, &format!("{n} lost")),
        }
        if self.now.kept > 0 {
            sheet.text(left, y + 52, FINE, &format!("{} kept", self.now.kept));
        }
        let blank = self.now.segments.iter().all(|s| s.mark.is_none());
        let height = if blank { BLANK_HEIGHT } else { NOW_HEIGHT };
        y = band::draw(&mut sheet, Area { y, height, ..bands }, &self.now.segments);
        for note in &self.now.notes {
            y = sheet.lines(bands.x, y + 16, ALARM, note, bands.width, 16);
        }

        sheet.arrow(left + 14, y + 6, y + 34);
        sheet.text(bands.x, y + 25, QUIET, &self.deed(plan));
        y += 40;

        sheet.text(left, y + 18, SIDE, "after");
        let height = AFTER_HEIGHT + if self.now.kept > 0 { band::STRIP } else { 0 };
        y = band::draw(&mut sheet, Area { y, height, ..bands }, &self.after) + PADDING;
        canvas.rect(Area::new(MARGIN, top, INSIDE, y - top), 8, "#ffffff", "#aab4bf");
        canvas.put(&sheet);
        y
    }

    /// Which disk it is: a person has to know it again.
    fn draw_heading(&self, plan: &Plan, canvas: &mut Canvas<'_>, left: u32, right: u32, y: u32) -> u32 {
        let first = &plan.disks[self.disks[0]];
        let facts = &first.facts;
        let count = self.disks.len();
        let room = right - left;
        let mut about: Vec<String> = Vec::new();
        about.extend((!first.is_file()).then(|| facts.model.clone().unwrap_or_else(|| "disk".to_owned())));
        about.extend(first.is_file().then(|| "image file".to_owned()));
        about.extend(facts.serial.as_ref().filter(|_| count == 1).map(|s| format!("serial {s}")));
        about.push(format!("sectors of {} bytes", facts.sector));
        let size = human(facts.size);
        if count == 1 {
            canvas.text_to(right, y, HEADING, &size);
            let name = format!("{}: {}", first.set, facts.path.display());
            let y = canvas.lines(left, y, HEADING, &name, room - 120, 18);
            return canvas.lines(left, y + 18, QUIET, &about.join(", "), room, 16);
        }
        canvas.text_to(right, y, HEADING, &format!("{count} × {size}"));
        let name = format!("{}: {count} disks that look the same, drawn once", first.set);
        let y = canvas.lines(left, y, HEADING, &name, room - 160, 18);
        let y = canvas.lines(left, y + 18, QUIET, &format!("each: {}", about.join(", ")), room, 16);
        let each = self.disks.iter().map(|d| {
            let facts = &plan.disks[*d].facts;
            let serial = facts.serial.as_ref().map(|s| format!("\u{a0}(serial\u{a0}{s})")).unwrap_or_default();
            format!("{}{serial}", facts.path.display())
        });
        canvas.lines(left, y + 18, TEXT, &each.collect::<Vec<_>>().join(", "), room, 16)
    }

    /// What is done to get from one to the other.
    fn deed(&self, plan: &Plan) -> String {
        let before = match plan.disks[self.disks[0]].wipe {
            Wipe::None | Wipe::Table => "",
            Wipe::Signatures | Wipe::All => "signatures are erased, then ",
            Wipe::Discard => "everything is discarded, then ",
            Wipe::Zero => "everything is overwritten with zeros, then ",
        };
        format!("{before}a new partition table is written")
    }
}
