//! What the types cannot say (pass L): references, uniqueness, limits, what the kernel, firmware and GRUB need.
//!
//! Everything that is wrong is found at once, and nothing twice: what follows from something that could not be read, or
//! that is wrong already, is no finding.

pub(in crate::layout) mod boot;
mod disks;
mod filesystems;
mod luks;
mod lvm;
mod mounts;
mod names;
mod partitions;
mod preserve;
mod raid;
mod references;
mod sizes;

use super::decode::Positions;
use super::diagnostic::{DIAGNOSTIC_LIMIT, Diagnostic};
use super::spec::{Ref, Spec};
use super::stack::{Object, Stack};

const MIB: u64 = 1 << 20;

/// Everything that is wrong with the document itself.
#[must_use]
pub fn validate(spec: &Spec, positions: &Positions) -> Vec<Diagnostic> {
    let mut v = Validator { spec, positions, found: Vec::new() };
    v.names();
    v.disks();
    v.references();
    v.partitions();
    v.sizes();
    v.raid();
    v.luks();
    v.lvm();
    v.filesystems();
    v.mounts();
    match Stack::of(spec) {
        Ok(stack) => {
            v.preserve(&stack);
            v.on_the_stack(&stack);
            v.boot(&stack);
        }
        Err(circle) => v.circle(&circle),
    }
    v.found
}

struct Validator<'a> {
    spec: &'a Spec,
    positions: &'a Positions,
    found: Vec<Diagnostic>,
}

impl Validator<'_> {
    fn report(&mut self, d: Diagnostic) {
        if !self.is_full() && !self.positions.is_wrong(&d.path) {
            let place = self.positions.place(&d.path);
            self.found.push(d.at(place));
        }
    }

    fn wrong(&mut self, code: &'static str, path: impl Into<String>, message: impl Into<String>) {
        self.report(Diagnostic::error(code, path, message));
    }

    fn wrong_with_hint(
        &mut self,
        code: &'static str,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.report(Diagnostic::error(code, path, message).hint(hint));
    }

    /// Whether as much is known as anybody reads.
    fn is_full(&self) -> bool {
        self.found.len() >= DIAGNOSTIC_LIMIT
    }

    /// A key that would do nothing where it stands.
    fn means_nothing(&mut self, path: String, message: impl Into<String>) {
        self.wrong("L128", path, message);
    }

    /// How many devices references stand for, at least and at most; `None` when that cannot be told.
    fn devices<'r>(&self, references: impl IntoIterator<Item = &'r Ref>) -> Option<(u32, u32)> {
        let mut sum = (0u32, 0u32);
        for reference in references {
            let (least, most) = match reference {
                Ref::Partition(key) => {
                    if self.positions.is_faulty(&format!("disks.{}", key.set)) {
                        return None;
                    }
                    let count = self.spec.disks.get(&key.set)?.count;
                    (count.min.next_multiple_of(count.multiple_of), count.max.unwrap_or(u32::MAX))
                }
                Ref::Raid(_) | Ref::Luks(_) | Ref::Volume(..) => (1, 1),
            };
            sum = (sum.0.saturating_add(least), sum.1.saturating_add(most));
        }
        Some(sum)
    }

    /// One device for one thing: a partition of several disks is several.
    fn one_device(&mut self, path: String, on: &Ref, what: &str, hint: &str) {
        let Ref::Partition(key) = on else { return };
        if let Some((_, most)) = self.devices([on])
            && most != 1
        {
            let disks = if most == u32::MAX { "every disk".to_owned() } else { format!("each of {most} disks") };
            let text = format!("\"{on}\" lies on {disks} of set {}; {what} has one device", key.set);
            self.wrong_with_hint("L129", path, text, hint);
        }
    }
}

/// Whether an object is a volume that takes room from a pool.
fn is_thin(spec: &Spec, object: &Object) -> bool {
    let Object::Volume(group, name) = object else { return false };
    let volume = spec.lvm.get(group).and_then(|g| g.lvs.get(name));
    volume.is_some_and(|v| v.kind == super::spec::VolumeKind::Thin)
}
