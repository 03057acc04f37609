//! Layouts: what disks are to look like.

use crate::guard::{
    Options, bytes, guard, optional_array, optional_path, optional_text, options, out, path, paths, text, texts,
};
use crate::handle::{Opaque, close, give, hold};
use crate::image::cv_image;
use crate::plan::cv_plan;
use libcv::Result;
use libcv::layout::capture::LayoutCaptureOptions;
use libcv::layout::inventory::Inventory;
use libcv::layout::{self, Disks, Layout, LayoutOptions, PlanOptions};
use std::ffi::c_char;
use std::path::PathBuf;

/// A layout document that is right in itself.
pub struct cv_layout;

impl Opaque for cv_layout {
    type Object = Layout;
    const NAME: &'static str = "cv_layout";
}

/// What a plan is told besides the disks. Zeros are the defaults: `cv_plan_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_plan_options {
    /// `sizeof(cv_plan_options)`.
    pub size: u32,
    /// The sector size that image files get, in bytes; the layout's own goes first.
    pub sector: u32,
    /// The name of the node, or NULL.
    pub hostname: *const c_char,
    /// 16 bytes that identities come from, or NULL: they then come from layout, disks, host name and this boot.
    pub seed: *const u8,
    /// The image that the disks are for, or NULL; what it says about itself is looked at.
    pub image: *const cv_image,
    /// The journal of an interrupted apply that the plan is to go on with, or NULL: identities come from its seed.
    pub resume: *const c_char,
    /// The disks of another machine as JSON, shape `cv.inventory/v1`, or NULL: those of this one. With it no disk is opened,
    /// paths are those of that machine, and the plan cannot be applied: its token confirms the same plan made there.
    pub inventory_json: *const c_char,
}

impl Default for cv_plan_options {
    fn default() -> Self {
        let size = size_of::<Self>() as u32;
        let (hostname, seed, image) = (std::ptr::null(), std::ptr::null(), std::ptr::null());
        let (resume, inventory_json) = (std::ptr::null(), std::ptr::null());
        Self { size, sector: 0, hostname, seed, image, resume, inventory_json }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_plan_options {
    const FIRST: usize = std::mem::offset_of!(Self, image) + size_of::<usize>();
    const NAME: &'static str = "cv_plan_options";
}

/// How to capture a layout. Zeros are the defaults: `cv_layout_capture_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_layout_capture_options {
    /// `sizeof(cv_layout_capture_options)`.
    pub size: u32,
    /// Not 0: match these very disks, by serial number or world wide name.
    pub pin: u8,
    /// Not 0: keep the UUIDs of partitions and filesystems.
    pub keep_uuids: u8,
    /// Zeros.
    pub reserved: [u8; 2],
    /// The root of the system whose fstab, crypttab and command line are read. NULL: `/`, or none where disks are named.
    pub root: *const c_char,
    /// The name of the layout; NULL: that of the machine.
    pub name: *const c_char,
}

impl Default for cv_layout_capture_options {
    fn default() -> Self {
        let size = size_of::<Self>() as u32;
        Self { size, pin: 0, keep_uuids: 0, reserved: [0; 2], root: std::ptr::null(), name: std::ptr::null() }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_layout_capture_options {
    const FIRST: usize = std::mem::offset_of!(Self, name) + size_of::<usize>();
    const NAME: &'static str = "cv_layout_capture_options";
}

/// Core's options for C's.
fn read(p: *const cv_plan_options) -> Result<(PlanOptions, Option<Inventory>)> {
    let o = options(p)?;
    let inventory = optional_text(o.inventory_json, "options.inventory_json")?;
    let inventory = inventory.map(|text| Inventory::from_json(text.as_bytes())).transpose()?;
    let image = match o.image.is_null() {
        true => None,
        false => Some((&*hold(o.image)?).into()),
    };
    let hostname = optional_text(o.hostname, "options.hostname")?.map(str::to_owned);
    let sector = (o.sector != 0).then_some(o.sector);
    let resume = optional_path(o.resume, "options.resume")?.map(Into::into);
    let options = PlanOptions { seed: optional_array(o.seed), resume, hostname, image, sector, ram: None };
    Ok((options, inventory))
}

/// Reads a document in YAML or JSON; `name` stands for it in messages. When something is wrong, the error has all of it
/// in `detail.diagnostics`, with line and column.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_parse(
    document: *const c_char,
    name: *const c_char,
    layout: *mut *mut cv_layout,
) -> i32 {
    guard(|| {
        let (document, name) = (bytes(document, "document")?, text(name, "name")?);
        let layout = out(layout, "layout")?;
        layout.set(give(Layout::parse(document, name)?));
        Ok(())
    })
}

/// Reads a document from a file, as `cv_layout_parse` does. What it extends lies beside it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_load(file: *const c_char, layout: *mut *mut cv_layout) -> i32 {
    guard(|| {
        let (file, layout) = (path(file, "file")?, out(layout, "layout")?);
        layout.set(give(Layout::load(file)?));
        Ok(())
    })
}

/// Reads a document from a file. What it extends lies beside it, or else in one of the `count` directories of `search`, the
/// first of which that has it counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_load_from(
    file: *const c_char,
    search: *const *const c_char,
    count: usize,
    layout: *mut *mut cv_layout,
) -> i32 {
    guard(|| {
        let (file, search) = (path(file, "file")?, paths(search, count, "search")?);
        let layout = out(layout, "layout")?;
        layout.set(give(Layout::load_with(file, &LayoutOptions { search, ..LayoutOptions::default() })?));
        Ok(())
    })
}

/// Everything that is wrong with a document in a file and with what it extends, as `cv_layout_check` gives it; where the
/// mistake is in another document, it has `document` besides. What it extends is found as by `cv_layout_load_from`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_check_file(
    file: *const c_char,
    search: *const *const c_char,
    count: usize,
    diagnostics_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (file, search) = (path(file, "file")?, paths(search, count, "search")?);
        let diagnostics = out(diagnostics_json, "diagnostics_json")?;
        diagnostics.json(&layout::check_file(file, &LayoutOptions { search, ..LayoutOptions::default() })?)
    })
}

/// Everything that is wrong with a document that extends no other: a JSON array of `{code, severity, path, line, column,
/// message, hint}`, empty when nothing is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_check(
    document: *const c_char,
    name: *const c_char,
    diagnostics_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (document, name) = (bytes(document, "document")?, text(name, "name")?);
        let diagnostics = out(diagnostics_json, "diagnostics_json")?;
        diagnostics.json(&layout::check(document, name))
    })
}

/// The JSON Schema of layout documents.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_schema(schema_json: *mut *mut c_char) -> i32 {
    guard(|| out(schema_json, "schema_json")?.json(&Layout::json_schema()))
}

/// Frees a layout. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_free(layout: *mut cv_layout) -> i32 {
    guard(|| close(layout))
}

/// The name of a layout.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_name(layout: *const cv_layout, name: *mut *mut c_char) -> i32 {
    guard(|| {
        let name = out(name, "name")?;
        name.text(hold(layout)?.name())
    })
}

/// A layout, with all that it extends, as a JSON document, which `cv_layout_parse` reads again. The order of its keys means
/// something.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_json(layout: *const cv_layout, document_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let document = out(document_json, "document_json")?;
        document.text(hold(layout)?.to_json())
    })
}

/// What stands for the meaning of a layout, 64 hex digits: the same however it is written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_hash(layout: *const cv_layout, hash: *mut *mut c_char) -> i32 {
    guard(|| {
        let hash = out(hash, "hash")?;
        hash.text(hold(layout)?.hash())
    })
}

/// Captures a layout from the disks of this machine, or from the `count` disks or image files that are named; they are
/// opened for reading. The result is a JSON object: `document` is YAML with what was observed in comments, `layout` the
/// same as JSON, which `cv_layout_parse` reads; `notes` and `unsupported` are texts. `options` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_capture(
    disks: *const *const c_char,
    count: usize,
    options: *const cv_layout_capture_options,
    captured_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (disks, o) = (paths(disks, count, "disks")?, self::options(options)?);
        let captured = out(captured_json, "captured_json")?;
        let wanted = LayoutCaptureOptions {
            disks,
            root: optional_path(o.root, "options.root")?.map(Into::into),
            name: optional_text(o.name, "options.name")?.map(str::to_owned),
            pin: o.pin != 0,
            keep_uuids: o.keep_uuids != 0,
        };
        captured.json(&layout::capture::capture(&wanted)?.to_json())
    })
}

/// Makes a plan for these disks, which are opened for reading only: the disk or image file `disks[i]` belongs to the set
/// `sets[i]` of the layout; a set of several disks is named for each. `options` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_layout_plan(
    layout: *const cv_layout,
    sets: *const *const c_char,
    disks: *const *const c_char,
    count: usize,
    options: *const cv_plan_options,
    plan: *mut *mut cv_plan,
) -> i32 {
    guard(|| {
        let (sets, disks) = (texts(sets, count, "sets")?, texts(disks, count, "disks")?);
        let ((options, inventory), plan) = (read(options)?, out(plan, "plan")?);
        let mut chosen = Disks::new();
        for (set, disk) in sets.into_iter().zip(disks) {
            chosen.entry(set).or_default().push(PathBuf::from(disk));
        }
        let layout = hold(layout)?;
        plan.set(give(match inventory {
            None => layout.plan(&chosen, &options)?,
            Some(inventory) => layout.plan_recorded(&inventory, &chosen, &options)?,
        }));
        Ok(())
    })
}
