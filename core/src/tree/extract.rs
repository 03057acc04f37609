//! An image becomes a tree in a directory. Blocks may come in any order.
//!
//! ```text
//!  rows ──> plan: where every byte of every chunk belongs ──> preflight: can the filesystem hold it?
//!   ──> on all cores, blocks: verify, create, write, metadata; in between: directories, empty files, links, devices
//!   ──> further names ──> directories' own metadata, deepest first ──> inode flags ──> sync ──> compare with the medium
//! ```
//!
//! While it runs a marker stands in the target; a run that finds one clears what the killed run left and begins anew.

pub(in crate::tree) mod capability;
pub(in crate::tree) mod directories;
pub(in crate::tree) mod files;
pub(in crate::tree) mod finish;
pub(in crate::tree) mod metadata;
pub(in crate::tree) mod over;
pub(in crate::tree) mod plan;
pub(in crate::tree) mod queue;
pub(in crate::tree) mod target;

use super::compare;
use crate::error::{Error, Result};
use crate::event::Unit;
use crate::image::Hash;
pub use crate::image::Loss;
use crate::job::{Failure, Task};
use crate::store::{ChunkSource, Image};
use crate::sys::confined::{Root, show};
use crate::sys::descriptor;
use rustix::io::Errno;
use serde::Serialize;
use std::path::Path;

/// How to extract.
#[derive(Clone, Debug, Default)]
pub struct ExtractOptions {
    /// Read everything back from the medium and compare.
    pub verify: bool,
    /// Go on although the filesystem cannot hold everything; what is lost is listed.
    pub accept_loss: bool,
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// Do not wait until everything is on the medium: for trees in RAM, and for measuring. A power cut soon after may leave
    /// files without content.
    pub no_sync: bool,
}

/// What an extraction did.
#[derive(Clone, Debug, Serialize)]
pub struct Extracted {
    /// Entries made.
    pub entries: u64,
    /// Bytes of file content written.
    pub bytes: u64,
    /// Whether everything was read back and compared.
    pub verified: bool,
    /// What was lost, with `accept_loss`.
    pub losses: Vec<Loss>,
}

impl Image {
    /// Extracts the image into the directory `target`, which is made if it does not exist and must hold nothing but
    /// empty directories and mount points.
    ///
    /// # Errors
    /// `Refused` when files are there; `Busy` while another run extracts into it; `Unsupported` with the list of what the
    /// filesystem cannot hold; `Integrity` when the image is damaged or what was read back differs; `Limit` when the
    /// filesystem is full; `Cancelled`.
    pub fn extract(&self, target: impl AsRef<Path>, options: &ExtractOptions, task: &Task) -> Result<Extracted> {
        extract(self, self.store(), target.as_ref(), options, task)
    }
}

/// What all phases of one extraction work with.
pub(in crate::tree) struct Extraction<'a> {
    pub(in crate::tree) plan: &'a plan::Plan,
    pub(in crate::tree) root: &'a Root,
    pub(in crate::tree) lost: &'a capability::Lost,
    pub(in crate::tree) owner: target::Owner,
    /// Names for what is made, when the tree is there already.
    pub(in crate::tree) over: Option<&'a over::Over>,
    pub(in crate::tree) threads: usize,
    /// Files of several chunks that may be open between two of them; and directories, for each thread.
    pub(in crate::tree) open_limits: (usize, usize),
    pub(in crate::tree) task: &'a Task,
    pub(in crate::tree) failure: Failure,
}

impl Extraction<'_> {
    /// An error of the system about an entry.
    pub(in crate::tree) fn failed(&self, what: &str, path: &[u8], e: Errno) -> Error {
        Error::io(what, self.root.name_of(path), e)
    }

    /// An error of setting metadata.
    pub(in crate::tree) fn unset(&self, path: &[u8], u: metadata::Unset) -> Error {
        let e = self.failed(u.what, path, u.errno);
        match u.attribute {
            Some(name) => e.fact("attribute", show(&name).into_owned()),
            None => e,
        }
    }
}

/// How many files of several chunks, and how many directories for each thread, may be open.
pub(in crate::tree) fn open_limits(threads: usize) -> (usize, usize) {
    let left = descriptor::left();
    ((left / 4).clamp(4, 256), (left / 2 / threads).clamp(4, 64))
}

/// Extracts `image`, its chunks coming from `source`.
///
/// # Errors
/// As [`Image::extract`].
pub fn extract(
    image: &Image,
    source: &dyn ChunkSource,
    path: &Path,
    options: &ExtractOptions,
    task: &Task,
) -> Result<Extracted> {
    let threads = crate::job::threads(options.threads);
    task.stage("preflight", 0, Unit::Entries);
    let plan = plan::Plan::make(image, source, task)?;
    let target = target::Target::prepare(path, task)?;
    if let Some(loss) = capability::links_across(&plan, target.mounts()) {
        return Err(unsupported(path, &[loss]).hint("put all names of a file onto one filesystem"));
    }
    let losses = capability::losses(&plan, target.root())?;
    if !losses.is_empty() && !options.accept_loss {
        return Err(unsupported(path, &losses));
    }
    let lost = capability::Lost::new(&losses);
    let owner = target.mark(image)?;
    let run = Extraction {
        plan: &plan,
        root: target.root(),
        lost: &lost,
        owner,
        threads,
        over: None,
        open_limits: open_limits(threads),
        task,
        failure: Failure::default(),
    };

    task.stage("transfer", plan.bytes, Unit::Bytes);
    files::write(&run, source)?;
    finish::further_names(&run)?;
    directories::metadata(&run)?;
    finish::inode_flags(&run)?;

    task.stage("verify", 0, Unit::Bytes);
    let sync = || match options.no_sync {
        true => Ok(()),
        false => rustix::fs::syncfs(target.root()).map_err(|e| Error::io("sync", path.display(), e)),
    };
    // What says "a part" goes only when the whole is there, and on the medium.
    sync()?;
    target::unmark(target.root())?;
    target::note_image(target.root(), Some(&image.id()));
    finish::root(&run)?;
    sync()?;
    if options.verify {
        let differences = compare::compare(image, source, target.root(), true, threads, task)?;
        // Empty directories may have been there before: lost+found of a new ext4.
        let before = |d: &compare::Difference| d.field == compare::EXTRA_DIRECTORY;
        if let Some(first) = differences.iter().find(|d| !lost.explains(d) && !before(d)) {
            return Err(Error::integrity(format!("what was read back differs: /{} {}", first.path, first.what))
                .fact("differences", differences.iter().take(100).map(ToString::to_string).collect::<Vec<_>>()));
        }
    }
    Ok(Extracted { entries: image.manifest().totals.rows, bytes: plan.bytes, verified: options.verify, losses })
}

/// Whether an extraction into this directory was interrupted: what is in it is a part of an image.
#[must_use]
pub fn is_unfinished(root: &Root) -> bool {
    target::Marked::look(root) == target::Marked::Yes
}

/// Which image an interrupted extraction was to bring to the directory `path`; `None` when nothing was interrupted there.
#[must_use]
pub fn begun(path: &Path) -> Option<Hash> {
    Root::open(path).ok().and_then(|root| target::begun(&root))
}

/// Whether the directory `path` is one that a run of ours left: with a part of an image, or with a whole one.
#[must_use]
pub fn is_ours(path: &Path) -> bool {
    Root::open(path)
        .is_ok_and(|root| target::Marked::look(&root) != target::Marked::No || target::noted(&root).is_some())
}

/// Which image the tree at `path` was made from, if that is known.
#[must_use]
pub fn noted(path: &Path) -> Option<Hash> {
    Root::open(path).ok().and_then(|root| target::noted(&root))
}

pub(in crate::tree) fn unsupported(path: &Path, losses: &[Loss]) -> Error {
    let names = losses.iter().map(|l| l.feature.clone()).collect::<Vec<_>>().join(", ");
    Error::unsupported(format!("the filesystem at {} cannot hold: {names}", path.display()))
        .fact("losses", serde_json::to_value(losses).unwrap_or_default())
        .hint("use a filesystem such as ext4, or accept the loss")
}
