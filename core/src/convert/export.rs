//! An image becomes a file or directory of another format.

use super::aside::Aside;
use super::rows::{PATH_MAX, Plain};
use super::tar::Compression;
use super::{cpio, erofs, oci, squashfs, tar};
use crate::error::{Error, Result};
use crate::image::Loss;
use crate::job::Task;
use crate::store::Image;
use crate::sys::confined::show;
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Most long paths that the report names; it counts them all.
const REPORT_LIMIT: usize = 10_000;

/// A format that an image can be written in.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// POSIX tar with extended headers.
    #[default]
    Tar,
    /// An OCI image layout: a directory.
    Oci,
    /// An OCI image layout in a tar archive.
    OciArchive,
    /// squashfs, by `tar2sqfs`.
    Squashfs,
    /// erofs, not compressed.
    Erofs,
    /// cpio as `newc`, as a kernel takes it for an initramfs.
    Cpio,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [Self::Tar, Self::Oci, Self::OciArchive, Self::Squashfs, Self::Erofs, Self::Cpio];

    /// The name in every skin.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Cpio => "cpio",
        }
    }

    /// The format of this name.
    ///
    /// # Errors
    /// `Invalid` when there is none.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name).ok_or_else(|| {
            let all = Self::ALL.map(Self::name).join(", ");
            Error::invalid(format!("\"{name}\" is no format")).hint(format!("one of {all}"))
        })
    }

    /// Whether it can be written from front to end, into a pipe.
    #[must_use]
    pub const fn streams(self) -> bool {
        matches!(self, Self::Tar | Self::Erofs | Self::Cpio)
    }
}

/// How to export.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// The format.
    pub format: Format,
    /// How to compress; by default tar and cpio as the name ends (`.zst`, `.gz`), OCI and squashfs with zstd.
    pub compression: Option<Compression>,
    /// Level of the compression; 0 is the usual one.
    pub level: i32,
    /// Of OCI: the name of the image in the layout; by default that through which it was opened.
    pub reference: Option<String>,
    /// Of OCI: when it was made, in seconds since the epoch; by default the newest time of the tree.
    pub created: Option<i64>,
}

/// What an export did.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// The format.
    pub format: Format,
    /// Entries written.
    pub entries: u64,
    /// Bytes of file content written, without holes.
    pub bytes: u64,
    /// What the format cannot hold.
    pub losses: Vec<Loss>,
    /// Paths beyond `PATH_MAX`, which few programs extract; at most 10,000 of them.
    pub long_paths: Vec<String>,
    /// How many there are in all.
    pub long_paths_count: u64,
    /// Of OCI: the digest of the manifest.
    pub digest: Option<String>,
}

impl Exported {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            entries: 0,
            bytes: 0,
            losses: Vec::new(),
            long_paths: Vec::new(),
            long_paths_count: 0,
            digest: None,
        }
    }

    /// Counts an entry.
    pub(super) fn entry(&mut self, path: &[u8]) {
        self.entries += 1;
        if path.len() > PATH_MAX {
            self.long_paths_count += 1;
            if self.long_paths.len() < REPORT_LIMIT {
                self.long_paths.push(show(path).into_owned());
            }
        }
    }

    /// Warns of everything that does not arrive.
    pub(super) fn warn(&self, task: &Task) {
        let name = self.format.name();
        for l in &self.losses {
            task.warn(format!("{name} does not hold {}: {} entries, such as {}", l.feature, l.count, l.example));
        }
        if self.long_paths_count > 0 {
            task.warn(format!("{} paths are over {PATH_MAX} bytes: few programs extract them", self.long_paths_count));
        }
    }
}

/// Writes `image` to `path`, which must not exist: a directory for [`Format::Oci`], else a file. It has its name only
/// when it is whole. The same image and options give the same bytes. What the format cannot hold is in the report.
///
/// # Errors
/// `Refused` when `path` exists; `Unsupported` for what makes the whole useless, such as a file of more than 4 GiB in
/// cpio, or when a program is missing; `Integrity` when the image is damaged; `Cancelled`.
pub fn export(image: &Image, path: impl AsRef<Path>, options: &ExportOptions, task: &Task) -> Result<Exported> {
    let path = path.as_ref();
    let aside = Aside::new(path)?;
    let done = match options.format {
        Format::Oci => oci::export::directory(image, aside.create_directory()?, options, task)?,
        Format::OciArchive => oci::export::archive(image, &aside, options, task)?,
        Format::Squashfs => squashfs::export(image, &aside, options, task)?,
        Format::Tar | Format::Erofs | Format::Cpio => {
            let compression = options.compression.or_else(|| by_name(path));
            let (file, done) = stream(image, aside.create()?, options, compression, task)?;
            sync(&file, path)?;
            done
        }
    };
    aside.finish()?;
    done.warn(task);
    Ok(done)
}

/// Writes `image` to `out`, which is given back: what can be written from front to end, without compression unless one
/// is asked for.
///
/// # Errors
/// As [`export`]; `Invalid` for a format that needs a file.
pub fn export_to<W: Write>(image: &Image, out: W, options: &ExportOptions, task: &Task) -> Result<(W, Exported)> {
    let (out, done) = stream(image, out, options, options.compression, task)?;
    done.warn(task);
    Ok((out, done))
}

fn stream<W: Write>(
    image: &Image,
    out: W,
    options: &ExportOptions,
    compression: Option<Compression>,
    task: &Task,
) -> Result<(W, Exported)> {
    let compression = compression.unwrap_or(Compression::None);
    match options.format {
        Format::Tar => tar::export(image, out, &tar::ExportOptions { compression, level: options.level }, task),
        Format::Cpio => {
            let failed = |e| Error::io("write", "the archive", e);
            let out = BufWriter::with_capacity(1 << 20, tar::Encoder::new(out, compression, options.level)?);
            let (out, done) = cpio::write(image, Plain(out), task)?;
            let encoder = out.0.into_inner().map_err(|e| failed(e.into_error()))?;
            let mut out = encoder.finish().map_err(failed)?;
            out.flush().map_err(failed)?;
            Ok((out, done))
        }
        Format::Erofs if compression == Compression::None => {
            let out = BufWriter::with_capacity(1 << 20, out);
            let (out, done) = erofs::write(image, Plain(out), task)?;
            let out = out.0.into_inner().map_err(|e| Error::io("write", "the image", e.into_error()))?;
            Ok((out, done))
        }
        Format::Erofs => Err(Error::invalid("erofs is written without compression")
            .hint("a filesystem in a compressed file could not be mounted; squashfs is compressed")),
        other => Err(Error::invalid(format!("{} needs a file, not a pipe", other.name()))),
    }
}

fn by_name(path: &Path) -> Option<Compression> {
    match path.extension()?.to_str()? {
        "zst" => Some(Compression::Zstd),
        "gz" | "tgz" => Some(Compression::Gzip),
        _ => None,
    }
}

pub(super) fn sync(file: &File, path: &Path) -> Result<()> {
    file.sync_all().map_err(|e| Error::io("sync", path.display(), e))
}
