//! Applying a plan: the only module of layouts that writes.
//!
//! ```text
//! preflight ─ partition ─ format ─ mount ─ Payload::install ─ bootloader ─ unmount ─ verify ─ commit
//! refusals    erase, table          in a namespace of its own                         read back │
//! before a    marked "~cv"                                         mark off the names, boot code┘ last
//! byte
//! ```
//!
//! A disk does not look bootable until its content was read back: the boot code of the first sector is written last.
//! When a step fails, mounts and loop devices are gone, and the partition names still carry the mark. There is no way
//! back to what was on the disk; the next run begins anew and completes.

pub mod bootloader;
pub mod erase;
pub mod gpt;
pub mod mkfs;
pub mod mount;
pub mod partitions;

use super::gate::Gate;
use super::plan::{Plan, PlannedFilesystem, partition_list};
use super::ranges::Ranges;
use super::signature;
use super::spec::Wipe;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::sys::mount as sys_mount;
use crate::sys::namespace::in_private_mounts;
use bootloader::BootSector;
use gpt::BootCode;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What is put on the disks: a module above this one implements it.
pub trait Payload: Sync {
    /// Fills the root that is mounted at `target` and configures it.
    ///
    /// Called once, in the thread that has the mounts, between mounting and installing the boot loader; threads and
    /// programs that it starts see the mounts, others do not. [`Plan::fstab_lines`] and [`Plan::boot_cmdline`] say what
    /// to write into it.
    ///
    /// # Errors
    /// What went wrong; the disks are then left unfinished, with nothing mounted.
    fn install(&self, target: &Path, task: &Task) -> Result<()>;
}

/// That somebody wants this very plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// The token of the plan, as it was shown.
    Token(String),
    /// Yes to whatever the plan says: for image files and for programs that made the plan themselves.
    Yes,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Applied {
    layout: String,
    token: String,
    disks: Vec<Value>,
    filesystems: Vec<Value>,
    kernels: Vec<String>,
    warnings: Vec<String>,
}

impl Applied {
    /// The kernels that the boot loader offers, newest first; empty when none was installed.
    #[must_use]
    pub fn kernels(&self) -> &[String] {
        &self.kernels
    }

    /// What somebody should read.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All of it as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "layout": self.layout,
            "token": self.token,
            "disks": self.disks,
            "filesystems": self.filesystems,
            "kernels": self.kernels,
            "warnings": self.warnings,
        })
    }
}

impl Plan {
    /// Makes the disks what the plan says, and installs `source` on them.
    ///
    /// Without a source the disks are partitioned and formatted, and no boot loader is installed.
    ///
    /// # Errors
    /// Before a byte is written: `Refused` (with `detail.code`) when the confirmation is not for this plan or a disk is
    /// in use, read-only or not as it was; `Unsupported` when a program or filesystem is missing; `Denied` without
    /// privilege. Later: what failed, with its step as a fact.
    pub fn apply(&self, confirm: &Confirm, source: Option<&dyn Payload>, task: &Task) -> Result<Applied> {
        if let Confirm::Token(given) = confirm
            && given.trim() != self.token
        {
            return Err(Error::refused(format!("\"{given}\" does not confirm this plan"))
                .hint("make the plan again, with the same --image and --hostname, read it, and give its token")
                .fact("code", "A400")
                .fact("token", given.as_str()));
        }
        task.stage("preflight", 0, Unit::Steps);
        self.require_programs()?;
        if source.is_some() {
            mount::require(self)?;
        }
        // Everything that mounts is in there, and so is what opens the disks: its end closes both.
        in_private_mounts(|| self.run(source, task))
    }

    fn require_programs(&self) -> Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::new(ErrorKind::Denied, "disks can be written by root only").hint("run as root"));
        }
        self.filesystems.iter().try_for_each(|f| mkfs::program(f.kind).find().map(drop))
    }

    fn run(&self, source: Option<&dyn Payload>, task: &Task) -> Result<Applied> {
        let work = mount::Workplace::make()?;
        // All gates are open before the first of them writes.
        let mut gates = self.disks.iter().map(|d| Gate::open(&d.facts)).collect::<Result<Vec<_>>>()?;
        task.check()?;
        let result = self.run_steps(&mut gates, &work, source, task);
        if result.is_err() {
            let undone = sys_mount::unmount_all(&work.target());
            self.release(&gates);
            let full = gates.iter().find(|g| g.is_file_out_of_room()).map(Gate::name);
            return result.map_err(|e| {
                let e = match (e.kind(), full) {
                    (ErrorKind::Io | ErrorKind::Integrity, Some(name)) => {
                        Error::limit(format!("the filesystem that holds {name} is full"))
                            .hint("make room there, and apply again")
                            .cause(e)
                    }
                    _ => e,
                };
                e.with_failed_undo(undone)
            });
        }
        self.release(&gates);
        result
    }

    /// Partitions of an image file end with this; those of a disk stay for others to use.
    fn release(&self, gates: &[Gate]) {
        self.disks.iter().zip(gates).filter(|(d, _)| d.is_file()).for_each(|(_, g)| partitions::forget(g));
    }

    fn run_steps(
        &self,
        gates: &mut [Gate],
        work: &mount::Workplace,
        source: Option<&dyn Payload>,
        task: &Task,
    ) -> Result<Applied> {
        let stop = || task.cancel_token().is_cancelled();
        let in_step = |step: &str| {
            let step = step.to_owned();
            move |e: Error| e.fact("step", step.clone())
        };
        task.stage("partition", self.disks.len() as u64, Unit::Steps);
        let mut nodes: Vec<Vec<PathBuf>> = Vec::new();
        for (disk, gate) in self.disks.iter().zip(gates.iter_mut()) {
            task.check()?;
            if disk.wipe == Wipe::Discard {
                gate.discard();
            }
            let index = nodes.len();
            let made = self.filesystems.iter().filter(|f| f.disk == index).map(|f| f.partition);
            let keep = Ranges::new();
            erase::erase(gate, disk, &made.collect::<Vec<_>>(), &keep).map_err(in_step("erase"))?;
            let table = disk.table(true);
            gpt::write(gate, &table, BootCode::Erase).map_err(in_step("table"))?;
            gate.flush()?;
            gpt::verify(gate, &table).map_err(in_step("table"))?;
            erase::check(gate, disk, &keep).map_err(in_step("table"))?;
            partitions::tell_kernel(gate, disk).map_err(in_step("table"))?;
            gate.share()?;
            nodes.push(partitions::make_nodes(gate, disk, &work.nodes())?);
            task.advance(1);
        }
        task.stage("format", self.filesystems.len() as u64, Unit::Steps);
        for fs in &self.filesystems {
            task.check()?;
            let (disk, node) = (&self.disks[fs.disk], &nodes[fs.disk][fs.partition]);
            let call = mkfs::call(fs, self.partition_of(fs), disk.facts.sector, node);
            call.run(&stop).map_err(in_step(&format!("mkfs:{}", fs.id)))?;
            task.advance(1);
        }
        let mut boot = None;
        if let Some(source) = source {
            let target = work.target();
            mount::mount_all(self, &nodes, &target)?;
            source.install(&target, task).map_err(in_step("install"))?;
            task.check()?;
            if let Some(planned) = &self.boot {
                task.stage("bootloader", 0, Unit::Steps);
                sys_mount::system_directories(&target)?;
                boot = Some(bootloader::install(self, planned, &target, &stop).map_err(in_step("bootloader"))?);
            }
            sys_mount::unmount_all(&target).map_err(in_step("unmount"))?;
        }
        task.stage("verify", self.filesystems.len() as u64, Unit::Steps);
        for gate in gates.iter() {
            gate.flush()?;
        }
        for fs in &self.filesystems {
            self.verify(&gates[fs.disk], fs).map_err(in_step("verify"))?;
            task.advance(1);
        }
        task.stage("commit", gates.len() as u64, Unit::Steps);
        for (index, (disk, gate)) in self.disks.iter().zip(gates.iter()).enumerate() {
            let sector = boot.as_ref().filter(|_| self.boot.as_ref().is_some_and(|b| b.disks.contains(&index)));
            let code = match sector {
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
            task.advance(1);
        }
        Ok(self.applied(boot.map(|b| b.kernels).unwrap_or_default(), task))
    }

    /// Reads a filesystem's superblock back from the disk.
    fn verify(&self, gate: &Gate, fs: &PlannedFilesystem) -> Result<()> {
        let p = self.partition_of(fs);
        let found = signature::find(gate, p.start, p.length).map_err(|e| Error::io("read", gate.name(), e))?;
        let same = |s: &signature::Signature| s.kind == fs.kind.name() && s.uuid.as_deref() == Some(&fs.uuid);
        if found.len() == 1 && found.iter().any(same) {
            return Ok(());
        }
        let seen = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Err(Error::integrity(format!("{} on {} is not what was made", fs.id, p.key))
            .fact("code", "A405")
            .fact("expected", format!("{} {}", fs.kind.name(), fs.uuid))
            .fact("actual", seen))
    }

    fn applied(&self, kernels: Vec<String>, task: &Task) -> Applied {
        let disks = self.disks.iter().map(|d| {
            let path = d.facts.path.display().to_string();
            json!({"set": d.set, "path": path, "guid": d.guid, "partitions": partition_list(d)})
        });
        let filesystems = self
            .filesystems
            .iter()
            .map(|f| json!({"id": f.id, "type": f.kind.name(), "uuid": f.uuid, "on": self.partition_of(f).key}));
        Applied {
            layout: self.layout_name().to_owned(),
            token: self.token.clone(),
            disks: disks.collect(),
            filesystems: filesystems.collect(),
            kernels,
            warnings: task.warnings(),
        }
    }
}
