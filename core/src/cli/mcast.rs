//! `cvctl mcast`: one image to many nodes at once.

mod table;

use super::Session;
use super::key::TrustArgs;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::multicast::Mode;
use crate::multicast::drive::{GROUP, ReceiveOptions, SendOptions, parse_group, read_secret, receive, send};
use crate::multicast::send::{Rate, Standing};
use crate::store::Trust;
use crate::sys::state;
use crate::tree::extract::ExtractOptions;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Send an image to all nodes that ask for it
    Send(Send),
    /// Receive an image, and write it into a directory while it comes
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
    /// File with a key of 32 bytes, or 64 hex digits
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Send {
    /// The image: NAME, NAME@N or NAME:TAG
    #[arg(value_name = "REF")]
    reference: String,
    #[command(flatten)]
    network: Network,
    /// Begin when so many nodes are there
    #[arg(long, value_name = "N", default_value_t = 0)]
    receivers: u32,
    /// How long after the first node it begins with fewer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = super::time)]
    wait: Duration,
    /// auto, or bits in a second, such as 940Mbit
    #[arg(long, value_name = "RATE", default_value = "auto")]
    rate: Rate,
    /// How datagrams are protected: crc, tag (nobody without the key can add any), aead (nor read them)
    #[arg(long, value_name = "MODE", default_value_t = Mode::Crc)]
    mode: Mode,
    /// Write the report into a file, too: each second while it goes on, and at the end
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Recv {
    /// An empty directory, one that does not exist, or one in which an extraction was interrupted; with --update, a tree
    #[arg(value_name = "DIR")]
    target: PathBuf,
    #[command(flatten)]
    network: Network,
    /// The name of the image; without it, the first one that is announced
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Take only what one of these keys signed
    #[arg(long = "pub", value_name = "FILE.pub")]
    keys: Vec<PathBuf>,
    /// Where this host keeps in mind what it saw, with --pub
    #[arg(long, env = "CV_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Update the tree that is there: only what it lacks is received
    #[arg(long)]
    update: bool,
    /// Compare everything with what is on the medium
    #[arg(long)]
    verify: bool,
    /// Do not wait until everything is on the medium
    #[arg(long)]
    no_sync: bool,
}

/// From where a node gets its image when it is sent to many.
#[derive(Args)]
pub(super) struct Source {
    /// Take the image from this network interface, where it is sent to many nodes at once; with --image only that one
    #[arg(long, value_name = "IF")]
    multicast: Option<String>,
    /// The group that sessions are announced to
    #[arg(long, value_name = "ADDR:PORT", default_value_t = GROUP, value_parser = parse_group, requires = "multicast")]
    multicast_group: SocketAddr,
    /// File with the key of the sender, 32 bytes or 64 hex digits
    #[arg(long, value_name = "FILE", requires = "multicast")]
    multicast_key: Option<PathBuf>,
    /// The name of the image that is waited for; without it and --image, the first one that is announced
    #[arg(long, value_name = "NAME", requires = "multicast")]
    multicast_name: Option<String>,
}

impl Source {
    /// How it is received; `None` where it is not.
    pub(super) fn options(&self, trust: &TrustArgs, session: &Session) -> Result<Option<ReceiveOptions>> {
        let Some(interface) = &self.multicast else { return Ok(None) };
        // Before anybody is asked.
        crate::sys::udp::Interface::named(interface)?;
        Ok(Some(ReceiveOptions {
            group: self.multicast_group,
            secret: self.multicast_key.as_deref().map(read_secret).transpose()?,
            name: self.multicast_name.clone(),
            trust: trust.trust()?,
            mirror: session.mirrors.alone()?,
            ..ReceiveOptions::new(interface)
        }))
    }
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        Verb::Send(args) => run_send(args, session),
        Verb::Recv(args) => run_recv(args, session),
    }
}

fn run_send(args: Send, session: &Session) -> Result<()> {
    let Network { interface, group, key_file } = args.network;
    let options = SendOptions {
        group,
        receivers: args.receivers,
        wait: args.wait,
        rate: args.rate,
        mode: args.mode,
        secret: key_file.as_deref().map(read_secret).transpose()?,
        watch: table::watch(args.report.clone(), session.format, session.quiet),
        ..SendOptions::new(&interface)
    };
    let image = session.store()?.image(&args.reference)?;
    if let Some(file) = &args.report {
        table::can_put(file)?;
    }
    let work = |task: &Task| send(&image, &options, task);
    // The table is drawn where the bar would be.
    let report = match table::is_drawn(session.format, session.quiet) {
        true => session.run_at_a_terminal("mcast send", work)?,
        false => session.run("mcast send", work)?,
    };
    if let Some(file) = &args.report {
        table::put(file, &report)?;
    }
    session.print(&report, |w| table::all(&report, w))?;
    let all = report.receivers.len();
    let left =
        report.receivers.iter().filter(|r| r.standing != Standing::Done && r.standing != Standing::Detached).count();
    if left > 0 {
        return Err(Error::new(ErrorKind::Network, format!("{left} of {all} nodes have not got all of it")));
    }
    Ok(())
}

fn run_recv(args: Recv, session: &Session) -> Result<()> {
    let Network { interface, group, key_file } = args.network;
    let trust = Trust::read(&args.keys, Some(args.state.unwrap_or_else(state::directory)))?;
    let options = ReceiveOptions {
        group,
        secret: key_file.as_deref().map(read_secret).transpose()?,
        name: args.name,
        trust,
        mirror: session.mirrors.alone()?,
        update: args.update,
        extract: ExtractOptions { verify: args.verify, no_sync: args.no_sync, ..ExtractOptions::default() },
        ..ReceiveOptions::new(&interface)
    };
    let delivered = session.run("mcast recv", |task| receive(&args.target, options, task))?;
    session.print(&delivered, |w| {
        let (e, r) = (&delivered.extracted, &delivered.received);
        writeln!(w, "{}@{}: {} entries, {} bytes", delivered.name, delivered.generation, e.entries, e.bytes)?;
        writeln!(
            w,
            "{} symbols, {} useless, {} refused, {} stripes restored",
            r.symbols, r.useless, r.refused, r.restored
        )?;
        if let Some(u) = &delivered.updated {
            writeln!(
                w,
                "{} created, {} replaced, {} deleted, {} unchanged",
                u.created, u.replaced, u.deleted, u.unchanged
            )?;
        }
        match &delivered.instead {
            Some(why) => writeln!(w, "the rest came from mirrors: {}", crate::shown::line(why)),
            None => Ok(()),
        }
    })
}
