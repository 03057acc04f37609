//! The command line `cvctl`: noun, verb. It translates arguments into calls of the library, and adds nothing.
//!
//! ```text
//!  arguments ──clap──> noun::Verb ──> library, watched by progress ──> output: text or JSON on stdout
//!  SIGINT, SIGTERM ──> cancel token ──> the work cleans up ──> exit 24
//! ```
//!
//! stdout is data, stderr is talk. The exit code is the code of the error ([`crate::ErrorKind`]).

mod checked;
mod completion;
#[cfg(feature = "build")]
mod distro;
#[cfg(any(feature = "http", feature = "mcast"))]
mod doctor;
mod image;
mod key;
mod layout;
#[cfg(feature = "mcast")]
mod mcast;
#[cfg(feature = "http")]
mod mirrors;
#[cfg(feature = "http")]
mod node;
mod output;
mod progress;
#[cfg(feature = "build")]
mod role;
#[cfg(feature = "server")]
mod secret_file;
#[cfg(feature = "server")]
mod serve;
mod store;
#[cfg(feature = "server")]
mod token;

use crate::error::{Error, ErrorKind, Result};
use crate::job::{CancelToken, Task};
use crate::store::Store;
use clap::{Args, Parser, Subcommand};
use output::{Form, Format};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long cancelled work has to clean up before the process ends all the same.
const GRACE: Duration = Duration::from_millis(350);
/// The same for work on disks: programs that write to them have to end first.
const DISK_GRACE: Duration = Duration::from_secs(30);

/// Images, disk layouts and deployment of Linux nodes.
#[derive(Parser)]
#[command(name = "cvctl", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Args)]
struct Global {
    /// Where the store is: a directory, s3://BUCKET/PREFIX, or https://HOST/PATH
    #[arg(long, env = "CV_STORE", global = true, value_name = "STORE")]
    store: Option<PathBuf>,
    #[cfg(feature = "http")]
    #[command(flatten)]
    mirrors: mirrors::Mirrors,
    /// Form of what is printed
    #[arg(short, value_enum, default_value_t = Form::Text, global = true, value_name = "FORM")]
    output: Form,
    /// No progress and no warnings
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Append what happens to a file as JSON lines; `-` is stderr, which then gets nothing else
    #[arg(long, global = true, value_name = "FILE")]
    events: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Noun {
    /// Make and check stores
    #[command(subcommand)]
    Store(store::Verb),
    /// Capture, look at, name and extract images
    #[command(subcommand)]
    Image(image::Verb),
    /// Keep the distributions that images are made from
    #[command(subcommand)]
    #[cfg(feature = "build")]
    Distro(distro::Verb),
    /// Check, plan and apply disk layouts
    #[command(subcommand)]
    Layout(layout::Verb),
    /// Check and show roles: what is in an image
    #[command(subcommand)]
    #[cfg(feature = "build")]
    Role(role::Verb),
    /// Hand the store out over HTTP, until SIGTERM
    #[cfg(feature = "server")]
    Serve(serve::Serve),
    /// Send an image to many nodes at once, and receive it
    #[command(subcommand)]
    #[cfg(feature = "mcast")]
    Mcast(mcast::Verb),
    /// Let somebody far away send an image into the store
    #[command(subcommand)]
    #[cfg(feature = "server")]
    Token(token::Verb),
    /// Say which nodes may ask for orders
    #[command(subcommand)]
    #[cfg(feature = "server")]
    Node(node::Verb),
    /// Be a node: ask a server for orders, and do what the policy allows, until SIGTERM
    #[cfg(feature = "http")]
    Connect(node::Connect),
    /// Find out what is wrong
    #[command(subcommand)]
    #[cfg(any(feature = "http", feature = "mcast"))]
    Doctor(doctor::Verb),
    /// Make keys to sign with
    #[command(subcommand)]
    Key(key::Verb),
    /// Print a completion script
    Completion(completion::Completion),
    /// Write manual pages
    Man(completion::Man),
}

impl Noun {
    /// Whether what it prints has a picture.
    fn has_picture(&self) -> bool {
        matches!(self, Self::Layout(layout::Verb::Plan { .. }))
    }
}

/// What every verb needs: where to read, how to print, whether to go on.
struct Session {
    store: Option<PathBuf>,
    #[cfg(feature = "http")]
    mirrors: mirrors::Mirrors,
    format: Format,
    /// Whether a picture is wanted instead; only where there is one.
    picture: bool,
    quiet: bool,
    log: Option<progress::Log>,
    cancel: CancelToken,
    /// Whether disks are being written.
    on_disks: Arc<AtomicBool>,
}

impl Session {
    fn store(&self) -> Result<Store> {
        #[cfg(feature = "http")]
        return self.mirrors.open(self.place()?);
        #[cfg(not(feature = "http"))]
        Store::open(self.place()?)
    }

    /// The store, even if it is so damaged that it cannot be opened otherwise.
    fn store_to_repair(&self) -> Result<Store> {
        Store::open_to_repair(self.place()?)
    }

    fn place(&self) -> Result<&PathBuf> {
        let missing = || {
            Error::invalid("no store is named")
                .hint("give --store DIR, s3://BUCKET/PREFIX or https://HOST/PATH, or set CV_STORE")
        };
        self.store.as_ref().ok_or_else(missing)
    }

    /// A task that shows its progress and ends with the program.
    fn task(&self) -> Task {
        Task::new(self.cancel.clone(), progress::listener(self.format, self.quiet, self.log.clone()))
    }

    /// Runs work on disks, which has more time to end.
    fn run_on_disks<T>(&self, what: &str, work: impl FnOnce(&Task) -> Result<T>) -> Result<T> {
        self.on_disks.store(true, Ordering::Relaxed);
        self.run(what, work)
    }

    /// Runs work at whose terminal somebody sits: no progress is drawn there.
    #[cfg(any(feature = "build", feature = "mcast"))]
    fn run_at_a_terminal<T>(&self, what: &str, work: impl FnOnce(&Task) -> Result<T>) -> Result<T> {
        Task::new(self.cancel.clone(), progress::listener(self.format, true, self.log.clone())).run(what, work)
    }

    fn run<T>(&self, what: &str, work: impl FnOnce(&Task) -> Result<T>) -> Result<T> {
        self.task().run(what, work)
    }
}

/// Runs the program with these arguments, the first of which is its name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(run(args))
}

/// As [`main`], for callers that have their own way to exit. To be called once in a process: it handles signals.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    if cfg!(panic = "abort") {
        end_on_panic();
    }
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(e) => return output::usage(&args, &e),
    };
    let Global {
        store,
        #[cfg(feature = "http")]
        mirrors,
        output: form,
        quiet,
        events,
    } = cli.global;
    let (format, picture) = (form.format(), form == Form::Svg);
    if picture && !cli.noun.has_picture() {
        return output::error(
            format,
            &Error::invalid("only `layout plan` has a picture").hint("give -o text or -o json"),
        );
    }
    let work = || {
        let quiet = quiet || events.as_ref().is_some_and(|p| p.as_os_str() == "-");
        let log = events.as_deref().map(progress::open_log).transpose()?;
        let (cancel, on_disks) = (CancelToken::default(), Arc::default());
        let session = Session {
            store,
            #[cfg(feature = "http")]
            mirrors,
            format,
            picture,
            quiet,
            log,
            cancel,
            on_disks,
        };
        end_on_signals(&session)?;
        dispatch(cli.noun, &session)
    };
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let result = caught.unwrap_or_else(|_| Err(Error::new(ErrorKind::Bug, "a bug in libcv: a panic was caught")));
    match result {
        Err(e) if !output::reader_left(&e) => output::error(format, &e),
        _ => 0,
    }
}

/// In cvctl-node a panic cannot be caught; it ends with the same code all the same.
fn end_on_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::exit(ErrorKind::Bug.code());
    }));
}

fn dispatch(noun: Noun, session: &Session) -> Result<()> {
    match noun {
        Noun::Store(verb) => store::run(verb, session),
        Noun::Image(verb) => image::run(verb, session),
        #[cfg(feature = "build")]
        Noun::Distro(verb) => distro::run(verb, session),
        Noun::Layout(verb) => layout::run(verb, session),
        #[cfg(feature = "build")]
        Noun::Role(verb) => role::run(verb, session),
        #[cfg(feature = "server")]
        Noun::Serve(args) => serve::run(args, session),
        #[cfg(feature = "mcast")]
        Noun::Mcast(verb) => mcast::run(verb, session),
        #[cfg(feature = "server")]
        Noun::Token(verb) => token::run(verb, session),
        #[cfg(feature = "server")]
        Noun::Node(verb) => node::run(verb, session),
        #[cfg(feature = "http")]
        Noun::Connect(args) => node::run_connect(args, session),
        #[cfg(any(feature = "http", feature = "mcast"))]
        Noun::Doctor(verb) => doctor::run(verb, session),
        Noun::Key(verb) => key::run(verb, session),
        Noun::Completion(c) => completion::completion(&c, session),
        Noun::Man(m) => completion::man(&m, session),
    }
}

/// A span of time. The hint belongs to what a wrong call is told.
fn time(text: &str) -> std::result::Result<Duration, String> {
    crate::units::duration(text).map_err(|e| format!("{}: {}", e.message(), e.hint_text().unwrap_or_default()))
}

/// The first signal cancels. Work that does not end in time is cut off, which store, extraction and disks survive.
fn end_on_signals(session: &Session) -> Result<()> {
    let (cancel, format, on_disks) = (session.cancel.clone(), session.format, session.on_disks.clone());
    crate::sys::signal::on_interrupt(move || {
        cancel.cancel();
        std::thread::sleep(if on_disks.load(Ordering::Relaxed) { DISK_GRACE } else { GRACE });
        std::process::exit(output::error(format, &Error::cancelled()).into());
    })
}
