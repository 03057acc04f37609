//! The report of a capture as a file, whole: what is in memory names 10,000 entries, the file names all of them.
//!
//! Entries beyond that go into a file without a name as they are met, and from there into the report, so that the memory
//! of a capture does not grow with what it leaves out.

use super::select::Scrubbed;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::clock;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A report that will be written.
pub(crate) struct ReportFile {
    path: PathBuf,
    /// What is beyond the limit, a line of JSON each; made when it is needed.
    more: Mutex<std::io::Result<Option<BufWriter<File>>>>,
}

impl ReportFile {
    /// Opens the file now: that it cannot be written is no surprise for later.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let opened = OpenOptions::new().append(true).create(true).open(path);
        opened.map_err(|e| Error::io("write", path.display(), e))?;
        Ok(Self { path: path.to_owned(), more: Mutex::new(Ok(None)) })
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

    /// Writes the report.
    ///
    /// `frame` is the report with an empty `scrubbed`, and `scrubbed` what is in memory of it.
    pub(crate) fn finish(self, frame: &impl Serialize, scrubbed: &[Scrubbed]) -> Result<()> {
        let failed = |e| Error::io("write", self.path.display(), e);
        let more = self.more.into_inner().unwrap_or_else(PoisonError::into_inner).map_err(failed)?;
        let text = serde_json::to_string_pretty(frame).unwrap_or_default();
        // A newline in a path is escaped: this is the one line of that name.
        let line = "\n  \"scrubbed\": []";
        let (front, back) =
            text.split_once(line).ok_or_else(|| Error::new(ErrorKind::Bug, "a report has no entries"))?;
        let write = || -> std::io::Result<()> {
            let mut w = BufWriter::new(File::create(&self.path)?);
            write!(w, "{front}{}", line.trim_end_matches(']'))?;
            let mut first = true;
            let mut entry = |w: &mut BufWriter<File>, text: &str| {
                let comma = if std::mem::replace(&mut first, false) { "" } else { "," };
                write!(w, "{comma}\n    {text}")
            };
            for s in scrubbed {
                entry(&mut w, &serde_json::to_string(s)?)?;
            }
            if let Some(more) = more {
                let mut file = more.into_inner().map_err(std::io::IntoInnerError::into_error)?;
                file.rewind()?;
                for line in BufReader::new(file).lines() {
                    entry(&mut w, &line?)?;
                }
            }
            writeln!(w, "{}]{back}", if first { "" } else { "\n  " })?;
            w.flush()
        };
        write().map_err(failed)
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
