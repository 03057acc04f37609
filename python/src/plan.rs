//! Plans: what a layout means for these disks, and making it so.

use crate::convert::json;
use crate::job::Job;
use crate::wait;
use libcv::job::Task;
use libcv::layout::Confirm;
use pyo3::prelude::*;
use std::sync::Arc;

/// A plan.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct Plan(Arc<libcv::layout::Plan>);

impl Plan {
    pub(crate) fn new(plan: libcv::layout::Plan) -> Self {
        Self(Arc::new(plan))
    }
}

#[pymethods]
impl Plan {
    #[getter]
    fn token(&self) -> &str {
        self.0.token()
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        json(py, &self.0.to_json())
    }

    #[pyo3(signature = (*, confirm, progress=None))]
    fn apply<'py>(
        &self,
        py: Python<'py>,
        confirm: String,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (plan, confirm) = (self.0.clone(), Confirm::Token(confirm));
        let work = move |t: &Task| Ok(plan.apply(&confirm, None, t)?.to_json());
        json(py, &wait::run(py, "apply", progress, work)?)
    }

    #[pyo3(signature = (*, confirm))]
    fn apply_job(&self, py: Python<'_>, confirm: String) -> PyResult<Job> {
        let (plan, confirm) = (self.0.clone(), Confirm::Token(confirm));
        let work = move |t: &Task| Ok(plan.apply(&confirm, None, t)?.to_json());
        Job::start(py, "apply", work, |py, done| json(py, &done).map(Bound::unbind))
    }

    fn __str__(&self) -> String {
        self.0.to_text()
    }

    fn __repr__(&self) -> String {
        format!("<libcv.Plan {} {}>", self.0.layout_name(), self.0.token())
    }
}
