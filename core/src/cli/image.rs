//! `cvctl image`: from a tree into the store, what is there, and back.

mod archive;
#[cfg(feature = "build")]
mod build;
mod capture;
mod look;
#[cfg(feature = "build")]
mod packages;
mod update;
mod verify;

use super::Session;
use super::key::{SignArgs, TrustArgs};
use crate::error::{Error, Result};
use crate::secrets::{Class, Finding, Policy};
use crate::store::{Ref, Release};
use crate::tree::extract::ExtractOptions;
use crate::units::human;
use clap::{Args, Subcommand};
use serde_json::json;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Capture a tree as the next generation of a name
    Capture(capture::Capture),
    /// Make an image from a distribution, or from an image, with a role
    #[cfg(feature = "build")]
    Build(build::Build),
    /// Make a new version of an image: newer packages, more packages, another role
    #[cfg(feature = "build")]
    Update(build::Update),
    /// Run a program in an image and keep what it leaves as a new version
    #[cfg(feature = "build")]
    Edit(build::Edit),
    /// List the names
    List,
    /// Show an image
    Show {
        /// name, name:tag, name@GENERATION, or the first digits of an id
        #[arg(value_name = "REF")]
        image: String,
    },
    /// List the generations of a name, newest first
    Log {
        /// The name
        name: String,
    },
    /// What changed from one image to another, or differs in a tree
    Diff(look::Diff),
    /// List the packages of an image, of rpm and of dpkg
    #[cfg(feature = "build")]
    Packages(packages::Packages),
    /// Print a bill of materials of an image, from its packages
    #[cfg(feature = "build")]
    Sbom(packages::Sbom),
    /// Point a tag to an image
    Tag {
        /// The image
        #[arg(value_name = "REF")]
        image: String,
        /// The tag
        #[arg(value_name = "NAME:TAG")]
        tag: String,
    },
    /// Make a new generation that points back to an older image
    Rollback {
        /// The name
        name: String,
        /// The image
        #[arg(long, value_name = "REF")]
        to: String,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Remove a tag, a generation or a whole name; the data stays until it is collected
    Rm {
        /// name, name:tag or name@GENERATION
        #[arg(value_name = "REF")]
        image: String,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// List a directory of an image
    Ls(look::Ls),
    /// Print a file of an image
    Cat {
        /// The image
        #[arg(value_name = "REF")]
        image: String,
        /// The file
        path: OsString,
    },
    /// Extract an image into an empty directory, or update the tree in one
    Extract(Extract),
    /// Verify who made an image, and read all of it
    Verify(verify::Verify),
    /// Add a signature to a generation that is there; verify it first
    Sign(verify::Sign),
    /// Make an image from a tar archive, an OCI image or a squashfs; what it is is told by its content
    Import(archive::Import),
    /// Write an image as tar, OCI, squashfs, erofs or cpio
    Export(archive::Export),
    /// Make a squashfs, erofs or cpio of an image once, and keep it in the store
    Derive(archive::Derive),
}

/// What is done about secrets.
#[derive(Args)]
struct SecretArgs {
    /// Publish nothing when a secret is found: keys, tokens, hashes of passwords
    #[arg(long)]
    forbid_secrets: bool,
    /// Secrets in these files are wanted, as in .gitignore
    #[arg(long, value_name = "PATTERN")]
    allow_secret: Vec<String>,
}

impl SecretArgs {
    fn policy(&self) -> Policy {
        Policy { forbid: self.forbid_secrets, allow: self.allow_secret.clone() }
    }
}

/// One line about what was found.
fn tell_secrets(w: &mut dyn Write, found: &[Finding], count: u64) -> io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let of = |class, allowed| found.iter().filter(|f| f.class == class && f.allowed == allowed).count() as u64;
    let (notes, allowed) = (of(Class::Note, false), of(Class::Secret, true) + of(Class::Note, true));
    let secrets = count - notes - allowed;
    writeln!(w, "secrets: {secrets} found, {allowed} more that are wanted, {notes} encrypted")
}

#[derive(Args)]
pub(super) struct Extract {
    /// The image
    #[arg(value_name = "REF")]
    image: String,
    /// The directory, which is made
    dir: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
    /// Update the tree that is there: only what differs is written
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    how: update::How,
    /// Read everything back and compare
    #[arg(long)]
    verify: bool,
    /// Go on although the filesystem cannot hold everything
    #[arg(long)]
    accept_loss: bool,
    /// Do not wait until everything is on the medium: a power cut soon after may leave files without content
    #[arg(long)]
    no_sync: bool,
    /// Threads; 0 is one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        Verb::Capture(args) => capture::capture(&args, session),
        #[cfg(feature = "build")]
        Verb::Build(args) => build::build(&args, session),
        #[cfg(feature = "build")]
        Verb::Update(args) => build::update(&args, session),
        #[cfg(feature = "build")]
        Verb::Edit(args) => build::edit(&args, session),
        Verb::List => look::list(session),
        Verb::Show { image } => look::show(&image, session),
        Verb::Import(args) => archive::import(&args, session),
        Verb::Export(args) => archive::export(&args, session),
        Verb::Derive(args) => archive::derive(&args, session),
        Verb::Log { name } => look::log(&name, session),
        Verb::Diff(args) => look::diff(&args, session),
        #[cfg(feature = "build")]
        Verb::Packages(args) => packages::packages(&args, session),
        #[cfg(feature = "build")]
        Verb::Sbom(args) => packages::sbom(&args, session),
        Verb::Tag { image, tag } => set_tag(&image, &tag, session),
        Verb::Rollback { name, to, sign } => {
            let release = sign.store(session)?.rollback(&name, &to)?;
            session.print(&release, |w| writeln!(w, "{}", describe(&release)))
        }
        Verb::Rm { image, sign } => {
            sign.store(session)?.remove(&image)?;
            session.print(&json!({ "removed": image }), |_| Ok(()))
        }
        Verb::Ls(args) => look::ls(&args, session),
        Verb::Cat { image, path } => look::cat(&image, &path, session),
        Verb::Extract(args) => extract(&args, session),
        Verb::Verify(args) => verify::verify(&args, session),
        Verb::Sign(args) => verify::sign(&args, session),
    }
}

/// A generation in one line.
fn describe(r: &Release) -> String {
    let image = r.image.map_or_else(|| "removed".to_owned(), |i| i.to_string());
    format!("{}@{} {image}", r.name, r.generation)
}

fn set_tag(image: &str, tag: &str, session: &Session) -> Result<()> {
    let Ref::Tag(name, tag) = Ref::parse(tag)? else {
        return Err(Error::invalid(format!("\"{tag}\" is not a tag")).hint("a tag is written NAME:TAG"));
    };
    let store = session.store()?;
    store.tag(image, &name, &tag)?;
    let generation = store.refs().tag(&name, &tag)?;
    let value = json!({ "name": name, "tag": tag, "generation": generation });
    session.print(&value, |w| writeln!(w, "{name}:{tag} is {name}@{}", generation.unwrap_or(0)))
}

fn extract(args: &Extract, session: &Session) -> Result<()> {
    if args.update {
        return update::update(args, session);
    }
    let image = args.trust.store(session)?.image(&args.image)?;
    let options = ExtractOptions {
        verify: args.verify,
        accept_loss: args.accept_loss,
        threads: args.threads,
        no_sync: args.no_sync,
    };
    let done = session.run("image extract", |task| image.extract(&args.dir, &options, task))?;
    session.print(&done, |w| {
        for loss in &done.losses {
            writeln!(w, "lost: {} ({} entries, such as {})", loss.feature, loss.count, loss.example)?;
        }
        let verified = if done.verified { ", verified" } else { "" };
        writeln!(w, "{} entries, {}{verified}", done.entries, human(done.bytes))
    })
}
