//! Being a node that a server can ask.

use crate::convert::SystemPath;
use crate::error::OrRaise;
use crate::job::Job;
use crate::options::http_options;
use libcv::job::Task;
use libcv::node::{ConnectOptions, connect};
use libcv::web::Url;
use pyo3::prelude::*;

#[pyfunction]
#[pyo3(signature = (url, secret, policy, *, state=None, mirrors=None, ca=None, identity=None, proxy=None))]
#[allow(clippy::too_many_arguments)] // most are keywords
pub(crate) fn connect_job(
    py: Python<'_>,
    url: &str,
    secret: &str,
    policy: SystemPath,
    state: Option<SystemPath>,
    mirrors: Option<Vec<String>>,
    ca: Option<SystemPath>,
    identity: Option<(SystemPath, SystemPath)>,
    proxy: Option<String>,
) -> PyResult<Job> {
    let server = Url::parse(url).and_then(|url| http_options(url, mirrors, ca, identity, proxy)).or_raise(py)?;
    let options = ConnectOptions { state: state.map(|s| s.0), ..ConnectOptions::new(server, secret, policy.0) };
    Job::start(py, "connect", move |t: &Task| connect(&options, t), |py, ()| Ok(py.None()))
}
