//! A program runs in a version of an image, and what it leaves is the next version.

use super::bench::Bench;
use super::order::capture;
use super::{Made, MakeOptions, check_names, image, since};
use crate::build::configure::Lent;
use crate::build::generalise::{self, Rules};
use crate::build::packages::Package;
use crate::build::provenance::{Entry, How, Provenance};
use crate::build::root::{Call, Terminal};
use crate::build::{debian, rpmdb};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::store::Store;
use crate::tree::extract::ExtractOptions;
use std::ffi::OsString;
use std::path::Path;

/// What runs in an image.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The program and its arguments; none is a shell, at the terminal.
    pub command: Vec<OsString>,
    /// Whether it sees the network of this machine.
    pub net: bool,
    /// The terminal that it gets.
    pub terminal: Option<Terminal>,
}

/// Shells, the first that the image has is taken.
const SHELLS: [&str; 2] = ["bin/bash", "bin/sh"];

/// The status with which somebody leaves a shell whose work is not to be kept.
const ABANDONED: i32 = 99;

/// Runs `program` in the image that `reference` names and makes its tree the next generation of `name`, or of the name in
/// `reference`. The program runs confined as scriptlets are: as root of the tree, without the network unless it says so.
///
/// # Errors
/// `Plugin` when it ends with another status than 0, `Cancelled` when a shell is left with `exit 99`: nothing is published then. `Invalid` when there is no name to publish
/// under; as [`super::build`].
pub fn edit(
    store: &Store,
    reference: &str,
    name: Option<&str>,
    program: &Program,
    options: &MakeOptions,
    task: &Task,
) -> Result<Made> {
    let image = image(store, reference)?;
    let name = match (name, image.release()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(release)) => release.name.clone(),
        (None, None) => {
            return Err(Error::invalid("an image that is named by its id has no name for the next version")
                .hint("say under which name it is kept: --name NAME"));
        }
    };
    check_names(&name, options)?;
    if program.command.is_empty() && program.terminal.is_none() {
        return Err(Error::invalid("no program to run in the image").hint("cvctl image edit REF -- COMMAND"));
    }
    let options = &since(store, &name, options)?;
    let bench = Bench::new(store, options.work.as_deref())?;
    task.stage("root", 0, Unit::Steps);
    let how = ExtractOptions { threads: options.threads, no_sync: true, ..ExtractOptions::default() };
    image.extract(bench.target(), &how, task)?;
    let has = |path: &str| image.row(path.as_bytes()).is_ok();
    let rules = Rules {
        // What was edited is as young as it is.
        epoch: i64::MAX,
        keep_hostname: has("etc/hostname"),
        keep_resolver: has("etc/resolv.conf"),
        ..Rules::default()
    };
    task.stage("configure", 0, Unit::Steps);
    let mut command = program.command.clone();
    if command.is_empty() {
        let shell = SHELLS
            .into_iter()
            .find(|s| image.row(s.as_bytes()).is_ok() || image.row(format!("usr/{s}").as_bytes()).is_ok());
        command.push(format!("/{}", shell.unwrap_or(SHELLS[1])).into());
    }
    let mut call = Call::new(command.iter().cloned()).in_target().env("HOME", "/root");
    if program.terminal.is_some() {
        call = call.env("TERM", std::env::var_os("TERM").unwrap_or_else(|| "linux".into()));
    }
    (call.limit, call.silence, call.terminal) = (options.time_limit, options.silence, program.terminal.clone());
    call = call.envs(&options.environment);
    let lent = if program.net { Some(Lent::begin(&bench.target(), task)?) } else { None };
    let ended = bench.confined(program.net).run(&call, task, &mut |_| {});
    if let Some(lent) = lent {
        lent.end(&bench.target())?;
    }
    let ended = ended?;
    // A shell ends with the status of whatever was typed last, which says nothing of the work.
    let shell = program.command.is_empty();
    if shell && ended.status == ABANDONED {
        return Err(Error::cancelled());
    }
    // One that could not be started is none.
    if ended.status != 0 && (!shell || matches!(ended.status, 126 | 127)) {
        let program = command[0].display();
        return Err(Error::new(ErrorKind::Plugin, format!("{program} failed: exit status {}", ended.status))
            .fact("status", ended.status)
            .fact("tail", ended.tail));
    }
    task.stage("generalise", 0, Unit::Steps);
    generalise::generalise(&bench.target(), &rules, task)?;
    let mut provenance = Provenance::of(&image)?.unwrap_or_else(|| Provenance::new(How::Edit));
    (provenance.how, provenance.base, provenance.epoch) = (How::Edit, Some(image.id()), None);
    match packages(&bench.target()) {
        Ok(there) => provenance.packages = entries(&provenance.packages, &there),
        // A database that only the image's own rpm reads: what is there now is not known.
        Err(e) if e.kind() == ErrorKind::Unsupported => task.warn(format!("packages are listed as they were: {e}")),
        Err(e) => return Err(e),
    }
    let captured = capture(store, &name, Some(&image), &bench, &provenance, options, task)?;
    bench.remove()?;
    Ok(Made {
        image: Some(captured),
        transaction: Vec::new(),
        epoch: None,
        warnings: Vec::new(),
        failed: Vec::new(),
        differs: None,
    })
}

fn packages(target: &Path) -> Result<Vec<Package>> {
    match rpmdb::read(target)? {
        Some(packages) => Ok(packages),
        None => debian::packages(target),
    }
}

/// What is known of the files of packages that are still the same.
fn entries(old: &[Entry], packages: &[Package]) -> Vec<Entry> {
    let entry = |p: &Package| {
        let new = Entry::of(p);
        old.iter().find(|o| o.is_same(&new)).cloned().unwrap_or(new)
    };
    packages.iter().map(entry).collect()
}
