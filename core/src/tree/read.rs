//! Reading a file into chunks: extents without holes, cut as the format says.

use crate::image::chunker::{self, CHUNK_LIMIT};
use crate::image::{Hash, Item};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// How much is read ahead of the chunk that is cut: several chunks, so that little is moved.
const BUFFER: usize = 4 << 20;

/// Why reading stopped.
#[derive(Debug)]
pub enum ReadError {
    /// The file did not have the bytes that its size promised: it changed.
    Changed,
    /// The kernel's answer.
    Errno(Errno),
    /// What the sink returned.
    Sink(crate::Error),
}

impl From<Errno> for ReadError {
    fn from(e: Errno) -> Self {
        Self::Errno(e)
    }
}

/// A buffer that is kept from file to file.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// Reads `size` bytes of an open file, giving each item in order; of a chunk its bytes as well.
    ///
    /// # Errors
    /// [`ReadError`]; what was given until then is void.
    pub fn read(
        &mut self,
        file: BorrowedFd<'_>,
        size: u64,
        sparse: bool,
        sink: &mut dyn FnMut(Item, &[u8]) -> crate::Result<()>,
    ) -> Result<(), ReadError> {
        if !sparse {
            return self.extent(file, 0, size, sink);
        }
        let mut at = 0;
        while at < size {
            let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
                Ok(n) => n.min(size),
                Err(Errno::NXIO) => size,
                Err(e) => return Err(e.into()),
            };
            if data > at {
                sink(Item::Hole(data - at), &[]).map_err(ReadError::Sink)?;
            }
            if data == size {
                break;
            }
            let end = rustix::fs::seek(file, SeekFrom::Hole(data))?.min(size);
            if end <= data {
                return Err(ReadError::Changed);
            }
            self.extent(file, data, end - data, sink)?;
            at = end;
        }
        Ok(())
    }

    fn extent(
        &mut self,
        file: BorrowedFd<'_>,
        start: u64,
        length: u64,
        sink: &mut dyn FnMut(Item, &[u8]) -> crate::Result<()>,
    ) -> Result<(), ReadError> {
        let want = length.min(BUFFER as u64) as usize;
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        let (mut from, mut to, mut done) = (0, 0, 0u64);
        while done < length {
            let left = length - done;
            // Fill up whenever less than the longest chunk is there and the extent has more.
            if ((to - from) as u64) < left && to - from < CHUNK_LIMIT {
                self.buffer.copy_within(from..to, 0);
                (from, to) = (0, to - from);
                let room = (left as usize - to).min(self.buffer.len() - to);
                fill(file, start + done + to as u64, &mut self.buffer[to..to + room])?;
                to += room;
            }
            let window = &self.buffer[from..to];
            let n = chunker::cut(window, done == 0 && window.len() as u64 == length);
            let bytes = &window[..n];
            sink(Item::Chunk { length: n as u32, hash: Hash::of(bytes) }, bytes).map_err(ReadError::Sink)?;
            from += n;
            done += n as u64;
        }
        Ok(())
    }
}

fn fill(file: BorrowedFd<'_>, mut at: u64, mut buf: &mut [u8]) -> Result<(), ReadError> {
    while !buf.is_empty() {
        match rustix::io::pread(file, &mut *buf, at) {
            Ok(0) => return Err(ReadError::Changed),
            Ok(n) => {
                at += n as u64;
                buf = &mut buf[n..];
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
