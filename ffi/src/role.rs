//! Roles: what is in an image.

use crate::guard::{bytes, guard, optional_text, out, path, paths, text, texts};
use crate::handle::{Opaque, close, give, hold};
use libcv::role::{self, Role, RoleOptions, Selector};
use libcv::{Error, Result};
use std::ffi::c_char;

/// A role that is right in itself, with all that it extends.
pub struct cv_role;

impl Opaque for cv_role {
    type Object = Role;
    const NAME: &'static str = "cv_role";
}

fn searching(search: *const *const c_char, count: usize) -> Result<RoleOptions> {
    Ok(RoleOptions { search: paths(search, count, "search")?, ..RoleOptions::default() })
}

/// Reads a role in YAML or JSON; `name` stands for it in messages. It may extend the roles that come with libcv. When
/// something is wrong, the error has all of it in `detail.diagnostics`, with line and column.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_parse(document: *const c_char, name: *const c_char, role: *mut *mut cv_role) -> i32 {
    guard(|| {
        let (document, name) = (bytes(document, "document")?, text(name, "name")?);
        let role = out(role, "role")?;
        role.set(give(Role::parse(document, name)?));
        Ok(())
    })
}

/// Reads a role from a file, or by its name: what has a `/` or an ending in it is a file. What a file extends, and files that
/// it names, lie beside it; roles are then looked for in the `count` directories of `search`, then among those that come
/// with libcv: minimal, node, login, storage, head.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_find(
    name_or_file: *const c_char,
    search: *const *const c_char,
    count: usize,
    role: *mut *mut cv_role,
) -> i32 {
    guard(|| {
        let name = text(name_or_file, "name_or_file")?;
        let (options, role) = (searching(search, count)?, out(role, "role")?);
        role.set(give(Role::find(name, &options)?));
        Ok(())
    })
}

/// Several roles as one that extends them, in this order; each of the `names_count` names is a role or a file as for
/// `cv_role_find`. One alone is that one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_find_all(
    names_or_files: *const *const c_char,
    names_count: usize,
    search: *const *const c_char,
    count: usize,
    role: *mut *mut cv_role,
) -> i32 {
    guard(|| {
        let names = texts(names_or_files, names_count, "names_or_files")?;
        let (options, role) = (searching(search, count)?, out(role, "role")?);
        role.set(give(Role::find_all(&names, &options)?));
        Ok(())
    })
}

/// Everything that is wrong with a role: a JSON array of `{code, severity, path, line, column, message, hint}`, empty when
/// nothing is; where the mistake is in a role that it extends, it has `document` besides.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_check(
    document: *const c_char,
    name: *const c_char,
    diagnostics_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (document, name) = (bytes(document, "document")?, text(name, "name")?);
        let diagnostics = out(diagnostics_json, "diagnostics_json")?;
        diagnostics.json(&role::check(document, name))
    })
}

/// Everything that is wrong with a role in a file, as `cv_role_check` gives it. What it extends is found as by
/// `cv_role_find`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_check_file(
    file: *const c_char,
    search: *const *const c_char,
    count: usize,
    diagnostics_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (file, options) = (path(file, "file")?, searching(search, count)?);
        let diagnostics = out(diagnostics_json, "diagnostics_json")?;
        diagnostics.json(&role::check_file(file, &options)?)
    })
}

/// The JSON Schema of roles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_schema(schema_json: *mut *mut c_char) -> i32 {
    guard(|| out(schema_json, "schema_json")?.json(&Role::json_schema()))
}

/// Frees a role. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_free(role: *mut cv_role) -> i32 {
    guard(|| close(role))
}

/// The name of a role.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_name(role: *const cv_role, name: *mut *mut c_char) -> i32 {
    guard(|| {
        let name = out(name, "name")?;
        name.text(hold(role)?.name())
    })
}

/// A role, with all that it extends, as a JSON document, which `cv_role_parse` reads again; or only what it says of one
/// system, such as `el9`, `debian12`, `ubuntu24.04`. `system` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_json(
    role: *const cv_role,
    system: *const c_char,
    document_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let system = optional_text(system, "system")?.map(selector).transpose()?;
        let document = out(document_json, "document_json")?;
        let role = hold(role)?;
        match system {
            None => document.text(role.to_json()),
            Some(system) => document.json(&role.part(system)),
        }
    })
}

/// A role, with all that it extends, as a YAML document, as a person would write it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_yaml(role: *const cv_role, document: *mut *mut c_char) -> i32 {
    guard(|| {
        let document = out(document, "document")?;
        document.text(hold(role)?.to_yaml()?)
    })
}

/// What stands for the meaning of a role, 64 hex digits: the same however it is written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_role_digest(role: *const cv_role, digest: *mut *mut c_char) -> i32 {
    guard(|| {
        let digest = out(digest, "digest")?;
        digest.text(hold(role)?.digest())
    })
}

fn selector(text: &str) -> Result<Selector> {
    let bad = || Error::invalid(format!("\"{text}\" is no system")).hint("write el9, debian12 or ubuntu24.04");
    Selector::parse(text).ok_or_else(bad)
}
