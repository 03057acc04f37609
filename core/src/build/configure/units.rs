//! Units of a role: links of systemd, and a preset, so that packages that come later find the same answer.

use super::{Tree, write};
use crate::config::{Action, EnableUnit, Link};
use crate::error::{Error, Result};
use crate::role::spec::Units;
use crate::sys::confined::{Links, Root, split};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::os::unix::ffi::OsStrExt;

const CONFIG: &str = "etc/systemd/system";
const PRESET: &str = "/etc/systemd/system-preset/00-libcv.preset";

pub(super) fn plan(tree: &Tree, units: &Units) -> Vec<Action> {
    let mask = |unit| Action::Link(Link { path: format!("/{CONFIG}/{unit}"), target: "/dev/null".to_owned() });
    let enable = |unit: &String| Action::EnableUnit(EnableUnit { unit: unit.clone(), wanted_by: None });
    // Masks first: what a unit that is enabled names with Also= may be masked.
    let mut actions: Vec<Action> = units.mask.iter().map(mask).chain(units.enable.iter().map(enable)).collect();
    let off = units.disable.iter().chain(units.mask.iter());
    let lines = units.enable.iter().map(|u| ("enable", u)).chain(off.map(|u| ("disable", u)));
    let preset = lines.fold(String::new(), |text, (word, unit)| text + word + " " + unit + "\n");
    // That of an earlier version is not said any more.
    if !preset.is_empty() || tree.exists(&PRESET[1..]) {
        actions.push(write(PRESET, preset));
    }
    actions
}

/// Takes away what says otherwise: links to units that are disabled or masked, masks of those that are enabled.
pub(super) fn clear(tree: &Tree, units: &Units) -> Result<()> {
    let off = |name: &[u8]| units.disable.iter().chain(units.mask.iter()).any(|u| u.as_bytes() == name);
    let on = |name: &[u8]| units.enable.iter().any(|u| u.as_bytes() == name);
    let Some(dir) = open(&tree.0, CONFIG.as_bytes())? else { return Ok(()) };
    for (name, kind) in names(&dir)? {
        if kind.is_symlink() {
            // An alias leads to the unit, a mask to nowhere.
            let target = target(&dir, &name);
            if off(split(&target).1) || (target == b"/dev/null" && on(&name)) {
                unlink(&dir, &name)?;
            }
        } else if [&b".wants"[..], b".requires", b".upholds"].iter().any(|e| name.ends_with(e)) && kind.is_dir() {
            let Some(wants) = open(&dir, &name)? else { continue };
            for (name, kind) in names(&wants)? {
                if kind.is_symlink() && (off(&name) || off(split(&target(&wants, &name)).1)) {
                    unlink(&wants, &name)?;
                }
            }
        }
    }
    Ok(())
}

fn open(root: &Root, path: &[u8]) -> Result<Option<Root>> {
    match root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::InRoot) {
        Ok(fd) => Ok(Some(Root::from_fd(fd))),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(e) => Err(Error::io("open", "the directory of units", e)),
    }
}

fn names(dir: &Root) -> Result<Vec<(Vec<u8>, FileType)>> {
    let failed = |e| Error::io("list", "units", e);
    let fd = dir.open_at(b"", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty(), Links::Refuse).map_err(failed)?;
    let mut out = Vec::new();
    for entry in rustix::fs::Dir::read_from(&fd).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            let state = rustix::fs::statat(&fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            out.push((name, FileType::from_raw_mode(state.st_mode)));
        }
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

fn target(dir: &Root, name: &[u8]) -> Vec<u8> {
    let read = dir.parent(name, Links::Refuse).and_then(|(fd, name)| rustix::fs::readlinkat(&fd, name, Vec::new()));
    read.map(|t| t.to_bytes().to_vec()).unwrap_or_default()
}

fn unlink(dir: &Root, name: &[u8]) -> Result<()> {
    let gone = dir.parent(name, Links::Refuse).and_then(|(fd, name)| rustix::fs::unlinkat(&fd, name, AtFlags::empty()));
    gone.map_err(|e| Error::io("remove", std::ffi::OsStr::from_bytes(name).display(), e))
}
