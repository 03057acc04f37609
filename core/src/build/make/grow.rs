//! A root grows: what was there, packages, what the role says, and nothing of the machine that made it.

use super::bench::Bench;
use super::supply::{self, Supply};
use super::{MakeOptions, Order, Recipe};
use crate::build::configure::{self, Configuration};
use crate::build::dnflog::{Resolved, Scriptlet};
use crate::build::generalise::{self, Rules};
use crate::build::install::Install;
use crate::build::packages::Package;
use crate::build::provenance::{Entry, How};
use crate::build::rpm::Command;
use crate::build::{initramfs, rpmdb};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::sys::clock;
use crate::tree::extract::ExtractOptions;
use std::path::PathBuf;

/// All that decides what a root becomes: twice the same gives the same.
pub(super) struct Grow<'a> {
    pub(super) order: &'a Order,
    pub(super) recipe: &'a Recipe,
    /// Where the distribution is laid out.
    pub(super) dist: PathBuf,
    pub(super) options: &'a MakeOptions,
}

/// What became of it.
pub(super) struct Grown {
    pub(super) transaction: Vec<Resolved>,
    pub(super) failed: Vec<Scriptlet>,
    pub(super) packages: Vec<Entry>,
    pub(super) epoch: i64,
}

impl Grow<'_> {
    /// What would be installed and removed.
    pub(super) fn resolve(&self, bench: &Bench, task: &Task) -> Result<Vec<Resolved>> {
        self.extract(bench, task)?;
        let Some(supply) = &self.order.supply else { return Ok(Vec::new()) };
        let install = self.install(supply, bench)?;
        install.enable(&supply::streams(&self.recipe.part), task)?;
        let mut out: Vec<Resolved> = Vec::new();
        for (command, names) in self.commands() {
            for step in install.resolve(command, &names, task)? {
                // The second command does not know what the first one would have done.
                if !out.iter().any(|o| o == &step) {
                    out.push(step);
                }
            }
        }
        Ok(out)
    }

    /// Does all of it but the capture.
    pub(super) fn run(&self, bench: &Bench, task: &Task) -> Result<Grown> {
        task.stage("root", 0, Unit::Steps);
        self.extract(bench, task)?;
        let part = &self.recipe.part;
        let role_epoch = part.epoch.and_then(|e| i64::try_from(e).ok());
        let mut grown = Grown { transaction: Vec::new(), failed: Vec::new(), packages: Vec::new(), epoch: 0 };
        let mut installed = Vec::new();
        if let Some(supply) = &self.order.supply {
            task.stage("install", 0, Unit::Steps);
            let mut install = self.install(supply, bench)?;
            install.enable(&supply::streams(part), task)?;
            for (command, names) in self.commands() {
                let resolved = install.resolve(command, &names, task)?;
                supply.lay_out(&self.dist, &resolved, self.options.threads, task)?;
                install.epoch = role_epoch
                    .or_else(|| supply.newest(&resolved).max(rpmdb::newest(&install.target).ok().flatten()))
                    .unwrap_or(install.epoch);
                let done = install.change(command, &names, task)?;
                installed = done.packages;
                grown.failed.extend(done.failed);
                grown.transaction.extend(resolved);
            }
            grown.packages = entries(supply, &installed);
        }
        let newest = || match rpmdb::newest(&bench.target()) {
            // A kind that only the root's own rpm reads.
            Err(e) if e.kind() == ErrorKind::Unsupported => Ok(None),
            found => found,
        };
        grown.epoch = role_epoch.or(newest()?).unwrap_or_else(|| self.of_base());
        if let Some(supply) = self.order.supply.as_ref().filter(|s| is_older(s)) {
            self.install(supply, bench)?.convert(task)?;
        }
        self.finish(bench, grown.epoch, task)?;
        Ok(grown)
    }

    /// Configures it, makes what starts it, and takes out what is the machine's own.
    fn finish(&self, bench: &Bench, epoch: i64, task: &Task) -> Result<()> {
        let Recipe { part, system, .. } = self.recipe;
        let distro = self.order.supply.as_ref().map_or("", |s| s.distro.name());
        let role = self.order.role.as_ref().map_or("", |r| r.name());
        let values = system.values(distro, role, &self.order.name);
        let mut environment = environment(epoch);
        environment.extend(self.options.environment.iter().cloned());
        task.stage("configure", 0, Unit::Steps);
        let what = Configuration { part, deb: system.selector.is_deb(), values: &values, epoch };
        configure::configure(&bench.target(), &what, task)?;
        if what.deb {
            configure::make_locale(&bench.confined(false), part, &environment, task)?;
        }
        configure::run_scripts(part, &|net| bench.confined(net), &bench.work(), &environment, task)?;
        task.stage("initramfs", 0, Unit::Steps);
        initramfs::make(&bench.confined(false), &environment, task)?;
        task.stage("generalise", 0, Unit::Steps);
        let has = |path: &str| part.files.get(path).is_some();
        let rules = Rules {
            epoch,
            keep_hostname: has("/etc/hostname"),
            keep_resolver: has("/etc/resolv.conf"),
            remove: part.generalise.remove.iter().cloned().collect(),
            truncate: part.generalise.truncate.iter().cloned().collect(),
        };
        generalise::generalise(&bench.target(), &rules, task).map(drop)
    }

    fn extract(&self, bench: &Bench, task: &Task) -> Result<()> {
        let Some(base) = &self.order.base else { return Ok(()) };
        let how = ExtractOptions { threads: self.options.threads, no_sync: true, ..ExtractOptions::default() };
        base.extract(bench.target(), &how, task).map(drop)
    }

    /// What the package manager is told, in this order.
    fn commands(&self) -> Vec<(Command, Vec<String>)> {
        let mut names = supply::wanted(&self.recipe.part);
        names.extend(self.order.wanted.iter().filter(|w| !self.recipe.part.packages.iter().any(|p| p == *w)).cloned());
        let mut out = Vec::new();
        if self.order.how == How::Update {
            out.push((Command::Synchronise, Vec::new()));
        }
        if !names.is_empty() {
            out.push((Command::Install, names));
        }
        out
    }

    fn install(&self, supply: &Supply, bench: &Bench) -> Result<Install> {
        if is_older(supply) && self.order.base.is_some() {
            return Err(Error::unsupported("packages of an image of Enterprise Linux 8 cannot be changed here")
                .hint("build it anew: the role that it was built with stands in its provenance"));
        }
        Ok(Install {
            setup: supply.setup(&self.recipe.part, &self.recipe.system, &self.dist)?,
            target: bench.target(),
            place: bench.place(),
            work: bench.work(),
            allowed: self.recipe.part.allow_scriptlet_failures.iter().cloned().collect(),
            epoch: supply.distro.document().timestamp.unwrap_or(0),
            environment: [("KERNEL_INSTALL_BYPASS".to_owned(), "1".to_owned())]
                .into_iter()
                .chain(self.options.environment.iter().cloned())
                .collect(),
            limit: self.options.time_limit,
            silence: self.options.silence,
        })
    }

    /// Of an image without packages of rpm: when it was made.
    fn of_base(&self) -> i64 {
        let created = self.order.base.as_ref().and_then(|b| b.release()).map(|r| r.created.clone());
        created.and_then(|c| clock::seconds(&c)).unwrap_or(0)
    }
}

/// Whether the rpm of the release has no SQLite, which came with 4.16.
fn is_older(supply: &Supply) -> bool {
    supply.distro.document().major < 9
}

/// What programs of the root see.
fn environment(epoch: i64) -> Vec<(String, String)> {
    [
        ("SOURCE_DATE_EPOCH", epoch.to_string()),
        ("SYSTEMD_OFFLINE", "1".to_owned()),
        ("KERNEL_INSTALL_BYPASS", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// All packages, with what the distribution knows of their files.
fn entries(supply: &Supply, installed: &[Package]) -> Vec<Entry> {
    let index = supply.index();
    let entry = |p: &Package| {
        let found = index.get(&(p.name.clone(), p.arch.clone(), p.evr()));
        Entry {
            repository: found.map(|f| f.repository.id.clone()),
            digest: found.map(|f| f.package.digest.to_string()),
            ..Entry::of(p)
        }
    };
    installed.iter().map(entry).collect()
}
