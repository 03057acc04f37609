//! Builds: a distribution and a role become an image.

use crate::convert::{SystemPath, to_python};
use crate::error::OrRaise;
use crate::job::Job;
use crate::options::{Span, secrets};
use crate::role::Role;
use crate::store::Store;
use crate::wait;
use libcv::Error;
use libcv::build::{self, Base, Change, Made, MakeOptions, Program};
use libcv::job::Task;
use pyo3::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// How an image is made.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct BuildOptions(MakeOptions);

#[pymethods]
impl BuildOptions {
    #[new]
    #[pyo3(signature = (*, tag=None, dry_run=false, check_reproducible=false, work=None, time_limit=None, silence=None,
                        environment=None, level=3, threads=0, expect_parent=None, forbid_secrets=false,
                        allow_secrets=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn new(
        py: Python<'_>,
        tag: Option<String>,
        dry_run: bool,
        check_reproducible: bool,
        work: Option<SystemPath>,
        time_limit: Option<Span>,
        silence: Option<Span>,
        environment: Option<BTreeMap<String, String>>,
        level: i32,
        threads: usize,
        expect_parent: Option<u64>,
        forbid_secrets: bool,
        allow_secrets: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let usual = MakeOptions::default();
        let time = |name: &str, span: Option<Span>, usual| span.map_or(Ok(usual), |s| s.duration(name)).or_raise(py);
        Ok(Self(MakeOptions {
            tag,
            dry_run,
            check_reproducible,
            work: work.map(|w| w.0),
            time_limit: time("time_limit", time_limit, usual.time_limit)?,
            silence: time("silence", silence, usual.silence)?,
            environment: environment.unwrap_or_default().into_iter().collect(),
            level,
            threads,
            secrets: secrets(forbid_secrets, allow_secrets),
            expect_parent,
        }))
    }
}

/// Options as they were given, or the usual ones.
fn given(options: Option<Py<BuildOptions>>) -> MakeOptions {
    options.map_or_else(MakeOptions::default, |o| o.get().0.clone())
}

type Work = Box<dyn FnOnce(&Task) -> libcv::Result<Made> + Send>;

/// Waits for what is made, and gives it as a dict.
fn now<'py>(
    py: Python<'py>,
    what: &str,
    progress: Option<&Bound<'py, PyAny>>,
    work: Work,
) -> PyResult<Bound<'py, PyAny>> {
    to_python(py, &wait::run(py, what, progress, work)?)
}

fn later(py: Python<'_>, what: &str, work: Work) -> PyResult<Job> {
    Job::start(py, what, work, |py, made| to_python(py, &made).map(Bound::unbind))
}

fn building(
    py: Python<'_>,
    store: &Store,
    name: String,
    role: &Role,
    distro: Option<String>,
    image: Option<String>,
    options: Option<Py<BuildOptions>>,
) -> PyResult<Work> {
    let base = match (image, distro) {
        (Some(reference), distro) => Base::Image { reference, distro },
        (None, Some(distro)) => Base::Distro(distro),
        (None, None) => return Err(Error::invalid("an image is made of a distro or of an image")).or_raise(py),
    };
    let (store, role, options) = (store.get(py)?, role.0.clone(), given(options));
    Ok(Box::new(move |t| build::build(&store, &name, &base, &role, &options, t)))
}

fn updating(
    py: Python<'_>,
    store: &Store,
    name: String,
    distro: Option<String>,
    packages: Option<Vec<String>>,
    role: Option<Py<Role>>,
    options: Option<Py<BuildOptions>>,
) -> PyResult<Work> {
    let change = Change { distro, packages: packages.unwrap_or_default(), role: role.map(|r| r.get().0.clone()) };
    let (store, options) = (store.get(py)?, given(options));
    Ok(Box::new(move |t| build::update(&store, &name, &change, &options, t)))
}

fn editing(
    py: Python<'_>,
    store: &Store,
    image: String,
    command: Vec<OsString>,
    name: Option<String>,
    net: bool,
    options: Option<Py<BuildOptions>>,
) -> PyResult<Work> {
    let (store, options) = (store.get(py)?, given(options));
    let program = Program { command, net, terminal: None };
    Ok(Box::new(move |t| build::edit(&store, &image, name.as_deref(), &program, &options, t)))
}

#[pyfunction]
#[pyo3(signature = (store, name, role, *, distro=None, image=None, options=None, progress=None))]
#[allow(clippy::too_many_arguments)] // most are keywords
pub(crate) fn build_image<'py>(
    py: Python<'py>,
    store: &Store,
    name: String,
    role: &Role,
    distro: Option<String>,
    image: Option<String>,
    options: Option<Py<BuildOptions>>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    now(py, "image build", progress, building(py, store, name, role, distro, image, options)?)
}

#[pyfunction]
#[pyo3(signature = (store, name, role, *, distro=None, image=None, options=None))]
pub(crate) fn build_image_job(
    py: Python<'_>,
    store: &Store,
    name: String,
    role: &Role,
    distro: Option<String>,
    image: Option<String>,
    options: Option<Py<BuildOptions>>,
) -> PyResult<Job> {
    later(py, "image build", building(py, store, name, role, distro, image, options)?)
}

#[pyfunction]
#[pyo3(signature = (store, name, *, distro=None, packages=None, role=None, options=None, progress=None))]
#[allow(clippy::too_many_arguments)] // most are keywords
pub(crate) fn update_image<'py>(
    py: Python<'py>,
    store: &Store,
    name: String,
    distro: Option<String>,
    packages: Option<Vec<String>>,
    role: Option<Py<Role>>,
    options: Option<Py<BuildOptions>>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    now(py, "image update", progress, updating(py, store, name, distro, packages, role, options)?)
}

#[pyfunction]
#[pyo3(signature = (store, name, *, distro=None, packages=None, role=None, options=None))]
pub(crate) fn update_image_job(
    py: Python<'_>,
    store: &Store,
    name: String,
    distro: Option<String>,
    packages: Option<Vec<String>>,
    role: Option<Py<Role>>,
    options: Option<Py<BuildOptions>>,
) -> PyResult<Job> {
    later(py, "image update", updating(py, store, name, distro, packages, role, options)?)
}

#[pyfunction]
#[pyo3(signature = (store, image, command, *, name=None, net=false, options=None, progress=None))]
#[allow(clippy::too_many_arguments)] // most are keywords
pub(crate) fn edit_image<'py>(
    py: Python<'py>,
    store: &Store,
    image: String,
    command: Vec<OsString>,
    name: Option<String>,
    net: bool,
    options: Option<Py<BuildOptions>>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    now(py, "image edit", progress, editing(py, store, image, command, name, net, options)?)
}

#[pyfunction]
#[pyo3(signature = (store, image, command, *, name=None, net=false, options=None))]
pub(crate) fn edit_image_job(
    py: Python<'_>,
    store: &Store,
    image: String,
    command: Vec<OsString>,
    name: Option<String>,
    net: bool,
    options: Option<Py<BuildOptions>>,
) -> PyResult<Job> {
    later(py, "image edit", editing(py, store, image, command, name, net, options)?)
}
