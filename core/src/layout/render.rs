//! A plan as text for people and as JSON for programs.

use super::plan::{Danger, Plan, hex, partition_list};
use crate::units::human;
use serde_json::{Value, json};
use std::fmt::Write as _;

impl Plan {
    /// The plan as text: each disk now and after, what is lost, what is done, and the token that confirms it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let count = self.disks.len();
        let disks = if count == 1 { "disk" } else { "disks" };
        let _ = writeln!(out, "Layout {} on {count} {disks}", self.layout_name());
        for disk in &self.disks {
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
            let mut sorted: Vec<_> = disk.partitions.iter().collect();
            sorted.sort_by_key(|p| p.start);
            for p in sorted {
                let fs = self.filesystems.iter().find(|x| std::ptr::eq(self.partition_of(x), p));
                let content = fs.map_or_else(String::new, |x| match &x.label {
                    Some(label) => format!("{} \"{label}\"", x.kind.name()),
                    None => x.kind.name().to_owned(),
                });
                let at = fs.and_then(|x| x.mount.as_ref()).map_or_else(String::new, |m| m.at.clone());
                let (start, length) = (human(p.start), human(p.length));
                rows.push([p.number.to_string(), p.name.clone(), p.kind.to_string(), start, length, content, at]);
            }
            table(&mut out, &rows);
        }
        let lost = self.steps.iter().filter(|s| s.danger == Danger::Data).map(|s| (s.title.as_str(), &s.lost));
        let mut last: Option<&Vec<String>> = None;
        let mut begun = false;
        for (title, lines) in lost {
            if !begun {
                let _ = writeln!(out, "\nWHAT IS LOST");
                begun = true;
            }
            // Two steps at the same disk lose the same.
            if last != Some(lines) {
                let _ = writeln!(out, "  {title}:");
                indented(&mut out, "    ", lines);
            }
            last = Some(lines);
        }
        let _ = writeln!(out, "\nSteps");
        for (i, step) in self.steps.iter().enumerate() {
            let _ = writeln!(out, "  {:>2}  {}", i + 1, step.title);
            for command in &step.commands {
                let _ = writeln!(out, "        {}", command.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" "));
            }
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
        out
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
                let p = self.partition_of(f);
                json!({
                    "id": f.id,
                    "type": f.kind.name(),
                    "on": p.key,
                    "device": format!("/dev/disk/by-partuuid/{}", p.uuid),
                    "uuid": f.uuid,
                    "label": f.label,
                    "mount": f.mount,
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
            "filesystems": filesystems,
            "fstab": self.fstab_lines(),
            "cmdline": self.boot_cmdline(),
            "steps": steps,
            "warnings": self.warnings,
        })
    }
}

fn indented(out: &mut String, indent: &str, lines: &[String]) {
    for line in lines {
        let _ = writeln!(out, "{indent}{line}");
    }
}

/// Columns as wide as they must be, two spaces apart.
fn table<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, w)| format!("{cell:w$}"));
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
