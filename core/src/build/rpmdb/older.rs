//! The database of rpm before 4.16: files of Berkeley DB, which only the root's own rpm reads and writes.

use super::{PLACES, regular};
use crate::error::{Error, Result};
use crate::image::Hash;
use crate::sys::confined::{Links, Root, show};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// What a file begins with: a page whose words are in the order of the machine that wrote it. At 12 the kind, at 52 an
/// identity of 20 bytes, made of the time and the number of the process (`db_page.h`).
const KIND: std::ops::Range<usize> = 12..16;
const IDENTITY: std::ops::Range<usize> = 52..72;
const KINDS: [u32; 3] = [0x0006_1561, 0x0005_3162, 0x0004_2253];

/// Gives each file an identity that its name alone makes, and removes what only a running rpm needs. The files have to differ
/// in it: pages of two that were alike would be taken for those of one.
///
/// # Errors
/// `UnsafeInput` when something there is no file, `Io`.
pub(super) fn settle(root: &Root) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    for place in PLACES {
        let dir = match root.open_at(place.as_bytes(), flags, Mode::empty(), Links::InRoot) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(e) => return Err(Error::io("open", root.name_of(place.as_bytes()), e)),
        };
        for name in names(&dir)? {
            let text = show(&name).into_owned();
            if name.starts_with(b"__db") || name == b".rpm.lock" || name == b".dbenv.lock" {
                let gone = rustix::fs::unlinkat(&dir, name.as_slice(), AtFlags::empty());
                gone.map_err(|e| Error::io("remove", &text, e))?;
            } else if regular(&dir, &text).unwrap_or(false) {
                identify(&dir, &name).map_err(|e| Error::io("rewrite", &text, e))?;
            }
        }
    }
    Ok(())
}

fn names(dir: &OwnedFd) -> Result<Vec<Vec<u8>>> {
    let failed = |e| Error::io("list", "the package database", e);
    let mut out = Vec::new();
    for entry in Dir::read_from(dir.as_fd()).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            out.push(name);
        }
    }
    Ok(out)
}

fn identify(dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let mut page = [0u8; IDENTITY.end];
    if rustix::io::pread(&file, &mut page, 0)? < page.len() {
        return Ok(());
    }
    let word = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if !KINDS.contains(&word(&page[KIND])) {
        return Ok(());
    }
    let identity = &Hash::of(name).0[..IDENTITY.len()];
    if page[IDENTITY] != *identity {
        rustix::io::pwrite(&file, identity, IDENTITY.start as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_the_identity_of_their_name() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("var/lib/rpm");
        std::fs::create_dir_all(&place).unwrap();
        let mut page = vec![7u8; 4096];
        page[KIND].copy_from_slice(&KINDS[0].to_ne_bytes());
        for name in ["Packages", "Name"] {
            std::fs::write(place.join(name), &page).unwrap();
        }
        std::fs::write(place.join("notes"), vec![7u8; 4096]).unwrap();
        std::fs::write(place.join("__db.001"), "x").unwrap();
        let root = Root::open(dir.path()).unwrap();
        settle(&root).unwrap();
        let read = |name: &str| std::fs::read(place.join(name)).unwrap();
        let (one, two) = (read("Packages"), read("Name"));
        assert!(one[IDENTITY] != two[IDENTITY] && one[IDENTITY] != page[IDENTITY]);
        assert!(one[..IDENTITY.start] == page[..IDENTITY.start] && one[IDENTITY.end..] == page[IDENTITY.end..]);
        assert!(read("notes") == vec![7u8; 4096] && !place.join("__db.001").exists());
        settle(&root).unwrap();
        assert_eq!(read("Packages"), one);
    }
}
