//! `cvctl store`: making, checking, collecting, copying, repairing.

use super::Session;
use crate::error::Result;
use crate::store::collect::CollectOptions;
use crate::store::{Store, SyncOptions};
use crate::units::human;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make a store in a new or empty directory, or beneath a prefix in S3
    Init {
        /// The directory, or s3://BUCKET/PREFIX
        #[arg(value_name = "STORE")]
        place: PathBuf,
    },
    /// Check that everything is there and whole
    Check {
        /// Read, decompress and hash all data as well
        #[arg(long)]
        read_data: bool,
    },
    /// Find what no image needs, and delete what was found to be so a week ago
    Gc(Gc),
    /// Bring what another store lacks of some names, or of all, into it
    Sync {
        /// The store that becomes a copy
        #[arg(long, value_name = "STORE")]
        to: PathBuf,
        /// The names; without one: all
        names: Vec<String>,
        /// Threads; 0 is one for each core
        #[arg(long, default_value_t = 0, value_name = "N")]
        threads: usize,
    },
    /// Make a directory an exact copy, object by object: a mirror, or what goes to a site without a network
    Mirror {
        /// The directory: empty, or the copy already
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Heal what is damaged or lost from another store
    Repair {
        /// The store that has it
        #[arg(long, value_name = "STORE")]
        from: PathBuf,
    },
}

#[derive(Args)]
pub(super) struct Gc {
    /// Keep only the N newest generations of each name, and those with a tag
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_last: Option<u64>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// How long what nobody needs stays, for those who are just reading it
    #[arg(long, default_value = "7d", value_name = "TIME", value_parser = super::time)]
    grace: Duration,
    /// Threads; 0 is one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        Verb::Init { place } => {
            let store = Store::init(&place)?;
            let value = json!({ "path": place.to_string_lossy(), "store": store.uuid() });
            session.print(&value, |w| writeln!(w, "store {} in {}", store.uuid(), place.display()))
        }
        Verb::Check { read_data } => check(read_data, session),
        Verb::Gc(args) => gc(&args, session),
        Verb::Sync { to, names, threads } => {
            sync(&to, &SyncOptions { names, threads, ..SyncOptions::default() }, session)
        }
        Verb::Mirror { to } => mirror(&to, session),
        Verb::Repair { from } => repair(&from, session),
    }
}

fn sync(to: &Path, options: &SyncOptions, session: &Session) -> Result<()> {
    let (store, to) = (session.store()?, Store::open(to)?);
    let done = session.run("store sync", |task| store.sync(&to, options, task))?;
    session.print(&done, |w| {
        done.generations.iter().try_for_each(|g| writeln!(w, "{g}"))?;
        done.tags.iter().try_for_each(|t| writeln!(w, "{t}"))?;
        let (read, stored) = (human(done.read_bytes), human(done.stored_bytes));
        writeln!(
            w,
            "{} names, {} images, {} chunks; {read} read, {stored} stored",
            done.names, done.images, done.chunks
        )
    })
}

fn mirror(to: &Path, session: &Session) -> Result<()> {
    let store = session.store()?;
    let done = session.run("store mirror", |task| store.mirror(to, task))?;
    session.print(&done, |w| {
        let bytes = human(done.bytes);
        writeln!(w, "{} objects, {} packs, {bytes}; {} removed", done.objects, done.packs, done.removed)
    })
}

fn repair(from: &Path, session: &Session) -> Result<()> {
    let (store, from) = (session.store_to_repair()?, Store::open(from)?);
    let done = session.run("store repair", |task| store.repair(&from, task))?;
    session.print(&done, |w| {
        done.healed.iter().try_for_each(|h| writeln!(w, "healed {h}"))?;
        done.removed.iter().try_for_each(|r| writeln!(w, "removed {r}"))?;
        done.faults.iter().try_for_each(|f| writeln!(w, "{}: {}", f.object, f.message))?;
        let stored = human(done.stored_bytes);
        writeln!(
            w,
            "{} faults found, {} left; {} chunks fetched, {stored} stored",
            done.found,
            done.faults.len(),
            done.chunks
        )
    })?;
    done.ok()
}

fn gc(args: &Gc, session: &Session) -> Result<()> {
    let (keep_last, grace, dry_run, threads) = (args.keep_last, args.grace, args.dry_run, args.threads);
    let options = CollectOptions { keep_last, grace, dry_run, threads, ..CollectOptions::default() };
    let store = session.store()?;
    let done = session.run("store gc", |task| store.collect(&options, task))?;
    session.print(&done, |w| {
        let would = if done.dry_run { "would be " } else { "" };
        done.removed.iter().try_for_each(|g| writeln!(w, "{g} {would}removed"))?;
        let (deleted, found, waiting) = (human(done.deleted_bytes), human(done.found_bytes), human(done.waiting_bytes));
        writeln!(w, "{} objects {would}deleted, with {deleted}", done.deleted)?;
        writeln!(
            w,
            "{} found that nobody needs, with {found}; {} wait since earlier, with {waiting}",
            done.found, done.waiting
        )?;
        if done.repacked > 0 {
            writeln!(w, "{} packs {would}stored anew as {}", done.repacked, human(done.repacked_bytes))?;
        }
        done.held_by.iter().try_for_each(|h| writeln!(w, "held up by {h}"))?;
        done.notes.iter().try_for_each(|n| writeln!(w, "note: {n}"))?;
        writeln!(w, "{} images, {} packs with {}", done.images, done.packs, human(done.packs_bytes))
    })
}

fn check(read_data: bool, session: &Session) -> Result<()> {
    let store = session.store()?;
    let report = session.run("store check", |task| store.check(read_data, task))?;
    session.print(&report, |w| {
        for fault in &report.faults {
            writeln!(w, "{}: {}", fault.object, fault.message)?;
            fault.images.iter().try_for_each(|i| writeln!(w, "  touches image {i}"))?;
        }
        let read = if read_data { format!(", {} blocks read", report.blocks) } else { String::new() };
        let (images, releases, packs) = (report.images, report.releases, report.packs);
        writeln!(w, "{} faults; {images} images, {releases} releases, {packs} packs{read}", report.faults.len())
    })?;
    report.ok()
}
