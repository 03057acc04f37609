//! One application of a plan, from the open gates to the commit.

use super::backend::{Backend, Devices};
use super::bootloader::{self, BootSector, Prepared, nvram};
use super::devices::Kernel;
use super::gpt::{self, BootCode};
use super::offline::Offline;
use super::{Applied, ApplyOptions, Payload, erase, mount, teardown};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::layout::gate::Gate;
use crate::layout::plan::{Device, Plan, PlannedFilesystem};
use crate::layout::signature::Signature;
use crate::layout::spec::Wipe;
use crate::sys::mount as sys_mount;
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
}

impl<'a> Run<'a> {
    /// Opens all disks: every gate is open before the first of them writes.
    pub(super) fn new(
        plan: &'a Plan,
        source: Option<&'a dyn Payload>,
        options: &'a ApplyOptions,
        task: &'a Task,
    ) -> Result<Self> {
        let offline = options.backend == Backend::Offline;
        let work = if offline && source.is_none() { None } else { Some(mount::Workplace::make()?) };
        let open = if offline { Gate::open_plain } else { Gate::open };
        let stopped = if offline { Vec::new() } else { teardown::stop(plan, task).map_err(in_step("stop"))? };
        let mut gates = Vec::new();
        for (index, disk) in plan.disks.iter().enumerate() {
            // What was stopped has noted that in its superblocks.
            let facts = stopped.get(index).unwrap_or(&disk.facts);
            let mut gate = open(facts)?;
            gate.keep(plan.kept_ranges(index));
            gates.push(gate);
        }
        Ok(Self { plan, source, options, task, work, gates })
    }

    /// Does everything; what it started and mounted is stopped and unmounted, whatever comes.
    pub(super) fn finish(mut self) -> Result<Applied> {
        self.task.check()?;
        let token = self.task.cancel_token();
        let stop = || token.is_cancelled();
        let (plan, options, task) = (self.plan, self.options, self.task);
        let nodes = self.work.as_ref().map(mount::Workplace::nodes);
        let mut devices: Box<dyn Devices + '_> = match (options.backend, &nodes) {
            (Backend::Kernel, Some(nodes)) => Box::new(Kernel::new(plan, &options.secrets, nodes, &stop)?),
            _ => Box::new(Offline::new(plan, nodes, task, &stop)?),
        };
        match self.make(&mut *devices, &stop) {
            Ok(applied) => devices.finish(&self.gates, self.source.is_some()).map(|()| applied),
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
        self.partition(devices)?;
        self.devices(devices)?;
        self.format(devices)?;
        let prepared = self.install(devices, stop)?;
        devices.settle(&self.gates).map_err(in_step("copy"))?;
        self.verify(devices)?;
        self.commit(prepared.as_ref().map(|p| &p.sector))?;
        if let Some(prepared) = &prepared {
            self.register(prepared, stop);
            prepared.warnings.iter().for_each(|w| self.task.warn(w.to_string()));
        }
        Ok(self.plan.applied(prepared.map(|p| p.sector.kernels).unwrap_or_default(), self.task))
    }

    fn partition(&mut self, devices: &mut dyn Devices) -> Result<()> {
        let plan = self.plan;
        self.task.stage("partition", plan.disks.len() as u64, Unit::Steps);
        for (index, (disk, gate)) in plan.disks.iter().zip(&mut self.gates).enumerate() {
            self.task.check()?;
            if plan.is_untouched(index) {
                devices.partition(index, gate).map_err(in_step("table"))?;
                self.task.advance(1);
                continue;
            }
            match disk.wipe {
                Wipe::Discard => gate.discard(),
                Wipe::Zero => gate.zero_all(&|| self.task.cancel_token().is_cancelled()).map_err(in_step("erase"))?,
                Wipe::None | Wipe::Table | Wipe::Signatures | Wipe::All => {}
            }
            let keep = plan.kept_ranges(index);
            erase::erase(gate, disk, &plan.used_partitions(index), &keep).map_err(in_step("erase"))?;
            let table = disk.table(true);
            gpt::write(gate, &table, BootCode::Erase).map_err(in_step("table"))?;
            gate.flush()?;
            gpt::verify(gate, &table).map_err(in_step("table"))?;
            erase::check(gate, disk, &keep).map_err(in_step("table"))?;
            devices.partition(index, gate).map_err(in_step("table"))?;
            self.task.advance(1);
        }
        Ok(())
    }

    fn devices(&self, devices: &mut dyn Devices) -> Result<()> {
        self.task.stage("devices", self.plan.layers.len() as u64, Unit::Steps);
        for layer in &self.plan.layers {
            self.task.check()?;
            if !self.plan.is_started(*layer) {
                self.task.advance(1);
                continue;
            }
            devices.make(*layer, &self.gates).map_err(in_step(&self.plan.layer_id(*layer)))?;
            self.task.advance(1);
        }
        Ok(())
    }

    fn format(&self, devices: &mut dyn Devices) -> Result<()> {
        self.task.stage("format", self.plan.filesystems.len() as u64, Unit::Steps);
        for fs in &self.plan.filesystems {
            self.task.check()?;
            for (device, uuid) in fs.places().filter(|_| !fs.kept) {
                devices.format(fs, device, uuid).map_err(in_step(&format!("mkfs:{}", fs.id)))?;
            }
            self.task.advance(1);
        }
        Ok(())
    }

    fn install(&self, devices: &mut dyn Devices, stop: &dyn Fn() -> bool) -> Result<Option<Prepared>> {
        let (Some(source), Some(work)) = (self.source, &self.work) else { return Ok(None) };
        let target = work.target();
        devices.mount(&target)?;
        source.install(&target, self.task).map_err(in_step("install"))?;
        self.task.check()?;
        let mut prepared = None;
        if let Some(planned) = &self.plan.boot {
            self.task.stage("bootloader", 0, Unit::Steps);
            sys_mount::system_directories(&target)?;
            let mirrors = devices.mount_mirrors(&work.mirrors())?;
            let facts = bootloader::planned::facts(self.plan, planned, &target, &mirrors);
            prepared = Some(bootloader::prepare(&facts, &target, stop).map_err(in_step("bootloader"))?);
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
        let found = devices.find(device, &self.gates)?;
        let same = |s: &Signature| s.kind == fs.kind.name() && s.uuid.as_deref() == Some(uuid);
        // Beside what is kept there may be remains of something older.
        if (fs.kept || found.len() == 1) && found.iter().any(same) {
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
