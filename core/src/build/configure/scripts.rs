//! Scripts of a role, in the confined root.

use super::Tree;
use crate::build::root::{Call, Confined};
use crate::config::{Action, Content, WriteFile};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::role::Part;
use crate::role::spec::Script;
use crate::sys::confined::{Links, Root};
use rustix::fs::AtFlags;
use std::path::Path;

const RESOLVER: &str = "etc/resolv.conf";
/// Where a script finds itself: in a directory that no image has.
const PLACE: &str = "/run/cv-build";

/// Runs them in their order. `confined` says what the root of one is that sees the network, or not; `work` is its
/// `/run/cv-build`.
///
/// # Errors
/// `Plugin` when one fails, with its status and last lines; `Limit` when its time is over; as [`Confined::run`].
pub(in crate::build) fn run(
    part: &Part,
    confined: &dyn Fn(bool) -> Confined,
    work: &Path,
    environment: &[(String, String)],
    task: &Task,
) -> Result<()> {
    for script in part.scripts.iter() {
        task.check()?;
        let name = format!("script-{}", script.name);
        let file = work.join(&name);
        std::fs::write(&file, &script.run).map_err(|e| Error::io("write", file.display(), e))?;
        let done = one(script, &name, &confined(script.net), environment, task);
        let gone = std::fs::remove_file(&file).map_err(|e| Error::io("remove", file.display(), e));
        done.and(gone)?;
    }
    Ok(())
}

fn one(script: &Script, file: &str, root: &Confined, environment: &[(String, String)], task: &Task) -> Result<()> {
    let mut call = Call::new(["/bin/sh", "-eu", &format!("{PLACE}/{file}")]).in_target().env("HOME", "/root");
    for (name, value) in environment {
        call = call.env(name, value);
    }
    (call.limit, call.silence) = (script.time_limit.duration(), script.time_limit.duration());
    let lent = if script.net { lend_resolver(&root.target, task)? } else { false };
    let ended = root.run(&call, task, &mut |_| {}).map_err(|e| e.context(format!("script {}", script.name)));
    if lent {
        take_back(&root.target)?;
    }
    let ended = ended?;
    if ended.status == 0 {
        return Ok(());
    }
    let text = format!("script {} failed: exit status {}", script.name, ended.status);
    Err(Error::new(ErrorKind::Plugin, text)
        .fact("script", script.name.as_str())
        .fact("status", ended.status)
        .fact("tail", ended.tail))
}

/// What resolves names on this machine, for as long as the script runs; false where the image has a file of its own.
fn lend_resolver(target: &Path, task: &Task) -> Result<bool> {
    let tree = Tree(Root::open(target).map_err(|e| Error::io("open", target.display(), e))?);
    if tree.0.lstat(RESOLVER.as_bytes(), Links::InRoot).is_ok() {
        return Ok(false);
    }
    let Ok(bytes) = std::fs::read("/etc/resolv.conf") else { return Ok(false) };
    let (path, content) = (format!("/{RESOLVER}"), Content::from(bytes));
    let file = WriteFile { path, content, mode: Some(0o644), uid: Some(0), gid: Some(0) };
    tree.apply(&[Action::WriteFile(file)], task)?;
    Ok(true)
}

fn take_back(target: &Path) -> Result<()> {
    let root = Root::open(target).map_err(|e| Error::io("open", target.display(), e))?;
    let gone = root
        .parent(RESOLVER.as_bytes(), Links::InRoot)
        .and_then(|(dir, name)| rustix::fs::unlinkat(&dir, name, AtFlags::empty()));
    match gone {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(Error::io("remove", format!("/{RESOLVER}"), e)),
    }
}
