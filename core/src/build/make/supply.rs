//! What packages come from: a distribution of the store and the repositories of a role, as the package manager sees them.
//!
//! ```text
//!  Distro ─ repositories: names, builds, sums ─┬─> names of the role are checked
//!                                              └─> what is resolved ─> files that are laid out, epoch, provenance
//! ```

use super::system::System;
use crate::build::dnflog::{Action, Resolved};
use crate::build::rpm;
use crate::distro::{Distro, Package, Repository, Selection};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::role::{Names, Part, names};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A distribution whose metadata are read.
pub(super) struct Supply {
    pub(super) distro: Distro,
    repositories: Vec<Repository>,
}

/// Where a package of the distribution is.
#[derive(Clone, Copy)]
pub(super) struct Found<'s> {
    pub(super) repository: &'s Repository,
    pub(super) package: &'s Package,
}

/// Packages by name, architecture, and epoch, version and release.
pub(super) type Index<'s> = HashMap<(String, String, String), Found<'s>>;

impl Supply {
    pub(super) fn open(distro: Distro, task: &Task) -> Result<Self> {
        let repositories = distro.repositories(task)?;
        Ok(Self { distro, repositories })
    }

    pub(super) fn index<'s>(&'s self) -> Index<'s> {
        let all = self.repositories.iter().flat_map(|r| r.packages.iter().map(move |p| (r, p)));
        let keyed = |(repository, package): (&'s Repository, &'s Package)| {
            ((package.name.clone(), package.arch.clone(), evr(package)), Found { repository, package })
        };
        all.map(keyed).collect()
    }

    /// The names that a role can use.
    pub(super) fn names(&self) -> Names {
        let mut out = Names::default();
        for r in &self.repositories {
            for p in &r.packages {
                out.packages.insert(p.name.clone());
                out.provides.extend(p.provides.iter().cloned());
            }
            for g in &r.groups {
                let mandatory = g.packages.iter().filter(|(_, w)| *w == crate::distro::repo::Wanted::Mandatory);
                let group = out.groups.entry(g.id.clone()).or_insert_with(names::Group::default);
                group.mandatory.extend(mandatory.map(|(name, _)| name.clone()));
            }
            out.environments.extend(r.environments.iter().map(|e| e.id.clone()));
            for m in &r.modules {
                let streams: &mut BTreeMap<_, std::collections::BTreeSet<String>> =
                    out.modules.entry(m.name.clone()).or_default();
                for (stream, profiles) in &m.streams {
                    streams.entry(stream.clone()).or_default().extend(profiles.iter().cloned());
                }
            }
        }
        out
    }

    /// Writes the metadata, with which names are resolved.
    pub(super) fn lay_out_metadata(&self, dir: &Path, threads: usize, task: &Task) -> Result<()> {
        self.distro.lay_out(dir, &Selection::Metadata, threads, task).map(drop)
    }

    /// Writes the packages that a transaction installs from the distribution.
    pub(super) fn lay_out(&self, dir: &Path, resolved: &[Resolved], threads: usize, task: &Task) -> Result<()> {
        let index = self.index();
        let found = || resolved.iter().filter_map(|r| of_distribution(&index, r));
        let files = found().map(|f| (f.repository.place_of(f.package), f.package.digest.clone())).collect();
        self.distro.lay_out(dir, &Selection::Checked(files), threads, task).map(drop).map_err(|e| {
            let damaged = found()
                .find(|f| e.facts().get("path").and_then(|p| p.as_str()) == Some(&f.repository.place_of(f.package)));
            let Some(Found { package, .. }) = damaged.filter(|_| e.kind() == ErrorKind::Integrity) else { return e };
            e.context(format!("package {} is damaged", package.nevra())).fact("package", package.nevra())
        })
    }

    /// When the newest of them was built, in seconds since 1970; those of other repositories are not known.
    pub(super) fn newest(&self, resolved: &[Resolved]) -> Option<i64> {
        let index = self.index();
        resolved.iter().filter_map(|r| of_distribution(&index, r)).map(|f| f.package.built).max()
    }

    /// What dnf is told, for metadata and packages below `dir`.
    ///
    /// # Errors
    /// `Integrity` when the distribution has no key: nothing of it could be installed.
    pub(super) fn setup(&self, part: &Part, system: &System, dir: &Path) -> Result<rpm::Setup> {
        let d = self.distro.document();
        if d.keys.is_empty() {
            return Err(Error::integrity(format!("{} has no key to check its packages with", self.distro.name()))
                .hint("add it with the key of whoever made it: cvctl distro add --key FILE"));
        }
        let mut keys: Vec<_> =
            d.keys.iter().map(|k| (format!("{}.asc", k.info.fingerprint), k.text.clone().into_bytes())).collect();
        let own: Vec<String> = keys.iter().map(|(name, _)| name.clone()).collect();
        let place = |r: &crate::distro::RepositoryInfo| rpm::Place::Directory(dir.join("tree").join(&r.path));
        let mut repositories: Vec<_> = d
            .repositories
            .iter()
            .map(|r| rpm::Repository { id: r.id.clone(), place: place(r), keys: own.clone(), priority: None })
            .collect();
        for r in part.repositories.iter() {
            if repositories.iter().any(|known| known.id == r.name) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the role's repository {} is called as one of {} is", r.name, self.distro.name()),
                )
                .hint("give it another name")
                .fact("repository", r.name.as_str()));
            }
            let key = format!("role-{}.asc", r.name);
            keys.push((key.clone(), r.key.clone().into_bytes()));
            let url = filled(&r.url, &d.major.to_string(), &system.arch);
            let place = url
                .strip_prefix("file://")
                .map_or_else(|| rpm::Place::Url(url.clone()), |path| rpm::Place::Directory(path.into()));
            repositories.push(rpm::Repository { id: r.name.clone(), place, keys: vec![key], priority: r.priority });
        }
        Ok(rpm::Setup {
            release: rpm::Release {
                version: d.major.to_string(),
                arch: d.arch.clone(),
                platform: Some(d.platform.clone()).filter(|p| !p.is_empty()),
                database: if d.major < 10 { "/var/lib/rpm" } else { "/usr/lib/sysimage/rpm" }.to_owned(),
            },
            repositories,
            keys,
            weak_deps: part.weak_deps.unwrap_or(false),
            docs: part.docs.unwrap_or(true),
            languages: part.languages.iter().cloned().collect(),
            exclude: part.exclude.iter().cloned().collect(),
        })
    }
}

/// An address with what dnf would put in: it is done here, since `/conf` has no variables.
pub(super) fn filled(url: &str, release: &str, arch: &str) -> String {
    url.replace("$releasever", release).replace("$basearch", arch)
}

/// Epoch, version and release as dnf, apt and [`crate::build::packages::Package::evr`] write them.
fn evr(p: &Package) -> String {
    if p.release.is_empty() {
        // All of dpkg's version is one.
        return p.version.clone();
    }
    let epoch = if p.epoch > 0 { format!("{}:", p.epoch) } else { String::new() };
    format!("{epoch}{}-{}", p.version, p.release)
}

/// What of a part is installed by name: packages, groups, the environment, profiles of modules.
pub(super) fn wanted(part: &Part) -> Vec<String> {
    let mut out: Vec<String> = part.packages.iter().cloned().collect();
    out.extend(part.groups.iter().map(|g| format!("@{g}")));
    out.extend(part.environment.iter().map(|e| format!("@{e}")));
    let profiled = part.modules.iter().filter(|m| m.profile.is_some());
    out.extend(profiled.map(|m| format!("@{m}")));
    out
}

/// The streams that are enabled before anything is installed.
pub(super) fn streams(part: &Part) -> Vec<String> {
    part.modules.iter().map(|m| format!("{}:{}", m.name, m.stream)).collect()
}

/// The package of the distribution that a transaction installs; none when it comes from another repository, which may have one of
/// the same name and version.
pub(super) fn of_distribution<'s>(index: &Index<'s>, r: &Resolved) -> Option<Found<'s>> {
    let found = index.get(&(r.name.clone(), r.arch.clone(), r.evr.clone()))?;
    (r.action == Action::Install && found.repository.id == r.repository).then_some(*found)
}
