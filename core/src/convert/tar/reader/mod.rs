//! Reads an archive entry by entry, in one pass and bounded memory.
//!
//! ```text
//!  input: blocks ──> headers, extensions before them ──> entry: path, metadata, map of the data ──> Entry
//! ```

mod entry;
mod input;

pub(super) use entry::FLAGS;

use super::header::{Raw, malformed};
use super::pax::Pax;
use super::{BLOCK, Entry, Kind, Limits};
use crate::error::{Error, Result};
use crate::image::FormatError;
use crate::job::CancelToken;
use input::wrong;
use std::io::{BufRead, BufReader, Read};

/// Extension headers between two entries.
const EXTENSION_LIMIT: usize = 64;

/// An archive that is read.
pub struct Reader<R: Read> {
    input: BufReader<R>,
    /// Bytes read so far.
    at: u64,
    global: Pax,
    limits: Limits,
    entries: u64,
    metadata: u64,
    data: u64,
    /// Data of the current entry that were not read yet, and the padding after them.
    left: u64,
    padding: u64,
    done: bool,
    /// Asks for the end while it is at work.
    stop: CancelToken,
    /// Somebody else knows whether the archive is whole.
    open_end: bool,
    notes: Vec<String>,
}

/// What extension headers say of the entry that follows.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link_name: Option<Vec<u8>>,
}

impl<R: Read> Reader<R> {
    /// Reads the archive that `input` gives, which is not compressed; see [`super::Decoder`].
    pub fn new(input: R, limits: Limits) -> Self {
        Self::with_capacity(input, limits, 256 << 10)
    }

    /// The same for one entry: reads little ahead.
    pub(in crate::convert) fn small(input: R, limits: Limits) -> Self {
        Self::with_capacity(input, limits, 2 * BLOCK)
    }

    fn with_capacity(input: R, limits: Limits, capacity: usize) -> Self {
        Self {
            input: BufReader::with_capacity(capacity, input),
            at: 0,
            global: Pax::default(),
            limits,
            entries: 0,
            metadata: 0,
            data: 0,
            left: 0,
            padding: 0,
            done: false,
            stop: CancelToken::default(),
            open_end: false,
            notes: Vec::new(),
        }
    }

    /// The same archive, but it may end right after an entry, without padding and empty blocks: a digest says whether
    /// it is whole. Some programs write layers so.
    #[must_use]
    pub(in crate::convert) fn open_end(self) -> Self {
        Self { open_end: true, ..self }
    }

    /// Ends with `Cancelled` once `stop` says so: data that nobody wants may be terabytes of a small archive.
    pub(in crate::convert) fn stop_with(&mut self, stop: CancelToken) {
        self.stop = stop;
    }

    /// The next entry; the data of the one before that were not read are skipped. `None` at the end.
    ///
    /// # Errors
    /// `Integrity` when the archive is truncated or cannot be parsed, `UnsafeInput` when it breaks a rule, `Limit`
    /// when it is too large, `Unsupported` for a dialect that is not read. Nothing more comes after an error.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        if self.done {
            return Ok(None);
        }
        let begin = self.at + self.left + self.padding;
        let result = self.try_next();
        if !matches!(result, Ok(Some(_))) {
            self.done = true;
        }
        result.map_err(|e| e.fact("offset", begin))
    }

    /// Data of the entry that came last: those of its segments, one after the other. 0 at their end.
    ///
    /// # Errors
    /// `Integrity` when the archive is truncated.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let want = self.left.min(buf.len() as u64) as usize;
        if want == 0 {
            return Ok(0);
        }
        let n = loop {
            match self.input.read(&mut buf[..want]) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                done => break done.map_err(|e| wrong(e, self.at))?,
            }
        };
        if n == 0 {
            self.done = true;
            return Err(Error::from(FormatError::Truncated("the archive")).fact("offset", self.at));
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }

    /// What could not be kept, for people.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What is left of the limits: for the next of several archives that have them in common.
    #[must_use]
    pub(in crate::convert) fn remaining(&self) -> Limits {
        Limits {
            entries: self.limits.entries.saturating_sub(self.entries),
            metadata: self.limits.metadata.saturating_sub(self.metadata),
            data: self.limits.data.saturating_sub(self.data),
        }
    }

    /// Bytes of the archive that were read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    fn try_next(&mut self) -> Result<Option<Entry>> {
        self.skip()?;
        if self.open_end && self.input.fill_buf().map_err(|e| wrong(e, self.at))?.is_empty() {
            return Ok(None);
        }
        let mut ext = Extensions::default();
        let mut count = 0;
        loop {
            let block = self.block()?;
            if block == [0; BLOCK] {
                let dangling = ext.pax.is_some() || ext.name.is_some() || ext.link_name.is_some();
                if dangling || self.block()? != [0; BLOCK] {
                    return Err(malformed("an empty block stands in the middle").into());
                }
                self.trailer()?;
                return Ok(None);
            }
            let raw = Raw::new(block)?;
            let kind = raw.kind();
            if matches!(kind, b'x' | b'g' | b'L' | b'K' | b'V') {
                count += 1;
                if count > EXTENSION_LIMIT {
                    return Err(limit("extension headers before an entry", EXTENSION_LIMIT as u64));
                }
            }
            match kind {
                b'x' => {
                    let pax = Pax::parse(&self.body(&raw)?, false)?;
                    once(&mut ext.pax, pax)?;
                }
                b'g' => {
                    let pax = Pax::parse(&self.body(&raw)?, true)?;
                    self.global.update(&pax);
                }
                b'L' => once(&mut ext.name, name_of(self.body(&raw)?))?,
                b'K' => once(&mut ext.link_name, name_of(self.body(&raw)?))?,
                // A volume label.
                b'V' => drop(self.body(&raw)?),
                _ => return self.entry(&raw, ext).map(Some),
            }
        }
    }

    /// Counts entries, and bytes of names and attributes, against the limits.
    pub(in crate::convert) fn charge(&mut self, entries: u64, metadata: u64) -> Result<()> {
        self.entries = self.entries.saturating_add(entries);
        if self.entries > self.limits.entries {
            return Err(limit("the number of entries", self.limits.entries));
        }
        self.metadata = self.metadata.saturating_add(metadata);
        if self.metadata > self.limits.metadata {
            return Err(limit("names and attributes", self.limits.metadata));
        }
        Ok(())
    }

    pub(super) fn count(&mut self, entry: &Entry) -> Result<()> {
        let link = if let Kind::Link(l) | Kind::HardLink(l) = &entry.kind { l.len() } else { 0 };
        let attributes: usize = entry.xattrs.iter().map(|(n, v)| n.len() + v.len()).sum();
        let segments = if let Kind::File { segments, .. } = &entry.kind { segments.len() * 16 } else { 0 };
        self.charge(1, (entry.path.len() + link + attributes + segments) as u64)?;
        self.data = self.data.saturating_add(self.left);
        if self.data > self.limits.data {
            return Err(limit("the data of an archive", self.limits.data));
        }
        Ok(())
    }
}

fn limit(what: &'static str, limit: u64) -> Error {
    FormatError::Limit { what, limit }.into()
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(malformed("two extension headers of one kind stand before an entry").into());
    }
    Ok(())
}

/// A long name ends at its NUL.
fn name_of(body: Vec<u8>) -> Vec<u8> {
    let end = body.iter().position(|&c| c == 0).unwrap_or(body.len());
    let mut body = body;
    body.truncate(end);
    body
}
