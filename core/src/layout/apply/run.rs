//! One application of a plan, from the open gates to the commit.

use super::backend::{Backend, Devices};
use super::bootloader::{self, BootSector, Prepared, nvram};
use super::devices::{Kernel, tpm};
use super::gpt::{self, BootCode};
use super::journal::{Draft, Header, Journal, Log};
use super::offline::Offline;
use super::{Applied, ApplyOptions, Payload, erase, mount, resume, teardown};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::layout::device::WriteAt;
use crate::layout::gate::{Claim, Gate};
use crate::layout::plan::{Device, Layer, Plan, PlannedFilesystem};
use crate::layout::spec::Wipe;
use crate::sys::mount as sys_mount;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A plan on its way to the disks.
pub(super) struct Run<'a> {
    plan: &'a Plan,
    source: Option<&'a dyn Payload>,
    options: &'a ApplyOptions,
    task: &'a Task,
    /// Nothing is mounted without one.
    work: Option<mount::Workplace>,
    gates: Vec<Gate>,
    log: Log,
    /// What an interrupted run left, when this one goes on with it.
    past: Option<Journal>,
    /// What this run made: what stands on it is not what the past one left.
    made: BTreeSet<Device>,
}

impl<'a> Run<'a> {
    /// Opens all disks: every gate is open before the first of them writes. Then the journal begins, or goes on. What can
    /// be refused before is refused before anything is stopped.
    pub(super) fn new(
        plan: &'a Plan,
        source: Option<&'a dyn Payload>,
        options: &'a ApplyOptions,
        past: Option<Journal>,
        task: &'a Task,
    ) -> Result<Self> {
        let offline = options.backend == Backend::Offline;
        // Another apply of these disks has started what would be stopped here.
        let claims = plan.disks.iter().map(|d| Claim::take(&d.facts)).collect::<Result<Vec<_>>>()?;
        // Both before the workplace, which may hide the directory of the journal.
        let (log, draft) = match (&past, &options.journal) {
            (Some(past), _) => {
                resume::judge(past, plan)?;
                (Log::go_on(past)?, None)
            }
            (None, place) => (Log::default(), place.as_ref().map(|path| Draft::make(path, plan)).transpose()?),
        };
        let open = if offline { Gate::open_plain } else { Gate::open };
        let stopped = if offline { Vec::new() } else { teardown::stop(plan, task).map_err(in_step("stop"))? };
        let mut gates = Vec::new();
        for ((index, disk), claim) in plan.disks.iter().enumerate().zip(claims) {
            // What was stopped has noted that in its superblocks.
            let facts = stopped.get(index).unwrap_or(&disk.facts);
            let mut gate = open(facts, claim)?;
            gate.keep(plan.kept_ranges(index));
            gates.push(gate);
        }
        let log = match draft {
            Some(draft) => {
                let mut header = Header::of(plan, options.backend, source.is_some());
                header.look(&gates)?;
                draft.begin(header)?
            }
            None => {
                past.iter().try_for_each(|past| log.resume(past))?;
                log
            }
        };
        let work = if offline && source.is_none() { None } else { Some(mount::Workplace::make()?) };
        Ok(Self { plan, source, options, task, work, gates, log, past, made: BTreeSet::new() })
    }

    /// Does everything; what it started and mounted is stopped and unmounted, whatever comes.
    pub(super) fn finish(mut self) -> Result<Applied> {
        self.task.check()?;
        let token = self.task.cancel_token();
        let stop = || token.is_cancelled();
        let (plan, options, task) = (self.plan, self.options, self.task);
        let nodes = self.work.as_ref().map(mount::Workplace::nodes);
        let mut devices: Box<dyn Devices + '_> = match (options.backend, &nodes) {
            (Backend::Kernel, Some(nodes)) => {
                let tpm = options.tpm.as_deref().unwrap_or(tpm::AUTO);
                Box::new(Kernel::new(plan, &options.secrets, tpm, nodes, &stop)?)
            }
            _ => Box::new(Offline::new(plan, nodes, task, &stop)?),
        };
        match self.make(&mut *devices, &stop) {
            Ok(applied) => {
                devices.finish(&self.gates, self.source.is_some())?;
                self.log.done().map(|()| applied)
            }
            Err(e) => {
                // What is undone may make room.
                let e = self.explain(e);
                let mirrors = self.unmounted(mount::Workplace::mirrors);
                let undone = mirrors.and(self.unmounted(mount::Workplace::target)).and(devices.stop(&self.gates));
                Err(self.explain(e).with_failed_undo(undone))
            }
        }
    }

    /// Unmounts what a failed run left at a place of its own.
    fn unmounted(&self, place: impl Fn(&mount::Workplace) -> PathBuf) -> Result<()> {
        self.work.as_ref().map_or(Ok(()), |work| sys_mount::unmount_all(&place(work)))
    }

    /// A loop device turns a full filesystem beneath it into an error of the medium.
    fn explain(&self, e: Error) -> Error {
        let full = self.gates.iter().find(|g| g.is_file_out_of_room()).map(Gate::name);
        match (e.kind(), full) {
            (ErrorKind::Io | ErrorKind::Integrity, Some(name)) => {
                Error::limit(format!("the filesystem that holds {name} is full"))
                    .hint("make room there, and apply again")
                    .cause(e)
            }
            _ => e,
        }
    }

    fn make(&mut self, devices: &mut dyn Devices, stop: &dyn Fn() -> bool) -> Result<Applied> {
        // With an installed system also the firmware wants to be told.
        if self.past.as_ref().is_some_and(|p| p.is_done() || p.has_ended("commit") && self.source.is_none()) {
            resume::is_committed(self.plan, &self.gates)?;
            return Ok(self.applied(Vec::new()));
        }
        if self.past.is_none() {
            self.log.save(self.plan, &self.gates)?;
        }
        self.partition(devices)?;
        self.devices(devices)?;
        self.format(devices)?;
        let prepared = self.install(devices, stop)?;
        self.copy(devices)?;
        self.log.step("verify", || Ok(()), || self.verify(devices))?;
        let commit = || devices.commit().and_then(|()| self.commit(prepared.as_ref().map(|p| &p.sector)));
        self.log.step("commit", || Ok(()), commit)?;
        if let Some(prepared) = &prepared {
            self.register(prepared, stop);
            prepared.warnings.iter().for_each(|w| self.task.warn(w.to_string()));
        }
        Ok(self.applied(prepared.map(|p| p.sector.kernels).unwrap_or_default()))
    }

    fn applied(&self, kernels: Vec<String>) -> Applied {
        let journal = self.log.path().map(std::path::Path::to_owned);
        Applied { journal, ..self.plan.applied(kernels, self.task) }
    }

    /// Everything that was written is on the medium.
    fn settled(&self) -> Result<()> {
        self.gates.iter().try_for_each(|g| g.sync().map_err(|e| Error::io("write", g.name(), e)))
    }

    fn partition(&mut self, devices: &mut dyn Devices) -> Result<()> {
        let plan = self.plan;
        self.task.stage("partition", plan.disks.len() as u64, Unit::Steps);
        // All are judged before the first one is written.
        let kept = (0..plan.disks.len()).map(|index| self.keeps(index)).collect::<Result<Vec<_>>>()?;
        for (index, (disk, gate)) in plan.disks.iter().zip(&mut self.gates).enumerate() {
            self.task.check()?;
            if plan.is_untouched(index) {
                devices.partition(index, gate, true).map_err(in_step("table"))?;
                self.task.advance(1);
                continue;
            }
            let (erasing, writing) = (format!("erase:{}", disk.id(plan)), format!("table:{}", disk.id(plan)));
            let table = disk.table(true);
            if kept[index] {
                self.log.skip(&erasing)?;
                self.log.skip(&writing)?;
                // Its marks may be off already, and its boot code there, while another disk is not finished.
                gpt::write(gate, &table, BootCode::Erase).map_err(in_step("table"))?;
            } else {
                let keep = plan.kept_ranges(index);
                let erase = || {
                    match disk.wipe {
                        Wipe::Discard => gate.discard(),
                        Wipe::Zero => gate.zero_all(&|| self.task.cancel_token().is_cancelled())?,
                        Wipe::None | Wipe::Table | Wipe::Signatures | Wipe::All => {}
                    }
                    erase::erase(gate, disk, &plan.used_partitions(index), &keep)
                };
                self.log.step(&erasing, || Ok(()), erase).map_err(in_step("erase"))?;
                let write = || {
                    gpt::write(gate, &table, BootCode::Erase)?;
                    gate.flush()?;
                    gpt::verify(gate, &table)?;
                    erase::check(gate, disk, &keep)
                };
                self.log.step(&writing, || Ok(()), write).map_err(in_step("table"))?;
                self.made
                    .extend((0..disk.partitions.len()).map(|partition| Device::Partition { disk: index, partition }));
            }
            devices.partition(index, gate, kept[index]).map_err(in_step("table"))?;
            self.task.advance(1);
        }
        Ok(())
    }

    /// Whether a disk keeps the table that an interrupted run wrote.
    fn keeps(&self, index: usize) -> Result<bool> {
        let Some(past) = self.past.as_ref().filter(|_| !self.plan.is_untouched(index)) else { return Ok(false) };
        let keeps = resume::keeps_table(past, self.plan, index, &self.gates[index])?;
        // Offline what is copied goes onto zeros, and nothing tells how far a copy came.
        let copied = past.has_begun("copy") && (self.source.is_some() || !past.has_ended("copy"));
        Ok(keeps && !copied)
    }

    fn devices(&mut self, devices: &mut dyn Devices) -> Result<()> {
        self.task.stage("devices", self.plan.layers.len() as u64, Unit::Steps);
        for layer in &self.plan.layers {
            self.task.check()?;
            if self.plan.is_started(*layer) {
                let id = self.plan.layer_id(*layer);
                self.layer(*layer, &id, devices).map_err(in_step(&id))?;
            }
            self.task.advance(1);
        }
        Ok(())
    }

    fn layer(&mut self, layer: Layer, id: &str, devices: &mut dyn Devices) -> Result<()> {
        let below = self.plan.layer_below(layer);
        if self.plan.is_layer_kept(layer) {
            self.log.step(id, || self.settled(), || devices.make(layer, &self.gates))?;
            let new = self.plan.layer_above(layer).into_iter().filter(|d| !self.plan.content_stays(*d));
            self.made.extend(new);
            return Ok(());
        }
        if self.is_past(id, &below) && resume::holds(self.plan, layer, devices, &self.gates)? {
            devices.start(layer)?;
            return self.log.skip(id);
        }
        self.clear(below, devices)?;
        self.log.step(id, || self.settled(), || devices.make(layer, &self.gates))?;
        self.made.extend(self.plan.layer_above(layer));
        Ok(())
    }

    /// Whether an interrupted run did a step, and this one made nothing of what it stands on.
    fn is_past(&self, step: &str, below: &[Device]) -> bool {
        self.past.as_ref().is_some_and(|p| p.has_ended(step)) && !below.iter().any(|d| self.made.contains(d))
    }

    /// Erases what an interrupted run left on these devices, and nothing that it did not make.
    fn clear(&self, below: Vec<Device>, devices: &mut dyn Devices) -> Result<()> {
        if self.past.is_none() {
            return Ok(());
        }
        for device in below.into_iter().filter(|d| !self.made.contains(d) && !self.plan.content_stays(*d)) {
            resume::ours(self.plan, device, devices, &self.gates)?;
            devices.erase(device, &self.gates)?;
        }
        Ok(())
    }

    fn format(&mut self, devices: &mut dyn Devices) -> Result<()> {
        self.task.stage("format", self.plan.filesystems.len() as u64, Unit::Steps);
        for fs in &self.plan.filesystems {
            self.task.check()?;
            if !fs.kept {
                let id = format!("mkfs:{}", fs.id);
                self.filesystem(fs, &id, devices).map_err(in_step(&id))?;
            }
            self.task.advance(1);
        }
        Ok(())
    }

    fn filesystem(&mut self, fs: &PlannedFilesystem, id: &str, devices: &mut dyn Devices) -> Result<()> {
        let places: Vec<Device> = fs.places().map(|(device, _)| device).collect();
        // What is installed begins with an empty filesystem.
        let filled = self.source.is_some() && fs.mount.is_some();
        let copied = self.past.as_ref().is_some_and(|p| p.has_ended("copy"));
        if self.is_past(id, &places) && !filled && (self.options.backend == Backend::Kernel || copied) {
            let there = fs.places().map(|(device, uuid)| {
                let found = resume::recognised(self.plan, device, devices, &self.gates)?;
                Ok(resume::is_filesystem(&found, fs, uuid))
            });
            if there.collect::<Result<Vec<_>>>()?.into_iter().all(|is| is) {
                return self.log.skip(id);
            }
            if copied {
                return Err(resume::differs(&format!("filesystems.{}", fs.id), "it is not there"));
            }
        }
        self.clear(places, devices)?;
        let make = || fs.places().try_for_each(|(device, uuid)| devices.format(fs, device, uuid));
        self.log.step(id, || self.settled(), make)?;
        self.made.extend(fs.places().map(|(device, _)| device));
        Ok(())
    }

    /// Brings to the disks what lies elsewhere until now.
    fn copy(&self, devices: &mut dyn Devices) -> Result<()> {
        let mut copy = || devices.settle(&self.gates).map_err(in_step("copy"));
        match self.options.backend {
            Backend::Kernel => copy(),
            Backend::Offline if self.past.as_ref().is_some_and(|p| p.has_ended("copy")) && self.made.is_empty() => {
                self.log.skip("copy")
            }
            Backend::Offline => self.log.step("copy", || self.settled(), copy),
        }
    }

    fn install(&self, devices: &mut dyn Devices, stop: &dyn Fn() -> bool) -> Result<Option<Prepared>> {
        let (Some(source), Some(work)) = (self.source, &self.work) else { return Ok(None) };
        let target = work.target();
        let install = || {
            devices.mount(&target)?;
            source.install(&target, self.task).map_err(in_step("install"))
        };
        self.log.step("install", || Ok(()), install)?;
        self.task.check()?;
        let mut prepared = None;
        if let (None, Some(root)) = (&self.plan.boot, self.plan.mounted_at("/")) {
            let facts = bootloader::planned::without_loader(self.plan, root.filesystem);
            bootloader::configure(&facts, &target).map_err(in_step("configure"))?;
        }
        if let Some(planned) = &self.plan.boot {
            self.task.stage("bootloader", 0, Unit::Steps);
            let prepare = || {
                sys_mount::system_directories(&target)?;
                let mirrors = devices.mount_mirrors(&work.mirrors())?;
                let facts = bootloader::planned::facts(self.plan, planned, &target, &mirrors);
                bootloader::prepare(&facts, &target, stop).map_err(in_step("bootloader"))
            };
            prepared = Some(self.log.step("bootloader", || Ok(()), prepare)?);
        }
        devices.unmount(work).map_err(in_step("unmount"))?;
        Ok(prepared)
    }

    /// Tells the firmware of this machine where its system is now; what it does not take is a warning.
    fn register(&self, prepared: &Prepared, stop: &dyn Fn() -> bool) {
        let Some(boot) = self.plan.boot.as_ref().filter(|b| b.nvram.update) else { return };
        let machine = self.plan.disks.iter().all(|d| !d.is_file());
        if prepared.entries.is_empty() || !machine || !nvram::is_there() {
            return;
        }
        let mut present = nvram::present();
        present.extend(self.plan.disks.iter().flat_map(|d| d.partitions.iter().map(|p| p.uuid)));
        for warning in nvram::register(&prepared.entries, &present, boot.nvram.keep_pxe_first, stop) {
            self.task.warn(warning.to_string());
        }
    }

    /// Reads the superblocks back from the disks.
    fn verify(&self, devices: &dyn Devices) -> Result<()> {
        self.task.stage("verify", self.plan.filesystems.len() as u64, Unit::Steps);
        self.gates.iter().try_for_each(Gate::flush)?;
        for fs in &self.plan.filesystems {
            for (device, uuid) in fs.places().filter(|(d, _)| devices.reaches(*d)) {
                self.verify_filesystem(fs, device, uuid, devices).map_err(in_step("verify"))?;
            }
            self.task.advance(1);
        }
        Ok(())
    }

    fn verify_filesystem(
        &self,
        fs: &PlannedFilesystem,
        device: Device,
        uuid: &str,
        devices: &dyn Devices,
    ) -> Result<()> {
        let found = resume::recognised(self.plan, device, devices, &self.gates)?;
        // Beside what is kept there may be remains of something older.
        let kept = || fs.kept && found.iter().any(|s| resume::is_filesystem(std::slice::from_ref(s), fs, uuid));
        if resume::is_filesystem(&found, fs, uuid) || kept() {
            return Ok(());
        }
        let seen = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Err(Error::integrity(format!("{} on {} is not what was made", fs.id, self.plan.glance(device).reference))
            .fact("code", "A405")
            .fact("expected", format!("{} {uuid}", fs.kind.name()))
            .fact("actual", seen))
    }

    /// Takes the mark off the names, and writes last of all what makes a disk start.
    fn commit(&self, boot: Option<&BootSector>) -> Result<()> {
        self.task.stage("commit", self.gates.len() as u64, Unit::Steps);
        for (index, (disk, gate)) in self.plan.disks.iter().zip(&self.gates).enumerate() {
            if self.plan.is_untouched(index) {
                self.task.advance(1);
                continue;
            }
            let boots = self.plan.boot.as_ref().is_some_and(|b| b.disks.contains(&index));
            let code = match boot.filter(|b| boots && b.core().is_some()) {
                Some(b) => Some(b.write_core(gate, disk).map_err(in_step("bootloader"))?),
                None => None,
            };
            let table = disk.table(false);
            gpt::write(gate, &table, BootCode::Keep).map_err(in_step("commit"))?;
            if let Some(code) = code {
                BootSector::commit(&code, gate).map_err(in_step("commit"))?;
            }
            gate.flush()?;
            gpt::verify(gate, &table).map_err(in_step("commit"))?;
            self.task.advance(1);
        }
        Ok(())
    }
}

fn in_step(step: &str) -> impl FnOnce(Error) -> Error {
    let step = step.to_owned();
    move |e| e.fact("step", step)
}
