//! A document as a person would write it: sections in the usual order, one object a line, nothing that goes without
//! saying.
//!
//! Texts that another reader of YAML would take for a number or a truth are quoted, although ours takes them as they
//! are written.

use crate::layout::spec::{Spec, VolumeGroup};
use crate::units::ByteSize;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// A longer line is divided.
const WIDTH: usize = 116;
/// Keys are padded up to this, so that one long name does not move all others.
const PAD: usize = 16;

/// The order of keys wherever they stand; others follow by the alphabet.
const ORDER: [&str; 46] = [
    "match",
    "count",
    "pick",
    "number",
    "on",
    "level",
    "layout",
    "chunk",
    "kind",
    "pool",
    "type",
    "transport",
    "rotational",
    "pvs",
    "extent",
    "reserve",
    "size",
    "min",
    "max",
    "weight",
    "virtual-size",
    "stripes",
    "stripe-size",
    "members",
    "spares",
    "metadata",
    "bitmap",
    "sync",
    "version",
    "keys",
    "name",
    "label",
    "uuid",
    "attrs",
    "start",
    "at",
    "options",
    "mirror",
    "mount",
    "subvolumes",
    "loader",
    "install-on",
    "cmdline",
    "exclude",
    "require",
    "wipe",
];

/// The document.
pub(super) fn document(spec: &Spec) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "schema: {}", flow(&value(&spec.schema)));
    let _ = writeln!(out, "name: {}", text(&spec.name));
    if let Some(description) = &spec.description {
        let _ = writeln!(out, "description: {}", text(description));
    }
    if !spec.firmware.is_empty() {
        let _ = writeln!(out, "firmware: {}", flow(&value(&spec.firmware)));
    }
    section(&mut out, "disks", spec.disks.iter().map(|(k, v)| (k.clone(), brief("disks", value(v)))));
    let partitions = spec.partitions.iter();
    section(&mut out, "partitions", partitions.map(|(k, v)| (k.to_string(), brief("partitions", value(v)))));
    section(&mut out, "raid", spec.raid.iter().map(|(k, v)| (k.clone(), brief("raid", value(v)))));
    section(&mut out, "luks", spec.luks.iter().map(|(k, v)| (k.clone(), brief("luks", value(v)))));
    if !spec.lvm.is_empty() {
        let _ = writeln!(out, "lvm:");
        spec.lvm.iter().for_each(|(name, group)| volume_group(&mut out, name, group));
    }
    let filesystems = spec.filesystems.iter();
    section(&mut out, "filesystems", filesystems.map(|(k, v)| (k.clone(), brief("filesystems", value(v)))));
    if let Some(boot) = &spec.boot {
        entry(&mut out, 0, "boot", 0, &value(boot));
    }
    let policy = value(&spec.policy);
    if policy.as_object().is_some_and(|p| !p.is_empty()) {
        entry(&mut out, 0, "policy", 0, &policy);
    }
    out
}

fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// Without what a document means when it says nothing.
fn brief(section: &str, mut object: Value) -> Value {
    let silent: &[(&str, Value)] = match section {
        "disks" => &[("count", json!(1)), ("pick", json!("unique")), ("wipe", json!("signatures"))],
        "raid" => &[("metadata", json!("1.2")), ("sync", json!("background"))],
        "luks" => &[("version", json!(2))],
        "volumes" => &[("kind", json!("linear"))],
        _ => &[],
    };
    if let Some(map) = object.as_object_mut() {
        map.retain(|key, value| !silent.iter().any(|(k, v)| k == key && v == value));
    }
    object
}

fn section(out: &mut String, name: &str, entries: impl Iterator<Item = (String, Value)>) {
    let entries: Vec<(String, Value)> = entries.collect();
    if entries.is_empty() {
        return;
    }
    let _ = writeln!(out, "{name}:");
    list(out, 2, &entries);
}

/// Entries with their values in a column.
fn list(out: &mut String, indent: usize, entries: &[(String, Value)]) {
    let width = |(key, _): &(String, Value)| Some(key.chars().count()).filter(|w| *w <= PAD);
    let width = entries.iter().filter_map(width).max().unwrap_or(0);
    entries.iter().for_each(|(key, value)| entry(out, indent, key, width, value));
}

/// One object: on one line, or where that is too long one line for each of its keys.
fn entry(out: &mut String, indent: usize, key: &str, width: usize, value: &Value) {
    let name = format!("{}:", text(key));
    let line = format!("{:indent$}{name:<pad$} {}", "", flow(value), pad = width + 1);
    match value.as_object().filter(|_| line.chars().count() > WIDTH) {
        None => {
            let _ = writeln!(out, "{line}");
        }
        Some(map) => {
            let _ = writeln!(out, "{:indent$}{name}", "");
            sorted(map).into_iter().for_each(|(key, value)| entry(out, indent + 2, key, 0, value));
        }
    }
}

fn volume_group(out: &mut String, name: &str, group: &VolumeGroup) {
    let _ = writeln!(out, "  {}:", text(name));
    let mut own = value(group);
    if let Some(map) = own.as_object_mut() {
        map.remove("lvs");
        if group.extent == VolumeGroup::EXTENT {
            map.remove("extent");
        }
        sorted(map).into_iter().for_each(|(key, value)| entry(out, 4, key, 0, value));
    }
    if !group.lvs.is_empty() {
        let _ = writeln!(out, "    lvs:");
        let volumes: Vec<_> = group.lvs.iter().map(|(k, v)| (k.clone(), brief("volumes", value(v)))).collect();
        list(out, 6, &volumes);
    }
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let rank = |key: &str| ORDER.iter().position(|o| *o == key).unwrap_or(ORDER.len());
    let mut all: Vec<_> = map.iter().collect();
    all.sort_by(|(a, _), (b, _)| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    all
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(t) => text(&decimal(t).unwrap_or_else(|| t.clone())),
        Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<String> =
                sorted(map).into_iter().map(|(k, v)| format!("{}: {}", text(k), flow(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// A size that is none in whole MiB and is one in decimal units, as disks have them.
fn decimal(t: &str) -> Option<String> {
    let bytes = t.parse::<ByteSize>().ok().filter(|_| t.ends_with("KiB") || !t.ends_with("iB"))?.bytes();
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000)];
    let (name, unit) = units.into_iter().find(|(_, n)| bytes >= *n && bytes.is_multiple_of(*n))?;
    Some(format!("{}{name}", bytes / unit))
}

/// A text, in quotes where it needs them.
fn text(t: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%=".contains(c);
    let begins = t.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let another = words.iter().any(|w| t.eq_ignore_ascii_case(w)) && t != "on"
        || t.parse::<f64>().is_ok()
        || t.starts_with("0x")
        || t.starts_with("0o");
    if begins && t.chars().all(plain) && !another {
        t.to_owned()
    } else {
        // What JSON quotes YAML reads.
        Value::from(t).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_disks_are_decimal() {
        let shown = |bytes: u64| decimal(&ByteSize::new(bytes).to_string());
        assert_eq!([shown(864_000_000_000), shown(4_000_000_000_000)], [Some("864GB".into()), Some("4TB".into())]);
        assert_eq!([shown(512 << 10), shown(1 << 30), shown(513)], [None, None, None]);
    }

    #[test]
    fn texts_are_quoted_where_they_must_be() {
        for plain in
            ["os/boot", "512KiB", "/boot/efi", "umask=0077", "cv.layout/v1", "x-systemd.device-timeout=60s", "on"]
        {
            assert_eq!(text(plain), plain);
        }
        for quoted in
            ["", "1.0", "0755", "no", "NULL", "a: b", "ref:TODO", "a,b", "-x", "1e3", "0x10", "ä", "a\nb", "~cv"]
        {
            assert_eq!(text(quoted), serde_json::to_string(quoted).unwrap(), "{quoted}");
        }
    }
}
