//! What the headers before an entry say together: its path, metadata and the map of its data.

use super::input::padding;
use super::{Extensions, Reader, limit};
use crate::convert::tar::acl::{self, Text};
use crate::convert::tar::header::{OCTAL_11, Raw, malformed, number};
use crate::convert::tar::pax::{Pax, Sparse};
use crate::convert::tar::sparse::{self, Lines, Map, SIZE_LIMIT};
use crate::convert::tar::{BLOCK, Entry, Kind, Segment, clean};
use crate::error::{Error, Result};
use crate::image::FormatError;
use crate::image::page::TARGET_LIMIT;
use crate::image::path::PATH_LIMIT;
use crate::sys::confined::show;
use std::io::Read;

/// Most notes that are kept.
const NOTE_LIMIT: usize = 1000;

impl<R: Read> Reader<R> {
    pub(super) fn entry(&mut self, raw: &Raw, ext: Extensions) -> Result<Entry> {
        let pax = ext.pax.unwrap_or_default();
        let name = agreed(ext.name, pax.sparse.name.clone().or_else(|| pax.path.clone()), || raw.name())?;
        let path = clean(&name)?;
        let named = |e: Error| e.fact("entry", show(&path[..path.len().min(512)]).into_owned());
        let entry = self.describe(raw, &pax, ext.link_name.as_deref(), &name, path.clone()).map_err(named)?;
        self.count(&entry).map_err(named)?;
        if !matches!(entry.kind, Kind::File { .. }) {
            self.skip()?;
        }
        Ok(entry)
    }

    fn describe(
        &mut self,
        raw: &Raw,
        pax: &Pax,
        long_link: Option<&[u8]>,
        name: &[u8],
        path: Vec<u8>,
    ) -> Result<Entry> {
        let stored = self.size(raw, pax, &path)?;
        let link = || agreed(long_link.map(<[u8]>::to_vec), pax.link_path.clone(), || raw.link_name());
        let kind = match raw.kind() {
            // v7 has no type for directories, only names that end in a slash.
            b'0' | 0 if name.ends_with(b"/") && stored == 0 => Kind::Directory,
            b'0' | 0 | b'7' => self.file(pax, stored, &path)?,
            b'S' => self.gnu_sparse(raw, stored, &path)?,
            b'1' => Kind::HardLink(clean(&link()?)?),
            b'2' => Kind::Link(target(link()?)?),
            b'3' | b'4' => {
                let (major, minor) = raw.device()?;
                let (major, minor) = (pax.major.unwrap_or(major), pax.minor.unwrap_or(minor));
                Kind::Device { block: raw.kind() == b'4', major, minor }
            }
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            // GNU's incremental dumps: a directory whose data are the names that were in it. They count, and are skipped.
            b'D' => {
                (self.left, self.padding) = (stored, padding(stored));
                Kind::Directory
            }
            other => {
                let feature = format!("an entry of type {}", (other as char).escape_default());
                return Err(FormatError::Unknown { what: "tar archive", feature }.into());
            }
        };
        let file = matches!(kind, Kind::File { .. });
        let unsafe_entry = |rule| FormatError::Unsafe { path: show(&path[..path.len().min(512)]).into_owned(), rule };
        if !file && stored != 0 && raw.kind() != b'D' {
            // Programs differ on whether data follow such a header, and could see different archives.
            return Err(unsafe_entry("only files have a size").into());
        }
        if !file && pax.sparse != Sparse::default() {
            return Err(malformed("only files are sparse").into());
        }
        if path.is_empty() && kind != Kind::Directory {
            return Err(unsafe_entry("the root is a directory").into());
        }
        let flagged = matches!(kind, Kind::File { .. } | Kind::Directory);
        Ok(Entry {
            mode: raw.mode()?,
            uid: pax.uid.or(self.global.uid).map_or_else(|| raw.uid(), Ok)?,
            gid: pax.gid.or(self.global.gid).map_or_else(|| raw.gid(), Ok)?,
            mtime: pax.mtime.or(self.global.mtime).map_or_else(|| raw.mtime().map(|s| (s, 0)), Ok)?,
            xattrs: self.xattrs(pax, &path)?,
            inode_flags: pax.flags.as_deref().filter(|_| flagged).map_or(0, inode_flags),
            path,
            kind,
        })
    }

    /// Stored bytes. A record overrules the header where that cannot hold the number; below, both must agree, because
    /// a program that overlooks the record would take the data for headers.
    fn size(&self, raw: &Raw, pax: &Pax, path: &[u8]) -> Result<u64> {
        let header = raw.size()?;
        let size = pax.size.unwrap_or(header);
        if size != header && size <= OCTAL_11 {
            let path = show(&path[..path.len().min(512)]).into_owned();
            return Err(FormatError::Unsafe { path, rule: "header and PAX record give the same size" }.into());
        }
        if size > SIZE_LIMIT - BLOCK as u64 {
            return Err(limit("the size of an entry", SIZE_LIMIT));
        }
        Ok(size)
    }

    fn file(&mut self, pax: &Pax, mut stored: u64, path: &[u8]) -> Result<Kind> {
        let s = &pax.sparse;
        let form = (s.major.unwrap_or(0), s.minor.unwrap_or(0));
        let (size, segments) = match form {
            (0, 0 | 1) if s.map.is_empty() && s.count.is_none_or(|n| n == 0) && s.size.is_none() => {
                let segments = if stored == 0 { vec![] } else { vec![Segment { offset: 0, length: stored }] };
                (stored, segments)
            }
            (0, 0 | 1) => {
                let size = s.size.ok_or(malformed("a sparse file has no size"))?;
                (size, sparse::record_map(s, size, stored).map_err(|e| of(path, e))?)
            }
            (1, 0) => {
                let size = s.size.ok_or(malformed("a sparse file has no size"))?;
                let mut lines = Lines::default();
                loop {
                    self.charge(0, BLOCK as u64)?;
                    stored = stored.checked_sub(BLOCK as u64).ok_or(malformed("a sparse map is cut off"))?;
                    if lines.block(&self.block()?).map_err(|e| of(path, e))? {
                        break;
                    }
                }
                (size, lines.finish(size, stored)?)
            }
            (major, minor) => {
                let feature = format!("sparse files of version {major}.{minor}");
                return Err(FormatError::Unknown { what: "tar archive", feature }.into());
            }
        };
        (self.left, self.padding) = (stored, padding(stored));
        Ok(Kind::File { size, segments })
    }

    /// The old form of GNU tar: pairs in the header and in blocks that follow it.
    fn gnu_sparse(&mut self, raw: &Raw, stored: u64, path: &[u8]) -> Result<Kind> {
        let gnu = raw.gnu().ok_or(malformed("a sparse file has no header of GNU tar"))?;
        let real = number(&gnu.realsize)?;
        let size = u64::try_from(real).map_err(|_| malformed("a size is negative"))?;
        let mut map = Map::default();
        sparse::header_pairs(&mut map, &gnu.sparse).map_err(|e| of(path, e))?;
        let mut more = gnu.isextended[0] != 0;
        while more {
            self.charge(0, BLOCK as u64)?;
            let mut block = tar::GnuExtSparseHeader::new();
            block.as_mut_bytes().copy_from_slice(&self.block()?);
            sparse::header_pairs(&mut map, &block.sparse).map_err(|e| of(path, e))?;
            more = block.isextended[0] != 0;
        }
        let segments = map.finish(size, stored)?;
        (self.left, self.padding) = (stored, padding(stored));
        Ok(Kind::File { size, segments })
    }

    fn xattrs(&mut self, pax: &Pax, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut set = pax.xattrs.clone();
        let texts = [(&pax.acl_access, "system.posix_acl_access"), (&pax.acl_default, "system.posix_acl_default")];
        for (text, name) in texts {
            // The attribute itself is exact.
            let Some(text) = text.as_deref().filter(|_| !set.contains_key(name.as_bytes())) else { continue };
            match acl::from_text(text) {
                Text::Acl(bytes) => drop(set.insert(name.into(), bytes)),
                Text::Plain => {}
                Text::Named(who) if self.notes.len() < NOTE_LIMIT => {
                    self.notes.push(format!("/{}: its ACL names {who} without a number and is lost", show(path)));
                }
                Text::Named(_) => {}
                Text::Malformed => return Err(malformed("an ACL is malformed").into()),
            }
        }
        Ok(set.into_iter().collect())
    }
}

/// Names the entry in an error about its map.
fn of(path: &[u8], e: FormatError) -> FormatError {
    match e {
        FormatError::Unsafe { rule, .. } => {
            FormatError::Unsafe { path: show(&path[..path.len().min(512)]).into_owned(), rule }
        }
        e => e,
    }
}

/// The name that the extensions give; where GNU's and PAX's differ, programs see different names.
fn agreed(
    long: Option<Vec<u8>>,
    pax: Option<Vec<u8>>,
    header: impl FnOnce() -> Vec<u8>,
) -> Result<Vec<u8>, FormatError> {
    let name = match (long, pax) {
        (Some(a), Some(b)) if a != b => {
            let path = show(&b[..b.len().min(512)]).into_owned();
            return Err(FormatError::Unsafe { path, rule: "all headers of an entry give the same name" });
        }
        (Some(a), _) | (None, Some(a)) => a,
        (None, None) => header(),
    };
    if name.is_empty() {
        return Err(malformed("an entry has no name"));
    }
    if name.len() > 2 * PATH_LIMIT {
        return Err(FormatError::Limit { what: "a path", limit: PATH_LIMIT as u64 });
    }
    Ok(name)
}

fn target(target: Vec<u8>) -> Result<Vec<u8>, FormatError> {
    if target.contains(&0) {
        return Err(malformed("a link target holds a NUL"));
    }
    if target.len() > TARGET_LIMIT {
        return Err(FormatError::Limit { what: "a link target", limit: TARGET_LIMIT as u64 });
    }
    Ok(target)
}

/// The names that libarchive gives to the flags that an image keeps.
pub(in crate::convert::tar) const FLAGS: [(u32, &str, &[&str]); 3] = [
    (0x10, "schg", &["schg", "schange", "simmutable", "uchg", "uchange", "uimmutable"]),
    (0x20, "sappnd", &["sappnd", "sappend", "uappnd", "uappend"]),
    (0x80_0000, "nocow", &["nocow"]),
];

fn inode_flags(text: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(text);
    let bits = text.split(',').flat_map(|word| FLAGS.iter().filter(move |f| f.2.contains(&word.trim())).map(|f| f.0));
    bits.fold(0, |all, bit| all | bit)
}
