//! Something that is written beside its place and gets its name when it is whole.

use crate::error::{Error, Result};
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file or directory beside the target, removed unless it gets its name.
pub(super) struct Aside {
    target: PathBuf,
    path: PathBuf,
}

impl Aside {
    /// A place beside `target`, which must not exist.
    pub(super) fn new(target: &Path) -> Result<Self> {
        if target.symlink_metadata().is_ok() {
            return Err(Error::refused(format!("{} exists already", target.display())).hint("give another name"));
        }
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".cv-{}", std::process::id()));
        Ok(Self { target: target.to_owned(), path: name.into() })
    }

    /// Where it stands meanwhile.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it a file.
    pub(super) fn create(&self) -> Result<File> {
        File::create_new(&self.path).map_err(|e| Error::io("create", self.path.display(), e))
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
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
