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
use libcv::store::http::HttpOptions;
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

/// Where a node gets an image that is sent to many.
#[pyclass(frozen, module = "libcv._native")]
pub(crate) struct MulticastSource {
    interface: String,
    group: Option<String>,
    name: Option<String>,
    key_file: Option<PathBuf>,
    keys: Vec<PathBuf>,
    mirrors: Option<HttpOptions>,
    state: Option<PathBuf>,
}

#[pymethods]
impl MulticastSource {
    #[new]
    #[pyo3(signature = (interface, *, group=None, name=None, key_file=None, keys=None, mirrors=None, ca=None, identity=None, proxy=None,
                        state=None))]
    #[allow(clippy::too_many_arguments)] // they are keywords
    fn new(
        py: Python<'_>,
        interface: String,
        group: Option<String>,
        name: Option<String>,
        key_file: Option<SystemPath>,
        keys: Option<Vec<SystemPath>>,
        mirrors: Option<Vec<String>>,
        ca: Option<SystemPath>,
        identity: Option<(SystemPath, SystemPath)>,
        proxy: Option<String>,
        state: Option<SystemPath>,
    ) -> PyResult<Self> {
        Ok(Self {
            interface,
            group,
            name,
            key_file: key_file.map(|f| f.0),
            keys: keys.unwrap_or_default().into_iter().map(|k| k.0).collect(),
            mirrors: http_mirrors(mirrors, ca, identity, proxy).or_raise(py)?,
            state: state.map(|s| s.0),
        })
    }

    fn __repr__(&self) -> String {
        format!("<libcv.MulticastSource {}>", self.interface)
    }
}

impl MulticastSource {
    /// With what is in the files. The mirrors are not opened yet: that takes the network.
    pub(crate) fn read(&self) -> libcv::Result<Receiving> {
        let usual = ReceiveOptions::new(&self.interface);
        let options = ReceiveOptions {
            group: self.group.as_deref().map_or(Ok(usual.group), parse_group)?,
            secret: self.key_file.as_deref().map(read_secret).transpose()?,
            name: self.name.clone(),
            trust: Trust::read(&self.keys, self.state.clone())?,
            ..usual
        };
        Ok(Receiving { options, mirrors: self.mirrors.clone() })
    }
}

/// What a receiver was asked for.
pub(crate) struct Receiving {
    options: ReceiveOptions,
    mirrors: Option<HttpOptions>,
}

impl Receiving {
    /// Core's options, with the mirrors.
    pub(crate) fn open(mut self) -> libcv::Result<ReceiveOptions> {
        self.options.mirror = self.mirrors.as_ref().map(Store::open_http).transpose()?;
        Ok(self.options)
    }
}

fn receiving(
    py: Python<'_>,
    target: SystemPath,
    source: &MulticastSource,
    update: bool,
    extract: ExtractOptions,
) -> PyResult<Work<Delivered>> {
    let source = py.detach(|| source.read()).or_raise(py)?;
    Ok(Box::new(move |t| receive(&target.0, ReceiveOptions { update, extract, ..source.open()? }, t)))
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
    interface: String,
    group: Option<String>,
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
    let source = MulticastSource::new(py, interface, group, name, key_file, keys, mirrors, ca, identity, proxy, state)?;
    let extract = ExtractOptions { verify, no_sync, ..ExtractOptions::default() };
    let work = receiving(py, target, &source, update, extract)?;
    to_python(py, &wait::run(py, "mcast recv", progress, work)?)
}

#[pyfunction]
#[pyo3(signature = (target, interface, *, group=None, name=None, key_file=None, keys=None, mirrors=None, ca=None, identity=None,
                    proxy=None, state=None, update=false, verify=false, no_sync=false))]
#[allow(clippy::too_many_arguments)] // they are keywords
pub(crate) fn multicast_receive_job(
    py: Python<'_>,
    target: SystemPath,
    interface: String,
    group: Option<String>,
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
    let source = MulticastSource::new(py, interface, group, name, key_file, keys, mirrors, ca, identity, proxy, state)?;
    let extract = ExtractOptions { verify, no_sync, ..ExtractOptions::default() };
    let work = receiving(py, target, &source, update, extract)?;
    Job::start(py, "mcast recv", work, |py, delivered| to_python(py, &delivered).map(Bound::unbind))
}
