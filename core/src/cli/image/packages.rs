//! `cvctl image packages`, `sbom` and `diff --packages`: what an image is made of.

use super::look::{Diff, means_directory};
use crate::build::packages::{Difference, Package};
use crate::build::sbom::Format;
use crate::cli::Session;
use crate::cli::key::TrustArgs;
use crate::cli::output::{self, table};
use crate::error::{Error, Result};
use crate::shown;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct Packages {
    /// The image
    #[arg(value_name = "REF")]
    image: String,
    #[command(flatten)]
    trust: TrustArgs,
}

#[derive(Args)]
pub(crate) struct Sbom {
    /// The image
    #[arg(value_name = "REF")]
    image: String,
    #[command(flatten)]
    trust: TrustArgs,
    /// Form of the document
    #[arg(long, value_enum)]
    format: Form,
    /// Write it into this file, which must not exist, instead of printing it
    #[arg(long = "output", value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// CycloneDX 1.5, JSON
    Cyclonedx,
    /// SPDX 2.3, JSON
    Spdx,
}

pub(super) fn packages(args: &Packages, session: &Session) -> Result<()> {
    let image = args.trust.store(session)?.image(&args.image)?;
    let packages = session.run("image packages", |task| image.packages(task))?;
    session.print(&json!({ "image": image.id(), "packages": packages }), |w| {
        let rows: Vec<_> = packages.iter().map(|p| [p.name.clone(), p.evr(), p.arch.clone()]).collect();
        table(w, ["NAME", "VERSION", "ARCH"], &rows)
    })
}

/// The document comes as it is, with `-o json` as well: it is JSON.
pub(super) fn sbom(args: &Sbom, session: &Session) -> Result<()> {
    let (format, word) = match args.format {
        Form::Cyclonedx => (Format::CycloneDx, "cyclonedx"),
        Form::Spdx => (Format::Spdx, "spdx"),
    };
    let image = args.trust.store(session)?.image(&args.image)?;
    let document = session.run("image sbom", |task| image.sbom(format, task))?;
    let Some(file) = &args.file else { return output::stdout(|w| w.write_all(&document)) };
    write(file, &document)?;
    let name = file.to_string_lossy();
    session.print(&json!({ "image": image.id(), "format": word, "output": name, "size": document.len() }), |w| {
        writeln!(w, "{}", shown::line(&name))
    })
}

fn write(file: &Path, document: &[u8]) -> Result<()> {
    let mut out = File::create_new(file).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => {
            Error::refused(format!("{} exists already", file.display())).hint("give another name")
        }
        _ => Error::io("create", file.display(), e),
    })?;
    out.write_all(document).map_err(|e| Error::io("write", file.display(), e))
}

pub(super) fn diff(args: &Diff, session: &Session) -> Result<()> {
    let to = args.to.to_str().filter(|_| !means_directory(&args.to));
    let to = to.ok_or_else(|| Error::invalid("--packages is for comparing two images"))?;
    let store = args.trust.store(session)?;
    let (old, new) = (store.image(&args.from)?, store.image(to)?);
    let found = session.run("image diff", |task| old.diff_packages(&new, task))?;
    session.print(&json!({ "from": old.id(), "to": new.id(), "packages": found }), |w| {
        lines(&found).iter().try_for_each(|line| writeln!(w, "{}", shown::line(line)))
    })
}

/// A line for each package, sorted as the packages are.
fn lines(found: &Difference) -> Vec<String> {
    let key = |p: &Package| (p.name.clone(), p.arch.clone());
    let mut lines = Vec::new();
    for (sign, list) in [('+', &found.added), ('-', &found.removed)] {
        lines.extend(list.iter().map(|p| (key(p), format!("{sign} {p}"))));
    }
    for (old, new) in &found.changed {
        let (before, after) = (old.evr(), new.evr());
        // Its version stayed; it was built once more.
        let again = if before == after { " (another build)" } else { "" };
        lines.push((key(new), format!("! {} {before} -> {after}{again}", new.name)));
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}
