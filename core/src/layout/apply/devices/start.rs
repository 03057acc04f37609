//! Devices that are there already, because they are kept or an interrupted run made them: they are started, looked at, and
//! nothing is written to them. What is made on one that is kept is cleaned first, like anything new.

use super::{Nodes, Running, Secrets, Started, kept, luks, md, number_of};
use crate::error::{Error, Result};
use crate::layout::plan::{Device, Layer, PlannedArray, PlannedCrypt, PlannedGroup};
use crate::layout::spec::{Key, Resync, VolumeKind};
use crate::sys::block;
use crate::sys::sysfs::{DeviceNumber, Kernel};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

impl Running<'_> {
    /// Takes over the devices of a layer that an interrupted run made; those below it are in `nodes`, and those that it
    /// has are added.
    ///
    /// # Errors
    /// What the program says; `NotFound` for a secret that is not given; `Integrity` (A408) when it is another device.
    pub fn start(&mut self, layer: Layer, nodes: &mut Nodes, secrets: &Secrets) -> Result<()> {
        self.begin(layer, true, nodes, secrets)
    }

    /// Starts what is there: all of it when it is `made`, what is kept otherwise, and then makes in it what is new.
    pub(super) fn begin(&mut self, layer: Layer, made: bool, nodes: &mut Nodes, secrets: &Secrets) -> Result<()> {
        match layer {
            Layer::Array(i) => self.start_array(i, &self.plan.arrays()[i], made, nodes),
            Layer::Crypt(i) => self.start_crypt(i, &self.plan.crypts()[i], made, nodes, secrets),
            Layer::Group(i) => self.start_group(i, &self.plan.groups()[i], made, nodes),
        }
    }

    fn start_array(&mut self, index: usize, array: &PlannedArray, made: bool, nodes: &mut Nodes) -> Result<()> {
        let members = array.members.iter().map(|m| nodes.path(*m)).collect::<Result<Vec<_>>>()?;
        let device = PathBuf::from(format!("/dev/md/{}", array.uuid.simple()));
        md::assemble(array, &members, &device).run(self.stop)?;
        let (kernel, reference) = (Kernel::default(), format!("raid/{}", array.id));
        let members = array.members.iter().map(|m| nodes.entry(*m).map(|(_, n)| *n)).collect::<Result<Vec<_>>>()?;
        let number = md::of_members(&kernel, &members, &reference)?;
        self.started.push(Started::Array(index, device, number));
        // Its UUID says that it is this one, whoever was first to start it.
        let uuid = kernel.attribute(number, "md/uuid");
        if uuid.is_some_and(|u| u.parse::<uuid::Uuid>().is_ok_and(|u| u != array.uuid)) {
            return Err(other(&reference, "another array has its members"));
        }
        // Of what was whole mdadm starts one half as well.
        if let Some(n) = md::missing(&kernel, number, &members) {
            let name = self.plan.glance(array.members[n]).path;
            return Err(other(&reference, &format!("it runs without its member {name}")));
        }
        if made || array.sync != Resync::FrozenUntilBoot {
            md::calm(array, number)?;
        }
        self.started(Device::Array(index), made, number, nodes)
    }

    fn start_crypt(
        &mut self,
        index: usize,
        crypt: &PlannedCrypt,
        made: bool,
        nodes: &mut Nodes,
        secrets: &Secrets,
    ) -> Result<()> {
        let on = nodes.path(crypt.on)?;
        let names = crypt.keys.iter().filter_map(|key| if let Key::Secret(name) = key { Some(name) } else { None });
        let mut opened = Err(kept::no_secret(crypt));
        for name in names {
            opened = luks::open(crypt, on, secrets.get(name)?).run(self.stop).map(drop);
            if opened.is_ok() {
                break;
            }
        }
        opened?;
        self.started.push(Started::Crypt(index));
        let number = number_of(&Path::new("/dev/mapper").join(crypt.name()))?;
        self.started(Device::Crypt(index), made, number, nodes)
    }

    fn start_group(&mut self, index: usize, group: &PlannedGroup, made: bool, nodes: &mut Nodes) -> Result<()> {
        for (device, _) in &group.pvs {
            self.physical(*device, nodes)?;
        }
        self.started.push(Started::Group(index));
        for volume in group.replaced.iter().filter(|_| !made) {
            // The name alone would not tell it from one that somebody made in its place.
            let is = self.lvm.uuid(&group.name, &volume.name).run(self.stop)?.stdout;
            kept::same_volume(&group.name, &volume.name, &volume.uuid, String::from_utf8_lossy(&is).trim())?;
            self.lvm.remove(&group.name, &volume.name).run(self.stop)?;
        }
        for (n, volume) in group.volumes.iter().enumerate() {
            if !(made || volume.kept) {
                self.volume(index, n, nodes)?;
                continue;
            }
            self.lvm.activate(&group.name, &volume.name).run(self.stop)?;
            let device = Device::Volume { group: index, volume: n };
            if volume.kind != VolumeKind::ThinPool {
                self.started(device, made, number_of(Path::new(&self.plan.glance(device).path))?, nodes)?;
            }
        }
        Ok(())
    }

    /// Adds the node of a device that was started, and looks whether it is what the plan says.
    fn started(&self, device: Device, made: bool, number: DeviceNumber, nodes: &mut Nodes) -> Result<()> {
        if !(made || self.plan.content_stays(device)) {
            return self.clean(device, number, nodes);
        }
        let glance = self.plan.glance(device);
        nodes.add(device, &glance.reference, number)?;
        let failed = |e| Error::io("read", &glance.reference, e);
        let file = File::open(nodes.path(device)?).map_err(failed)?;
        let size = block::size(file.as_fd()).map_err(|e| failed(e.into()))?;
        if size != glance.size {
            return Err(other(&glance.reference, &format!("it has {size} bytes"))
                .fact("expected", format!("{} bytes", glance.size)));
        }
        Ok(())
    }
}

fn other(reference: &str, what: &str) -> Error {
    Error::integrity(format!("{reference} is not what it was when the plan was made: {what}")).fact("code", "A408")
}
