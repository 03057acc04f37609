//! Arrays: what each level needs and what it has no use for.

use super::Validator;
use super::disks::is_array_uuid;
use crate::layout::size::{Base, Size};
use crate::layout::spec::{Bitmap, Level, Preserve, Raid, Raid10Layout, Ref, Resync};

/// The least chunk of md: a page.
const CHUNK_MIN: u64 = 4 << 10;
/// More would be a mistake.
const CHUNK_MAX: u64 = 1 << 30;
/// A superblock has 32 bytes for `HOST:NAME`.
const STORED_NAME: usize = 32;

impl Validator<'_> {
    pub(super) fn raid(&mut self) {
        let spec = self.spec;
        for (id, raid) in &spec.raid {
            let path = format!("raid.{id}");
            self.members(id, raid, &path);
            self.equal_members(raid, &path);
            self.striping(raid, &path);
            self.sync(raid, &path);
            self.adopt(raid, &path);
        }
    }

    fn members(&mut self, id: &str, raid: &Raid, path: &str) {
        let level = raid.level;
        if level == Level::Raid0 && raid.spares > 0 {
            self.wrong("L130", format!("{path}.spares"), "raid level 0 has no use for spares");
            return;
        }
        if raid.members.is_empty() {
            self.wrong("L130", format!("{path}.members"), format!("raid.{id} has no members"));
            return;
        }
        let Some((least, most)) = self.devices(&raid.members) else { return };
        // One that is never made has the members that it has.
        let least = if raid.preserve == Preserve::Require { most } else { least };
        let copies = raid.layout.unwrap_or(Raid10Layout::NEAR_2).copies;
        let active = if level == Level::Raid10 { copies.max(level.least_members()) } else { level.least_members() };
        if least >= active.saturating_add(raid.spares) {
            return;
        }
        let spares = match raid.spares {
            0 => String::new(),
            1 => " and a spare".to_owned(),
            n => format!(" and {n} spares"),
        };
        let mut sets: Vec<&str> = Vec::new();
        for reference in &raid.members {
            if let Ref::Partition(key) = reference
                && !sets.contains(&key.set.as_str())
            {
                sets.push(&key.set);
            }
        }
        let from = match &sets[..] {
            [set] => format!("set {set} can deliver {least}"),
            _ => format!("there can be {least}"),
        };
        let text = format!("raid level {level} needs at least {active} members{spares}, {from}");
        let hint = match &sets[..] {
            [] => "name more members".to_owned(),
            [set, ..] => format!("write count: {{min: {}}} in set {set}", active.saturating_add(raid.spares)),
        };
        self.wrong_with_hint("L130", format!("{path}.members"), text, hint);
    }

    /// An array has as much of each member as the smallest has.
    fn equal_members(&mut self, raid: &Raid, path: &str) {
        let spec = self.spec;
        let grows = |reference: &&Ref| {
            let Ref::Partition(key) = reference else { return false };
            let per_disk = spec.disks.get(&key.set).is_some_and(|d| d.per_disk);
            let fixed = |size| matches!(size, Size::Fixed(_) | Size::Of { base: Base::Ram, .. });
            per_disk && spec.partitions.get(key).is_some_and(|p| !fixed(p.size))
        };
        if let Some(member) = raid.members.iter().find(grows) {
            let text = format!("\"{member}\" grows on each disk for itself, and members of an array are equal");
            self.wrong_with_hint("L139", format!("{path}.members"), text, "write per-disk: false in its set");
        }
    }

    fn striping(&mut self, raid: &Raid, path: &str) {
        let level = raid.level;
        if let Some(chunk) = raid.chunk {
            let bytes = chunk.bytes();
            if !level.is_striped() {
                self.wrong("L132", format!("{path}.chunk"), format!("raid{level} has no chunk size"));
            } else if !bytes.is_power_of_two() || !(CHUNK_MIN..=CHUNK_MAX).contains(&bytes) {
                let text = format!("a chunk of {chunk}: a power of two from 4KiB to 1GiB is needed");
                self.wrong("L132", format!("{path}.chunk"), text);
            }
        }
        if raid.layout.is_some() && level != Level::Raid10 {
            self.means_nothing(format!("{path}.layout"), format!("raid level {level} has no layout to choose"));
        }
        if raid.bitmap == Some(Bitmap::Internal) && !level.is_redundant() {
            self.means_nothing(format!("{path}.bitmap"), format!("raid level {level} has nothing to note in a bitmap"));
        }
    }

    fn sync(&mut self, raid: &Raid, path: &str) {
        let path = format!("{path}.sync");
        if raid.sync == Resync::AssumeClean && raid.level.has_parity() {
            let text = format!("assume-clean is not allowed for level {}", raid.level);
            self.wrong_with_hint(
                "L131",
                path,
                text,
                "wrong parity stays wrong when a member is lost; sync: zero is safe",
            );
        } else if raid.sync != Resync::Background && !raid.level.is_redundant() {
            self.wrong("L131", path, format!("raid level {} has no members to make equal", raid.level));
        }
    }

    fn adopt(&mut self, raid: &Raid, path: &str) {
        let Some(adopt) = &raid.adopt else { return };
        if !raid.preserve.keeps() {
            self.means_nothing(format!("{path}.adopt"), "only an array with preserve is looked for");
        }
        if let Some(bad) = adopt.uuid.as_ref().filter(|u| !is_array_uuid(u)) {
            self.wrong("L101", format!("{path}.adopt.uuid"), format!("\"{bad}\" is not the UUID of an array"));
        }
        let stored = |n: &str| (1..=STORED_NAME).contains(&n.len()) && n.chars().all(|c| c.is_ascii_graphic());
        if let Some(bad) = adopt.name.as_ref().filter(|n| !stored(n)) {
            let short: String = bad.chars().take(60).collect();
            let text = format!("\"{short}\" cannot be the name of an array: HOST:NAME, at most {STORED_NAME} bytes");
            self.wrong("L115", format!("{path}.adopt.name"), text);
        }
    }
}
