//! The package manager of a system, told what a role wants: dnf, or apt and dpkg.
//!
//! ```text
//!  dnf: enable streams ─> for each command: resolve ─> lay out ─> install
//!  apt: lists from the store ─> fetch ─> install
//! ```

use super::bench::Bench;
use super::grow::Grow;
use super::supply::{self, Supply};
use crate::build::debian::{self, Bootstrap};
use crate::build::dnflog::{Resolved, Scriptlet};
use crate::build::install::Install;
use crate::build::packages::Package;
use crate::build::provenance::How;
use crate::build::rpm::Command;
use crate::build::rpmdb;
use crate::distro::mirror;
use crate::error::{Error, Result};
use crate::job::Task;

/// A package manager with a root.
pub(super) struct Packager<'a> {
    grow: &'a Grow<'a>,
    supply: &'a Supply,
    tool: Tool,
}

enum Tool {
    Dnf(Box<Install>),
    Apt(Box<Bootstrap>),
}

/// What it did.
pub(super) struct Done {
    pub(super) transaction: Vec<Resolved>,
    pub(super) failed: Vec<Scriptlet>,
    pub(super) packages: Vec<Package>,
    pub(super) epoch: i64,
}

impl<'a> Packager<'a> {
    pub(super) fn of(grow: &'a Grow<'a>, supply: &'a Supply, bench: &Bench) -> Result<Self> {
        let tool = match supply.distro.document().is_mirror() {
            true => Tool::Apt(Box::new(apt(grow, supply, bench)?)),
            false => Tool::Dnf(Box::new(dnf(grow, supply, bench)?)),
        };
        Ok(Self { grow, supply, tool })
    }

    /// What would be installed and removed.
    pub(super) fn resolve(&self, task: &Task) -> Result<Vec<Resolved>> {
        let install = match &self.tool {
            Tool::Apt(apt) => return apt.plan(self.apt_command(), &self.grow.wanted(), task),
            Tool::Dnf(install) => install,
        };
        install.enable(&supply::streams(&self.grow.recipe.part), task)?;
        let mut out: Vec<Resolved> = Vec::new();
        for (command, names) in self.commands() {
            for step in install.resolve(command, &names, task)? {
                // The second command does not know what the first one would have done.
                if !out.contains(&step) {
                    out.push(step);
                }
            }
        }
        Ok(out)
    }

    /// Installs, removes and updates; with this epoch, or that of what is installed.
    pub(super) fn install(self, epoch: Option<i64>, task: &Task) -> Result<Done> {
        let command = self.apt_command();
        match self.tool {
            Tool::Apt(mut apt) => {
                apt.epoch = epoch.unwrap_or(apt.epoch);
                let done = apt.change(command, &self.grow.wanted(), task)?;
                let (transaction, packages, failed) = (done.resolved, done.packages, Vec::new());
                Ok(Done { transaction, failed, packages, epoch: apt.epoch })
            }
            Tool::Dnf(ref install) => self.by_dnf(Install::clone(install), epoch, task),
        }
    }

    fn by_dnf(&self, mut install: Install, epoch: Option<i64>, task: &Task) -> Result<Done> {
        let mut done = Done { transaction: Vec::new(), failed: Vec::new(), packages: Vec::new(), epoch: install.epoch };
        install.enable(&supply::streams(&self.grow.recipe.part), task)?;
        for (command, names) in self.commands() {
            let resolved = install.resolve(command, &names, task)?;
            self.supply.lay_out(&self.grow.dist, &resolved, self.grow.options.threads, task)?;
            install.epoch =
                epoch.or(self.supply.newest(&resolved).max(rpmdb::newest(&install.target)?)).unwrap_or(install.epoch);
            let changed = install.change(command, &names, &resolved, task)?;
            done.packages = changed.packages;
            done.failed.extend(changed.failed);
            done.transaction.extend(resolved);
        }
        done.epoch = epoch.or(rpmdb::newest(&install.target)?).unwrap_or(install.epoch);
        if is_older(self.supply) {
            install.convert(task)?;
        }
        Ok(done)
    }

    /// What dnf is told, in this order.
    fn commands(&self) -> Vec<(Command, Vec<String>)> {
        let mut out = Vec::new();
        if self.grow.order.how == How::Update {
            out.push((Command::Synchronise, Vec::new()));
        }
        let names = self.grow.wanted();
        if !names.is_empty() {
            out.push((Command::Install, names));
        }
        out
    }

    fn apt_command(&self) -> debian::Command {
        if self.grow.order.how == How::Update { debian::Command::Upgrade } else { debian::Command::Install }
    }
}

/// Whether the rpm of the release has no SQLite, which came with 4.16.
fn is_older(supply: &Supply) -> bool {
    supply.distro.document().major < 9
}

fn dnf(grow: &Grow<'_>, supply: &Supply, bench: &Bench) -> Result<Install> {
    if is_older(supply) && grow.order.base.is_some() {
        return Err(Error::unsupported("packages of an image of Enterprise Linux 8 cannot be changed here")
            .hint("build it anew: the role that it was built with stands in its provenance"));
    }
    let mut environment = vec![("KERNEL_INSTALL_BYPASS".to_owned(), "1".to_owned())];
    environment.extend(grow.options.environment.iter().cloned());
    Ok(Install {
        setup: supply.setup(&grow.recipe.part, &grow.recipe.system, &grow.dist)?,
        target: bench.target(),
        place: bench.place(),
        work: bench.work(),
        allowed: grow.recipe.part.allow_scriptlet_failures.iter().cloned().collect(),
        epoch: supply.distro.document().timestamp.unwrap_or(0),
        environment,
        limit: grow.options.time_limit,
        silence: grow.options.silence,
    })
}

fn apt(grow: &Grow<'_>, supply: &Supply, bench: &Bench) -> Result<Bootstrap> {
    let (d, part) = (supply.distro.document(), &grow.recipe.part);
    let lacks = |what: &str| Error::integrity(format!("{} does not say its {what}", supply.distro.name()));
    let repository = |r: &crate::role::spec::Repository| {
        let suite = r.suite.clone().ok_or_else(|| {
            Error::invalid(format!("the repository {} needs a suite on Debian and Ubuntu", r.name))
                .hint("write suite: bookworm, components: [main]")
        })?;
        Ok(debian::Repository {
            name: r.name.clone(),
            url: supply::filled(&r.url, &d.version, &d.arch),
            key: mirror::keyring(r.key.as_bytes())?,
            suite,
            components: r.components.clone(),
            priority: r.priority,
        })
    };
    let keys: Vec<Vec<u8>> = d.keys.iter().map(|k| mirror::keyring(k.text.as_bytes())).collect::<Result<_>>()?;
    Ok(Bootstrap {
        mirror: d.source.url.clone().ok_or_else(|| lacks("mirror"))?,
        suite: d.source.suite.clone().ok_or_else(|| lacks("suite"))?,
        components: d.source.components.clone(),
        keyring: keys.concat(),
        kept: Some(grow.dist.join("tree")),
        arch: mirror::deb_architecture(&d.arch).to_owned(),
        repositories: part.repositories.iter().map(repository).collect::<Result<_>>()?,
        exclude: part.exclude.iter().cloned().collect(),
        weak_deps: part.weak_deps.unwrap_or(false),
        docs: part.docs.unwrap_or(true),
        languages: part.languages.iter().cloned().collect(),
        base: debian::BASE.map(str::to_owned).into(),
        proxy: std::env::var("http_proxy").ok().filter(|p| !p.is_empty()),
        target: bench.target(),
        place: bench.place(),
        work: bench.work(),
        epoch: d.timestamp.unwrap_or(0),
        environment: grow.options.environment.clone(),
        limit: grow.options.time_limit,
        silence: grow.options.silence,
    })
}
