//! What is to be made, and the way there from a resolved role to a generation in the store.

use super::bench::Bench;
use super::grow::{Grow, Grown};
use super::supply::{self, Supply};
use super::{Made, MakeOptions, Step, System, since};
use crate::build::provenance::{How, Origin, Provenance, RoleOrigin};
use crate::capture::{CaptureOptions, Captured};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::role::{Diagnostic, Names, Part, Role, to_error};
use crate::store::{Image, Reason, Store};
use crate::tree::diff::DiffOptions;

/// What is to be made.
pub(super) struct Order {
    pub(super) how: How,
    pub(super) name: String,
    pub(super) role: Option<Role>,
    /// Packages besides those of the role.
    pub(super) wanted: Vec<String>,
    pub(super) base: Option<Image>,
    pub(super) supply: Option<Supply>,
}

/// What the role says of the system at hand.
pub(super) struct Recipe {
    pub(super) system: System,
    pub(super) part: Part,
    warnings: Vec<Diagnostic>,
}

impl Order {
    pub(super) fn new(how: How, name: &str, role: Option<Role>) -> Self {
        Self { how, name: name.to_owned(), role, wanted: Vec::new(), base: None, supply: None }
    }

    pub(super) fn run(&self, store: &Store, options: &MakeOptions, task: &Task) -> Result<Made> {
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
        let grow = Grow { order: self, recipe: &recipe, dist: bench.dist(), options };
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
            if let Some(supply) = &self.supply {
                self.words_are_known(&supply.names())?;
            }
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
            if part.repositories.is_empty() {
                self.words_are_known(&names)?;
            }
        } else if self.base.is_some() && !supply::wanted(&part).is_empty() {
            return Err(Error::refused("the role has packages, and nothing says what they are from")
                .hint("name the distribution of the image: --distro NAME"));
        }
        Ok(Recipe { system, part, warnings })
    }

    fn words_are_known(&self, names: &Names) -> Result<()> {
        let unknown = names.lacks(self.wanted.iter().map(String::as_str));
        if unknown.is_empty() { Ok(()) } else { Err(to_error("--packages", &unknown)) }
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
pub(super) fn capture(
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
