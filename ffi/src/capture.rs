//! Capture: a live tree becomes an image.

use crate::event::{cv_event_fn, task};
use crate::guard::{Options, bytes, guard, optional_text, options, out, path, text, texts};
use crate::handle::hold;
use crate::job::{cv_job, start};
use crate::store::cv_store;
use libcv::capture::CaptureOptions;
use libcv::secrets::Policy;
use libcv::{Error, Result};
use std::ffi::{OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;

/// In `cv_capture_options.expect_parent`: the name must be new.
pub const CV_EXPECT_NEW: i64 = -1;

/// How to capture. Zeros are the defaults: `cv_capture_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_capture_options {
    /// `sizeof(cv_capture_options)`.
    pub size: u32,
    /// zstd level, 1 to 19; 0 is 3.
    pub level: i32,
    /// Leave these out: patterns as in .gitignore, from the root of the tree.
    pub exclude: *const *const c_char,
    /// How many patterns.
    pub exclude_count: usize,
    /// Take these although a rule would leave them out or generalise them.
    pub keep: *const *const c_char,
    /// How many patterns.
    pub keep_count: usize,
    /// Tag for the new generation, or NULL.
    pub tag: *const c_char,
    /// Where this host keeps the key of its stat cache; NULL is the usual place.
    pub state: *const c_char,
    /// Threads; 0 is one for each core.
    pub threads: u32,
    /// Not 0: generalise nothing, leave nothing out.
    pub exact: u8,
    /// Not 0: a file that changes while it is read is an error.
    pub strict: u8,
    /// Not 0: read every file, whatever the last capture saw.
    pub paranoid: u8,
    /// Zero.
    pub reserved: u8,
    /// Fail with `CV_E_CONFLICT` unless this is the newest generation; 0: whichever, `CV_EXPECT_NEW`: none yet.
    pub expect_parent: i64,
    /// Secrets in these files are wanted: patterns as in .gitignore.
    pub allow_secrets: *const *const c_char,
    /// How many patterns.
    pub allow_secrets_count: usize,
    /// Write what was done into this file: the result, with every entry that was left out or generalised and every
    /// secret, also when they are refused. Or NULL.
    pub report: *const c_char,
    /// Not 0: publish nothing when a secret is found that is not wanted.
    pub forbid_secrets: u8,
    /// Zeros.
    pub reserved_too: [u8; 7],
    /// A layout document that goes with the image, such as the `document` of `cv_layout_capture`; or NULL.
    pub layout: *const c_char,
}

impl Default for cv_capture_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            level: 0,
            exclude: std::ptr::null(),
            exclude_count: 0,
            keep: std::ptr::null(),
            keep_count: 0,
            tag: std::ptr::null(),
            state: std::ptr::null(),
            threads: 0,
            exact: 0,
            strict: 0,
            paranoid: 0,
            reserved: 0,
            expect_parent: 0,
            allow_secrets: std::ptr::null(),
            allow_secrets_count: 0,
            report: std::ptr::null(),
            forbid_secrets: 0,
            reserved_too: [0; 7],
            layout: std::ptr::null(),
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_capture_options {
    const FIRST: usize = std::mem::offset_of!(Self, expect_parent) + 8;
    const NAME: &'static str = "cv_capture_options";
}

/// Core's options for C's.
fn read(p: *const cv_capture_options) -> Result<CaptureOptions> {
    let o = options(p)?;
    let mut out = CaptureOptions::default();
    if o.level != 0 {
        out.level = o.level;
    }
    if !o.state.is_null() {
        out.state = Some(OsStr::from_bytes(bytes(o.state, "options.state")?).into());
    }
    if !o.report.is_null() {
        out.report = Some(OsStr::from_bytes(bytes(o.report, "options.report")?).into());
    }
    out.exclude = texts(o.exclude, o.exclude_count, "options.exclude")?;
    out.keep = texts(o.keep, o.keep_count, "options.keep")?;
    out.tag = optional_text(o.tag, "options.tag")?.map(str::to_owned);
    out.threads = o.threads as usize;
    (out.exact, out.strict, out.paranoid) = (o.exact != 0, o.strict != 0, o.paranoid != 0);
    out.expect_parent = expected(o.expect_parent)?;
    if !o.layout.is_null() {
        out.layout = Some(bytes(o.layout, "options.layout")?.to_vec());
    }
    out.secrets = secrets(o.forbid_secrets, o.allow_secrets, o.allow_secrets_count)?;
    Ok(out)
}

/// What is done about secrets.
pub(crate) fn secrets(forbid: u8, allow: *const *const c_char, count: usize) -> Result<Policy> {
    Ok(Policy { forbid: forbid != 0, allow: texts(allow, count, "options.allow_secrets")? })
}

/// The generation that is expected to be the newest.
pub(crate) fn expected(generation: i64) -> Result<Option<u64>> {
    match generation {
        0 => Ok(None),
        CV_EXPECT_NEW => Ok(Some(0)),
        n => u64::try_from(n).map(Some).map_err(|_| Error::invalid("options.expect_parent is negative")),
    }
}

/// Captures the tree at `root` as the next generation of `name`; when nothing has changed there is no new one. The
/// result is a JSON object `{name, generation, image, tree, changed, entries, …}`. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_capture(
    store: *const cv_store,
    root: *const c_char,
    name: *const c_char,
    options: *const cv_capture_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    captured_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (root, name, options) = (path(root, "root")?, text(name, "name")?, read(options)?);
        let captured = out(captured_json, "captured_json")?;
        let store = hold(store)?;
        captured.json(&task(on_event, user).run("capture", |t| store.capture(root, name, &options, t))?)
    })
}

/// Starts what `cv_store_capture` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_capture_start(
    store: *const cv_store,
    root: *const c_char,
    name: *const c_char,
    options: *const cv_capture_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (root, name, options) = (path(root, "root")?.to_owned(), text(name, "name")?.to_owned(), read(options)?);
        let job = out(job, "job")?;
        let store = hold(store)?.clone();
        job.set(start("capture", move |t| store.capture(root, &name, &options, t))?);
        Ok(())
    })
}
