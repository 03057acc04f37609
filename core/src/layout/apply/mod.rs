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

mod backend;
pub mod bootloader;
pub mod devices;
pub mod erase;
pub mod gpt;
pub mod mkfs;
pub mod mount;
pub mod offline;
pub mod partitions;
mod run;
mod teardown;

pub use backend::Backend;
pub use devices::Secrets;

use super::plan::{Plan, partition_list};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::sys::namespace::in_private_mounts;
use crate::sys::program::Program;
use run::Run;
use serde_json::{Value, json};
use std::path::Path;

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

/// How a plan is applied.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// What opens the encrypted devices of the layout.
    pub secrets: Secrets,
    /// Who makes the devices.
    pub backend: Backend,
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
        self.apply_with(confirm, source, &ApplyOptions::default(), task)
    }

    /// The same, with what opens the encrypted devices of the layout, and a backend of one's choice.
    ///
    /// # Errors
    /// As [`Plan::apply`]; before a byte is written also `NotFound` (A407) when a secret is missing, and `Unsupported`
    /// (F230) for what the backend does not make.
    pub fn apply_with(
        &self,
        confirm: &Confirm,
        source: Option<&dyn Payload>,
        options: &ApplyOptions,
        task: &Task,
    ) -> Result<Applied> {
        if let Confirm::Token(given) = confirm
            && given.trim() != self.token
        {
            return Err(Error::refused(format!("\"{given}\" does not confirm this plan"))
                .hint("make the plan again, with the same --image and --hostname, read it, and give its token")
                .fact("code", "A400")
                .fact("token", given.as_str()));
        }
        if self.is_unchanged() {
            // Made for the layout alone: with something to install the filesystems would have to be made anew.
            return match source {
                None => Ok(self.applied(Vec::new(), task)),
                Some(_) => Err(Error::refused("the plan changes nothing, and something is to be installed")
                    .hint("make the plan with the image: the filesystems are made anew for it")
                    .fact("code", "A409")),
            };
        }
        task.stage("preflight", 0, Unit::Steps);
        let offline = options.backend == Backend::Offline;
        if offline {
            offline::require(self, source.is_some())?;
        } else if !rustix::process::geteuid().is_root() {
            return Err(Error::new(ErrorKind::Denied, "disks can be written by root only").hint("run as root"));
        }
        self.require_programs(offline)?;
        self.secret_names().try_for_each(|name| options.secrets.require(name))?;
        if source.is_some() && !offline {
            mount::require(self)?;
        }
        let run = || Run::new(self, source, options, task)?.finish();
        // Everything that mounts is in there, and so is what opens the disks: its end closes both.
        if offline && source.is_none() { run() } else { in_private_mounts(run) }
    }

    fn require_programs(&self, offline: bool) -> Result<()> {
        let makers = self.filesystems.iter().filter(|f| !f.kept).map(|f| mkfs::program(f.kind));
        let devices = if offline { Vec::new() } else { devices::programs(self) };
        let stopping = if self.stopped.is_empty() { Vec::new() } else { vec![Program::Dmsetup, Program::Mdadm] };
        makers.chain(devices).chain(stopping).try_for_each(|p| p.find().map(drop))
    }

    fn applied(&self, kernels: Vec<String>, task: &Task) -> Applied {
        let disks = self.disks.iter().map(|d| {
            let path = d.facts.path.display().to_string();
            json!({"set": d.set, "path": path, "guid": d.guid, "partitions": partition_list(d)})
        });
        let filesystems = self
            .filesystems
            .iter()
            .map(|f| json!({"id": f.id, "type": f.kind.name(), "uuid": f.uuid, "on": self.glance(f.on).reference}));
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
