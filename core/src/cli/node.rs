//! `cvctl node`: nodes that the server knows. `cvctl connect`: being one.

use super::Session;
use crate::error::Result;
use crate::node::{ConnectOptions, Policy, connect};
use crate::web::{self, Url};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct Connect {
    /// Where the store lies: the server to ask
    #[arg(long, value_name = "URL")]
    server: Url,
    /// What this node lets others ask
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// What `cvctl node add` printed; without it, the file `secret` beside the policy
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Where this host keeps its state
    #[arg(long, env = "CV_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
}

pub(super) fn run_connect(args: Connect, session: &Session) -> Result<()> {
    let beside = || args.policy.parent().unwrap_or(Path::new("")).join("secret");
    let secret = web::read_secret(&args.secret_file.unwrap_or_else(beside))?;
    let server = session.mirrors.of(args.server)?;
    let options = ConnectOptions {
        state: args.state,
        obeying: session.on_disks.clone(),
        ..ConnectOptions::new(server, &secret, args.policy)
    };
    Policy::read(&options.policy)?;
    let value = json!({ "server": options.server.url.to_string(), "policy": options.policy });
    session.print(&value, |w| writeln!(w, "asking {}", options.server.url))?;
    // An update that has begun has more time to end.
    session.run("connect", |task| connect(&options, task))
}

#[cfg(feature = "server")]
pub(super) use register::{Verb, ask, run};

#[cfg(feature = "server")]
mod register {
    use super::super::{Session, secret_file};
    use crate::error::Result;
    use crate::node::Action;
    use clap::Subcommand;
    use serde_json::{Value, json};
    use std::path::PathBuf;
    use std::time::Duration;

    #[derive(Subcommand)]
    pub(in crate::cli) enum Verb {
        /// Make a node known, and tell the secret by which it says who it is, which is told this once
        Add {
            /// Its name
            name: String,
            /// Write the secret into this new file, which only its owner may read, instead of printing it
            #[arg(long = "output", value_name = "FILE")]
            file: Option<PathBuf>,
        },
        /// List the nodes
        List,
        /// Forget a node
        Rm {
            /// Its name
            name: String,
        },
    }

    pub(in crate::cli) fn run(verb: Verb, session: &Session) -> Result<()> {
        let store = session.store()?;
        match verb {
            Verb::Add { name, file } => {
                let told = secret_file::tell(file.as_deref(), || store.add_node(&name))?;
                session.print(
                    &json!({ "node": name, "secret": told.as_ref().map(|s| s.as_str()), "file": file }),
                    |w| match &told {
                        Some(secret) => writeln!(w, "{}", **secret),
                        None => writeln!(w, "{name} is known, its secret in its file"),
                    },
                )
            }
            Verb::List => {
                let nodes = store.nodes()?;
                session.print(&json!({ "nodes": nodes }), |w| {
                    nodes.iter().try_for_each(|n| {
                        let seen = n.seen.as_deref().unwrap_or("never");
                        writeln!(w, "{}  seen {seen}", n.name)
                    })
                })
            }
            Verb::Rm { name } => {
                store.remove_node(&name)?;
                session.print(&json!({ "removed": name }), |w| writeln!(w, "removed {name}"))
            }
        }
    }

    /// Asks a node, and gives what it printed.
    pub(in crate::cli) fn ask(node: &str, action: &Action, patience: Duration, session: &Session) -> Result<Value> {
        let store = session.store()?;
        session.run("ask a node", |task| store.ask_node(node, action, patience, task))
    }
}
