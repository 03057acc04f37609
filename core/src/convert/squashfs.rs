//! squashfs in and out, through the programs of squashfs-tools-ng: an archive goes through a pipe. They keep the
//! root's own metadata, names of links and attributes, which mksquashfs loses when it reads an archive. The normative
//! text is in `core/docs/formats.md`.

use super::aside::Aside;
use super::bring::{ImportOptions, Imported, Origin, bring};
use super::export::{ExportOptions, Exported, Format};
use super::tar::{Compression, Keep, Reader, archive};
use crate::error::{Error, Result};
use crate::image::Row;
use crate::image::loss::class;
use crate::image::row::Xattr;
use crate::job::Task;
use crate::store::{Image, Store};
use crate::sys::confined::show;
use crate::sys::program::{Call, Program};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// The first bytes.
pub(super) const MAGIC: &[u8] = b"hsqs";
/// More than any image takes.
const LIMIT: Duration = Duration::from_secs(12 * 3600);
/// Times are 32 bits without a sign.
const SECONDS: (i64, i64) = (0, u32::MAX as i64);

/// ACLs have no place in the format.
fn holds(x: &Xattr) -> bool {
    [&b"user."[..], b"trusted.", b"security."].contains(&class(&x.name))
}

/// A larger file is not written: the program spends 0.2 s on each GiB even of a hole, and keeps the list of a file's blocks on
/// its stack, which is full at 256 GiB.
const SIZE_LIMIT: u64 = 128 << 30;

/// A disk with less than this is full: what could not be written is gone again, but for a little.
const ROOM: u64 = 256 << 10;

const KEEP: Keep = Keep { xattr: holds, entry: |_| Ok(()), seconds: Some(SECONDS), flags: false, holes: false };

/// Writes the filesystem to where `aside` stands.
///
/// # Errors
/// `Unsupported` when the program is missing, or asked for what it has not, or a file is too large for it; `Integrity`,
/// `Cancelled`.
pub(super) fn export(image: &Image, aside: &Aside, options: &ExportOptions, task: &Task) -> Result<Exported> {
    write(image, aside.for_program()?, options.compression.unwrap_or_default(), options.level, task)
}

/// The same, to a path that is nobody else's.
pub(super) fn write(image: &Image, path: &Path, compression: Compression, level: i32, task: &Task) -> Result<Exported> {
    let name = match compression {
        Compression::Zstd => "zstd",
        Compression::Gzip => "gzip",
        Compression::None => {
            return Err(Error::invalid("squashfs is written with zstd or gzip").hint("erofs is not compressed"));
        }
    };
    let newest = newest(image, task, check)?;
    let mut call = Call::new(Program::Tar2sqfs).limit(LIMIT).args(["--quiet", "--no-skip", "--compressor", name]);
    if level != 0 {
        call = call.arg("--comp-extra").arg(format!("level={level}"));
    }
    // The time of the filesystem itself; those of the entries are their own.
    let call = call.env("SOURCE_DATE_EPOCH", newest.to_string()).arg(path);
    let stop = || task.check().is_err();
    let mut done =
        call.feed(&stop, |pipe| Ok(archive(image, pipe, KEEP, task)?.1)).map_err(|e| full_disk(path).unwrap_or(e))?;
    let file = File::open(path).map_err(|e| Error::io("open", path.display(), e))?;
    super::export::sync(&file, path)?;
    done.format = Format::Squashfs;
    Ok(done)
}

/// The program says of a full disk what it says of a broken one.
fn full_disk(path: &Path) -> Option<Error> {
    let left = rustix::fs::statvfs(path.parent()?).ok()?;
    let full = left.f_bavail.saturating_mul(left.f_frsize) < ROOM;
    full.then(|| Error::limit(format!("there is no room for {}", path.display())))
}

/// What cannot be written ends the export before anything is.
fn check(row: &Row) -> Result<()> {
    if row.size() <= SIZE_LIMIT {
        return Ok(());
    }
    let path = show(&row.path).into_owned();
    Err(Error::unsupported(format!("/{path} has more than 128 GiB, which squashfs is not written with"))
        .hint("tar and erofs hold it, or leave the file out of the image")
        .fact("entry", path))
}

/// The newest time of the tree, within what the format holds: a time that is the image's own. `each` sees every row.
pub(super) fn newest(image: &Image, task: &Task, each: impl Fn(&Row) -> Result<()>) -> Result<i64> {
    let mut newest = 0;
    for row in image.rows()? {
        task.check()?;
        let row = row?;
        each(&row)?;
        newest = newest.max(row.mtime.0);
    }
    Ok(newest.min(SECONDS.1))
}

/// Imports the squashfs at `path`.
///
/// # Errors
/// `Unsupported` when the program is missing; else as for an archive.
pub(super) fn import(store: &Store, path: &Path, name: &str, options: &ImportOptions, task: &Task) -> Result<Imported> {
    super::bring::check(store, name, options)?;
    // It has a working directory of its own.
    let path = std::path::absolute(path).map_err(|e| Error::io("find", path.display(), e))?;
    let call = Call::new(Program::Sqfs2tar).limit(LIMIT).args(["--no-skip", "--root-becomes", "."]).arg(&path);
    call.drain(&|| task.check().is_err(), |pipe| {
        let mut reader = Reader::new(pipe, options.limits);
        bring(store, name, Origin::new("squashfs"), options, task, |tree| tree.archive(&mut reader))
    })
}
