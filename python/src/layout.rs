//! Layouts: what disks are to look like.

use crate::convert::{SystemPath, json, to_python};
use crate::error::OrRaise;
use crate::image::Image;
use crate::plan::Plan;
use crate::wait;
use libcv::Error;
use libcv::job::Task;
use libcv::layout::capture::LayoutCaptureOptions;
use libcv::layout::inventory::Inventory;
use libcv::layout::{Disks, LayoutOptions, PlanOptions};
use pyo3::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A layout.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct Layout(Arc<libcv::layout::Layout>);

/// A document as text or bytes.
#[derive(FromPyObject)]
pub(crate) enum Document {
    #[pyo3(transparent)]
    Text(String),
    #[pyo3(transparent)]
    Bytes(Vec<u8>),
}

impl Document {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(t) => t.into_bytes(),
            Self::Bytes(b) => b,
        }
    }
}

/// A disk of a set, or several.
#[derive(FromPyObject)]
enum OneOrMore {
    #[pyo3(transparent)]
    One(SystemPath),
    #[pyo3(transparent)]
    More(Vec<SystemPath>),
}

impl From<OneOrMore> for Vec<PathBuf> {
    fn from(paths: OneOrMore) -> Self {
        match paths {
            OneOrMore::One(path) => vec![path.0],
            OneOrMore::More(paths) => paths.into_iter().map(|p| p.0).collect(),
        }
    }
}

fn searching(search: Vec<SystemPath>) -> LayoutOptions {
    LayoutOptions { search: search.into_iter().map(|path| path.0).collect(), ..LayoutOptions::default() }
}

#[pymethods]
impl Layout {
    #[staticmethod]
    #[pyo3(signature = (path, *, search=Vec::new()))]
    fn load(py: Python<'_>, path: SystemPath, search: Vec<SystemPath>) -> PyResult<Self> {
        let options = searching(search);
        py.detach(|| libcv::layout::Layout::load_with(path.0, &options)).or_raise(py).map(|l| Self(Arc::new(l)))
    }

    #[staticmethod]
    #[pyo3(signature = (document, name="layout"))]
    fn parse(py: Python<'_>, document: Document, name: &str) -> PyResult<Self> {
        let bytes = document.into_bytes();
        py.detach(|| libcv::layout::Layout::parse(&bytes, name)).or_raise(py).map(|l| Self(Arc::new(l)))
    }

    #[staticmethod]
    #[pyo3(signature = (document, name="layout"))]
    fn check<'py>(py: Python<'py>, document: Document, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let bytes = document.into_bytes();
        to_python(py, &py.detach(|| libcv::layout::check(&bytes, name)))
    }

    #[staticmethod]
    #[pyo3(signature = (path, *, search=Vec::new()))]
    fn check_file<'py>(py: Python<'py>, path: SystemPath, search: Vec<SystemPath>) -> PyResult<Bound<'py, PyAny>> {
        let options = searching(search);
        to_python(py, &py.detach(|| libcv::layout::check_file(path.0, &options)).or_raise(py)?)
    }

    #[staticmethod]
    fn schema(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        json(py, &libcv::layout::Layout::json_schema())
    }

    #[staticmethod]
    #[pyo3(signature = (disks=None, *, root=None, name=None, pin=false, keep_uuids=false))]
    fn capture(
        py: Python<'_>,
        disks: Option<OneOrMore>,
        root: Option<SystemPath>,
        name: Option<String>,
        pin: bool,
        keep_uuids: bool,
    ) -> PyResult<Bound<'_, PyAny>> {
        let disks = disks.map(Into::into).unwrap_or_default();
        let options = LayoutCaptureOptions { disks, root: root.map(|r| r.0), name, pin, keep_uuids };
        let captured = py.detach(|| libcv::layout::capture::capture(&options)).or_raise(py)?;
        json(py, &captured.to_json())
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// Python's own reader keeps the order of keys, which means something.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.0.to_json(),))
    }

    #[getter]
    fn hash(&self) -> String {
        self.0.hash()
    }

    #[pyo3(signature = (disks=None, *, image=None, hostname=None, seed=None, sector=None, resume=None, inventory=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn plan(
        &self,
        py: Python<'_>,
        disks: Option<BTreeMap<String, OneOrMore>>,
        image: Option<&Bound<'_, Image>>,
        hostname: Option<String>,
        seed: Option<Vec<u8>>,
        sector: Option<u32>,
        resume: Option<PathBuf>,
        inventory: Option<Document>,
    ) -> PyResult<Plan> {
        let bad = |s: Vec<u8>| Error::invalid(format!("a seed has 16 bytes, not {}", s.len()));
        let seed = seed.map(|s| s.try_into().map_err(bad)).transpose().or_raise(py)?;
        let image = image.map(|i| (&*i.get().0).into());
        let options = PlanOptions { seed, resume, hostname, image, sector, ram: None };
        let disks: Disks = disks.into_iter().flatten().map(|(set, paths)| (set, paths.into())).collect();
        let layout = self.0.clone();
        let inventory = inventory.map(Document::into_bytes);
        let plan = move |_: &Task| match inventory {
            None => layout.plan(&disks, &options),
            Some(json) => layout.plan_recorded(&Inventory::from_json(&json)?, &disks, &options),
        };
        wait::run(py, "plan", None, plan).map(Plan::new)
    }

    fn __repr__(&self) -> String {
        format!("<libcv.Layout {}>", self.0.name())
    }
}
