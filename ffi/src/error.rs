//! Codes, names, and what went wrong last in this thread.

use crate::guard;
use libcv::Error;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

/// The version of this header.
pub const CV_VERSION_MAJOR: u32 = 0;
/// Second part of the version.
pub const CV_VERSION_MINOR: u32 = 1;
/// Third part of the version.
pub const CV_VERSION_PATCH: u32 = 0;

/// Success.
pub const CV_OK: i32 = 0;
/// Unclassified failure; an unknown code is one, too.
pub const CV_E_FAILED: i32 = 1;
/// A bad argument or document.
pub const CV_E_INVALID: i32 = 2;
/// Something named does not exist; the hint gives the nearest names.
pub const CV_E_NOT_FOUND: i32 = 10;
/// The version changed meanwhile, or an identity exists twice.
pub const CV_E_CONFLICT: i32 = 11;
/// Somebody else holds it.
pub const CV_E_BUSY: i32 = 12;
/// Not allowed: not armed, a used token, missing privilege.
pub const CV_E_DENIED: i32 = 13;
/// A digest does not fit, or a file is truncated or cannot be parsed.
pub const CV_E_INTEGRITY: i32 = 14;
/// Input breaks a rule that protects the machine.
pub const CV_E_UNSAFE_INPUT: i32 = 15;
/// A safety guard said no; the hint says how to confirm.
pub const CV_E_REFUSED: i32 = 16;
/// Space, quota, or a size or count over a limit.
pub const CV_E_LIMIT: i32 = 17;
/// The network or the peer failed.
pub const CV_E_NETWORK: i32 = 18;
/// Some nodes failed.
pub const CV_E_PARTIAL: i32 = 19;
/// Metadata that was rolled back or has expired.
pub const CV_E_STALE: i32 = 20;
/// Needs a version, tool, kernel or filesystem feature that is not here.
pub const CV_E_UNSUPPORTED: i32 = 21;
/// A plugin failed.
pub const CV_E_PLUGIN: i32 = 22;
/// The operating system returned an error.
pub const CV_E_IO: i32 = 23;
/// The work was cancelled.
pub const CV_E_CANCELLED: i32 = 24;
/// A closed or wrong handle, or a second call at once.
pub const CV_E_MISUSE: i32 = 25;
/// Waited too long.
pub const CV_E_TIMEOUT: i32 = 26;
/// A panic was caught: a bug of libcv.
pub const CV_E_BUG: i32 = 70;

/// The names of the codes, as they stand in JSON.
static NAMES: [(i32, &CStr); 21] = [
    (CV_OK, c"Ok"),
    (CV_E_FAILED, c"Failed"),
    (CV_E_INVALID, c"Invalid"),
    (CV_E_NOT_FOUND, c"NotFound"),
    (CV_E_CONFLICT, c"Conflict"),
    (CV_E_BUSY, c"Busy"),
    (CV_E_DENIED, c"Denied"),
    (CV_E_INTEGRITY, c"Integrity"),
    (CV_E_UNSAFE_INPUT, c"UnsafeInput"),
    (CV_E_REFUSED, c"Refused"),
    (CV_E_LIMIT, c"Limit"),
    (CV_E_NETWORK, c"Network"),
    (CV_E_PARTIAL, c"Partial"),
    (CV_E_STALE, c"Stale"),
    (CV_E_UNSUPPORTED, c"Unsupported"),
    (CV_E_PLUGIN, c"Plugin"),
    (CV_E_IO, c"Io"),
    (CV_E_CANCELLED, c"Cancelled"),
    (CV_E_MISUSE, c"Misuse"),
    (CV_E_TIMEOUT, c"Timeout"),
    (CV_E_BUG, c"Bug"),
];

/// What went wrong. It belongs to the library; later versions may add fields at the end.
#[repr(C)]
pub struct cv_error {
    /// Size of this structure in the version of the library that runs.
    pub size: u32,
    /// The code, positive: one of `CV_E_…`.
    pub code: i32,
    /// Its name, such as "NotFound".
    pub name: *const c_char,
    /// One sentence that a person can act on.
    pub message: *const c_char,
    /// What to do about it; NULL when there is nothing to say.
    pub hint: *const c_char,
    /// All of it as a JSON object: code, kind, message, hint, detail (the facts), causes.
    pub json: *const c_char,
}

/// The texts that a [`cv_error`] points to.
struct Kept {
    error: cv_error,
    _texts: [Option<CString>; 3],
}

thread_local! {
    static LAST: RefCell<Option<Box<Kept>>> = const { RefCell::new(None) };
}

/// Keeps the error of this thread for [`cv_last_error`].
pub(crate) fn keep(e: &Error) {
    let text = |s: &str| CString::new(s.replace('\0', "\\0")).unwrap_or_default();
    let texts = [Some(text(e.message())), e.hint_text().map(text), Some(text(&e.to_json().to_string()))];
    let at = |n: usize| texts[n].as_deref().map_or(std::ptr::null(), CStr::as_ptr);
    let code = e.kind().code();
    let error = cv_error {
        size: size_of::<cv_error>() as u32,
        code,
        name: name(code).as_ptr(),
        message: at(0),
        hint: at(1),
        json: at(2),
    };
    LAST.with(|l| *l.borrow_mut() = Some(Box::new(Kept { error, _texts: texts })));
}

fn name(code: i32) -> &'static CStr {
    NAMES.iter().find(|(c, _)| *c == code).map_or(c"Failed", |(_, n)| n)
}

/// The version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn cv_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(v) => v,
        Err(_) => panic!("a version has no NUL"),
    };
    VERSION.as_ptr()
}

/// What the last failing call of this thread said; NULL when none has failed. It is valid until the next call of this
/// thread that fails.
#[unsafe(no_mangle)]
pub extern "C" fn cv_last_error() -> *const cv_error {
    LAST.with(|l| l.borrow().as_ref().map_or(std::ptr::null(), |k| &raw const k.error))
}

/// The name of a code, which may be positive or as a function returned it; "Failed" for an unknown one. It is static.
#[unsafe(no_mangle)]
pub extern "C" fn cv_error_name(code: i32) -> *const c_char {
    name(code.saturating_abs()).as_ptr()
}

/// Frees a text that a function gave. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_string_free(text: *mut c_char) {
    guard::reclaim(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcv::ErrorKind;

    #[test]
    fn the_table_is_that_of_core() {
        assert_eq!(NAMES.len(), ErrorKind::ALL.len() + 1);
        for kind in ErrorKind::ALL {
            assert_eq!(name(kind.code()).to_str().unwrap(), kind.name());
        }
    }

    #[test]
    fn the_version_is_that_of_the_package() {
        let header = format!("{CV_VERSION_MAJOR}.{CV_VERSION_MINOR}.{CV_VERSION_PATCH}");
        assert_eq!(header, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn a_panic_is_a_bug_and_never_leaves() {
        assert_eq!(guard::guard(|| panic!("on purpose")), -CV_E_BUG);
        let kept = LAST.with(|l| l.borrow().as_ref().map(|k| k.error.code));
        assert_eq!(kept, Some(CV_E_BUG));
    }
}
