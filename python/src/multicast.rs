//! One image to many nodes at once, by multicast.

use crate::convert::{SystemPath, to_python};
use crate::error::OrRaise;
use crate::image::Image;
use crate::job::Job;
use crate::options::{Span, http_mirrors};
use crate::wait;
use libcv::job::Task;
use libcv::multicast::drive::{
    Delivered, ReceiveOptions, SendOptions, SendReport, parse_group, read_secret, receive, send,
};
use libcv::multicast::send::Rate;
use libcv::store::{Store, Trust};
use libcv::tree::extract::ExtractOptions;
use pyo3::prelude::*;
use std::path::PathBuf;

type Work<T> = Box<dyn FnOnce(&Task) -> libcv::Result<T> + Send>;

/// How fast: text with a unit, or bits in a second.
#[derive(FromPyObject)]
enum Speed {
    Text(String),
    Bits(f64),
}

impl Speed {
    fn rate(&self) -> libcv::Result<Rate> {
        match self {
            Self::Text(text) => text.parse(),
            Self::Bits(bits) => Rate::fixed(*bits),
        }
    }
}

#[allow(clippy::too_many_arguments)] // they are keywords
fn sending(
    py: Python<'_>,
    image: &Image,
    interface: &str,
    group: Option<&str>,
    receivers: u32,
    wait: Option<Span>,
    rate: Option<Speed>,
    mode: &str,
    key_file: Option<SystemPath>,
) -> PyResult<Work<SendReport>> {
    let options = || {
        let usual = SendOptions::new(interface);
        Ok(SendOptions {
            group: group.map_or(Ok(usual.group), parse_group)?,
            receivers,
            wait: wait.map_or(Ok(usual.wait), |w| w.duration("wait"))?,
            rate: rate.map_or(Ok(usual.rate), |r| r.rate())?,
            mode: mode.parse()?,
            secret: key_file.map(|f| read_secret(&f.0)).transpose()?,
            ..usual
        })
    };
    let (image, options) = (image.0.clone(), py.detach(options).or_raise(py)?);
    Ok(Box::new(move |t| send(&image, &options, t)))
}

#[allow(clippy::too_many_arguments)] // they are keywords
fn receiving(
    py: Python<'_>,
    target: SystemPath,
    interface: &str,
    group: Option<&str>,
    name: Option<String>,
    key_file: Option<SystemPath>,
    keys: Option<Vec<SystemPath>>,
    mirrors: Option<Vec<String>>,
    ca: Option<SystemPath>,
    identity: Option<(SystemPath, SystemPath)>,
    proxy: Option<String>,
    state: Option<SystemPath>,
    update: bool,
    verify: bool,
    no_sync: bool,
) -> PyResult<Work<Delivered>> {
    let keys: Vec<PathBuf> = keys.unwrap_or_default().into_iter().map(|k| k.0).collect();
    let options = || {
        let usual = ReceiveOptions::new(interface);
        let options = ReceiveOptions {
            group: group.map_or(Ok(usual.group), parse_group)?,
            secret: key_file.map(|f| read_secret(&f.0)).transpose()?,
            name,
            trust: Trust::read(&keys, state.map(|s| s.0))?,
            update,
            extract: ExtractOptions { verify, no_sync, ..ExtractOptions::default() },
            ..usual
        };
        Ok((options, http_mirrors(mirrors, ca, identity, proxy)?))
    };
    let (mut options, mirrors) = py.detach(options).or_raise(py)?;
    Ok(Box::new(move |t| {
        options.mirror = mirrors.as_ref().map(Store::open_http).transpose()?;
        receive(&target.0, options, t)
    }))
}

#[pymethods]
impl Image {
    #[pyo3(signature = (interface, *, group=None, receivers=0, wait=None, rate=None, mode="crc", key_file=None, progress=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn multicast<'py>(
        &self,
        py: Python<'py>,
        interface: &str,
        group: Option<&str>,
        receivers: u32,
        wait: Option<Span>,
        rate: Option<Speed>,
        mode: &str,
        key_file: Option<SystemPath>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let work = sending(py, self, interface, group, receivers, wait, rate, mode, key_file)?;
        to_python(py, &wait::run(py, "mcast send", progress, work)?)
    }

    #[pyo3(signature = (interface, *, group=None, receivers=0, wait=None, rate=None, mode="crc", key_file=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn multicast_job(
        &self,
        py: Python<'_>,
        interface: &str,
        group: Option<&str>,
        receivers: u32,
        wait: Option<Span>,
        rate: Option<Speed>,
        mode: &str,
        key_file: Option<SystemPath>,
    ) -> PyResult<Job> {
        let work = sending(py, self, interface, group, receivers, wait, rate, mode, key_file)?;
        Job::start(py, "mcast send", work, |py, report| to_python(py, &report).map(Bound::unbind))
    }
}

#[pyfunction]
#[pyo3(signature = (target, interface, *, group=None, name=None, key_file=None, keys=None, mirrors=None, ca=None, identity=None,
                    proxy=None, state=None, update=false, verify=false, no_sync=false, progress=None))]
#[allow(clippy::too_many_arguments)] // they are keywords
pub(crate) fn multicast_receive<'py>(
    py: Python<'py>,
    target: SystemPath,
    interface: &str,
    group: Option<&str>,
    name: Option<String>,
    key_file: Option<SystemPath>,
    keys: Option<Vec<SystemPath>>,
    mirrors: Option<Vec<String>>,
    ca: Option<SystemPath>,
    identity: Option<(SystemPath, SystemPath)>,
    proxy: Option<String>,
    state: Option<SystemPath>,
    update: bool,
    verify: bool,
    no_sync: bool,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let work = receiving(
        py, target, interface, group, name, key_file, keys, mirrors, ca, identity, proxy, state, update, verify,
        no_sync,
    )?;
    to_python(py, &wait::run(py, "mcast recv", progress, work)?)
}

#[pyfunction]
#[pyo3(signature = (target, interface, *, group=None, name=None, key_file=None, keys=None, mirrors=None, ca=None, identity=None,
                    proxy=None, state=None, update=false, verify=false, no_sync=false))]
#[allow(clippy::too_many_arguments)] // they are keywords
pub(crate) fn multicast_receive_job(
    py: Python<'_>,
    target: SystemPath,
    interface: &str,
    group: Option<&str>,
    name: Option<String>,
    key_file: Option<SystemPath>,
    keys: Option<Vec<SystemPath>>,
    mirrors: Option<Vec<String>>,
    ca: Option<SystemPath>,
    identity: Option<(SystemPath, SystemPath)>,
    proxy: Option<String>,
    state: Option<SystemPath>,
    update: bool,
    verify: bool,
    no_sync: bool,
) -> PyResult<Job> {
    let work = receiving(
        py, target, interface, group, name, key_file, keys, mirrors, ca, identity, proxy, state, update, verify,
        no_sync,
    )?;
    Job::start(py, "mcast recv", work, |py, delivered| to_python(py, &delivered).map(Bound::unbind))
}
