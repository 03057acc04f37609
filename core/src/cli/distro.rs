//! `cvctl distro`: the distributions that images are made from.

use super::Session;
use super::output::table;
use crate::distro::{self, AddOptions, Added, Digest, Distro, Document, Listed};
use crate::error::Result;
use crate::store::Store;
use crate::units::human;
use crate::web::{self, Url};
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Add a distribution from its ISO image, from a directory that holds its repositories, or from a mirror
    Add(Add),
    /// List the distributions
    List,
    /// Tell what is known of a distribution
    Show {
        /// The distribution
        name: String,
    },
    /// Check each package of a distribution: its checksum, and its signature where rpm is installed
    Verify {
        /// The distribution
        name: String,
        /// Threads; 0 is one for each core
        #[arg(long, default_value_t = 0, value_name = "N")]
        threads: usize,
    },
    /// Remove a distribution; what only it needs stays until it is collected
    Rm {
        /// The distribution
        name: String,
    },
}

#[derive(Args)]
pub(super) struct Add {
    /// The ISO image, the directory, or a suite of a mirror such as http://mirror.example/debian/dists/bookworm
    #[arg(value_name = "FILE.iso|DIR|URL")]
    place: PathBuf,
    /// Its name in the store; else what it calls itself, such as rocky-9.4
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A file with a key that its packages have to be signed with, in place of those that lie in it; of a mirror, its suite
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// The SHA-256 that the medium has to have, as its publisher prints it; adding is quicker then
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Of a mirror a component, such as main, which is the default
    #[arg(long = "component", value_name = "NAME")]
    components: Vec<String>,
    /// Threads that compress; 0 is one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Send it to this server, which publishes it, instead of writing into the store of --store
    #[arg(long, value_name = "URL", requires = "token_file")]
    to: Option<Url>,
    /// File with the secret of a token for distro.NAME; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "to")]
    token_file: Option<PathBuf>,
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        Verb::Add(args) => add(args, session),
        Verb::List => list(session),
        Verb::Show { name } => {
            let found = Distro::open(&session.store()?, &name)?.listed();
            session.print(&found, |w| show(w, &found))
        }
        Verb::Verify { name, threads } => verify(&name, threads, session),
        Verb::Rm { name } => {
            Distro::remove(&session.store()?, &name)?;
            session.print(&json!({ "removed": name }), |w| writeln!(w, "{name} removed"))
        }
    }
}

fn add(args: Add, session: &Session) -> Result<()> {
    let Add { place, name, keys, sha256, components, threads, to, token_file } = args;
    let sha256 = sha256.as_deref().map(Digest::sha256).transpose()?;
    let store = match (to, token_file) {
        (Some(url), Some(file)) => Store::open_to(&session.mirrors.of(url)?, &web::read_secret(&file)?)?,
        _ => session.store()?,
    };
    let options = AddOptions { name, keys, sha256, components, threads };
    let done = session.run("distro add", |task| distro::add(&store, &place, &options, task))?;
    session.print(&done, |w| {
        let Added { name, changed, files, read_bytes, stored_bytes, distribution, .. } = &done;
        let how = if *changed { "added" } else { "unchanged" };
        writeln!(w, "{name} {how}: {} {} for {}", distribution.title, distribution.version, distribution.arch)?;
        details(w, distribution)?;
        writeln!(w, "{files} files with {}, {} stored", human(*read_bytes), human(*stored_bytes))
    })
}

fn list(session: &Session) -> Result<()> {
    let found = Distro::list(&session.store()?)?;
    session.print(&json!({ "distributions": found }), |w| {
        let row = |l: &Listed| {
            let d = &l.distribution;
            let packages: u64 = d.repositories.iter().map(|r| r.packages).sum();
            let repositories = d.repositories.iter().map(|r| r.id.as_str()).collect::<Vec<_>>().join(",");
            [
                l.name.clone(),
                format!("{} {}", d.title, d.version),
                d.arch.clone(),
                repositories,
                packages.to_string(),
                human(l.size),
            ]
        };
        let rows: Vec<_> = found.iter().map(row).collect();
        table(w, ["NAME", "DISTRIBUTION", "ARCH", "REPOSITORIES", "PACKAGES", "SIZE"], &rows)
    })
}

fn show(w: &mut dyn Write, found: &Listed) -> io::Result<()> {
    let d = &found.distribution;
    writeln!(w, "{}: {} {} for {}", found.name, d.title, d.version, d.arch)?;
    writeln!(w, "added {}, image {}, {}", found.added, found.image.short(), human(found.size))?;
    details(w, d)
}

fn details(w: &mut dyn Write, d: &Document) -> io::Result<()> {
    if let Some(sha256) = &d.source.sha256 {
        let media = if d.source.media == "none" { "carries no checksum of its own" } else { d.source.media.as_str() };
        writeln!(w, "medium {}: {media}; sha256 {sha256}", d.source.volume.as_deref().unwrap_or_default())?;
    }
    if let (Some(url), Some(suite)) = (&d.source.url, &d.source.suite) {
        let release = d.source.release.as_ref().map_or_else(String::new, |r| format!(": {r}"));
        writeln!(w, "mirror {url}, suite {suite}{release}")?;
    }
    for r in &d.repositories {
        let counts = [(r.groups.len(), "groups"), (r.environments.len(), "environments"), (r.modules.len(), "modules")];
        let more: String = counts.iter().filter(|c| c.0 > 0).map(|(n, what)| format!(", {n} {what}")).collect();
        writeln!(w, "repository {}: {} packages with {}{more}", r.id, r.packages, human(r.size))?;
    }
    for k in &d.keys {
        let pinned = if k.pinned { ", pinned" } else { "" };
        writeln!(w, "key {} {}{pinned}", k.info.fingerprint, k.info.user)?;
    }
    if d.keys.is_empty() {
        writeln!(w, "no key")?;
    }
    Ok(())
}

fn verify(name: &str, threads: usize, session: &Session) -> Result<()> {
    let distro = Distro::open(&session.store()?, name)?;
    let report = session.run("distro verify", |task| distro.verify(threads, task))?;
    session.print(&report, |w| {
        for f in &report.faults {
            writeln!(w, "{}: {}", f.package.as_ref().map_or_else(|| format!("/{}", f.path), Clone::clone), f.message)?;
        }
        let (faults, packages, read) = (report.faults.len(), report.packages, human(report.bytes));
        writeln!(w, "{faults} faults; {packages} packages, {read} read; signatures {}", report.signatures)
    })?;
    report.ok()
}
