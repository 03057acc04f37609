//! Whether the rules of a set fit a disk, and what does not.

use super::decimal;
use crate::layout::inventory::{Content, Disk, Mark};
use crate::layout::spec::{Has, Match, Transport};
use wildmatch::WildMatch;

/// Whether a text fits a pattern with `*` and `?`; capitals are small letters.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    WildMatch::new_case_insensitive(pattern).matches(text)
}

/// Whether one of the texts fits one of the patterns.
pub(super) fn any_fits<'a>(patterns: &[String], texts: impl IntoIterator<Item = &'a str>) -> bool {
    texts.into_iter().any(|text| patterns.iter().any(|p| fits(p, text)))
}

/// What of the rules does not fit the disk; none when all does. Of `first-of` any alternative is taken: see [`settled`].
pub(super) fn misfit(rules: &Match, disk: &Disk) -> Option<String> {
    let text = |patterns: &[String], name: &str, value: Option<&String>| {
        let no = !patterns.is_empty() && !any_fits(patterns, value.map(String::as_str));
        no.then(|| value.map_or_else(|| format!("no {name}"), |v| format!("{name} {v}")))
    };
    let names = |patterns: &[String], directory: &str, names: &[String]| {
        let patterns: Vec<String> =
            patterns.iter().map(|p| p.strip_prefix(directory).unwrap_or(p).to_owned()).collect();
        !patterns.is_empty() && !any_fits(&patterns, names.iter().map(String::as_str))
    };
    let differs = |wanted: Option<bool>, is: bool, yes: &str, no: &str| {
        wanted.filter(|w| *w != is).map(|_| if is { yes.to_owned() } else { no.to_owned() })
    };
    if !rules.transport.is_empty() && !rules.transport.contains(&disk.transport) {
        return Some(format!("transport {}", disk.transport));
    }
    if let Some(size) = rules.size {
        if let Some(min) = size.min.filter(|m| disk.size < m.bytes()) {
            return Some(beyond(disk.size, '<', min.bytes()));
        }
        if let Some(max) = size.max.filter(|m| disk.size > m.bytes()) {
            return Some(beyond(disk.size, '>', max.bytes()));
        }
    }
    let flags = differs(rules.rotational, disk.rotational, "rotational", "not rotational")
        .or_else(|| differs(rules.removable, disk.removable, "removable", "not removable"))
        .or_else(|| text(&rules.model, "model", disk.model.as_ref()))
        .or_else(|| text(&rules.vendor, "vendor", disk.vendor.as_ref()))
        .or_else(|| text(&rules.serial, "serial", disk.serial.as_ref()));
    if flags.is_some() {
        return flags;
    }
    if rules.nsid.is_some() && rules.nsid != disk.nsid {
        return Some(disk.nsid.map_or_else(|| "no namespace".to_owned(), |n| format!("namespace {n}")));
    }
    if let Some(wanted) = rules.logical_sector.filter(|s| *s != disk.logical_sector) {
        return Some(format!("sectors of {} bytes, not {wanted}", disk.logical_sector));
    }
    if !rules.wwid.is_empty() && !any_fits(&rules.wwid, wwids(disk).iter().map(String::as_str)) {
        return Some(disk.wwid.as_ref().map_or_else(|| "no wwid".to_owned(), |w| format!("wwid {w}")));
    }
    if names(&rules.by_id, "/dev/disk/by-id/", &disk.by_id) {
        return Some("another by-id name".to_owned());
    }
    if names(&rules.by_path, "/dev/disk/by-path/", &disk.by_path) {
        return Some(disk.by_path.first().map_or_else(|| "no by-path name".to_owned(), |p| format!("by-path {p}")));
    }
    let slots = disk.slots.iter().flat_map(|s| [s.as_str(), s.rsplit('/').next().unwrap_or(s)]);
    if !rules.slot.is_empty() && !any_fits(&rules.slot, slots) {
        return Some(disk.slots.first().map_or_else(|| "no slot".to_owned(), |s| format!("slot {s}")));
    }
    rules
        .has
        .as_ref()
        .and_then(|has| lacks(has, disk))
        .or_else(|| rules.all.iter().find_map(|r| misfit(r, disk)))
        .or_else(|| one_of(&rules.any, disk))
        .or_else(|| one_of(&rules.first_of, disk))
        .or_else(|| {
            let not = rules.not.as_ref().filter(|r| misfit(r, disk).is_none());
            not.map(|_| "what the rules exclude".to_owned())
        })
}

/// In bytes where the short forms are the same: a disk of "4 TB" has a little more.
fn beyond(is: u64, sign: char, bound: u64) -> String {
    match (decimal(is), decimal(bound)) {
        (a, b) if a == b => format!("size {is} {sign} {bound} bytes"),
        (a, b) => format!("size {a} {sign} {b}"),
    }
}

/// None when one of the alternatives fits, or when there are none.
fn one_of(alternatives: &[Match], disk: &Disk) -> Option<String> {
    let mut why = Vec::new();
    for rules in alternatives {
        why.push(misfit(rules, disk)?);
    }
    why.dedup();
    (!why.is_empty()).then(|| why.join(" and "))
}

/// The disk's world wide names, in the kernel's form, without its prefix, and as SCSI people write them.
fn wwids(disk: &Disk) -> Vec<String> {
    let mut all = Vec::new();
    for wwid in disk.wwid.iter().chain(&disk.more_wwids) {
        all.push(wwid.clone());
        if let Some((_, hex)) = wwid.split_once('.').filter(|(p, _)| matches!(*p, "naa" | "eui" | "uuid")) {
            all.extend([hex.to_owned(), format!("0x{hex}")]);
        }
    }
    all
}

/// What the disk does not carry.
fn lacks(has: &Has, disk: &Disk) -> Option<String> {
    let Some(content) = &disk.content else { return Some("it is not known what it carries".to_owned()) };
    let marks = || content.signatures.iter();
    let is_absent = |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| wanted.as_deref().is_some_and(|w| !is(w));
    if is_absent(&has.label, &|w| marks().any(|m| m.label.as_deref().is_some_and(|l| fits(w, l)))) {
        return Some("no filesystem with the label".to_owned());
    }
    if is_absent(&has.fs_uuid, &|w| marks().any(|m| !is_array(m) && same_uuid(m.uuid.as_deref(), w))) {
        return Some("no filesystem with the UUID".to_owned());
    }
    let arrays = || disk.holders.iter().filter(|h| h.kind == "md").map(|h| h.uuid.as_deref());
    let is_array_here = |w: &str| {
        let mut uuids = marks().filter(|m| is_array(m)).map(|m| m.uuid.as_deref()).chain(arrays());
        uuids.any(|u| same_uuid(u, w))
    };
    if is_absent(&has.md_uuid, &is_array_here) {
        return Some("no member of the array".to_owned());
    }
    let guid = content.table.as_ref().and_then(|t| t.guid).map(|g| g.to_string());
    is_absent(&has.gpt_guid, &|w| same_uuid(guid.as_deref(), w)).then(|| "another table".to_owned())
}

pub(super) fn is_array(mark: &Mark) -> bool {
    mark.kind == "linux_raid_member"
}

/// Whether two UUIDs are the same, whatever stands between the digits: md writes colons, others dashes.
pub(super) fn same_uuid(a: Option<&str>, b: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    a.is_some_and(|a| digits(a) == digits(b) && !digits(b).is_empty())
}

/// The labels and names that a disk shows: of filesystems, arrays and partitions.
pub(super) fn labels(content: &Content) -> impl Iterator<Item = &str> {
    let entries = content.table.iter().flat_map(|t| &t.partitions).map(|e| e.name.as_str());
    content.signatures.iter().filter_map(|m| m.label.as_deref()).chain(entries)
}

/// The rules with every `first-of` reduced to the first alternative that any of the disks fits.
pub(super) fn settled(rules: &Match, disks: &[&Disk]) -> Match {
    let inner = |list: &[Match]| list.iter().map(|r| settled(r, disks)).collect::<Vec<_>>();
    let mut rules = Match {
        all: inner(&rules.all),
        any: inner(&rules.any),
        not: rules.not.as_ref().map(|r| Box::new(settled(r, disks))),
        ..rules.clone()
    };
    let alternatives = std::mem::take(&mut rules.first_of);
    let mut tried = alternatives.iter().map(|r| settled(r, disks));
    let fits_one = |r: &Match| disks.iter().any(|d| misfit(r, d).is_none() && misfit(&rules, d).is_none());
    let first = tried.find(fits_one);
    rules.first_of = match first {
        Some(first) => vec![first],
        None => alternatives,
    };
    rules
}

/// Whether the rules name a transport, so that disks are meant that are left out otherwise.
pub(super) fn names_transport(rules: &Match, transport: Transport) -> bool {
    let inner = rules.all.iter().chain(&rules.any).chain(&rules.first_of);
    rules.transport.contains(&transport) || inner.into_iter().any(|r| names_transport(r, transport))
}

/// Whether the rules ask for media that can be taken out.
pub(super) fn asks_for_removable(rules: &Match) -> bool {
    let inner = rules.all.iter().chain(&rules.any).chain(&rules.first_of);
    rules.removable == Some(true) || inner.into_iter().any(asks_for_removable)
}
