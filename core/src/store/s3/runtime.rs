//! The threads that talk to the server. A caller waits for them on a channel, on whatever thread it is: waiting in the way
//! of the asynchronous runtime would panic where the caller runs on one of its own.

use crate::error::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle};

/// Requests are waited for, not computed; the work is in hashing what is sent.
const THREADS: usize = 2;

/// A private runtime.
pub(super) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    pub(super) fn new() -> Result<Self> {
        let built = Builder::new_multi_thread().worker_threads(THREADS).thread_name("libcv-s3").enable_all().build();
        Ok(Self(Some(built.map_err(|e| Error::io("start", "threads for S3", e))?)))
    }

    pub(super) fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|r| r.handle().clone())
    }

    /// Runs a task to its end.
    pub(super) fn wait<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Result<T> {
        wait(self.handle(), task)
    }
}

/// Runs a task on a runtime and waits for its end.
pub(super) fn wait<T: Send + 'static>(
    runtime: Option<Handle>,
    task: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    let (to, result) = crossbeam_channel::bounded(1);
    if let Some(runtime) = runtime {
        runtime.spawn(async move {
            let _ = to.send(task.await);
        });
    }
    result.recv().map_err(|_| Error::new(ErrorKind::Bug, "a request to S3 did not come to its end"))
}

impl Drop for Runtime {
    /// Without waiting for requests on their way, which is not allowed in an asynchronous context.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
