//! Sets of disks, the rules that choose them, and what is not touched.

use super::Validator;
use crate::layout::spec::{Has, Match};
use uuid::Uuid;

impl Validator<'_> {
    pub(super) fn disks(&mut self) {
        let spec = self.spec;
        for (name, set) in &spec.disks {
            let path = format!("disks.{name}");
            if let Some(rules) = &set.matching {
                self.rules(rules, &format!("{path}.match"));
            }
            if set.exclude.contains(name) {
                self.means_nothing(format!("{path}.exclude"), format!("set {name} cannot exclude itself"));
            }
        }
        let path = "policy.never-touch";
        for rule in &spec.policy.never_touch {
            for list in [&rule.label, &rule.signature, &rule.by_id, &rule.serial, &rule.model] {
                self.patterns(list, path);
            }
        }
    }

    fn rules(&mut self, rules: &Match, path: &str) {
        for (key, list) in [
            ("by-id", &rules.by_id),
            ("by-path", &rules.by_path),
            ("wwid", &rules.wwid),
            ("serial", &rules.serial),
            ("model", &rules.model),
            ("vendor", &rules.vendor),
            ("slot", &rules.slot),
        ] {
            self.patterns(list, &format!("{path}.{key}"));
        }
        if let Some(has) = &rules.has {
            self.has(has, &format!("{path}.has"));
        }
        for (key, list) in [("all", &rules.all), ("any", &rules.any), ("first-of", &rules.first_of)] {
            list.iter().for_each(|inner| self.rules(inner, &format!("{path}.{key}")));
        }
        if let Some(inner) = &rules.not {
            self.rules(inner, &format!("{path}.not"));
        }
    }

    fn patterns(&mut self, list: &[String], path: &str) {
        if let Some(bad) = list.iter().find(|p| p.is_empty() || p.contains(char::is_control)) {
            self.wrong("L101", path, format!("\"{}\" is a pattern that nothing fits", bad.escape_debug()));
        }
    }

    fn has(&mut self, has: &Has, path: &str) {
        if *has == Has::default() {
            self.wrong("L004", path, "a rule without keys would fit every disk");
        }
        if let Some(label) = &has.label {
            self.patterns(std::slice::from_ref(label), &format!("{path}.label"));
        }
        if let Some(bad) = has.fs_uuid.as_ref().filter(|u| !is_uuid(u) && !is_volume_id(u)) {
            self.wrong("L101", format!("{path}.fs-uuid"), format!("\"{bad}\" is not the UUID of a filesystem"));
        }
        if let Some(bad) = has.md_uuid.as_ref().filter(|u| !is_array_uuid(u)) {
            self.wrong("L101", format!("{path}.md-uuid"), format!("\"{bad}\" is not the UUID of an array"));
        }
        if let Some(bad) = has.gpt_guid.as_ref().filter(|u| !is_uuid(u)) {
            self.wrong("L101", format!("{path}.gpt-guid"), format!("\"{bad}\" is not the GUID of a table"));
        }
    }
}

pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok_and(|u| !u.is_nil())
}

/// The identity of a FAT filesystem, such as `1A2B-3C4D`.
pub(super) fn is_volume_id(text: &str) -> bool {
    let hex = |t: &str| t.len() == 4 && t.chars().all(|c| c.is_ascii_hexdigit());
    text.split_once('-').is_some_and(|(a, b)| hex(a) && hex(b))
}

/// As mdadm writes it, four groups of eight digits, or as everybody else does.
pub(super) fn is_array_uuid(text: &str) -> bool {
    let hex = |t: &str| t.len() == 8 && t.chars().all(|c| c.is_ascii_hexdigit());
    is_uuid(text) || (text.split(':').count() == 4 && text.split(':').all(hex))
}
