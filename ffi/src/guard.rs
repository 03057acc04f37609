//! The guard that every exported function is inside of, and the only place that reads and writes C's memory.
//!
//! [`guard`] runs a closure, turns its error or panic into a code and keeps the details for `cv_last_error`. Arguments
//! are read by the functions here, which check for NULL and for UTF-8, and name the argument when they complain.
//!
//! The functions are not `unsafe` themselves: they take what an exported function was given, and that function is
//! `unsafe` for exactly this reason.

use crate::error;
use libcv::{Error, ErrorKind, Result};
use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Runs `f`: 0, or the negative code of its error. A panic is [`ErrorKind::Bug`].
pub(crate) fn guard(f: impl FnOnce() -> Result<()>) -> i32 {
    let done = catch_unwind(AssertUnwindSafe(f));
    let error = match done {
        Ok(Ok(())) => return 0,
        Ok(Err(e)) => e,
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            // A payload may panic again when it is dropped.
            std::mem::forget(payload);
            Error::new(ErrorKind::Bug, format!("a bug in libcv: {}", text.unwrap_or_else(|| "a panic".into())))
        }
    };
    let code = error.kind().code();
    error::keep(&error);
    -code
}

fn null(name: &str) -> Error {
    Error::invalid(format!("the argument {name} is NULL")).fact("argument", name)
}

/// Bytes up to the NUL.
pub(crate) fn bytes<'a>(p: *const c_char, name: &str) -> Result<&'a [u8]> {
    if p.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL, and the caller of the exported function promises a text that ends with NUL.
    Ok(unsafe { CStr::from_ptr(p) }.to_bytes())
}

/// So many of something; NULL is fine for none.
pub(crate) fn slice<'a, T>(p: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if p.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL, and the caller of the exported function promises `count` of them.
    Ok(unsafe { std::slice::from_raw_parts(p, count) })
}

/// A text in UTF-8.
pub(crate) fn text<'a>(p: *const c_char, name: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes(p, name)?)
        .map_err(|_| Error::invalid(format!("the argument {name} is not UTF-8")).fact("argument", name))
}

/// A text, or `None` for NULL.
pub(crate) fn optional_text<'a>(p: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if p.is_null() { Ok(None) } else { text(p, name).map(Some) }
}

/// A path: any bytes but NUL.
pub(crate) fn path<'a>(p: *const c_char, name: &str) -> Result<&'a Path> {
    match bytes(p, name)? {
        b"" => Err(Error::invalid(format!("the argument {name} is empty")).fact("argument", name)),
        bytes => Ok(Path::new(OsStr::from_bytes(bytes))),
    }
}

/// A path, or `None` for NULL.
pub(crate) fn optional_path<'a>(p: *const c_char, name: &str) -> Result<Option<&'a Path>> {
    if p.is_null() { Ok(None) } else { path(p, name).map(Some) }
}

/// A list of texts, of which NULL is the empty one.
pub(crate) fn texts(p: *const *const c_char, count: usize, name: &str) -> Result<Vec<String>> {
    pointers(p, count, name)?.iter().map(|p| text(*p, name).map(str::to_owned)).collect()
}

/// A list of paths, of which NULL is the empty one.
pub(crate) fn paths(p: *const *const c_char, count: usize, name: &str) -> Result<Vec<PathBuf>> {
    pointers(p, count, name)?.iter().map(|p| path(*p, name).map(Path::to_owned)).collect()
}

fn pointers<'a>(p: *const *const c_char, count: usize, name: &str) -> Result<&'a [*const c_char]> {
    if count == 0 {
        return Ok(&[]);
    }
    if p.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL, and the caller promises `count` pointers.
    Ok(unsafe { std::slice::from_raw_parts(p, count) })
}

/// A copy of a file descriptor of the caller, so that none of the caller's is ever closed.
pub(crate) fn file(fd: i32, name: &str) -> Result<File> {
    if fd < 0 {
        return Err(Error::invalid(format!("the argument {name} is not a file descriptor")).fact("argument", name));
    }
    // SAFETY: not -1, and the caller promises that it stays open during the call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let copy = borrowed.try_clone_to_owned().map_err(|e| Error::io("use", format!("the file descriptor {fd}"), e))?;
    Ok(copy.into())
}

/// An array of 16 bytes, or `None` for NULL.
pub(crate) fn optional_array(p: *const u8) -> Option<[u8; 16]> {
    // SAFETY: the caller promises 16 bytes where it is not NULL.
    (!p.is_null()).then(|| unsafe { p.cast::<[u8; 16]>().read_unaligned() })
}

/// An options structure: its first field is its size as the caller knows it, and zeros mean the default.
///
/// # Safety
/// Every pattern of bits must be a value of the type, as it is for structures of numbers and pointers.
pub(crate) unsafe trait Options: Default + Copy {
    /// The size of its first version.
    const FIRST: usize;
    /// Its name in C.
    const NAME: &'static str;
}

/// Copies an options structure of this or another version; NULL gives the defaults.
pub(crate) fn options<T: Options>(p: *const T) -> Result<T> {
    let mut out = T::default();
    if p.is_null() {
        return Ok(out);
    }
    // SAFETY: not NULL; every version of the structure begins with its size.
    let size = unsafe { p.cast::<u32>().read() } as usize;
    let known = size_of::<T>();
    if size < T::FIRST || size > 4096 {
        return Err(Error::invalid(format!("the size of {} is {size}, not that of the structure", T::NAME))
            .hint(format!("set .size = sizeof({})", T::NAME)));
    }
    // SAFETY: the caller promises `size` bytes; those that this version knows are a prefix of them.
    unsafe { std::ptr::copy_nonoverlapping(p.cast::<u8>(), (&raw mut out).cast::<u8>(), size.min(known)) };
    for at in known..size {
        // SAFETY: within the `size` bytes.
        if unsafe { p.cast::<u8>().add(at).read() } != 0 {
            return Err(Error::unsupported(format!("{} asks for what this version does not know", T::NAME)));
        }
    }
    Ok(out)
}

/// A function of the caller with the pointer that it wants back.
pub(crate) struct Callback {
    function: unsafe extern "C" fn(*const c_char, *mut c_void) -> i32,
    user: *mut c_void,
}

// SAFETY: the pointer is handed back and never read; the caller promises that its function may be called from any
// thread with it.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl Callback {
    pub(crate) fn new(function: unsafe extern "C" fn(*const c_char, *mut c_void) -> i32, user: *mut c_void) -> Self {
        Self { function, user }
    }

    pub(crate) fn call(&self, text: &CStr) -> i32 {
        // SAFETY: the caller gave a function of this type, and promises that it does not throw.
        unsafe { (self.function)(text.as_ptr(), self.user) }
    }
}

/// A place for a result, written only on success.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Writes the result.
    pub(crate) fn set(self, value: T) {
        // SAFETY: `out` checked for NULL, and the caller promises a place for a `T`.
        unsafe { self.0.write(value) }
    }
}

/// The place that an output argument gives.
pub(crate) fn out<T>(p: *mut T, name: &str) -> Result<Out<T>> {
    if p.is_null() { Err(null(name)) } else { Ok(Out(p)) }
}

impl Out<*mut c_char> {
    /// Gives a text to C, which frees it with `cv_string_free`.
    pub(crate) fn text(self, text: impl Into<String>) -> Result<()> {
        self.set(owned(text)?.into_raw());
        Ok(())
    }

    /// Gives a value as JSON text.
    pub(crate) fn json(self, value: &impl serde::Serialize) -> Result<()> {
        self.text(json(value)?)
    }
}

/// A value as JSON text.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::new(ErrorKind::Bug, "a result is no JSON").cause(e))
}

/// A text for C.
pub(crate) fn owned(text: impl Into<String>) -> Result<CString> {
    CString::new(text.into()).map_err(|_| Error::integrity("a text holds a NUL byte"))
}

/// Takes a text back that [`Out::text`] gave.
pub(crate) fn reclaim(p: *mut c_char) {
    if !p.is_null() {
        // SAFETY: the caller promises that it came from `Out::text` and is given back once.
        drop(unsafe { CString::from_raw(p) });
    }
}
