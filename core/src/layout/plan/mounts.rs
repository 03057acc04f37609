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

#[cfg(test)]
mod tests {
    use crate::layout::{Disks, Layout, PlanOptions};

    const DOCUMENT: &str = r#"
schema: cv.layout/v1
name: parts
firmware: [bios]
disks: {os: {}}
partitions:
  os/core: {type: bios-boot, size: 1MiB}
  os/root: {type: root, size: rest}
filesystems:
  root:
    on: os/root
    type: btrfs
    mount: {at: /.top, options: [noauto]}
    subvolumes:
      "@/var/log": {mount: {at: /var/log, options: [nodev]}}
      "@": {mount: {at: /, options: [compress=zstd]}}
      "@home": {}
boot: {loader: grub2, install-on: os, cmdline: [quiet]}
"#;

    #[test]
    fn subvolumes_stand_in_fstab_and_on_the_command_line() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("d");
        std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
        let disks = Disks::from([("os".to_owned(), vec![path])]);
        let plan = Layout::parse(DOCUMENT.as_bytes(), "x").unwrap().plan(&disks, &PlanOptions::default()).unwrap();
        let uuid = plan.filesystems()[0].uuid.clone();
        let lines = [
            format!("UUID={uuid} / btrfs subvol=/@,compress=zstd 0 0"),
            format!("UUID={uuid} /.top btrfs noauto 0 0"),
            format!("UUID={uuid} /var/log btrfs subvol=/@/var/log,nodev 0 0"),
        ];
        assert_eq!(plan.fstab_lines(), lines);
        assert_eq!(plan.boot_cmdline(), format!("root=UUID={uuid} ro rootflags=subvol=/@ quiet"));
        // A parent is made before what is in it.
        let commands = plan.steps().iter().find(|s| s.id == "mkfs:root").unwrap().commands.clone();
        let made: Vec<_> = commands[1..].iter().map(|c| c.join(" ")).collect();
        assert_eq!(made, ["/@", "/@home", "/@/var/log"].map(|p| format!("btrfs subvolume create {p}")));
        let text = plan.to_text();
        assert!(text.contains("/ (@)") && text.contains("with the subvolumes @, @home, @/var/log"), "{text}");
        assert_eq!(plan.to_json()["filesystems"][0]["subvolumes"][1]["name"], "@home");
    }
}
