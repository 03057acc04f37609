//! Keys.

use crate::convert::SystemPath;
use crate::error::OrRaise;
use pyo3::prelude::*;

/// Makes a key and gives its id.
#[pyfunction]
pub(crate) fn generate_key(py: Python<'_>, file: SystemPath) -> PyResult<String> {
    py.detach(move || libcv::sign::generate(&file.0)).or_raise(py).map(|k| k.id().to_string())
}
