//! Values of one side as values of the other.

use crate::error::{OrRaise, raise};
use libcv::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// A JSON value as Python's.
pub(crate) fn json<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(b) => b.into_pyobject(py)?.to_owned().into_any(),
        Value::Number(n) => {
            if let Some(n) = n.as_u64() {
                n.into_pyobject(py)?.into_any()
            } else if let Some(n) = n.as_i64() {
                n.into_pyobject(py)?.into_any()
            } else {
                n.as_f64().unwrap_or(f64::NAN).into_pyobject(py)?.into_any()
            }
        }
        Value::String(s) => PyString::new(py, s).into_any(),
        Value::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(json(py, item)?)?;
            }
            list.into_any()
        }
        Value::Object(fields) => {
            let dict = PyDict::new(py);
            for (key, value) in fields {
                dict.set_item(key, json(py, value)?)?;
            }
            dict.into_any()
        }
    })
}

/// Anything that serialises, as Python's dictionaries and lists.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    json(py, &to_value(value).map_err(|e| raise(py, &e))?)
}

/// Anything that serialises, as JSON.
pub(crate) fn to_value(value: &impl serde::Serialize) -> libcv::Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::new(ErrorKind::Bug, "a result is no JSON").cause(e))
}

/// A path of the system: `str`, `bytes` or `os.PathLike`.
pub(crate) struct SystemPath(pub(crate) PathBuf);

impl FromPyObject<'_, '_> for SystemPath {
    type Error = PyErr;

    fn extract(ob: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        Ok(Self(PathBuf::from(encoded(ob)?)))
    }
}

/// A path in an image: as a path of the system, from the root, with or without the leading slash.
pub(crate) struct ImagePath(pub(crate) Vec<u8>);

impl FromPyObject<'_, '_> for ImagePath {
    type Error = PyErr;

    fn extract(ob: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        use std::os::unix::ffi::OsStringExt;
        let bytes = encoded(ob)?.into_vec();
        let start = bytes.iter().position(|&c| c != b'/').unwrap_or(bytes.len());
        Ok(Self(bytes[start..].strip_suffix(b"/").unwrap_or(&bytes[start..]).to_vec()))
    }
}

/// `os.fsdecode(bytes)`, which keeps what is not UTF-8 as surrogates.
pub(crate) fn decoded<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    use std::os::unix::ffi::OsStrExt;
    Ok(std::ffi::OsStr::from_bytes(bytes).into_pyobject(py)?.into_any())
}

/// `os.fsencode(path)`.
fn encoded(ob: Borrowed<'_, '_, PyAny>) -> PyResult<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let bytes: Vec<u8> = ob.py().import("os")?.call_method1("fsencode", (ob,))?.extract()?;
    if bytes.contains(&0) {
        return Err(raise(ob.py(), &Error::invalid("a path holds a NUL byte")));
    }
    Ok(OsString::from_vec(bytes))
}

/// Whatever an archive can be read from or written to: a path, a file descriptor, or an object with `fileno()`.
pub(crate) enum FileLike {
    /// A path, not opened yet.
    Path(PathBuf),
    /// A copy of a descriptor of the caller, so that the caller's own is never closed.
    Open(File),
}

impl FileLike {
    /// The file, to read from.
    pub(crate) fn reader(self) -> libcv::Result<File> {
        match self {
            Self::Path(p) => File::open(&p).map_err(|e| Error::io("open", p.display(), e)),
            Self::Open(f) => Ok(f),
        }
    }

    /// The file, to write to; one that is there is replaced.
    pub(crate) fn writer(self) -> libcv::Result<File> {
        match self {
            Self::Path(p) => File::create(&p).map_err(|e| Error::io("create", p.display(), e)),
            Self::Open(f) => Ok(f),
        }
    }
}

impl FromPyObject<'_, '_> for FileLike {
    type Error = PyErr;

    fn extract(ob: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let py = ob.py();
        if let Ok(fd) = ob.extract::<i32>() {
            return copy(fd).or_raise(py).map(Self::Open);
        }
        if !ob.hasattr("fileno")? {
            return Ok(Self::Path(encoded(ob)?.into()));
        }
        if ob.hasattr("flush")? {
            ob.call_method0("flush")?;
        }
        copy(ob.call_method0("fileno")?.extract()?).or_raise(py).map(Self::Open)
    }
}

/// A copy of a file descriptor.
fn copy(fd: i32) -> libcv::Result<File> {
    if fd < 0 {
        return Err(Error::invalid(format!("{fd} is not a file descriptor")));
    }
    // SAFETY: not -1; whether it is open is what the copying finds out.
    #[allow(unsafe_code)]
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let owned = borrowed.try_clone_to_owned().map_err(|e| Error::io("use", format!("the file descriptor {fd}"), e))?;
    Ok(owned.into())
}

/// Whatever means an image: a REF, or an image object, which stands for its id.
pub(crate) struct Reference(pub(crate) String);

impl FromPyObject<'_, '_> for Reference {
    type Error = PyErr;

    fn extract(ob: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(image) = ob.cast::<crate::image::Image>() {
            return Ok(Self(image.get().0.id().to_string()));
        }
        Ok(Self(ob.extract()?))
    }
}
