//! `cvctl image import`, `export` and `derive`: images from and to other formats.

use super::super::key::{SignArgs, TrustArgs};
use super::super::{Session, output};
use crate::convert::tar::Compression;
use crate::convert::{
    DeriveKind, DeriveOptions, ExportOptions, Exported, Format, ImportOptions, derive as derive_file, derive_to,
    export as write_file, export_to, import as read_file,
};
use crate::error::{Error, Result};
use crate::image::Loss;
use crate::sign::Signer;
use crate::units::human;
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(in crate::cli) struct Import {
    /// A tar archive, an OCI layout (a directory or archive), an archive of docker save, or a squashfs; `-` is stdin
    #[arg(value_name = "FILE|DIR")]
    file: PathBuf,
    /// Name of the image
    #[arg(long)]
    name: String,
    /// Tag for the new generation
    #[arg(long)]
    tag: Option<String>,
    /// Fail unless this is the newest generation (0: the name is new)
    #[arg(long, value_name = "GENERATION")]
    expect_parent: Option<u64>,
    #[command(flatten)]
    sign: SignArgs,
    #[command(flatten)]
    secrets: super::SecretArgs,
    /// Write what was done into this file as JSON, with all secrets, also when they are refused
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Of an OCI layout with several images: the name of one
    #[arg(long = "ref", value_name = "NAME")]
    reference: Option<String>,
    /// Of an OCI layout for several machines: which, such as linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
}

#[derive(Args)]
pub(in crate::cli) struct Export {
    /// The image
    #[arg(value_name = "REF")]
    image: String,
    #[command(flatten)]
    trust: TrustArgs,
    /// Form of the file
    #[arg(long, value_enum)]
    format: Form,
    /// The file, or for oci the directory, which must not exist; `-` is stdout, for tar, erofs and cpio
    #[arg(long = "output", value_name = "PATH")]
    file: PathBuf,
    /// Compression; by default tar and cpio as the name ends (.zst, .gz), oci and squashfs with zstd
    #[arg(long, value_enum)]
    compression: Option<Pressed>,
    /// Of oci: the name of the image in the layout; by default the name it has here
    #[arg(long = "ref", value_name = "NAME")]
    reference: Option<String>,
}

#[derive(Args)]
pub(in crate::cli) struct Derive {
    /// The image
    #[arg(value_name = "REF")]
    image: String,
    #[command(flatten)]
    trust: TrustArgs,
    /// Sign the file in the store with this private key
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// What to make
    #[arg(long, value_enum)]
    kind: Kind,
    /// Compression; by default zstd, and erofs none
    #[arg(long, value_enum)]
    compression: Option<Pressed>,
    /// Write it to a file as well, which must not exist
    #[arg(long = "output", value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// POSIX tar with extended headers
    Tar,
    /// OCI image layout, a directory
    Oci,
    /// OCI image layout in a tar archive
    OciArchive,
    /// squashfs; without ACLs
    Squashfs,
    /// erofs, not compressed
    Erofs,
    /// cpio newc, as for an initramfs; without attributes
    Cpio,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Compressed, read-only; without ACLs
    Squashfs,
    /// Read-only, with everything but flags; not compressed
    Erofs,
    /// An initramfs
    Cpio,
}

#[derive(Clone, Copy, ValueEnum)]
enum Pressed {
    /// zstd
    Zstd,
    /// gzip
    Gzip,
    /// Not at all
    None,
}

impl From<Pressed> for Compression {
    fn from(p: Pressed) -> Self {
        match p {
            Pressed::Zstd => Self::Zstd,
            Pressed::Gzip => Self::Gzip,
            Pressed::None => Self::None,
        }
    }
}

pub(in crate::cli) fn import(args: &Import, session: &Session) -> Result<()> {
    // As export writes to `-`.
    let file = if args.file.as_os_str() == "-" { Path::new("/dev/stdin") } else { &args.file };
    let options = ImportOptions {
        tag: args.tag.clone(),
        expect_parent: args.expect_parent,
        reference: args.reference.clone(),
        secrets: args.secrets.policy(),
        report: args.report.clone(),
        platform: args.platform.clone(),
        ..ImportOptions::default()
    };
    let store = args.sign.store(session)?;
    let done = session.run("image import", |task| read_file(&store, file, &args.name, &options, task))?;
    session.print(&done, |w| {
        if !done.changed {
            return writeln!(w, "{}: nothing changed since generation {}", done.name, done.generation);
        }
        writeln!(w, "{}@{}: {} entries, image {}", done.name, done.generation, done.entries, done.image)?;
        super::tell_secrets(w, &done.secrets, done.secrets_count)
    })
}

pub(in crate::cli) fn export(args: &Export, session: &Session) -> Result<()> {
    let format = match args.format {
        Form::Tar => Format::Tar,
        Form::Oci => Format::Oci,
        Form::OciArchive => Format::OciArchive,
        Form::Squashfs => Format::Squashfs,
        Form::Erofs => Format::Erofs,
        Form::Cpio => Format::Cpio,
    };
    let image = args.trust.store(session)?.image(&args.image)?;
    let options = ExportOptions {
        format,
        compression: args.compression.map(Into::into),
        reference: args.reference.clone(),
        created: created()?,
        ..ExportOptions::default()
    };
    if args.file.as_os_str() == "-" {
        let done = session.run("image export", |task| {
            let (mut out, done) = export_to(&image, std::io::stdout().lock(), &options, task)?;
            out.flush().map_err(|e| Error::io("write", "stdout", e))?;
            Ok(done)
        })?;
        if !session.quiet {
            tell(&done, &mut |line| {
                output::talk(&format!("cvctl: {line}"));
                Ok(())
            })
            .unwrap_or_default();
        }
        return Ok(());
    }
    let done = session.run("image export", |task| write_file(&image, &args.file, &options, task))?;
    session.print(&done, |w| {
        tell(&done, &mut |line| writeln!(w, "{line}"))?;
        writeln!(w, "{}: {} entries", args.file.display(), done.entries)
    })
}

/// When an image of containers was made, where builds are told that by the environment.
fn created() -> Result<Option<i64>> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = text.to_str().and_then(|t| t.parse().ok());
    seconds.map(Some).ok_or_else(|| Error::invalid("SOURCE_DATE_EPOCH is not a number of seconds"))
}

/// Says what does not arrive.
fn tell(done: &Exported, say: &mut dyn FnMut(&str) -> std::io::Result<()>) -> std::io::Result<()> {
    done.losses.iter().try_for_each(|l| say(&lost(l)))?;
    match done.long_paths_count {
        0 => Ok(()),
        n => say(&format!("{n} paths are too long for most programs to extract")),
    }
}

fn lost(l: &Loss) -> String {
    format!("lost: {} ({} entries, such as {})", l.feature, l.count, l.example)
}

pub(in crate::cli) fn derive(args: &Derive, session: &Session) -> Result<()> {
    let kind = match args.kind {
        Kind::Squashfs => DeriveKind::Squashfs,
        Kind::Erofs => DeriveKind::Erofs,
        Kind::Cpio => DeriveKind::Cpio,
    };
    let signer = args.sign_key.as_ref().map(Signer::read).transpose()?;
    let store = args.trust.store(session)?;
    let image = signer.map_or(store.clone(), |s| store.signing(s)).image(&args.image)?;
    let options = DeriveOptions { compression: args.compression.map(Into::into), ..DeriveOptions::new(kind) };
    let done = session.run("image derive", |task| match &args.file {
        Some(file) => derive_to(&image, &options, file, task),
        None => derive_file(&image, &options, task).map(|(_, done)| done),
    })?;
    session.print(&done, |w| {
        done.losses.iter().try_for_each(|l| writeln!(w, "{}", lost(l)))?;
        let when = if done.made { "made" } else { "was there" };
        writeln!(w, "{}-{} of {}: {}, {when}", done.kind, done.params, done.image.short(), human(done.size))
    })
}
