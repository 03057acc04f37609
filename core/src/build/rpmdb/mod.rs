//! The database of rpm in a root: which packages there are, and a form that is the same for the same packages.
//!
//! ```text
//!  /var/lib/rpm            up to EL9      rpmdb.sqlite: Packages(hnum, blob), and an index for each of 18 tags
//!  /usr/lib/sysimage/rpm   later                 ├ -wal, -shm   what is not in it yet: normalise brings it there
//!                                                └ .rpm.lock
//! ```
//!
//! The root is not trusted: the file is looked for inside it, by descriptors, and the database is read within limits, without
//! anything that could be run by it.

pub mod header;
mod older;

use super::packages::{self, Package};
use crate::error::{Error, ErrorKind, Result};
use crate::job::CancelToken;
use crate::sys::confined::{Links, Root};
use header::Header;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Where it may be, the newer place first.
pub(super) const PLACES: [&str; 2] = ["usr/lib/sysimage/rpm", "var/lib/rpm"];
/// The database.
pub(super) const FILE: &str = "rpmdb.sqlite";
/// What it leaves beside the file, and locks.
const LEFT: [&str; 3] = ["rpmdb.sqlite-wal", "rpmdb.sqlite-shm", ".rpm.lock"];
/// Databases of other kinds.
pub(super) const OTHERS: [(&str, &str); 2] = [("Packages", "bdb"), ("Packages.db", "ndb")];
/// The largest header, and the most packages.
const BLOB_LIMIT: i32 = 64 << 20;
/// Before each header in a file.
const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
const PACKAGE_LIMIT: usize = 200_000;
/// Bytes of all that is listed: a whole distribution has 5 MB. The rows of a hostile database may share their pages, so its own
/// size is no bound.
const TEXT_LIMIT: usize = 128 << 20;
/// How long a query may take: that of a whole distribution takes less than a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// The packages that are installed in the root at `path`, sorted; `None` where there is no database of rpm. The database must
/// be normalised: what is only in its log is not seen.
///
/// # Errors
/// `Integrity` when the database is damaged, `Unsupported` when it is of another kind, `Limit`, `Io`.
pub fn read(path: &Path) -> Result<Option<Vec<Package>>> {
    let root = Root::open(path).map_err(|e| Error::io("open", path.display(), e))?;
    let Some(dir) = locate(&root)? else { return Ok(None) };
    let database = open(&dir, "immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY, &CancelToken::default())?;
    list(&database).map(Some)
}

/// The packages of the database in a directory that is nobody else's, with what is only in its log.
///
/// # Errors
/// As [`read`]; `Cancelled`.
pub(super) fn read_copy(path: &Path, cancel: &CancelToken) -> Result<Vec<Package>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::io("open", path.display(), e))?;
    let listed = open(&dir, "mode=rw", OpenFlags::SQLITE_OPEN_READ_WRITE, cancel).and_then(|database| {
        // With it the index of the log is in memory: not every filesystem can map a file for several processes.
        database.execute_batch("PRAGMA locking_mode=EXCLUSIVE").map_err(failed)?;
        // Nothing is written: a hostile log could make a file of any size.
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
        list(&database)
    });
    listed.map_err(|e| if cancel.is_cancelled() { Error::cancelled() } else { e })
}

fn list(database: &Connection) -> Result<Vec<Package>> {
    let (mut out, mut texts) = (Vec::new(), 0);
    let mut query = database.prepare("SELECT blob FROM Packages ORDER BY hnum").map_err(failed)?;
    let mut rows = query.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let value = row.get_ref(0).map_err(failed)?;
        let blob = value.as_blob().map_err(|_| Error::integrity("a row of the package database is no header"))?;
        if out.len() == PACKAGE_LIMIT {
            return Err(Error::limit(format!("the package database has more than {PACKAGE_LIMIT} packages")));
        }
        let package = Header::parse(blob)?.package()?;
        texts += package.as_ref().map_or(0, Package::text);
        if texts > TEXT_LIMIT {
            return Err(Error::limit(format!("the package database lists more than {} MiB", TEXT_LIMIT >> 20)));
        }
        out.extend(package);
    }
    packages::sort(&mut out);
    Ok(out)
}

/// When the newest of the installed packages was built, in seconds since 1970.
///
/// # Errors
/// As [`read`].
pub fn newest(path: &Path) -> Result<Option<i64>> {
    let root = Root::open(path).map_err(|e| Error::io("open", path.display(), e))?;
    let Some(dir) = locate(&root)? else { return Ok(None) };
    let database = open(&dir, "immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY, &CancelToken::default())?;
    let mut query = database.prepare("SELECT blob FROM Packages").map_err(failed)?;
    let mut rows = query.query([]).map_err(failed)?;
    let mut newest = None;
    while let Some(row) = rows.next().map_err(failed)? {
        let value = row.get_ref(0).map_err(failed)?;
        let blob = value.as_blob().map_err(|_| Error::integrity("a row of the package database is no header"))?;
        newest = newest.max(Header::parse(blob)?.number(header::tag::BUILD_TIME).map(i64::from));
    }
    Ok(newest)
}

/// Brings everything into the one file, in the order that only its content gives, and removes what is beside it. Nothing may
/// have the database open. False where there is none.
///
/// # Errors
/// As [`read`].
pub fn normalise(path: &Path) -> Result<bool> {
    let root = Root::open(path).map_err(|e| Error::io("open", path.display(), e))?;
    let Some(dir) = locate(&root)? else { return Ok(false) };
    let mut beside = false;
    for name in LEFT {
        // What SQLite opens beside the file must be what it made itself.
        beside |= regular(&dir, name)?;
    }
    if !beside && is_normal(&dir)? {
        return Ok(true);
    }
    let database = open(&dir, "mode=rw", OpenFlags::SQLITE_OPEN_READ_WRITE, &CancelToken::default())?;
    database
        .execute_batch("PRAGMA temp_store=MEMORY; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE; VACUUM;")
        .map_err(failed)?;
    database.close().map_err(|(_, e)| failed(e))?;
    for name in LEFT {
        match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(Error::io("remove", name, e)),
        }
    }
    Ok(true)
}

/// As [`normalise`]; a database of another kind, which only the root's own rpm reads, gets what makes it the same each time.
///
/// # Errors
/// As [`normalise`].
pub fn settle(path: &Path) -> Result<()> {
    match normalise(path) {
        Err(e) if e.kind() == ErrorKind::Unsupported => {
            older::settle(&Root::open(path).map_err(|e| Error::io("open", path.display(), e))?)
        }
        done => done.map(drop),
    }
}

/// Whether the header of the file says that nobody wrote since it was normalised: no log of writes, no pages that are free.
/// Doing it again would count the changes on, and a file that says the same would be another one.
fn is_normal(dir: &OwnedFd) -> Result<bool> {
    let failed = |e: Errno| Error::io("read", FILE, e);
    let file = rustix::fs::openat(dir, FILE, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let mut header = [0; 100];
    let read = rustix::io::read(file.map_err(failed)?, &mut header).map_err(failed)?;
    // Offsets 18 and 19 are the versions for writing and reading, 36 counts the free pages (sqlite.org/fileformat.html).
    Ok(read == header.len() && header[18..20] == [1, 1] && header[36..40] == [0; 4])
}

/// Writes all headers, keys too, as `rpmdb --exportdb` does and `rpmdb --importdb` takes them: of whatever kind and age that
/// rpm is. The database must be normalised. Gives their number.
///
/// # Errors
/// As [`read`]; `NotFound` where there is none.
pub fn export(path: &Path, out: &mut dyn Write) -> Result<usize> {
    let root = Root::open(path).map_err(|e| Error::io("open", path.display(), e))?;
    let dir = locate(&root)?.ok_or_else(|| Error::not_found("there is no package database"))?;
    let database = open(&dir, "immutable=1", OpenFlags::SQLITE_OPEN_READ_ONLY, &CancelToken::default())?;
    let mut query = database.prepare("SELECT blob FROM Packages ORDER BY hnum").map_err(failed)?;
    let mut rows = query.query([]).map_err(failed)?;
    let mut count = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        let value = row.get_ref(0).map_err(failed)?;
        let blob = value.as_blob().map_err(|_| Error::integrity("a row of the package database is no header"))?;
        Header::parse(blob)?;
        let written = out.write_all(&MAGIC).and_then(|()| out.write_all(blob));
        written.map_err(|e| Error::io("write", "the headers of the packages", e))?;
        count += 1;
    }
    Ok(count)
}

/// Takes the database away, so that another rpm can make its own.
///
/// # Errors
/// `Io`, `UnsafeInput`.
pub fn remove(path: &Path) -> Result<()> {
    let root = Root::open(path).map_err(|e| Error::io("open", path.display(), e))?;
    let Some(dir) = locate(&root)? else { return Ok(()) };
    for name in LEFT.iter().chain([&FILE]) {
        match rustix::fs::unlinkat(&dir, *name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(Error::io("remove", name, e)),
        }
    }
    Ok(())
}

/// The directory of the database. Links are those of the root: `/var/lib/rpm` is one in new releases.
fn locate(root: &Root) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut other = None;
    for place in PLACES {
        let dir = match root.open_at(place.as_bytes(), flags, Mode::empty(), Links::InRoot) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(e) => return Err(Error::io("open", root.name_of(place.as_bytes()), e)),
        };
        if regular(&dir, FILE)? {
            return Ok(Some(dir));
        }
        for (name, kind) in OTHERS {
            if regular(&dir, name)? {
                other = Some(kind);
            }
        }
    }
    match other {
        None => Ok(None),
        Some(kind) => Err(foreign(kind)),
    }
}

/// The error for a database of another kind.
pub(super) fn foreign(kind: &str) -> Error {
    Error::unsupported(format!("the package database is of the kind {kind}, which libcv cannot read"))
        .hint("convert it with the rpm of the image: rpmdb --rebuilddb with _db_backend sqlite")
        .fact("database", kind)
}

/// Whether there is a file of this name; anything else of it is refused.
fn regular(dir: &OwnedFd, name: &str) -> Result<bool> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(st) if FileType::from_raw_mode(st.st_mode).is_file() => Ok(true),
        Ok(_) => Err(Error::unsafe_input(format!("{name} of the package database is not a file"))),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(Error::io("look at", name, e)),
    }
}

/// Opens the file in this directory: SQLite knows paths only, and this one leads through the descriptor.
fn open(dir: &OwnedFd, option: &str, flags: OpenFlags, cancel: &CancelToken) -> Result<Connection> {
    let uri = format!("file:/proc/self/fd/{}/{FILE}?{option}", dir.as_raw_fd());
    let flags = flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut database = Connection::open_with_flags(uri, flags).map_err(failed)?;
    let guard = |database: &mut Connection| {
        database.set_limit(Limit::SQLITE_LIMIT_LENGTH, BLOB_LIMIT)?;
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        database.execute_batch("PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;")?;
        let end = Instant::now() + PATIENCE;
        let cancel = cancel.clone();
        database.progress_handler(10_000, Some(move || Instant::now() > end || cancel.is_cancelled()))
    };
    guard(&mut database).map_err(failed)?;
    Ok(database)
}

fn failed(e: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode as Code;
    let text = e.to_string();
    let kind = match e.sqlite_error_code() {
        Some(Code::DiskFull | Code::TooBig | Code::OperationInterrupted | Code::OutOfMemory) => ErrorKind::Limit,
        Some(Code::PermissionDenied | Code::ReadOnly) => ErrorKind::Denied,
        Some(Code::SystemIoFailure | Code::CannotOpen) => ErrorKind::Io,
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => ErrorKind::Busy,
        _ => ErrorKind::Integrity,
    };
    Error::new(kind, format!("the package database cannot be read: {text}")).cause(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bed(place: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(place);
        std::fs::create_dir_all(&path).unwrap();
        let file = path.join(FILE);
        (dir, file)
    }

    #[test]
    fn what_is_no_database_is_said_so() {
        let (root, file) = bed("var/lib/rpm");
        assert_eq!(read(root.path()).unwrap(), None);
        assert!(!normalise(root.path()).unwrap());
        std::fs::write(&file, [b'x'; 8192]).unwrap();
        assert_eq!(read(root.path()).unwrap_err().kind(), ErrorKind::Integrity);
        assert_eq!(normalise(root.path()).unwrap_err().kind(), ErrorKind::Integrity);
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert_eq!(read(root.path()).unwrap_err().kind(), ErrorKind::UnsafeInput);
        std::fs::remove_file(&file).unwrap();
        std::fs::write(file.with_file_name("Packages"), "x").unwrap();
        assert_eq!(read(root.path()).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn what_is_listed_is_bounded() {
        let (root, file) = bed("var/lib/rpm");
        let database = Connection::open(&file).unwrap();
        database.execute_batch("CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB)").unwrap();
        let texts = [
            ("a", header::tag::NAME),
            ("1", header::tag::VERSION),
            ("1", header::tag::RELEASE),
            ("x", header::tag::ARCH),
        ];
        let licence = "l".repeat(60 << 20);
        let texts = texts.into_iter().chain([(licence.as_str(), header::tag::LICENSE)]);
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (text, tag) in texts {
            index.extend([tag, 6, data.len() as u32, 1].iter().flat_map(|w| w.to_be_bytes()));
            data.extend(text.bytes().chain([0]));
        }
        let sizes = [5, data.len() as u32].iter().flat_map(|w| w.to_be_bytes()).collect();
        let header = [sizes, index, data].concat();
        for expected in [1, 2] {
            database.execute("INSERT INTO Packages(blob) VALUES (?1)", [&header]).unwrap();
            assert_eq!(read(root.path()).unwrap().unwrap().len(), expected);
        }
        database.execute("INSERT INTO Packages(blob) VALUES (?1)", [&header]).unwrap();
        assert_eq!(read(root.path()).unwrap_err().kind(), ErrorKind::Limit);
    }

    #[test]
    fn a_schema_that_works_for_itself_gets_nothing() {
        for schema in [
            "CREATE VIEW Packages AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT n AS hnum, n AS blob FROM r",
            "CREATE TABLE Packages(hnum INTEGER, blob AS (zeroblob(1000000000))); INSERT INTO Packages(hnum) VALUES (1)",
            "CREATE TABLE Packages(hnum INTEGER, blob TEXT); INSERT INTO Packages VALUES (1, 'x')",
            "CREATE TABLE Packages(hnum INTEGER, blob BLOB); INSERT INTO Packages VALUES (1, x'0000000100000000')",
            "CREATE TABLE Other(x)",
        ] {
            let (root, file) = bed("usr/lib/sysimage/rpm");
            // The link of new releases, as an absolute one that would lead out.
            std::fs::create_dir_all(root.path().join("var/lib")).unwrap();
            std::os::unix::fs::symlink("/usr/lib/sysimage/rpm", root.path().join("var/lib/rpm")).unwrap();
            Connection::open(&file).unwrap().execute_batch(schema).unwrap();
            let begun = Instant::now();
            let e = read(root.path()).unwrap_err();
            assert!(matches!(e.kind(), ErrorKind::Integrity | ErrorKind::Limit), "{schema}: {e:?}");
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
    }
}
