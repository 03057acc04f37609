//! A root grows: what was there, packages, what the role says, and nothing of the machine that made it.

use super::MakeOptions;
use super::bench::Bench;
use super::order::{Order, Recipe};
use super::packager::{Done, Packager};
use super::supply::{self, Supply};
use crate::build::configure::{self, Configuration};
use crate::build::dnflog::{Resolved, Scriptlet};
use crate::build::generalise::{self, Rules};
use crate::build::packages::Package;
use crate::build::provenance::{Entry, Provenance};
use crate::build::{initramfs, rpmdb};
use crate::error::{ErrorKind, Result};
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
#[derive(Default)]
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
        Packager::of(self, supply, bench)?.resolve(task)
    }

    /// Does all of it but the capture.
    pub(super) fn run(&self, bench: &Bench, task: &Task) -> Result<Grown> {
        task.stage("root", 0, Unit::Steps);
        self.extract(bench, task)?;
        let epoch = self.recipe.part.epoch.and_then(|e| i64::try_from(e).ok());
        let mut grown = Grown { epoch: epoch.unwrap_or_default(), ..Grown::default() };
        if let Some(supply) = &self.order.supply {
            task.stage("install", 0, Unit::Steps);
            let done = Packager::of(self, supply, bench)?.install(epoch, task)?;
            grown.packages = self.entries(supply, &done)?;
            grown = Grown { transaction: done.transaction, failed: done.failed, epoch: done.epoch, ..grown };
        } else if epoch.is_none() {
            grown.epoch = self.of_base(bench)?;
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
        configure::run_scripts(part, &|net| bench.confined(net), &|| bench.untouched(), &environment, task)?;
        task.stage("initramfs", 0, Unit::Steps);
        let has = |path: &str| part.files.get(path).is_some();
        let rules = Rules {
            epoch,
            keep_hostname: has("/etc/hostname"),
            keep_resolver: has("/etc/resolv.conf"),
            remove: part.generalise.remove.iter().cloned().collect(),
            truncate: part.generalise.truncate.iter().cloned().collect(),
        };
        // Before, too: what is the machine's own must not get into the initramfs.
        generalise::generalise(&bench.target(), &rules, task)?;
        initramfs::make(&bench.confined(false), &environment, task)?;
        task.stage("generalise", 0, Unit::Steps);
        generalise::generalise(&bench.target(), &rules, task).map(drop)
    }

    fn extract(&self, bench: &Bench, task: &Task) -> Result<()> {
        let Some(base) = &self.order.base else { return Ok(()) };
        let how = ExtractOptions { threads: self.options.threads, no_sync: true, ..ExtractOptions::default() };
        base.extract(bench.target(), &how, task).map(drop)
    }

    /// What is installed by name.
    pub(super) fn wanted(&self) -> Vec<String> {
        let mut names = supply::wanted(&self.recipe.part);
        names.extend(self.order.wanted.iter().filter(|w| !self.recipe.part.packages.iter().any(|p| p == *w)).cloned());
        names
    }

    /// All packages, with what is known of their files: of those that were installed by their repository, of others by what the
    /// image before knew.
    fn entries(&self, supply: &Supply, done: &Done) -> Result<Vec<Entry>> {
        let old =
            self.order.base.as_ref().map(Provenance::of).transpose()?.flatten().map(|p| p.packages).unwrap_or_default();
        let (index, mirror) = (supply.index(), supply.distro.document().is_mirror());
        let entry = |p: &Package| {
            let (new, key) = (Entry::of(p), (p.name.clone(), p.arch.clone(), p.evr()));
            let come = done.transaction.iter().find(|r| (&r.name, &r.arch, &r.evr) == (&key.0, &key.1, &key.2));
            let Some(come) = come else {
                return old
                    .iter()
                    .find(|o| o.header_sha256 == new.header_sha256 && o.is_same(&new))
                    .cloned()
                    .unwrap_or(new);
            };
            // What apt calls a repository is not what the distribution calls its components.
            let found = if mirror { index.get(&key).copied() } else { supply::of_distribution(&index, come) };
            Entry {
                repository: Some(found.map_or_else(|| come.repository.clone(), |f| f.repository.id.clone())),
                digest: found.map(|f| f.package.digest.to_string()),
                ..new
            }
        };
        Ok(done.packages.iter().map(entry).collect())
    }

    /// Of an image of which no package is changed: when the newest one was built, else when the image was made.
    fn of_base(&self, bench: &Bench) -> Result<i64> {
        let newest = match rpmdb::newest(&bench.target()) {
            // A kind that only the root's own rpm reads.
            Err(e) if e.kind() == ErrorKind::Unsupported => None,
            found => found?,
        };
        let created = || self.order.base.as_ref().and_then(|b| b.release()).and_then(|r| clock::seconds(&r.created));
        Ok(newest.or_else(created).unwrap_or(0))
    }
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
