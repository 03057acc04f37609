//! Applying a plan: the only module of layouts that writes.
//!
//! ```text
//! preflight ─ partition ─ format ─ mount ─ Payload::install ─ bootloader ─ unmount ─ verify ─ commit
//! refusals    erase, table          in a namespace of its own                         read back │
//! before a    marked "~cv"                                         mark off the names, boot code┘ last
//! byte
//! ```
//!
//! A disk does not look bootable to BIOS until its content was read back: the boot code of the first sector is written last.
//! When a step fails, mounts and loop devices are gone, and the partition names still carry the mark. There is no way
//! back to what was on the disk; the next run goes on by the journal, or begins anew, and completes.

mod backend;
pub mod bootloader;
pub mod devices;
pub mod erase;
pub mod gpt;
pub mod journal;
pub mod mkfs;
pub mod mount;
pub mod offline;
pub mod partitions;
mod resume;
mod run;
pub mod subvolumes;
mod teardown;
#[cfg(test)]
mod crashes;

pub use backend::Backend;
pub use devices::Secrets;
pub use journal::Journal;

use super::plan::{Plan, partition_list};
use super::spec::FsType;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::sys::mount as sys_mount;
use crate::sys::namespace::in_private_mounts;
use crate::sys::program::Program;
use journal::Log;
use run::Run;
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

/// How a plan is applied.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// What opens the encrypted devices of the layout.
    pub secrets: Secrets,
    /// Who makes the devices.
    pub backend: Backend,
    /// The TPM that opens encrypted devices, as `systemd-cryptenroll --tpm2-device=` takes it; without it that of this
    /// machine.
    pub tpm: Option<String>,
    /// The file in which each step is noted before and after it is done; without one nothing is.
    pub journal: Option<PathBuf>,
    /// Goes on with what the interrupted apply of this journal left. The plan was made with its seed
    /// ([`super::PlanOptions::resume`]).
    pub resume: bool,
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
    journal: Option<PathBuf>,
}

impl Applied {
    /// The journal, if one was written.
    #[must_use]
    pub fn journal(&self) -> Option<&Path> {
        self.journal.as_deref()
    }

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
            "journal": self.journal,
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
    /// privilege. Later: what failed, with its step as a fact. When it resumes also `NotFound` (A410), `Integrity` (A413)
    /// for the journal, and `Refused` (A411, A412) for another plan, and disks that are not as they were left.
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
        let past = match (options.resume, &options.journal) {
            (false, _) => None,
            (true, Some(path)) => Some(Journal::read(path)?),
            (true, None) => return Err(Error::invalid("to resume, the journal has to be named")),
        };
        // Who confirmed the interrupted apply confirmed this one.
        let confirmed = |token: &str| token == self.token || past.as_ref().is_some_and(|p| p.header().token == token);
        if let Confirm::Token(given) = confirm
            && !confirmed(given.trim())
        {
            return Err(Error::refused(format!("\"{given}\" does not confirm this plan"))
                .hint("make the plan again, with the same --image and --hostname, read it, and give its token")
                .fact("code", "A400")
                .fact("token", given.as_str()));
        }
        if self.recorded {
            return Err(Error::refused("this plan was made from an inventory, and not from the disks themselves")
                .hint(format!("on the machine itself: cvctl layout apply --confirm {}", self.token))
                .fact("code", "A414"));
        }
        if self.is_unchanged() {
            // Made for the layout alone: with something to install the filesystems would have to be made anew.
            return match source {
                None => {
                    if let Some(past) = past.filter(|p| !p.is_done()) {
                        resume::check(&past, self, options, false)?;
                        let log = Log::go_on(&past)?;
                        log.resume(&past)?;
                        log.done()?;
                    }
                    Ok(Applied {
                        journal: options.journal.clone().filter(|_| options.resume),
                        ..self.applied(Vec::new(), task)
                    })
                }
                Some(_) => Err(Error::refused("the plan changes nothing, and something is to be installed")
                    .hint("make the plan with the image: the filesystems are made anew for it")
                    .fact("code", "A409")),
            };
        }
        task.stage("preflight", 0, Unit::Steps);
        if let Some(past) = &past {
            resume::check(past, self, options, source.is_some())?;
        }
        let offline = options.backend == Backend::Offline;
        if offline {
            offline::require(self, source.is_some())?;
        } else if !rustix::process::geteuid().is_root() {
            return Err(Error::new(ErrorKind::Denied, "disks can be written by root only").hint("run as root"));
        }
        self.require_programs(offline)?;
        devices::tpm::require(self, options.tpm.as_deref())?;
        self.secret_names().try_for_each(|name| options.secrets.require(name))?;
        if !offline {
            let token = task.cancel_token();
            devices::require(self, &options.secrets, &|| token.is_cancelled())?;
        }
        if source.is_some() && !offline {
            mount::require(self)?;
        }
        let begun = past.is_some();
        let run = || {
            let new = Run::new(self, source, options, past, task);
            // Before the first run of a journal has begun there is nothing to go on with.
            let new = new.map_err(|e| if begun { resumable(e, options) } else { e })?;
            new.finish().map_err(|e| resumable(e, options))
        };
        // Everything that mounts is in there, and so is what opens the disks: its end closes both.
        if offline && source.is_none() { run() } else { in_private_mounts(run) }
    }

    fn require_programs(&self, offline: bool) -> Result<()> {
        let makers = self.filesystems.iter().filter(|f| !f.kept).map(|f| mkfs::program(f.kind));
        let devices = if offline { Vec::new() } else { devices::programs(self) };
        let parts = self.filesystems.iter().any(|f| !f.kept && !f.subvolumes.is_empty());
        let stopping = if self.stopped.is_empty() { Vec::new() } else { vec![Program::Dmsetup, Program::Mdadm] };
        let programs = makers.chain(devices).chain(parts.then_some(Program::Btrfs)).chain(stopping);
        programs.into_iter().try_for_each(|p| p.find().map(drop))?;
        if parts { sys_mount::require_filesystem(FsType::Btrfs.name()) } else { Ok(()) }
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
            journal: None,
        }
    }
}

/// Says how to go on after an error that left the disks half-made.
fn resumable(e: Error, options: &ApplyOptions) -> Error {
    match &options.journal {
        // What was refused by a guard is not gone on with.
        Some(path) if !e.facts().contains_key("code") => {
            let e = e.fact("journal", path.display().to_string());
            if e.hint_text().is_some() { e } else { e.hint("apply with --resume to go on where it stopped") }
        }
        _ => e,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Disks, Layout, PlanOptions};

    /// An apply that a journal to be, or a disk that another apply has, stops before anything began.
    #[test]
    fn what_was_not_begun_is_not_gone_on_with() {
        let tmp = tempfile::tempdir().unwrap();
        let disk = tmp.path().join("disk");
        std::fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
        let text = "schema: cv.layout/v1\nname: l\ndisks: {d: {}}\npartitions: {d/s: {type: linux, size: rest}}\n";
        let disks = Disks::from([("d".to_owned(), vec![disk.clone()])]);
        let plan = Layout::parse(text.as_bytes(), "l").unwrap().plan(&disks, &PlanOptions::default()).unwrap();
        let apply = |journal: &str| {
            let journal = Some(tmp.path().join(journal));
            let options = ApplyOptions { backend: Backend::Offline, journal, ..ApplyOptions::default() };
            plan.apply_with(&Confirm::Yes, None, &options, &Task::quiet())
        };
        let e = apply("none/j").unwrap_err();
        assert_eq!((e.kind(), e.hint_text(), e.facts().get("journal")), (ErrorKind::Io, None, None), "{e:?}");
        let lock = crate::sys::lock::Lock::take(std::fs::File::open(&disk).unwrap()).unwrap().unwrap();
        assert_eq!(apply("j").unwrap_err().facts()["code"], "F204");
        assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 1, "a journal was begun");
        drop(lock);
        apply("j").unwrap();
    }
}
