//! Errors become exceptions of `libcv.errors`, which is where their classes are.

use crate::convert::json;
use libcv::Error;
use pyo3::prelude::*;

/// The exception for an error.
pub(crate) fn raise(py: Python<'_>, e: &Error) -> PyErr {
    let made =
        py.import("libcv.errors").and_then(|module| module.getattr("_from_native")?.call1((json(py, &e.to_json())?,)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(failed) => failed,
    }
}

/// A result of core as one of Python.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for libcv::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|e| raise(py, &e))
    }
}
