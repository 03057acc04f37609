//! Packages of Debian and Ubuntu into a root: the host's apt and dpkg in the confined root.
//!
//! ```text
//!  with the network     apt-get update, -s, --download-only    signatures and sums are checked; no package's code runs
//!  without              tar: the essential packages, so that there is a shell, a dpkg
//!                       dpkg --install, in the target: they are installed as they should be
//!                       apt-get install --no-download, whose dpkg runs in the target: all others
//!                             │
//!                             └─> aptlog: facts, verdict ──> what is there is what was resolved?
//! ```
//!
//! The root of the network's steps is another one than that of the packages' scripts, which see neither the network nor where the
//! packages came from. Of the host's configuration nothing is there: sources, keyrings, proxies, its name.

mod aptlog;
mod root;
mod setup;

pub use aptlog::{Fault, Log};
pub(super) use root::packages;
pub use setup::Repository;

use super::dnflog::{Action, Resolved};
use super::packages::Package;
use super::root::{Call, Confined, Inside, Line};
use crate::document::diagnostic::nearest;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::sys::program::Program;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use wildmatch::WildMatch;

/// What every root has: the essential packages, those without which it cannot be looked after, and apt.
pub const BASE: [&str; 3] = [ESSENTIAL, REQUIRED, "apt"];
const ESSENTIAL: &str = "?essential";
const REQUIRED: &str = "?priority(required)";
/// Where caches, lists and packages are, in the target.
const WORK: &str = "/run/cv-build/apt";
/// Of the packages' scripts; their standard output is read by nobody.
const QUIET: [(&str, &str); 3] =
    [("DEBIAN_FRONTEND", "noninteractive"), ("DEBCONF_NONINTERACTIVE_SEEN", "true"), ("SYSTEMD_OFFLINE", "1")];

/// A root, and what goes into it.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The mirror without the suite: `http://mirror.example/debian`, `https://…` or `file:///…`.
    pub mirror: String,
    /// The suite: `bookworm`.
    pub suite: String,
    /// The components: `main`.
    pub components: Vec<String>,
    /// The keys that the suite has to be signed with, armoured or not.
    pub keyring: Vec<u8>,
    /// A directory with the suite as it was kept, `dists/SUITE/…`: `tree` of what a distribution lays out. The lists are taken
    /// from there, and only packages from the mirror.
    pub kept: Option<PathBuf>,
    /// The architecture as dpkg calls it: `amd64`.
    pub arch: String,
    /// More repositories.
    pub repositories: Vec<Repository>,
    /// Names and patterns of packages that are never installed.
    pub exclude: Vec<String>,
    /// Whether what packages recommend is installed.
    pub weak_deps: bool,
    /// Whether documentation is installed; copyright files always are.
    pub docs: bool,
    /// Languages whose translations are installed, such as `en_US`; empty: all.
    pub languages: Vec<String>,
    /// What goes into an empty root before all else; [`BASE`].
    pub base: Vec<String>,
    /// The proxy that packages are fetched through. The packages' scripts do not see it.
    pub proxy: Option<String>,
    /// The new root; it may have packages already.
    pub target: PathBuf,
    /// An empty directory to mount at.
    pub place: PathBuf,
    /// A directory for lists, packages and logs: what was fetched once, lists too, is not fetched again.
    pub work: PathBuf,
    /// `SOURCE_DATE_EPOCH` of the scripts: the date of the suite, in seconds since 1970.
    pub epoch: i64,
    /// Further variables for scripts.
    pub environment: Vec<(String, String)>,
    /// Each step is killed after that.
    pub limit: Duration,
    /// A step is killed when it has said nothing for so long.
    pub silence: Duration,
}

/// What was installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// All packages of the root.
    pub packages: Vec<Package>,
    /// What was done; it says which repository each package is from.
    pub resolved: Vec<Resolved>,
}

/// What is done with packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Installs packages.
    Install,
    /// Brings all that is installed to what the repositories have, and installs packages.
    Upgrade,
    /// Removes packages with their configuration.
    Remove,
}

impl Bootstrap {
    /// What an installation of these names would do, without doing it. A name may be `NAME=VERSION`. With
    /// [`Bootstrap::kept`] and no further repositories this needs no network.
    ///
    /// # Errors
    /// As [`Bootstrap::install`]; nothing of the target is changed.
    pub fn resolve(&self, names: &[String], task: &Task) -> Result<Vec<Resolved>> {
        self.plan(Command::Install, names, task)
    }

    /// As [`Bootstrap::resolve`], of any command.
    ///
    /// # Errors
    /// As [`Bootstrap::resolve`].
    pub fn plan(&self, command: Command, names: &[String], task: &Task) -> Result<Vec<Resolved>> {
        self.begin(task)?;
        self.simulate(command, &self.wanted(names), task)
    }

    /// Installs packages; into an empty root [`Bootstrap::base`] as well.
    ///
    /// # Errors
    /// `Unsupported` without apt, dpkg or root; `NotFound` for a package, with the nearest name, or when it is no more on the
    /// mirror; `Conflict` for what does not go together; `Integrity` for signatures and sums; `Plugin` for a script that
    /// failed; `Network`; `Limit` for time and space; `Failed` when what is installed is not what was resolved. Then the root
    /// is of no use.
    pub fn install(&self, names: &[String], task: &Task) -> Result<Installed> {
        self.change(Command::Install, names, task)
    }

    /// Runs any command that changes the root, and checks it as [`Bootstrap::install`] does.
    ///
    /// # Errors
    /// As [`Bootstrap::install`].
    pub fn change(&self, command: Command, names: &[String], task: &Task) -> Result<Installed> {
        self.begin(task)?;
        let wanted = self.wanted(names);
        let resolved = self.simulate(command, &wanted, task)?;
        self.fetch(command, &wanted, task)?;
        if root::is_empty(&self.target)? {
            // Alone they may be others than among all.
            let essential = [ESSENTIAL.to_owned()];
            let first = self.simulate(Command::Install, &essential, task)?;
            self.fetch(Command::Install, &essential, task)?;
            self.first(&first, task)?;
        }
        let quiet = root::Quiet::of(&self.target)?;
        let (log, status) = self.apt(Net::None, &["--no-download", command.word()], &wanted, task)?;
        log.verdict("apt-get", status)?;
        drop(quiet);
        root::sources(self)?;
        let packages = root::packages(&self.target)?;
        check(&resolved, &packages)?;
        Ok(Installed { packages, resolved })
    }

    fn wanted(&self, names: &[String]) -> Vec<String> {
        if !root::is_empty(&self.target).unwrap_or(false) {
            return names.to_vec();
        }
        let excluded = |name: &&String| self.exclude.iter().any(|pattern| WildMatch::new(pattern).matches(name));
        let base = self.base.iter().filter(|name| !excluded(name));
        base.map(|name| if name == REQUIRED { setup::required(&self.exclude) } else { name.clone() })
            .chain(names.iter().cloned())
            .collect()
    }

    /// Makes what apt works in, and fetches the lists unless the same were fetched before.
    fn begin(&self, task: &Task) -> Result<()> {
        Program::AptGet.find()?;
        Program::Dpkg.find()?;
        let mut said = setup::files(self, false)?;
        // How apt works is no matter of the lists.
        said.retain(|(name, _)| name != "apt.conf" && name != "preferences");
        said.extend(root::kept(self)?.map(|bytes| ("kept".to_owned(), bytes)));
        root::work(&self.work)?;
        let mark = self.work.join("apt/updated");
        let key =
            said.iter().map(|(name, bytes)| format!("{name} {}", blake3::hash(bytes))).collect::<Vec<_>>().join("\n");
        if std::fs::read_to_string(&mark).is_ok_and(|old| old == key) {
            return Ok(());
        }
        let (log, status) = self.apt(Net::Lists, &["update"], &[], task)?;
        log.verdict("apt-get update", status)?;
        std::fs::write(&mark, key).map_err(|e| Error::io("write", mark.display(), e))
    }

    fn simulate(&self, command: Command, names: &[String], task: &Task) -> Result<Vec<Resolved>> {
        let (log, status) = self.apt(Net::None, &["--simulate", command.word()], names, task)?;
        match log.verdict("apt-get", status) {
            Ok(()) => Ok(log.resolved),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(self.nearest(e, task)),
            Err(e) => Err(e),
        }
    }

    fn fetch(&self, command: Command, names: &[String], task: &Task) -> Result<()> {
        let (log, status) = self.apt(Net::Packages, &["--download-only", command.word()], names, task)?;
        log.verdict("apt-get", status)
    }

    /// Names what was meant by the first package that there is not.
    fn nearest(&self, e: Error, task: &Task) -> Error {
        let Some(name) = e.facts().get("packages").and_then(|p| p[0].as_str()).map(str::to_owned) else { return e };
        let call = self.call(["/usr/bin/apt-cache", "-c", "/conf/apt.conf", "pkgnames"].map(str::to_owned).into());
        let (mut names, quiet) = (BTreeSet::new(), Task::new(task.cancel_token(), None));
        let Ok(root) = self.confined(Net::None) else { return e };
        if root
            .run(&call, &quiet, &mut |line| {
                names.insert(line.text.clone());
            })
            .is_err()
        {
            return e;
        }
        let stem = name.split('=').next().unwrap_or_default();
        match nearest(stem, names.iter().map(String::as_str)) {
            Some(meant) => e.hint(format!("did you mean \"{meant}\"?")),
            None => e,
        }
    }

    /// The essential packages: first their files, so that their scripts can run, then by dpkg of the target.
    fn first(&self, packages: &[Resolved], task: &Task) -> Result<()> {
        root::begin(&self.target, &self.arch)?;
        let _quiet = root::Quiet::of(&self.target)?;
        let files: Vec<String> = packages.iter().map(root::file_of).collect();
        let unpack = |f: &String| format!("/target{WORK}/cache/archives/{f}");
        let mut arguments: Vec<String> = ["/bin/sh", "-c", root::UNPACK, "unpack"].map(str::to_owned).into();
        arguments.extend(files.iter().map(unpack));
        let (log, status) = self.run(Net::None, &self.call(arguments), task)?;
        log.verdict("unpacking the essential packages", status)?;
        let mut arguments: Vec<String> = ["/usr/bin/dpkg", "--install", "--force-depends"].map(str::to_owned).into();
        arguments.extend(setup::dpkg_options(self)?);
        arguments.extend(files.iter().map(|f| format!("{WORK}/cache/archives/{f}")));
        let call = Call { inside: Inside::Target, ..self.call(arguments) };
        let (log, status) = self.run(Net::None, &call, task)?;
        log.verdict("dpkg", status)
    }

    fn apt(&self, net: Net, words: &[&str], names: &[String], task: &Task) -> Result<(Log, i32)> {
        let mut arguments: Vec<String> =
            ["/usr/bin/apt-get", "-c", "/conf/apt.conf", "-y", "-q"].map(str::to_owned).into();
        arguments.extend(words.iter().map(|w| (*w).to_owned()));
        for name in names {
            arguments.push(setup::name(name)?.to_owned());
        }
        self.run(net, &self.call(arguments), task)
    }

    fn call(&self, arguments: Vec<String>) -> Call {
        let mut call = Call::new(arguments).env("SOURCE_DATE_EPOCH", self.epoch.to_string()).env("HOME", "/root");
        for (name, value) in QUIET {
            call = call.env(name, value);
        }
        call = call.envs(&self.environment);
        (call.limit, call.silence) = (self.limit, self.silence);
        call
    }

    fn confined(&self, net: Net) -> Result<Confined> {
        let used = match net {
            Net::None => false,
            Net::Lists => setup::lists_are_elsewhere(self),
            Net::Packages => setup::packages_are_elsewhere(self),
        };
        Ok(Confined {
            target: self.target.clone(),
            place: self.place.clone(),
            dist: setup::directories(self),
            conf: setup::files(self, used)?,
            work: Some(self.work.clone()),
            net: used,
        })
    }

    fn run(&self, net: Net, call: &Call, task: &Task) -> Result<(Log, i32)> {
        let mut log = Log::default();
        let ended = self.confined(net)?.run(call, task, &mut |line| {
            log.hear(&Line { stream: line.stream, text: setup::outside(self, &line.text) });
        })?;
        Ok((log, ended.status))
    }
}

/// What a step takes from elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Net {
    None,
    Lists,
    Packages,
}

impl Command {
    fn word(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "dist-upgrade",
            Self::Remove => "purge",
        }
    }
}

/// Whether all that was to be installed is there, and nothing that was to be removed.
fn check(resolved: &[Resolved], packages: &[Package]) -> Result<()> {
    let there: BTreeSet<_> = packages.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.arch.as_str())).collect();
    let of = |r: &&Resolved| match r.action {
        Action::Install => !there.contains(&(r.name.as_str(), r.evr.as_str(), r.arch.as_str())),
        // Apt does not always say of which architecture it was.
        Action::Remove => there.iter().any(|p| (p.0, p.1) == (&r.name, &r.evr) && (r.arch.is_empty() || r.arch == p.2)),
    };
    let wrong: Vec<_> = resolved.iter().filter(of).collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    let names: Vec<_> = wrong.iter().take(50).map(|r| format!("{}:{}={}", r.name, r.arch, r.evr)).collect();
    let what = if first.action == Action::Install { "not installed" } else { "still there" };
    Err(Error::new(ErrorKind::Failed, format!("{} is {what}, although apt said nothing of it", names[0]))
        .fact("packages", names))
}
