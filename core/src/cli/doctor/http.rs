//! `cvctl doctor http`.

use super::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::store::http::doctor::{Verdict, examine};
use crate::web::Url;
use serde_json::json;

pub(super) fn run(urls: Vec<Url>, session: &Session) -> Result<()> {
    let mut urls = urls.into_iter();
    let Some(first) = urls.next() else { return Ok(()) };
    let mut options = session.mirrors.of(first)?;
    options.mirrors.extend(urls.map(Into::into));
    let found = session.run("doctor http", |task| examine(&options, task))?;
    session.print(&json!({ "servers": found }), |w| {
        for server in &found {
            writeln!(w, "{}", server.url)?;
            super::write(w, &server.findings)?;
        }
        Ok(())
    })?;
    match found.iter().filter(|s| s.verdict() == Verdict::Bad).count() {
        0 => Ok(()),
        n => Err(Error::new(ErrorKind::Network, format!("{n} of {} servers cannot be used as they are", found.len()))),
    }
}
