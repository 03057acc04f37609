//! The entries of an image, as a listing gives them.

use crate::convert::decoded;
use libcv::image::hash::hex;
use libcv::image::{Kind, Value, dump};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The entries of a listing.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct Rows {
    rows: Vec<libcv::image::Row>,
    next: AtomicUsize,
}

impl Rows {
    pub(crate) fn new(rows: Vec<libcv::image::Row>) -> Self {
        Self { rows, next: AtomicUsize::new(0) }
    }
}

#[pymethods]
impl Rows {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self) -> Option<Row> {
        self.rows.get(self.next.fetch_add(1, Ordering::Relaxed)).cloned().map(Row)
    }

    fn __length_hint__(&self) -> usize {
        self.rows.len().saturating_sub(self.next.load(Ordering::Relaxed))
    }
}

/// An entry of an image.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct Row(libcv::image::Row);

#[pymethods]
impl Row {
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mut path = vec![b'/'];
        path.extend_from_slice(&self.0.path);
        decoded(py, &path)
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind_name()
    }

    #[getter]
    fn mode(&self) -> u32 {
        self.0.mode
    }

    #[getter]
    fn uid(&self) -> u32 {
        self.0.uid
    }

    #[getter]
    fn gid(&self) -> u32 {
        self.0.gid
    }

    #[getter]
    fn mtime_ns(&self) -> i128 {
        i128::from(self.0.mtime.0) * 1_000_000_000 + i128::from(self.0.mtime.1)
    }

    #[getter]
    fn size(&self) -> u64 {
        self.0.size()
    }

    #[getter]
    fn target<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match &self.0.kind {
            Kind::Link(target) => decoded(py, target).map(Some),
            _ => Ok(None),
        }
    }

    #[getter]
    fn device(&self) -> Option<(u32, u32)> {
        match self.0.kind {
            Kind::Device { major, minor } => Some((major, minor)),
            _ => None,
        }
    }

    #[getter]
    fn links(&self) -> Option<String> {
        self.0.group.as_ref().map(|g| hex(g))
    }

    #[getter]
    fn torn(&self) -> bool {
        self.0.torn
    }

    #[getter]
    fn flags(&self) -> u32 {
        self.0.inode_flags
    }

    #[getter]
    fn xattrs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        for x in self.0.xattrs.iter() {
            let value = match &x.value {
                Value::Near(bytes) => Some(PyBytes::new(py, bytes)),
                Value::Far { .. } => None,
            };
            out.set_item(decoded(py, &x.name)?, value)?;
        }
        Ok(out)
    }

    fn __repr__(&self) -> String {
        format!("<libcv.Row {}>", dump::row(&self.0))
    }
}
