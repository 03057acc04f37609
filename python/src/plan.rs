//! Plans: what a layout means for these disks, and making it so.

use crate::config::actions;
use crate::convert::json;
use crate::error::OrRaise;
use crate::image::Image;
use crate::job::Job;
use crate::multicast::MulticastSource;
use crate::wait;
use libcv::Error;
use libcv::deploy::{self, DeployOptions};
use libcv::job::Task;
use libcv::layout::{ApplyOptions, Backend, Confirm, Journal, Secrets};
use libcv::multicast::drive;
use pyo3::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A plan.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct Plan(Arc<libcv::layout::Plan>);

type Work = Box<dyn FnOnce(&Task) -> libcv::Result<Value> + Send>;

/// What is put on the disks.
#[derive(FromPyObject)]
enum Source<'py> {
    #[pyo3(transparent)]
    Image(Bound<'py, Image>),
    #[pyo3(transparent)]
    Sent(Bound<'py, MulticastSource>),
}

impl Plan {
    pub(crate) fn new(plan: libcv::layout::Plan) -> Self {
        Self(Arc::new(plan))
    }

    /// What applying the plan means, for a job.
    fn work(
        &self,
        py: Python<'_>,
        source: Option<Source<'_>>,
        token: String,
        options: DeployOptions,
    ) -> PyResult<Work> {
        let (plan, confirm) = (self.0.clone(), Confirm::Token(token));
        let image = match source {
            None => None,
            Some(Source::Image(image)) => Some(image.get().0.clone()),
            Some(Source::Sent(from)) => {
                let from = from.get();
                let from = py.detach(|| from.read()).or_raise(py)?;
                return Ok(Box::new(move |t| Ok(drive::deploy(&plan, from.open()?, &options, &confirm, t)?.to_json())));
            }
        };
        Ok(Box::new(move |t| Ok(deploy::apply(&plan, image.as_deref(), &options, &confirm, t)?.to_json())))
    }
}

/// Secrets by name, the name of a backend, the journal, and the TPM.
fn how(
    secrets: Option<BTreeMap<String, Vec<u8>>>,
    backend: &str,
    journal: Option<PathBuf>,
    resume: bool,
    tpm: Option<String>,
) -> libcv::Result<ApplyOptions> {
    let mut all = Secrets::new();
    secrets.unwrap_or_default().into_iter().try_for_each(|(name, secret)| all.add(&name, secret))?;
    let backend = match backend {
        "kernel" => Backend::Kernel,
        "offline" => Backend::Offline,
        other => return Err(Error::invalid(format!("\"{other}\" is no backend")).hint("\"kernel\" or \"offline\"")),
    };
    Ok(ApplyOptions { secrets: all, backend, journal, resume, tpm })
}

#[pymethods]
impl Plan {
    #[staticmethod]
    fn read_journal<'py>(py: Python<'py>, journal: PathBuf) -> PyResult<Bound<'py, PyAny>> {
        json(py, &wait::run(py, "journal", None, move |_| Ok(Journal::read(&journal)?.to_json()))?)
    }

    #[getter]
    fn token(&self) -> &str {
        self.0.token()
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        json(py, &self.0.to_json())
    }

    fn to_svg(&self) -> String {
        self.0.to_svg()
    }

    /// What a notebook shows: HTML first, so that what stands under the pointer is seen; a picture where HTML is not.
    fn _repr_html_(&self) -> String {
        format!("<div style=\"overflow-x: auto\">{}</div>", self.0.to_svg())
    }

    fn _repr_svg_(&self) -> String {
        self.0.to_svg()
    }

    #[pyo3(signature = (image=None, *, confirm, hostname=None, configure=None, verify=false, secrets=None, backend="kernel", journal=None, resume=false, tpm2_device=None, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn apply<'py>(
        &self,
        py: Python<'py>,
        image: Option<Source<'py>>,
        confirm: String,
        hostname: Option<String>,
        configure: Option<&Bound<'py, PyAny>>,
        verify: bool,
        secrets: Option<BTreeMap<String, Vec<u8>>>,
        backend: &str,
        journal: Option<PathBuf>,
        resume: bool,
        tpm2_device: Option<String>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = DeployOptions {
            hostname,
            actions: actions(configure)?,
            verify,
            apply: how(secrets, backend, journal, resume, tpm2_device).or_raise(py)?,
        };
        json(py, &wait::run(py, "apply", progress, self.work(py, image, confirm, options)?)?)
    }

    #[pyo3(signature = (image=None, *, confirm, hostname=None, configure=None, verify=false, secrets=None, backend="kernel", journal=None, resume=false, tpm2_device=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn apply_job<'py>(
        &self,
        py: Python<'py>,
        image: Option<Source<'py>>,
        confirm: String,
        hostname: Option<String>,
        configure: Option<&Bound<'py, PyAny>>,
        verify: bool,
        secrets: Option<BTreeMap<String, Vec<u8>>>,
        backend: &str,
        journal: Option<PathBuf>,
        resume: bool,
        tpm2_device: Option<String>,
    ) -> PyResult<Job> {
        let options = DeployOptions {
            hostname,
            actions: actions(configure)?,
            verify,
            apply: how(secrets, backend, journal, resume, tpm2_device).or_raise(py)?,
        };
        let work = self.work(py, image, confirm, options)?;
        Job::start(py, "apply", work, |py, done| json(py, &done).map(Bound::unbind))
    }

    fn __str__(&self) -> String {
        self.0.to_text()
    }

    fn __repr__(&self) -> String {
        format!("<libcv.Plan {} {}>", self.0.layout_name(), self.0.token())
    }
}
