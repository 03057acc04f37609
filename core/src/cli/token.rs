//! `cvctl token`: who may send captures into the store.

use super::{Session, secret_file};
use crate::error::Result;
use crate::store::{Token, TokenOptions};
use crate::units::{ByteSize, human};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make a token for one new generation of a name, and tell its secret, which is told this once
    Create(Create),
    /// List the tokens, without their secrets
    List,
    /// Remove a token: nothing can be sent with it any more
    Rm {
        /// Its id
        id: String,
    },
}

#[derive(Args)]
pub(super) struct Create {
    /// The name that may be written
    #[arg(long)]
    name: String,
    /// Bytes that may be sent with it, such as 20GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<ByteSize>,
    /// How long it may be used
    #[arg(long, default_value = "1d", value_name = "TIME", value_parser = super::time)]
    expires: Duration,
    /// Write the secret into this new file, which only its owner may read, instead of printing it
    #[arg(long = "output", value_name = "FILE")]
    file: Option<PathBuf>,
}

fn size(text: &str) -> std::result::Result<ByteSize, String> {
    text.parse().map_err(|e: crate::Error| e.message().to_owned())
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        Verb::Create(args) => create(args, session),
        Verb::List => {
            let tokens = session.store()?.tokens()?;
            session.print(&json!({ "tokens": tokens }), |w| {
                tokens.iter().try_for_each(|t| writeln!(w, "{}  {}  {}", t.id, t.name, state(t)))
            })
        }
        Verb::Rm { id } => {
            session.store()?.remove_token(&id)?;
            session.print(&json!({ "removed": id }), |w| writeln!(w, "removed {id}"))
        }
    }
}

fn create(args: Create, session: &Session) -> Result<()> {
    let Create { name, max_size, expires, file } = args;
    let options = TokenOptions { name, max_size: max_size.map(ByteSize::bytes), expires: Some(expires) };
    let store = session.store()?;
    let mut made = None;
    let told = secret_file::tell(file.as_deref(), || {
        let (token, secret) = store.create_token(&options)?;
        made = Some(token);
        Ok(secret)
    })?;
    let value = json!({ "token": made, "secret": told.as_ref().map(|s| s.as_str()), "file": file });
    session.print(&value, |w| match (&told, &made) {
        (None, Some(token)) => writeln!(w, "token {} for {} in its file", token.id, token.name),
        (secret, _) => secret.iter().try_for_each(|secret| writeln!(w, "{}", **secret)),
    })
}

/// What a token is good for.
fn state(token: &Token) -> String {
    let until = token.expires.as_ref().map_or_else(|| "without end".to_owned(), |t| format!("until {t}"));
    match (token.used, token.max_size) {
        (true, _) => "used".to_owned(),
        (false, None) => until,
        (false, Some(most)) => format!("{until}, {}", human(most)),
    }
}
