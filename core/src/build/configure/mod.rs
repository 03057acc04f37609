//! A root gets what a role says besides packages.
//!
//! ```text
//!  users ─> files ─> units ─> settings ─> scripts      in this order: files may belong to users, scripts see all of it
//!  └──────── actions of config, all or nothing ──┘      └ in the confined root
//! ```

mod accounts;
mod files;
mod homes;
mod scripts;
mod settings;
mod units;

use crate::config::Action;
use crate::error::{Error, Result};
use crate::job::Task;
use crate::role::Part;
use crate::sys::confined::{Links, Root};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

pub(super) use scripts::{Lent, run as run_scripts};
pub(super) use settings::make_locale;

/// More of a file of the root is not read.
const FILE_LIMIT: u64 = 16 << 20;

/// What a role says, and what it is filled in with.
pub(super) struct Configuration<'a> {
    pub(super) part: &'a Part,
    /// Whether the root is a Debian's or an Ubuntu's.
    pub(super) deb: bool,
    /// What stands for the names of templates.
    pub(super) values: &'a BTreeMap<&'static str, String>,
    /// Seconds since 1970: the day of new accounts.
    pub(super) epoch: i64,
}

/// Does all of it but the scripts.
///
/// # Errors
/// `NotFound` for users, groups, units, time zones that are not in the root; `Conflict` for numbers that are taken; as
/// [`crate::config::apply`].
pub(super) fn configure(path: &Path, what: &Configuration<'_>, task: &Task) -> Result<()> {
    let tree = Tree(Root::open(path).map_err(|e| Error::io("open", path.display(), e))?);
    let accounts = accounts::plan(&tree, what)?;
    tree.apply(&accounts.actions, task)?;
    homes::make(&tree, &accounts, task)?;
    tree.apply(&files::plan(&tree, what)?, task)?;
    units::clear(&tree, &what.part.units)?;
    tree.apply(&units::plan(&tree, &what.part.units), task)?;
    tree.apply(&settings::plan(&tree, what, task)?, task)
}

/// The new root. Links in it are followed as programs in it would.
struct Tree(Root);

impl Tree {
    fn apply(&self, actions: &[Action], task: &Task) -> Result<()> {
        if actions.is_empty() {
            return Ok(());
        }
        crate::config::apply_in(&self.0, actions, task).map(drop)
    }

    /// A file as bytes; `None` where there is none.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let failed = |e: Errno| Error::io("read", format!("/{path}"), e);
        let fd = match self.0.open_file(path.as_bytes(), OFlags::RDONLY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            fd => fd.map_err(failed)?,
        };
        let file = std::fs::File::from(fd);
        let mut out = Vec::new();
        file.take(FILE_LIMIT + 1).read_to_end(&mut out).map_err(|e| Error::io("read", format!("/{path}"), e))?;
        if out.len() as u64 > FILE_LIMIT {
            return Err(Error::limit(format!("/{path} is larger than {} MiB", FILE_LIMIT >> 20)));
        }
        Ok(Some(out))
    }

    fn text(&self, path: &str) -> Result<Option<String>> {
        let bytes = self.read(path)?;
        let utf8 = |b| String::from_utf8(b).map_err(|_| Error::invalid(format!("/{path} is not UTF-8")));
        bytes.map(utf8).transpose()
    }

    fn exists(&self, path: &str) -> bool {
        self.0.open_at(path.as_bytes(), OFlags::PATH, Mode::empty(), Links::InRoot).is_ok()
    }
}

/// A file with this text, which is root's.
fn write(path: &str, text: impl Into<Vec<u8>>) -> Action {
    let (uid, gid) = (Some(0), Some(0));
    let content = crate::config::Content::from(text.into());
    Action::WriteFile(crate::config::WriteFile { path: path.to_owned(), content, mode: Some(0o644), uid, gid })
}
