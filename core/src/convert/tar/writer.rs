//! Writes an archive: ustar, and PAX records only where ustar cannot say it. The same entries give the same bytes.

use super::header::{OCTAL_7, OCTAL_11};
use super::reader::FLAGS;
use super::{BLOCK, Entry, Kind, Segment, acl, clean, pax, sparse};
use crate::error::{Error, ErrorKind, Result};
use std::io::Write;

const NAME: usize = 100;
const PREFIX: usize = 155;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// An archive that is written.
pub struct Writer<W: Write> {
    out: W,
    /// Segments of the current file: as they are fed, and as they are stored.
    fed: Vec<Segment>,
    stored: Vec<Segment>,
    /// Number of the segment that is fed, and bytes of it so far.
    segment: usize,
    within: u64,
    padding: u64,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`, which should be buffered.
    pub fn new(out: W) -> Self {
        Self { out, fed: Vec::new(), stored: Vec::new(), segment: 0, within: 0, padding: 0 }
    }

    /// Begins an entry. The data of a file follow with [`Writer::data`].
    ///
    /// # Errors
    /// `Misuse` when data of the entry before are missing, `Invalid` for an entry that cannot be, what the output
    /// returns.
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.close()?;
        check(entry)?;
        let mut records = Vec::new();
        self.records(entry, &mut records);
        let (kind, stored_size) = self.content(entry, &mut records);
        let mut name = entry.path.clone();
        if kind == b'5' {
            if name.is_empty() {
                name.push(b'.');
            }
            name.push(b'/');
        }
        let sparse = is_sparse(entry);
        let (prefix, short) = if sparse {
            // The name that a program sees which does not know of sparse files.
            pax::put(&mut records, b"GNU.sparse.name", &name);
            split(&stand_in(b"GNUSparseFile.0", &name)).unwrap_or_default()
        } else {
            split(&name).unwrap_or_else(|| {
                pax::put(&mut records, b"path", &name);
                (Vec::new(), cut(&name))
            })
        };
        let link: &[u8] = if let Kind::Link(l) | Kind::HardLink(l) = &entry.kind { l } else { b"" };
        if link.len() > NAME {
            pax::put(&mut records, b"linkpath", link);
        }
        if !records.is_empty() {
            let raw = [&name[..], link].iter().any(|n| std::str::from_utf8(n).is_err());
            let body = if raw {
                // Names are bytes; without this a reader may take them for UTF-8.
                let mut with = Vec::new();
                pax::put(&mut with, b"hdrcharset", b"BINARY");
                with.extend_from_slice(&records);
                with
            } else {
                records
            };
            let (prefix, short) = split(&stand_in(b"PaxHeaders", &name)).unwrap_or_default();
            let header =
                Header { prefix, name: short, kind: b'x', size: body.len() as u64, mode: 0o644, ..Header::default() };
            self.write(&header.to_bytes())?;
            self.write(&body)?;
            self.pad(body.len() as u64)?;
        }
        let (major, minor) = if let Kind::Device { major, minor, .. } = entry.kind { (major, minor) } else { (0, 0) };
        let header = Header {
            prefix,
            name: short,
            kind,
            size: if stored_size > OCTAL_11 { 0 } else { stored_size },
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: u64::try_from(entry.mtime.0).unwrap_or(0).min(OCTAL_11),
            link: link[..link.len().min(NAME)].to_vec(),
            major,
            minor,
        };
        self.write(&header.to_bytes())?;
        if let (true, Kind::File { size, .. }) = (sparse, &entry.kind) {
            let map = sparse::encode(*size, &self.stored);
            self.write(&map)?;
        }
        self.padding = stored_size.next_multiple_of(BLOCK as u64) - stored_size;
        Ok(())
    }

    /// Records of everything but name, link and content.
    fn records(&self, entry: &Entry, out: &mut Vec<u8>) {
        let number = |out: &mut Vec<u8>, key: &[u8], n: u32| pax::put(out, key, n.to_string().as_bytes());
        if u64::from(entry.uid) > OCTAL_7 {
            number(out, b"uid", entry.uid);
        }
        if u64::from(entry.gid) > OCTAL_7 {
            number(out, b"gid", entry.gid);
        }
        let (seconds, nanos) = entry.mtime;
        if nanos != 0 || !u64::try_from(seconds).is_ok_and(|s| s <= OCTAL_11) {
            pax::put(out, b"mtime", pax::time_text(entry.mtime).as_bytes());
        }
        if let Kind::Device { major, minor, .. } = entry.kind
            && u64::from(major.max(minor)) > OCTAL_7
        {
            number(out, b"SCHILY.devmajor", major);
            number(out, b"SCHILY.devminor", minor);
        }
        let flags: Vec<&str> = FLAGS.iter().filter(|f| entry.inode_flags & f.0 != 0).map(|f| f.1).collect();
        if !flags.is_empty() {
            pax::put(out, b"SCHILY.fflags", flags.join(",").as_bytes());
        }
        for (name, value) in &entry.xattrs {
            pax::put(out, &[b"SCHILY.xattr.", &pax::escape_name(name)[..]].concat(), value);
            // The same once more, for GNU tar's --acls and --selinux.
            match &name[..] {
                b"system.posix_acl_access" | b"system.posix_acl_default" => {
                    if let Some(text) = acl::to_text(value) {
                        pax::put(out, &[b"SCHILY.acl.", &name[b"system.posix_acl_".len()..]].concat(), text.as_bytes());
                    }
                }
                b"security.selinux" => {
                    let label = value.strip_suffix(b"\0").unwrap_or(value);
                    pax::put(out, b"RHT.security.selinux", label);
                }
                _ => {}
            }
        }
    }

    /// Type flag and stored size; records of a sparse file.
    fn content(&mut self, entry: &Entry, records: &mut Vec<u8>) -> (u8, u64) {
        (self.fed, self.stored, self.segment, self.within) = (Vec::new(), Vec::new(), 0, 0);
        let (size, segments) = match &entry.kind {
            Kind::File { size, segments } => (*size, segments),
            Kind::HardLink(_) => return (b'1', 0),
            Kind::Link(_) => return (b'2', 0),
            Kind::Device { block: false, .. } => return (b'3', 0),
            Kind::Device { block: true, .. } => return (b'4', 0),
            Kind::Directory => return (b'5', 0),
            Kind::Fifo => return (b'6', 0),
        };
        self.fed.clone_from(segments);
        self.stored.clone_from(segments);
        let mut stored_size = size;
        if is_sparse(entry) {
            self.stored = sparse::widen(size, segments);
            stored_size = sparse::encode(size, &self.stored).len() as u64;
            stored_size += self.stored.iter().map(|s| s.length).sum::<u64>();
            pax::put(records, b"GNU.sparse.major", b"1");
            pax::put(records, b"GNU.sparse.minor", b"0");
            pax::put(records, b"GNU.sparse.realsize", size.to_string().as_bytes());
        }
        if stored_size > OCTAL_11 {
            pax::put(records, b"size", stored_size.to_string().as_bytes());
        }
        (b'0', stored_size)
    }

    /// Data of the segments of the current file, one after the other.
    ///
    /// # Errors
    /// `Misuse` when they are more than the entry said, what the output returns.
    pub fn data(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let Some(&current) = self.fed.get(self.segment) else {
                return Err(Error::new(ErrorKind::Misuse, "a file has more data than its entry said"));
            };
            let n = (current.length - self.within).min(bytes.len() as u64) as usize;
            self.write(&bytes[..n])?;
            bytes = &bytes[n..];
            self.within += n as u64;
            if self.within == current.length {
                self.segment += 1;
                self.within = 0;
                self.fill(current)?;
            }
        }
        Ok(())
    }

    /// After a segment: zeros up to where its stored form ends or the next one begins.
    fn fill(&mut self, done: Segment) -> Result<()> {
        let end = done.offset + done.length;
        let n = self.stored.partition_point(|s| s.offset <= done.offset);
        let holder = n.checked_sub(1).and_then(|n| self.stored.get(n));
        let mut to = holder.map_or(end, |s| s.offset + s.length);
        if let Some(next) = self.fed.get(self.segment) {
            to = to.min(next.offset);
        }
        let mut left = to.saturating_sub(end);
        while left > 0 {
            let n = left.min(BLOCK as u64);
            self.write(&ZEROS[..n as usize])?;
            left -= n;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if self.segment < self.fed.len() {
            return Err(Error::new(ErrorKind::Misuse, "a file has fewer data than its entry said"));
        }
        let padding = std::mem::take(&mut self.padding);
        self.write(&ZEROS[..padding as usize])
    }

    /// Writes the end and gives the output back.
    ///
    /// # Errors
    /// As [`Writer::entry`].
    pub fn finish(mut self) -> Result<W> {
        self.close()?;
        self.write(&ZEROS)?;
        self.write(&ZEROS)?;
        self.out.flush().map_err(|e| Error::io("write", "the archive", e))?;
        Ok(self.out)
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        self.write(&ZEROS[..(size.next_multiple_of(BLOCK as u64) - size) as usize])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io("write", "the archive", e))
    }
}

/// What a reader would refuse is not written.
fn check(entry: &Entry) -> Result<()> {
    let bad = |why: &str| Err(Error::invalid(format!("an entry of an archive {why}")));
    if clean(&entry.path)? != entry.path || entry.mode > 0o7777 || entry.mtime.1 >= 1_000_000_000 {
        return bad("has no clean path, mode or time");
    }
    match &entry.kind {
        Kind::File { size, segments } => {
            let mut at = 0;
            for s in segments {
                let end = s.offset.checked_add(s.length);
                if s.offset < at || s.length == 0 || end.is_none_or(|e| e > *size) {
                    return bad("has segments out of order");
                }
                at = s.offset + s.length;
            }
            if *size > sparse::SIZE_LIMIT { bad("is too large") } else { Ok(()) }
        }
        Kind::Link(t) if t.is_empty() || t.contains(&0) => bad("has no link target"),
        Kind::HardLink(t) if clean(t)? != *t || t.is_empty() => bad("has no clean link target"),
        _ => Ok(()),
    }
}

/// Whether a file has holes.
fn is_sparse(entry: &Entry) -> bool {
    let Kind::File { size, segments } = &entry.kind else { return false };
    segments.iter().map(|s| s.length).sum::<u64>() != *size
}

/// Prefix and name of a header, where both fit.
fn split(path: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if path.len() <= NAME {
        return Some((Vec::new(), path.to_vec()));
    }
    // The slash between the two is not stored; one at the end of a directory stays with the name.
    let slash = path[..path.len().min(PREFIX + 1)].iter().rposition(|&c| c == b'/').filter(|&i| i > 0)?;
    let name = &path[slash + 1..];
    (!name.is_empty() && name.len() <= NAME).then(|| (path[..slash].to_vec(), name.to_vec()))
}

/// `dir/<label>/name`, cut to fit.
fn stand_in(label: &[u8], path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let (_, name) = crate::sys::confined::split(path);
    let room = NAME - label.len() - 1;
    [label, b"/", &name[..name.len().min(room)]].concat()
}

/// The front of a name that stands in full in a record.
fn cut(path: &[u8]) -> Vec<u8> {
    path[..path.len().min(NAME)].to_vec()
}

/// The fields of a header block.
#[derive(Default)]
struct Header {
    prefix: Vec<u8>,
    name: Vec<u8>,
    kind: u8,
    size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: u64,
    link: Vec<u8>,
    major: u32,
    minor: u32,
}

impl Header {
    fn to_bytes(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut text = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        let octal = |n: u64, digits: usize| format!("{n:0digits$o}").into_bytes();
        // What does not fit stands in a record. The largest number, not 0: nobody becomes root by accident.
        let seven = |n: u32| octal(u64::from(n).min(OCTAL_7), 7);
        text(0, &self.name);
        text(100, &seven(self.mode));
        text(108, &seven(self.uid));
        text(116, &seven(self.gid));
        text(124, &octal(self.size, 11));
        text(136, &octal(self.mtime, 11));
        text(148, b"        ");
        text(156, &[self.kind]);
        text(157, &self.link);
        text(257, b"ustar\x0000");
        text(329, &seven(self.major));
        text(337, &seven(self.minor));
        text(345, &self.prefix);
        let sum: u64 = block.iter().map(|&b| u64::from(b)).sum();
        let sum = octal(sum, 6);
        block[148..154].copy_from_slice(&sum);
        block[154] = 0;
        block
    }
}
