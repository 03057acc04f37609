//! A node gets its disks and an image at once: [`crate::deploy`], with an image that is sent to many.

use super::receive::{Delivered, ReceiveOptions, receive};
use crate::deploy::{self, DeployOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::layout::{Applied, Confirm, Plan};
use crate::sys::udp::{Interface, check_group};
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};

/// What became of the disks, and what came.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The disks, as of every apply.
    pub applied: Applied,
    /// The image.
    pub delivered: Delivered,
}

impl Deployed {
    /// All of it as JSON: that of [`Applied`], and what came in `delivered`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut all = self.applied.to_json();
        all["delivered"] = json!(self.delivered);
        all
    }
}

/// Applies `plan`, then waits for the image that is sent, installs it and configures it. A plan that was made for an image takes no
/// other one. It is asked for when the disks are ready, so that nothing is sent to a node that cannot write yet. How it is written is
/// up to `options`, and `from.extract` is not looked at.
///
/// # Errors
/// As [`deploy::apply`] and [`receive`]; what is received in part boots from no disk. Before a byte is written: `NotFound` for an
/// interface; `Invalid` for a group, and for what updates a tree.
pub fn deploy(
    plan: &Plan,
    mut from: ReceiveOptions,
    options: &DeployOptions,
    confirm: &Confirm,
    task: &Task,
) -> Result<Deployed> {
    Interface::named(&from.interface)?;
    check_group(from.group)?;
    if from.update {
        return Err(Error::invalid("on disks that are made there is no tree to update"));
    }
    from.image = plan.image().or(from.image);
    let (from, came) = (Mutex::new(Some(from)), Mutex::new(None));
    let fill = |target: &std::path::Path, how: &_, task: &Task| {
        let from = from.lock().unwrap_or_else(PoisonError::into_inner).take();
        let from = from.ok_or_else(|| Error::new(ErrorKind::Bug, "a root is filled for the second time"))?;
        let delivered = receive(target, ReceiveOptions { extract: Clone::clone(how), ..from }, task)?;
        *came.lock().unwrap_or_else(PoisonError::into_inner) = Some(delivered);
        Ok(())
    };
    let applied = deploy::apply_filled(plan, &fill, options, confirm, task)?;
    let came = came.into_inner().unwrap_or_else(PoisonError::into_inner);
    let delivered = came.ok_or_else(|| Error::new(ErrorKind::Bug, "the disks are made and nothing was installed"))?;
    Ok(Deployed { applied, delivered })
}
