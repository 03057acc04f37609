//! `cvctl key`, and the arguments that name keys: `--sign-key` where a generation is made, `--key` where one is used.

use super::Session;
use crate::error::Result;
use crate::sign::{self, Signer};
use crate::store::{Store, Trust};
use crate::sys::state;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make a key to sign with: FILE, which only its owner may read, and FILE.pub for everybody
    Generate {
        /// The file, which must not exist
        #[arg(long = "output", value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    let Verb::Generate { file } = verb;
    let id = sign::generate(&file)?.id();
    let name = file.to_string_lossy();
    let value = json!({ "key": id, "private": name, "public": format!("{name}.pub") });
    session.print(&value, |w| writeln!(w, "key {id} in {name} and {name}.pub"))
}

/// Who signs what is made.
#[derive(Args)]
pub(super) struct SignArgs {
    /// Sign the new generation with this private key
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
}

impl SignArgs {
    /// The store, with a handle that signs if a key is given.
    pub(super) fn store(&self, session: &Session) -> Result<Store> {
        // The key first: one that cannot be read is no surprise for later.
        let signer = self.sign_key.as_ref().map(Signer::read).transpose()?;
        let store = session.store()?;
        Ok(signer.map_or(store.clone(), |s| store.signing(s)))
    }
}

/// Whom to believe.
#[derive(Args)]
pub(super) struct TrustArgs {
    /// Take only what one of these public keys signed, and nothing older than was seen before; before other arguments
    /// as --key=FILE
    #[arg(long = "key", value_name = "FILE.pub", num_args = 1..)]
    keys: Vec<PathBuf>,
    /// Where this host keeps in mind what it saw
    #[arg(long, env = "CV_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
}

impl TrustArgs {
    /// The store, with a handle that trusts if keys are given.
    pub(super) fn store(&self, session: &Session) -> Result<Store> {
        let trust = self.trust()?;
        let store = session.store()?;
        Ok(trust.map_or(store.clone(), |trust| store.trusting(trust)))
    }

    /// Who is trusted, where keys are given.
    pub(super) fn trust(&self) -> Result<Option<Trust>> {
        Trust::read(&self.keys, Some(self.state.clone().unwrap_or_else(state::directory)))
    }

    /// Whether keys are given.
    pub(super) fn asks(&self) -> bool {
        !self.keys.is_empty()
    }
}
