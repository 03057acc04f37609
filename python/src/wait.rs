//! Calls that take long: the work runs in a thread of its own, and the caller's thread waits without the GIL, hands
//! events to the `progress` function, and looks for Ctrl-C ten times a second.
//!
//! An exception, be it `KeyboardInterrupt` or one of the function, cancels the work, waits for its end, and goes on
//! to the caller unchanged. Ctrl-C does not wait for ever: work that is stuck in the system, such as a write into a
//! pipe that nobody reads, is left to end by itself.

use crate::convert::json;
use crate::error::OrRaise;
use libcv::event::EventKind;
use libcv::job::{Job, Task};
use pyo3::prelude::*;
use std::time::Duration;

/// How long Ctrl-C may wait to be seen.
const LOOK: Duration = Duration::from_millis(100);
/// How long Ctrl-C waits for work to end.
const PATIENCE: Duration = Duration::from_millis(250);

/// Runs `work` to its end.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    what: &str,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Task) -> libcv::Result<T> + Send + 'static,
) -> PyResult<T> {
    let job = Job::spawn(what, work).or_raise(py)?;
    let Err(stop) = watch(py, &job, progress) else {
        return py.detach(|| job.wait()).or_raise(py);
    };
    job.cancel();
    let ended = match &stop {
        Stop::Signal(_) => py.detach(|| job.wait_timeout(PATIENCE)),
        Stop::Progress(_) => wait(py, &job, None).unwrap_or(false),
    };
    if let (Stop::Signal(_), Some(call)) = (&stop, progress) {
        // A bar wants to know that it is over. What it says to that does not matter any more.
        while let Some(event) = job.next_event(Duration::ZERO) {
            if event.kind == EventKind::JobEnd {
                let _ = json(py, &event.to_json()).and_then(|e| call.call1((e,)));
            }
        }
    }
    if !ended {
        leave(job);
    }
    let (Stop::Signal(e) | Stop::Progress(e)) = stop;
    Err(e)
}

/// Lets a job end without anybody waiting for it.
pub(crate) fn leave<T: Send + 'static>(job: Job<T>) {
    job.cancel();
    // Without a thread for it, waiting is all that is left.
    let _ = std::thread::Builder::new().name("libcv-leave".into()).spawn(move || drop(job));
}

/// Who ended the waiting, with the exception.
enum Stop {
    Signal(PyErr),
    Progress(PyErr),
}

/// Waits for the end and passes events on.
fn watch<T: Send + 'static>(py: Python<'_>, job: &Job<T>, progress: Option<&Bound<'_, PyAny>>) -> Result<(), Stop> {
    loop {
        // Asked before, so that no event that came in between is missed.
        let finished = job.is_finished();
        let event = py.detach(|| job.next_event(LOOK));
        py.check_signals().map_err(Stop::Signal)?;
        match (event, progress) {
            (Some(e), Some(call)) => {
                json(py, &e.to_json()).and_then(|e| call.call1((e,))).map_err(Stop::Progress)?;
            }
            (None, _) if finished => return Ok(()),
            _ => {}
        }
    }
}

/// Waits for the end of a job up to `seconds` (`None`: for ever), while Ctrl-C only ends the wait.
pub(crate) fn wait<T: Send + 'static>(py: Python<'_>, job: &Job<T>, seconds: Option<f64>) -> PyResult<bool> {
    let deadline = seconds.map(|s| std::time::Instant::now() + Duration::try_from_secs_f64(s.max(0.0)).unwrap_or(YEAR));
    loop {
        let left = deadline.map_or(LOOK, |d| d.saturating_duration_since(std::time::Instant::now()));
        if py.detach(|| job.wait_timeout(left.min(LOOK))) {
            return Ok(true);
        }
        py.check_signals()?;
        if left.is_zero() {
            return Ok(false);
        }
    }
}

/// Longer than anybody waits, and short enough to be added to a time.
const YEAR: Duration = Duration::from_secs(365 * 86_400);
