//! `cvctl serve`: a store over HTTP, until SIGINT or SIGTERM.

use super::{Session, progress};
use crate::error::Result;
use crate::server::{Access, Listener, MirrorOptions, Server, ServerOptions, TlsFiles};
use crate::web::Url;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long answers may go on after the end was asked for.
const GRACE: Duration = Duration::from_secs(25);
/// Between two looks at whether it was.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Args)]
pub(super) struct Serve {
    /// Where to listen, such as [::]:7787; port 0 takes any
    #[arg(long, value_name = "ADDR:PORT")]
    listen: String,
    /// PEM file with the certificate of the server; without it, plain HTTP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// PEM file with authorities: only clients with a certificate of one of them are served
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Be a mirror of that server: STORE is an empty directory, or the mirror already. It listens when all is there and whole, and
    /// follows what is new
    #[arg(long, value_name = "URL")]
    mirror_of: Option<Url>,
}

pub(super) fn run(args: Serve, session: &Session) -> Result<()> {
    crate::sys::descriptor::raise_limit();
    let tls = args.tls_cert.zip(args.tls_key);
    let tls = tls.map(|(certificate, key)| TlsFiles { certificate, key, client_ca: args.client_ca });
    let scheme = if tls.is_some() { "https" } else { "http" };
    let options = ServerOptions { tls, listener: session.log.clone().map(listener), ..ServerOptions::default() };
    // What runs is finished: longer than other work may take to end.
    session.on_disks.store(true, Ordering::Relaxed);
    let server = match args.mirror_of {
        None => Server::start(&session.store()?, &args.listen, &options)?,
        Some(url) => {
            let origin = MirrorOptions::new(session.mirrors.of(url)?);
            Server::mirror(session.place()?, &args.listen, &origin, &options, session.task())?
        }
    };
    let (address, place) = (server.address(), session.place()?.display().to_string());
    session.print(&json!({ "listening": address.to_string(), "scheme": scheme, "store": place }), |w| {
        writeln!(w, "listening at {scheme}://{address}")
    })?;
    while !session.cancel.is_cancelled() {
        std::thread::sleep(LOOK);
    }
    server.stop(GRACE)
}

/// Writes a line of JSON for each answer to where events go.
fn listener(log: progress::Log) -> Listener {
    Arc::new(move |access: &Access| {
        let mut line = json!({ "kind": "access" });
        if let (Some(line), Ok(serde_json::Value::Object(fields))) =
            (line.as_object_mut(), serde_json::to_value(access))
        {
            line.extend(fields);
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // Events that cannot be written are no reason to stop the work.
        let _ = writeln!(log, "{line}");
    })
}
