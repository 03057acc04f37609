//! Applies actions to a root.

use super::ConfigError;
use super::action::{ACTION_LIMIT, Action};
use super::commit::{Commit, Hook};
use super::draft::{Draft, Fate};
use super::{fstab, identity, unit};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::sys::confined::{Links, Root};
use crate::sys::lock::Lock;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::path::Path;

const FSTAB: &[u8] = b"/etc/fstab";

/// What an action came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything was so already; nothing was written.
    Unchanged,
    /// Something new was made, and nothing that was there was changed.
    Created,
    /// Something that was there was changed.
    Changed,
}

/// Applies `actions` in order to the root at `root`: all of them, or none. What an earlier run that was killed left
/// behind is put right first. One outcome per action; of two actions on one file both tell what became of it.
///
/// # Errors
/// `Invalid` and `UnsafeInput` for a bad field, `NotFound` for a user or unit that is not there, `Busy` while another
/// run works on this root, and what the system says; the root is then as it was. The index of the action is the fact
/// `action`.
pub fn apply(root: &Path, actions: &[Action], task: &Task) -> Result<Vec<Outcome>> {
    let root = Root::open(root).map_err(|e| Error::io("open", root.display(), e))?;
    apply_in(&root, actions, task)
}

/// Takes away the note of an interrupted run that came with an image: it is about another root.
///
/// # Errors
/// What the system says.
pub fn forget(root: &Path) -> Result<()> {
    let root = Root::open(root).map_err(|e| Error::io("open", root.display(), e))?;
    super::journal::Journal::remove(&root)
}

/// As [`apply`], in a root that is open.
///
/// # Errors
/// As [`apply`].
pub fn apply_in(root: &Root, actions: &[Action], task: &Task) -> Result<Vec<Outcome>> {
    apply_with(root, actions, task, &|_| Ok(()))
}

pub(super) fn apply_with(root: &Root, actions: &[Action], task: &Task, hook: Hook<'_>) -> Result<Vec<Outcome>> {
    if actions.len() > ACTION_LIMIT {
        return Err(ConfigError::Limit { what: "the number of actions".into(), limit: ACTION_LIMIT as u64 }.into());
    }
    for (i, action) in actions.iter().enumerate() {
        action.check().map_err(|e| located(e.into(), i, action))?;
    }
    let _lock = lock(root)?;
    let commit = Commit { root, hook };
    if commit.recover().map_err(|e| e.context("an earlier run was interrupted"))? {
        task.warn("an earlier run was interrupted; the root was put right first");
    }
    let mut draft = Draft::new(root);
    let mut about = Vec::with_capacity(actions.len());
    for (i, action) in actions.iter().enumerate() {
        task.check()?;
        perform(&mut draft, action, task).map_err(|e| located(e, i, action))?;
        about.push(draft.take_touched());
    }
    let outcome = |names: &std::collections::BTreeSet<Vec<u8>>| {
        let fates: Vec<Fate> = names.iter().map(|n| draft.fate(n)).collect();
        if fates.contains(&Fate::Different) {
            Outcome::Changed
        } else if fates.contains(&Fate::New) {
            Outcome::Created
        } else {
            Outcome::Unchanged
        }
    };
    let outcomes = about.iter().map(outcome).collect();
    commit.run(&draft.into_changes(), task)?;
    Ok(outcomes)
}

fn perform(draft: &mut Draft<'_>, action: &Action, task: &Task) -> Result<()> {
    match action {
        Action::WriteFile(f) => {
            let at = draft.resolve(f.path.as_bytes(), false)?;
            draft.put_file(&at, f.content.bytes().to_vec(), f.mode, (f.uid, f.gid))
        }
        Action::Link(l) => {
            let at = draft.resolve(l.path.as_bytes(), false)?;
            draft.put_link(&at, l.target.as_bytes())
        }
        Action::FstabLine(line) => edit_fstab(draft, |text| fstab::set(text, line)),
        Action::Fstab(table) => edit_fstab(draft, |text| fstab::replace(text, &table.lines)),
        Action::Hostname(name) => identity::hostname(draft, name),
        Action::MachineId(id) => identity::machine_id(draft, id),
        Action::PasswordHash(p) => identity::password(draft, p),
        Action::EnableUnit(u) => unit::enable(draft, u, task),
    }
}

fn edit_fstab(draft: &mut Draft<'_>, edit: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<()> {
    let (at, text) = draft.read(FSTAB)?;
    let new = edit(text.as_deref().unwrap_or_default());
    draft.put_file(&at, new, None, (None, None))
}

/// Held while the run lasts.
fn lock(root: &Root) -> Result<Lock> {
    // Opened anew: the lock belongs to the open file, and must not outlive this run in `root`.
    let fd = root.open_at(b"", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::Refuse);
    let fd = fd.map_err(|e| Error::io("open", "the root", e))?;
    match Lock::take(fd).map_err(|e| Error::io("lock", "the root", e))? {
        Ok(lock) => Ok(lock),
        Err(_) => Err(Error::new(ErrorKind::Busy, "another run configures this root")),
    }
}

fn located(e: Error, index: usize, action: &Action) -> Error {
    e.fact("action", index).context(format!("action {index} ({})", action.name()))
}
