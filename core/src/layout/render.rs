//! A plan as text for people and as JSON for programs.

use super::plan::{
    Danger, Device, Layer, Plan, PlannedArray, PlannedCrypt, PlannedGroup, PlannedMount, PlannedVolume, hex,
    mapper_path, partition_list,
};
use crate::shown;
use crate::units::human;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// So many differences are shown to people; programs get all.
const DIFFERENCES: usize = 10;

impl Plan {
    /// The plan as text: each disk now and after, what is lost, what is done, and the token that confirms it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let count = self.disks.len();
        let disks = if count == 1 { "disk" } else { "disks" };
        let recorded = if self.recorded { ", as they were recorded" } else { "" };
        let _ = writeln!(out, "Layout {} on {count} {disks}{recorded}", self.layout_name());
        for (index, disk) in self.disks.iter().enumerate() {
            let f = &disk.facts;
            let what = if disk.is_file() { "image file" } else { f.model.as_deref().unwrap_or("disk") };
            let serial = f.serial.as_ref().map(|s| format!(", serial {s}")).unwrap_or_default();
            let (path, size, sector) = (f.path.display(), human(f.size), f.sector);
            let _ = writeln!(out, "\n{}: {path} ({what}{serial}), {size}, sectors of {sector} bytes", disk.set);
            let now = f.contents.describe();
            let _ = writeln!(out, "  now: {}", if now.is_empty() { "nothing known" } else { "" }.trim_end());
            indented(&mut out, "    ", &now);
            let _ = writeln!(out, "  after:");
            let mut rows = vec![["", "partition", "type", "start", "size", "content", "mounted at"].map(str::to_owned)];
            let mut sorted: Vec<_> = disk.partitions.iter().enumerate().collect();
            sorted.sort_by_key(|(_, p)| p.start);
            for (n, p) in sorted {
                let [content, at] = self.use_of(Device::Partition { disk: index, partition: n });
                let (start, length) = (human(p.start), human(p.length));
                rows.push([p.number.to_string(), p.name.clone(), p.kind.to_string(), start, length, content, at]);
            }
            table(&mut out, &rows);
        }
        self.devices_to_text(&mut out);
        let lost: Vec<_> = self.steps.iter().filter(|s| s.danger == Danger::Data && !s.lost.is_empty()).collect();
        if !lost.is_empty() {
            let _ = writeln!(out, "\nWHAT IS LOST");
        }
        for step in &lost {
            // The table of a disk goes after its signatures, and loses the same.
            let disk = step.id.strip_prefix("table:");
            if disk.is_none_or(|d| !lost.iter().any(|s| s.id.strip_prefix("erase:") == Some(d))) {
                let _ = writeln!(out, "  {}:", step.title);
                indented(&mut out, "    ", &step.lost);
            }
        }
        let kept = self.kept_lines();
        if !kept.is_empty() {
            let _ = writeln!(out, "\nWHAT IS KEPT");
            indented(&mut out, "  ", &kept);
        }
        if self.is_unchanged() {
            let _ = writeln!(
                out,
                "\nNothing to do: the disks are as the layout wants them, with the identities they have."
            );
        } else {
            self.steps_to_text(&mut out);
        }
        let fstab = self.fstab_lines();
        if !fstab.is_empty() {
            let _ = writeln!(out, "\n/etc/fstab");
            indented(&mut out, "  ", &fstab);
        }
        let cmdline = self.boot_cmdline();
        if self.boot.is_some() && !cmdline.is_empty() {
            let _ = writeln!(out, "\nKernel command line\n  {cmdline}");
        }
        for warning in &self.warnings {
            let _ = writeln!(out, "\nwarning: {warning}");
        }
        let _ = writeln!(out, "\nNothing is written yet. The token of this plan is {}", self.token);
        shown::text(&out)
    }

    /// Why something is done, and what.
    fn steps_to_text(&self, out: &mut String) {
        let differences = self.differences();
        // Of disks without a table everything differs, and people see that.
        if !differences.is_empty() && self.disks.iter().any(|d| d.facts.contents.table.table().is_some()) {
            let _ = writeln!(out, "\nWhat differs from the layout");
            let shown: Vec<String> = differences.iter().take(DIFFERENCES).cloned().collect();
            indented(out, "  ", &shown);
            if let Some(more) = differences.len().checked_sub(DIFFERENCES).filter(|n| *n > 0) {
                let _ = writeln!(out, "  and {more} more");
            }
        }
        let _ = writeln!(out, "\nSteps");
        for (i, step) in self.steps.iter().enumerate() {
            let _ = writeln!(out, "  {:>2}  {}", i + 1, step.title);
            for command in &step.commands {
                let _ = writeln!(out, "        {}", command.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" "));
            }
        }
        if self.filesystems.iter().any(|f| !f.kept && f.has_features()) {
            let _ = writeln!(out, "      (features that the mkfs of the machine does not know are left out)");
        }
    }

    /// What is made out of partitions, from the ground up.
    fn devices_to_text(&self, out: &mut String) {
        if self.layers.is_empty() {
            return;
        }
        let _ = writeln!(out, "\nOut of partitions:");
        let mut rows = vec![["device", "what", "on", "size", "content", "mounted at"].map(str::to_owned)];
        let mut row = |device: Device, what: String| {
            let glance = self.glance(device);
            let [content, at] = self.use_of(device);
            rows.push([glance.reference, what, self.references(self.below(device)), human(glance.size), content, at]);
        };
        for layer in &self.layers {
            match *layer {
                Layer::Array(i) => {
                    let a = &self.arrays[i];
                    row(Device::Array(i), format!("RAID{}{}", a.level, kept(a.kept)));
                }
                Layer::Crypt(i) => row(Device::Crypt(i), format!("LUKS2{}", kept(self.crypts[i].kept))),
                Layer::Group(group) => {
                    for (volume, v) in self.groups[group].volumes.iter().enumerate() {
                        row(Device::Volume { group, volume }, format!("{}{}", v.kind.name(), kept(v.kept)));
                    }
                }
            }
        }
        table(out, &rows);
    }

    /// What a device is used for, and where that is mounted.
    fn use_of(&self, device: Device) -> [String; 2] {
        if let Some(fs) = self.filesystems.iter().find(|f| f.places().any(|(d, _)| d == device)) {
            let content = match &fs.label {
                Some(label) => format!("{} \"{label}\"", fs.kind.name()),
                None => fs.kind.name().to_owned(),
            };
            let mirror = fs.on != device;
            let place = |m: PlannedMount<'_>| match m.subvolume {
                Some(name) => format!("{} ({name})", m.mount.at),
                None => m.mount.at.clone(),
            };
            let at = fs.mounts().filter(|_| !mirror).map(place).collect::<Vec<_>>().join(", ");
            let content = if mirror { format!("{content}, a copy") } else { content };
            return [content + kept(fs.kept), at];
        }
        let array = self.arrays.iter().find(|a| a.members.contains(&device));
        let array = array.map(|a| format!("raid/{}{}", a.id, kept(a.kept)));
        let crypt = self.crypts.iter().find(|c| c.on == device).map(|c| format!("luks/{}{}", c.id, kept(c.kept)));
        let group = self.groups.iter().find(|g| g.pvs.iter().any(|(d, _)| *d == device));
        let group = group.map(|g| format!("lvm/{}{}", g.name, kept(g.kept)));
        [array.or(crypt).or(group).unwrap_or_default(), String::new()]
    }

    /// The plan as JSON, shape `cv.plan/v1`; `core/docs/layout-schema.md` describes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let disks: Vec<Value> = self
            .disks
            .iter()
            .map(|d| {
                json!({
                    "set": d.set,
                    "disk": d.facts.identity(),
                    "guid": d.guid,
                    "now": d.facts.contents.describe(),
                    "partitions": partition_list(d),
                })
            })
            .collect();
        let filesystems: Vec<Value> = self
            .filesystems
            .iter()
            .map(|f| {
                let glance = self.glance(f.on);
                let mirrors: Vec<Value> = f
                    .mirrors
                    .iter()
                    .map(|(d, uuid)| json!({"on": self.glance(*d).reference, "device": self.glance(*d).path, "uuid": uuid}))
                    .collect();
                json!({
                    "id": f.id,
                    "type": f.kind.name(),
                    "on": glance.reference,
                    "device": glance.path,
                    "uuid": f.uuid,
                    "mirrors": mirrors,
                    "label": f.label,
                    "mount": f.mount,
                    "subvolumes": f.subvolumes,
                    "kept": f.kept,
                })
            })
            .collect();
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|s| {
                let danger = match s.danger {
                    Danger::None => "none",
                    Danger::Metadata => "metadata",
                    Danger::Data => "data",
                };
                json!({"id": s.id, "title": s.title, "danger": danger, "lost": s.lost, "commands": s.commands})
            })
            .collect();
        json!({
            "schema": "cv.plan/v1",
            "layout": self.layout_name(),
            "hostname": self.hostname,
            "seed": hex(&self.seed),
            "token": self.token,
            "disks": disks,
            "arrays": self.arrays.iter().map(|a| self.array_json(a)).collect::<Vec<_>>(),
            "encrypted": self.crypts.iter().map(|c| self.crypt_json(c)).collect::<Vec<_>>(),
            "groups": self.groups.iter().map(|g| self.group_json(g)).collect::<Vec<_>>(),
            "filesystems": filesystems,
            "mdadm": self.mdadm_lines(),
            "crypttab": self.crypttab_lines(),
            "fstab": self.fstab_lines(),
            "cmdline": self.boot_cmdline(),
            "recorded": self.is_recorded(),
            "kept": self.kept_lines(),
            "unchanged": self.is_unchanged(),
            "differences": self.differences(),
            "steps": steps,
            "warnings": self.warnings,
        })
    }
}

impl Plan {
    fn array_json(&self, a: &PlannedArray) -> Value {
        json!({
            "id": a.id,
            "name": a.name,
            "uuid": a.md_uuid(),
            "level": a.level,
            "members": a.members.iter().map(|d| self.glance(*d).path).collect::<Vec<_>>(),
            "spares": a.spares,
            "metadata": a.metadata,
            "chunk": a.chunk,
            "layout": a.layout,
            "bitmap": a.bitmap,
            "sync": a.sync,
            "data_offset": a.data_offset,
            "component": a.component,
            "size": a.size,
            "kept": a.kept,
        })
    }

    fn crypt_json(&self, c: &PlannedCrypt) -> Value {
        json!({
            "id": c.id,
            "on": self.glance(c.on).reference,
            "uuid": c.uuid,
            "name": c.name(),
            "keys": c.keys,
            "data_offset": c.data_offset,
            "size": c.size,
            "kept": c.kept,
        })
    }

    fn group_json(&self, g: &PlannedGroup) -> Value {
        let volume = |v: &PlannedVolume| {
            json!({
                "name": v.name,
                "kind": v.kind,
                "device": mapper_path(&g.name, &v.name),
                "extents": v.extents,
                "size": v.size,
                "stripes": v.stripes.map(|(n, _)| n),
                "pool": v.pool,
                "kept": v.kept,
            })
        };
        json!({
            "name": g.name,
            "pvs": g.pvs.iter().map(|(d, uuid)| json!({"on": self.glance(*d).reference, "uuid": uuid})).collect::<Vec<_>>(),
            "extent": g.extent,
            "extents": g.extents,
            "free": g.free,
            "kept": g.kept,
            "volumes": g.volumes.iter().map(volume).collect::<Vec<_>>(),
        })
    }
}

/// What is said of something that stays.
fn kept(is: bool) -> &'static str {
    if is { ", kept" } else { "" }
}

fn indented(out: &mut String, indent: &str, lines: &[String]) {
    for line in lines {
        let _ = writeln!(out, "{indent}{}", shown::line(line));
    }
}

/// Columns as wide as they must be, two spaces apart.
fn table<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, w)| format!("{:w$}", shown::line(cell)));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(out, "    {}", line.trim_end());
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
