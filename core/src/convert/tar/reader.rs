//! Reads an archive entry by entry, in one pass and bounded memory.

use super::acl::{self, Text};
use super::header::{OCTAL_11, Raw, malformed};
use super::pax::{BODY_LIMIT, Pax};
use super::sparse::{self, Lines, Map, SIZE_LIMIT};
use super::{BLOCK, Entry, Kind, Limits, Segment, clean};
use crate::error::{Error, Result};
use crate::image::FormatError;
use crate::image::page::TARGET_LIMIT;
use crate::image::path::PATH_LIMIT;
use crate::job::CancelToken;
use crate::sys::confined::show;
use std::io::{BufRead, BufReader, Read};

/// Extension headers between two entries.
const EXTENSION_LIMIT: usize = 64;
/// Most bytes after the end of an archive that are read, so that the checksum of a compression is seen.
const TRAILER_LIMIT: u64 = 64 << 20;
/// Bytes that are passed over before it is asked whether to go on.
const PIECE: u64 = 1 << 20;
/// Most notes that are kept.
const NOTE_LIMIT: usize = 1000;

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

    fn entry(&mut self, raw: &Raw, ext: Extensions) -> Result<Entry> {
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
        if !file && pax.sparse != super::pax::Sparse::default() {
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
        let real = super::header::number(&gnu.realsize)?;
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

    fn count(&mut self, entry: &Entry) -> Result<()> {
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

    fn check(&self) -> Result<()> {
        if self.stop.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    fn block(&mut self) -> Result<[u8; BLOCK]> {
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
    fn body(&mut self, raw: &Raw) -> Result<Vec<u8>> {
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
    fn skip(&mut self) -> Result<()> {
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
    fn trailer(&mut self) -> Result<()> {
        let rest = &mut (&mut self.input).take(TRAILER_LIMIT);
        let n = std::io::copy(rest, &mut std::io::sink()).map_err(|e| wrong(e, self.at))?;
        self.at += n;
        if n == TRAILER_LIMIT { Err(limit("what follows the end of the archive", TRAILER_LIMIT)) } else { Ok(()) }
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

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
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
pub(super) const FLAGS: [(u32, &str, &[&str]); 3] = [
    (0x10, "schg", &["schg", "schange", "simmutable", "uchg", "uchange", "uimmutable"]),
    (0x20, "sappnd", &["sappnd", "sappend", "uappnd", "uappend"]),
    (0x80_0000, "nocow", &["nocow"]),
];

fn inode_flags(text: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(text);
    let bits = text.split(',').flat_map(|word| FLAGS.iter().filter(move |f| f.2.contains(&word.trim())).map(|f| f.0));
    bits.fold(0, |all, bit| all | bit)
}

/// An error of the input: that of a decompressor is about its data, any other one is the system's.
fn wrong(e: std::io::Error, at: u64) -> Error {
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
