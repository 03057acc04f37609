//! Collection: what no image needs any more is found and deleted.

use crate::event::{cv_event_fn, task};
use crate::guard::{Options, guard, options, out};
use crate::handle::hold;
use crate::job::{cv_job, start};
use crate::store::cv_store;
use libcv::Result;
use libcv::store::collect::CollectOptions;
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// How to collect. Zeros are the defaults: `cv_gc_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_gc_options {
    /// `sizeof(cv_gc_options)`.
    pub size: u32,
    /// Threads; 0 is one for each core.
    pub threads: u32,
    /// Keep so many of the newest generations of each name, and those with a tag; 0 keeps all.
    pub keep_last: u64,
    /// What nobody needs is deleted so many seconds after it was found to be so; 0 is seven days.
    pub grace_s: u64,
    /// Not 0: only say what would be done.
    pub dry_run: u8,
    /// Not 0: the grace is none at all, whatever `grace_s` says.
    pub no_grace: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

impl Default for cv_gc_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            threads: 0,
            keep_last: 0,
            grace_s: 0,
            dry_run: 0,
            no_grace: 0,
            reserved: [0; 6],
        }
    }
}

// SAFETY: numbers only.
unsafe impl Options for cv_gc_options {
    const FIRST: usize = std::mem::offset_of!(Self, reserved) + 6;
    const NAME: &'static str = "cv_gc_options";
}

/// Core's options for C's.
fn read(p: *const cv_gc_options) -> Result<CollectOptions> {
    let o = options(p)?;
    let mut out = CollectOptions { threads: o.threads as usize, dry_run: o.dry_run != 0, ..CollectOptions::default() };
    out.keep_last = (o.keep_last != 0).then_some(o.keep_last);
    if o.grace_s != 0 || o.no_grace != 0 {
        out.grace = Duration::from_secs(if o.no_grace != 0 { 0 } else { o.grace_s });
    }
    Ok(out)
}

/// Finds what no image needs, and deletes what was found to be so long enough ago. The result is a JSON object
/// `{images, removed, deleted, deleted_bytes, found, found_bytes, waiting, …}`. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_gc(
    store: *const cv_store,
    options: *const cv_gc_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    collected_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (options, collected) = (read(options)?, out(collected_json, "collected_json")?);
        let store = hold(store)?;
        collected.json(&task(on_event, user).run("gc", |t| store.collect(&options, t))?)
    })
}

/// Starts what `cv_store_gc` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_gc_start(
    store: *const cv_store,
    options: *const cv_gc_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (options, job) = (read(options)?, out(job, "job")?);
        let store = hold(store)?.clone();
        job.set(start("gc", move |t| store.collect(&options, t))?);
        Ok(())
    })
}
