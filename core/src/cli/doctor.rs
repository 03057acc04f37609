//! `cvctl doctor`: what is wrong, found out by trying.

use super::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::store::http::doctor::{Verdict, examine};
use crate::web::Url;
use clap::Subcommand;
use serde_json::json;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Ask servers of a store, each alone: name, clock, TLS, names, index, ranges, speed, one block
    Http {
        /// The servers, which should have the same store
        #[arg(required = true, value_name = "URL")]
        urls: Vec<Url>,
    },
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    let Verb::Http { urls } = verb;
    let mut urls = urls.into_iter();
    let Some(first) = urls.next() else { return Ok(()) };
    let mut options = session.mirrors.of(first)?;
    options.mirrors.extend(urls.map(Into::into));
    let found = session.run("doctor http", |task| examine(&options, task))?;
    session.print(&json!({ "servers": found }), |w| {
        for server in &found {
            writeln!(w, "{}", server.url)?;
            for finding in &server.findings {
                let mark = match finding.verdict {
                    Verdict::Ok => "ok  ",
                    Verdict::Warning => "WARN",
                    Verdict::Bad => "BAD ",
                };
                writeln!(w, "  {mark} {:8} {}", finding.check, crate::shown::line(&finding.message))?;
            }
        }
        Ok(())
    })?;
    match found.iter().filter(|s| s.verdict() == Verdict::Bad).count() {
        0 => Ok(()),
        n => Err(Error::new(ErrorKind::Network, format!("{n} of {} servers cannot be used as they are", found.len()))),
    }
}
