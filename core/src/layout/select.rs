//! Which disk belongs to which set.
//!
//! In this version the caller says it (`SET=PATH`). Rules of `match` will produce the same [`Choice`]s from an
//! inventory; everything behind this module already works on lists of disks.

use super::decode::Positions;
use super::diagnostic::{Diagnostic, nearest};
use super::spec::Spec;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A disk of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The set.
    pub set: String,
    /// Which disk of the set, from 0.
    pub index: usize,
    /// The device or image file.
    pub path: PathBuf,
}

/// Disks by set, in their order: devices or image files.
pub type Disks = BTreeMap<String, Vec<PathBuf>>;

/// Chooses the disks, in document order.
///
/// # Errors
/// `F201` for a set without a disk, `F209` for a disk without a set or for two sets.
pub fn choose(spec: &Spec, positions: &Positions, given: &Disks) -> Result<Vec<Choice>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    for name in given.keys().filter(|n| !spec.disks.contains_key(*n)) {
        let known: Vec<&str> = spec.disks.keys().map(String::as_str).collect();
        let d = Diagnostic::error("F209", "disks", format!("a disk is given for \"{name}\", which is no set here"));
        found.push(d.hint(match nearest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known are: {}", known.join(", ")),
        }));
    }
    let mut chosen: Vec<Choice> = Vec::new();
    for (set, disk) in &spec.disks {
        let path = format!("disks.{set}");
        let devices = given.get(set).map_or(&[][..], Vec::as_slice);
        let (min, max) = (disk.count.min as usize, disk.count.max.map_or(usize::MAX, |m| m as usize));
        if !(min..=max).contains(&devices.len()) {
            let wanted = if min == max { min.to_string() } else { format!("at least {min}") };
            let text = format!("disk set {set}: {wanted} disks wanted, {} given", devices.len());
            let d = Diagnostic::error("F201", &path, text);
            let rules = if disk.matching.is_some() { "this version does not match by rules yet: " } else { "" };
            found.push(d.hint(format!("{rules}name each, as in --disk {set}=/dev/…")).at(positions.place(&path)));
            continue;
        }
        for device in devices {
            if let Some(other) = chosen.iter().find(|c| same(&c.path, device)) {
                let text = format!("{} is given for both {} and {set}", device.display(), other.set);
                found.push(Diagnostic::error("F209", &path, text));
                continue;
            }
            let index = chosen.iter().filter(|c| c.set == *set).count();
            chosen.push(Choice { set: set.clone(), index, path: device.clone() });
        }
    }
    if found.is_empty() { Ok(chosen) } else { Err(found) }
}

/// Whether two paths name the same device or file.
fn same(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let identity = |p: &Path| {
        let m = std::fs::metadata(p).ok()?;
        Some(if m.file_type().is_block_device() { (0, m.rdev()) } else { (m.dev(), m.ino()) })
    };
    a == b || identity(a).is_some_and(|i| identity(b) == Some(i))
}
