//! Updating a tree that is there to another image, and comparing one with an image.

use crate::event::{cv_event_fn, task};
use crate::guard::{Options, guard, options, out, path, texts};
use crate::handle::hold;
use crate::image::cv_image;
use crate::job::{cv_job, start};
use libcv::Result;
use libcv::tree::diff::{DiffOptions, TreeChange};
use libcv::tree::update::{Local, UpdateOptions};
use std::ffi::{c_char, c_void};

/// How to update. Zeros are the defaults: `cv_update_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_update_options {
    /// `sizeof(cv_update_options)`.
    pub size: u32,
    /// Threads; 0 is one for each core.
    pub threads: u32,
    /// Neither overwrite nor delete these: patterns as in .gitignore, from the root of the tree.
    pub protect: *const *const c_char,
    /// How many patterns.
    pub protect_count: usize,
    /// Not 0: what no image brought is deleted, but for what is the node's own.
    pub delete_local: u8,
    /// Not 0: write nothing, say what would be done.
    pub dry_run: u8,
    /// Not 0: compare the content of every file, whatever size and time say.
    pub paranoid: u8,
    /// Not 0: nothing is the node's own but what `protect` names.
    pub exact: u8,
    /// Not 0: read everything back from the medium and compare.
    pub verify: u8,
    /// Not 0: go on although the filesystem cannot hold everything; what is lost is listed.
    pub accept_loss: u8,
    /// Not 0: do not wait until everything is on the medium; a power cut soon after may leave files without content.
    pub no_sync: u8,
    /// Zero.
    pub reserved: u8,
}

impl Default for cv_update_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            threads: 0,
            protect: std::ptr::null(),
            protect_count: 0,
            delete_local: 0,
            dry_run: 0,
            paranoid: 0,
            exact: 0,
            verify: 0,
            accept_loss: 0,
            no_sync: 0,
            reserved: 0,
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_update_options {
    const FIRST: usize = std::mem::offset_of!(Self, reserved) + 1;
    const NAME: &'static str = "cv_update_options";
}

/// Core's options for C's.
fn read(p: *const cv_update_options) -> Result<UpdateOptions> {
    let o = options(p)?;
    Ok(UpdateOptions {
        local: if o.delete_local != 0 { Local::Delete } else { Local::Keep },
        dry_run: o.dry_run != 0,
        paranoid: o.paranoid != 0,
        protect: texts(o.protect, o.protect_count, "options.protect")?,
        exact: o.exact != 0,
        verify: o.verify != 0,
        accept_loss: o.accept_loss != 0,
        threads: o.threads as usize,
        no_sync: o.no_sync != 0,
    })
}

/// Updates the tree at `target` to an image: only what differs is written, what runs keeps running, and the node's own
/// configuration stays. The result is a JSON object `{created, replaced, metadata, deleted, kept, verdict, …}`, of a dry
/// run with `actions`. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_update(
    image: *const cv_image,
    target: *const c_char,
    options: *const cv_update_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    updated_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (target, options) = (path(target, "target")?, read(options)?);
        let updated = out(updated_json, "updated_json")?;
        let image = hold(image)?;
        updated.json(&task(on_event, user).run("update", |t| image.update(target, &options, t))?)
    })
}

/// Starts what `cv_image_update` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_update_start(
    image: *const cv_image,
    target: *const c_char,
    options: *const cv_update_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (target, options) = (path(target, "target")?.to_owned(), read(options)?);
        let job = out(job, "job")?;
        let image = hold(image)?.clone();
        job.set(start("update", move |t| image.update(target, &options, t))?);
        Ok(())
    })
}

/// What differs between an image and the tree at `tree`, byte by byte: a JSON array as of `cv_store_diff`, where what
/// only the tree has is added; `kept` says why an update would leave a path alone. With `exact` nothing is left out.
/// `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_diff_tree(
    image: *const cv_image,
    tree: *const c_char,
    exact: bool,
    on_event: cv_event_fn,
    user: *mut c_void,
    changes_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let tree = path(tree, "tree")?;
        let changes = out(changes_json, "changes_json")?;
        let (image, options) = (hold(image)?, DiffOptions { exact, ..DiffOptions::default() });
        let found = task(on_event, user).run("diff", |t| image.diff_tree(tree, &options, t))?;
        changes.json(&found.iter().map(TreeChange::to_json).collect::<Vec<_>>())
    })
}

/// Starts what `cv_image_diff_tree` does; the result is the same array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_diff_tree_start(
    image: *const cv_image,
    tree: *const c_char,
    exact: bool,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let tree = path(tree, "tree")?.to_owned();
        let job = out(job, "job")?;
        let (image, options) = (hold(image)?.clone(), DiffOptions { exact, ..DiffOptions::default() });
        job.set(start("diff", move |t| {
            Ok(image.diff_tree(tree, &options, t)?.iter().map(TreeChange::to_json).collect::<Vec<_>>())
        })?);
        Ok(())
    })
}
