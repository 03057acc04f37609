//! Configuration: actions on a root.

use crate::event::{cv_event_fn, task};
use crate::guard::{guard, out, path, text};
use crate::job::{cv_job, start};
use libcv::config::{self, Action};
use std::ffi::{c_char, c_void};

/// Applies actions, a JSON array such as `[{"hostname": "n1"}]`, to the tree at `root`: all of them, or none. The result is
/// a JSON array with "unchanged", "created" or "changed" for each. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_config_apply(
    root: *const c_char,
    actions_json: *const c_char,
    on_event: cv_event_fn,
    user: *mut c_void,
    outcomes_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (root, actions) = (path(root, "root")?, text(actions_json, "actions_json")?);
        let outcomes = out(outcomes_json, "outcomes_json")?;
        let actions = Action::parse_list(actions)?;
        outcomes.json(&task(on_event, user).run("configure", |t| config::apply(root, &actions, t))?)
    })
}

/// Starts what `cv_config_apply` does; the result is the same array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_config_apply_start(
    root: *const c_char,
    actions_json: *const c_char,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (root, actions) = (path(root, "root")?.to_owned(), text(actions_json, "actions_json")?);
        let (job, actions) = (out(job, "job")?, Action::parse_list(actions)?);
        job.set(start("configure", move |t| config::apply(&root, &actions, t))?);
        Ok(())
    })
}
