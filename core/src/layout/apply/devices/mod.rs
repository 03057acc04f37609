//! What partitions become on this machine, from the ground up: arrays, encrypted devices, volume groups.
//!
//! ```text
//! partitions ─ mdadm ─ erase inside ─ cryptsetup ─ erase inside ─ lvm ─ erase inside ─> nodes for mkfs and mount
//!              what was started is stopped in reverse, also when something fails
//! ```
//!
//! What used to lie on the disks can come back inside of a new array or volume, at the same place: so each is erased
//! before anything looks at it.

mod kept;
mod kernel;
mod luks;
mod lvm;
mod md;
mod secrets;
mod start;
pub mod tpm;

pub use kept::require;
pub(super) use kernel::Kernel;
pub use secrets::Secrets;

use super::erase::Erasure;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::device::ReadAt;
use crate::layout::gate::Gate;
use crate::layout::plan::{Device, Layer, Plan, PlannedArray, PlannedCrypt, PlannedGroup};
use crate::layout::spec::{FsType, Key, Resync, VolumeKind};
use crate::sys::loopdev::make_node;
use crate::sys::mount;
use crate::sys::program::{Call, Program};
use crate::sys::sysfs::{self, DeviceNumber, node_number};
use lvm::Lvm;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Nodes of the devices that there are already, in a directory that nobody else sees.
#[derive(Debug)]
pub struct Nodes {
    directory: PathBuf,
    known: BTreeMap<Device, (PathBuf, DeviceNumber)>,
    stand_ins: BTreeMap<Device, u64>,
}

impl Nodes {
    /// None yet.
    ///
    /// # Errors
    /// `Io` when the directories cannot be made.
    pub fn new(directory: &Path) -> Result<Self> {
        let nodes = Self { directory: directory.to_owned(), known: BTreeMap::new(), stand_ins: BTreeMap::new() };
        std::fs::create_dir_all(nodes.physical()).map_err(|e| Error::io("make", directory.display(), e))?;
        Ok(nodes)
    }

    /// A place of this name among them, for something that is no device.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where LVM finds what its groups are made of, and nothing else.
    fn physical(&self) -> PathBuf {
        self.directory.join("pvs")
    }

    /// Adds a device.
    ///
    /// # Errors
    /// `Io` when its node cannot be made.
    pub fn add(&mut self, device: Device, reference: &str, number: DeviceNumber) -> Result<()> {
        let path = self.directory.join(reference.replace('/', "-"));
        make_node(&path, number)?;
        self.known.insert(device, (path, number));
        Ok(())
    }

    /// Has memory mounted in the place of a device of this size, whose filesystem is filled by other means.
    pub fn stand_in(&mut self, device: Device, size: u64) {
        self.stand_ins.insert(device, size);
    }

    /// Mounts the filesystem of a device, or what stands in for it.
    ///
    /// # Errors
    /// `Unsupported`, `Denied` or `Io`.
    pub fn mount(&self, device: Device, at: &Path, kind: FsType, options: &[String]) -> Result<()> {
        match self.stand_ins.get(&device) {
            Some(size) => mount::tmpfs(at, &format!("mode=0755,size={size}")),
            None => mount::device(self.path(device)?, at, kind.name(), options),
        }
    }

    /// The node of a device.
    ///
    /// # Errors
    /// `Bug` when it was not made before.
    pub fn path(&self, device: Device) -> Result<&Path> {
        self.entry(device).map(|(path, _)| path.as_path())
    }

    fn entry(&self, device: Device) -> Result<&(PathBuf, DeviceNumber)> {
        let bug = || Error::new(ErrorKind::Bug, format!("{device:?} is used before it is made"));
        self.known.get(&device).ok_or_else(bug)
    }
}

/// The programs that a plan needs for its devices.
#[must_use]
pub fn programs(plan: &Plan) -> Vec<Program> {
    let mut needed = Vec::new();
    let (arrays, crypts, groups) = (plan.arrays().len(), plan.crypts().len(), plan.groups().len());
    // What is kept and not started is nobody's to work on.
    if (0..arrays).any(|i| plan.is_started(Layer::Array(i))) {
        needed.push(Program::Mdadm);
    }
    if (0..crypts).any(|i| plan.is_started(Layer::Crypt(i))) {
        needed.push(Program::Cryptsetup);
    }
    if (0..groups).any(|i| plan.is_started(Layer::Group(i))) {
        needed.push(Program::Lvm);
    }
    // In what is kept no key is made.
    if plan.crypts().iter().any(|c| !c.kept && c.keys.iter().any(Key::is_tpm2)) {
        needed.push(Program::SystemdCryptenroll);
    }
    needed
}

/// The runs that make the devices of a plan, as it shows them: by the names that they will have.
#[must_use]
pub fn preview(plan: &Plan, layer: Layer) -> Vec<Vec<String>> {
    let path = |device: Device| PathBuf::from(plan.glance(device).path);
    let paths = |devices: Vec<Device>| devices.into_iter().map(path).collect::<Vec<_>>();
    let calls = match layer {
        Layer::Array(i) => {
            let array = &plan.arrays()[i];
            let members = paths(array.members.clone());
            let members: Vec<&Path> = members.iter().map(PathBuf::as_path).collect();
            let run = if array.kept { md::assemble } else { md::create };
            vec![run(array, &members, &path(Device::Array(i)))]
        }
        Layer::Crypt(i) => {
            let crypt = &plan.crypts()[i];
            let on = path(crypt.on);
            if crypt.kept {
                return vec![luks::open(crypt, &on, &[]).preview()];
            }
            let registers = crypt.keys.iter().filter_map(|key| match key {
                Key::Tpm2 { pcrs } => Some(pcrs),
                Key::Secret(_) => None,
            });
            let enrol = registers.map(|pcrs| tpm::enrol(&on, pcrs, tpm::AUTO, Path::new("/run/libcv/nodes/secret")));
            let alone = crypt.keys.iter().all(Key::is_tpm2).then(|| luks::remove_first(&on));
            [luks::format(crypt, &on, &[]), luks::open(crypt, &on, &[])].into_iter().chain(enrol).chain(alone).collect()
        }
        Layer::Group(i) => {
            let group = &plan.groups()[i];
            let lvm = Lvm::on(Path::new("/dev"));
            let on = paths(group.pvs.iter().map(|(d, _)| *d).collect());
            let on: Vec<&Path> = on.iter().map(PathBuf::as_path).collect();
            let physical = group.pvs.iter().zip(&on).map(|((_, uuid), path)| lvm.physical(uuid, path));
            let removed = group.replaced.iter().map(|v| lvm.remove(&group.name, &v.name));
            let begin: Vec<_> =
                if group.kept { removed.collect() } else { physical.chain([lvm.group(group, &on)]).collect() };
            let volumes = group.volumes.iter().map(|v| match v.kept {
                true => lvm.activate(&group.name, &v.name),
                false => lvm.volume(group, v),
            });
            begin.into_iter().chain(volumes).collect()
        }
    };
    calls.iter().map(shown).collect()
}

/// The runs that end the making of devices, when everything else is done.
#[must_use]
pub fn preview_of_commit(plan: &Plan) -> Vec<Vec<String>> {
    let lvm = Lvm::on(Path::new("/dev"));
    made_in_kept(plan).map(|(group, volume)| shown(&lvm.finished(group, volume))).collect()
}

/// Volumes that are made in groups that are kept: group and name.
fn made_in_kept(plan: &Plan) -> impl Iterator<Item = (&str, &str)> {
    let groups = plan.groups().iter().filter(|g| g.kept);
    groups.flat_map(|g| g.volumes.iter().filter(|v| !v.kept).map(|v| (g.name.as_str(), v.name.as_str())))
}

/// A run for people: the configuration is the same each time and tells nobody anything.
fn shown(call: &Call) -> Vec<String> {
    let words = call.preview();
    match words.iter().position(|w| w == "--config") {
        Some(at) => [&words[..at], &words[at + 2..]].concat(),
        None => words,
    }
}

/// What has been started.
enum Started {
    Array(usize, PathBuf, DeviceNumber),
    Crypt(usize),
    Group(usize),
}

/// The devices of a plan on this machine. Dropped, they stay: call [`Running::stop`].
pub struct Running<'a> {
    plan: &'a Plan,
    lvm: Lvm,
    tpm: &'a str,
    started: Vec<Started>,
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Running<'a> {
    /// Nothing yet; `tpm` is the TPM as `systemd-cryptenroll` takes it.
    #[must_use]
    pub fn new(plan: &'a Plan, nodes: &Nodes, tpm: &'a str, stop: &'a dyn Fn() -> bool) -> Self {
        Self { plan, lvm: Lvm::on(&nodes.physical()), tpm, started: Vec::new(), stop }
    }

    /// Makes the devices of a layer; those below it are in `nodes`, and those that it makes are added.
    ///
    /// # Errors
    /// What the program says, `Integrity` when it made something else than planned; `NotFound` for a secret that is not
    /// given.
    pub fn make(&mut self, layer: Layer, nodes: &mut Nodes, secrets: &Secrets) -> Result<()> {
        if self.plan.is_layer_kept(layer) {
            return self.begin(layer, false, nodes, secrets);
        }
        match layer {
            Layer::Array(i) => self.array(i, &self.plan.arrays()[i], nodes),
            Layer::Crypt(i) => self.crypt(i, &self.plan.crypts()[i], nodes, secrets),
            Layer::Group(i) => self.group(i, &self.plan.groups()[i], nodes),
        }
    }

    fn array(&mut self, index: usize, array: &PlannedArray, nodes: &mut Nodes) -> Result<()> {
        let members = array.members.iter().map(|m| nodes.path(*m)).collect::<Result<Vec<_>>>()?;
        // A name of its own: another array of this name may be running on the machine that makes an image.
        let device = PathBuf::from(format!("/dev/md/{}", array.uuid.simple()));
        if array.sync == Resync::Zero {
            for member in &array.members {
                let (path, number) = nodes.entry(*member)?;
                let glance = self.plan.glance(*member);
                let gate = Gate::open_made(path, *number, glance.size, glance.sector)?;
                gate.zero_all(self.stop)?;
            }
        }
        md::create(array, &members, &device).run(self.stop)?;
        let numbers = array.members.iter().map(|m| nodes.entry(*m).map(|(_, n)| *n)).collect::<Result<Vec<_>>>()?;
        let number = md::of_members(&sysfs::Kernel::default(), &numbers, &format!("raid/{}", array.id))?;
        self.started.push(Started::Array(index, device, number));
        md::calm(array, number)?;
        self.clean(Device::Array(index), number, nodes)
    }

    fn crypt(&mut self, index: usize, crypt: &PlannedCrypt, nodes: &mut Nodes, secrets: &Secrets) -> Result<()> {
        let on = nodes.path(crypt.on)?;
        let names = crypt.keys.iter().filter_map(|key| match key {
            Key::Secret(name) => Some(name.as_str()),
            Key::Tpm2 { .. } => None,
        });
        let given = names.map(|name| secrets.get(name)).collect::<Result<Vec<_>>>()?;
        // Where the TPM alone shall open it, something else does until it can.
        let passing = given.is_empty().then(passing_secret).transpose()?;
        let mut all = given.into_iter().chain(passing.iter().map(|s| s.as_slice()));
        let first = all.next().ok_or_else(|| Error::new(ErrorKind::Bug, format!("luks/{} has no key", crypt.id)))?;
        luks::format(crypt, on, first).run(self.stop)?;
        for other in all {
            self.with_secret_file(nodes, other, |file| luks::add(crypt, on, first, file))?;
        }
        luks::open(crypt, on, first).run(self.stop)?;
        self.started.push(Started::Crypt(index));
        for key in &crypt.keys {
            if let Key::Tpm2 { pcrs } = key {
                self.with_secret_file(nodes, first, |file| tpm::enrol(on, pcrs, self.tpm, file))?;
            }
        }
        if passing.is_some() {
            luks::remove_first(on).run(self.stop)?;
        }
        let mapped = Path::new("/dev/mapper").join(crypt.name());
        self.clean(Device::Crypt(index), number_of(&mapped)?, nodes)
    }

    /// Runs what needs a secret in a file: in the memory that only this run sees, and no longer than it takes.
    fn with_secret_file(&self, nodes: &Nodes, secret: &[u8], call: impl FnOnce(&Path) -> Call) -> Result<()> {
        let file = self.secret_file(nodes, secret)?;
        let done = call(&file).run(self.stop);
        let _ = std::fs::remove_file(&file);
        done.map(drop)
    }

    fn secret_file(&self, nodes: &Nodes, secret: &[u8]) -> Result<PathBuf> {
        let path = nodes.directory.join("secret");
        let failed = |e: std::io::Error| Error::io("write", path.display(), e);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        file.write_all(secret).map_err(failed)?;
        Ok(path)
    }

    fn group(&mut self, index: usize, group: &PlannedGroup, nodes: &mut Nodes) -> Result<()> {
        let mut devices = Vec::new();
        for (device, uuid) in &group.pvs {
            let physical = self.physical(*device, nodes)?;
            self.lvm.physical(uuid, &physical).run(self.stop)?;
            devices.push(physical);
        }
        let devices: Vec<&Path> = devices.iter().map(PathBuf::as_path).collect();
        self.lvm.group(group, &devices).run(self.stop)?;
        self.started.push(Started::Group(index));
        (0..group.volumes.len()).try_for_each(|volume| self.volume(index, volume, nodes))
    }

    /// Makes a volume.
    fn volume(&self, group: usize, volume: usize, nodes: &mut Nodes) -> Result<()> {
        let (of, planned) = (&self.plan.groups()[group], &self.plan.groups()[group].volumes[volume]);
        self.lvm.volume(of, planned).run(self.stop)?;
        let device = Device::Volume { group, volume };
        if planned.kind == VolumeKind::ThinPool {
            return Ok(());
        }
        self.clean(device, number_of(Path::new(&self.plan.glance(device).path))?, nodes)
    }

    /// The node of a physical volume where LVM looks for it.
    fn physical(&self, device: Device, nodes: &Nodes) -> Result<PathBuf> {
        let (path, number) = nodes.entry(device)?;
        let physical = nodes.physical().join(path.file_name().unwrap_or_default());
        make_node(&physical, *number)?;
        Ok(physical)
    }

    /// Erases what an earlier run left on a device.
    ///
    /// # Errors
    /// `Refused` when it is in use; `Io`.
    pub fn erase(&self, device: Device, nodes: &Nodes) -> Result<()> {
        let (path, number) = nodes.entry(device)?;
        let glance = self.plan.glance(device);
        let gate = Gate::open_made(path, *number, glance.size, glance.sector)?;
        Erasure::whole(gate.size()).run(&gate, gate.sector(), &glance.reference)?;
        gate.flush()
    }

    fn add(&self, device: Device, number: DeviceNumber, nodes: &mut Nodes) -> Result<()> {
        nodes.add(device, &self.plan.glance(device).reference, number)
    }

    /// Erases what lies in a new device, and adds its node.
    fn clean(&self, device: Device, number: DeviceNumber, nodes: &mut Nodes) -> Result<()> {
        self.add(device, number, nodes)?;
        self.erase(device, nodes)
    }

    /// Takes the mark off the volumes that were made in groups that are kept.
    ///
    /// # Errors
    /// What the program says.
    pub fn commit(&self) -> Result<()> {
        made_in_kept(self.plan).try_for_each(|(g, v)| self.lvm.finished(g, v).run(self.stop).map(drop))
    }

    /// Lets arrays copy at full speed, for those who go on using them.
    pub fn release(&self) {
        for started in &self.started {
            if let Started::Array(i, _, number) = started {
                md::release(&self.plan.arrays()[*i], *number);
            }
        }
    }

    /// Takes everything out of the kernel again.
    ///
    /// # Errors
    /// The first one; it goes on to stop what it can.
    pub fn stop(&mut self) -> Result<()> {
        let never = || false;
        let mut result = Ok(());
        while let Some(started) = self.started.pop() {
            let call = match started {
                Started::Group(i) => self.lvm.deactivate(&self.plan.groups()[i].name),
                Started::Crypt(i) => luks::close(&self.plan.crypts()[i]),
                Started::Array(_, device, _) => md::stop(&device),
            };
            let done = call.run(&never).map(drop);
            result = result.and(done);
        }
        result
    }
}

/// What opens a device while it is made, and never again.
fn passing_secret() -> Result<Zeroizing<Vec<u8>>> {
    let mut secret = Zeroizing::new(vec![0; 64]);
    getrandom::fill(&mut secret)
        .map_err(|e| Error::new(ErrorKind::Io, format!("the kernel gives no random bytes: {e}")))?;
    Ok(secret)
}

fn number_of(path: &Path) -> Result<DeviceNumber> {
    node_number(path).ok_or_else(|| Error::io("find the device", path.display(), rustix::io::Errno::NODEV))
}
