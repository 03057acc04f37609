//! A file that an image becomes once: for nodes that mount it, or boot from it. It lies in the store beside the image,
//! and is made again only if it is lost.

use super::aside::Aside;
use super::export::{Exported, sync};
use super::rows::Sink;
use super::tar::{Compression, Encoder};
use super::{cpio, erofs, squashfs};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::Hash;
use crate::job::Task;
use crate::store::derived::{Cutter, Name};
use crate::store::{Derived, Image};
use crate::sys::clock;
use serde::Serialize;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What is made of an image.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeriveKind {
    /// Compressed, read-only, without ACLs.
    Squashfs,
    /// Read-only, with everything but flags; its large files are the chunks that the store has already.
    Erofs,
    /// An initramfs.
    Cpio,
}

impl DeriveKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Squashfs, Self::Erofs, Self::Cpio];

    /// The name in every skin.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Cpio => "cpio",
        }
    }

    /// The kind of this name.
    ///
    /// # Errors
    /// `Invalid` when there is none.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name).ok_or_else(|| {
            let all = Self::ALL.map(Self::name).join(", ");
            Error::invalid(format!("\"{name}\" is no kind of derived file")).hint(format!("one of {all}"))
        })
    }
}

/// How to derive.
#[derive(Clone, Debug)]
pub struct DeriveOptions {
    /// What to make.
    pub kind: DeriveKind,
    /// How it is compressed; by default zstd, and erofs not at all.
    pub compression: Option<Compression>,
    /// Threads that compress for the store; 0 is one for each core.
    pub threads: usize,
    /// Where a squashfs is made before it goes into the store; by default `TMPDIR`, else `/var/tmp`.
    pub work: Option<PathBuf>,
}

impl DeriveOptions {
    /// The usual options for a kind.
    #[must_use]
    pub fn new(kind: DeriveKind) -> Self {
        Self { kind, compression: None, threads: 0, work: None }
    }

    fn compression(&self) -> Compression {
        let usual = if self.kind == DeriveKind::Erofs { Compression::None } else { Compression::Zstd };
        self.compression.unwrap_or(usual)
    }

    fn name(&self) -> Name {
        let params = match self.compression() {
            Compression::None => "plain",
            Compression::Zstd => "zstd",
            Compression::Gzip => "gzip",
        };
        Name { kind: self.kind.name().to_owned(), params: params.to_owned() }
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Derivation {
    /// The image id.
    pub image: Hash,
    /// What it is.
    pub kind: String,
    /// How it was made.
    pub params: String,
    /// Whether it was made now; else it was there.
    pub made: bool,
    /// Bytes of the file.
    pub size: u64,
    /// BLAKE3 of the file.
    pub hash: Hash,
    /// Bytes added to the store.
    pub stored_bytes: u64,
    /// What its format does not hold of the image.
    pub losses: Vec<crate::image::Loss>,
}

/// Makes the file that the options describe, unless the store has it. The same image and options give the same bytes.
///
/// A handle of the store that trusts takes none that no key of its signed, and one that signs none that it did not make or
/// believe: these are made again.
///
/// # Errors
/// `Unsupported` when a program is missing or the format cannot hold the image; `Integrity` also when the file that is
/// there is not to be used and nothing may be written; `Limit`, `Cancelled`.
pub fn derive(image: &Image, options: &DeriveOptions, task: &Task) -> Result<(Derived, Derivation)> {
    let (store, name) = (image.store(), options.name());
    let (found, fault) = match store.derived(&image.id(), &name) {
        Err(e) if e.kind() == ErrorKind::Integrity => {
            task.warn(format!("{e}; it is made again"));
            (None, Some(e))
        }
        found => (found?, None),
    };
    let there = match found {
        Some(d) if d.is_whole()? && store.vouch_for(&d)? => Some(d),
        _ => None,
    };
    let made = there.is_none();
    let (derived, stored_bytes) = match there {
        Some(there) => (there, 0),
        None => {
            let threads = crate::job::threads(options.threads);
            let made = store.store_derived(&image.id(), &name, 3, threads, task, |cutter| {
                let done = make(image, options, cutter, task)?;
                done.warn(task);
                Ok(done.losses)
            });
            made.map_err(|e| not_made(e, fault))?
        }
    };
    let done = Derivation {
        image: image.id(),
        kind: name.kind,
        params: name.params,
        made,
        size: derived.size(),
        hash: derived.hash(),
        stored_bytes,
        losses: derived.losses().to_vec(),
    };
    Ok((derived, done))
}

/// Where nothing may be written, what is wrong with the file that is there says more.
fn not_made(e: Error, fault: Option<Error>) -> Error {
    let read_only = e.kind() == ErrorKind::Denied || e.facts().get("errno").is_some_and(|n| *n == libc::EROFS);
    match fault.filter(|_| read_only) {
        Some(fault) => fault.hint(format!("it cannot be made again: {e}")).cause(e),
        None => e,
    }
}

fn make(image: &Image, options: &DeriveOptions, cutter: &mut Cutter<'_, '_>, task: &Task) -> Result<Exported> {
    let compression = options.compression();
    let mut failure = None;
    let stream = Stream { cutter, failure: &mut failure };
    let made = match (options.kind, compression) {
        (DeriveKind::Squashfs, _) => return through_a_file(image, options, stream.cutter, task),
        (DeriveKind::Erofs, Compression::None) => erofs::write(image, stream, task).map(|(_, done)| done),
        (DeriveKind::Erofs, _) => return Err(Error::invalid("erofs is written without compression")),
        (DeriveKind::Cpio, Compression::None) => cpio::write(image, stream, task).map(|(_, done)| done),
        (DeriveKind::Cpio, _) => compressed(image, stream, compression, task),
    };
    // An error of the store came as a failed write.
    made.map_err(|e| failure.unwrap_or(e))
}

fn compressed(image: &Image, stream: Stream<'_, '_, '_>, compression: Compression, task: &Task) -> Result<Exported> {
    let failed = |e| Error::io("write", "the archive", e);
    let out = BufWriter::with_capacity(1 << 20, Encoder::new(stream, compression, 0)?);
    let (out, done) = cpio::write(image, super::rows::Plain(out), task)?;
    out.0.into_inner().map_err(|e| failed(e.into_error()))?.finish().map_err(failed)?;
    Ok(done)
}

/// The program wants a file to write to.
fn through_a_file(
    image: &Image,
    options: &DeriveOptions,
    cutter: &mut Cutter<'_, '_>,
    task: &Task,
) -> Result<Exported> {
    let tmp = || std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let work = options.work.clone().unwrap_or_else(tmp);
    let file = Aside::new(&work.join(format!("cv-derive-{:016x}", clock::random_u64())))?;
    let done = squashfs::write(image, file.for_program()?, options.compression(), 0, task)?;
    copy(file.path(), cutter, task)?;
    Ok(done)
}

fn copy(path: &Path, cutter: &mut Cutter<'_, '_>, task: &Task) -> Result<()> {
    let failed = |e| Error::io("read", path.display(), e);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    task.stage("store", file.metadata().map_err(failed)?.len(), Unit::Bytes);
    let mut buffer = vec![0; 1 << 20];
    loop {
        task.check()?;
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            n => cutter.push(&buffer[..n])?,
        }
        task.advance(buffer.len() as u64);
    }
}

/// The cutter as a writer.
struct Stream<'s, 'c, 'p> {
    cutter: &'s mut Cutter<'c, 'p>,
    failure: &'s mut Option<Error>,
}

impl Stream<'_, '_, '_> {
    fn keep(&mut self, done: Result<()>) -> std::io::Result<()> {
        done.map_err(|e| {
            self.failure.get_or_insert(e);
            std::io::Error::other("the store cannot go on")
        })
    }
}

impl Write for Stream<'_, '_, '_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let done = self.cutter.push(buf);
        self.keep(done).map(|()| buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink for Stream<'_, '_, '_> {
    fn boundary(&mut self) -> std::io::Result<()> {
        let done = self.cutter.boundary();
        self.keep(done)
    }
}

/// Derives, and writes the file to `path`, which must not exist. One in the store of which a part turns out to be damaged
/// is made again.
///
/// # Errors
/// As [`derive`] and [`write_derived`].
pub fn derive_to(image: &Image, options: &DeriveOptions, path: impl AsRef<Path>, task: &Task) -> Result<Derivation> {
    let (derived, done) = derive(image, options, task)?;
    match write_derived(&derived, &path, task) {
        Err(e) if e.kind() == ErrorKind::Integrity && !done.made && image.store().note_damage(&e)? => {
            task.warn(format!("{e}; it is made again"));
            let (derived, done) = derive(image, options, task)?;
            write_derived(&derived, path, task)?;
            Ok(done)
        }
        written => written.map(|()| done),
    }
}

/// Writes a derived file to `path`, which must not exist, and which has its name only when it is whole.
///
/// # Errors
/// `Refused` when `path` exists, and as [`Derived::write_to`].
pub fn write_derived(derived: &Derived, path: impl AsRef<Path>, task: &Task) -> Result<()> {
    let path = path.as_ref();
    let aside = Aside::new(path)?;
    task.stage("write", derived.size(), Unit::Bytes);
    let mut out = aside.create()?;
    derived.write_to(&mut out, task)?;
    sync(&out, path)?;
    aside.finish()
}
