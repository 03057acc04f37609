//! `cvctl token`: who may send captures into the store.

use super::Session;
use crate::error::Result;
use crate::store::{Token, TokenOptions};
use crate::units::{ByteSize, human};
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
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
    // The file first: a token whose secret nobody got would lie about.
    let failed = |file: &PathBuf, e| crate::Error::io("write", file.display(), e);
    let mut opened = match &file {
        Some(file) => {
            let mut open = std::fs::OpenOptions::new();
            let open = open.write(true).create_new(true).mode(0o600).open(file);
            Some((file, open.map_err(|e| failed(file, e))?))
        }
        None => None,
    };
    let (token, secret) = store.create_token(&options)?;
    let told = match &mut opened {
        Some((file, opened)) => {
            writeln!(opened, "{}", *secret).and_then(|()| opened.sync_all()).map_err(|e| failed(file, e))?;
            None
        }
        None => Some(secret.as_str()),
    };
    let value = json!({ "token": token, "secret": told, "file": file });
    session.print(&value, |w| match (told, &file) {
        (Some(secret), _) => writeln!(w, "{secret}"),
        (None, Some(file)) => writeln!(w, "token {} for {} in {}", token.id, token.name, file.display()),
        (None, None) => Ok(()),
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
