//! `cvctl image build`, `update` and `edit`: images are made.

use super::{SecretArgs, Session, SignArgs};
use crate::build::root::Terminal;
use crate::build::{self, Base, Change, Made, MakeOptions, Program, Step};
use crate::cli::role::Library;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
#[cfg(feature = "server")]
use crate::node::Action;
use crate::role::Role;
use crate::units;
use crate::units::human;
use clap::Args;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

/// Packages that are listed for a person after a build.
const SHOWN: usize = 10;

#[derive(Args)]
pub(crate) struct Build {
    /// The distribution that its packages are from
    #[arg(long, value_name = "NAME", required_unless_present = "from")]
    distro: Option<String>,
    /// An image over which the role is laid
    #[arg(long, value_name = "REF")]
    from: Option<String>,
    /// The role: a file, or minimal, node, login, storage, head; several together are one
    #[arg(long = "role", value_name = "ROLE|FILE", required = true)]
    roles: Vec<String>,
    #[command(flatten)]
    library: Library,
    /// The name of the image
    #[arg(long)]
    name: String,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
pub(crate) struct Update {
    /// The name of the image
    #[cfg_attr(feature = "server", arg(required_unless_present = "node"))]
    name: Option<String>,
    /// Ask this node, through cvctl serve, to become the image of --to; whether is for its policy to say
    #[cfg(feature = "server")]
    #[arg(long, value_name = "NODE", requires = "to", conflicts_with_all = ["name", "distro", "packages", "roles"])]
    node: Option<String>,
    /// The image that the node becomes
    #[cfg(feature = "server")]
    #[arg(long, value_name = "REF", requires = "node")]
    to: Option<String>,
    /// What stays as it is on the node; a pattern as in .gitignore
    #[cfg(feature = "server")]
    #[arg(long, value_name = "PATTERN", requires = "node")]
    protect: Vec<String>,
    /// How long the node may take to come for it
    #[cfg(feature = "server")]
    #[arg(long, default_value = "2min", value_name = "TIME", value_parser = crate::cli::time)]
    patience: Duration,
    /// The distribution that its packages are brought to; else the one that it was built from
    #[arg(long, value_name = "NAME")]
    distro: Option<String>,
    /// Packages to install besides those of the role
    #[arg(long, value_name = "P,…", value_delimiter = ',')]
    packages: Vec<String>,
    /// A role in place of the one that it was built with; several together are one
    #[arg(long = "role", value_name = "ROLE|FILE")]
    roles: Vec<String>,
    #[command(flatten)]
    library: Library,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
pub(crate) struct Edit {
    /// The image
    #[arg(value_name = "REF")]
    image: String,
    /// The name of the new version, if it is not to be that of the image
    #[arg(long)]
    name: Option<String>,
    /// The program sees the network of this machine
    #[arg(long)]
    net: bool,
    #[command(flatten)]
    common: Common,
    /// The program to run as root of the image, and its arguments; without it a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How something is made of packages.
#[derive(Args)]
struct How {
    #[command(flatten)]
    common: Common,
    /// Make the tree once more and name the paths that differ
    #[arg(long, conflicts_with = "dry_run")]
    check_reproducible: bool,
    /// Say what would be installed and removed; make nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
struct Common {
    /// Tag for the new generation
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Where the new root lies while it is made; else in the store
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// The package manager, or the program, is killed after that
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = time)]
    time_limit: Duration,
    /// It is killed when it has said nothing for so long
    #[arg(long, value_name = "TIME", default_value = "30min", value_parser = time)]
    silence: Duration,
    /// A variable of this environment that whatever runs sees, too, such as https_proxy; may be repeated
    #[arg(long = "env", value_name = "NAME")]
    variables: Vec<String>,
    /// Level of zstd, 1 to 19
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Threads; 0 is one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Fail unless this is the newest generation; 0: the name is new
    #[arg(long, value_name = "N")]
    expect_parent: Option<u64>,
    #[command(flatten)]
    secrets: SecretArgs,
    #[command(flatten)]
    sign: SignArgs,
}

fn time(text: &str) -> std::result::Result<Duration, String> {
    units::duration(text).map_err(|e| e.to_string())
}

impl Common {
    fn options(&self) -> Result<MakeOptions> {
        // By name only: a value may hold what must not stand in a list of processes.
        let value = |name: &String| match std::env::var(name) {
            Ok(value) => Ok((name.clone(), value)),
            Err(_) => Err(Error::invalid(format!("--env {name}: there is no such variable in the environment"))),
        };
        Ok(MakeOptions {
            environment: self.variables.iter().map(value).collect::<Result<_>>()?,
            tag: self.tag.clone(),
            work: self.work.clone(),
            time_limit: self.time_limit,
            silence: self.silence,
            level: self.level,
            threads: self.threads,
            secrets: self.secrets.policy(),
            expect_parent: self.expect_parent,
            ..MakeOptions::default()
        })
    }
}

impl How {
    fn options(&self) -> Result<MakeOptions> {
        let (dry_run, check_reproducible) = (self.dry_run, self.check_reproducible);
        Ok(MakeOptions { dry_run, check_reproducible, ..self.common.options()? })
    }
}

pub(super) fn build(args: &Build, session: &Session) -> Result<()> {
    let store = args.how.common.sign.store(session)?;
    let role = Role::find_all(&args.roles, &args.library.options())?;
    let base = match (&args.from, &args.distro) {
        (Some(reference), distro) => Base::Image { reference: reference.clone(), distro: distro.clone() },
        (None, Some(distro)) => Base::Distro(distro.clone()),
        (None, None) => return Err(Error::invalid("an image is made from a distribution or from an image")),
    };
    let options = args.how.options()?;
    let made = session.run("image build", |task| build::build(&store, &args.name, &base, &role, &options, task))?;
    tell(&made, session)
}

pub(super) fn update(args: &Update, session: &Session) -> Result<()> {
    #[cfg(feature = "server")]
    if let (Some(node), Some(image)) = (&args.node, &args.to) {
        return ask(node, image, args, session);
    }
    let name = args.name.as_deref().unwrap_or_default();
    let store = args.how.common.sign.store(session)?;
    let role = match args.roles[..] {
        [] => None,
        _ => Some(Role::find_all(&args.roles, &args.library.options())?),
    };
    let change = Change { distro: args.distro.clone(), packages: args.packages.clone(), role };
    let options = args.how.options()?;
    let made = session.run("image update", |task| build::update(&store, name, &change, &options, task))?;
    tell(&made, session)
}

/// A node updates itself, and says what became of it.
#[cfg(feature = "server")]
fn ask(node: &str, image: &str, args: &Update, session: &Session) -> Result<()> {
    let (image, protect) = (image.to_owned(), args.protect.clone());
    let action = Action::Update { image, dry_run: args.how.dry_run, protect };
    let done = crate::cli::node::ask(node, &action, args.patience, session)?;
    session.print(&done, |w| {
        let verb = if args.how.dry_run { "would be " } else { "" };
        let counts = ["created", "replaced", "metadata", "deleted", "unchanged"].map(|f| format!("{f} {}", done[f]));
        writeln!(w, "{node}: {verb}{}", counts.join(", "))?;
        writeln!(w, "needs: {}", done["verdict"]["need"].as_str().unwrap_or("nothing"))
    })
}

pub(super) fn edit(args: &Edit, session: &Session) -> Result<()> {
    let store = args.common.sign.store(session)?;
    let (options, name) = (args.common.options()?, args.name.as_deref());
    let terminal = match args.command.is_empty() {
        true => Some(Terminal::of(io::stdin().as_fd(), io::stdout().as_fd())?),
        false => None,
    };
    let program = Program { command: args.command.clone(), net: args.net, terminal };
    let edit = |task: &Task| build::edit(&store, &args.image, name, &program, &options, task);
    let made = match program.terminal {
        None => session.run("image edit", edit)?,
        Some(_) => session.run_at_a_terminal("image edit", edit)?,
    };
    tell(&made, session)
}

/// The result; that two builds differ is a failure, although the image is there.
fn tell(made: &Made, session: &Session) -> Result<()> {
    session.print(made, |w| text(made, w))?;
    match made.differs.as_deref() {
        Some([first, rest @ ..]) => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            Err(Error::new(ErrorKind::Failed, format!("a second build differs in {first}{more}"))
                .hint("generalise it in the role; the image is in the store")
                .fact("differs", made.differs.clone().unwrap_or_default()))
        }
        _ => Ok(()),
    }
}

fn text(made: &Made, w: &mut dyn Write) -> io::Result<()> {
    let line = |s: &Step| {
        let sign = if s.action == "install" { '+' } else { '-' };
        format!("{sign} {}-{}.{}", s.name, s.version, s.arch)
    };
    let shown = if made.image.is_none() { usize::MAX } else { SHOWN };
    made.transaction.iter().take(shown).try_for_each(|s| writeln!(w, "{}", line(s)))?;
    if made.transaction.len() > shown {
        writeln!(w, "… {} more", made.transaction.len() - shown)?;
    }
    made.failed.iter().try_for_each(|f| writeln!(w, "{f} failed, as the role allows"))?;
    let Some(image) = &made.image else {
        let count = |action: &str| made.transaction.iter().filter(|s| s.action == action).count();
        return writeln!(w, "would install {} and remove {}", count("install"), count("remove"));
    };
    let state = if image.changed { "" } else { " (unchanged)" };
    writeln!(w, "{}@{} {}{state}", image.name, image.generation, image.image)?;
    writeln!(w, "{} entries, {} added to the store", image.entries, human(image.stored_bytes))?;
    super::tell_secrets(w, &image.secrets, image.secrets_count)?;
    match &made.differs {
        None => Ok(()),
        Some(paths) if paths.is_empty() => writeln!(w, "a second build is the same"),
        Some(paths) => paths.iter().try_for_each(|p| writeln!(w, "differs: {p}")),
    }
}
