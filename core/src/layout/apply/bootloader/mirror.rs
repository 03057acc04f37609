//! Every further ESP gets the tree of the first.
//!
//! Each is a filesystem of its own and not a leg of RAID1: firmware writes to one of them, and two partitions with one
//! UUID are one entry to it. Files come under another name and are renamed, each flushed: after a cut of the power a file
//! is the old one or the new one. The loader of the fallback path comes last.

use super::tree::Tree;
use crate::error::{Error, Result};
use std::path::Path;

/// Makes `to` hold what `from` holds; both are directories where ESPs are mounted. Says what changed.
///
/// What only `to` has stays where its directory is its own: a vendor's programs for the firmware, for example.
///
/// # Errors
/// `Io`; `Limit` when `to` is smaller; `Integrity` when it does not hold afterwards what it was given.
pub fn mirror(from: &Path, to: &Path) -> Result<Vec<String>> {
    let (from, to) = (Tree::esp(from)?, Tree::esp(to)?);
    let (directories, mut files) = from.walk("");
    directories.iter().filter(|d| !d.is_empty()).try_for_each(|d| to.make_directory(d))?;
    files.sort_by_key(|f| f.to_ascii_uppercase().ends_with("/BOOT/BOOTX64.EFI"));
    for file in &files {
        let Some(bytes) = from.read(file)? else { continue };
        to.write(file, &bytes)?;
        if to.read(file)?.as_deref() != Some(&bytes[..]) {
            return Err(Error::integrity(format!("{file} of an EFI system partition is not what was written"))
                .fact("code", "A405"));
        }
    }
    let (_, theirs) = to.walk("");
    let ours = |path: &str| directories.iter().any(|d| d == path.rsplit_once('/').map_or("", |(dir, _)| dir));
    for file in theirs.iter().filter(|f| ours(f) && !files.contains(f)) {
        to.remove(file)?;
    }
    Ok(to.changed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_made_like_the_first() {
        let tmp = tempfile::tempdir().unwrap();
        let (a, b) = (tmp.path().join("a"), tmp.path().join("b"));
        let put = |path: &str, text: &str| {
            let path = tmp.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("a/EFI/BOOT/BOOTX64.EFI", "shim");
        put("a/EFI/x/grub.cfg", "new");
        put("b/EFI/x/grub.cfg", "old");
        put("b/EFI/x/stale", "1");
        put("b/EFI/Dell/tool.efi", "2");
        let changed = mirror(&a, &b).unwrap();
        assert_eq!(changed, ["EFI/x/grub.cfg", "EFI/BOOT/BOOTX64.EFI", "EFI/x/stale"]);
        assert_eq!(std::fs::read(b.join("EFI/x/grub.cfg")).unwrap(), b"new");
        assert!(!b.join("EFI/x/stale").exists() && b.join("EFI/Dell/tool.efi").exists());
        assert_eq!(mirror(&a, &b).unwrap(), [""; 0]);
        let left = Tree::esp(&b).unwrap().walk("").1;
        assert_eq!(left, ["EFI/BOOT/BOOTX64.EFI", "EFI/Dell/tool.efi", "EFI/x/grub.cfg"]);
    }
}
