//! The bytes of an archive: whole blocks, bodies of headers, what is passed over.

use super::{Reader, limit};
use crate::convert::tar::BLOCK;
use crate::convert::tar::header::Raw;
use crate::convert::tar::pax::BODY_LIMIT;
use crate::error::{Error, Result};
use crate::image::FormatError;
use std::io::Read;

/// Most bytes after the end of an archive that are read, so that the checksum of a compression is seen.
const TRAILER_LIMIT: u64 = 64 << 20;
/// Bytes that are passed over before it is asked whether to go on.
const PIECE: u64 = 1 << 20;

impl<R: Read> Reader<R> {
    fn check(&self) -> Result<()> {
        if self.stop.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    pub(super) fn block(&mut self) -> Result<[u8; BLOCK]> {
        self.check()?;
        let mut block = [0; BLOCK];
        self.exact(&mut block)?;
        Ok(block)
    }

    fn exact(&mut self, buf: &mut [u8]) -> Result<()> {
        self.input.read_exact(buf).map_err(|e| wrong(e, self.at))?;
        self.at += buf.len() as u64;
        Ok(())
    }

    /// The body of an extension header. Its memory grows with what comes, not with what is promised.
    pub(super) fn body(&mut self, raw: &Raw) -> Result<Vec<u8>> {
        let size = raw.size()?;
        if size > BODY_LIMIT {
            return Err(limit("an extension header", BODY_LIMIT));
        }
        let mut body = Vec::new();
        (&mut self.input).take(size).read_to_end(&mut body).map_err(|e| wrong(e, self.at))?;
        self.at += body.len() as u64;
        if body.len() as u64 != size {
            return Err(FormatError::Truncated("the archive").into());
        }
        self.metadata += size;
        let mut rest = [0; BLOCK];
        self.exact(&mut rest[..padding(size) as usize])?;
        Ok(body)
    }

    /// Passes over what is left of the current entry.
    pub(super) fn skip(&mut self) -> Result<()> {
        let (left, padding) = (std::mem::take(&mut self.left), std::mem::take(&mut self.padding));
        let whole = self.pass(left)? && (self.pass(padding)? || self.open_end);
        if whole { Ok(()) } else { Err(FormatError::Truncated("the archive").into()) }
    }

    /// Passes over so many bytes; false when there are fewer.
    fn pass(&mut self, mut bytes: u64) -> Result<bool> {
        while bytes > 0 {
            self.check()?;
            let piece = bytes.min(PIECE);
            let passed = std::io::copy(&mut (&mut self.input).take(piece), &mut std::io::sink());
            let n = passed.map_err(|e| wrong(e, self.at))?;
            self.at += n;
            bytes -= n;
            if n < piece {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads to the end of the input: a compression has its checksum there, and a pipe wants to be emptied.
    pub(super) fn trailer(&mut self) -> Result<()> {
        let rest = &mut (&mut self.input).take(TRAILER_LIMIT);
        let n = std::io::copy(rest, &mut std::io::sink()).map_err(|e| wrong(e, self.at))?;
        self.at += n;
        if n == TRAILER_LIMIT { Err(limit("what follows the end of the archive", TRAILER_LIMIT)) } else { Ok(()) }
    }
}

pub(super) fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

/// An error of the input: that of a decompressor is about its data, any other one is the system's.
pub(super) fn wrong(e: std::io::Error, at: u64) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    let text = e.to_string();
    let out = match e.kind() {
        _ if e.raw_os_error().is_some() => Error::io("read", "the archive", e),
        UnexpectedEof => Error::from(FormatError::Truncated("the archive")),
        Other if text.contains("too much memory") => {
            Error::limit("the archive needs more memory to decompress than is allowed")
                .hint("compress it without --long")
        }
        InvalidData | InvalidInput | Other => {
            Error::integrity(format!("the archive cannot be decompressed: {text}")).cause(e)
        }
        _ => Error::io("read", "the archive", e),
    };
    out.fact("offset", at)
}
