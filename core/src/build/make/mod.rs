//! The stages of a build, one after the other.
//!
//! ```text
//!            distribution, role ─┐
//!  image ── extract ─────────────┴─ resolve ─> root ─> install ─> configure ─> initramfs ─> generalise ─> capture
//!                                     │                                                       │
//!                                     └ a dry run ends here                                   └ twice: the same?
//! ```
//!
//! Three things come this way: an image from a distribution, a role laid over an image, an update of an image.

mod bench;
mod edit;
mod grow;
mod packager;
mod supply;
mod system;

pub use edit::{Program, edit};
pub use system::System;

use super::dnflog::{Action, Resolved};
use super::provenance::{How, Origin, Provenance, RoleOrigin};
use crate::capture::{CaptureOptions, Captured};
use crate::distro::Distro;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::role::{Diagnostic, Part, Role};
use crate::secrets::Policy;
use crate::store::name::{check_image_name, check_name};
use crate::store::{DISTRO_PREFIX, Image, Reason, Store};
use crate::tree::diff::DiffOptions;
use bench::Bench;
use grow::Grown;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use supply::Supply;

/// How an image is made.
#[derive(Clone, Debug)]
pub struct MakeOptions {
    /// Tag for the new generation.
    pub tag: Option<String>,
    /// Say what would be installed, and make nothing.
    pub dry_run: bool,
    /// Make the tree once more and name the paths that differ.
    pub check_reproducible: bool,
    /// Where the new root lies while it is made; without it in the store's `tmp`, or `/var/tmp`.
    pub work: Option<PathBuf>,
    /// Each run of the package manager is killed after that.
    pub time_limit: Duration,
    /// It is killed when it, and each scriptlet, has said nothing for so long.
    pub silence: Duration,
    /// Further variables for whatever runs, such as proxies for scripts that see the network.
    pub environment: Vec<(String, String)>,
    /// zstd level, 1 to 19.
    pub level: i32,
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// What is done about secrets.
    pub secrets: Policy,
    /// Fail with `Conflict` unless this is the newest generation (0: the name is new).
    pub expect_parent: Option<u64>,
}

impl Default for MakeOptions {
    fn default() -> Self {
        Self {
            tag: None,
            dry_run: false,
            check_reproducible: false,
            work: None,
            time_limit: Duration::from_secs(7200),
            silence: Duration::from_secs(1800),
            environment: Vec::new(),
            level: 3,
            threads: 0,
            secrets: Policy::default(),
            expect_parent: None,
        }
    }
}

/// What an image is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A distribution of the store, by its name.
    Distro(String),
    /// An image, such as a captured one, over which the role is laid.
    Image {
        /// Which one.
        reference: String,
        /// What packages are from; without it what the image was built from.
        distro: Option<String>,
    },
}

/// What an update changes. What is left out is as when the image was built.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The distribution that its packages are brought to.
    pub distro: Option<String>,
    /// Packages that are installed besides; later updates keep them.
    pub packages: Vec<String>,
    /// The role in place of the one that it was built with.
    pub role: Option<Role>,
}

/// What was made.
#[derive(Clone, Debug, Serialize)]
pub struct Made {
    /// The new version; `None` after a dry run.
    pub image: Option<Captured>,
    /// What was installed and removed, or would be.
    pub transaction: Vec<Step>,
    /// Seconds since 1970: nothing in the tree is younger. `None` where that is not known.
    pub epoch: Option<i64>,
    /// What of the role means nothing for this distribution.
    pub warnings: Vec<Diagnostic>,
    /// Scriptlets that failed and were allowed to, as `%post of NAME`.
    pub failed: Vec<String>,
    /// With `check_reproducible` the paths in which a second build differs, with what differs; `None` without it.
    pub differs: Option<Vec<String>>,
}

/// A package that comes or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `install` or `remove`.
    pub action: &'static str,
    /// The name.
    pub name: String,
    /// Epoch, version and release.
    pub version: String,
    /// The architecture.
    pub arch: String,
    /// The repository that it is from.
    pub repository: String,
}

impl Step {
    fn of(r: &Resolved) -> Self {
        Self {
            action: if r.action == Action::Install { "install" } else { "remove" },
            name: r.name.clone(),
            version: r.evr.clone(),
            arch: r.arch.clone(),
            repository: r.repository.clone(),
        }
    }
}

/// Makes the next generation of `name` from a distribution, or from an image, with a role.
///
/// # Errors
/// `NotFound` for the distribution, the image, and for packages, groups and streams of the role that are not there, with the
/// nearest names; `Conflict` when packages do not go together or somebody else made the next generation; `Integrity` when a
/// package is damaged or not signed with a key of the distribution; `Plugin` when a scriptlet of a package or a script of the
/// role failed; `Limit` when time or space is over; `Unsupported` without root, a package manager, or for another architecture;
/// `Refused` for secrets; `Cancelled`. Nothing is published then, and nothing half-made stays.
pub fn build(store: &Store, name: &str, base: &Base, role: &Role, options: &MakeOptions, task: &Task) -> Result<Made> {
    check_names(name, options)?;
    let mut order = Order::new(How::Build, name, Some(role.clone()));
    let distro = match base {
        Base::Distro(distro) => Some(distro.clone()),
        Base::Image { reference, distro } => {
            let image = image(store, reference)?;
            let old = Provenance::of(&image)?;
            let own = old.as_ref().and_then(|p| p.distribution.as_ref()).map(|d| d.name.clone());
            order.wanted = old.map(|p| p.wanted).unwrap_or_default();
            order.base = Some(image);
            distro.clone().or(own)
        }
    };
    order.supply = distro.map(|d| Supply::open(Distro::open(store, &d)?, task)).transpose()?;
    order.run(store, options, task)
}

/// Makes a new generation of `name` out of its newest one: its packages are brought to those of the distribution, more are
/// installed, and the role is applied once more. Packages that a new role does not name any more stay.
///
/// # Errors
/// As [`build`]; `Refused` when the image was not built, and nothing says from what its packages are.
pub fn update(store: &Store, name: &str, change: &Change, options: &MakeOptions, task: &Task) -> Result<Made> {
    check_names(name, options)?;
    let image = image(store, name)?;
    let old = Provenance::of(&image)?;
    let own = |p: &Provenance| p.role.as_ref().map(|r| Role::parse(r.document.to_string().as_bytes(), &r.name));
    let role = match &change.role {
        Some(role) => Some(role.clone()),
        None => old.as_ref().and_then(own).transpose().map_err(|e| e.context("the role in the provenance"))?,
    };
    let distro = change.distro.clone().or(old.as_ref().and_then(|p| p.distribution.as_ref()).map(|d| d.name.clone()));
    let distro = distro.ok_or_else(|| {
        Error::refused(format!("{name} was not built, and nothing says what its packages are from"))
            .hint("name the distribution: --distro NAME")
    })?;
    let mut order = Order::new(How::Update, name, role);
    order.wanted = old.map(|p| p.wanted).unwrap_or_default();
    order.wanted.extend(change.packages.iter().cloned());
    order.wanted.sort();
    order.wanted.dedup();
    order.base = Some(image);
    order.supply = Some(Supply::open(Distro::open(store, &distro)?, task)?);
    order.run(store, options, task)
}

fn check_names(name: &str, options: &MakeOptions) -> Result<()> {
    check_image_name(name)?;
    options.tag.iter().try_for_each(|tag| check_name(tag).map(drop))
}

/// The options, with the generation that is the newest now: whoever makes another one meanwhile is not overtaken.
fn since(store: &Store, name: &str, options: &MakeOptions) -> Result<MakeOptions> {
    store.expect_generation(name, options.expect_parent)?;
    let newest = store.refs().highest(name)?.unwrap_or(0);
    Ok(MakeOptions { expect_parent: Some(options.expect_parent.unwrap_or(newest)), ..options.clone() })
}

/// An image that something can be made of: a distribution is none.
fn image(store: &Store, reference: &str) -> Result<Image> {
    let image = store.image(reference)?;
    if image.release().is_some_and(|r| r.name.starts_with(DISTRO_PREFIX)) {
        return Err(Error::invalid(format!("\"{reference}\" is a distribution")).hint("give it with --distro"));
    }
    Ok(image)
}

/// What is to be made.
struct Order {
    how: How,
    name: String,
    role: Option<Role>,
    /// Packages besides those of the role.
    wanted: Vec<String>,
    base: Option<Image>,
    supply: Option<Supply>,
}

/// What the role says of the system at hand.
struct Recipe {
    system: System,
    part: Part,
    warnings: Vec<Diagnostic>,
}

impl Order {
    fn new(how: How, name: &str, role: Option<Role>) -> Self {
        Self { how, name: name.to_owned(), role, wanted: Vec::new(), base: None, supply: None }
    }

    fn run(&self, store: &Store, options: &MakeOptions, task: &Task) -> Result<Made> {
        let options = &since(store, &self.name, options)?;
        task.stage("resolve", 0, Unit::Steps);
        let recipe = self.recipe(task)?;
        let bench = Bench::new(store, options.work.as_deref())?;
        if let Some(supply) = &self.supply {
            supply.lay_out_metadata(&bench.dist(), options.threads, task)?;
        }
        let mut made = Made {
            image: None,
            transaction: Vec::new(),
            epoch: None,
            warnings: recipe.warnings.clone(),
            failed: Vec::new(),
            differs: None,
        };
        let grow = grow::Grow { order: self, recipe: &recipe, dist: bench.dist(), options };
        if options.dry_run {
            made.transaction = grow.resolve(&bench, task)?.iter().map(Step::of).collect();
            return bench.remove().map(|()| made);
        }
        let grown = grow.run(&bench, task)?;
        made.transaction = grown.transaction.iter().map(Step::of).collect();
        made.failed = grown.failed.iter().map(|s| format!("%{} of {}", s.scriptlet, s.package)).collect();
        made.epoch = Some(grown.epoch);
        let captured = capture(store, &self.name, self.base.as_ref(), &bench, &self.provenance(&grown), options, task)?;
        if options.check_reproducible {
            let again = Bench::new(store, options.work.as_deref())?;
            grow.run(&again, task)?;
            made.differs = Some(differences(store, &captured, &again, options, task)?);
            again.remove()?;
        }
        made.image = Some(captured);
        bench.remove().map(|()| made)
    }

    /// What the role says here, when the distribution has all that it names.
    fn recipe(&self, task: &Task) -> Result<Recipe> {
        let system = match (&self.supply, &self.base) {
            (Some(supply), _) => System::of_distro(&supply.distro)?,
            (None, Some(base)) => System::of_image(base.manifest().facts.as_ref())?,
            (None, None) => return Err(Error::invalid("an image is made from a distribution or from an image")),
        };
        if let (Some(supply), Some(base)) = (&self.supply, &self.base) {
            // Where it does not say what it is, what it was built from does.
            let built = || Provenance::of(base).is_ok_and(|p| p.is_some_and(|p| p.distribution.is_some()));
            let there = match System::of_image(base.manifest().facts.as_ref()) {
                Err(_) if built() => system.clone(),
                there => there?,
            };
            if there.selector != system.selector {
                let (what, name) = (there.selector, supply.distro.name());
                let text = format!("the image is {what}, and {name} is {}", system.selector);
                return Err(Error::new(ErrorKind::Conflict, text)
                    .hint("packages of another release do not go over it: build it anew"));
            }
        }
        let Some(role) = &self.role else {
            return Ok(Recipe { system, part: Part::default(), warnings: Vec::new() });
        };
        let warnings = role.without_meaning(system.selector);
        warnings.iter().for_each(|w| task.warn(w.to_string()));
        let part = role.part(system.selector);
        if let Some(supply) = &self.supply {
            let mut names = supply.names();
            // What the repositories of the role have is not known here; dnf will say what is not there.
            if !part.repositories.is_empty() {
                names.provides.extend(part.packages.iter().cloned());
            }
            let unknown = role.unknown_names(system.selector, &names);
            if !unknown.is_empty() {
                return Err(role.error(&unknown));
            }
        } else if self.base.is_some() && !supply::wanted(&part).is_empty() {
            return Err(Error::refused("the role has packages, and nothing says what they are from")
                .hint("name the distribution of the image: --distro NAME"));
        }
        Ok(Recipe { system, part, warnings })
    }

    fn provenance(&self, grown: &Grown) -> Provenance {
        let mut out = Provenance::new(self.how);
        out.distribution = self.supply.as_ref().map(|s| {
            let d = s.distro.document();
            Origin {
                name: s.distro.name().to_owned(),
                image: s.distro.image().id(),
                title: format!("{} {}", d.title, d.version),
                sha256: d.source.sha256.clone(),
                keys: d.keys.iter().map(|k| k.info.fingerprint.clone()).collect(),
            }
        });
        out.base = self.base.as_ref().map(Image::id);
        out.role = self.role.as_ref().map(|r| RoleOrigin {
            name: r.name().to_owned(),
            digest: r.digest(),
            document: serde_json::from_str(&r.to_json()).unwrap_or_default(),
        });
        out.wanted.clone_from(&self.wanted);
        out.epoch = Some(grown.epoch);
        out.packages.clone_from(&grown.packages);
        out.failed = grown.failed.iter().map(Into::into).collect();
        out
    }
}

/// The tree as it is becomes the next generation: what had to be left out was taken out of it before.
fn capture(
    store: &Store,
    name: &str,
    base: Option<&Image>,
    bench: &Bench,
    provenance: &Provenance,
    options: &MakeOptions,
    task: &Task,
) -> Result<Captured> {
    let capture = CaptureOptions {
        exact: true,
        strict: true,
        // The tree is new each time, and what a cache knows of it is of no use later.
        paranoid: true,
        tag: options.tag.clone(),
        level: options.level,
        threads: options.threads,
        state: Some(bench.state()),
        expect_parent: options.expect_parent,
        secrets: options.secrets.clone(),
        layout: base.and_then(|b| b.manifest().layout.clone()),
        facts: vec![provenance.fact()],
        reason: if provenance.how == How::Edit { Reason::Edit } else { Reason::Build },
        ..CaptureOptions::default()
    };
    store.capture(bench.target(), name, &capture, task)
}

/// The paths in which a second tree differs from what was captured of the first.
fn differences(
    store: &Store,
    captured: &Captured,
    again: &Bench,
    options: &MakeOptions,
    task: &Task,
) -> Result<Vec<String>> {
    let image = store.image(&format!("{}@{}", captured.name, captured.generation))?;
    let how = DiffOptions { exact: true, protect: Vec::new(), threads: options.threads };
    let changes = image.diff_tree(again.target(), &how, task)?;
    let text = |c: &crate::tree::diff::TreeChange| {
        let value = c.to_json();
        let fields =
            value["fields"].as_array().map(|f| f.iter().filter_map(|f| f.as_str()).collect::<Vec<_>>().join(","));
        let what =
            fields.filter(|f| !f.is_empty()).unwrap_or_else(|| value["kind"].as_str().unwrap_or_default().to_owned());
        format!("/{} {what}", crate::sys::confined::show(&c.change.path))
    };
    Ok(changes.iter().map(text).collect())
}
