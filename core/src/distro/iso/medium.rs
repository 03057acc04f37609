//! The bytes of a medium: a file, or memory in tests and fuzzing.
//!
//! Data is read by position, never through the parser. The parser gets a [`Window`]: it buffers, and it counts, because a
//! medium may ask for the same megabyte once for each of its entries.

use crate::error::{Error, Result};
use crate::job::CancelToken;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// So many bytes of records are handed to the parser; a million entries need less.
const BUDGET: u64 = 256 << 20;
const BUFFER: usize = 64 << 10;

/// Bytes that are read by position.
pub trait ReadAt: Send + Sync {
    /// How many there are.
    fn length(&self) -> u64;

    /// Fills the front of `buf` with what stands at `offset`; 0 at the end.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `buf`.
    ///
    /// # Errors
    /// `UnexpectedEof` when there is not as much; the system's.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl ReadAt for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

/// A medium in a file.
#[derive(Debug)]
pub struct MediumFile {
    file: File,
    length: u64,
    /// When it was changed last, as it was opened.
    changed: (i64, i64),
}

impl MediumFile {
    /// Opens a file that will be read from front to back.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("open", path.display(), e))?;
        let status = file.metadata().map_err(|e| Error::io("look at", path.display(), e))?;
        let (length, changed) = (status.len(), (status.ctime(), status.ctime_nsec()));
        // The kernel reads ahead twice as far then: a plain pread had half the speed. It is advice, and may be refused.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        Ok(Self { file, length, changed })
    }

    /// Whether the file is what it was when it was opened, and `read` of its bytes were there.
    ///
    /// # Errors
    /// `Integrity` when it is not; the system's.
    pub(crate) fn is_unchanged(&self, read: u64) -> Result<()> {
        let status = self.file.metadata().map_err(|e| Error::io("look at", "the medium", e))?;
        if read == self.length && (status.ctime(), status.ctime_nsec()) == self.changed {
            return Ok(());
        }
        Err(Error::integrity("the medium was changed while it was read")
            .hint("wait until it is whole, and add it again"))
    }
}

impl ReadAt for MediumFile {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.file, buf, offset)
    }
}

/// What the parser reads through.
pub(super) struct Window<'m> {
    medium: &'m dyn ReadAt,
    stop: CancelToken,
    at: u64,
    buffer: Vec<u8>,
    /// Where the buffer begins in the medium.
    front: u64,
    left: u64,
}

/// What a [`Window`] says when the parser has read too much.
pub(super) const TOO_MUCH: &str = "the directories of the medium lead to too many records";

impl<'m> Window<'m> {
    pub(super) fn new(medium: &'m dyn ReadAt, stop: CancelToken) -> Self {
        Self { medium, stop, at: 0, buffer: Vec::new(), front: 0, left: BUDGET }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let inside = self.at.checked_sub(self.front).and_then(|n| usize::try_from(n).ok());
        let inside = match inside.filter(|n| *n < self.buffer.len()) {
            Some(n) => n,
            None => {
                self.buffer.resize(BUFFER, 0);
                self.front = self.at;
                let n = self.medium.read_at(&mut self.buffer, self.at);
                self.buffer.truncate(*n.as_ref().unwrap_or(&0));
                n?;
                0
            }
        };
        let n = buf.len().min(self.buffer.len() - inside);
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| io::Error::other(TOO_MUCH))?;
        buf[..n].copy_from_slice(&self.buffer[inside..inside + n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
            SeekFrom::End(n) => self.medium.length().checked_add_signed(n),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
