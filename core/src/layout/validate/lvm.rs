//! Volume groups, and what each kind of volume needs and has no use for.

use super::{MIB, Validator};
use crate::layout::diagnostic::Diagnostic;
use crate::layout::spec::{Volume, VolumeGroup, VolumeKind};

/// The largest extent of LVM.
const EXTENT_MAX: u64 = 16 << 30;
/// The unit of chunks of thin pools, and the largest of them (dm-thin).
const POOL_CHUNK: u64 = 64 << 10;
const POOL_CHUNK_MAX: u64 = 1 << 30;
/// The least stripe: a page.
const STRIPE_MIN: u64 = 4 << 10;

impl Validator<'_> {
    pub(super) fn lvm(&mut self) {
        let spec = self.spec;
        for (group, g) in &spec.lvm {
            let path = format!("lvm.{group}");
            if g.pvs.is_empty() {
                self.wrong("L136", format!("{path}.pvs"), format!("lvm.{group} stands on nothing"));
            }
            let extent = g.extent.bytes();
            if !extent.is_power_of_two() || !(MIB..=EXTENT_MAX).contains(&extent) {
                let text = format!("an extent of {}: a power of two from 1MiB to 16GiB is needed", g.extent);
                self.wrong("L136", format!("{path}.extent"), text);
            }
            for (name, volume) in &g.lvs {
                let path = format!("{path}.lvs.{name}");
                self.kind(volume, &path);
                self.stripes(g, volume, &path);
                self.pool_chunk(volume, &path);
            }
        }
    }

    /// Which sizes a kind has.
    fn kind(&mut self, volume: &Volume, path: &str) {
        if volume.kind == VolumeKind::Thin {
            for (key, there) in [("pool", volume.pool.is_some()), ("virtual-size", volume.virtual_size.is_some())] {
                // One that could not be read is there.
                if !there && !self.positions.has(&format!("{path}.{key}")) {
                    self.missing(path, key);
                }
            }
            if volume.size.is_some() {
                self.means_nothing(format!("{path}.size"), "a thin volume takes its room from the pool: virtual-size");
            }
            if volume.virtual_size.is_some_and(|s| s.bytes() == 0) {
                self.wrong("L101", format!("{path}.virtual-size"), "the size is zero");
            }
            return;
        }
        if volume.size.is_none() && !self.positions.has(&format!("{path}.size")) {
            self.missing(path, "size");
        }
        for (key, there) in [("pool", volume.pool.is_some()), ("virtual-size", volume.virtual_size.is_some())] {
            if there {
                self.means_nothing(format!("{path}.{key}"), format!("{key} is for volumes with kind: thin"));
            }
        }
    }

    fn missing(&mut self, path: &str, key: &str) {
        let place = self.positions.place(path);
        let d = Diagnostic::error("L004", format!("{path}.{key}"), format!("the key \"{key}\" is missing"));
        if !self.is_full() {
            self.found.push(d.at(place));
        }
    }

    fn stripes(&mut self, group: &VolumeGroup, volume: &Volume, path: &str) {
        let striped = volume.stripes.unwrap_or(1) > 1;
        if volume.kind != VolumeKind::Linear && volume.stripes.is_some() {
            self.means_nothing(format!("{path}.stripes"), "only linear volumes are striped");
        } else if let Some(stripes) = volume.stripes.filter(|n| *n > 1)
            && let Some((least, _)) = self.devices(&group.pvs)
            && least < stripes
        {
            let text = format!("{stripes} stripes need as many physical volumes, there can be {least}");
            self.wrong("L136", format!("{path}.stripes"), text);
        }
        let Some(size) = volume.stripe_size else { return };
        let (bytes, path) = (size.bytes(), format!("{path}.stripe-size"));
        if !striped {
            self.means_nothing(path, "a volume without stripes has no stripe-size");
        } else if !bytes.is_power_of_two() || bytes < STRIPE_MIN || bytes > group.extent.bytes() {
            let text = format!("a stripe of {size}: a power of two from 4KiB to one extent is needed");
            self.wrong("L136", path, text);
        }
    }

    fn pool_chunk(&mut self, volume: &Volume, path: &str) {
        let Some(chunk) = volume.chunk else { return };
        let (bytes, path) = (chunk.bytes(), format!("{path}.chunk"));
        if volume.kind != VolumeKind::ThinPool {
            self.means_nothing(path, "chunk is for volumes with kind: thin-pool");
        } else if bytes == 0 || !bytes.is_multiple_of(POOL_CHUNK) || bytes > POOL_CHUNK_MAX {
            self.wrong("L136", path, format!("a chunk of {chunk}: a multiple of 64KiB, at most 1GiB, is needed"));
        }
    }
}
