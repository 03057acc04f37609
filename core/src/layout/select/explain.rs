//! What a person reads about a selection that failed.

use super::decimal;
use super::protect::Protection;
use super::resolve::Verdict;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::inventory::Disk;
use crate::layout::spec::{Count, DiskSet, End, Pick, Require, Same};

/// More disks than this are counted and not listed.
const LIST_LIMIT: usize = 16;

/// A set that has too few disks, and what it said about each.
pub(super) struct Why<'a> {
    pub(super) set: &'a str,
    pub(super) spec: &'a DiskSet,
    pub(super) disks: &'a [Disk],
    pub(super) verdicts: &'a [Verdict],
    /// Sets that would fit in another order.
    pub(super) other: Vec<String>,
}

impl Why<'_> {
    pub(super) fn too_few(&self) -> Diagnostic {
        let (set, path) = (self.set, format!("disks.{}", self.set));
        let count_of = |is: fn(&Verdict) -> bool| self.verdicts.iter().filter(|v| is(v)).count();
        let members = count_of(|v| matches!(v, Verdict::Member(_)));
        let fits = if members > 0 { members } else { count_of(|v| matches!(v, Verdict::Fits)) };
        let wanted = format!("disk set {set}: {} wanted", disks_wanted(self.spec.count));
        let reserved: Vec<(usize, &str, &str)> = self
            .verdicts
            .iter()
            .enumerate()
            .filter_map(|(at, v)| match v {
                Verdict::Reserved(set, object) => Some((at, set.as_str(), object.as_str())),
                _ => None,
            })
            .collect();
        let least = usize::try_from(self.spec.count.min).unwrap_or(usize::MAX);
        if let Some((_, keeper, object)) = reserved.first().filter(|_| fits + reserved.len() >= least) {
            let names = list(self.disks, &reserved.iter().map(|(at, ..)| *at).collect::<Vec<_>>());
            let carry = if reserved.len() == 1 { "carries" } else { "carry" };
            let text = format!("{wanted}, {fits} left: {names} {carry} {object}, which set {keeper} keeps");
            return Diagnostic::error("F208", path, text)
                .hint("add disks, or do not preserve what they carry; libcv never takes them by itself");
        }
        let found = if members > 0 { format!("{members} carry what is kept") } else { format!("{fits} found") };
        let d = Diagnostic::error("F201", path, format!("{wanted}, {found}. {}", self.considered()));
        if !self.other.is_empty() {
            return d.hint(format!("reordering the sets {} would fit", self.other.join(", ")));
        }
        d.hint(format!("change the rules, or name the disk: --disk {set}=/dev/…"))
    }

    /// Each disk with what was said about it. What is no disk at all is left out where there are others.
    fn considered(&self) -> String {
        let is_listed = |at: &usize| !self.disks[*at].transport.is_virtual();
        let mut listed: Vec<usize> = (0..self.disks.len()).filter(is_listed).collect();
        if listed.is_empty() {
            return "The machine has no disks".to_owned();
        }
        // Those that are nearest to being taken come first.
        listed.sort_by_key(|at| rank(&self.verdicts[*at]));
        let more = listed.len().saturating_sub(LIST_LIMIT);
        let mut texts: Vec<String> = listed.iter().take(LIST_LIMIT).map(|at| self.one(*at)).collect();
        if more > 0 {
            texts.push(format!("and {more} more"));
        }
        format!("Considered: {}", texts.join(", "))
    }

    fn one(&self, at: usize) -> String {
        let name = &self.disks[at].name;
        match &self.verdicts[at] {
            Verdict::Fits => format!("{name} (ok)"),
            Verdict::Member(object) => format!("{name} (carries {object})"),
            Verdict::Protected(p) => format!("{name} (protected: {})", p.reason),
            Verdict::Reserved(set, object) => format!("{name} (kept for {set}: carries {object})"),
            Verdict::Taken(set) => format!("{name} (taken by {set})"),
            Verdict::Rejected(why) => format!("{name} (rejected: {why})"),
            Verdict::Out(why) => format!("{name} (left out: {why})"),
        }
    }
}

fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Member(_) | Verdict::Fits => 0,
        Verdict::Protected(_) => 1,
        Verdict::Reserved(..) | Verdict::Taken(_) => 2,
        Verdict::Rejected(_) => 3,
        Verdict::Out(_) => 4,
    }
}

/// A disk that is meant and not touched.
pub(super) fn protected(set: &str, disk: &Disk, p: &Protection) -> Diagnostic {
    let name = &disk.name;
    let text = match p.code {
        "F205" => {
            format!("the disk of the running system ({name}, {}) matches set {set}: {}", disk.transport, p.reason)
        }
        "F206" => format!("disk set {set}: {}", p.reason),
        "F222" => format!("{name} matches set {set} and is not touched: it {}", p.reason),
        _ => format!("{name} matches set {set} and is protected: {}", p.reason),
    };
    Diagnostic::error(p.code, format!("disks.{set}"), text).hint(p.hint.clone())
}

/// What the disks of a set must have in common and have not.
pub(super) fn differences(set: &str, require: &Require, disks: &[&Disk]) -> Vec<Diagnostic> {
    let path = format!("disks.{set}.require");
    let mut found = Vec::new();
    let mut must: Vec<Same> = vec![Same::LogicalSector];
    must.extend(require.same.iter().filter(|s| **s != Same::LogicalSector));
    for same in must {
        let value = |d: &Disk| match same {
            Same::LogicalSector => d.logical_sector.to_string(),
            Same::PhysicalSector => d.physical_sector.to_string(),
            Same::Model => d.model.clone().unwrap_or_else(|| "no model".to_owned()),
            Same::Transport => d.transport.to_string(),
            Same::Rotational => if d.rotational { "rotational" } else { "not rotational" }.to_owned(),
        };
        let Some(first) = disks.first() else { continue };
        if disks.iter().any(|d| value(d) != value(first)) {
            let each: Vec<String> = disks.iter().take(LIST_LIMIT).map(|d| format!("{} {}", d.name, value(d))).collect();
            let text = format!("set {set} mixes {}: {}", plural(same), each.join(", "));
            found.push(Diagnostic::error("F207", &path, text).hint("narrow the rules, or name disks of one kind"));
        }
    }
    found
}

fn plural(same: Same) -> &'static str {
    match same {
        Same::LogicalSector => "sizes of logical sectors",
        Same::PhysicalSector => "sizes of physical sectors",
        Same::Model => "models",
        Same::Transport => "transports",
        Same::Rotational => "disks that turn and disks that do not",
    }
}

/// `1 disk`, `2 disks`.
pub(super) fn disks(number: usize) -> String {
    if number == 1 { "1 disk".to_owned() } else { format!("{number} disks") }
}

/// `2 disks`, `2 to 8 disks`.
pub(super) fn disks_wanted(count: Count) -> String {
    let least = usize::try_from(count.min).unwrap_or(usize::MAX);
    if count == Count::exactly(count.min) { disks(least) } else { format!("{} disks", self::count(count)) }
}

/// `2`, `2 to 8`, `at least 2`, `4 to 8 in multiples of 2`.
pub(super) fn count(count: Count) -> String {
    let bounds = match count.max {
        Some(max) if max == count.min => max.to_string(),
        Some(max) => format!("{} to {max}", count.min),
        None => format!("at least {}", count.min),
    };
    if count.multiple_of > 1 { format!("{bounds} in multiples of {}", count.multiple_of) } else { bounds }
}

pub(super) fn pick(pick: Pick) -> &'static str {
    match pick {
        Pick::Unique => "unique",
        Pick::All => "all",
        Pick::Smallest => "smallest",
        Pick::Largest => "largest",
        Pick::ByPath(End::First) => "by-path first",
        Pick::ByPath(End::Last) => "by-path last",
    }
}

/// Disks with what tells them apart: `sda (4 TB, pci-0000:00:1f.2-ata-1.0)`.
pub(super) fn names(disks: &[Disk], which: &[usize]) -> String {
    let one = |at: &usize| {
        let d = &disks[*at];
        let place = d.by_path.first().map(|p| format!(", {p}")).unwrap_or_default();
        format!("{} ({}{place})", d.name, decimal(d.size))
    };
    limited(which, one).join(", ")
}

/// `sda`, `sda and sdb`, `sda, sdb and sdc`.
pub(super) fn list(disks: &[Disk], which: &[usize]) -> String {
    match &limited(which, |at| disks[*at].name.clone())[..] {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

fn limited(which: &[usize], one: impl FnMut(&usize) -> String) -> Vec<String> {
    let mut texts: Vec<String> = which.iter().take(LIST_LIMIT).map(one).collect();
    if which.len() > LIST_LIMIT {
        texts.push(format!("{} more", which.len() - LIST_LIMIT));
    }
    texts
}

/// What the sets said about a disk that nobody took.
pub(super) fn joined(said: &[String]) -> String {
    if said.is_empty() { "no set looked at it".to_owned() } else { said.join("; ") }
}
