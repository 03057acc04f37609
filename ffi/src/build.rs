//! Builds: a distribution and a role become an image.

use crate::capture::{expected, secrets};
use crate::event::{cv_event_fn, task};
use crate::guard::{Options, guard, optional_path, optional_text, options, out, text, texts};
use crate::handle::hold;
use crate::job::{cv_job, start};
use crate::role::cv_role;
use crate::store::cv_store;
use libcv::build::{self, Base, Change, MakeOptions, Program};
use libcv::{Error, Result};
use std::ffi::{OsString, c_char, c_void};
use std::time::Duration;

/// How an image is made. Zeros are the defaults: `cv_build_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_build_options {
    /// `sizeof(cv_build_options)`.
    pub size: u32,
    /// zstd level, 1 to 19; 0 is 3.
    pub level: i32,
    /// Tag for the new generation, or NULL.
    pub tag: *const c_char,
    /// Where the new root lies while it is made; NULL: in the store, or `/var/tmp`.
    pub work: *const c_char,
    /// Variables for whatever runs, as `NAME=VALUE`.
    pub environment: *const *const c_char,
    /// How many variables.
    pub environment_count: usize,
    /// Each run of the package manager, or the program, is killed after so many milliseconds; 0 is two hours.
    pub time_limit_ms: u64,
    /// It is killed when it has said nothing for so many milliseconds; 0 is half an hour.
    pub silence_ms: u64,
    /// Fail with `CV_E_CONFLICT` unless this is the newest generation; 0: whichever, `CV_EXPECT_NEW`: none yet.
    pub expect_parent: i64,
    /// Secrets in these files are wanted: patterns as in .gitignore.
    pub allow_secrets: *const *const c_char,
    /// How many patterns.
    pub allow_secrets_count: usize,
    /// Threads; 0 is one for each core.
    pub threads: u32,
    /// Not 0: publish nothing when a secret is found that is not wanted.
    pub forbid_secrets: u8,
    /// Not 0: say what would be installed, and make nothing.
    pub dry_run: u8,
    /// Not 0: make the tree once more and name the paths that differ.
    pub check_reproducible: u8,
    /// Not 0: the program of `cv_build_edit` sees the network.
    pub net: u8,
}

impl Default for cv_build_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            level: 0,
            tag: std::ptr::null(),
            work: std::ptr::null(),
            environment: std::ptr::null(),
            environment_count: 0,
            time_limit_ms: 0,
            silence_ms: 0,
            expect_parent: 0,
            allow_secrets: std::ptr::null(),
            allow_secrets_count: 0,
            threads: 0,
            forbid_secrets: 0,
            dry_run: 0,
            check_reproducible: 0,
            net: 0,
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_build_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "cv_build_options";
}

/// Core's options for C's, and whether there is a network.
fn read(p: *const cv_build_options) -> Result<(MakeOptions, bool)> {
    let o = options(p)?;
    let usual = MakeOptions::default();
    let time = |ms: u64, usual: Duration| if ms == 0 { usual } else { Duration::from_millis(ms) };
    let variable = |text: String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::invalid("options.environment: a variable is written NAME=VALUE")),
    };
    let environment = texts(o.environment, o.environment_count, "options.environment")?;
    let made = MakeOptions {
        tag: optional_text(o.tag, "options.tag")?.map(str::to_owned),
        dry_run: o.dry_run != 0,
        check_reproducible: o.check_reproducible != 0,
        work: optional_path(o.work, "options.work")?.map(Into::into),
        time_limit: time(o.time_limit_ms, usual.time_limit),
        silence: time(o.silence_ms, usual.silence),
        environment: environment.into_iter().map(variable).collect::<Result<_>>()?,
        level: if o.level == 0 { usual.level } else { o.level },
        threads: o.threads as usize,
        secrets: secrets(o.forbid_secrets, o.allow_secrets, o.allow_secrets_count)?,
        expect_parent: expected(o.expect_parent)?,
    };
    Ok((made, o.net != 0))
}

fn base(distro: *const c_char, image: *const c_char) -> Result<Base> {
    let distro = optional_text(distro, "distro")?.map(str::to_owned);
    match (optional_text(image, "image")?, distro) {
        (Some(reference), distro) => Ok(Base::Image { reference: reference.to_owned(), distro }),
        (None, Some(distro)) => Ok(Base::Distro(distro)),
        (None, None) => Err(Error::invalid("an image is made from a distribution or from an image: both are NULL")),
    }
}

fn change(
    distro: *const c_char,
    packages: *const *const c_char,
    package_count: usize,
    role: *const cv_role,
) -> Result<Change> {
    let distro = optional_text(distro, "distro")?.map(str::to_owned);
    let packages = texts(packages, package_count, "packages")?;
    let role = if role.is_null() { None } else { Some(hold(role)?.clone()) };
    Ok(Change { distro, packages, role })
}

fn program(arguments: *const *const c_char, count: usize, net: bool) -> Result<Program> {
    let command = texts(arguments, count, "arguments")?.into_iter().map(OsString::from).collect();
    Ok(Program { command, net, terminal: None })
}

/// Makes the next generation of `name` from the distribution `distro`, or lays the role over the image `image`; one of the two
/// may be NULL. The result is a JSON object `{image, transaction, epoch, warnings, failed, differs}`, in which `image` is
/// what `cv_store_capture` gives, and null after a dry run. `options` and `on_event` may be NULL. Needs root and the package
/// manager of the distribution.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_build(
    store: *const cv_store,
    name: *const c_char,
    distro: *const c_char,
    image: *const c_char,
    role: *const cv_role,
    options: *const cv_build_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    made_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (name, base, (options, _)) = (text(name, "name")?, base(distro, image)?, read(options)?);
        let made = out(made_json, "made_json")?;
        let (store, role) = (hold(store)?, hold(role)?);
        made.json(&task(on_event, user).run("image build", |t| build::build(&store, name, &base, &role, &options, t))?)
    })
}

/// Starts what `cv_build` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_build_start(
    store: *const cv_store,
    name: *const c_char,
    distro: *const c_char,
    image: *const c_char,
    role: *const cv_role,
    options: *const cv_build_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (name, base) = (text(name, "name")?.to_owned(), base(distro, image)?);
        let ((options, _), job) = (read(options)?, out(job, "job")?);
        let (store, role) = (hold(store)?.clone(), hold(role)?.clone());
        job.set(start("image build", move |t| build::build(&store, &name, &base, &role, &options, t))?);
        Ok(())
    })
}

/// Makes a new generation of `name` out of its newest one: packages as the distribution has them now, more packages, another
/// role. `distro`, `packages` and `role` may be NULL: then it is what the image was built from. The result is that of
/// `cv_build`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_build_update(
    store: *const cv_store,
    name: *const c_char,
    distro: *const c_char,
    packages: *const *const c_char,
    package_count: usize,
    role: *const cv_role,
    options: *const cv_build_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    made_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (name, (options, _)) = (text(name, "name")?, read(options)?);
        let (change, made) = (change(distro, packages, package_count, role)?, out(made_json, "made_json")?);
        let store = hold(store)?;
        made.json(&task(on_event, user).run("image update", |t| build::update(&store, name, &change, &options, t))?)
    })
}

/// Starts what `cv_build_update` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_build_update_start(
    store: *const cv_store,
    name: *const c_char,
    distro: *const c_char,
    packages: *const *const c_char,
    package_count: usize,
    role: *const cv_role,
    options: *const cv_build_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (name, (options, _)) = (text(name, "name")?.to_owned(), read(options)?);
        let (change, job) = (change(distro, packages, package_count, role)?, out(job, "job")?);
        let store = hold(store)?.clone();
        job.set(start("image update", move |t| build::update(&store, &name, &change, &options, t))?);
        Ok(())
    })
}

/// Runs the program `arguments[0]` as root of the image `image`, confined, and makes what it leaves the next generation of `name`;
/// NULL is the name of the image. Nothing is made when it fails (`CV_E_PLUGIN`). The result is that of `cv_build`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_build_edit(
    store: *const cv_store,
    image: *const c_char,
    name: *const c_char,
    arguments: *const *const c_char,
    argument_count: usize,
    options: *const cv_build_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    made_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (image, name) = (text(image, "image")?, optional_text(name, "name")?);
        let (options, net) = read(options)?;
        let program = program(arguments, argument_count, net)?;
        let made = out(made_json, "made_json")?;
        let store = hold(store)?;
        made.json(&task(on_event, user).run("image edit", |t| build::edit(&store, image, name, &program, &options, t))?)
    })
}

/// Starts what `cv_build_edit` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_build_edit_start(
    store: *const cv_store,
    image: *const c_char,
    name: *const c_char,
    arguments: *const *const c_char,
    argument_count: usize,
    options: *const cv_build_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let image = text(image, "image")?.to_owned();
        let name = optional_text(name, "name")?.map(str::to_owned);
        let (options, net) = read(options)?;
        let program = program(arguments, argument_count, net)?;
        let job = out(job, "job")?;
        let store = hold(store)?.clone();
        job.set(start("image edit", move |t| build::edit(&store, &image, name.as_deref(), &program, &options, t))?);
        Ok(())
    })
}
