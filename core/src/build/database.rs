//! The package databases of an image in the store: found in its tree, copied out, read. Whatever made the image.
//!
//! ```text
//!  usr/lib/sysimage/rpm, var/lib/rpm ──> rpmdb.sqlite, -wal ──> a private copy ──> rpmdb ─┐
//!  var/lib/dpkg/status ──────────────────────────────────────────────────────────> deb ───┴─> packages ─> sbom
//! ```
//!
//! An image of a running system may have in the log beside the database (`-wal`) what rpm has not brought into it yet. SQLite
//! reads a log only where it can write, hence the copy. The index of the log (`-shm`) is none of it: it belonged to processes,
//! and is made anew from the log.

use super::packages::{self, Difference, Package};
use super::{deb, rpmdb};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::resolve::{Seen, Stuck, resolve};
use crate::image::{Kind, Row};
use crate::job::Task;
use crate::store::Image;
use crate::sys::confined::show;
use crate::sys::scratch::Scratch;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const STATUS: &[u8] = b"var/lib/dpkg/status";
/// The largest database and log that are copied: a workstation with everything has 300 MB.
const DATABASE_LIMIT: u64 = 1 << 30;
/// What rpm's database may have beside it.
const LOG: &str = "-wal";
const JOURNAL: &str = "-journal";

/// The packages that are installed in an image by rpm and by dpkg, sorted by name, architecture and version. The database of
/// rpm is copied for that into `TMPDIR`, else `/var/tmp`: it and its log may have 1 GiB each.
///
/// # Errors
/// `NotFound` when the image has no package database; `Unsupported` when it is of a kind that cannot be read (bdb, ndb);
/// `Integrity` when it is damaged; `UnsafeInput`, `Limit`, `Cancelled`, `Io`.
pub fn packages(image: &Image, task: &Task) -> Result<Vec<Package>> {
    let (rpm, dpkg) = (of_rpm(image, task)?, of_dpkg(image, task)?);
    if rpm.is_none() && dpkg.is_none() {
        return Err(Error::not_found(format!("image {} has no package database", image.id().short()))
            .hint("rpm has one in /var/lib/rpm or /usr/lib/sysimage/rpm, dpkg in /var/lib/dpkg")
            .fact("image", image.id().to_string()));
    }
    let mut all: Vec<Package> = rpm.into_iter().chain(dpkg).flatten().collect();
    packages::sort(&mut all);
    Ok(all)
}

/// How the packages of the image `newer` differ from those of `older`.
///
/// # Errors
/// Those of [`packages()`] for either.
pub fn diff_packages(older: &Image, newer: &Image, task: &Task) -> Result<Difference> {
    Ok(Difference::between(&packages(older, task)?, &packages(newer, task)?))
}

impl Image {
    /// See [`packages()`].
    ///
    /// # Errors
    /// Those of [`packages()`].
    pub fn packages(&self, task: &Task) -> Result<Vec<Package>> {
        packages(self, task)
    }

    /// How the packages of `newer` differ from those of this image.
    ///
    /// # Errors
    /// Those of [`packages()`] for either.
    pub fn diff_packages(&self, newer: &Image, task: &Task) -> Result<Difference> {
        diff_packages(self, newer, task)
    }
}

fn of_rpm(image: &Image, task: &Task) -> Result<Option<Vec<Package>>> {
    let beside = |dir: &str, name: &str| find(image, format!("{dir}/{name}").as_bytes());
    let mut other = None;
    for place in rpmdb::PLACES {
        if let Some(database) = beside(place, rpmdb::FILE)? {
            return copied(image, &database, task).map(Some);
        }
        for (name, kind) in rpmdb::OTHERS {
            if beside(place, name)?.is_some() {
                other = Some(kind);
            }
        }
    }
    other.map_or(Ok(None), |kind| Err(rpmdb::foreign(kind)))
}

/// Reads a copy of rpm's database.
fn copied(image: &Image, database: &Row, task: &Task) -> Result<Vec<Package>> {
    // What belongs to it stands beside the file itself, not beside a link to it.
    let beside = |end: &str| find(image, &[&database.path, end.as_bytes()].concat());
    // Rolling back another's journal may delete files that it names; rpm itself writes a log instead.
    if beside(JOURNAL)?.is_some_and(|j| j.size() > 0) {
        return Err(Error::unsupported("a change to the package database was not finished when the image was made")
            .hint("rpm -qa on the machine finishes it; then capture again"));
    }
    let log = beside(LOG)?.filter(|l| l.size() > 0);
    let parts = || std::iter::once((database, "")).chain(log.as_ref().map(|l| (l, LOG)));
    task.stage("packages", parts().map(|(row, _)| row.size()).sum(), Unit::Bytes);
    let scratch = Scratch::new(&work(), "cv-packages")?;
    for (row, end) in parts() {
        copy(image, row, &scratch.path().join(format!("{}{end}", rpmdb::FILE)), task)?;
    }
    let torn = parts().any(|(row, _)| row.torn);
    let listed = rpmdb::read_copy(scratch.path(), &task.cancel_token()).map_err(|e| of_torn(e, torn))?;
    scratch.remove()?;
    Ok(listed)
}

fn of_dpkg(image: &Image, task: &Task) -> Result<Option<Vec<Package>>> {
    let Some(row) = find(image, STATUS)? else { return Ok(None) };
    bounded(&row, deb::LIMIT as u64)?;
    task.stage("packages", row.size(), Unit::Bytes);
    let mut text = Watched { out: Vec::new(), task };
    image.cat(&row.path, &mut text).map_err(|e| text.explain(e))?;
    deb::parse(&text.out).map(Some).map_err(|e| of_torn(e, row.torn))
}

/// The file that a path of the image leads to, links being followed as in it; `None` where nothing is.
fn find(image: &Image, path: &[u8]) -> Result<Option<Row>> {
    let at = resolve(path, true, &mut |p| {
        Ok(match row(image, p)?.map(|r| r.kind) {
            None => Seen::Absent,
            Some(Kind::Directory) => Seen::Directory,
            Some(Kind::Link(target)) => Seen::Link(target),
            Some(_) => Seen::Other("no directory"),
        })
    });
    let at = match at {
        Ok(at) => at,
        Err(Stuck::NotDirectory(..)) => return Ok(None),
        Err(Stuck::Loop) => return Err(Error::unsafe_input(format!("the links of /{} do not end", show(path)))),
        Err(Stuck::Look(e)) => return Err(e),
    };
    match row(image, &at)? {
        // A link that leads nowhere is its own result.
        None | Some(Row { kind: Kind::Link(_), .. }) => Ok(None),
        Some(row) if matches!(row.kind, Kind::File { .. }) => Ok(Some(row)),
        Some(_) => Err(Error::unsafe_input(format!("/{} of the package database is not a file", show(&at)))),
    }
}

fn row(image: &Image, path: &[u8]) -> Result<Option<Row>> {
    match image.row(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn copy(image: &Image, row: &Row, to: &Path, task: &Task) -> Result<()> {
    bounded(row, DATABASE_LIMIT)?;
    let out = File::create_new(to).map_err(|e| Error::io("create", to.display(), e))?;
    let mut out = Watched { out, task };
    image.cat(&row.path, &mut out).map_err(|e| match out.explain(e) {
        full if full.kind() == ErrorKind::Limit => full
            .hint(format!("{} has no room for a copy of the package database: TMPDIR names another", work().display())),
        e => e,
    })
}

/// Where databases are copied to.
fn work() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

fn bounded(row: &Row, limit: u64) -> Result<()> {
    if row.size() <= limit {
        return Ok(());
    }
    let name = show(&row.path);
    Err(Error::limit(format!("/{name} of the package database has more than {} MiB", limit >> 20)))
}

/// Says of a database that is damaged because it was written while it was captured what to do.
fn of_torn(e: Error, torn: bool) -> Error {
    match e.kind() {
        ErrorKind::Integrity if torn => {
            e.hint("it changed while it was captured: capture again while no package is installed")
        }
        _ => e,
    }
}

/// A writer that tells its task what it wrote, and stops with it.
struct Watched<'t, W> {
    out: W,
    task: &'t Task,
}

impl<W> Watched<'_, W> {
    /// A cancel came as a failed write.
    fn explain(&self, e: Error) -> Error {
        self.task.check().err().unwrap_or(e)
    }
}

impl<W: Write> Write for Watched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.task.check().map_err(|_| io::Error::other("cancelled"))?;
        let written = self.out.write(bytes)?;
        self.task.advance(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
