//! `cvctl image verify` and `sign`: who made it, and whether it is whole.

use super::Session;
use crate::cli::key::TrustArgs;
use crate::error::Result;
use crate::sign::Signer;
use crate::units::human;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
#[command(override_usage = "cvctl image verify [OPTIONS] <REF> [--key <FILE.pub>...]")]
pub(crate) struct Verify {
    /// The image
    #[arg(value_name = "REF")]
    image: String,
    #[command(flatten)]
    trust: TrustArgs,
    /// Threads; 0 is one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
}

#[derive(Args)]
pub(crate) struct Sign {
    /// The generation: name, name:tag or name@GENERATION
    #[arg(value_name = "REF")]
    image: String,
    /// The private key
    #[arg(long, value_name = "FILE")]
    sign_key: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
}

pub(super) fn verify(args: &Verify, session: &Session) -> Result<()> {
    let image = args.trust.store(session)?.image(&args.image)?;
    let done = session.run("image verify", |task| image.verify(args.threads, task))?;
    session.print(&done, |w| {
        match (&done.name, done.generation) {
            (Some(name), Some(generation)) => writeln!(w, "{name}@{generation} {}", done.image)?,
            _ => writeln!(w, "{}", done.image)?,
        }
        match done.key {
            Some(key) => writeln!(w, "signed by key {key}")?,
            None => writeln!(w, "no key was given: who made it was not verified")?,
        }
        let (chunks, bytes, blocks) = (done.chunks, human(done.bytes), done.blocks);
        writeln!(w, "{} entries, {chunks} chunks with {bytes} in {blocks} blocks, all as they should be", done.entries)
    })
}

pub(super) fn sign(args: &Sign, session: &Session) -> Result<()> {
    let signer = Signer::read(&args.sign_key)?;
    let key = signer.public().id();
    let release = args.trust.store(session)?.signing(signer).sign(&args.image)?;
    let mut value = serde_json::to_value(&release).unwrap_or_default();
    value["key"] = key.to_string().into();
    session.print(&value, |w| writeln!(w, "{} is signed by key {key}", super::describe(&release)))
}
