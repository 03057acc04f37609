//! What a reader saw: the highest generation of a name or tag that it believed, for each store. Whoever offers an older
//! one later offers what was replaced.
//!
//! ```text
//!  <state>/seen/<store uuid>/<name>/HEAD      the newest generation of the name, as decimal text
//!  <state>/seen/<store uuid>/<name>/<tag>     the generation of the tag
//!  <state>/seen/.lock                         held while one of them is looked at and written
//! ```
//!
//! What cannot be written down cannot be refused later: that is an error and no warning.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::clock;
use crate::sys::lock::Lock;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a reader waits for another one to write down what it saw.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place of what was seen.
#[derive(Debug)]
pub struct Memory {
    seen: PathBuf,
}

impl Memory {
    /// The memory in a state directory, which is made when something is to be kept.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self { seen: state.into().join("seen") }
    }

    /// Keeps a generation in mind, unless a higher one was seen before.
    ///
    /// # Errors
    /// `Stale` when a higher one was seen; `Integrity` when what was written down cannot be read; `Io` and `Denied` when
    /// it cannot be written.
    pub fn accept(&self, store: &str, name: &str, tag: Option<&str>, generation: u64) -> Result<()> {
        // It becomes a path, and comes from a file that is not signed.
        let store = uuid::Uuid::parse_str(store)
            .map_err(|_| Error::integrity("the uuid of the store is none"))?
            .hyphenated()
            .to_string();
        let dir = self.seen.join(store).join(name);
        let file = dir.join(tag.unwrap_or("HEAD"));
        std::fs::create_dir_all(&dir).map_err(|e| unwritable("create", &dir, e))?;
        let _lock = self.lock()?;
        match read(&file)? {
            Some(seen) if seen > generation => {
                let what = tag.map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}"));
                let message = format!("generation {generation} of {what} is offered, and {seen} was seen before");
                let hint = format!(
                    "this copy of the store is an older one, or was rolled back by force; a deliberate way back is a new \
                     generation: cvctl image rollback {name} --to {name}@{generation}"
                );
                Err(Error::new(ErrorKind::Stale, message).hint(hint).fact("seen", seen).fact("offered", generation))
            }
            Some(seen) if seen == generation => Ok(()),
            _ => write(&file, generation),
        }
    }

    fn lock(&self) -> Result<Lock> {
        let path = self.seen.join(".lock");
        let failed = |e: std::io::Error| unwritable("lock", &path, e);
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let began = Instant::now();
        loop {
            match Lock::take(file).map_err(|e| failed(e.into()))? {
                Ok(lock) => return Ok(lock),
                Err(_) if began.elapsed() > PATIENCE => {
                    return Err(Error::new(ErrorKind::Busy, format!("{} is locked by another reader", path.display())));
                }
                Err(again) => file = again,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn unwritable(what: &str, path: &Path, e: std::io::Error) -> Error {
    Error::io(what, path.display(), e)
        .hint("what was seen has to be kept: give a state directory that can be written, or name one generation")
}

fn read(file: &Path) -> Result<Option<u64>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", file.display(), e)),
    };
    let number = text.strip_suffix('\n').and_then(|t| t.parse().ok());
    number.map(Some).ok_or_else(|| {
        Error::integrity(format!("{} does not say which generation was seen", file.display()))
            .hint("find out which generation is the newest, then remove that file")
    })
}

/// Replaces the file, durably: a crash must not let an older generation in again.
fn write(file: &Path, generation: u64) -> Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    let temporary = dir.join(format!(".new-{:016x}", clock::random_u64()));
    let written = || -> std::io::Result<()> {
        let mut f = File::create_new(&temporary)?;
        writeln!(f, "{generation}")?;
        f.sync_all()?;
        std::fs::rename(&temporary, file)?;
        // The directories may be new as well: of the name, of the store, of what was seen.
        dir.ancestors().take(4).try_for_each(|d| File::open(d)?.sync_all())
    };
    written().map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        unwritable("write", file, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = "0b0e7a52-7b1c-4c0e-9d4e-6f2f1f0a9a11";

    #[test]
    fn generations_never_go_back() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::new(dir.path());
        let see = |tag, n| memory.accept(STORE, "a", tag, n);
        see(None, 2).unwrap();
        see(None, 2).unwrap();
        see(None, 5).unwrap();
        let e = see(None, 4).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["seen"], &e.facts()["offered"]), (ErrorKind::Stale, &5.into(), &4.into()));
        // A tag, another name and another store have their own.
        see(Some("t"), 1).unwrap();
        memory.accept(STORE, "b", None, 1).unwrap();
        memory.accept("0b0e7a52-7b1c-4c0e-9d4e-6f2f1f0a9a12", "a", None, 1).unwrap();
        let long = "n".repeat(128);
        memory.accept(STORE, &long, Some(&long), 1).unwrap();
        assert_eq!(memory.accept("../../x", "a", None, 1).unwrap_err().kind(), ErrorKind::Integrity);
        std::fs::write(dir.path().join("seen").join(STORE).join("a/HEAD"), "").unwrap();
        assert_eq!(see(None, 6).unwrap_err().kind(), ErrorKind::Integrity);
    }

    #[test]
    fn readers_at_once_keep_the_highest() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|s| {
            for t in 1..=4u64 {
                let memory = Memory::new(dir.path());
                s.spawn(move || (0..20).for_each(|n| drop(memory.accept(STORE, "a", None, n * 4 + t))));
            }
        });
        assert_eq!(Memory::new(dir.path()).accept(STORE, "a", None, 79).unwrap_err().facts()["seen"], 80);
    }
}
