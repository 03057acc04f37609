//! A document out of what is on the disks of a machine, for others to use.
//!
//! ```text
//! Observed ─ sets         disks with the same scheme become one set; rules that find such disks again
//!          ─ partitions   numbers, types, names; the last one that fills the disk is "rest"
//!          ─ devices      arrays, encrypted devices, groups with their volumes
//!          ─ filesystems  with the mounts of fstab; the boot loader; firmware
//!          ─> Captured ── yaml ─> a document as a person would write it
//! ```
//!
//! What belongs to one machine (serial numbers, UUIDs) stands in comments and not in the document, unless it is asked
//! for. Secrets are never captured: keys are named `ref:TODO`. What a document cannot say is told.

mod boot;
mod devices;
mod filesystems;
mod matching;
mod names;
mod partitions;
mod sets;
mod yaml;

use super::diagnostic::{Diagnostic, Severity};
use super::inventory::Inventory;
use super::observed::{Given, Node, Observed};
use super::spec::{Policy, Ref, SchemaId, Spec};
use crate::error::{Error, Result};
use crate::units::human;
use indexmap::IndexMap;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What a capture of a layout can be told.
#[derive(Clone, Debug, Default)]
pub struct LayoutCaptureOptions {
    /// Only these disks or image files; without any all of this machine.
    pub disks: Vec<PathBuf>,
    /// The root of the system whose fstab, crypttab and command line are read. Without it that of this machine, unless
    /// disks are named.
    pub root: Option<PathBuf>,
    /// The name of the layout; without it that of the machine.
    pub name: Option<String>,
    /// Disks are matched by who they are, and no others will do.
    pub pin: bool,
    /// UUIDs of partitions and filesystems become part of the document.
    pub keep_uuids: bool,
}

/// A captured layout.
#[derive(Clone, Debug)]
pub struct Captured {
    spec: Spec,
    disks: Vec<(String, Vec<String>)>,
    notes: Vec<String>,
    unsupported: Vec<String>,
    inventory: Option<Inventory>,
}

impl Captured {
    /// The document as types.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The document, unless there is none: no disk has anything that a document could say.
    ///
    /// # Errors
    /// `Unsupported`, with what was seen instead.
    pub fn required(&self) -> Result<&Self> {
        if !self.spec.disks.is_empty() {
            return Ok(self);
        }
        let seen = self.unsupported.first().map(|u| format!(": {u}")).unwrap_or_default();
        Err(Error::unsupported(format!("no disk has a layout that could be captured{seen}"))
            .hint("a layout is captured as root, on a machine with a partition table on its disks")
            .fact("unsupported", self.unsupported.clone()))
    }

    /// What somebody should read before the document is used.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What was seen and is not in the document, because a document cannot say it.
    #[must_use]
    pub fn unsupported(&self) -> &[String] {
        &self.unsupported
    }

    /// The disks of the machine, where those of a machine were captured.
    #[must_use]
    pub fn inventory(&self) -> Option<&Inventory> {
        self.inventory.as_ref()
    }

    /// The document alone, without a word about this machine.
    #[must_use]
    pub fn document(&self) -> String {
        yaml::document(&self.spec)
    }

    /// The document, with what was observed in comments.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        let mut comment = |title: &str, lines: &mut dyn Iterator<Item = String>| {
            let mut lines = lines.peekable();
            if lines.peek().is_some() {
                let _ = writeln!(out, "# {title}");
                lines.for_each(|l| {
                    let _ = writeln!(out, "#   {}", l.replace(char::is_control, " "));
                });
            }
        };
        let disks = self.disks.iter().flat_map(|(set, disks)| disks.iter().map(move |d| format!("{set}: {d}")));
        comment("Observed:", &mut disks.into_iter());
        comment("Notes:", &mut self.notes.iter().cloned());
        comment("Unsupported, and not in this document:", &mut self.unsupported.iter().cloned());
        out.push_str(&self.document());
        out
    }

    /// The document and what was noted as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let observed: serde_json::Map<String, Value> =
            self.disks.iter().map(|(set, disks)| (set.clone(), json!(disks))).collect();
        json!({
            "layout": serde_json::to_value(&self.spec).unwrap_or_default(),
            "document": self.to_yaml(),
            "observed": observed,
            "notes": self.notes,
            "unsupported": self.unsupported,
        })
    }
}

/// Captures the layout of this machine, or of the disks and image files that are named. They are opened for reading.
///
/// # Errors
/// `NotFound`, `Denied`, `Io` or `Invalid` of a disk that was named.
pub fn capture(options: &LayoutCaptureOptions) -> Result<Captured> {
    if !options.disks.is_empty() {
        let disks: Vec<Given> = options.disks.iter().map(Given::from).collect();
        let machine = Inventory::read(Path::new("/"));
        let observed = Observed::of_disks(&disks, options.root.as_deref())?;
        return Ok(describe(&observed, Some(&machine), options));
    }
    let machine = Inventory::of_this_machine();
    let root = options.root.as_deref().unwrap_or(Path::new("/"));
    let observed = Observed::of_this_machine(&machine, root)?;
    let mut captured = describe(&observed, Some(&machine), options);
    captured.inventory = Some(machine);
    Ok(captured)
}

/// The document for what was observed; `machine` are the disks that a rule must tell apart.
#[must_use]
pub fn describe(observed: &Observed, machine: Option<&Inventory>, options: &LayoutCaptureOptions) -> Captured {
    let mut draft = Draft::new(observed, options);
    draft.oddities();
    draft.sets(machine);
    draft.partitions();
    draft.arrays();
    draft.crypts_and_groups();
    draft.filesystems();
    draft.boot();
    draft.finish()
}

/// A document that is being written.
struct Draft<'a> {
    observed: &'a Observed,
    options: &'a LayoutCaptureOptions,
    spec: Spec,
    /// The disks of each set.
    sets: IndexMap<String, Vec<usize>>,
    /// What references say for a device.
    references: HashMap<Node, Ref>,
    notes: Vec<String>,
    unsupported: Vec<String>,
}

impl<'a> Draft<'a> {
    fn new(observed: &'a Observed, options: &'a LayoutCaptureOptions) -> Self {
        let hostname = observed.system.as_ref().and_then(|s| s.hostname.clone());
        let name = options.name.clone().or(hostname.filter(|h| names::is_name(h)));
        let spec = Spec {
            schema: SchemaId::V1,
            name: name.unwrap_or_else(|| "captured".to_owned()),
            description: None,
            extends: Vec::new(),
            firmware: Vec::new(),
            disks: IndexMap::new(),
            partitions: IndexMap::new(),
            raid: IndexMap::new(),
            luks: IndexMap::new(),
            lvm: IndexMap::new(),
            filesystems: IndexMap::new(),
            boot: None,
            policy: Policy::default(),
        };
        Self {
            observed,
            options,
            spec,
            sets: IndexMap::new(),
            references: HashMap::new(),
            notes: Vec::new(),
            unsupported: Vec::new(),
        }
    }

    /// What the model does not hold.
    fn oddities(&mut self) {
        for oddity in &self.observed.oddities {
            let on = oddity.on.map(|n| format!("{}: ", self.observed.name(n))).unwrap_or_default();
            self.unsupported.push(format!("{on}{}", oddity.text));
        }
    }

    /// References for devices, each once; none where one is not in the document.
    fn references_of(&self, nodes: impl IntoIterator<Item = Node>) -> Option<Vec<Ref>> {
        let mut found = Vec::new();
        for node in nodes {
            let reference = self.references.get(&node)?;
            if !found.contains(reference) {
                found.push(reference.clone());
            }
        }
        Some(found)
    }

    /// What a check of the document would say: machines may be made as no document allows.
    fn faults(&mut self) {
        let name = self.spec.name.clone();
        let found = crate::layout::check(yaml::document(&self.spec).as_bytes(), &name);
        let text =
            |d: &Diagnostic| format!("to be changed before the document is used: {} {}: {}", d.code, d.path, d.message);
        self.notes.extend(found.iter().filter(|d| d.severity == Severity::Error).map(text));
    }

    fn finish(mut self) -> Captured {
        if !self.spec.disks.is_empty() {
            self.faults();
        }
        let disks =
            self.sets.iter().map(|(set, disks)| (set.clone(), disks.iter().map(|d| self.identity(*d)).collect()));
        let disks = disks.collect();
        Captured { spec: self.spec, disks, notes: self.notes, unsupported: self.unsupported, inventory: None }
    }

    /// A disk for people: its names, size and place.
    fn identity(&self, disk: usize) -> String {
        let disk = &self.observed.disks[disk];
        let mut words = vec![disk.path.display().to_string(), human(disk.size)];
        if let Some(hardware) = &disk.hardware {
            words.extend(hardware.model.clone());
            words.extend(hardware.by_id.first().cloned());
            words.extend(hardware.by_path.first().cloned());
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests;
