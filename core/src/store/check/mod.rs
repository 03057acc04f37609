//! Checking a store: every object verified, every fault with the images it touches (`store-format.md` §7).
//!
//! ```text
//!  packs: trailers, segments, blocks ──> places of chunks ──> images: rows ──> what is needed and not there
//!                                                                │
//!                             names: generations, HEAD, tags <───┴──> derived files
//! ```

mod images;
mod names;
mod packs;

use super::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::Hash;
use crate::image::block::BlockInfo;
use crate::job::Task;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The object: its key in the store.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
    /// The images that it touches: their ids.
    pub images: Vec<String>,
}

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Images (manifests) checked.
    pub images: u64,
    /// Releases checked.
    pub releases: u64,
    /// Packs checked.
    pub packs: u64,
    /// Blocks that were read and decompressed, with `read_data`.
    pub blocks: u64,
    /// Packs that no image needs; no fault.
    pub unreferenced_packs: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

impl Report {
    /// The report as an error when there are faults.
    ///
    /// # Errors
    /// `Integrity` with the faults as facts.
    pub fn ok(&self) -> Result<()> {
        ok(&self.faults)
    }
}

/// Faults as an error.
pub(super) fn ok(faults: &[Fault]) -> Result<()> {
    let Some(first) = faults.first() else { return Ok(()) };
    let images: BTreeSet<&String> = faults.iter().flat_map(|f| &f.images).collect();
    Err(Error::integrity(format!("{} faults, the first: {}: {}", faults.len(), first.object, first.message))
        .fact("faults", serde_json::to_value(faults).unwrap_or_default())
        .fact("images", images.into_iter().cloned().collect::<Vec<_>>()))
}

impl Store {
    /// Checks the store; with `read_data` every block is read, decompressed and hashed as well. What is in a damaged
    /// block counts as missing from then on, so that the next capture stores it again.
    ///
    /// # Errors
    /// `Cancelled`, and what keeps the check itself from running; faults of the store are in the report.
    pub fn check(&self, read_data: bool, task: &Task) -> Result<Report> {
        // What is wrong with a store does not depend on whom somebody believes.
        Checker::new(&self.plain(), task).run(read_data)
    }

    /// As [`Store::check`] with all data, for a repair: it goes by what is noted, so that what cannot be is an error.
    pub(super) fn check_to_repair(&self, task: &Task) -> Result<Report> {
        Checker { must_note: true, ..Checker::new(&self.plain(), task) }.run(true)
    }
}

/// What is no fault of the store, but the end of the check: above all, a block that did not come is not a damaged one.
fn ends(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Cancelled | ErrorKind::Network)
}

struct Checker<'s> {
    store: &'s Store,
    task: &'s Task,
    report: Report,
    /// Chunks that are where a good trailer says, with the number of the pack.
    places: HashMap<Hash, u32>,
    packs: Vec<(Hash, Vec<(u64, BlockInfo)>)>,
    needed: Vec<BTreeSet<Hash>>,
    /// Chunks that only a damaged block has.
    hurt: HashMap<Hash, (u32, u64)>,
    /// Damaged blocks, with the images that need a chunk that nothing else has.
    harm: BTreeMap<(u32, u64), BTreeSet<Hash>>,
    /// The images that generations lead to.
    live: HashSet<Hash>,
    /// That damaged blocks cannot be noted ends the check.
    must_note: bool,
}

impl<'s> Checker<'s> {
    fn new(store: &'s Store, task: &'s Task) -> Self {
        let report = Report { images: 0, releases: 0, packs: 0, blocks: 0, unreferenced_packs: 0, faults: Vec::new() };
        Self {
            store,
            task,
            report,
            places: HashMap::new(),
            packs: Vec::new(),
            needed: Vec::new(),
            hurt: HashMap::new(),
            harm: BTreeMap::new(),
            live: HashSet::new(),
            must_note: false,
        }
    }

    fn fault(&mut self, object: impl Into<String>, message: impl Into<String>, images: Vec<String>) {
        self.report.faults.push(Fault { object: object.into(), message: message.into(), images });
    }

    fn run(mut self, read_data: bool) -> Result<Report> {
        self.task.stage("check", 0, Unit::Steps);
        // Before the packs: an image that comes meanwhile may be in packs that come meanwhile.
        let ids = self.store.image_ids()?;
        self.trailers()?;
        self.segments(ids.is_empty())?;
        let bad = if read_data { Some(self.blocks()?) } else { None };
        let why = self.places(bad)?;
        self.live = self.live()?;
        let images = self.images(ids)?;
        self.releases(&images)?;
        self.derived(&images)?;
        // Blocks are read before the images, so that each fault can say whom it touches.
        for ((pack, offset), images) in std::mem::take(&mut self.harm) {
            let touched = images.iter().map(ToString::to_string).collect();
            let object = super::pack_key(&self.packs[pack as usize].0);
            let message = why.get(&(pack, offset)).map_or("an earlier check found it damaged", String::as_str);
            self.fault(object, format!("block at {offset}: {message}"), touched);
        }
        self.report.unreferenced_packs = self.needed.iter().filter(|n| n.is_empty()).count() as u64;
        self.report.faults.sort_by(|a, b| (&a.object, &a.message).cmp(&(&b.object, &b.message)));
        Ok(self.report)
    }

    fn is_there(&self, key: &str) -> Result<bool> {
        Ok(self.store.blobs().size(key)?.is_some())
    }
}
