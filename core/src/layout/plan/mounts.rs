//! What is mounted where: filesystems, and subvolumes of btrfs.

use super::{Plan, PlannedFilesystem};
use crate::layout::spec::Mount;
use serde::Serialize;

/// A subvolume of btrfs to be.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedSubvolume {
    /// Its path in the filesystem, such as `@home`.
    pub name: String,
    /// Where it is mounted.
    pub mount: Option<Mount>,
}

/// A filesystem, or a subvolume of it, at its mount point.
#[derive(Clone, Copy, Debug)]
pub struct PlannedMount<'a> {
    /// The filesystem.
    pub filesystem: &'a PlannedFilesystem,
    /// The subvolume; none of the filesystem as a whole.
    pub subvolume: Option<&'a str>,
    /// Where it is mounted, and with which options of the document.
    pub mount: &'a Mount,
}

impl PlannedMount<'_> {
    /// What says which subvolume it is: the first of its options.
    #[must_use]
    pub fn subvolume_option(&self) -> Option<String> {
        self.subvolume.map(|name| format!("subvol=/{name}"))
    }

    /// Its options, with that of the subvolume.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        self.subvolume_option().into_iter().chain(self.mount.options.iter().cloned()).collect()
    }
}

impl PlannedFilesystem {
    /// Everywhere that it is mounted.
    pub fn mounts(&self) -> impl Iterator<Item = PlannedMount<'_>> {
        let whole = self.mount.iter().map(|mount| (None, mount));
        let parts = self.subvolumes.iter().filter_map(|s| Some((Some(s.name.as_str()), s.mount.as_ref()?)));
        let place = |(subvolume, mount)| PlannedMount { filesystem: self, subvolume, mount };
        whole.chain(parts).map(place)
    }

    /// Whether it, or a subvolume of it, is mounted there.
    #[must_use]
    pub fn is_mounted_at(&self, path: &str) -> bool {
        self.mounts().any(|m| m.mount.at == path)
    }
}

impl Plan {
    /// Everything with a mount point, parents before what is mounted in them.
    #[must_use]
    pub fn mounts(&self) -> Vec<PlannedMount<'_>> {
        let mut list: Vec<_> = self.filesystems.iter().flat_map(PlannedFilesystem::mounts).collect();
        list.sort_by_key(|m| if m.mount.at == "/" { 0 } else { m.mount.at.matches('/').count() });
        list
    }

    /// What is mounted there.
    #[must_use]
    pub fn mounted_at(&self, path: &str) -> Option<PlannedMount<'_>> {
        self.filesystems.iter().flat_map(PlannedFilesystem::mounts).find(|m| m.mount.at == path)
    }
}
