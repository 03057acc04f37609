//! `cvctl image import` and `export`: tar archives.

use super::super::key::{SignArgs, TrustArgs};
use super::super::{Session, output};
use crate::convert::tar::{
    Compression, ExportOptions, Exported, ImportOptions, export as write_tar, import as read_tar,
};
use crate::error::{Error, Result};
use clap::{Args, ValueEnum};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(in crate::cli) struct Import {
    /// The archive; `-` is stdin
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
}

#[derive(Args)]
pub(in crate::cli) struct Export {
    /// The image
    #[arg(value_name = "REF")]
    image: String,
    #[command(flatten)]
    trust: TrustArgs,
    /// Form of the archive
    #[arg(long, value_enum)]
    format: Form,
    /// The file, which must not exist; .zst and .gz are compressed; `-` is stdout
    #[arg(long = "output", value_name = "FILE")]
    file: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// POSIX tar with extended headers
    Tar,
}

pub(in crate::cli) fn import(args: &Import, session: &Session) -> Result<()> {
    // As export writes to `-`.
    let name = if args.file.as_os_str() == "-" { Path::new("/dev/stdin") } else { &args.file };
    let file = File::open(name).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no archive {}", args.file.display())),
        _ => Error::io("open", args.file.display(), e),
    })?;
    let options = ImportOptions {
        tag: args.tag.clone(),
        expect_parent: args.expect_parent,
        secrets: args.secrets.policy(),
        ..ImportOptions::default()
    };
    let store = args.sign.store(session)?;
    let done = session.run("image import", |task| read_tar(&store, file, &args.name, &options, task))?;
    session.print(&done, |w| {
        if !done.changed {
            return writeln!(w, "{}: nothing changed since generation {}", done.name, done.generation);
        }
        writeln!(w, "{}@{}: {} entries, image {}", done.name, done.generation, done.entries, done.image)?;
        super::tell_secrets(w, &done.secrets, done.secrets_count)
    })
}

pub(in crate::cli) fn export(args: &Export, session: &Session) -> Result<()> {
    let Form::Tar = args.format;
    let compression = match args.file.extension().and_then(|e| e.to_str()) {
        Some("zst") => Compression::Zstd,
        Some("gz" | "tgz") => Compression::Gzip,
        _ => Compression::None,
    };
    let image = args.trust.store(session)?.image(&args.image)?;
    let options = ExportOptions { compression, ..ExportOptions::default() };
    if args.file.as_os_str() == "-" {
        let done = session.run("image export", |task| {
            let (mut out, done) = write_tar(&image, std::io::stdout().lock(), &options, task)?;
            out.flush().map_err(|e| Error::io("write", "stdout", e))?;
            Ok(done)
        })?;
        tell_long_paths(&done, session);
        return Ok(());
    }
    let done = session.run("image export", |task| {
        // Written aside: an archive that was cut off never has the name of a whole one.
        let aside = Aside::new(&args.file)?;
        let (file, done) = write_tar(&image, aside.create()?, &options, task)?;
        file.sync_all().map_err(|e| Error::io("sync", args.file.display(), e))?;
        aside.finish(&args.file)?;
        Ok(done)
    })?;
    tell_long_paths(&done, session);
    session.print(&done, |w| writeln!(w, "{}: {} entries", args.file.display(), done.entries))
}

fn tell_long_paths(done: &Exported, session: &Session) {
    if done.long_paths_count > 0 && !session.quiet {
        output::talk(&format!("cvctl: {} paths are too long for GNU tar to extract", done.long_paths_count));
    }
}

/// A temporary file beside the target, removed unless it gets its name.
struct Aside(PathBuf);

impl Aside {
    fn new(target: &Path) -> Result<Self> {
        if target.symlink_metadata().is_ok() {
            return Err(Error::refused(format!("{} exists already", target.display())).hint("give another name"));
        }
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".cv-{}", std::process::id()));
        Ok(Self(name.into()))
    }

    fn create(&self) -> Result<File> {
        File::create_new(&self.0).map_err(|e| Error::io("create", self.0.display(), e))
    }

    fn finish(&self, target: &Path) -> Result<()> {
        std::fs::hard_link(&self.0, target).map_err(|e| Error::io("name", target.display(), e))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
