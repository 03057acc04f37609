//! Filesystems and swap space, and where fstab mounts them.

use super::Draft;
use super::names::{is_name, of_mount, unique};
use crate::layout::observed::{Filesystem as Seen, FstabLine, Node};
use crate::layout::spec::{Filesystem, FsType, Mirror, Mount, Preserve, Profile, Ref, Subvolume};
use indexmap::IndexMap;

/// Below these somebody mounted something for a while.
const PASSING: [&str; 4] = ["/mnt", "/media", "/run", "/tmp"];

impl Draft<'_> {
    /// The lines of fstab for a device.
    pub(super) fn mounts_of(&self, node: Node) -> Vec<&FstabLine> {
        let lines = self.observed.system.iter().flat_map(|s| &s.fstab);
        lines.filter(|l| l.at.starts_with('/') && self.observed.named(&l.what) == Some(node)).collect()
    }

    /// The device that is mounted there, by fstab or by the running system.
    pub(super) fn mounted_at(&self, at: &str) -> Option<Node> {
        let line = self.observed.system.iter().flat_map(|s| &s.fstab).find(|l| l.at == at);
        line.and_then(|l| self.observed.named(&l.what)).or_else(|| self.mounted_now(at))
    }

    fn mounted_now(&self, at: &str) -> Option<Node> {
        let mounted = self.observed.system.iter().flat_map(|s| &s.mounted).rev().find(|m| m.at == at)?;
        self.by_number(mounted.device).or_else(|| self.observed.named(&mounted.source))
    }

    fn by_number(&self, number: crate::sys::sysfs::DeviceNumber) -> Option<Node> {
        let observed = self.observed;
        let is = |r: &Option<crate::layout::observed::Running>| r.as_ref().is_some_and(|r| r.number == number);
        let parts = observed.disks.iter().enumerate().find_map(|(disk, d)| {
            let part = d.hardware.as_ref()?.partitions.iter().find(|p| p.device == number)?;
            Some(Node::Partition { disk, number: part.number })
        });
        let array = || observed.arrays.iter().position(|a| is(&a.running)).map(Node::Array);
        let crypt = || observed.crypts.iter().position(|c| is(&c.open)).map(Node::Crypt);
        let volume = || {
            observed.groups.iter().enumerate().find_map(|(group, g)| {
                let volume = g.volumes.iter().position(|v| is(&v.active))?;
                Some(Node::Volume { group, volume })
            })
        };
        parts.or_else(array).or_else(crypt).or_else(volume)
    }

    pub(super) fn filesystems(&mut self) {
        let mut found: Vec<(String, Filesystem)> = Vec::new();
        let mut mirrored: Vec<Ref> = Vec::new();
        for seen in &self.observed.filesystems {
            let Some(on) = self.references.get(&seen.on).cloned() else {
                if !matches!(seen.on, Node::Disk(_)) {
                    let name = self.observed.name(seen.on);
                    self.notes.push(format!("the {} of {name} is left out with what it stands on", seen.kind));
                }
                continue;
            };
            // The replicas of an ESP are one.
            if mirrored.contains(&on) {
                continue;
            }
            if let Some(made) = self.filesystem(seen, on.clone()) {
                mirrored.extend(made.1.mirror.map(|_| on));
                found.push(made);
            }
        }
        found.sort_by_key(|(_, f)| rank(f));
        for (name, fs) in found {
            let id = unique(&name, |n| self.spec.filesystems.contains_key(n));
            self.spec.filesystems.insert(id, fs);
        }
        self.elsewhere();
    }

    fn filesystem(&mut self, seen: &Seen, on: Ref) -> Option<(String, Filesystem)> {
        let what = self.observed.name(seen.on);
        let Some(kind) = FsType::ALL.into_iter().find(|t| t.name() == seen.kind) else {
            self.unsupported.push(format!("{what}: {}", seen.kind));
            return None;
        };
        let pool = self.observed.filesystems.iter().filter(|f| f.kind == "btrfs" && f.uuid == seen.uuid).count();
        if kind == FsType::Btrfs && pool > 1 {
            self.unsupported.push(format!("{what}: btrfs on {pool} devices"));
            return None;
        }
        let replicas = match &on {
            Ref::Partition(key) => self.sets.get(&key.set).map_or(1, Vec::len),
            _ => 1,
        };
        let (mount, subvolumes) = self.mounts(seen, kind);
        let label = seen.label.clone();
        let name = match (kind, mount.as_ref().and_then(|m| of_mount(&m.at))) {
            (FsType::Swap, _) => "swap".to_owned(),
            (_, Some(name)) => name,
            _ => self.name_without_mount(seen, &on),
        };
        let fs = Filesystem {
            on,
            kind,
            label,
            uuid: seen.uuid.clone().filter(|_| self.options.keep_uuids),
            mkfs: Vec::new(),
            profile: Profile::Auto,
            mount,
            mirror: (replicas > 1).then_some(Mirror::Sync),
            subvolumes,
            preserve: Preserve::Never,
        };
        Some((name, fs))
    }

    fn name_without_mount(&self, seen: &Seen, on: &Ref) -> String {
        let label = seen.label.as_ref().map(|l| l.to_lowercase()).filter(|l| is_name(l));
        label.unwrap_or_else(|| match on {
            Ref::Partition(key) => key.name.clone(),
            Ref::Raid(name) | Ref::Luks(name) | Ref::Volume(_, name) => name.clone(),
        })
    }

    /// Where fstab mounts a filesystem: as a whole, and by subvolumes.
    fn mounts(&mut self, seen: &Seen, kind: FsType) -> (Option<Mount>, IndexMap<String, Subvolume>) {
        let lines: Vec<FstabLine> = self.mounts_of(seen.on).into_iter().cloned().collect();
        let (mut mount, mut subvolumes) = (None, IndexMap::new());
        for line in &lines {
            let subvolume = line.options.iter().find_map(|o| o.strip_prefix("subvol="));
            let own = |o: &&String| {
                !matches!(o.as_str(), "defaults" | "sw") && !o.starts_with("subvol=") && !o.starts_with("subvolid=")
            };
            let options: Vec<String> = line.options.iter().filter(own).cloned().collect();
            let here = Mount { at: line.at.clone(), options };
            match subvolume.map(|s| s.trim_start_matches('/')).filter(|s| kind == FsType::Btrfs && !s.is_empty()) {
                Some(name) => {
                    subvolumes.insert(name.to_owned(), Subvolume { mount: Some(here) });
                }
                None if mount.is_none() => mount = Some(here),
                None => self.notes.push(format!("{} is mounted at {}, too", self.observed.name(seen.on), line.at)),
            }
        }
        if lines.is_empty() && kind != FsType::Swap {
            mount = self.running_mount(seen);
        }
        (mount, subvolumes)
    }

    /// What is mounted and not in fstab: the root may be, everything else is told.
    fn running_mount(&mut self, seen: &Seen) -> Option<Mount> {
        if self.mounted_at("/") == Some(seen.on) {
            return Some(Mount { at: "/".to_owned(), options: Vec::new() });
        }
        let all = self.observed.system.iter().flat_map(|s| &s.mounted);
        let places: Vec<String> = all
            .filter(|m| !PASSING.iter().any(|p| m.at == *p || m.at.starts_with(&format!("{p}/"))))
            .filter(|m| self.by_number(m.device).or_else(|| self.observed.named(&m.source)) == Some(seen.on))
            .map(|m| m.at.clone())
            .collect();
        for at in places {
            let what = self.observed.name(seen.on);
            self.notes.push(format!("{what} is mounted at {at} and not in fstab: its mount is not in this document"));
        }
        None
    }

    /// Lines of fstab that are none of these disks belong to the image.
    fn elsewhere(&mut self) {
        let lines = self.observed.system.iter().flat_map(|s| &s.fstab);
        let others = lines.filter(|l| self.observed.named(&l.what).is_none()).map(|l| {
            let swap_file = l.kind == "swap" && l.what.starts_with('/') && !l.what.starts_with("/dev/");
            match swap_file {
                true => format!("the swap file {} is left to the image", l.what),
                false => format!("the line of fstab for {} ({}) is left to the image", l.at, l.what),
            }
        });
        let others: Vec<String> = others.collect();
        self.notes.extend(others);
    }
}

/// What starts the machine first, then by mount point.
fn rank(fs: &Filesystem) -> (u8, String) {
    let at = fs.mount.as_ref().map(|m| m.at.as_str());
    let group = match (at, fs.kind) {
        (Some("/boot/efi" | "/efi"), _) => 0,
        (Some("/boot"), _) => 1,
        (Some("/"), _) => 2,
        (Some(_), _) => 3,
        (None, FsType::Vfat) => 0,
        (None, FsType::Swap) => 4,
        (None, _) => 5,
    };
    (group, at.unwrap_or_default().to_owned())
}
