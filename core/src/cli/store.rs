//! `cvctl store`: making and checking.

use super::Session;
use crate::error::Result;
use crate::store::Store;
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

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
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        Verb::Init { place } => {
            let store = Store::init(&place)?;
            let value = json!({ "path": place.to_string_lossy(), "store": store.uuid() });
            session.print(&value, |w| writeln!(w, "store {} in {}", store.uuid(), place.display()))
        }
        Verb::Check { read_data } => check(read_data, session),
    }
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
