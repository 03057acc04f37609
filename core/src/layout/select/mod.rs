//! Which disks belong to which set: rules of the document, an inventory, and disks that somebody named.
//!
//! ```text
//! named disks ──────────────────────────────────┐
//! objects that are kept ── reserve their disks ─┤
//! sets, those with identities only first ───────┴─> per set: out? rules? protected? ── pick ──> Selection
//! ```
//!
//! Pure and deterministic: nothing is opened here, and names of the kernel never decide. A disk belongs to one set at
//! most, and no set gives up a disk again; when another order of the sets would have worked, the message says so.

mod assign;
mod explain;
mod first;
mod keep;
mod named;
mod order;
mod protect;
mod resolve;
mod rules;

pub use keep::{Keep, KeepFacts};
pub use named::{Choice, Disks, InUse, Named, choose};
pub(super) use protect::never_touched;

use super::diagnostic::Diagnostic;
use super::inventory::Inventory;
use super::spec::Spec;
use std::path::PathBuf;

/// What is to be selected, and from what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The document.
    pub spec: &'a Spec,
    /// The disks of the machine.
    pub inventory: &'a Inventory,
    /// Disks that somebody named for a set; their sets take no others.
    pub named: &'a [Named],
    /// What is kept where it is found.
    pub keep: &'a [Keep],
    /// What else is allowed.
    pub options: Options,
}

/// What is allowed beyond disks that nobody uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Disks in use count as well, that of the running root too: to compare a layout with a running system.
    pub allow_in_use: bool,
    /// Disks of arrays and volumes that nobody uses count as well: they will be taken apart.
    pub allow_held: bool,
}

/// Which disks belong to which set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The sets with disks, in document order.
    pub sets: Vec<Selected>,
    /// Optional sets that nothing matches: they and what depends on them alone are left out.
    pub removed: Vec<String>,
    /// Disks of the inventory that belong to no set, with the reason.
    pub left: Vec<Left>,
    /// What somebody should read, although it stops nothing.
    pub warnings: Vec<Diagnostic>,
}

/// A set and its disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The set.
    pub set: String,
    /// Its disks, in the order in which they were taken.
    pub disks: Vec<Taken>,
    /// Disks that match as well and were not taken: places in the inventory.
    pub passed_over: Vec<usize>,
}

/// A disk of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its place in the inventory; none of an image file, or of a device that the inventory does not have.
    pub disk: Option<usize>,
    /// What opens it.
    pub path: PathBuf,
    /// Why it was taken.
    pub reason: String,
}

/// A disk that belongs to no set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its place in the inventory.
    pub disk: usize,
    /// Why; of several sets each has its say.
    pub reason: String,
}

/// Selects the disks of all sets.
///
/// # Errors
/// All findings: `F201` too few disks, `F202` too many and no pick, `F203` equal disks, `F204` in use or never to be
/// touched, `F205` the running system's own, `F206` paths without multipath, `F207` disks that are too
/// different, `F208` disks that are kept for another set, `F209` disks named wrongly, `F222` shared storage.
pub fn select(request: &Request<'_>) -> Result<Selection, Vec<Diagnostic>> {
    resolve::Resolver::new(request).run()
}

/// A size as it is printed on disks: decimal units, at most one digit after the point.
fn decimal(bytes: u64) -> String {
    let units = [("TB", 1_000_000_000_000u64), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    match units.iter().find(|(_, n)| bytes >= *n) {
        None => format!("{bytes} B"),
        Some((name, n)) => match u128::from(bytes) * 10 / u128::from(*n) {
            tenths if tenths % 10 == 0 => format!("{} {name}", tenths / 10),
            tenths => format!("{}.{} {name}", tenths / 10, tenths % 10),
        },
    }
}
