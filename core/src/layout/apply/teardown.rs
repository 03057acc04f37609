//! Stopping what stands on the disks of a plan, before they are opened for writing.

use crate::error::{Error, Result};
use crate::job::Task;
use crate::layout::device::Facts;
use crate::layout::plan::{Plan, PlannedDisk};
use crate::layout::teardown::{is_only_held, numbers, order};
use crate::sys::sysfs::Kernel;

/// Stops what the plan says, and gives the disks as they are then; nothing where nothing was to be stopped.
///
/// # Errors
/// `Refused`: A401 when a disk or what stands on it is not as it was when the plan was made; what the program says that
/// stops something, by which nothing was written.
pub(super) fn stop(plan: &Plan, task: &Task) -> Result<Vec<Facts>> {
    let planned = plan.stopped();
    if planned.is_empty() {
        return Ok(Vec::new());
    }
    let kernel = Kernel::default();
    let disks = (0..plan.disks().len()).filter(|d| plan.may_stop(*d)).map(|d| &plan.disks()[d].facts);
    let ours = numbers(disks);
    let changed = |text: String| Error::refused(text).hint("make a new plan").fact("code", "A401");
    // What was mounted since then, or stopped by others, is told by the gate.
    if !ours.iter().any(|n| is_only_held(&kernel, *n)) {
        return Ok(Vec::new());
    }
    let found = order(&kernel, &ours).map_err(|why| changed(format!("something else holds the disks now: {why}")))?;
    if found != planned {
        let list = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(changed(format!("what stands on the disks is not what it was when the plan was made: {list}")));
    }
    for disk in plan.disks() {
        let now = look(disk)?;
        let now = if disk.facts.held { now.held() } else { now };
        if now.read_only || now.identity() != disk.facts.identity() {
            let name = disk.facts.path.display();
            return Err(changed(format!("{name} is not as it was when the plan was made")));
        }
    }
    let token = task.cancel_token();
    found.iter().try_for_each(|held| held.stop().run(&|| token.is_cancelled()).map(drop))?;
    plan.disks()
        .iter()
        .map(|disk| {
            let Facts { fingerprint, contents, .. } = look(disk)?;
            Ok(Facts { fingerprint, contents, held: false, ..disk.facts.clone() })
        })
        .collect()
}

fn look(disk: &PlannedDisk) -> Result<Facts> {
    Facts::look(&disk.facts.path, Some(disk.facts.sector))
}
