//! What is on a disk now, as a band. Its table may be anything: entries that overlap or leave the disk are told, not drawn.

use super::band::{Mark, NAME, PLAIN, Segment, Tone};
use crate::layout::gpt::{Mbr, Table};
use crate::layout::plan::PlannedDisk;
use crate::layout::signature::Signature;
use crate::units::human;

/// More partitions are told, not drawn: a table has room for 8192.
const DRAWN: usize = 128;
/// More of what cannot be drawn is counted only.
const NOTES: usize = 8;
/// Smaller gaps are those of tables and alignment.
pub(super) const GAP: u64 = 2 << 20;

/// What is on a disk now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) segments: Vec<Segment>,
    /// What cannot be drawn.
    pub(super) notes: Vec<String>,
    /// How much of it is lost: partitions, and what lies on the whole disk.
    pub(super) lost: usize,
    /// How many partitions are kept.
    pub(super) kept: usize,
}

impl Now {
    /// What is on a disk, of which the partitions at these places are kept.
    pub(super) fn of(disk: &PlannedDisk, kept: &[(u64, u64)]) -> Self {
        let contents = &disk.facts.contents;
        let size = disk.facts.size;
        let whole: Vec<&Signature> =
            contents.signatures.iter().filter(|(s, l, _)| (*s, *l) == (0, size)).map(|(_, _, s)| s).collect();
        let mut now = Self { segments: Vec::new(), notes: Vec::new(), lost: 0, kept: 0 };
        match contents.table.table() {
            Some(table) => {
                now.partitions(disk, table, kept);
                if contents.table.primary.is_err() {
                    now.notes.push("The first copy of its partition table is broken; this is the second".to_owned());
                }
                now.lost += whole.len();
                now.notes.extend(whole.iter().map(|s| format!("{s} on the whole disk: LOST")));
            }
            None => now.whole(size, contents.table.mbr, &whole),
        }
        now
    }

    /// A disk that is one thing, or none.
    fn whole(&mut self, size: u64, mbr: Mbr, whole: &[&Signature]) {
        let table = match mbr {
            Mbr::Partitions | Mbr::Hybrid => Some("an MBR partition table, whatever is in it"),
            Mbr::Protective => Some("the remains of a GPT"),
            Mbr::None => None,
        };
        let found: Vec<String> = table
            .map(str::to_owned)
            .into_iter()
            .chain(whole.iter().map(|s| format!("{s} on the whole disk")))
            .collect();
        self.lost = found.len();
        if found.is_empty() {
            self.segments.push(Segment::free(size, "nothing known on it", human(size)));
            return;
        }
        let tip = format!("{}, {}: lost", found.join(", "), human(size));
        let faces = std::iter::once(NAME).chain(std::iter::repeat(PLAIN));
        let lines = faces.zip(found).chain([(PLAIN, human(size))]).collect();
        self.segments.push(Segment { size, tone: Tone::Old, mark: Some(Mark::Lost), number: None, lines, tip });
    }

    fn partitions(&mut self, disk: &PlannedDisk, table: &Table, kept: &[(u64, u64)]) {
        let size = disk.facts.size;
        let mut entries: Vec<_> = table.entries.iter().map(|(n, e)| (table.bytes(e), *n, e)).collect();
        entries.sort_by_key(|((start, _), number, _)| (*start, *number));
        let (mut at, mut odd, mut undrawn) = (0, Vec::new(), 0);
        for ((start, length), number, entry) in entries {
            let end = start.checked_add(length).filter(|end| length > 0 && start >= at && *end <= size);
            let keeps = end.is_some() && kept.contains(&(start, length));
            self.kept += usize::from(keeps);
            self.lost += usize::from(!keeps);
            let Some(end) = end else {
                odd.push(format!("Partition {number} \"{}\" overlaps another or leaves the disk: LOST", entry.name));
                continue;
            };
            if self.segments.len() >= DRAWN {
                undrawn += 1;
                continue;
            }
            self.gap(start - at);
            let on: Vec<String> = disk
                .facts
                .contents
                .signatures
                .iter()
                .filter(|(s, l, _)| (*s, *l) == (start, length))
                .map(|(_, _, s)| s.to_string())
                .collect();
            let on = if on.is_empty() { "nothing known on it".to_owned() } else { on.join(", ") };
            let verdict = if keeps { "kept" } else { "lost" };
            let shown = human(length);
            let tip = format!(
                "partition {number} \"{}\": {on}; {shown} ({length} bytes) from {}; {verdict}",
                entry.name,
                human(start)
            );
            self.segments.push(Segment {
                size: length,
                tone: Tone::Old,
                mark: Some(if keeps { Mark::Kept } else { Mark::Lost }),
                number: Some(number),
                lines: vec![(NAME, entry.name.clone()), (PLAIN, on), (PLAIN, shown)],
                tip,
            });
            at = end;
        }
        if undrawn == 0 {
            self.gap(size.saturating_sub(at));
        } else {
            self.notes.push(format!("{undrawn} more partitions, which are not drawn: LOST"));
        }
        if self.segments.is_empty() {
            self.segments.push(Segment::free(size, "a GPT without partitions", human(size)));
        }
        let more = odd.len().saturating_sub(NOTES);
        self.notes.extend(odd.into_iter().take(NOTES));
        self.notes.extend((more > 0).then(|| format!("{more} more partitions that overlap or leave the disk: LOST")));
    }

    fn gap(&mut self, size: u64) {
        if size >= GAP {
            self.segments.push(Segment::free(size, "free", human(size)));
        }
    }
}
