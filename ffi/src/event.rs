//! Events of work that runs in the caller's thread.

use crate::guard::{Callback, owned};
use libcv::event::Event;
use libcv::job::{CancelToken, Listener, Task};
use std::ffi::{c_char, c_void};

/// Called with each event, a JSON object of the shape `cv.event/v1`, which is valid during the call.
///
/// It is called from the threads that do the work, one event at a time, and must not block, throw or jump out.
/// Returning anything but 0 cancels the work, whose function then returns `-CV_E_CANCELLED`.
pub type cv_event_fn = Option<unsafe extern "C" fn(event_json: *const c_char, user: *mut c_void) -> i32>;

/// A task that reports to `on_event`.
pub(crate) fn task(on_event: cv_event_fn, user: *mut c_void) -> Task {
    let Some(call) = on_event else { return Task::quiet() };
    let (cancel, callback) = (CancelToken::default(), Callback::new(call, user));
    let token = cancel.clone();
    let listener: Listener = Box::new(move |event: &Event| {
        let Ok(text) = owned(event.to_json().to_string()) else { return };
        if callback.call(&text) != 0 {
            token.cancel();
        }
    });
    Task::new(cancel, Some(listener))
}
