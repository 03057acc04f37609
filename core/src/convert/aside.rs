//! Something that is written beside its place and gets its name when it is whole.

use crate::error::{Error, Result};
use crate::sys::clock;
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file or directory beside the target, removed unless it gets its name.
pub(super) struct Aside {
    target: PathBuf,
    path: PathBuf,
    /// Whether what stands there is ours.
    made: Cell<bool>,
}

impl Aside {
    /// A place beside `target`, which must not exist.
    pub(super) fn new(target: &Path) -> Result<Self> {
        if target.symlink_metadata().is_ok() {
            return Err(Error::refused(format!("{} exists already", target.display())).hint("give another name"));
        }
        // A program that writes it has a working directory of its own.
        let target = std::path::absolute(target).map_err(|e| Error::io("find", target.display(), e))?;
        // No number of a process: in containers that is the same each time, and one that was killed leaves its file.
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".cv-{:016x}", clock::random_u64()));
        Ok(Self { target, path: name.into(), made: Cell::new(false) })
    }

    /// Where it stands meanwhile.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it a file.
    pub(super) fn create(&self) -> Result<File> {
        let file = File::create_new(&self.path).map_err(|e| Error::io("create", self.path.display(), e))?;
        self.made.set(true);
        Ok(file)
    }

    /// Makes it a directory.
    pub(super) fn create_directory(&self) -> Result<&Path> {
        std::fs::create_dir(&self.path).map_err(|e| Error::io("create", self.path.display(), e))?;
        self.made.set(true);
        Ok(&self.path)
    }

    /// The path for a program that makes the file itself, and may leave it behind when it fails.
    pub(super) fn for_program(&self) -> Result<&Path> {
        if self.path.symlink_metadata().is_ok() {
            return Err(Error::refused(format!("{} exists already", self.path.display())));
        }
        self.made.set(true);
        Ok(&self.path)
    }

    /// Gives it its name. Nothing that came to stand there meanwhile is replaced.
    pub(super) fn finish(self) -> Result<()> {
        let (from, to) = (&self.path, &self.target);
        let named = match rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, RenameFlags::NOREPLACE)
        {
            // NFS and old kernels do not know the flag. A second name for a file fails as well where there is one.
            Err(Errno::INVAL | Errno::NOSYS) if from.is_file() => std::fs::hard_link(from, to),
            Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_err() => std::fs::rename(from, to),
            Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::EXIST.into()),
            done => done.map_err(Into::into),
        };
        named.map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => Error::refused(format!("{} exists meanwhile", to.display())),
            _ => Error::io("name", to.display(), e),
        })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if self.made.get() {
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_process_left_is_neither_in_the_way_nor_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let target = tmp.path().join("a.tar");
        let left = tmp.path().join(format!("a.tar.cv-{}", std::process::id()));
        std::fs::write(&left, "left").unwrap();
        let (one, two) = (Aside::new(&target).unwrap(), Aside::new(&target).unwrap());
        one.create().unwrap();
        two.create().unwrap();
        drop(two);
        assert!(one.path().exists());
        one.finish().unwrap();
        assert!(target.exists() && left.exists());
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_what_was_made_is_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let aside = || Aside::new(&tmp.path().join("a")).unwrap();
        {
            let stranger = aside();
            let path = stranger.path().to_owned();
            std::fs::write(&path, "of somebody else").unwrap();
            assert!(stranger.create().is_err() && stranger.create_directory().is_err());
            assert!(stranger.for_program().is_err());
            drop(stranger);
            std::fs::remove_file(path).unwrap();
        }
        let directory = aside();
        std::fs::write(directory.create_directory().unwrap().join("file"), "").unwrap();
        std::fs::write(aside().for_program().unwrap(), "").unwrap();
        drop(directory);
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
    }
}
