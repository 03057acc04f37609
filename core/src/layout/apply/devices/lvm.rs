//! Volume groups with LVM, which sees the devices of the plan and no others.

use crate::layout::UNFINISHED;
use crate::layout::plan::{PlannedGroup, PlannedVolume};
use crate::layout::spec::VolumeKind;
use crate::sys::program::{Call, Program};
use std::path::Path;

/// Runs LVM on the nodes in one directory.
#[derive(Clone, Debug)]
pub(super) struct Lvm {
    config: String,
}

impl Lvm {
    /// With the devices whose nodes are in `nodes`.
    pub(super) fn on(nodes: &Path) -> Self {
        let nodes = nodes.display();
        // No udev is asked or waited for, no daemon is started, and no file of the machine says which devices there are.
        let config = format!(
            "devices{{scan=[\"{nodes}\"] obtain_device_list_from_udev=0 use_devicesfile=0 \
             external_device_info_source=\"none\" multipath_component_detection=0 md_component_detection=0 \
             hints=\"none\"}} activation{{udev_sync=0 udev_rules=0 verify_udev_operations=1 monitoring=0}} \
             backup{{backup=0 archive=0}} global{{event_activation=0 use_lvmpolld=0 use_lvmlockd=0}}"
        );
        Self { config }
    }

    fn call(&self, action: &str) -> Call {
        Call::new(Program::Lvm).args([action, "--config", &self.config]).env("DM_DISABLE_UDEV", "1")
    }

    /// The run that makes a physical volume with this UUID.
    pub(super) fn physical(&self, uuid: &str, device: &Path) -> Call {
        let call = self.call("pvcreate").args(["-qq", "-y", "-ff", "--uuid", uuid, "--norestorefile"]);
        // Where data begins is part of the plan.
        call.args(["--dataalignment", "1m"]).arg(device)
    }

    /// The run that makes a group.
    pub(super) fn group(&self, group: &PlannedGroup, devices: &[&Path]) -> Call {
        let extent = format!("{}b", group.extent);
        self.call("vgcreate").args(["-qq", "--physicalextentsize", &extent, &group.name]).args(devices)
    }

    /// The run that makes a volume.
    pub(super) fn volume(&self, group: &PlannedGroup, volume: &PlannedVolume) -> Call {
        let bytes = |n: u64| format!("{n}b");
        // What lies on it is erased by the gate, which looks for more than LVM does.
        let call = self.call("lvcreate").args(["-qq", "-y", "--name", &volume.name]);
        // In a new group the partitions below carry the mark.
        let call = if group.kept { call.args(["--addtag", UNFINISHED]) } else { call };
        match volume.kind {
            VolumeKind::Linear => {
                let call = call.args(["-Wn", "-Zn", "--type"]);
                let call = match volume.stripes {
                    Some((n, size)) if n > 1 => {
                        call.args(["striped", "--stripes", &n.to_string(), "--stripesize", &bytes(size)])
                    }
                    _ => call.arg("linear"),
                };
                call.args(["--extents", &volume.extents.to_string(), &group.name])
            }
            VolumeKind::ThinPool => {
                let call = call.args(["--type", "thin-pool", "--extents", &volume.extents.to_string()]);
                let call = call.args(["--poolmetadatasize", &bytes(volume.metadata * group.extent)]);
                let call = match volume.chunk {
                    Some(chunk) => call.args(["--chunksize", &bytes(chunk)]),
                    None => call,
                };
                call.arg(&group.name)
            }
            VolumeKind::Thin => {
                let call = call.args(["-Wn", "--type", "thin", "--virtualsize", &bytes(volume.size)]);
                let pool = volume.pool.as_deref().unwrap_or_default();
                call.args(["--thinpool", pool, &group.name])
            }
        }
    }

    /// The run that starts a volume of a group that is there.
    pub(super) fn activate(&self, group: &str, volume: &str) -> Call {
        self.call("lvchange").args(["-qq", "-y", "-ay", "--activationmode", "complete", &format!("{group}/{volume}")])
    }

    /// The run that tells the UUID of a volume of a group that is there.
    pub(super) fn uuid(&self, group: &str, volume: &str) -> Call {
        self.call("lvs").args(["--noheadings", "--options", "lv_uuid", &format!("{group}/{volume}")])
    }

    /// The run that takes the mark off a volume.
    pub(super) fn finished(&self, group: &str, volume: &str) -> Call {
        self.call("lvchange").args(["-qq", "-y", "--deltag", UNFINISHED, &format!("{group}/{volume}")])
    }

    /// The run that removes a volume of a group that is there.
    pub(super) fn remove(&self, group: &str, volume: &str) -> Call {
        self.call("lvremove").args(["-qq", "-y", &format!("{group}/{volume}")])
    }

    /// The run that takes the volumes of a group out of the kernel.
    pub(super) fn deactivate(&self, group: &str) -> Call {
        self.call("vgchange").args(["-qq", "-y", "-an", group])
    }
}
