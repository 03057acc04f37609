//! Packages of images, and bills of materials made of them.

use crate::event::{cv_event_fn, task};
use crate::guard::{guard, out, text};
use crate::handle::hold;
use crate::image::cv_image;
use crate::store::borrow;
use libcv::build::sbom::Format;
use std::ffi::{c_char, c_void};

/// The packages that are installed in an image by rpm and by dpkg: a JSON array of `{kind, name, epoch, version, release,
/// arch, license, source, vendor, header_sha256, module}`, sorted by name; what a package does not say is left out. An image
/// without a package database is CV_E_NOT_FOUND, one with a database of a kind that cannot be read CV_E_UNSUPPORTED. The
/// database of rpm is copied for that into TMPDIR, else /var/tmp. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_packages(
    image: *const cv_image,
    on_event: cv_event_fn,
    user: *mut c_void,
    packages_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let packages = out(packages_json, "packages_json")?;
        let image = hold(image)?;
        packages.json(&task(on_event, user).run("packages", |t| image.packages(t))?)
    })
}

/// The bill of materials of an image as a JSON document: `format` is cyclonedx (1.5) or spdx (2.3). The same image opened by
/// the same generation gives the same document. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_sbom(
    image: *const cv_image,
    format: *const c_char,
    on_event: cv_event_fn,
    user: *mut c_void,
    document_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (format, document) = (Format::parse(text(format, "format")?)?, out(document_json, "document_json")?);
        let image = hold(image)?;
        let bytes = task(on_event, user).run("sbom", |t| image.sbom(format, t))?;
        document.text(String::from_utf8_lossy(&bytes))
    })
}

/// How the packages of image `after` differ from those of `before`: a JSON object `{added, removed, changed}` of arrays, the
/// last of `{old, new}`. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_diff_packages(
    before: *const cv_image,
    after: *const cv_image,
    on_event: cv_event_fn,
    user: *mut c_void,
    changes_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let changes = out(changes_json, "changes_json")?;
        let (before, after) = (borrow(before)?, borrow(after)?);
        changes.json(&task(on_event, user).run("diff", |t| before.diff_packages(&after, t))?)
    })
}
