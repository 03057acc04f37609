//! Distributions: what images are made from.

use crate::convert::{SystemPath, to_python};
use crate::error::OrRaise;
use crate::job::Job;
use crate::store::Store;
use crate::wait;
use libcv::distro::{self, AddOptions, Added, Digest, Distro, Verified};
use libcv::job::Task;
use pyo3::prelude::*;

/// What adding does, with or without a job.
fn adding(
    store: libcv::store::Store,
    place: SystemPath,
    name: Option<String>,
    keys: Option<Vec<SystemPath>>,
    sha256: Option<String>,
    components: Option<Vec<String>>,
    threads: usize,
) -> impl FnOnce(&Task) -> libcv::Result<Added> + Send + 'static {
    let keys = keys.unwrap_or_default().into_iter().map(|k| k.0).collect();
    move |t| {
        let sha256 = sha256.as_deref().map(Digest::sha256).transpose()?;
        let options = AddOptions { name, keys, sha256, components: components.unwrap_or_default(), threads };
        distro::add(&store, &place.0, &options, t)
    }
}

fn verifying(
    store: libcv::store::Store,
    name: String,
    threads: usize,
) -> impl FnOnce(&Task) -> libcv::Result<Verified> + Send + 'static {
    move |t| Distro::open(&store, &name)?.verify(threads, t)
}

#[pyfunction]
#[pyo3(signature = (store, place, *, name=None, keys=None, sha256=None, components=None, threads=0, progress=None))]
#[allow(clippy::too_many_arguments)] // most are keywords
pub(crate) fn add_distro<'py>(
    py: Python<'py>,
    store: &Store,
    place: SystemPath,
    name: Option<String>,
    keys: Option<Vec<SystemPath>>,
    sha256: Option<String>,
    components: Option<Vec<String>>,
    threads: usize,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let work = adding(store.get(py)?, place, name, keys, sha256, components, threads);
    to_python(py, &wait::run(py, "distro add", progress, work)?)
}

#[pyfunction]
#[pyo3(signature = (store, place, *, name=None, keys=None, sha256=None, components=None, threads=0))]
#[allow(clippy::too_many_arguments)] // most are keywords
pub(crate) fn add_distro_job(
    py: Python<'_>,
    store: &Store,
    place: SystemPath,
    name: Option<String>,
    keys: Option<Vec<SystemPath>>,
    sha256: Option<String>,
    components: Option<Vec<String>>,
    threads: usize,
) -> PyResult<Job> {
    let work = adding(store.get(py)?, place, name, keys, sha256, components, threads);
    Job::start(py, "distro add", work, |py, added| to_python(py, &added).map(Bound::unbind))
}

#[pyfunction]
pub(crate) fn list_distros<'py>(py: Python<'py>, store: &Store) -> PyResult<Bound<'py, PyAny>> {
    let store = store.get(py)?;
    to_python(py, &py.detach(|| Distro::list(&store)).or_raise(py)?)
}

#[pyfunction]
pub(crate) fn distro_info<'py>(py: Python<'py>, store: &Store, name: String) -> PyResult<Bound<'py, PyAny>> {
    let store = store.get(py)?;
    to_python(py, &py.detach(move || Distro::open(&store, &name).map(|d| d.listed())).or_raise(py)?)
}

#[pyfunction]
#[pyo3(signature = (store, name, *, threads=0, progress=None))]
pub(crate) fn verify_distro<'py>(
    py: Python<'py>,
    store: &Store,
    name: String,
    threads: usize,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let work = verifying(store.get(py)?, name, threads);
    to_python(py, &wait::run(py, "distro verify", progress, work)?)
}

#[pyfunction]
#[pyo3(signature = (store, name, *, threads=0))]
pub(crate) fn verify_distro_job(py: Python<'_>, store: &Store, name: String, threads: usize) -> PyResult<Job> {
    let work = verifying(store.get(py)?, name, threads);
    Job::start(py, "distro verify", work, |py, report| to_python(py, &report).map(Bound::unbind))
}

#[pyfunction]
pub(crate) fn remove_distro(py: Python<'_>, store: &Store, name: String) -> PyResult<()> {
    let store = store.get(py)?;
    py.detach(move || Distro::remove(&store, &name)).or_raise(py)
}
