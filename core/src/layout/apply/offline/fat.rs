//! Trees for FAT filesystems, which are put in by mtools: the same way whether the kernel knows FAT or not, and once for
//! each mirror.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::program::{Call, Program};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Characters that FAT's long names do not have.
const FORBIDDEN: &[u8] = b"\"*/:<>?\\|";
/// Deeper than any ESP.
const DEPTH: usize = 32;

/// Puts everything in `tree` into the filesystem in `file`.
///
/// # Errors
/// `Unsupported` for what FAT does not hold: links, devices, names; `Limit` when it is too small; `Io`.
pub(super) fn fill(tree: &Path, file: &Path, stop: &dyn Fn() -> bool) -> Result<()> {
    let entries = check(tree, 0)?;
    if entries.is_empty() {
        return Ok(());
    }
    let call = Call::new(Program::Mcopy).args(["-s", "-m", "-Q", "-o", "-i"]).arg(file).args(&entries).arg("::/");
    // Times as the kernel writes them; and no doubts about a geometry that nothing uses.
    match call.env("TZ", "UTC").env("MTOOLS_SKIP_CHECK", "1").run(stop) {
        Err(e) if e.facts().get("stderr").is_some_and(|s| s.to_string().contains("Disk full")) => {
            Err(Error::limit("the content does not fit onto the FAT filesystem").hint("make it larger").cause(e))
        }
        done => done.map(drop),
    }
}

/// Looks at everything before anything is copied; gives what is in `directory`.
fn check(directory: &Path, depth: usize) -> Result<Vec<PathBuf>> {
    let failed = |e: std::io::Error| Error::io("read", directory.display(), e);
    if depth > DEPTH {
        return Err(Error::limit(format!("{} is too deep for FAT", directory.display())));
    }
    let mut paths = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (name, kind) = (entry.file_name(), entry.file_type().map_err(failed)?);
        let cannot = |why: &str| {
            Error::new(ErrorKind::Unsupported, format!("FAT cannot hold {}: {why}", entry.path().display()))
                .hint("leave it out of the image, or mount another filesystem there")
        };
        let bytes = name.as_bytes();
        let plain = |b: &u8| (b' '..=b'~').contains(b) && !FORBIDDEN.contains(b);
        if bytes.len() > 255 || !bytes.iter().all(plain) || bytes.ends_with(b".") || bytes.ends_with(b" ") {
            return Err(cannot("it is no name there"));
        }
        if !names.insert(bytes.to_ascii_uppercase()) {
            return Err(cannot("another name differs in case only"));
        }
        if kind.is_dir() {
            check(&entry.path(), depth + 1)?;
        } else if !kind.is_file() {
            return Err(cannot("it is neither a file nor a directory"));
        }
        paths.push(entry.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fat_does_not_hold_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("EFI/BOOT");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("BOOTX64.EFI"), "x").unwrap();
        assert_eq!(check(dir.path(), 0).unwrap(), [dir.path().join("EFI")]);
        let bad = |make: &dyn Fn(&Path)| {
            let tmp = tempfile::tempdir_in(&deep).unwrap();
            make(tmp.path());
            check(dir.path(), 0).unwrap_err().kind()
        };
        assert_eq!(bad(&|d| std::os::unix::fs::symlink("x", d.join("link")).unwrap()), ErrorKind::Unsupported);
        for name in ["a:b", "gr\u{fc}n", "end.", "q?"] {
            assert_eq!(bad(&|d| std::fs::write(d.join(name), "").unwrap()), ErrorKind::Unsupported, "{name}");
        }
        let twice = |d: &Path| ["a", "A"].iter().for_each(|n| std::fs::write(d.join(n), "").unwrap());
        assert_eq!(bad(&twice), ErrorKind::Unsupported);
    }
}
