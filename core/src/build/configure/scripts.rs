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
use rustix::io::Errno;
use std::ffi::CString;
use std::path::{Path, PathBuf};

const RESOLVER: &str = "etc/resolv.conf";
/// Where a script finds itself: in a directory that no image has.
const PLACE: &str = "/run/cv-build";

/// Runs them in their order. `confined` says what the root of one is that sees the network, or not; `directory` makes a new
/// directory, which becomes its `/run/cv-build`.
///
/// # Errors
/// `Plugin` when one fails, with its status and last lines; `Limit` when its time is over; as [`Confined::run`].
pub(in crate::build) fn run(
    part: &Part,
    confined: &dyn Fn(bool) -> Confined,
    directory: &dyn Fn() -> Result<PathBuf>,
    environment: &[(String, String)],
    task: &Task,
) -> Result<()> {
    for script in part.scripts.iter() {
        task.check()?;
        let (name, work) = (format!("script-{}", script.name), directory()?);
        let file = work.join(&name);
        std::fs::write(&file, &script.run).map_err(|e| Error::io("write", file.display(), e))?;
        one(script, &name, &Confined { work: Some(work), ..confined(script.net) }, environment, task)?;
    }
    Ok(())
}

fn one(script: &Script, file: &str, root: &Confined, environment: &[(String, String)], task: &Task) -> Result<()> {
    let mut call = Call::new(["/bin/sh", "-eu", &format!("{PLACE}/{file}")]).in_target().env("HOME", "/root");
    call = call.envs(environment);
    (call.limit, call.silence) = (script.time_limit.duration(), script.time_limit.duration());
    let lent = if script.net { Some(Lent::begin(&root.target, task)?) } else { None };
    let ended = root.run(&call, task, &mut |_| {}).map_err(|e| e.context(format!("script {}", script.name)));
    if let Some(lent) = lent {
        lent.end(&root.target)?;
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

/// What resolves names on this machine, for as long as a script runs.
pub(in crate::build) enum Lent {
    /// The image has a file of its own, or this machine has none.
    Nothing,
    /// In place of a link that leads nowhere, such as that of systemd-resolved; or of nothing.
    For(Option<CString>),
}

impl Lent {
    pub(in crate::build) fn begin(target: &Path, task: &Task) -> Result<Self> {
        let tree = Tree(Root::open(target).map_err(|e| Error::io("open", target.display(), e))?);
        let Ok(bytes) = std::fs::read("/etc/resolv.conf") else { return Ok(Self::Nothing) };
        if tree.exists(RESOLVER) {
            return Ok(Self::Nothing);
        }
        let at = tree.0.parent(RESOLVER.as_bytes(), Links::InRoot);
        let link = at.ok().and_then(|(dir, name)| rustix::fs::readlinkat(&dir, name, Vec::new()).ok());
        // A link at the end of the path is replaced, not followed.
        let (path, content) = (format!("/{RESOLVER}"), Content::from(bytes));
        let file = WriteFile { path, content, mode: Some(0o644), uid: Some(0), gid: Some(0) };
        tree.apply(&[Action::WriteFile(file)], task)?;
        Ok(Self::For(link))
    }

    pub(in crate::build) fn end(self, target: &Path) -> Result<()> {
        let Self::For(link) = self else { return Ok(()) };
        let root = Root::open(target).map_err(|e| Error::io("open", target.display(), e))?;
        let restored = root.parent(RESOLVER.as_bytes(), Links::InRoot).and_then(|(dir, name)| {
            match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e),
            }
            link.map_or(Ok(()), |link| rustix::fs::symlinkat(&link, &dir, name))
        });
        restored.map_err(|e| Error::io("restore", format!("/{RESOLVER}"), e))
    }
}
