//! What differs between two images, or between an image and a tree.

use crate::convert::decoded;
use libcv::store::ChangeKind;
use libcv::tree::diff::TreeChange;
use pyo3::prelude::*;

/// A difference between two images, or between an image and a tree.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct Change(libcv::store::Change, Option<&'static str>);

impl From<libcv::store::Change> for Change {
    fn from(change: libcv::store::Change) -> Self {
        Self(change, None)
    }
}

impl From<TreeChange> for Change {
    fn from(c: TreeChange) -> Self {
        Self(c.change, c.kept)
    }
}

#[pymethods]
impl Change {
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut path = vec![b'/'];
        path.extend_from_slice(&self.0.path);
        decoded(py, &path)
    }

    #[getter]
    fn kind(&self) -> &'static str {
        match self.0.kind {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Changed => "changed",
        }
    }

    #[getter]
    fn fields(&self) -> Vec<&'static str> {
        self.0.fields.iter().map(|f| f.name()).collect()
    }

    #[getter]
    fn kept(&self) -> Option<&'static str> {
        self.1
    }

    fn __repr__(&self) -> String {
        format!("<libcv.Change {}>", self.0.to_json())
    }
}
