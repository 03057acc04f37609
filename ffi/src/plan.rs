//! Plans: what a layout means for these disks, and making it so.

use crate::event::{cv_event_fn, task};
use crate::guard::{guard, out, text};
use crate::handle::{Opaque, close, hold};
use crate::job::{cv_job, start};
use libcv::layout::{Confirm, Plan};
use std::ffi::{c_char, c_void};

/// A plan. Making one writes nothing.
pub struct cv_plan;

impl Opaque for cv_plan {
    type Object = Plan;
    const NAME: &'static str = "cv_plan";
}

/// Frees a plan. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_free(plan: *mut cv_plan) -> i32 {
    guard(|| close(plan))
}

/// A plan as text: each disk now and after, what is lost, what is done, and the token that confirms it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_text(plan: *const cv_plan, shown: *mut *mut c_char) -> i32 {
    guard(|| {
        let shown = out(shown, "shown")?;
        shown.text(hold(plan)?.to_text())
    })
}

/// A plan as JSON, shape `cv.plan/v1`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_json(plan: *const cv_plan, plan_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let json = out(plan_json, "plan_json")?;
        json.json(&hold(plan)?.to_json())
    })
}

/// The token, which confirms this plan and no other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_token(plan: *const cv_plan, token: *mut *mut c_char) -> i32 {
    guard(|| {
        let token = out(token, "token")?;
        token.text(hold(plan)?.token())
    })
}

/// Partitions and formats the disks as the plan says: WHAT IS ON THEM IS LOST. `token` is that of the plan; with any
/// other it is `CV_E_REFUSED`, and nothing is written. The result is a JSON object `{layout, disks, filesystems, …}`.
/// `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_apply(
    plan: *const cv_plan,
    token: *const c_char,
    on_event: cv_event_fn,
    user: *mut c_void,
    applied_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let confirm = Confirm::Token(text(token, "token")?.to_owned());
        let applied = out(applied_json, "applied_json")?;
        let plan = hold(plan)?;
        applied.json(&task(on_event, user).run("apply", |t| plan.apply(&confirm, None, t))?.to_json())
    })
}

/// Starts what `cv_plan_apply` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_apply_start(plan: *const cv_plan, token: *const c_char, job: *mut *mut cv_job) -> i32 {
    guard(|| {
        let confirm = Confirm::Token(text(token, "token")?.to_owned());
        let job = out(job, "job")?;
        let plan = hold(plan)?.clone();
        job.set(start("apply", move |t| Ok(plan.apply(&confirm, None, t)?.to_json()))?);
        Ok(())
    })
}
