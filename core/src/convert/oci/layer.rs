//! One layer: what its names mean, and its bytes on their way.
//!
//! ```text
//!  thread: read, digest of the blob, decompress ──> thread: digest of the plain layer ──> caller: entries
//! ```

use super::{Digest, Sum};
use crate::convert::tar::Decoder;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{FormatError, path};
use crate::sys::confined::show;
use crossbeam_channel::{Receiver, Sender};
use std::io::{self, Read};

/// Bytes that are handed on at once.
const PIECE: usize = 512 << 10;
/// Pieces on their way between two threads.
const AHEAD: usize = 4;

const FRONT: &[u8] = b".wh.";
const FOREIGN: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry of a layer is.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::convert) enum Meaning {
    /// An entry of the tree.
    Entry,
    /// This path is not there any more.
    Whiteout(Vec<u8>),
    /// Nothing of this directory is there any more.
    Opaque(Vec<u8>),
    /// A note of the union filesystem that made the layer.
    Foreign,
}

/// Whether a name says something about a layer.
pub(super) fn is_mark(name: &[u8]) -> bool {
    name.starts_with(FRONT)
}

/// What the entry at `path` means.
///
/// # Errors
/// `Unsafe` for a whiteout of nothing, `.` or `..`, and for an entry in a whiteout.
pub(in crate::convert) fn meaning(path: &[u8]) -> Result<Meaning, FormatError> {
    let bad = |rule| Err(FormatError::Unsafe { path: show(&path[..path.len().min(512)]).into_owned(), rule });
    let (dir, name) = (path::parent(path), path::name(path));
    if let Some(mark) = dir.split(|&c| c == b'/').find(|part| is_mark(part)) {
        return if mark.starts_with(FOREIGN) { Ok(Meaning::Foreign) } else { bad("nothing is in a whiteout") };
    }
    if name == OPAQUE {
        return Ok(Meaning::Opaque(dir.to_vec()));
    }
    if name.starts_with(FOREIGN) {
        return Ok(Meaning::Foreign);
    }
    match name.strip_prefix(FRONT) {
        None => Ok(Meaning::Entry),
        Some(b"" | b"." | b"..") => bad("a whiteout names an entry"),
        Some(hidden) if dir.is_empty() => Ok(Meaning::Whiteout(hidden.to_vec())),
        Some(hidden) => Ok(Meaning::Whiteout([dir, b"/", hidden].concat())),
    }
}

/// What came of a layer.
pub(super) struct Digests {
    pub(super) blob: Digest,
    pub(super) plain: Digest,
}

/// Lets `work` read the plain bytes of a layer, while other threads read, decompress and hash it.
///
/// # Errors
/// What `work` returns; `Unsupported` for a compression that is not read.
pub(super) fn read(blob: Box<dyn Read + Send + '_>, work: impl FnOnce(&mut Pieces) -> Result<()>) -> Result<Digests> {
    let (to_hash, unhashed) = crossbeam_channel::bounded(AHEAD);
    let (to_work, hashed) = crossbeam_channel::bounded(AHEAD);
    std::thread::scope(|s| {
        let reading = s.spawn(move || decompress(blob, &to_hash));
        let hashing = s.spawn(move || hash(&unhashed, &to_work));
        let mut pieces = Pieces { from: hashed, piece: Vec::new(), at: 0 };
        let worked = work(&mut pieces);
        // Whoever still sends is not waited for.
        drop(pieces);
        let panicked = || Error::new(ErrorKind::Bug, "a thread that reads a layer panicked");
        let blob = reading.join().map_err(|_| panicked())?;
        let plain = hashing.join().map_err(|_| panicked())?;
        // An unknown compression ends the bytes early, which must not be taken for a layer that is cut off.
        let blob = blob?;
        worked?;
        Ok(Digests { blob: blob.ok_or_else(|| Error::integrity("a layer was not read to its end"))?, plain })
    })
}

type Piece = io::Result<Vec<u8>>;

/// Reads and decompresses. The digest of what was read, unless it could not be read or nobody wants more.
fn decompress(blob: Box<dyn Read + Send + '_>, to: &Sender<Piece>) -> Result<Option<Digest>> {
    let mut blob = Summed { input: blob, sum: Sum::default() };
    let mut decoder = Decoder::new(&mut blob)?;
    loop {
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        let failed = loop {
            match decoder.read(&mut piece[filled..]) {
                Ok(0) => break None,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Some(e),
            }
        };
        piece.truncate(filled);
        let end = filled < PIECE;
        if filled > 0 && to.send(Ok(piece)).is_err() {
            return Ok(None);
        }
        if let Some(e) = failed {
            let _ = to.send(Err(e));
            return Ok(None);
        }
        if end {
            break;
        }
    }
    drop(decoder);
    // What a decompressor did not want belongs to the blob all the same.
    match io::copy(&mut blob, &mut io::sink()) {
        Ok(_) => Ok(Some(blob.sum.finish())),
        Err(e) => {
            let _ = to.send(Err(e));
            Ok(None)
        }
    }
}

fn hash(from: &Receiver<Piece>, to: &Sender<Piece>) -> Digest {
    let mut sum = Sum::default();
    for piece in from {
        if let Ok(bytes) = &piece {
            sum.update(bytes);
        }
        if to.send(piece).is_err() {
            break;
        }
    }
    sum.finish()
}

struct Summed<R> {
    input: R,
    sum: Sum,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buf)?;
        self.sum.update(&buf[..n]);
        Ok(n)
    }
}

/// The plain bytes of a layer.
pub(super) struct Pieces {
    from: Receiver<Piece>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.from.recv() {
                Ok(piece) => (self.piece, self.at) = (piece?, 0),
                Err(_) => return Ok(0),
            }
        }
        let n = buf.len().min(self.piece.len() - self.at);
        buf[..n].copy_from_slice(&self.piece[self.at..][..n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_something() {
        let said = |path: &str| meaning(path.as_bytes()).unwrap();
        assert_eq!(said("a/b"), Meaning::Entry);
        assert_eq!(said("a/.whatever"), Meaning::Entry);
        assert_eq!(said(".wh.a"), Meaning::Whiteout(b"a".to_vec()));
        assert_eq!(said("a/b/.wh.c"), Meaning::Whiteout(b"a/b/c".to_vec()));
        assert_eq!(said("a/.wh....x"), Meaning::Whiteout(b"a/...x".to_vec()));
        assert_eq!(said(".wh..wh..opq"), Meaning::Opaque(b"".to_vec()));
        assert_eq!(said("a/.wh..wh..opq"), Meaning::Opaque(b"a".to_vec()));
        for foreign in [".wh..wh.aufs", "a/.wh..wh.plnk", ".wh..wh.plnk/1.2", ".wh..wh..tmp"] {
            assert_eq!(said(foreign), Meaning::Foreign, "{foreign}");
        }
        for bad in [".wh.", "a/.wh.", ".wh..", "a/.wh...", ".wh.a/b", "a/.wh.b/c"] {
            assert!(matches!(meaning(bad.as_bytes()), Err(FormatError::Unsafe { .. })), "{bad}");
        }
    }
}
