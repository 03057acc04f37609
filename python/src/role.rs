//! Roles: what is in an image.

use crate::convert::{SystemPath, json, to_python};
use crate::error::OrRaise;
use crate::layout::Document;
use libcv::Error;
use libcv::role::{RoleOptions, Selector};
use pyo3::prelude::*;

/// A role.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct Role(pub(crate) libcv::role::Role);

fn searching(search: Vec<SystemPath>) -> RoleOptions {
    RoleOptions { search: search.into_iter().map(|path| path.0).collect(), ..RoleOptions::default() }
}

#[pymethods]
impl Role {
    #[staticmethod]
    #[pyo3(signature = (path, *, search=Vec::new()))]
    fn load(py: Python<'_>, path: SystemPath, search: Vec<SystemPath>) -> PyResult<Self> {
        let options = searching(search);
        py.detach(|| libcv::role::Role::load_with(path.0, &options)).or_raise(py).map(Self)
    }

    #[staticmethod]
    #[pyo3(signature = (name, *, search=Vec::new()))]
    fn find(py: Python<'_>, name: &str, search: Vec<SystemPath>) -> PyResult<Self> {
        let options = searching(search);
        py.detach(|| libcv::role::Role::find(name, &options)).or_raise(py).map(Self)
    }

    #[staticmethod]
    #[pyo3(signature = (names, *, search=Vec::new()))]
    #[allow(clippy::needless_pass_by_value)] // extracted
    fn find_all(py: Python<'_>, names: Vec<String>, search: Vec<SystemPath>) -> PyResult<Self> {
        let options = searching(search);
        py.detach(|| libcv::role::Role::find_all(&names, &options)).or_raise(py).map(Self)
    }

    #[staticmethod]
    #[pyo3(signature = (document, name="role"))]
    fn parse(py: Python<'_>, document: Document, name: &str) -> PyResult<Self> {
        let bytes = document.into_bytes();
        py.detach(|| libcv::role::Role::parse(&bytes, name)).or_raise(py).map(Self)
    }

    #[staticmethod]
    #[pyo3(signature = (document, name="role"))]
    fn check<'py>(py: Python<'py>, document: Document, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let bytes = document.into_bytes();
        to_python(py, &py.detach(|| libcv::role::check(&bytes, name)))
    }

    #[staticmethod]
    #[pyo3(signature = (path, *, search=Vec::new()))]
    fn check_file<'py>(py: Python<'py>, path: SystemPath, search: Vec<SystemPath>) -> PyResult<Bound<'py, PyAny>> {
        let options = searching(search);
        to_python(py, &py.detach(|| libcv::role::check_file(path.0, &options)).or_raise(py)?)
    }

    #[staticmethod]
    fn schema(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        json(py, &libcv::role::Role::json_schema())
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn digest(&self) -> String {
        self.0.digest()
    }

    #[pyo3(signature = (system=None))]
    fn to_dict<'py>(&self, py: Python<'py>, system: Option<&str>) -> PyResult<Bound<'py, PyAny>> {
        let Some(text) = system else { return to_python(py, self.0.spec()) };
        let bad = || Error::invalid(format!("\"{text}\" is no system")).hint("write el9, debian12 or ubuntu24.04");
        let system = Selector::parse(text).ok_or_else(bad).or_raise(py)?;
        to_python(py, &self.0.part(system))
    }

    fn to_yaml(&self, py: Python<'_>) -> PyResult<String> {
        self.0.to_yaml().or_raise(py)
    }

    fn __repr__(&self) -> String {
        format!("<libcv.Role {}>", self.0.name())
    }
}
