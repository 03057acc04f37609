//! One image to many nodes at once, by multicast.

use crate::event::{cv_event_fn, task};
use crate::guard::{Options, guard, optional_path, optional_text, options, out, path, paths, text};
use crate::handle::hold;
use crate::http::{self, cv_http_options};
use crate::image::cv_image;
use crate::job::{cv_job, start};
use libcv::job::Task;
use libcv::multicast::drive::{self, Delivered, ReceiveOptions, SendOptions, parse_group, read_secret};
use libcv::store::http::HttpOptions;
use libcv::store::{Store, Trust};
use libcv::tree::extract::ExtractOptions;
use libcv::{Error, Result};
use std::ffi::{c_char, c_void};
use std::path::Path;
use std::time::Duration;

/// How an image is sent to many. Zeros are the defaults: `cv_mcast_send_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_mcast_send_options {
    /// `sizeof(cv_mcast_send_options)`.
    pub size: u32,
    /// Begin when so many nodes are there; 0 when nobody knows how many will come.
    pub receivers: u32,
    /// After so many milliseconds since the first node it begins with fewer; 0 is ten seconds.
    pub wait_ms: u64,
    /// The group that the session is announced to, `ADDR:PORT`; NULL: 239.192.67.86:7786.
    pub group: *const c_char,
    /// `auto`, or bits in a second, such as `940Mbit`; NULL is `auto`.
    pub rate: *const c_char,
    /// How datagrams are protected: `crc`, `tag` (nobody without the key can add any), `aead` (nor read them); NULL is `crc`.
    pub mode: *const c_char,
    /// File with the key of `tag` and `aead`, 32 bytes or 64 hex digits; or NULL.
    pub key_file: *const c_char,
}

impl Default for cv_mcast_send_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            receivers: 0,
            wait_ms: 0,
            group: std::ptr::null(),
            rate: std::ptr::null(),
            mode: std::ptr::null(),
            key_file: std::ptr::null(),
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_mcast_send_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "cv_mcast_send_options";
}

/// How an image is received. Zeros are the defaults: `cv_mcast_recv_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_mcast_recv_options {
    /// `sizeof(cv_mcast_recv_options)`.
    pub size: u32,
    /// Not 0: read everything back from the medium and compare.
    pub verify: u8,
    /// Not 0: do not wait until everything is on the medium; a power cut soon after may leave files without content.
    pub no_sync: u8,
    /// Not 0: the tree that is there is updated to the image, and only what it lacks is received.
    pub update: u8,
    /// Zero.
    pub reserved: u8,
    /// The group that sessions are announced to, `ADDR:PORT`; NULL: 239.192.67.86:7786.
    pub group: *const c_char,
    /// File with the key that the sender has, 32 bytes or 64 hex digits: nothing is taken that is not made with it. NULL: only what is
    /// sent without a key is taken.
    pub key_file: *const c_char,
    /// The name of the image; NULL: the first one that is announced.
    pub name: *const c_char,
    /// Files with public keys: take only what one of them signed.
    pub keys: *const *const c_char,
    /// How many.
    pub key_count: usize,
    /// With keys: a directory where the highest generation that was believed is kept in mind, so that an older one is refused later; or NULL.
    pub state: *const c_char,
}

impl Default for cv_mcast_recv_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            verify: 0,
            no_sync: 0,
            update: 0,
            reserved: 0,
            group: std::ptr::null(),
            key_file: std::ptr::null(),
            name: std::ptr::null(),
            keys: std::ptr::null(),
            key_count: 0,
            state: std::ptr::null(),
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_mcast_recv_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "cv_mcast_recv_options";
}

/// Core's options of a sender for C's.
fn sending(interface: *const c_char, p: *const cv_mcast_send_options) -> Result<SendOptions> {
    let (usual, o) = (SendOptions::new(text(interface, "interface")?), options(p)?);
    Ok(SendOptions {
        group: optional_text(o.group, "options.group")?.map_or(Ok(usual.group), parse_group)?,
        receivers: o.receivers,
        wait: if o.wait_ms == 0 { usual.wait } else { Duration::from_millis(o.wait_ms) },
        rate: optional_text(o.rate, "options.rate")?.map_or(Ok(usual.rate), str::parse)?,
        mode: optional_text(o.mode, "options.mode")?.map_or(Ok(usual.mode), str::parse)?,
        secret: optional_path(o.key_file, "options.key_file")?.map(read_secret).transpose()?,
        ..usual
    })
}

/// What a receiver was asked for. The mirrors are not opened yet: that takes the network.
pub(crate) struct Receiving {
    options: ReceiveOptions,
    mirrors: Option<HttpOptions>,
}

impl Receiving {
    fn read(
        interface: *const c_char,
        p: *const cv_mcast_recv_options,
        mirrors: *const cv_http_options,
    ) -> Result<Self> {
        let (usual, o) = (ReceiveOptions::new(text(interface, "interface")?), options(p)?);
        let keys = paths(o.keys, o.key_count, "options.keys")?;
        let state = optional_path(o.state, "options.state")?.map(Path::to_owned);
        let options = ReceiveOptions {
            group: optional_text(o.group, "options.group")?.map_or(Ok(usual.group), parse_group)?,
            secret: optional_path(o.key_file, "options.key_file")?.map(read_secret).transpose()?,
            name: optional_text(o.name, "options.name")?.map(str::to_owned),
            trust: Trust::read(&keys, state)?,
            update: o.update != 0,
            extract: ExtractOptions { verify: o.verify != 0, no_sync: o.no_sync != 0, ..ExtractOptions::default() },
            ..usual
        };
        Ok(Self { options, mirrors: http::read_mirrors(mirrors)? })
    }

    /// That of a node whose disks are made first: how it is written is said elsewhere.
    pub(crate) fn read_for_disks(
        interface: *const c_char,
        p: *const cv_mcast_recv_options,
        mirrors: *const cv_http_options,
    ) -> Result<Self> {
        let o = options(p)?;
        if o.verify != 0 || o.no_sync != 0 {
            return Err(Error::invalid("verify and no_sync are for cv_mcast_recv"));
        }
        Self::read(interface, p, mirrors)
    }

    /// Core's options, with the mirrors.
    pub(crate) fn open(mut self) -> Result<ReceiveOptions> {
        self.options.mirror = self.mirrors.as_ref().map(Store::open_http).transpose()?;
        Ok(self.options)
    }

    fn run(self, target: &Path, task: &Task) -> Result<Delivered> {
        drive::receive(target, self.open()?, task)
    }
}

/// Sends an image over the network interface `interface` to all nodes that ask for it, until nobody wants anything any more. The result
/// is a JSON object `{image, stage, rate, limited_by, stripes, bytes, seconds, sent, receivers}`, `receivers` being an array of `{name, standing, loss, …}`: who has all of
/// it is `done`, who was told to go to mirrors `detached`. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_mcast_send(
    image: *const cv_image,
    interface: *const c_char,
    options: *const cv_mcast_send_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    report_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (options, report) = (sending(interface, options)?, out(report_json, "report_json")?);
        let image = hold(image)?;
        report.json(&task(on_event, user).run("mcast send", |t| drive::send(&image, &options, t))?)
    })
}

/// Starts what `cv_mcast_send` does; the result is the same object, and `cv_job_report` gives it as it is so far.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_mcast_send_start(
    image: *const cv_image,
    interface: *const c_char,
    options: *const cv_mcast_send_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (options, job) = (sending(interface, options)?, out(job, "job")?);
        let image = hold(image)?.clone();
        job.set(start("mcast send", move |t| drive::send(&image, &options, t))?);
        Ok(())
    })
}

/// Waits for an image that is sent to many, and writes it into `target` while it comes: an empty directory, one that does not exist,
/// one in which this was interrupted, or with `update` a tree that becomes this image.
/// What multicast does not bring is read from the servers that `mirrors` names in its `mirrors`, and the rest of it says how they are
/// reached. The result is a JSON object `{image, name, generation, received, instead, extracted, updated}`: `extracted` is that
/// of `cv_image_extract`, `updated` that of `cv_image_update` or null, and `instead` says why the rest came from mirrors, if it did. `options`, `mirrors` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_mcast_recv(
    target: *const c_char,
    interface: *const c_char,
    options: *const cv_mcast_recv_options,
    mirrors: *const cv_http_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    delivered_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (target, receiving) = (path(target, "target")?, Receiving::read(interface, options, mirrors)?);
        let delivered = out(delivered_json, "delivered_json")?;
        delivered.json(&task(on_event, user).run("mcast recv", |t| receiving.run(target, t))?)
    })
}

/// Starts what `cv_mcast_recv` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_mcast_recv_start(
    target: *const c_char,
    interface: *const c_char,
    options: *const cv_mcast_recv_options,
    mirrors: *const cv_http_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (target, receiving) = (path(target, "target")?.to_owned(), Receiving::read(interface, options, mirrors)?);
        let job = out(job, "job")?;
        job.set(start("mcast recv", move |t| receiving.run(&target, t))?);
        Ok(())
    })
}
