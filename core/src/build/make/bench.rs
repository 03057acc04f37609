//! Where an image is made: a directory that is gone when the work ends, however it ends.
//!
//! ```text
//!  STORE/tmp/build-7f3a…/   dist/     what is installed: metadata, packages, keys
//!                           target/   the new root
//!                           root/     where the confined root is mounted
//!                           work/     caches and logs of the package manager
//!                           script…/  a script of the role, each in a directory that nothing has run in
//!                           state/    what a capture notes
//! ```

use crate::build::root::Confined;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::sys::clock;
use crate::sys::scratch::{BUILD, Scratch};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A place to make one root in.
pub(super) struct Bench {
    scratch: Scratch,
}

impl Bench {
    /// Makes it in `directory`; without one beside the files of the store, or where large temporary files belong.
    pub(super) fn new(store: &Store, directory: Option<&Path>) -> Result<Self> {
        let own = store.blobs().directory().map(|d| d.join("tmp"));
        let parent = directory.map(Path::to_owned).or(own).unwrap_or_else(|| PathBuf::from("/var/tmp"));
        let scratch = Scratch::new(&parent, BUILD)?;
        for (name, mode) in [("dist", 0o755), ("target", 0o755), ("root", 0o755), ("work", 0o755), ("state", 0o700)] {
            let path = scratch.path().join(name);
            let made = std::fs::create_dir(&path)
                .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)));
            made.map_err(|e| Error::io("make", path.display(), e))?;
        }
        Ok(Self { scratch })
    }

    pub(super) fn dist(&self) -> PathBuf {
        self.scratch.path().join("dist")
    }

    pub(super) fn target(&self) -> PathBuf {
        self.scratch.path().join("target")
    }

    pub(super) fn place(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.scratch.path().join("work")
    }

    /// Nothing that runs in a root sees it.
    pub(super) fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// A directory that is new. Programs of packages may write into `work`: a link that one left there would lead who
    /// writes there from outside, too.
    pub(super) fn untouched(&self) -> Result<PathBuf> {
        let path = self.scratch.path().join(format!("script-{:016x}", clock::random_u64()));
        std::fs::create_dir(&path).map_err(|e| Error::io("make", path.display(), e))?;
        Ok(path)
    }

    /// The root in which programs of the image run.
    pub(super) fn confined(&self, net: bool) -> Confined {
        Confined { target: self.target(), place: self.place(), dist: Vec::new(), conf: Vec::new(), work: None, net }
    }

    pub(super) fn remove(self) -> Result<()> {
        self.scratch.remove()
    }
}
