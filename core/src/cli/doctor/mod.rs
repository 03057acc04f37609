//! `cvctl doctor`: what is wrong, found out by trying.

#[cfg(feature = "http")]
mod http;
#[cfg(feature = "mcast")]
mod multicast;

use super::Session;
use crate::error::Result;
use crate::finding::{Finding, Verdict};
#[cfg(feature = "http")]
use crate::web::Url;
use clap::Subcommand;
use std::io::{self, Write};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Ask servers of a store, each alone: name, clock, TLS, names, index, ranges, speed, one block
    #[cfg(feature = "http")]
    Http {
        /// The servers, which should have the same store
        #[arg(required = true, value_name = "URL")]
        urls: Vec<Url>,
    },
    /// Find out between hosts why multicast does not arrive: send on one, recv on the others
    #[command(subcommand)]
    #[cfg(feature = "mcast")]
    Multicast(multicast::Verb),
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        #[cfg(feature = "http")]
        Verb::Http { urls } => http::run(urls, session),
        #[cfg(feature = "mcast")]
        Verb::Multicast(verb) => multicast::run(verb, session),
    }
}

/// Findings for people, a line each.
fn write(w: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warning => "WARN",
            Verdict::Bad => "BAD ",
        };
        writeln!(w, "  {mark} {:8} {}", finding.check, crate::shown::line(&finding.message))?;
    }
    Ok(())
}
