//! Plans: what a layout means for these disks, and making it so.

use crate::event::{cv_event_fn, task};
use crate::guard::{Options, guard, optional_path, optional_text, options, out, path, slice, text};
use crate::handle::{Opaque, close, hold};
use crate::http::cv_http_options;
use crate::image::cv_image;
use crate::job::{cv_job, start};
use crate::multicast::{Receiving, cv_mcast_recv_options};
use libcv::config::Action;
use libcv::deploy::{self, DeployOptions};
use libcv::job::Task;
use libcv::layout::{ApplyOptions, Backend, Confirm, Journal, Plan, Secrets};
use libcv::multicast::drive;
use libcv::store::Image;
use libcv::{Error, Result};
use serde_json::Value;
use std::ffi::{c_char, c_void};
use std::path::Path;

/// A plan. Making one writes nothing.
pub struct cv_plan;

impl Opaque for cv_plan {
    type Object = Plan;
    const NAME: &'static str = "cv_plan";
}

/// Frees a plan. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_free(plan: *mut cv_plan) -> i32 {
    guard(|| close(plan))
}

/// A plan as text: each disk now and after, what is lost, what is done, and the token that confirms it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_text(plan: *const cv_plan, shown: *mut *mut c_char) -> i32 {
    guard(|| {
        let shown = out(shown, "shown")?;
        shown.text(hold(plan)?.to_text())
    })
}

/// A plan as JSON, shape `cv.plan/v1`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_json(plan: *const cv_plan, plan_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let json = out(plan_json, "plan_json")?;
        json.json(&hold(plan)?.to_json())
    })
}

/// A plan as a picture, an SVG document: each disk now and after, what is lost, and what is made out of the partitions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_svg(plan: *const cv_plan, svg: *mut *mut c_char) -> i32 {
    guard(|| {
        let svg = out(svg, "svg")?;
        svg.text(hold(plan)?.to_svg())
    })
}

/// The token, which confirms this plan and no other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_token(plan: *const cv_plan, token: *mut *mut c_char) -> i32 {
    guard(|| {
        let token = out(token, "token")?;
        token.text(hold(plan)?.token())
    })
}

/// In `cv_apply_options.backend`: the kernel of this machine, with mdadm, LVM and cryptsetup.
pub const CV_BACKEND_KERNEL: u8 = 0;
/// In `cv_apply_options.backend`: libcv itself, in image files; without an image it needs no root.
pub const CV_BACKEND_OFFLINE: u8 = 1;

/// What is put on the disks. Zeros are the defaults: `cv_apply_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_apply_options {
    /// `sizeof(cv_apply_options)`.
    pub size: u32,
    /// Not 0: compare every byte with the medium after it was written.
    pub verify: u8,
    /// Who makes the devices: one of `CV_BACKEND_…`.
    pub backend: u8,
    /// Not 0: go on with the interrupted apply of `journal`. The plan was made with `cv_plan_options.resume`.
    pub resume: u8,
    /// Zero.
    pub reserved: u8,
    /// The image, or NULL: the disks are then partitioned and formatted only.
    pub image: *const cv_image,
    /// The host name, or NULL: that of the image.
    pub hostname: *const c_char,
    /// Further actions on the root as for `cv_config_apply`, or NULL.
    pub actions_json: *const c_char,
    /// What opens the encrypted devices of the layout, or NULL.
    pub secrets: *const cv_secret,
    /// How many there are.
    pub secret_count: usize,
    /// The file in which each step is noted before and after it is done, or NULL: none is written.
    pub journal: *const c_char,
    /// The TPM for encrypted devices that one opens, as systemd-cryptenroll takes it, or NULL: that of this machine.
    pub tpm2_device: *const c_char,
    /// In place of `image`: take it from this network interface, where `cv_mcast_send` sends it to many nodes at once, or NULL. A plan that
    /// was made for an image takes no other one.
    pub multicast: *const c_char,
    /// With `multicast`: which image, and whose, or NULL. Its `verify`, `no_sync` and `update` are 0.
    pub multicast_options: *const cv_mcast_recv_options,
    /// With `multicast`: where the rest is read that it does not bring, as of `cv_mcast_recv`, or NULL.
    pub mirrors: *const cv_http_options,
}

/// A secret that a document names as `ref:NAME`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_secret {
    /// The name.
    pub name: *const c_char,
    /// The secret: any bytes.
    pub bytes: *const u8,
    /// How many bytes it has.
    pub length: usize,
}

impl Default for cv_apply_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            verify: 0,
            backend: CV_BACKEND_KERNEL,
            resume: 0,
            reserved: 0,
            image: std::ptr::null(),
            hostname: std::ptr::null(),
            actions_json: std::ptr::null(),
            secrets: std::ptr::null(),
            secret_count: 0,
            journal: std::ptr::null(),
            tpm2_device: std::ptr::null(),
            multicast: std::ptr::null(),
            multicast_options: std::ptr::null(),
            mirrors: std::ptr::null(),
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_apply_options {
    const FIRST: usize = std::mem::offset_of!(Self, actions_json) + size_of::<usize>();
    const NAME: &'static str = "cv_apply_options";
}

/// What is put on the disks.
enum Source {
    Nothing,
    Image(Image),
    Sent(Receiving),
}

impl Source {
    fn read(o: &cv_apply_options) -> Result<Self> {
        if o.multicast.is_null() && !(o.multicast_options.is_null() && o.mirrors.is_null()) {
            return Err(Error::invalid("options.multicast_options and options.mirrors are for options.multicast"));
        }
        match (o.image.is_null(), o.multicast.is_null()) {
            (false, false) => Err(Error::invalid("options.image and options.multicast are both given")
                .hint("which image is to come says the plan that is made for it")),
            (false, true) => Ok(Self::Image(hold(o.image)?.clone())),
            (true, false) => Receiving::read_for_disks(o.multicast, o.multicast_options, o.mirrors).map(Self::Sent),
            (true, true) => Ok(Self::Nothing),
        }
    }

    fn apply(self, plan: &Plan, options: &DeployOptions, confirm: &Confirm, task: &Task) -> Result<Value> {
        let image = match self {
            Self::Nothing => None,
            Self::Image(image) => Some(image),
            Self::Sent(from) => return Ok(drive::deploy(plan, from.open()?, options, confirm, task)?.to_json()),
        };
        Ok(deploy::apply(plan, image.as_ref(), options, confirm, task)?.to_json())
    }
}

/// Core's options for C's.
fn read(p: *const cv_apply_options) -> Result<(Source, DeployOptions)> {
    let o = options(p)?;
    let source = Source::read(&o)?;
    let actions = optional_text(o.actions_json, "options.actions_json")?.map(Action::parse_list).transpose()?;
    let hostname = optional_text(o.hostname, "options.hostname")?.map(str::to_owned);
    let mut secrets = Secrets::new();
    for secret in slice(o.secrets, o.secret_count, "options.secrets")? {
        let name = text(secret.name, "options.secrets.name")?;
        secrets.add(name, slice(secret.bytes, secret.length, "options.secrets.bytes")?.to_vec())?;
    }
    let backend = match o.backend {
        CV_BACKEND_KERNEL => Backend::Kernel,
        CV_BACKEND_OFFLINE => Backend::Offline,
        n => return Err(Error::invalid(format!("options.backend is {n}, which is none of CV_BACKEND_…"))),
    };
    let journal = optional_path(o.journal, "options.journal")?.map(Path::to_owned);
    let tpm = optional_text(o.tpm2_device, "options.tpm2_device")?.map(str::to_owned);
    let apply = ApplyOptions { secrets, backend, journal, resume: o.resume != 0, tpm };
    Ok((source, DeployOptions { hostname, actions: actions.unwrap_or_default(), verify: o.verify != 0, apply }))
}

/// Makes the disks what the plan says, and deploys an image on them if the options have one: WHAT IS ON THEM IS LOST.
/// `token` is that of the plan; with any other it is `CV_E_REFUSED`, and nothing is written. The result is a JSON object
/// `{layout, disks, filesystems, kernels, …}`, of an image that was sent to many with `delivered`, the result of `cv_mcast_recv`. `options` and `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_apply(
    plan: *const cv_plan,
    token: *const c_char,
    options: *const cv_apply_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    applied_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let confirm = Confirm::Token(text(token, "token")?.to_owned());
        let ((source, options), applied) = (read(options)?, out(applied_json, "applied_json")?);
        let plan = hold(plan)?;
        applied.json(&task(on_event, user).run("apply", |t| source.apply(&plan, &options, &confirm, t))?)
    })
}

/// Starts what `cv_plan_apply` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_plan_apply_start(
    plan: *const cv_plan,
    token: *const c_char,
    options: *const cv_apply_options,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let confirm = Confirm::Token(text(token, "token")?.to_owned());
        let ((source, options), job) = (read(options)?, out(job, "job")?);
        let plan = hold(plan)?.clone();
        job.set(start("apply", move |t| source.apply(&plan, &options, &confirm, t))?);
        Ok(())
    })
}

/// The journal of an apply: a JSON object `{plan, steps, saved, done}`. `plan` is its first line, `steps` says what was
/// begun and what of it is done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_journal_read(journal: *const c_char, journal_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let (path, json) = (path(journal, "journal")?, out(journal_json, "journal_json")?);
        json.json(&Journal::read(path)?.to_json())
    })
}
