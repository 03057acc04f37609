//! tar: in any of its dialects, out as PAX.
//!
//! ```text
//!  bytes ── decompress ──> Reader: blocks ──> headers, PAX records, sparse maps ──> Entry, data
//!  Entry, data ──> Writer: ustar, PAX where that cannot say it ──> bytes
//! ```
//!
//! Read are v7, ustar, PAX and GNU headers with everything that GNU tar, bsdtar and Python write: long names, global
//! records, `SCHILY.xattr`, `LIBARCHIVE.xattr`, `SCHILY.acl`, `RHT.security.selinux`, all four forms of sparse files.
//! What different programs would read differently is refused, never guessed. The normative text is
//! `core/docs/tar.md`.

mod acl;
mod compress;
mod export;
mod header;
mod import;
mod pax;
mod reader;
mod sparse;
#[cfg(test)]
mod tests;
mod writer;

pub use super::bring::{ImportOptions, Imported};
pub use super::export::Exported;
pub use compress::{Compression, Decoder, Encoder};
pub use export::{ExportOptions, export};
pub(super) use export::{Keep, archive};
pub use import::import;
pub use reader::Reader;
pub use writer::Writer;

use crate::image::{FormatError, path};
use crate::sys::confined::show;

/// Bytes of a block, the unit of everything in tar.
pub const BLOCK: usize = 512;

/// An entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root, clean; empty for the root itself.
    pub path: Vec<u8>,
    /// Permission bits, `07777` at most.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Seconds since the epoch, which may be negative, and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Inode flags as an image keeps them.
    pub inode_flags: u32,
    /// What the kind adds.
    pub kind: Kind,
}

/// What the kind of an entry adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its size with holes.
        size: u64,
        /// Where its data belong, in order; everything else is a hole.
        segments: Vec<Segment>,
    },
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Link(Vec<u8>),
    /// Another name of the entry with this path.
    HardLink(Vec<u8>),
    /// A character or block device.
    Device {
        /// Whether it is a block device.
        block: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A run of data in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// How much of an archive is believed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most entries; directories that only the paths of others name count, too.
    pub entries: u64,
    /// Most bytes of names, targets and attributes in all; of those directories the whole paths.
    pub metadata: u64,
    /// Most bytes of data in all; holes do not count.
    pub data: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 1 << 24, metadata: 4 << 30, data: 1 << 44 }
    }
}

impl Kind {
    /// A file without holes.
    #[must_use]
    pub fn file(size: u64) -> Self {
        let segments = if size == 0 { Vec::new() } else { vec![Segment { offset: 0, length: size }] };
        Self::File { size, segments }
    }
}

/// The clean form of a path in an archive: without leading `/` and `./`, without `.` and empty components.
///
/// # Errors
/// `Unsafe` for `..` and NUL, `Limit` beyond the limits of an image.
pub fn clean(name: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::with_capacity(name.len());
    for part in name.split(|&c| c == b'/') {
        if part.is_empty() || part == b"." {
            continue;
        }
        if part == b".." {
            let path = show(&name[..name.len().min(512)]).into_owned();
            return Err(FormatError::Unsafe { path, rule: "a path has no component .." });
        }
        if !out.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(part);
    }
    path::check(&out)?;
    Ok(out)
}

/// Reads a whole archive and drops it: the target of fuzzing. Whatever the bytes are, this returns, and what it was
/// given can be written and read again with the same result. The second time with right checksums, so that what lies
/// behind them is reached.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    once(bytes);
    let mut right = bytes.to_vec();
    for block in right.chunks_exact_mut(BLOCK).filter(|b| &b[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    once(&right);
}

fn once(bytes: &[u8]) {
    let limits = Limits { entries: 1 << 16, metadata: 1 << 24, data: 1 << 26 };
    let mut again = Writer::new(Vec::new());
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    let read = |bytes: &[u8],
                entries: &mut Vec<Entry>,
                data: &mut Vec<u8>,
                out: &mut Option<&mut Writer<Vec<u8>>>|
     -> crate::Result<()> {
        let mut reader = Reader::new(bytes, limits);
        while let Some(entry) = reader.next_entry()? {
            if let Some(out) = out {
                out.entry(&entry)?;
            }
            let mut buf = [0; 4096];
            loop {
                let n = reader.read(&mut buf)?;
                if n == 0 {
                    break;
                }
                data.extend_from_slice(&buf[..n]);
                if let Some(out) = out {
                    out.data(&buf[..n])?;
                }
            }
            entries.push(entry);
        }
        Ok(())
    };
    if let Ok(mut decoder) = Decoder::new(bytes) {
        let mut plain = Vec::new();
        let _ = std::io::Read::read_to_end(&mut std::io::Read::take(&mut decoder, 1 << 22), &mut plain);
        if plain != bytes {
            let _ = read(&plain, &mut Vec::new(), &mut Vec::new(), &mut None);
        }
    }
    if read(bytes, &mut entries, &mut data, &mut Some(&mut again)).is_ok() {
        let written = again.finish().expect("a vector takes everything");
        let (mut entries_again, mut data_again) = (Vec::new(), Vec::new());
        read(&written, &mut entries_again, &mut data_again, &mut None).expect("what was written is read");
        assert_eq!((entries, data), (entries_again, data_again));
    }
}
