//! Images: what they hold, and how they become a tree again.

use crate::event::{cv_event_fn, task};
use crate::guard::{Options, bytes, file, guard, options, out, path};
use crate::handle::{Opaque, close, hold};
use crate::job::{cv_job, start};
use libcv::Result;
use libcv::store::Image;
use libcv::tree::extract::ExtractOptions;
use std::ffi::{c_char, c_void};

/// An image of a store.
pub struct cv_image;

impl Opaque for cv_image {
    type Object = Image;
    const NAME: &'static str = "cv_image";
}

/// How to extract. Zeros are the defaults: `cv_extract_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_extract_options {
    /// `sizeof(cv_extract_options)`.
    pub size: u32,
    /// Threads; 0 is one for each core.
    pub threads: u32,
    /// Not 0: read everything back from the medium and compare.
    pub verify: u8,
    /// Not 0: go on although the filesystem cannot hold everything; what is lost is listed.
    pub accept_loss: u8,
    /// Not 0: do not wait until everything is on the medium; a power cut soon after may leave files without content.
    pub no_sync: u8,
    /// Zeros.
    pub reserved: [u8; 5],
}

impl Default for cv_extract_options {
    fn default() -> Self {
        Self { size: size_of::<Self>() as u32, threads: 0, verify: 0, accept_loss: 0, no_sync: 0, reserved: [0; 5] }
    }
}

// SAFETY: numbers only.
unsafe impl Options for cv_extract_options {
    const FIRST: usize = 16;
    const NAME: &'static str = "cv_extract_options";
}

/// Core's options for C's.
fn read(p: *const cv_extract_options) -> Result<ExtractOptions> {
    let o = options(p)?;
    Ok(ExtractOptions {
        verify: o.verify != 0,
        accept_loss: o.accept_loss != 0,
        no_sync: o.no_sync != 0,
        threads: o.threads as usize,
    })
}

/// A path within an image: from its root, with or without the leading slash.
fn inside<'a>(p: *const c_char) -> Result<&'a [u8]> {
    let bytes = bytes(p, "path")?;
    let start = bytes.iter().position(|&c| c != b'/').unwrap_or(bytes.len());
    Ok(bytes[start..].strip_suffix(b"/").unwrap_or(&bytes[start..]))
}

/// Closes an image. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_free(image: *mut cv_image) -> i32 {
    guard(|| close(image))
}

/// The image id: 64 hex digits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_id(image: *const cv_image, id: *mut *mut c_char) -> i32 {
    guard(|| {
        let id = out(id, "id")?;
        id.text(hold(image)?.id().to_string())
    })
}

/// The tree id: 64 hex digits that equal trees have in common.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_tree_id(image: *const cv_image, id: *mut *mut c_char) -> i32 {
    guard(|| {
        let id = out(id, "id")?;
        id.text(hold(image)?.tree_id().to_string())
    })
}

/// What is known of an image: a JSON object `{image, tree, parent, release, tags, totals, facts, policy, …}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_info(image: *const cv_image, info_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let info = out(info_json, "info_json")?;
        info.json(&hold(image)?.info()?)
    })
}

/// The entry at `path`, and if it is a directory the entries in it, with `recursive` all beneath it: a JSON array of
/// `{path, kind, mode, uid, gid, mtime, size, …}`, the first of which is `path` itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_ls(
    image: *const cv_image,
    path: *const c_char,
    recursive: bool,
    entries_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (path, entries) = (inside(path)?, out(entries_json, "entries_json")?);
        let rows = hold(image)?.list(path, recursive)?;
        entries.json(&rows.iter().map(libcv::image::Row::to_json).collect::<Vec<_>>())
    })
}

/// Writes the content of a regular file to the file descriptor `fd`, which stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_cat(image: *const cv_image, path: *const c_char, fd: i32) -> i32 {
    guard(|| {
        let (path, mut file) = (inside(path)?, file(fd, "fd")?);
        hold(image)?.cat(path, &mut file)
    })
}

/// Extracts an image into a directory, which is made if need be and must hold nothing but empty directories. The
/// result is a JSON object `{entries, bytes, verified, losses}`. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_extract(
    image: *const cv_image,
    target: *const c_char,
    options: *const cv_extract_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    extracted_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (target, options) = (path(target, "target")?, read(options)?);
        let extracted = out(extracted_json, "extracted_json")?;
        let image = hold(image)?;
        extracted.json(&task(on_event, user).run("extract", |t| image.extract(target, &options, t))?)
    })
}

/// Starts what `cv_image_extract` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_extract_start(
    image: *const cv_image,
    target: *const c_char,
    options: *const cv_extract_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (target, options) = (path(target, "target")?.to_owned(), read(options)?);
        let job = out(job, "job")?;
        let image = hold(image)?.clone();
        job.set(start("extract", move |t| image.extract(target, &options, t))?);
        Ok(())
    })
}
