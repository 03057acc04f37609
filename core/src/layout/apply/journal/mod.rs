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
mod kept;
mod read;
mod record;
mod saved;

pub(super) use disk::head;
pub use disk::{JournalDisk, JournalSignature};
pub use kept::JournalKept;
pub use read::Journal;
pub use record::{Failure, Header, Record, Saved, What, json_schema};

use crate::error::{Error, ErrorKind, Result};
use crate::layout::Layout;
use crate::layout::device::Medium;
use crate::layout::gate::Gate;
use crate::layout::plan::Plan;
use crate::sys::clock;
use crate::sys::sysfs::{DeviceNumber, Kernel};
use rustix::fs::{Mode, OFlags};
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Writes a journal; without a file it writes none.
#[derive(Debug, Default)]
pub(super) struct Log {
    file: Option<File>,
    path: PathBuf,
    next: Cell<u64>,
}

/// A journal to be: everything that could be refused is known, and nothing is at its place yet.
#[derive(Debug)]
pub(super) struct Draft {
    file: File,
    path: PathBuf,
    draft: PathBuf,
}

impl Draft {
    /// Makes the file beside its place, as `PATH.new`.
    ///
    /// # Errors
    /// `Conflict` when something else is at its path or where it is set aside; `Refused` (A416) on a disk that is made;
    /// `Io`.
    pub(super) fn make(path: &Path, plan: &Plan) -> Result<Self> {
        apart(path, plan, &Kernel::default())?;
        is_free(path, "name another file for the journal")?;
        let (old, draft) = (beside(path, ".old"), beside(path, ".new"));
        is_free(&old, "move it away, or name another file for the journal")?;
        // What a cut of the power left of one.
        if std::fs::read(&draft).is_ok_and(|text| text.is_empty() || text.starts_with(b"{\"seq\":0,")) {
            std::fs::remove_file(&draft).map_err(|e| Error::io("remove", draft.display(), e))?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&draft, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| Error::io("make", draft.display(), e))?;
        Ok(Self { file: file.into(), path: path.to_owned(), draft })
    }

    /// Begins it. A journal that is there already is kept, as `PATH.old`; with a cut at any moment the file at its place
    /// is whole.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn begin(self, header: Header) -> Result<Log> {
        let path = self.path.clone();
        let file = self.file.try_clone().map_err(|e| Error::io("open", self.draft.display(), e))?;
        let log = Log { file: Some(file), path: path.clone(), next: Cell::new(0) };
        log.write(What::Plan(Box::new(header)))?;
        match std::fs::rename(&path, beside(&path, ".old")) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("rename", path.display(), e)),
            _ => {}
        }
        std::fs::rename(&self.draft, &path).map_err(|e| Error::io("rename", self.draft.display(), e))?;
        let directory = directory(&path);
        let synced = File::open(directory).and_then(|d| d.sync_all());
        // Some filesystems sync no directories.
        match synced {
            Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                Err(Error::io("write", directory.display(), e))
            }
            _ => Ok(log),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // One that was begun is not there any more.
        let _ = std::fs::remove_file(&self.draft);
    }
}

impl Log {
    /// Goes on with one.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn go_on(journal: &Journal) -> Result<Self> {
        let path = journal.path();
        let failed = |e: std::io::Error| Error::io("write", path.display(), e);
        let file = File::options().append(true).open(path).map_err(failed)?;
        // What a cut of the power left of a line.
        file.set_len(journal.length()).map_err(failed)?;
        let log = Self { file: Some(file), path: path.to_owned(), next: Cell::new(journal.next()) };
        log.write(What::Resume)?;
        Ok(log)
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
        let Some(mut file) = self.file.as_ref() else { return Ok(()) };
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

fn directory(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whether nothing is at a place, or a journal, which may go.
fn is_free(path: &Path, hint: &str) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("look at", path.display(), e)),
        Ok(_) => {}
    }
    Journal::read(path).map(drop).map_err(|e| {
        let text = format!("{} is there already, and is no journal of libcv", path.display());
        Error::new(ErrorKind::Conflict, text).hint(hint).cause(e)
    })
}

/// Refuses a place on a disk that is made: the journal would go with what it tells about.
fn apart(path: &Path, plan: &Plan, kernel: &Kernel) -> Result<()> {
    let place = std::fs::metadata(directory(path)).map(|m| DeviceNumber::from_raw(m.dev()));
    let own = std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    let lies_on = |medium: Medium| match medium {
        Medium::Block { major, minor } => {
            place.as_ref().is_ok_and(|p| kernel.carries(DeviceNumber { major, minor }, *p))
        }
        Medium::File { device, inode } => own.as_ref().is_ok_and(|own| *own == (device, inode)),
    };
    match plan.disks().iter().find(|d| lies_on(d.facts.medium)) {
        None => Ok(()),
        Some(disk) => {
            let (journal, disk) = (path.display(), disk.facts.path.display());
            Err(Error::refused(format!("the journal {journal} would lie on {disk}, which is a disk of the layout"))
                .hint("name a file on another disk, or on a server")
                .fact("code", "A416")
                .fact("path", path.display().to_string()))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::apply::Backend;
    use crate::layout::{Disks, PlanOptions};

    fn plan(disk: &Path) -> Plan {
        let text = "schema: cv.layout/v1\nname: l\ndisks: {d: {}}\npartitions: {d/s: {type: swap, size: rest}}\n";
        let disks = Disks::from([("d".to_owned(), vec![disk.to_owned()])]);
        Layout::parse(text.as_bytes(), "l").unwrap().plan(&disks, &PlanOptions::default()).unwrap()
    }

    fn header(plan: &Plan, hostname: &str) -> Header {
        Header { hostname: Some(hostname.into()), ..Header::of(plan, Backend::Offline, false) }
    }

    fn bed() -> (tempfile::TempDir, Plan) {
        let tmp = tempfile::tempdir().unwrap();
        let disk = tmp.path().join("disk");
        File::create(&disk).unwrap().set_len(64 << 20).unwrap();
        let plan = plan(&disk);
        (tmp, plan)
    }

    #[test]
    fn the_last_journal_is_set_aside() {
        let (tmp, plan) = bed();
        let path = tmp.path().join("j");
        let hostname = |path: &Path| Journal::read(path).unwrap().header().hostname.clone().unwrap();
        for name in ["one", "two", "three"] {
            Draft::make(&path, &plan).unwrap().begin(header(&plan, name)).unwrap();
            assert_eq!(hostname(&path), name);
        }
        assert_eq!(hostname(&tmp.path().join("j.old")), "two");
        // One that is not begun leaves nothing, and touches nothing.
        drop(Draft::make(&path, &plan).unwrap());
        assert_eq!(hostname(&path), "three");
        let names: Vec<_> = std::fs::read_dir(tmp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        // What a cut of the power left of one before it had its place.
        std::fs::write(tmp.path().join("j.new"), "{\"seq\":0,\"ti").unwrap();
        Draft::make(&path, &plan).unwrap().begin(header(&plan, "four")).unwrap();
        assert_eq!((hostname(&path), hostname(&tmp.path().join("j.old"))), ("four".into(), "three".into()));
    }

    #[test]
    fn what_is_no_journal_is_left_alone() {
        let (tmp, plan) = bed();
        let path = tmp.path().join("j");
        for name in ["j", "j.old", "j.new"] {
            let other = tmp.path().join(name);
            std::fs::write(&other, "a letter").unwrap();
            let e = Draft::make(&path, &plan).unwrap_err();
            assert!(name == "j.new" || e.kind() == ErrorKind::Conflict, "{name}: {e:?}");
            assert_eq!(std::fs::read(&other).unwrap(), b"a letter", "{name}");
            assert!(name == "j.new" || !tmp.path().join("j.new").exists(), "{name}");
            std::fs::remove_file(&other).unwrap();
        }
        assert!(Draft::make(&tmp.path().join("none/j"), &plan).is_err());
    }

    #[test]
    fn a_disk_of_the_layout_is_no_place_for_it() {
        let (tmp, plan) = bed();
        let code = |e: &Error| e.facts()["code"].as_str().unwrap_or_default().to_owned();
        let disk = tmp.path().join("disk");
        let link = tmp.path().join("j");
        std::fs::hard_link(&disk, &link).unwrap();
        for path in [&disk, &link] {
            assert_eq!(code(&Draft::make(path, &plan).unwrap_err()), "A416");
        }
        // A filesystem on a volume on a partition of the disk.
        let sys = tmp.path().join("sys");
        let write = |path: String, text: String| {
            let path = sys.join("dev/block").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let here = DeviceNumber::from_raw(std::fs::metadata(tmp.path()).unwrap().dev());
        for (name, text) in [("partition", "1"), ("dev", "8:1"), ("start", "2048"), ("size", "2048")] {
            write(format!("8:0/sda1/{name}"), text.into());
        }
        write("8:1/holders/dm-0/dev".into(), here.to_string());
        let mut plan = plan;
        plan.disks[0].facts.medium = Medium::Block { major: 8, minor: 0 };
        let kernel = Kernel::at(&sys, &sys);
        assert_eq!(code(&apart(&tmp.path().join("new"), &plan, &kernel).unwrap_err()), "A416");
        plan.disks[0].facts.medium = Medium::Block { major: 8, minor: 16 };
        apart(&tmp.path().join("new"), &plan, &kernel).unwrap();
    }
}
