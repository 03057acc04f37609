//! Work in the background: an iterator of events that can be waited for and cancelled.

use crate::convert::json;
use crate::error::{OrRaise, raise};
use crate::wait;
use libcv::job::Task;
use libcv::{Error, ErrorKind};
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Makes the Python value of a result, once somebody asks for it.
type Finish = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// A job.
#[pyclass(frozen, generic, module = "libcv._native")]
pub(crate) struct Job {
    /// Always there until it is dropped.
    inner: Option<libcv::job::Job<Finish>>,
    /// The result once it was asked for, so that it can be had again.
    outcome: Mutex<Option<PyResult<Py<PyAny>>>>,
}

impl Job {
    /// Starts `work`; `finish` makes its result a Python value.
    pub(crate) fn start<T: Send + 'static>(
        py: Python<'_>,
        what: &str,
        work: impl FnOnce(&Task) -> libcv::Result<T> + Send + 'static,
        finish: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Self> {
        let inner = libcv::job::Job::spawn(what, |task| {
            let result = work(task)?;
            let finish: Finish = Box::new(move |py| finish(py, result));
            Ok(finish)
        });
        Ok(Self { inner: Some(inner.or_raise(py)?), outcome: Mutex::new(None) })
    }

    fn inner(&self) -> &libcv::job::Job<Finish> {
        self.inner.as_ref().expect("a job is there until it is dropped")
    }

    fn taken(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let again = |o: &PyResult<Py<PyAny>>| match o {
            Ok(v) => Ok(v.clone_ref(py)),
            Err(e) => Err(e.clone_ref(py)),
        };
        if let Some(outcome) = &*self.outcome.lock().unwrap_or_else(PoisonError::into_inner) {
            return again(outcome);
        }
        // The work has ended: this does not wait. Nothing is locked while Python runs.
        let outcome = self.inner().wait().or_raise(py).and_then(|finish| finish(py));
        let mut kept = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        again(kept.get_or_insert(outcome))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // The garbage collector must not wait for work.
        if let Some(job) = self.inner.take()
            && !job.is_finished()
        {
            wait::leave(job);
        }
    }
}

#[pymethods]
impl Job {
    #[getter]
    fn id(&self) -> &str {
        self.inner().id()
    }

    #[getter]
    fn done(&self) -> bool {
        self.inner().is_finished()
    }

    fn cancel(&self) {
        self.inner().cancel();
    }

    #[getter]
    fn report<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.inner().report().map(|so_far| json(py, &so_far)).transpose()
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        wait::wait(py, self.inner(), timeout)
    }

    #[pyo3(signature = (timeout=None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        if wait::wait(py, self.inner(), timeout)? {
            return self.taken(py);
        }
        let seconds = timeout.unwrap_or_default();
        let e = Error::new(ErrorKind::Timeout, format!("job {} did not end within {seconds} s", self.inner().id()));
        Err(raise(py, &e.fact("job", self.inner().id()).fact("timeout_s", seconds)))
    }

    #[pyo3(signature = (timeout=None))]
    fn next_event<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut left = timeout.map(|s| Duration::try_from_secs_f64(s.max(0.0)).unwrap_or(Duration::MAX));
        loop {
            let slice = left.unwrap_or(Duration::MAX).min(Duration::from_millis(100));
            let finished = self.inner().is_finished();
            if let Some(e) = py.detach(|| self.inner().next_event(slice)) {
                return json(py, &e.to_json()).map(Some);
            }
            py.check_signals()?;
            left = left.map(|l| l.saturating_sub(slice));
            if finished || left.is_some_and(|l| l.is_zero()) {
                return Ok(None);
            }
        }
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.next_event(py, None)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, py: Python<'_>, _args: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        if !self.inner().is_finished() {
            self.inner().cancel();
        }
        wait::wait(py, self.inner(), None).map(|_| ())
    }

    fn __repr__(&self) -> String {
        format!("<libcv.Job {} {}>", self.inner().id(), if self.inner().is_finished() { "ended" } else { "runs" })
    }
}
