//! Sets of disks and the rules that choose them.

use super::super::size::Percent;
use super::super::spec::{Count, DiskSet, End, Has, Match, Pick, Require, Same, SizeRange, Transport, Wipe};
use super::{Fields, Keys, Reader};
use crate::document::{Node, Value};

pub(super) const DISK_SET: Keys =
    &["match", "count", "pick", "exclude", "require", "wipe", "preserve", "optional", "per-disk", "sector"];
pub(super) const MATCH: Keys = &[
    "all",
    "any",
    "not",
    "first-of",
    "by-id",
    "by-path",
    "wwid",
    "serial",
    "model",
    "vendor",
    "nsid",
    "size",
    "rotational",
    "transport",
    "removable",
    "logical-sector",
    "slot",
    "has",
];
pub(super) const SIZE_RANGE: Keys = &["min", "max"];
pub(super) const HAS: Keys = &["label", "fs-uuid", "md-uuid", "gpt-guid"];
pub(super) const REQUIRE: Keys = &["same", "size-spread"];
const COUNT: Keys = &["min", "max", "multiple-of"];
const PICK: Keys = &["by-path"];
/// The most disks of a set.
const DISK_LIMIT: u32 = 1000;

impl Reader {
    pub(super) fn disk_set(&mut self, node: &Node, path: &str) -> Option<DiskSet> {
        let f = self.fields(node, path, DISK_SET)?;
        Some(DiskSet {
            matching: f.get("match").and_then(|n| self.matching(n, &f.path("match"))),
            count: f.get("count").and_then(|n| self.count(n, &f)).unwrap_or_default(),
            pick: f.get("pick").and_then(|n| self.pick(n, &f)).unwrap_or_default(),
            exclude: self.one_or_more(&f, "exclude"),
            require: f.get("require").and_then(|n| self.require(n, &f.path("require"))).unwrap_or_default(),
            wipe: self.choice(&f, "wipe", &Wipe::WORDS).unwrap_or_default(),
            preserve: self.preserve(&f),
            optional: self.flag(&f, "optional"),
            per_disk: self.flag(&f, "per-disk"),
            sector: self.sector(&f, "sector"),
        })
    }

    fn matching(&mut self, node: &Node, path: &str) -> Option<Match> {
        let f = self.fields(node, path, MATCH)?;
        Some(Match {
            all: self.matches(&f, "all"),
            any: self.matches(&f, "any"),
            not: f.get("not").and_then(|n| self.matching(n, &f.path("not"))).map(Box::new),
            first_of: self.matches(&f, "first-of"),
            by_id: self.one_or_more(&f, "by-id"),
            by_path: self.one_or_more(&f, "by-path"),
            wwid: self.one_or_more(&f, "wwid"),
            serial: self.one_or_more(&f, "serial"),
            model: self.one_or_more(&f, "model"),
            vendor: self.one_or_more(&f, "vendor"),
            nsid: self.number(&f, "nsid"),
            size: f.get("size").and_then(|n| self.size_range(n, &f.path("size"))),
            rotational: self.boolean(&f, "rotational"),
            transport: self.choices(&f, "transport", &Transport::WORDS),
            removable: self.boolean(&f, "removable"),
            logical_sector: self.sector(&f, "logical-sector"),
            slot: self.one_or_more(&f, "slot"),
            has: f.get("has").and_then(|n| self.has(n, &f.path("has"))),
        })
    }

    fn matches(&mut self, f: &Fields<'_>, name: &str) -> Vec<Match> {
        let path = f.path(name);
        match f.get(name).map(|n| (n, &n.value)) {
            None => Vec::new(),
            Some((_, Value::List(items))) => items.iter().filter_map(|n| self.matching(n, &path)).collect(),
            Some((n, other)) => {
                self.wrong("L101", &path, n.place, format!("{} is not a list", other.describe()));
                Vec::new()
            }
        }
    }

    fn size_range(&mut self, node: &Node, path: &str) -> Option<SizeRange> {
        let f = self.fields(node, path, SIZE_RANGE)?;
        let range = SizeRange { min: self.bytes(&f, "min"), max: self.bytes(&f, "max") };
        if range.min.zip(range.max).is_some_and(|(min, max)| max < min) {
            self.wrong("L101", path, node.place, "max is less than min");
        }
        Some(range)
    }

    fn has(&mut self, node: &Node, path: &str) -> Option<Has> {
        let f = self.fields(node, path, HAS)?;
        Some(Has {
            label: self.optional_text(&f, "label"),
            fs_uuid: self.optional_text(&f, "fs-uuid"),
            md_uuid: self.optional_text(&f, "md-uuid"),
            gpt_guid: self.optional_text(&f, "gpt-guid"),
        })
    }

    fn require(&mut self, node: &Node, path: &str) -> Option<Require> {
        let f = self.fields(node, path, REQUIRE)?;
        let same = self.choices(&f, "same", &Same::WORDS);
        let size_spread = self.parsed(&f, "size-spread", "a percentage from 1% to 100%", Percent::parse);
        Some(Require { same, size_spread })
    }

    fn count(&mut self, node: &Node, set: &Fields<'_>) -> Option<Count> {
        let path = set.path("count");
        if !matches!(node.value, Value::Map(_)) {
            return self.number_in(set, "count", 1..=DISK_LIMIT).map(Count::exactly);
        }
        let f = self.fields(node, &path, COUNT)?;
        let min = self.number_in(&f, "min", 1..=DISK_LIMIT).unwrap_or(1);
        let max = self.number_in(&f, "max", 1..=DISK_LIMIT);
        let multiple_of = self.number_in(&f, "multiple-of", 1..=DISK_LIMIT).unwrap_or(1);
        let most = max.unwrap_or(DISK_LIMIT) / multiple_of * multiple_of;
        if most < min {
            self.wrong("L101", &path, node.place, "no number lies within these bounds");
            return None;
        }
        Some(Count { min, max, multiple_of })
    }

    fn pick(&mut self, node: &Node, set: &Fields<'_>) -> Option<Pick> {
        let path = set.path("pick");
        if matches!(node.value, Value::Map(_)) {
            let by = self.fields(node, &path, PICK)?;
            self.required(&by, "by-path")?;
            return self.choice(&by, "by-path", &[("first", End::First), ("last", End::Last)]).map(Pick::ByPath);
        }
        let words =
            [("unique", Pick::Unique), ("all", Pick::All), ("smallest", Pick::Smallest), ("largest", Pick::Largest)];
        self.word(node, &path, &words)
    }

    fn sector(&mut self, f: &Fields<'_>, name: &str) -> Option<u32> {
        let n = self.number(f, name)?;
        if n == 512 || n == 4096 {
            return Some(n);
        }
        let place = f.get(name).map(|n| n.place).unwrap_or_default();
        self.wrong("L101", &f.path(name), place, format!("{n} is not a sector size: 512 or 4096"));
        None
    }
}
