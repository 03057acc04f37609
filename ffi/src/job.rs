//! Work in a thread of its own: poll, wait, events, cancel, result.

use crate::guard::{guard, out};
use crate::handle::{self, Opaque, close, hold, peek};
use libcv::job::{Job, Task};
use libcv::{Error, ErrorKind, Result};
use serde_json::Value;
use std::ffi::c_char;
use std::time::Duration;

/// Work that runs. Unlike other handles it may be polled and cancelled while another call waits for it.
pub struct cv_job;

impl Opaque for cv_job {
    type Object = Job<Value>;
    const NAME: &'static str = "cv_job";
}

/// Starts work whose result is given as JSON.
pub(crate) fn start<T: serde::Serialize>(
    what: &str,
    work: impl FnOnce(&Task) -> Result<T> + Send + 'static,
) -> Result<*mut cv_job> {
    let job = Job::spawn(what, |task| {
        let result = work(task)?;
        serde_json::to_value(result).map_err(|e| Error::new(ErrorKind::Bug, "a result is no JSON").cause(e))
    })?;
    Ok(handle::give(job))
}

/// A time limit of C: negative is for ever, which is a hundred years here.
fn limit(timeout_ms: i64) -> Duration {
    u64::try_from(timeout_ms).map_or(Duration::from_secs(100 * 365 * 86_400), Duration::from_millis)
}

/// Frees a job. One that still runs is cancelled and waited for. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_job_free(job: *mut cv_job) -> i32 {
    guard(|| close(job))
}

/// The id of the job, as its events carry it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_job_id(job: *const cv_job, id: *mut *mut c_char) -> i32 {
    guard(|| {
        let id = out(id, "id")?;
        id.text(peek(job, |j| j.id().to_owned())?)
    })
}

/// Whether the work has ended, however it did. May be called while another call waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_job_poll(job: *const cv_job, finished: *mut bool) -> i32 {
    guard(|| {
        let finished = out(finished, "finished")?;
        finished.set(peek(job, Job::is_finished)?);
        Ok(())
    })
}

/// Waits until the work has ended, however it did: 0, or `-CV_E_TIMEOUT` after `timeout_ms` milliseconds. A negative
/// time is for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_job_wait(job: *const cv_job, timeout_ms: i64) -> i32 {
    guard(|| {
        let job = hold(job)?;
        if job.wait_timeout(limit(timeout_ms)) {
            return Ok(());
        }
        let e = Error::new(ErrorKind::Timeout, format!("job {} did not end within {timeout_ms} ms", job.id()));
        Err(e.fact("job", job.id()).fact("timeout_ms", timeout_ms))
    })
}

/// Asks the work to end; its result is then `-CV_E_CANCELLED`, unless it was faster. May be called while another call
/// waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_job_cancel(job: *const cv_job) -> i32 {
    guard(|| peek(job, Job::cancel))
}

/// The next event as a JSON object of the shape `cv.event/v1`, waited for up to `timeout_ms` milliseconds (negative:
/// for ever). NULL is given when there was none in time, or none will come any more: that is so when `cv_job_poll` had said
/// that the work has ended, and always after waiting for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_job_next_event(job: *const cv_job, timeout_ms: i64, event_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let event = out(event_json, "event_json")?;
        match hold(job)?.next_event(limit(timeout_ms)) {
            Some(e) => event.json(&e.to_json()),
            None => {
                event.set(std::ptr::null_mut());
                Ok(())
            }
        }
    })
}

/// What the result looks like so far, as JSON, of work that says so: `cv_mcast_send_start` does, once a second. NULL is given before that,
/// and of other work. What was said last stays when the work has ended, however it did. May be called while another call waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_job_report(job: *const cv_job, report_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let report = out(report_json, "report_json")?;
        match peek(job, Job::report)? {
            Some(so_far) => report.json(&so_far),
            None => {
                report.set(std::ptr::null_mut());
                Ok(())
            }
        }
    })
}

/// Waits for the end and gives the result as JSON, or the error of the work. The result can be had once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_job_result(job: *const cv_job, result_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let result = out(result_json, "result_json")?;
        result.json(&hold(job)?.wait()?)
    })
}
