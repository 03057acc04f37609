//! Image + plan + configuration → a disk that boots.
//!
//! ```text
//!  plan ─ partition ─ format ─ mount ─┬─ extract the image ─┬─ bootloader ─ read back ─ commit
//!        (layout)                     └─ configure: fstab,  │  (layout)
//!                                        host name, …  ─────┘
//! ```
//!
//! The layout knows no image, the image no layout: this module joins them for one machine. Configuration goes through
//! [`crate::config`] and comes after the content, before the boot loader reads what it wrote.

use crate::config::{self, Action, Fstab, FstabLine};
use crate::error::{Error, Result};
use crate::job::Task;
use crate::layout::{Applied, ApplyOptions, Confirm, Payload, Plan};
use crate::store::Image;
use crate::tree::extract::ExtractOptions;
use std::path::Path;

/// What makes the machine this one and no other.
#[derive(Clone, Debug, Default)]
pub struct DeployOptions {
    /// The host name; `None` keeps the image's.
    pub hostname: Option<String>,
    /// Further actions on the root, after fstab and host name.
    pub actions: Vec<Action>,
    /// Compare every byte with the medium after it was written.
    pub verify: bool,
    /// How the plan is applied: what opens its encrypted devices, and who makes them.
    pub apply: ApplyOptions,
}

/// Applies `plan`, with `image` if there is one, and configures the root.
///
/// # Errors
/// `Refused` when a guard says no or the confirmation is of another plan; `Integrity` when the image is damaged;
/// `Invalid` for a bad host name, before anything is written. When a step fails the disks are left unfinished, with
/// nothing mounted, and do not boot; the next run goes on by the journal, or begins anew.
pub fn apply(
    plan: &Plan,
    image: Option<&Image>,
    options: &DeployOptions,
    confirm: &Confirm,
    task: &Task,
) -> Result<Applied> {
    let Some(image) = image else {
        actions(plan, options)?;
        return plan.apply_with(confirm, None, &options.apply, task);
    };
    if let Some(planned) = plan.image()
        && planned != image.id()
    {
        return Err(Error::refused(format!("the plan is for image {planned}, not for {}", image.id()))
            .fact("code", "A400")
            .hint("make a plan for this image"));
    }
    apply_filled(plan, &|target, how, task| image.extract(target, how, task).map(drop), options, confirm, task)
}

/// What brings an image into the root that is mounted there.
pub type Fill<'a> = dyn Fn(&Path, &ExtractOptions, &Task) -> Result<()> + Sync + 'a;

/// The same, with an image that comes from elsewhere: `fill` is called once, when the root is mounted.
///
/// # Errors
/// As [`apply`], and what `fill` says.
pub fn apply_filled(
    plan: &Plan,
    fill: &Fill<'_>,
    options: &DeployOptions,
    confirm: &Confirm,
    task: &Task,
) -> Result<Applied> {
    let payload = Deployment { fill, actions: actions(plan, options)?, verify: options.verify };
    plan.apply_with(confirm, Some(&payload), &options.apply, task)
}

/// The whole configuration, checked before a disk is touched.
fn actions(plan: &Plan, options: &DeployOptions) -> Result<Vec<Action>> {
    let lines = plan.fstab_lines().iter().map(|l| fstab_line(l)).collect::<Result<Vec<_>>>()?;
    let mut actions = vec![Action::Fstab(Fstab { lines })];
    actions.extend(options.hostname.clone().map(Action::Hostname));
    actions.extend(options.actions.iter().cloned());
    actions.iter().try_for_each(Action::check)?;
    Ok(actions)
}

fn fstab_line(text: &str) -> Result<FstabLine> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let bad = || Error::new(crate::ErrorKind::Bug, format!("the plan has a line that is no line of fstab: {text}"));
    let &[spec, file, fstype, options, dump, pass] = &fields[..] else { return Err(bad()) };
    Ok(FstabLine {
        spec: spec.to_owned(),
        file: file.to_owned(),
        fstype: fstype.to_owned(),
        options: options.to_owned(),
        dump: dump.parse().map_err(|_| bad())?,
        pass: pass.parse().map_err(|_| bad())?,
    })
}

struct Deployment<'a> {
    fill: &'a Fill<'a>,
    actions: Vec<Action>,
    verify: bool,
}

impl Payload for Deployment<'_> {
    fn install(&self, target: &Path, task: &Task) -> Result<()> {
        let options = ExtractOptions { verify: self.verify, ..ExtractOptions::default() };
        (self.fill)(target, &options, task)?;
        // What another machine's configuration left is none of ours to go on with.
        config::forget(target)?;
        config::apply(target, &self.actions, task)?;
        Ok(())
    }
}
