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
mod order;
mod packager;
mod supply;
mod system;

pub use edit::{Program, edit};
pub use system::System;

use super::dnflog::{Action, Resolved};
use super::provenance::{How, Provenance};
use crate::capture::Captured;
use crate::distro::Distro;
use crate::error::{Error, Result};
use crate::job::Task;
use crate::role::{Diagnostic, Role};
use crate::secrets::Policy;
use crate::store::name::{check_image_name, check_name};
use crate::store::{DISTRO_PREFIX, Image, Store};
use order::Order;
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
