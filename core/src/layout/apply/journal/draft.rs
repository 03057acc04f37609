//! A journal before its first line: whatever could be refused is known, and nothing is at its place yet.
//!
//! ```text
//! FILE.new   made and locked ─ first line ─┐ rename
//! FILE       a journal ─ rename ─> FILE.old└──────> FILE
//! ```

use super::file::{self, Locked};
use super::record::{Header, What};
use super::{Journal, Log};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::device::Medium;
use crate::layout::plan::Plan;
use crate::sys::sysfs::{DeviceNumber, Kernel};
use rustix::fs::{Mode, OFlags};
use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the first line begins with.
const BEGIN: &[u8] = b"{\"seq\":0,";

/// A journal to be.
#[derive(Debug)]
pub(in crate::layout::apply) struct Draft {
    /// None when it was begun.
    file: Option<Locked>,
    path: PathBuf,
    draft: PathBuf,
    /// Those that are set aside: nobody goes on with them meanwhile.
    _before: [Option<Locked>; 2],
}

impl Draft {
    /// Makes the file beside its place, as `PATH.new`.
    ///
    /// # Errors
    /// `Conflict` when something else is at its path or where it is set aside; `Refused` on a disk that is made (A416), or
    /// while another apply writes one of these files (A417); `Io`.
    pub(in crate::layout::apply) fn make(path: &Path, plan: &Plan) -> Result<Self> {
        apart(path, plan, &Kernel::default())?;
        let (old, draft) = (beside(path, ".old"), beside(path, ".new"));
        let before = [
            is_free(path, "name another file for the journal")?,
            is_free(&old, "move it away, or name another file for the journal")?,
        ];
        clear(&draft)?;
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&draft, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| Error::io("make", draft.display(), e))?;
        let file = Some(Locked::take(file.into(), &draft)?);
        Ok(Self { file, path: path.to_owned(), draft, _before: before })
    }

    /// Begins it. A journal that is there already is kept, as `PATH.old`; with a cut at any moment the file at its place
    /// is whole.
    ///
    /// # Errors
    /// `Io`.
    pub(in crate::layout::apply) fn begin(mut self, header: Header) -> Result<Log> {
        let path = self.path.clone();
        let log = Log { file: self.file.take(), path: path.clone(), next: Cell::new(0) };
        log.write(What::Plan(Box::new(header))).inspect_err(|_| self.remove())?;
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

    fn remove(&self) {
        let _ = std::fs::remove_file(&self.draft);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Of one that was begun the file has its name, and what is called like this may be another's.
        if self.file.is_some() {
            self.remove();
        }
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Whether nothing is at a place, or a journal that nobody writes, which may go.
fn is_free(path: &Path, hint: &str) -> Result<Option<Locked>> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("look at", path.display(), e)),
        Ok(_) => {}
    }
    let other = |e: Error| {
        let text = format!("{} is there already, and is no journal of libcv", path.display());
        Error::new(ErrorKind::Conflict, text).hint(hint).cause(e)
    };
    let opened = file::open_to_lock(path, OFlags::empty());
    let opened = opened.map_err(|e| other(Error::io("open", path.display(), e)))?;
    Journal::read_from(&opened, path).map_err(other)?;
    Locked::take(opened, path).map(Some)
}

/// Removes what a cut of the power left of a journal before it had its name, and nothing else.
fn clear(draft: &Path) -> Result<()> {
    let Ok(mut left) = file::open_to_lock(draft, OFlags::NOFOLLOW) else { return Ok(()) };
    let mut begin = Vec::new();
    let read = Read::by_ref(&mut left).take(BEGIN.len() as u64).read_to_end(&mut begin);
    if read.is_err() || !begin.is_empty() && begin != BEGIN {
        return Ok(());
    }
    // While it is locked it is not that of another apply.
    let _left = Locked::take(left, draft)?;
    std::fs::remove_file(draft).map_err(|e| Error::io("remove", draft.display(), e))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::apply::Backend;
    use crate::layout::{Disks, Layout, PlanOptions};

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

    /// Pipes without a writer, and a file of a size that no memory has: nothing waits for them, or reads them whole.
    #[test]
    fn nothing_waits_for_what_is_no_file() {
        let (tmp, plan) = bed();
        let path = tmp.path().join("j");
        for name in ["j", "j.old", "j.new"] {
            let other = tmp.path().join(name);
            rustix::fs::mknodat(rustix::fs::CWD, &other, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
            let e = Draft::make(&path, &plan).unwrap_err();
            assert!(name == "j.new" || e.kind() == ErrorKind::Conflict, "{name}: {e:?}");
            if name == "j" {
                assert_eq!(Journal::read(&path).unwrap_err().facts()["code"], "A413");
            }
            std::fs::remove_file(&other).unwrap();
        }
        let huge = File::create(tmp.path().join("j.new")).unwrap();
        huge.set_len(1 << 42).unwrap();
        assert!(Draft::make(&path, &plan).is_err());
        assert!(tmp.path().join("j.new").exists());
    }

    #[test]
    fn what_another_apply_writes_is_left_alone() {
        let (tmp, plan) = bed();
        let path = tmp.path().join("j");
        let refused = |what: Result<()>| assert_eq!(what.unwrap_err().facts()["code"], "A417");
        // One that has no line yet.
        let live = Draft::make(&path, &plan).unwrap();
        refused(Draft::make(&path, &plan).map(drop));
        let live = live.begin(header(&plan, "one")).unwrap();
        let text = std::fs::read(&path).unwrap();
        let past = Journal::read(&path).unwrap();
        refused(Draft::make(&path, &plan).map(drop));
        refused(Log::go_on(&past).map(drop));
        assert_eq!(std::fs::read(&path).unwrap(), text);
        live.skip("a").unwrap();
        drop(live);
        // What was read is not what is there by now.
        refused(Log::go_on(&past).map(drop));
        let past = Journal::read(&path).unwrap();
        let text = std::fs::read(&path).unwrap();
        let log = Log::go_on(&past).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), text, "nothing is written before it is gone on with");
        refused(Log::go_on(&past).map(drop));
        log.resume(&past).unwrap();
        assert_eq!(Journal::read(&path).unwrap().next(), past.next() + 1);
        assert!(!tmp.path().join("j.old").exists());
    }

    #[test]
    fn what_a_cut_left_of_a_line_goes_when_it_is_gone_on_with() {
        let (tmp, plan) = bed();
        let path = tmp.path().join("j");
        drop(Draft::make(&path, &plan).unwrap().begin(header(&plan, "one")).unwrap());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"seq\":1,"].concat()).unwrap();
        let past = Journal::read(&path).unwrap();
        let log = Log::go_on(&past).unwrap();
        log.resume(&past).unwrap();
        log.done().unwrap();
        let now = Journal::read(&path).unwrap();
        assert!(now.is_done() && now.next() == 3);
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
