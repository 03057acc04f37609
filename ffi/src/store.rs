//! Stores: images, generations, tags.

use crate::event::{cv_event_fn, task};
use crate::guard::{guard, out, path, text};
use crate::handle::{Opaque, close, give, hold};
use crate::image::cv_image;
use crate::job::{cv_job, start};
use libcv::Result;
use libcv::store::{Change, Image, Store};
use std::ffi::{c_char, c_void};

/// A store of images.
pub struct cv_store;

impl Opaque for cv_store {
    type Object = Store;
    const NAME: &'static str = "cv_store";
}

/// Makes a store in a directory, which is made as well and must be empty, or at `s3://BUCKET/PREFIX`. A library that was
/// built without S3 answers with CV_E_UNSUPPORTED there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_init(place: *const c_char, store: *mut *mut cv_store) -> i32 {
    guard(|| {
        let (place, store) = (path(place, "place")?, out(store, "store")?);
        store.set(give(Store::init(place)?));
        Ok(())
    })
}

/// Opens the store in a directory, at `s3://BUCKET/PREFIX`, or at `https://HOST/PATH`, where it can only be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_open(place: *const c_char, store: *mut *mut cv_store) -> i32 {
    guard(|| {
        let (place, store) = (path(place, "place")?, out(store, "store")?);
        store.set(give(Store::open(place)?));
        Ok(())
    })
}

/// Closes a store. Its images and jobs stay usable. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_free(store: *mut cv_store) -> i32 {
    guard(|| close(store))
}

/// The uuid of a store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_uuid(store: *const cv_store, uuid: *mut *mut c_char) -> i32 {
    guard(|| {
        let uuid = out(uuid, "uuid")?;
        uuid.text(hold(store)?.uuid())
    })
}

/// The names that have an image: a JSON array of `{name, generation, image, tree, created, tags}`, `tags` being an array of
/// `{tag, generation}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_images(store: *const cv_store, images_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let images = out(images_json, "images_json")?;
        images.json(&hold(store)?.images()?)
    })
}

/// The generations of a name, newest first: a JSON array of `{name, generation, image, tree, created, reason, store, tags}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_log(
    store: *const cv_store,
    name: *const c_char,
    releases_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (name, releases) = (text(name, "name")?, out(releases_json, "releases_json")?);
        releases.json(&hold(store)?.log(name)?)
    })
}

/// Opens the image that a reference means: `name`, `name:tag`, `name@GENERATION` or the first digits of an image id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_image(
    store: *const cv_store,
    reference: *const c_char,
    image: *mut *mut cv_image,
) -> i32 {
    guard(|| {
        let (reference, image) = (text(reference, "reference")?, out(image, "image")?);
        image.set(give(hold(store)?.image(reference)?));
        Ok(())
    })
}

/// Points `tag` of `name` to the image of `reference`, which must be one of its generations.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_tag(
    store: *const cv_store,
    reference: *const c_char,
    name: *const c_char,
    tag: *const c_char,
) -> i32 {
    guard(|| {
        let (reference, name, tag) = (text(reference, "reference")?, text(name, "name")?, text(tag, "tag")?);
        hold(store)?.tag(reference, name, tag)
    })
}

/// Makes a new generation of `name` that points to the image of `reference`, and gives it as JSON.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_rollback(
    store: *const cv_store,
    name: *const c_char,
    reference: *const c_char,
    release_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (name, reference) = (text(name, "name")?, text(reference, "reference")?);
        let release = out(release_json, "release_json")?;
        release.json(&hold(store)?.rollback(name, reference)?)
    })
}

/// Removes what a reference names: a tag, one generation, or a whole name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_remove(store: *const cv_store, reference: *const c_char) -> i32 {
    guard(|| {
        let reference = text(reference, "reference")?;
        hold(store)?.remove(reference)
    })
}

/// What changed from image `before` to image `after`: a JSON array of `{path, kind, fields}` in path order, where `kind` is
/// added, removed or changed. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_diff(
    store: *const cv_store,
    before: *const cv_image,
    after: *const cv_image,
    on_event: cv_event_fn,
    user: *mut c_void,
    changes_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let changes = out(changes_json, "changes_json")?;
        let (store, before, after) = (hold(store)?, borrow(before)?, borrow(after)?);
        let found = task(on_event, user).run("diff", |t| store.diff(&before, &after, t))?;
        changes.json(&found.iter().map(Change::to_json).collect::<Vec<_>>())
    })
}

/// Starts what `cv_store_diff` does; the result is the same array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_diff_start(
    store: *const cv_store,
    before: *const cv_image,
    after: *const cv_image,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let job = out(job, "job")?;
        let (store, before, after) = (hold(store)?.clone(), borrow(before)?, borrow(after)?);
        job.set(start("diff", move |t| {
            Ok(store.diff(&before, &after, t)?.iter().map(Change::to_json).collect::<Vec<_>>())
        })?);
        Ok(())
    })
}

/// An image for a call of something else: the same image may be given twice.
pub(crate) fn borrow(image: *const cv_image) -> Result<Image> {
    hold(image).map(|i| i.clone())
}

/// Checks a store, with `read_data` every block of it as well. Faults are in the report, a JSON object whose array
/// `faults` is empty when all is well. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_check(
    store: *const cv_store,
    read_data: bool,
    on_event: cv_event_fn,
    user: *mut c_void,
    report_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let report = out(report_json, "report_json")?;
        let store = hold(store)?;
        report.json(&task(on_event, user).run("check", |t| store.check(read_data, t))?)
    })
}

/// Starts what `cv_store_check` does; the result is the report.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_check_start(store: *const cv_store, read_data: bool, job: *mut *mut cv_job) -> i32 {
    guard(|| {
        let job = out(job, "job")?;
        let store = hold(store)?.clone();
        job.set(start("check", move |t| store.check(read_data, t))?);
        Ok(())
    })
}
