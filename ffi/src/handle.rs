//! Handles: what C holds of our objects.
//!
//! A handle looks like a pointer to C but is the key of a table, and never read through. So a handle that was closed,
//! is of another type, or is no handle at all is found in every case, and is [`ErrorKind::Misuse`], not a crash.
//!
//! ```text
//!  give ──> free ──> (gone)        call: free ──> busy ──> free
//!            ^ a second call or a close while it is busy is Misuse
//! ```
//!
//! Keys are never used twice.

use libcv::{Error, ErrorKind, Result};
use std::any::Any;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// A type that C names, such as `cv_store`, and the object behind it.
pub(crate) trait Opaque {
    /// The object.
    type Object: Send + Sync + 'static;
    /// The name of the type in C.
    const NAME: &'static str;
}

struct Slot<T> {
    busy: AtomicBool,
    object: T,
}

type Table = HashMap<usize, Arc<dyn Any + Send + Sync>>;

static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// Where keys begin and how they grow: odd, so that none is the address of an object that C made.
const BASE: usize = 0xc5c5_0001;
const STEP: usize = 16;

/// An object in the hands of one call.
pub(crate) struct Held<T>(Arc<Slot<T>>);

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.object
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// Gives an object to C.
pub(crate) fn give<H: Opaque>(object: H::Object) -> *mut H {
    let key = BASE.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP));
    let slot = Slot { busy: AtomicBool::new(false), object };
    TABLE.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(slot));
    std::ptr::without_provenance_mut(key)
}

/// Takes hold of the object of a handle for one call.
pub(crate) fn hold<H: Opaque>(handle: *const H) -> Result<Held<H::Object>> {
    let slot = find(handle)?;
    if slot.busy.swap(true, Ordering::Acquire) {
        return Err(busy::<H>());
    }
    Ok(Held(slot))
}

/// Runs `f` on the object of a handle although a call may be going on: for what is made for that, such as a cancel.
pub(crate) fn peek<H: Opaque, R>(handle: *const H, f: impl FnOnce(&H::Object) -> R) -> Result<R> {
    Ok(f(&find(handle)?.object))
}

/// Takes a handle back and drops its object. NULL is fine.
pub(crate) fn close<H: Opaque>(handle: *const H) -> Result<()> {
    if handle.is_null() {
        return Ok(());
    }
    let held = hold(handle)?;
    TABLE.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.addr());
    drop(held);
    Ok(())
}

fn find<H: Opaque>(handle: *const H) -> Result<Arc<Slot<H::Object>>> {
    if handle.is_null() {
        return Err(Error::invalid(format!("a {} is NULL", H::NAME)));
    }
    let found = TABLE.read().unwrap_or_else(PoisonError::into_inner).get(&handle.addr()).cloned();
    let object = found.ok_or_else(|| misuse(format!("this {} is closed or never was one", H::NAME)))?;
    object.downcast().map_err(|_| misuse(format!("this handle is not a {}", H::NAME)))
}

fn busy<H: Opaque>() -> Error {
    misuse(format!("this {} is in use by another call", H::NAME))
        .hint("one call at a time, or a handle for each thread")
}

fn misuse(message: String) -> Error {
    Error::new(ErrorKind::Misuse, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct a_thing;
    impl Opaque for a_thing {
        type Object = String;
        const NAME: &'static str = "a_thing";
    }
    struct b_thing;
    impl Opaque for b_thing {
        type Object = u64;
        const NAME: &'static str = "b_thing";
    }

    fn code<T>(r: Result<T>) -> ErrorKind {
        r.err().expect("must fail").kind()
    }

    #[test]
    fn wrong_handles_are_misuse() {
        let a = give::<a_thing>("x".into());
        assert_eq!(*hold(a).unwrap(), "x");
        assert_eq!(code(hold(a.cast::<b_thing>())), ErrorKind::Misuse);
        assert_eq!(code(hold(std::ptr::dangling::<a_thing>())), ErrorKind::Misuse);
        assert_eq!(code(hold(std::ptr::null::<a_thing>())), ErrorKind::Invalid);
        close(a).unwrap();
        assert_eq!(code(hold(a)), ErrorKind::Misuse);
        assert_eq!(code(close(a)), ErrorKind::Misuse);
        close(std::ptr::null::<a_thing>()).unwrap();
    }

    #[test]
    fn one_call_at_a_time() {
        let a = give::<a_thing>("x".into());
        let held = hold(a).unwrap();
        assert_eq!(code(hold(a)), ErrorKind::Misuse);
        assert_eq!(code(close(a)), ErrorKind::Misuse);
        assert_eq!(peek(a, String::len).unwrap(), 1);
        drop(held);
        close(a).unwrap();
    }
}
