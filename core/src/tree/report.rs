//! The report of a capture or an import as a file, whole: what is in memory names 10,000 entries and secrets, the file names
//! all of them.
//!
//! ```text
//!  begin: can it be written? ──> lists: all entries, all secrets ──> draft ──────────> finish: what it came to
//!           └ more: an entry that has no place in memory               └ what stands there when nothing is published
//! ```
//!
//! The lists, and a draft of the rest that takes more space than it, are written before anything is published: then a full
//! disk is no surprise for later. A capture that is refused leaves the draft: it says what was found.
//!
//! Entries beyond the limit go into a file without a name as they are met, and from there into the report, so that the
//! memory of a capture does not grow with what it leaves out.

use super::select::Scrubbed;
use crate::error::{Error, Result};
use crate::sys::clock;
use serde::Serialize;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// More than the numbers and hashes take that a draft does not know.
const ROOM: usize = 1024;

/// A report that will be written.
pub(crate) struct ReportFile {
    file: File,
    path: PathBuf,
    made: Made,
    /// What is beyond the limit, a line of JSON each; made when it is needed.
    more: Mutex<std::io::Result<Option<BufWriter<File>>>>,
}

/// A file that was not there before, and has nothing in it: it goes when nothing is written.
struct Made(Option<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A report with its lists.
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
    /// Where the lists end; `None` for a pipe, which is written once.
    end: Option<u64>,
}

impl ReportFile {
    /// Opens the file now: that it cannot be written is no surprise for later. A report that is there stays until the
    /// lists are known.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let new = OpenOptions::new().write(true).create_new(true).open(path);
        let (opened, made) = match new {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => (OpenOptions::new().write(true).open(path), None),
            new => (new, Some(path.to_owned())),
        };
        let file = opened.map_err(|e| Error::io("write", path.display(), e))?;
        Ok(Self { file, path: path.to_owned(), made: Made(made), more: Mutex::new(Ok(None)) })
    }

    /// Takes an entry that has no place in memory.
    pub(crate) fn more(&self, entry: &Scrubbed) {
        let mut more = self.more.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match std::mem::replace(&mut *more, Ok(None)) {
            Ok(Some(file)) => Ok(file),
            Ok(None) => nameless(&self.path).map(BufWriter::new),
            Err(e) => Err(e),
        };
        *more = written.and_then(|mut file| {
            serde_json::to_writer(&mut file, entry)?;
            file.write_all(b"\n")?;
            Ok(Some(file))
        });
    }

    /// Writes the lists: `scrubbed` is what is in memory of the entries.
    pub(crate) fn lists(self, scrubbed: &[Scrubbed], secrets: impl Iterator<Item = impl Serialize>) -> Result<Draft> {
        self.write(Some(scrubbed), secrets)
    }

    /// Writes the one list of an import, which leaves nothing out.
    pub(crate) fn secrets(self, secrets: impl Iterator<Item = impl Serialize>) -> Result<Draft> {
        self.write(None, secrets)
    }

    fn write(self, scrubbed: Option<&[Scrubbed]>, secrets: impl Iterator<Item = impl Serialize>) -> Result<Draft> {
        let Self { file, path, mut made, more } = self;
        let more = more.into_inner().unwrap_or_else(PoisonError::into_inner);
        let write = || -> std::io::Result<Option<u64>> {
            if file.metadata()?.is_file() {
                file.set_len(0)?;
            }
            made.0 = None;
            let mut w = BufWriter::new(&file);
            w.write_all(b"{")?;
            if let Some(scrubbed) = scrubbed {
                let mut list = List::begin(&mut w, "\n  \"scrubbed\": [")?;
                for s in scrubbed {
                    list.add(&serde_json::to_string(s)?)?;
                }
                if let Some(more) = more? {
                    let mut file = more.into_inner().map_err(std::io::IntoInnerError::into_error)?;
                    file.rewind()?;
                    for line in BufReader::new(file).lines() {
                        list.add(&line?)?;
                    }
                }
                list.end()?;
                w.write_all(b",")?;
            }
            let mut list = List::begin(&mut w, "\n  \"secrets\": [")?;
            for s in secrets {
                list.add(&serde_json::to_string(&s)?)?;
            }
            list.end()?;
            w.flush()?;
            drop(w);
            Ok((&file).stream_position().ok())
        };
        let end = write().map_err(|e| Error::io("write", path.display(), e))?;
        Ok(Draft { file, path, end })
    }
}

/// What a report says beside its lists, of the object that is returned; `unknown` are members that have no value yet.
pub(crate) fn rest(done: &impl Serialize, unknown: &[&str]) -> Value {
    let mut out = serde_json::to_value(done).unwrap_or_default();
    if let Some(members) = out.as_object_mut() {
        members.retain(|key, _| key != "scrubbed" && key != "secrets");
        for key in unknown {
            members.insert((*key).to_owned(), Value::Null);
        }
    }
    out
}

impl Draft {
    /// Writes what is known so far of the rest, an object without the lists.
    pub(crate) fn draft(&self, rest: &Value) -> Result<()> {
        let Some(end) = self.end else { return Ok(()) };
        let text = tail(rest) + &" ".repeat(ROOM) + "\n";
        self.file.write_all_at(text.as_bytes(), end).map_err(|e| Error::io("write", self.path.display(), e))
    }

    /// Writes the rest, over the draft.
    pub(crate) fn finish(&self, rest: &Value) -> Result<()> {
        let text = tail(rest);
        let written = match self.end {
            Some(end) => self.file.write_all_at(text.as_bytes(), end).and_then(|()| {
                let is_file = self.file.metadata()?.is_file();
                if is_file { self.file.set_len(end + text.len() as u64) } else { Ok(()) }
            }),
            None => (&self.file).write_all(text.as_bytes()),
        };
        written.map_err(|e| Error::io("write", self.path.display(), e))
    }
}

/// The members of an object, as they follow others.
fn tail(rest: &Value) -> String {
    let text = serde_json::to_string_pretty(rest).unwrap_or_default();
    format!(",{}\n", text.strip_prefix('{').unwrap_or("}"))
}

/// A list in JSON, a line for each of its values.
struct List<'w, W: Write> {
    out: &'w mut W,
    empty: bool,
}

impl<'w, W: Write> List<'w, W> {
    fn begin(out: &'w mut W, front: &str) -> std::io::Result<Self> {
        out.write_all(front.as_bytes())?;
        Ok(Self { out, empty: true })
    }

    fn add(&mut self, value: &str) -> std::io::Result<()> {
        let comma = if std::mem::replace(&mut self.empty, false) { "" } else { "," };
        write!(self.out, "{comma}\n    {value}")
    }

    fn end(self) -> std::io::Result<()> {
        self.out.write_all(if self.empty { b"]" } else { b"\n  ]" })
    }
}

/// A file beside the report that goes when it is closed.
fn nameless(beside: &Path) -> std::io::Result<File> {
    let mut name = beside.as_os_str().to_owned();
    name.push(format!(".cv-{:016x}", clock::random_u64()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&name)?;
    std::fs::remove_file(&name)?;
    Ok(file)
}
