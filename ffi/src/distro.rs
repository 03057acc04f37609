//! Distributions: what images are made from.

use crate::event::{cv_event_fn, task};
use crate::guard::{Options, guard, optional_text, options, out, path, paths, text, texts};
use crate::handle::hold;
use crate::job::{cv_job, start};
use crate::store::cv_store;
use libcv::Result;
use libcv::distro::{self, AddOptions, Digest, Distro};
use std::ffi::{c_char, c_void};

/// How a distribution is added. Zeros are the defaults: `cv_distro_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_distro_options {
    /// `sizeof(cv_distro_options)`.
    pub size: u32,
    /// Threads; 0 is one for each core.
    pub threads: u32,
    /// Its name in the store; NULL: what it calls itself, such as `rocky-9.4`.
    pub name: *const c_char,
    /// Files with keys that its packages have to be signed with, in place of those that lie in it.
    pub keys: *const *const c_char,
    /// How many files.
    pub key_count: usize,
    /// Of a mirror: the components that are taken; NULL is `main`.
    pub components: *const *const c_char,
    /// How many components.
    pub component_count: usize,
    /// The SHA-256 that a medium has to have, 64 hex digits; NULL: its own checksum is looked at, if it carries one.
    pub sha256: *const c_char,
}

impl Default for cv_distro_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            threads: 0,
            name: std::ptr::null(),
            keys: std::ptr::null(),
            key_count: 0,
            components: std::ptr::null(),
            component_count: 0,
            sha256: std::ptr::null(),
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_distro_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "cv_distro_options";
}

/// Core's options for C's.
fn read(p: *const cv_distro_options) -> Result<AddOptions> {
    let o = options(p)?;
    Ok(AddOptions {
        name: optional_text(o.name, "options.name")?.map(str::to_owned),
        keys: paths(o.keys, o.key_count, "options.keys")?,
        threads: o.threads as usize,
        sha256: optional_text(o.sha256, "options.sha256")?.map(Digest::sha256).transpose()?,
        components: texts(o.components, o.component_count, "options.components")?,
    })
}

/// Adds the distribution in `place`: an ISO image, a directory that holds its repositories, or the suite of a mirror of Debian or
/// Ubuntu, such as `http://mirror.example/debian/dists/bookworm`. The result is a JSON object
/// `{name, image, tree, changed, files, read_bytes, stored_bytes, distribution, notes}`; the same once more changes nothing.
/// `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_distro_add(
    store: *const cv_store,
    place: *const c_char,
    options: *const cv_distro_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    added_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (place, options, added) = (path(place, "place")?, read(options)?, out(added_json, "added_json")?);
        let store = hold(store)?;
        added.json(&task(on_event, user).run("distro add", |t| distro::add(&store, place, &options, t))?)
    })
}

/// Starts what `cv_distro_add` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_distro_add_start(
    store: *const cv_store,
    place: *const c_char,
    options: *const cv_distro_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (place, options, job) = (path(place, "place")?.to_owned(), read(options)?, out(job, "job")?);
        let store = hold(store)?.clone();
        job.set(start("distro add", move |t| distro::add(&store, &place, &options, t))?);
        Ok(())
    })
}

/// The distributions of a store: a JSON array of `{name, added, image, size, distribution}`, sorted by name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_distro_list(store: *const cv_store, distros_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let distros = out(distros_json, "distros_json")?;
        distros.json(&Distro::list(&*hold(store)?)?)
    })
}

/// What is known of a distribution: one of the objects of `cv_distro_list`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_distro_info(
    store: *const cv_store,
    name: *const c_char,
    distro_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (name, distro) = (text(name, "name")?, out(distro_json, "distro_json")?);
        distro.json(&Distro::open(&*hold(store)?, name)?.listed())
    })
}

/// Checks each package of a distribution: its checksum, and its signature where rpm is installed. What is wrong is in the
/// report, a JSON object `{name, packages, bytes, signatures, faults}` whose array `faults`, of `{path, package, message}`, is
/// empty when all is well. 0 threads are one for each core. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_distro_verify(
    store: *const cv_store,
    name: *const c_char,
    threads: u32,
    on_event: cv_event_fn,
    user: *mut c_void,
    report_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (name, report) = (text(name, "name")?, out(report_json, "report_json")?);
        let distro = Distro::open(&*hold(store)?, name)?;
        report.json(&task(on_event, user).run("distro verify", |t| distro.verify(threads as usize, t))?)
    })
}

/// Starts what `cv_distro_verify` does; the result is the report.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_distro_verify_start(
    store: *const cv_store,
    name: *const c_char,
    threads: u32,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (name, job) = (text(name, "name")?, out(job, "job")?);
        let distro = Distro::open(&*hold(store)?, name)?;
        job.set(start("distro verify", move |t| distro.verify(threads as usize, t))?);
        Ok(())
    })
}

/// Removes a distribution. What only it needs stays until it is collected.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_distro_remove(store: *const cv_store, name: *const c_char) -> i32 {
    guard(|| {
        let name = text(name, "name")?;
        Distro::remove(&*hold(store)?, name)
    })
}
