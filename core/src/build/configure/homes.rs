//! Home directories and the keys in them. A user may own what lies there: no link of it is followed.

use super::Tree;
use super::accounts::{Accounts, Home};
use crate::config::{Action, Content, WriteFile};
use crate::error::{Error, Result};
use crate::job::Task;
use crate::sys::confined::Links;
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;

/// Makes the directories, and what opens the accounts.
pub(super) fn make(tree: &Tree, accounts: &Accounts, task: &Task) -> Result<()> {
    let mut actions = Vec::new();
    for home in accounts.homes.iter().filter(|h| h.make) {
        parents(tree, &home.path)?;
        directory(tree, &home.path, home)?;
        if !home.keys.is_empty() {
            let ssh = format!("{}/.ssh", home.path.trim_end_matches('/'));
            directory(tree, &ssh, home)?;
            let mut text = home.keys.join("\n");
            text.push('\n');
            actions.push(Action::WriteFile(WriteFile {
                path: format!("{ssh}/authorized_keys"),
                content: Content::from(text.into_bytes()),
                mode: Some(0o600),
                uid: Some(home.uid),
                gid: Some(home.gid),
            }));
        }
    }
    tree.apply(&actions, task)
}

/// Directories above it, which are root's.
fn parents(tree: &Tree, path: &str) -> Result<()> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    for n in 1..parts.len() {
        let dir = parts[..n].join("/");
        if !tree.exists(&dir) {
            mkdir(tree, &dir, 0o755, (0, 0))?;
        }
    }
    Ok(())
}

fn directory(tree: &Tree, path: &str, home: &Home) -> Result<()> {
    let path = path.trim_matches('/');
    match tree.0.lstat(path.as_bytes(), Links::InRoot) {
        Ok(st) if rustix::fs::FileType::from_raw_mode(st.st_mode).is_dir() => Ok(()),
        Ok(_) => Err(Error::unsafe_input(format!("/{path} of the new root is not a directory"))),
        Err(Errno::NOENT) => mkdir(tree, path, 0o700, (home.uid, home.gid)),
        Err(e) => Err(Error::io("look at", format!("/{path}"), e)),
    }
}

fn mkdir(tree: &Tree, path: &str, mode: u32, (uid, gid): (u32, u32)) -> Result<()> {
    let failed = |e: Errno| Error::io("make", format!("/{path}"), e);
    let (above, name) = tree.0.parent(path.as_bytes(), Links::InRoot).map_err(failed)?;
    rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(mode)).map_err(failed)?;
    // The umask has no say.
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(&above, name, owner.0, owner.1, flags).map_err(failed)?;
    rustix::fs::chmodat(&above, name, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty()).map_err(failed)
}
