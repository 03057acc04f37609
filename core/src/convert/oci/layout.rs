//! Where the blobs of an image lie: a directory, or a plain tar archive of one, which is read in any order.

use super::Digest;
use super::document::{DOCUMENT_LIMIT, parse};
use crate::convert::tar::{BLOCK, Kind, Limits, Reader};
use crate::error::{Error, Result};
use crate::image::FormatError;
use crate::sys::confined::{Links, Root, show};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(super) const INDEX: &str = "index.json";
pub(super) const MARK: &str = "oci-layout";
pub(super) const VERSION: &str = "1.0.0";
/// What an archive of `docker save` has in place of an index.
pub(super) const SAVED: &str = "manifest.json";
/// Most entries of an archive: an image has a few hundred blobs.
const ENTRY_LIMIT: usize = 1 << 16;

/// A layout.
pub(in crate::convert) enum Layout {
    /// In a directory, which nothing leaves.
    Directory(Root),
    /// In an archive: where each file begins, and its size.
    Archive(File, HashMap<Vec<u8>, Place>),
}

/// An entry of an archive.
pub(in crate::convert) enum Place {
    At(u64, u64),
    /// Another entry, by the path that a link has from the top: layers that several images of an archive share.
    Link(Vec<u8>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    image_layout_version: String,
}

impl Layout {
    /// The layout in the directory at `path`.
    ///
    /// # Errors
    /// `Unsupported` when the directory is none.
    pub(in crate::convert) fn directory(path: &Path) -> Result<Self> {
        let root = Root::open(path).map_err(|e| Error::io("open", path.display(), e))?;
        let layout = Self::Directory(root);
        if !layout.has(MARK) && !layout.has(INDEX) {
            let e = Error::unsupported(format!("the directory {} is no image of containers", path.display()));
            return Err(e.hint("a tree is captured: cvctl image capture"));
        }
        layout.checked()
    }

    /// The layout in an archive; `None` when the file is a plain archive of something else, or none at all.
    ///
    /// # Errors
    /// `Unsupported` for a version that is not known, `Limit` for an archive of more entries than a layout has.
    pub(in crate::convert) fn archive(file: &File) -> Result<Option<Self>> {
        let file = file.try_clone().map_err(|e| Error::io("use", "the archive", e))?;
        let Some(places) = places(&file)? else { return Ok(None) };
        let layout = Self::Archive(file, places);
        if layout.has(MARK) && layout.has(INDEX) {
            return layout.checked().map(Some);
        }
        Ok(layout.has(SAVED).then_some(layout))
    }

    fn checked(self) -> Result<Self> {
        let mark: Mark = parse(&self.text(MARK)?, MARK)?;
        if mark.image_layout_version.split('.').next() != Some("1") {
            let version = show(mark.image_layout_version.as_bytes()).into_owned();
            return Err(FormatError::Unknown { what: "the layout", feature: format!("version {version}") }.into());
        }
        Ok(self)
    }

    /// Whether it has a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(root) => root.lstat(name.as_bytes(), Links::Refuse).is_ok(),
            Self::Archive(_, places) => places.contains_key(name.as_bytes()),
        }
    }

    /// A small file at the top.
    pub(super) fn text(&self, name: &'static str) -> Result<Vec<u8>> {
        let (file, size) = self.open(name.as_bytes())?;
        if size > DOCUMENT_LIMIT {
            return Err(FormatError::Limit { what: name, limit: DOCUMENT_LIMIT }.into());
        }
        let mut out = Vec::new();
        file.take(size).read_to_end(&mut out).map_err(|e| Error::io("read", name, e))?;
        Ok(out)
    }

    /// The bytes of a blob, which are as many as its descriptor says.
    ///
    /// # Errors
    /// `Integrity` when it is missing or has another size.
    pub(super) fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<Box<dyn Read + Send + '_>> {
        let (file, actual) = self.open(format!("blobs/sha256/{}", digest.hex()).as_bytes())?;
        if size.is_some_and(|size| size != actual) {
            return Err(Error::integrity(format!("blob {digest} has not the size that is said of it"))
                .fact("expected", size)
                .fact("actual", actual));
        }
        Ok(file)
    }

    /// Opens a file, and says how long it is.
    pub(super) fn open(&self, name: &[u8]) -> Result<(Box<dyn Read + Send + '_>, u64)> {
        let missing = || {
            let name = show(name).into_owned();
            Error::integrity(format!("{name} is missing from the image")).fact("entry", name)
        };
        match self {
            Self::Directory(root) => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                let opened = root.open_at(name, flags, Mode::empty(), Links::Refuse);
                let file = opened.map_err(|e| match e {
                    Errno::NOENT => missing(),
                    Errno::LOOP | Errno::XDEV => {
                        Error::unsafe_input(format!("{} is reached through a link", root.name_of(name)))
                    }
                    e => Error::io("open", root.name_of(name), e),
                })?;
                let stat = rustix::fs::fstat(&file).map_err(|e| Error::io("look at", root.name_of(name), e))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(Error::unsafe_input(format!("{} is not a file", root.name_of(name))));
                }
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                // It may grow while it is read.
                Ok((Box::new(File::from(file).take(size)), size))
            }
            Self::Archive(file, places) => {
                let mut place = places.get(name);
                if let Some(Place::Link(target)) = place {
                    place = places.get(target);
                }
                match place {
                    Some(&Place::At(at, left)) => Ok((Box::new(Slice { file, at, left }), left)),
                    // A link to a link is not followed.
                    _ => Err(missing()),
                }
            }
        }
    }
}

/// A part of a file.
struct Slice<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let want = self.left.min(buf.len() as u64) as usize;
        let n = self.file.read_at(&mut buf[..want], self.at)?;
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

/// Names that the first entry of a layout in an archive has.
fn may_begin(path: &[u8]) -> bool {
    let first = path.split(|&c| c == b'/').next().unwrap_or_default();
    let stem = first.strip_suffix(b".json").or(first.strip_suffix(b".tar")).unwrap_or(first);
    let hex = stem.len() == 64 && stem.iter().all(u8::is_ascii_hexdigit);
    hex || [&b""[..], b"blobs", b"oci-layout", b"index.json", b"manifest.json", b"repositories"].contains(&first)
}

/// Where everything in a plain archive is. `None` unless it begins like a layout.
fn places(file: &File) -> Result<Option<HashMap<Vec<u8>, Place>>> {
    let size = file.metadata().map_err(|e| Error::io("look at", "the archive", e))?.len();
    let (mut out, mut at, mut begun) = (HashMap::new(), 0u64, false);
    // Most archives are no layouts, and none of their content shall be read for that.
    for n in 0.. {
        if n > ENTRY_LIMIT {
            return Err(
                FormatError::Limit { what: "entries of an image of containers", limit: ENTRY_LIMIT as u64 }.into()
            );
        }
        // Each entry by a reader of its own, so that content is passed over and not read.
        let left = size.saturating_sub(at);
        let mut reader = Reader::small(Slice { file, at, left }, Limits::default());
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(Some(out)),
            // The importer of archives says what is wrong with it.
            Err(_) if n == 0 => return Ok(None),
            Err(e) => return Err(e),
        };
        // A root at the front says nothing.
        if !begun && !may_begin(&entry.path) {
            return Ok(None);
        }
        begun |= !entry.path.is_empty();
        let begin = at + reader.position();
        let place = match entry.kind {
            Kind::File { size, segments } => {
                let whole = match segments[..] {
                    [] => size == 0,
                    [s] => s.offset == 0 && s.length == size,
                    _ => false,
                };
                if !whole {
                    return Err(Error::unsupported("a blob in the archive is a sparse file"));
                }
                at = begin + size.next_multiple_of(BLOCK as u64);
                Place::At(begin, size)
            }
            Kind::Link(target) => {
                at = begin;
                match beside(&entry.path, &target) {
                    Some(target) => Place::Link(target),
                    None => continue,
                }
            }
            Kind::HardLink(target) => {
                at = begin;
                Place::Link(target)
            }
            _ => {
                at = begin;
                continue;
            }
        };
        if out.insert(entry.path.clone(), place).is_some() {
            let path = show(&entry.path).into_owned();
            return Err(FormatError::Unsafe { path, rule: "an image of containers has each file once" }.into());
        }
    }
    Ok(None)
}

/// Where a relative link leads, from the top; `None` when it leads out.
fn beside(path: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = path.split(|&c| c == b'/').collect();
    parts.pop();
    for part in target.split(|&c| c == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!target.starts_with(b"/")).then(|| parts.join(&b'/'))
}
