//! Configuration: actions on a root.

use crate::convert::{SystemPath, to_python};
use crate::error::OrRaise;
use crate::wait;
use libcv::config::{self, Action};
use pyo3::prelude::*;

/// Actions as dictionaries, by way of JSON.
pub(crate) fn actions(list: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<Action>> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let py = list.py();
    let text: String = py.import("json")?.call_method1("dumps", (list,))?.extract()?;
    Action::parse_list(&text).or_raise(py)
}

/// Applies actions to a root.
#[pyfunction]
#[pyo3(signature = (root, actions, *, progress=None))]
pub(crate) fn configure<'py>(
    py: Python<'py>,
    root: SystemPath,
    actions: &Bound<'py, PyAny>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let actions = self::actions(Some(actions))?;
    let done = wait::run(py, "configure", progress, move |t| config::apply(&root.0, &actions, t))?;
    to_python(py, &done)
}
