//! Why multicast does not arrive, found out by trying between hosts.

use crate::convert::to_python;
use crate::error::OrRaise;
use crate::job::Job;
use crate::options::Span;
use crate::wait;
use libcv::multicast::doctor::{ReceiveOptions, SendOptions, receive, send};
use libcv::multicast::drive::parse_group;
use pyo3::prelude::*;

fn sending(
    py: Python<'_>,
    interface: &str,
    group: Option<&str>,
    receivers: u32,
    time: Option<Span>,
) -> PyResult<SendOptions> {
    let usual = SendOptions::new(interface);
    let group = group.map_or(Ok(usual.group), parse_group).or_raise(py)?;
    let time = time.map_or(Ok(usual.time), |t| t.duration("time")).or_raise(py)?;
    Ok(SendOptions { group, receivers, time, ..usual })
}

fn receiving(py: Python<'_>, interface: &str, group: Option<&str>, time: Option<Span>) -> PyResult<ReceiveOptions> {
    let usual = ReceiveOptions::new(interface);
    let group = group.map_or(Ok(usual.group), parse_group).or_raise(py)?;
    let time = time.map_or(Ok(usual.time), |t| t.duration("time")).or_raise(py)?;
    Ok(ReceiveOptions { group, time, ..usual })
}

#[pyfunction]
#[pyo3(signature = (interface, *, group=None, receivers=0, time=None, progress=None))]
pub(crate) fn doctor_multicast_send<'py>(
    py: Python<'py>,
    interface: &str,
    group: Option<&str>,
    receivers: u32,
    time: Option<Span>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = sending(py, interface, group, receivers, time)?;
    to_python(py, &wait::run(py, "doctor multicast send", progress, move |t| send(&options, t))?)
}

#[pyfunction]
#[pyo3(signature = (interface, *, group=None, receivers=0, time=None))]
pub(crate) fn doctor_multicast_send_job(
    py: Python<'_>,
    interface: &str,
    group: Option<&str>,
    receivers: u32,
    time: Option<Span>,
) -> PyResult<Job> {
    let options = sending(py, interface, group, receivers, time)?;
    let work = move |t: &_| send(&options, t);
    Job::start(py, "doctor multicast send", work, |py, found| to_python(py, &found).map(Bound::unbind))
}

#[pyfunction]
#[pyo3(signature = (interface, *, group=None, time=None, progress=None))]
pub(crate) fn doctor_multicast_receive<'py>(
    py: Python<'py>,
    interface: &str,
    group: Option<&str>,
    time: Option<Span>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = receiving(py, interface, group, time)?;
    to_python(py, &wait::run(py, "doctor multicast recv", progress, move |t| receive(&options, t))?)
}

#[pyfunction]
#[pyo3(signature = (interface, *, group=None, time=None))]
pub(crate) fn doctor_multicast_receive_job(
    py: Python<'_>,
    interface: &str,
    group: Option<&str>,
    time: Option<Span>,
) -> PyResult<Job> {
    let options = receiving(py, interface, group, time)?;
    let work = move |t: &_| receive(&options, t);
    Job::start(py, "doctor multicast recv", work, |py, found| to_python(py, &found).map(Bound::unbind))
}
