//! Images from and to other formats.

use crate::event::{cv_event_fn, task};
use crate::guard::{Options, file, guard, optional_path, optional_text, options, out, path, text};
use crate::handle::hold;
use crate::image::cv_image;
use crate::job::{cv_job, start};
use crate::store::cv_store;
use libcv::convert::tar::{Compression, ExportOptions, ImportOptions, Limits, export, import};
use libcv::convert::{self, Derivation, DeriveKind, DeriveOptions, Format};
use libcv::job::Task;
use libcv::store::Image;
use libcv::{Error, Result};
use std::ffi::{c_char, c_void};
use std::path::{Path, PathBuf};

/// In `cv_tar_export_options.compression`: zstd.
pub const CV_TAR_ZSTD: u32 = 0;
/// In `cv_tar_export_options.compression`: gzip.
pub const CV_TAR_GZIP: u32 = 1;
/// In `cv_tar_export_options.compression`: none.
pub const CV_TAR_PLAIN: u32 = 2;

/// In `cv_export_options.compression` and `cv_derive_options.compression`: what is usual for the format.
pub const CV_COMPRESSION_USUAL: u32 = 0;
/// In `cv_export_options.compression` and `cv_derive_options.compression`: zstd.
pub const CV_COMPRESSION_ZSTD: u32 = 1;
/// In `cv_export_options.compression` and `cv_derive_options.compression`: gzip.
pub const CV_COMPRESSION_GZIP: u32 = 2;
/// In `cv_export_options.compression` and `cv_derive_options.compression`: none.
pub const CV_COMPRESSION_NONE: u32 = 3;

/// How to import an archive, or what `cv_store_import` reads. Zeros are the defaults: `cv_tar_import_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_tar_import_options {
    /// `sizeof(cv_tar_import_options)`.
    pub size: u32,
    /// zstd level in the store, 1 to 19; 0 is 3.
    pub level: i32,
    /// Threads; 0 is one for each core.
    pub threads: u32,
    /// Not 0: keep attributes that are bound to a machine, too.
    pub exact: u8,
    /// Zeros.
    pub reserved: [u8; 3],
    /// Tag for the new generation, or NULL.
    pub tag: *const c_char,
    /// Fail with `CV_E_CONFLICT` unless this is the newest generation; 0: whichever, `CV_EXPECT_NEW`: none yet.
    pub expect_parent: i64,
    /// Most entries; 0 is 2^24.
    pub max_entries: u64,
    /// Most bytes of names, targets and attributes in all; 0 is 4 GiB.
    pub max_metadata: u64,
    /// Most bytes of data in all; 0 is 16 TiB.
    pub max_data: u64,
    /// Secrets in these files are wanted: patterns as in .gitignore.
    pub allow_secrets: *const *const c_char,
    /// How many patterns.
    pub allow_secrets_count: usize,
    /// Not 0: publish nothing when a secret is found that is not wanted.
    pub forbid_secrets: u8,
    /// Zeros.
    pub reserved_too: [u8; 7],
    /// Of an OCI layout with several images: the name of one, or NULL.
    pub reference: *const c_char,
    /// Of an OCI layout for several machines: which, such as `linux/arm64`; NULL is this one.
    pub platform: *const c_char,
    /// Write what was done into this file: the result, with every secret, also when they are refused. Or NULL.
    pub report: *const c_char,
}

impl Default for cv_tar_import_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            level: 0,
            threads: 0,
            exact: 0,
            reserved: [0; 3],
            tag: std::ptr::null(),
            expect_parent: 0,
            max_entries: 0,
            max_metadata: 0,
            max_data: 0,
            allow_secrets: std::ptr::null(),
            allow_secrets_count: 0,
            forbid_secrets: 0,
            reserved_too: [0; 7],
            reference: std::ptr::null(),
            platform: std::ptr::null(),
            report: std::ptr::null(),
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_tar_import_options {
    const FIRST: usize = std::mem::offset_of!(Self, max_data) + 8;
    const NAME: &'static str = "cv_tar_import_options";
}

/// How to export an archive. Zeros are the defaults: `cv_tar_export_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_tar_export_options {
    /// `sizeof(cv_tar_export_options)`.
    pub size: u32,
    /// One of `CV_TAR_…`.
    pub compression: u32,
    /// Level of the compression; 0 is the usual one.
    pub level: i32,
}

impl Default for cv_tar_export_options {
    fn default() -> Self {
        Self { size: size_of::<Self>() as u32, compression: CV_TAR_ZSTD, level: 0 }
    }
}

// SAFETY: numbers only.
unsafe impl Options for cv_tar_export_options {
    const FIRST: usize = std::mem::offset_of!(Self, level) + 4;
    const NAME: &'static str = "cv_tar_export_options";
}

/// Core's options for C's.
fn read_import(p: *const cv_tar_import_options) -> Result<ImportOptions> {
    let o = options(p)?;
    let usual = ImportOptions::default();
    let or = |given: u64, usual: u64| if given == 0 { usual } else { given };
    Ok(ImportOptions {
        tag: optional_text(o.tag, "options.tag")?.map(str::to_owned),
        level: if o.level == 0 { usual.level } else { o.level },
        threads: o.threads as usize,
        exact: o.exact != 0,
        limits: Limits {
            entries: or(o.max_entries, usual.limits.entries),
            metadata: or(o.max_metadata, usual.limits.metadata),
            data: or(o.max_data, usual.limits.data),
        },
        expect_parent: crate::capture::expected(o.expect_parent)?,
        secrets: crate::capture::secrets(o.forbid_secrets, o.allow_secrets, o.allow_secrets_count)?,
        reference: optional_text(o.reference, "options.reference")?.map(str::to_owned),
        platform: optional_text(o.platform, "options.platform")?.map(str::to_owned),
        report: optional_path(o.report, "options.report")?.map(Path::to_owned),
    })
}

/// Core's options for C's.
fn read_export(p: *const cv_tar_export_options) -> Result<ExportOptions> {
    let o = options(p)?;
    let compression = match o.compression {
        CV_TAR_ZSTD => Compression::Zstd,
        CV_TAR_GZIP => Compression::Gzip,
        CV_TAR_PLAIN => Compression::None,
        n => return Err(Error::invalid(format!("options.compression is {n}, which is none of CV_TAR_…"))),
    };
    Ok(ExportOptions { compression, level: o.level })
}

/// Imports the archive that the file descriptor `fd` gives, compressed or not, as the next generation of `name`. The
/// result is a JSON object `{name, generation, image, tree, changed, entries, notes, …}`. `options` and `on_event` may
/// be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_import_tar(
    store: *const cv_store,
    fd: i32,
    name: *const c_char,
    options: *const cv_tar_import_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    imported_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (name, options) = (text(name, "name")?, read_import(options)?);
        let imported = out(imported_json, "imported_json")?;
        let (store, file) = (hold(store)?, file(fd, "fd")?);
        imported.json(&task(on_event, user).run("import", |t| import(&store, file, name, &options, t))?)
    })
}

/// Starts what `cv_store_import_tar` does; the result is the same object. The file descriptor is copied and may be
/// closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_import_tar_start(
    store: *const cv_store,
    fd: i32,
    name: *const c_char,
    options: *const cv_tar_import_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (name, options) = (text(name, "name")?.to_owned(), read_import(options)?);
        let job = out(job, "job")?;
        let (store, file) = (hold(store)?.clone(), file(fd, "fd")?);
        job.set(start("import", move |t| import(&store, file, &name, &options, t))?);
        Ok(())
    })
}

/// Writes an image as an archive to the file descriptor `fd`, which stays open; the same image and options give the
/// same bytes. The result is a JSON object `{entries, bytes, long_paths, …}`. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_export_tar(
    image: *const cv_image,
    fd: i32,
    options: *const cv_tar_export_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    exported_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let options = read_export(options)?;
        let exported = out(exported_json, "exported_json")?;
        let (image, file) = (hold(image)?, file(fd, "fd")?);
        exported.json(&task(on_event, user).run("export", |t| Ok(export(&image, file, &options, t)?.1))?)
    })
}

/// Starts what `cv_image_export_tar` does; the result is the same object. The file descriptor is copied and may be
/// closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_export_tar_start(
    image: *const cv_image,
    fd: i32,
    options: *const cv_tar_export_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let options = read_export(options)?;
        let job = out(job, "job")?;
        let (image, file) = (hold(image)?.clone(), file(fd, "fd")?);
        job.set(start("export", move |t| Ok(export(&image, file, &options, t)?.1))?);
        Ok(())
    })
}

/// How to export. Zeros are the defaults: `cv_export_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_export_options {
    /// `sizeof(cv_export_options)`.
    pub size: u32,
    /// One of `CV_COMPRESSION_…`; usual is, for tar and cpio, as the path ends (`.zst`, `.gz`), for OCI and squashfs zstd.
    pub compression: u32,
    /// Level of the compression; 0 is the usual one.
    pub level: i32,
    /// Not 0: `created` counts.
    pub has_created: u32,
    /// Of OCI: when the image was made, in seconds since the epoch; else the newest time of the tree.
    pub created: i64,
    /// Of OCI: the name of the image in the layout; NULL is the name through which it was opened.
    pub reference: *const c_char,
}

impl Default for cv_export_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            compression: CV_COMPRESSION_USUAL,
            level: 0,
            has_created: 0,
            created: 0,
            reference: std::ptr::null(),
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_export_options {
    const FIRST: usize = std::mem::offset_of!(Self, reference) + size_of::<*const c_char>();
    const NAME: &'static str = "cv_export_options";
}

/// How to derive. Zeros are the defaults: `cv_derive_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_derive_options {
    /// `sizeof(cv_derive_options)`.
    pub size: u32,
    /// One of `CV_COMPRESSION_…`; usual is zstd, and none for erofs.
    pub compression: u32,
    /// Threads; 0 is one for each core.
    pub threads: u32,
    /// Zero.
    pub reserved: u32,
    /// Where a squashfs is made before it goes into the store; NULL is `TMPDIR`, else `/var/tmp`.
    pub work: *const c_char,
}

impl Default for cv_derive_options {
    fn default() -> Self {
        let size = size_of::<Self>() as u32;
        Self { size, compression: CV_COMPRESSION_USUAL, threads: 0, reserved: 0, work: std::ptr::null() }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_derive_options {
    const FIRST: usize = std::mem::offset_of!(Self, work) + size_of::<*const c_char>();
    const NAME: &'static str = "cv_derive_options";
}

fn compression(n: u32) -> Result<Option<Compression>> {
    match n {
        CV_COMPRESSION_USUAL => Ok(None),
        CV_COMPRESSION_ZSTD => Ok(Some(Compression::Zstd)),
        CV_COMPRESSION_GZIP => Ok(Some(Compression::Gzip)),
        CV_COMPRESSION_NONE => Ok(Some(Compression::None)),
        n => Err(Error::invalid(format!("options.compression is {n}, which is none of CV_COMPRESSION_…"))),
    }
}

fn export_options(format: &str, p: *const cv_export_options) -> Result<convert::ExportOptions> {
    let o = options(p)?;
    Ok(convert::ExportOptions {
        format: Format::parse(format)?,
        compression: compression(o.compression)?,
        level: o.level,
        reference: optional_text(o.reference, "options.reference")?.map(str::to_owned),
        created: (o.has_created != 0).then_some(o.created),
    })
}

fn derive_options(kind: &str, p: *const cv_derive_options) -> Result<DeriveOptions> {
    let o = options(p)?;
    Ok(DeriveOptions {
        compression: compression(o.compression)?,
        threads: o.threads as usize,
        work: optional_path(o.work, "options.work")?.map(Path::to_owned),
        ..DeriveOptions::new(DeriveKind::parse(kind)?)
    })
}

/// Derives, and writes the file where one is named.
fn derived(image: &Image, options: &DeriveOptions, path: Option<&PathBuf>, task: &Task) -> Result<Derivation> {
    match path {
        Some(path) => convert::derive_to(image, options, path, task),
        None => convert::derive(image, options, task).map(|(_, done)| done),
    }
}

/// Imports what is at `path` as the next generation of `name`: a tar archive, an OCI image layout (a directory, or one in
/// a plain tar archive), an archive of `docker save`, or a squashfs; it is told by content. The result is a JSON object
/// `{name, generation, image, tree, changed, format, layers, notes, …}`. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_import(
    store: *const cv_store,
    path: *const c_char,
    name: *const c_char,
    options: *const cv_tar_import_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    imported_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (path, name, options) = (self::path(path, "path")?, text(name, "name")?, read_import(options)?);
        let imported = out(imported_json, "imported_json")?;
        let store = hold(store)?;
        imported.json(&task(on_event, user).run("import", |t| convert::import(&store, path, name, &options, t))?)
    })
}

/// Starts what `cv_store_import` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_import_start(
    store: *const cv_store,
    path: *const c_char,
    name: *const c_char,
    options: *const cv_tar_import_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (path, name) = (self::path(path, "path")?.to_owned(), text(name, "name")?.to_owned());
        let options = read_import(options)?;
        let job = out(job, "job")?;
        let store = hold(store)?.clone();
        job.set(start("import", move |t| convert::import(&store, path, &name, &options, t))?);
        Ok(())
    })
}

/// Writes an image to `path`, which must not exist; `format` is `tar`, `oci` (a directory), `oci-archive`, `squashfs`,
/// `erofs` or `cpio`. The same image and options give the same bytes. The result is a JSON object
/// `{format, entries, bytes, losses, digest, …}`. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_export(
    image: *const cv_image,
    path: *const c_char,
    format: *const c_char,
    options: *const cv_export_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    exported_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (path, options) = (self::path(path, "path")?, export_options(text(format, "format")?, options)?);
        let exported = out(exported_json, "exported_json")?;
        let image = hold(image)?;
        exported.json(&task(on_event, user).run("export", |t| convert::export(&image, path, &options, t))?)
    })
}

/// Starts what `cv_image_export` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_export_start(
    image: *const cv_image,
    path: *const c_char,
    format: *const c_char,
    options: *const cv_export_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let path = self::path(path, "path")?.to_owned();
        let options = export_options(text(format, "format")?, options)?;
        let job = out(job, "job")?;
        let image = hold(image)?.clone();
        job.set(start("export", move |t| convert::export(&image, path, &options, t))?);
        Ok(())
    })
}

/// Makes a file of an image once and keeps it in the store; `kind` is `squashfs`, `erofs` or `cpio`. Where `path` is not
/// NULL the file is written there as well; it must not exist. The result is a JSON object
/// `{image, kind, params, made, size, hash, losses, …}`. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_derive(
    image: *const cv_image,
    kind: *const c_char,
    path: *const c_char,
    options: *const cv_derive_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    derived_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let options = derive_options(text(kind, "kind")?, options)?;
        let path = optional_path(path, "path")?.map(Path::to_owned);
        let json = out(derived_json, "derived_json")?;
        let image = hold(image)?;
        json.json(&task(on_event, user).run("derive", |t| derived(&image, &options, path.as_ref(), t))?)
    })
}

/// Starts what `cv_image_derive` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_derive_start(
    image: *const cv_image,
    kind: *const c_char,
    path: *const c_char,
    options: *const cv_derive_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let options = derive_options(text(kind, "kind")?, options)?;
        let path = optional_path(path, "path")?.map(Path::to_owned);
        let job = out(job, "job")?;
        let image = hold(image)?.clone();
        job.set(start("derive", move |t| derived(&image, &options, path.as_ref(), t))?);
        Ok(())
    })
}
