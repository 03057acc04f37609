//! `cvctl doctor multicast`.

use super::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::multicast::doctor::{ReceiveOptions, SendOptions, Verdict, receive, send};
use crate::multicast::drive::{GROUP, parse_group};
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Subcommand)]
pub(in crate::cli) enum Verb {
    /// Send, wait for what receivers tell, and say what is wrong at each of them
    Send(Send),
    /// Listen, tell the sender what arrives, and say what is wrong here
    Recv(Recv),
}

/// What both ends have to say.
#[derive(Args)]
struct Network {
    /// The network interface
    #[arg(long, value_name = "IF")]
    interface: String,
    /// The group that sessions are announced to
    #[arg(long, value_name = "ADDR:PORT", default_value_t = GROUP, value_parser = parse_group)]
    group: SocketAddr,
    /// How long the other end is waited for; recv listens at least so long for an IGMP querier, which takes 130 to be sure
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

#[derive(Args)]
pub(in crate::cli) struct Send {
    #[command(flatten)]
    network: Network,
    /// Begin when so many receivers are there; fewer are an error
    #[arg(long, value_name = "N", default_value_t = 0)]
    receivers: u32,
}

#[derive(Args)]
pub(in crate::cli) struct Recv {
    #[command(flatten)]
    network: Network,
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        Verb::Send(args) => run_send(args, session),
        Verb::Recv(args) => run_recv(args, session),
    }
}

fn run_send(args: Send, session: &Session) -> Result<()> {
    let Network { interface, group, seconds } = args.network;
    let options = SendOptions {
        group,
        receivers: args.receivers,
        time: Duration::from_secs(seconds),
        ..SendOptions::new(&interface)
    };
    let found = session.run("doctor multicast send", |task| send(&options, task))?;
    session.print(&found, |w| {
        writeln!(w, "{interface}, {group}")?;
        super::write(w, &found.findings)?;
        for receiver in &found.receivers {
            writeln!(w, "{} at {}", crate::shown::line(&receiver.name), receiver.address)?;
            super::write(w, &receiver.findings)?;
        }
        Ok(())
    })?;
    verdict(found.verdict())
}

fn run_recv(args: Recv, session: &Session) -> Result<()> {
    let Network { interface, group, seconds } = args.network;
    let options = ReceiveOptions { group, time: Duration::from_secs(seconds), ..ReceiveOptions::new(&interface) };
    let found = session.run("doctor multicast recv", |task| receive(&options, task))?;
    session.print(&found, |w| {
        let sender = found.sender.as_deref().map(|s| format!(", sender {s}")).unwrap_or_default();
        writeln!(w, "{interface}, {group}{sender}")?;
        super::write(w, &found.findings)
    })?;
    verdict(found.verdict())
}

fn verdict(verdict: Verdict) -> Result<()> {
    match verdict {
        Verdict::Bad => Err(Error::new(ErrorKind::Network, "images cannot be sent by multicast as it is")
            .hint("the findings say why, and what to do")),
        _ => Ok(()),
    }
}
