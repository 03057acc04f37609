//! `cvctl image capture`: a tree becomes an image.

use super::{SecretArgs, Session, SignArgs};
use crate::capture::{CaptureOptions, Captured};
use crate::cli::output;
use crate::error::Result;
use crate::layout;
use crate::layout::capture::LayoutCaptureOptions;
#[cfg(feature = "server")]
use crate::node::Action;
use crate::store::Store;
#[cfg(feature = "server")]
use crate::units::ByteSize;
use crate::units::human;
#[cfg(feature = "http")]
use crate::web::{self, Url};
use clap::Args;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct Capture {
    /// The root of the tree
    #[cfg_attr(feature = "server", arg(required_unless_present = "node"))]
    root: Option<PathBuf>,
    /// The name
    #[arg(long)]
    name: String,
    /// Tag for the new generation
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Leave out what fits, as in .gitignore
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Take what fits although a rule would leave it out
    #[arg(long, value_name = "PATTERN")]
    keep: Vec<String>,
    /// Leave nothing out and generalise nothing
    #[arg(long)]
    exact: bool,
    /// A file that changes while it is read is an error
    #[arg(long)]
    strict: bool,
    /// Read every file, whatever the last capture saw
    #[arg(long)]
    paranoid: bool,
    /// Level of zstd, 1 to 19
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Threads; 0 is one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Fail unless this is the newest generation; 0: the name is new
    #[arg(long, value_name = "N")]
    expect_parent: Option<u64>,
    /// Send it to this server, which publishes it, instead of writing into the store of --store
    #[cfg(feature = "http")]
    #[arg(long, value_name = "URL", requires = "token_file", conflicts_with = "sign_key")]
    to: Option<Url>,
    /// File with the secret of a token for the name; `-` is standard input
    #[cfg(feature = "http")]
    #[arg(long, value_name = "FILE", requires = "to")]
    token_file: Option<PathBuf>,
    /// Ask this node for it, through cvctl serve: what is captured, and whether, is for its policy to say
    #[cfg(feature = "server")]
    #[arg(long, value_name = "NODE", conflicts_with_all = ["root", "to", "sign_key", "with_layout", "report", "keep", "exact",
        "strict", "paranoid", "level", "threads", "expect_parent"])]
    node: Option<String>,
    /// Bytes that the node may send at most
    #[cfg(feature = "server")]
    #[arg(long, value_name = "SIZE", requires = "node", conflicts_with_all = ["root", "to"])]
    max_size: Option<ByteSize>,
    /// How long the node may take to come for it
    #[cfg(feature = "server")]
    #[arg(long, default_value = "2min", value_name = "TIME", value_parser = crate::cli::time)]
    patience: std::time::Duration,
    #[command(flatten)]
    sign: SignArgs,
    #[command(flatten)]
    secrets: SecretArgs,
    /// Attach a layout document of the disks of this machine, with the mounts of the tree's fstab
    #[arg(long)]
    with_layout: bool,
    /// Where this host keeps the key of its stat cache
    #[arg(long, env = "CV_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Write what was done into this file as JSON: all that was left out or generalised, and why; all secrets, also
    /// when they are refused
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(super) fn capture(args: &Capture, session: &Session) -> Result<()> {
    #[cfg(feature = "server")]
    if let Some(node) = &args.node {
        return ask(node, args, session);
    }
    let root = args.root.as_deref().unwrap_or(Path::new("/"));
    let store = place(args, session)?;
    let options = CaptureOptions {
        exclude: args.exclude.clone(),
        keep: args.keep.clone(),
        exact: args.exact,
        strict: args.strict,
        paranoid: args.paranoid,
        tag: args.tag.clone(),
        level: args.level,
        threads: args.threads,
        state: args.state.clone(),
        expect_parent: args.expect_parent,
        secrets: args.secrets.policy(),
        layout: args.with_layout.then(|| layout_of(root, session)).transpose()?,
        report: args.report.clone(),
        ..CaptureOptions::default()
    };
    let done = session.run("image capture", |task| store.capture(root, &args.name, &options, task))?;
    session.print(&done, |w| describe(w, &done))
}

/// A node captures itself, and says what became of it.
#[cfg(feature = "server")]
fn ask(node: &str, args: &Capture, session: &Session) -> Result<()> {
    let action = Action::Capture {
        name: args.name.clone(),
        tag: args.tag.clone(),
        exclude: args.exclude.clone(),
        max_size: args.max_size.map(ByteSize::bytes),
    };
    let done = crate::cli::node::ask(node, &action, args.patience, session)?;
    session.print(&done, |w| {
        let text = |field: &str| done[field].as_str().map_or_else(|| done[field].to_string(), str::to_owned);
        writeln!(w, "{}@{} {}, captured on {node}", text("name"), text("generation"), text("image"))?;
        writeln!(w, "{} entries, {} read, {} B sent", text("entries"), text("read"), text("stored_bytes"))
    })
}

/// Where the image goes.
fn place(args: &Capture, session: &Session) -> Result<Store> {
    #[cfg(feature = "http")]
    if let (Some(url), Some(file)) = (&args.to, &args.token_file) {
        return Store::open_to(&session.mirrors.of(url.clone())?, &web::read_secret(file)?);
    }
    args.sign.store(session)
}

/// The document for the disks of this machine. What it cannot say is told, and does not hold up the capture.
fn layout_of(root: &Path, session: &Session) -> Result<Vec<u8>> {
    let options = LayoutCaptureOptions { root: Some(root.to_owned()), ..LayoutCaptureOptions::default() };
    let captured = layout::capture::capture(&options)?;
    captured.required()?;
    if !session.quiet {
        for text in captured.unsupported() {
            output::talk(&format!("layout: not in the document: {text}\n"));
        }
    }
    Ok(captured.document().into_bytes())
}

fn describe(w: &mut dyn Write, c: &Captured) -> io::Result<()> {
    let state = if c.changed { "" } else { " (unchanged)" };
    writeln!(w, "{}@{} {}{state}", c.name, c.generation, c.image)?;
    let (read, bytes, stored) = (c.read, human(c.read_bytes), human(c.stored_bytes));
    writeln!(w, "{} entries, {read} read with {bytes}, {stored} added to the store", c.entries)?;
    if let Some(percent) = c.amplification.filter(|p| *p > 100) {
        writeln!(w, "a deployment reads {percent} % of what it needs")?;
    }
    if c.scrubbed_count > 0 {
        writeln!(w, "{} left out or generalised; --report lists them", c.scrubbed_count)?;
    }
    super::tell_secrets(w, &c.secrets, c.secrets_count)?;
    c.notes.iter().try_for_each(|n| writeln!(w, "note: {n}"))
}
