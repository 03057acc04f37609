//! Packages of rpm into a root: dnf in the confined root, and whether what is there afterwards is what was resolved.
//!
//! ```text
//!  resolve: dnf --assumeno ──> the resolved set ──┐
//!  install: dnf            ──> facts ── verdict ──┼─> the same? ──> the packages
//!                 rpmdb, normalised ──────────────┘
//! ```

use super::dnflog::{Action, Fault, Log, Resolved, Scriptlet};
use super::packages::Package;
use super::root::{Call, Confined};
use super::rpm::{self, Command, Extent, Setup};
use super::rpmdb;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::sys::program::{self, Program};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first rpm whose clock can be set, so that the times of installation are the same each time.
const SETTABLE: (u32, u32) = (4, 18);

/// Where headers go from one database to another, among the caches.
const HEADERS: &str = "headers";

/// A root and what goes into it.
#[derive(Clone, Debug)]
pub struct Install {
    /// What dnf is told.
    pub setup: Setup,
    /// The new root; it may have packages already.
    pub target: PathBuf,
    /// An empty directory to mount at.
    pub place: PathBuf,
    /// A directory for caches and logs: metadata that were read once are not read again.
    pub work: PathBuf,
    /// Scriptlets of these packages may fail.
    pub allowed: Vec<String>,
    /// The clock of the packages, in seconds since 1970.
    pub epoch: i64,
    /// Further variables for dnf and scriptlets.
    pub environment: Vec<(String, String)>,
    /// It is killed after that.
    pub limit: Duration,
    /// It is killed when it, and each scriptlet, has said nothing for so long.
    pub silence: Duration,
}

/// What was installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// All packages of the root.
    pub packages: Vec<Package>,
    /// Scriptlets that failed although they were allowed to.
    pub failed: Vec<Scriptlet>,
}

impl Install {
    /// What a command would do, without doing it.
    ///
    /// # Errors
    /// As [`Install::install`]; nothing is changed but caches.
    pub fn resolve(&self, command: Command, names: &[String], task: &Task) -> Result<Vec<Resolved>> {
        let (log, status) = self.run(command, Extent::Resolve, names, task)?;
        if log.aborted && log.faults.is_empty() {
            return Ok(log.resolved().to_vec());
        }
        log.verdict(status, &[])?;
        Ok(log.resolved().to_vec())
    }

    /// Enables streams of modules, `name:stream`.
    ///
    /// # Errors
    /// `NotFound` for one that is not there, `Conflict` for two of one module.
    pub fn enable(&self, streams: &[String], task: &Task) -> Result<()> {
        if streams.is_empty() {
            return Ok(());
        }
        let (log, status) = self.run(Command::EnableModules, Extent::Perform, streams, task)?;
        log.verdict(status, &[])
    }

    /// Installs packages and `@groups`.
    ///
    /// # Errors
    /// `Unsupported` without dnf or root; `NotFound`, `Conflict`, `Integrity`, `Plugin` for a scriptlet, `Limit` for time and
    /// space, as [`Log::verdict`]; `Failed` when what is installed is not what was resolved. Then the root is of no use.
    pub fn install(&self, names: &[String], task: &Task) -> Result<Installed> {
        self.change(Command::Install, names, &[], task)
    }

    /// Runs any command that changes the root, and checks it as [`Install::install`] does. `resolved` is what it will do, as
    /// far as that is known.
    ///
    /// # Errors
    /// As [`Install::install`].
    pub fn change(&self, command: Command, names: &[String], resolved: &[Resolved], task: &Task) -> Result<Installed> {
        self.import_keys(resolved, task)?;
        if self.setup.needs_network() {
            let (log, status) = self.run(command, Extent::Fetch, names, task)?;
            log.verdict(status, &[])?;
        }
        let (log, status) = self.run(command, Extent::Perform, names, task)?;
        log.verdict(status, &self.allowed)?;
        rpmdb::normalise(&self.target)?;
        let packages = rpmdb::read(&self.target)?.unwrap_or_default();
        check(log.resolved(), &packages)?;
        let failed = log.scriptlets.iter().map(|s| format!("%{} of {}", s.scriptlet, s.package));
        failed.for_each(|s| task.warn(format!("{s} failed, as the role allows")));
        Ok(Installed { packages, failed: log.scriptlets })
    }

    /// Gives the root a database in the form of its own rpm, for releases whose rpm does not know that of the host: EL8, whose
    /// 4.14 has no SQLite. [`rpmdb::read`] cannot read it afterwards.
    ///
    /// # Errors
    /// `Unsupported` when the rpm of the root cannot do it, with what it said; else as [`Install::install`].
    pub fn convert(&self, task: &Task) -> Result<()> {
        const SCRIPT: &str = "/usr/bin/rpmdb --initdb && /usr/bin/rpmdb --importdb <\"$1\" && /usr/bin/rpm -qa | wc -l";
        rpmdb::normalise(&self.target)?;
        let headers = self.work.join(HEADERS);
        let failed = |e| Error::io("write", headers.display(), e);
        // Programs of packages could write there: a link that one left is not followed.
        let created = std::fs::OpenOptions::new().write(true).create_new(true).open(&headers).map_err(failed)?;
        let mut file = std::io::BufWriter::new(created);
        let count = rpmdb::export(&self.target, &mut file)?;
        file.flush().map_err(failed)?;
        drop(file);
        rpmdb::remove(&self.target)?;
        let inside = format!("{}/{HEADERS}", rpm::WORK);
        let call = Call::new(["/bin/sh", "-c", SCRIPT, "sh", &inside]).in_target();
        let (mut found, call) = (None, Call { limit: self.limit, silence: self.silence, ..call });
        let ended = self.root(false)?.run(&call, task, &mut |line| found = line.text.trim().parse().ok())?;
        if ended.status == 0 && found == Some(count) {
            return Ok(());
        }
        Err(Error::unsupported("the rpm of the new root cannot take over the package database")
            .fact("tail", ended.tail))
    }

    /// Gives the root the keys of the repositories that packages come from. dnf would do that, too, once it has read the first
    /// package in vain, which may be a large one. Whether a key is good is for dnf to say.
    fn import_keys(&self, resolved: &[Resolved], task: &Task) -> Result<()> {
        let from: BTreeSet<_> =
            resolved.iter().filter(|r| r.action == Action::Install).map(|r| &r.repository).collect();
        let repositories = self.setup.repositories.iter().filter(|r| from.contains(&r.id));
        let keys: BTreeSet<_> = repositories.flat_map(|r| &r.keys).map(|k| format!("/conf/{k}")).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let import = ["/usr/bin/rpmkeys", "--root=/target", "--import"].map(str::to_owned);
        let call = Call::new(import.into_iter().chain(keys)).env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        self.root(false)?.run(&call, task, &mut |_| {}).map(drop)
    }

    fn root(&self, net: bool) -> Result<Confined> {
        Ok(Confined {
            target: self.target.clone(),
            place: self.place.clone(),
            dist: self.setup.directories(),
            conf: self.setup.files()?,
            work: Some(self.work.clone()),
            net,
        })
    }

    fn run(&self, command: Command, extent: Extent, names: &[String], task: &Task) -> Result<(Log, i32)> {
        known(&Program::Dnf.find()?)?;
        if !settable(task)? {
            task.warn("rpm before 4.18: the times of installation will differ from build to build");
        }
        let root = self.root(self.setup.reaches(command, extent))?;
        let mut call = Call::new(self.setup.arguments(command, extent, names)?)
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            .env("SYSTEMD_OFFLINE", "1");
        call = call.envs(&self.environment);
        (call.limit, call.silence) = (self.limit, self.silence);
        let mut log = Log::default();
        let ended = root.run(&call, task, &mut |line| log.hear(line))?;
        log.faults.iter_mut().for_each(|f| self.place(f));
        Ok((log, ended.status))
    }

    /// That a repository elsewhere has no metadata may be the network's fault, which dnf does not tell apart.
    fn place(&self, fault: &mut Fault) {
        if let Fault::NoMetadata(id) = fault
            && let Some(rpm::Place::Url(url)) = self.setup.repositories.iter().find(|r| r.id == *id).map(|r| &r.place)
        {
            *fault = Fault::Unreachable { repository: id.clone(), url: url.clone() };
        }
    }
}

/// dnf 5 has the same name and says everything in other words.
fn known(path: &Path) -> Result<()> {
    let real = std::fs::canonicalize(path).map_err(|e| Error::io("look at", path.display(), e))?;
    if real.file_name().is_some_and(|n| n.to_string_lossy().contains("dnf5")) {
        return Err(
            Error::unsupported("dnf of this machine is dnf5, which libcv does not understand").hint("install dnf 4")
        );
    }
    Ok(())
}

/// Whether the host's rpm takes its clock from `SOURCE_DATE_EPOCH`.
fn settable(task: &Task) -> Result<bool> {
    let said = program::Call::new(Program::Rpm).arg("--version").run(&|| task.check().is_err())?;
    let text = String::from_utf8_lossy(&said.stdout);
    Ok(version(&text).is_none_or(|v| v >= SETTABLE))
}

/// The first two numbers of `RPM version 4.18.0`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().last()?.split('.').map(|n| n.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Whether all that was to be installed is there, and nothing that was to be removed.
fn check(resolved: &[Resolved], packages: &[Package]) -> Result<()> {
    let there: BTreeSet<_> = packages.iter().map(|p| (p.name.clone(), p.evr(), p.arch.clone())).collect();
    let of = |r: &Resolved| (r.name.clone(), r.evr.clone(), r.arch.clone());
    let wrong: Vec<_> = resolved.iter().filter(|r| there.contains(&of(r)) != (r.action == Action::Install)).collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    let names: Vec<_> = wrong.iter().take(50).map(|r| format!("{}-{}.{}", r.name, r.evr, r.arch)).collect();
    let what = if first.action == Action::Install { "not installed" } else { "still there" };
    Err(Error::new(ErrorKind::Failed, format!("{} is {what}, although dnf said nothing of it", names[0]))
        .fact("packages", names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::packages::Kind;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("RPM version 4.18.0\n"), Some((4, 18)));
        assert!(version("RPM version 4.9.1").unwrap() < SETTABLE);
    }

    #[test]
    fn what_was_resolved_is_what_is_there() {
        let resolved = |evr: &str, action| Resolved {
            name: "a".into(),
            evr: evr.into(),
            arch: "noarch".into(),
            repository: "r".into(),
            action,
        };
        let mut package = Package::new(Kind::Rpm, "a");
        (package.epoch, package.version, package.arch) = (Some(1), "2".into(), "noarch".into());
        package.release = Some("3".into());
        let there = [package];
        assert!(check(&[resolved("1:2-3", Action::Install), resolved("1:2-2", Action::Remove)], &there).is_ok());
        let e = check(&[resolved("1:2-4", Action::Install)], &there).unwrap_err();
        assert!(e.message().starts_with("a-1:2-4.noarch is not installed"), "{e}");
        assert!(check(&[resolved("1:2-3", Action::Remove)], &there).is_err());
    }
}
