//! Why multicast does not arrive, found out by trying between hosts.

use crate::event::{cv_event_fn, task};
use crate::guard::{Options, guard, optional_text, options, out, text};
use crate::job::{cv_job, start};
use libcv::multicast::doctor::{ReceiveOptions, SendOptions, receive, send};
use libcv::multicast::drive::parse_group;
use libcv::{Error, Result};
use std::ffi::{c_char, c_void};
use std::net::SocketAddr;
use std::time::Duration;

/// What both ends have to say. Zeros are the defaults: `cv_doctor_mcast_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_doctor_mcast_options {
    /// `sizeof(cv_doctor_mcast_options)`.
    pub size: u32,
    /// To send: begin when so many are there, fewer are a finding; 0 when nobody knows how many will come, and to receive.
    pub receivers: u32,
    /// How many milliseconds the other end is waited for, an hour at most; 0 is ten seconds. Who receives listens at least so long for an IGMP
    /// querier, which takes 130 seconds to be sure.
    pub time_ms: u64,
    /// The group that sessions are announced to, `ADDR:PORT`; NULL: 239.192.67.86:7786.
    pub group: *const c_char,
}

impl Default for cv_doctor_mcast_options {
    fn default() -> Self {
        Self { size: size_of::<Self>() as u32, receivers: 0, time_ms: 0, group: std::ptr::null() }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_doctor_mcast_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "cv_doctor_mcast_options";
}

/// Group and time; what is not said is as usual.
fn network(o: &cv_doctor_mcast_options, group: SocketAddr, time: Duration) -> Result<(SocketAddr, Duration)> {
    let group = optional_text(o.group, "options.group")?.map_or(Ok(group), parse_group)?;
    Ok((group, if o.time_ms == 0 { time } else { Duration::from_millis(o.time_ms) }))
}

/// Core's options for C's.
fn sending(interface: *const c_char, p: *const cv_doctor_mcast_options) -> Result<SendOptions> {
    let (usual, o) = (SendOptions::new(text(interface, "interface")?), options(p)?);
    let (group, time) = network(&o, usual.group, usual.time)?;
    Ok(SendOptions { group, receivers: o.receivers, time, ..usual })
}

/// Core's options for C's.
fn receiving(interface: *const c_char, p: *const cv_doctor_mcast_options) -> Result<ReceiveOptions> {
    let (usual, o) = (ReceiveOptions::new(text(interface, "interface")?), options(p)?);
    if o.receivers != 0 {
        return Err(Error::invalid("options.receivers is for who sends"));
    }
    let (group, time) = network(&o, usual.group, usual.time)?;
    Ok(ReceiveOptions { group, time, ..usual })
}

/// Sends over the network interface `interface` to the hosts where `cv_doctor_mcast_recv` runs, by each way, at each length and rate, up to
/// 1 Gbit/s for a third of a second, and says what arrived. The result is a JSON object `{interface, group, findings, receivers}`: `findings` is an
/// array of `{check, verdict, message}` with a verdict of ok, warning or bad; `receivers` has `{name, address, findings, counts}` of each, and
/// `counts` is what came there, `{way, rate, sent, received, …}`, the rate in kbit/s. What is wrong with the network is no error: images can be
/// sent as it is when no verdict is bad. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_doctor_mcast_send(
    interface: *const c_char,
    options: *const cv_doctor_mcast_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    found_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (options, found) = (sending(interface, options)?, out(found_json, "found_json")?);
        found.json(&task(on_event, user).run("doctor multicast send", |t| send(&options, t))?)
    })
}

/// Starts what `cv_doctor_mcast_send` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_doctor_mcast_send_start(
    interface: *const c_char,
    options: *const cv_doctor_mcast_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (options, job) = (sending(interface, options)?, out(job, "job")?);
        job.set(start("doctor multicast send", move |t| send(&options, t))?);
        Ok(())
    })
}

/// Listens to what `cv_doctor_mcast_send` sends on another host, tells it what arrives, and says what is wrong here. The result is a JSON object
/// `{interface, group, sender, findings, counts}`: `sender` is its address, or null when nothing of it came; `findings` and `counts` are as
/// there. What is wrong with the network is no error. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_doctor_mcast_recv(
    interface: *const c_char,
    options: *const cv_doctor_mcast_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    found_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (options, found) = (receiving(interface, options)?, out(found_json, "found_json")?);
        found.json(&task(on_event, user).run("doctor multicast recv", |t| receive(&options, t))?)
    })
}

/// Starts what `cv_doctor_mcast_recv` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_doctor_mcast_recv_start(
    interface: *const c_char,
    options: *const cv_doctor_mcast_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (options, job) = (receiving(interface, options)?, out(job, "job")?);
        job.set(start("doctor multicast recv", move |t| receive(&options, t))?);
        Ok(())
    })
}
