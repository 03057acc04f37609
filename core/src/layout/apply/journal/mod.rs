//! The journal of an apply: what it is going to do, what it has done, and what was on the disks before.
//!
//! ```text
//! plan ─ saved… ─ begin ─ end ─ begin ─ ⚡       a line each, on the medium before the next thing is done
//!                                       └ resume ─ skip ─ begin ─ end … ─ done
//! ```
//!
//! JSON lines, `cv.journal/v1`; their schema is in `core/schemas/`, their meaning in `core/docs/layout-journal.md`. The
//! disks that are being made are no place for it. A line that a cut of the power left without its end is none. What was
//! on the disks is saved before the first byte is written: tables, superblocks of arrays, metadata of LVM. Headers of
//! LUKS are not: they hold what a passphrase can be guessed from, and a journal is copied to other machines.

mod disk;
mod draft;
mod file;
mod kept;
mod read;
mod record;
mod saved;

pub(super) use disk::head;
pub use disk::{JournalDisk, JournalSignature};
pub(super) use draft::Draft;
pub use kept::JournalKept;
pub use read::Journal;
pub use record::{Failure, Header, Record, Saved, What, json_schema};

use crate::error::{Error, ErrorKind, Result};
use crate::layout::Layout;
use crate::layout::gate::Gate;
use crate::layout::plan::Plan;
use crate::sys::clock;
use file::Locked;
use rustix::fs::{Mode, OFlags};
use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes a journal; without a file it writes none.
#[derive(Debug, Default)]
pub(super) struct Log {
    file: Option<Locked>,
    path: PathBuf,
    next: Cell<u64>,
}

impl Log {
    /// Takes one to go on with: nobody else writes it from now on. Nothing is written before [`Log::resume`].
    ///
    /// # Errors
    /// `Refused` (A417) when another apply has it, or has written it since it was read; `Io`.
    pub(super) fn go_on(journal: &Journal) -> Result<Self> {
        let path = journal.path();
        let opened = file::open(path, OFlags::RDWR | OFlags::APPEND);
        let own = Locked::take(opened.map_err(|e| Error::io("open", path.display(), e))?, path)?;
        let now = Journal::read_from(&own.file, path)?;
        if (now.header(), now.length()) != (journal.header(), journal.length()) {
            return Err(file::in_use(path));
        }
        Ok(Self { file: Some(own), path: path.to_owned(), next: Cell::new(journal.next()) })
    }

    /// Says that it is gone on with, in place of what a cut of the power left of a line.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn resume(&self, journal: &Journal) -> Result<()> {
        if let Some(own) = &self.file {
            own.file.set_len(journal.length()).map_err(|e| Error::io("write", self.path.display(), e))?;
        }
        self.write(What::Resume)
    }

    /// Where it is, if it is.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|_| self.path.as_path())
    }

    /// Saves what is on the disks.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn save(&self, plan: &Plan, gates: &[Gate]) -> Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        for (disk, gate) in plan.disks().iter().zip(gates) {
            for piece in saved::of_disk(disk, gate)? {
                self.write(What::Saved(piece))?;
            }
        }
        Ok(())
    }

    /// Does a step between its two lines. `settle` brings what it wrote onto the medium before it counts as done.
    ///
    /// # Errors
    /// Those of the step; `Io` of the journal.
    pub(super) fn step<T>(
        &self,
        step: &str,
        settle: impl FnOnce() -> Result<()>,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.write(What::Begin { step: step.to_owned() })?;
        match work().and_then(|done| settle_if(self.file.is_some(), settle).map(|()| done)) {
            Ok(done) => self.write(What::End { step: step.to_owned() }).map(|()| done),
            Err(e) => {
                // The step's own error says more than one of the journal.
                let _ = self.write(What::Fail { step: step.to_owned(), error: Failure::from(&e) });
                Err(e)
            }
        }
    }

    /// A step whose outcome is there already.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn skip(&self, step: &str) -> Result<()> {
        self.write(What::Skip { step: step.to_owned() })
    }

    /// All of it is done.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn done(&self) -> Result<()> {
        self.write(What::Done)
    }

    fn write(&self, what: What) -> Result<()> {
        let Some(mut file) = self.file.as_ref().map(|own| &own.file) else { return Ok(()) };
        let record = Record { seq: self.next.get(), time: clock::now_rfc3339(), what };
        let mut line = serde_json::to_vec(&record)
            .map_err(|e| Error::new(ErrorKind::Bug, "a line of the journal cannot be written").cause(e))?;
        line.push(b'\n');
        let failed = |e: std::io::Error| {
            Error::io("write", self.path.display(), e).fact("journal", self.path.display().to_string())
        };
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(failed)?;
        self.next.set(record.seq + 1);
        #[cfg(test)]
        crate::layout::gate::tap::noted(&line);
        Ok(())
    }
}

fn settle_if(wanted: bool, settle: impl FnOnce() -> Result<()>) -> Result<()> {
    if wanted { settle() } else { Ok(()) }
}

/// Where the journal of a plan is when nobody names a place: in `/run/libcv`, or where the user's own runtime files are.
/// The name follows from what does not change when an apply is interrupted; `None` when there is no such directory, or it
/// cannot be written.
#[must_use]
pub fn default_place(layout: &Layout, described: &[&str]) -> Option<PathBuf> {
    let mut hasher = blake3::Hasher::new_derive_key("libcv layout journal name v1");
    for part in [layout.hash().as_str()].iter().chain(described) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let name = format!("{}-{}.journal", layout.name(), &hasher.finalize().to_hex()[..8]);
    let root = rustix::process::geteuid().is_root();
    let user = || std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_dir());
    let base = if root && Path::new("/run").is_dir() { Some(PathBuf::from("/run")) } else { user() };
    let directory = base?.join("libcv");
    match rustix::fs::mkdir(&directory, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(_) => return None,
    }
    rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK).is_ok().then(|| directory.join(name))
}
