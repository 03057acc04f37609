//! Copies of a store, and how one heals another.

use crate::event::{cv_event_fn, task};
use crate::guard::{guard, out, path, texts};
use crate::handle::{give, hold};
use crate::job::{cv_job, start};
use crate::store::cv_store;
use libcv::store::{Store, SyncOptions};
use std::ffi::{c_char, c_void};

/// Brings what the store `to` lacks of `count` names, or of all when there are none, into it. The result is a JSON object
/// `{names, generations, images, chunks, read_bytes, stored_bytes, tags}`. `names` may be NULL when `count` is 0;
/// `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_sync(
    store: *const cv_store,
    to: *const cv_store,
    names: *const *const c_char,
    count: usize,
    on_event: cv_event_fn,
    user: *mut c_void,
    synced_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (names, synced) = (texts(names, count, "names")?, out(synced_json, "synced_json")?);
        let (store, to) = (hold(store)?, hold(to)?);
        let options = SyncOptions { names, ..SyncOptions::default() };
        synced.json(&task(on_event, user).run("sync", |t| store.sync(&to, &options, t))?)
    })
}

/// Starts what `cv_store_sync` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_sync_start(
    store: *const cv_store,
    to: *const cv_store,
    names: *const *const c_char,
    count: usize,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (names, job) = (texts(names, count, "names")?, out(job, "job")?);
        let (store, to) = (hold(store)?.clone(), hold(to)?.clone());
        let options = SyncOptions { names, ..SyncOptions::default() };
        job.set(start("sync", move |t| store.sync(&to, &options, t))?);
        Ok(())
    })
}

/// Makes a directory an exact copy of a store, object by object: an empty one, one that does not exist, or one that is its copy already. The
/// result is a JSON object `{objects, packs, bytes, removed}`. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_mirror(
    store: *const cv_store,
    directory: *const c_char,
    on_event: cv_event_fn,
    user: *mut c_void,
    pulled_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (directory, pulled) = (path(directory, "directory")?, out(pulled_json, "pulled_json")?);
        let store = hold(store)?;
        pulled.json(&task(on_event, user).run("mirror", |t| store.mirror(directory, t))?)
    })
}

/// Starts what `cv_store_mirror` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_mirror_start(
    store: *const cv_store,
    directory: *const c_char,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (directory, job) = (path(directory, "directory")?.to_owned(), out(job, "job")?);
        let store = hold(store)?.clone();
        job.set(start("mirror", move |t| store.mirror(&directory, t))?);
        Ok(())
    })
}

/// Opens a store to repair it, even if `store.json` is damaged or lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_open_to_repair(directory: *const c_char, store: *mut *mut cv_store) -> i32 {
    guard(|| {
        let (directory, store) = (path(directory, "directory")?, out(store, "store")?);
        store.set(give(Store::open_to_repair(directory)?));
        Ok(())
    })
}

/// Heals what is damaged or lost in a store from the store `from`. The result is a JSON object `{found, healed,
/// removed, chunks, stored_bytes, faults}`, whose array `faults` says what is left. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_repair(
    store: *const cv_store,
    from: *const cv_store,
    on_event: cv_event_fn,
    user: *mut c_void,
    repaired_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let repaired = out(repaired_json, "repaired_json")?;
        let (store, from) = (hold(store)?, hold(from)?);
        repaired.json(&task(on_event, user).run("repair", |t| store.repair(&from, t))?)
    })
}

/// Starts what `cv_store_repair` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_repair_start(
    store: *const cv_store,
    from: *const cv_store,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let job = out(job, "job")?;
        let (store, from) = (hold(store)?.clone(), hold(from)?.clone());
        job.set(start("repair", move |t| store.repair(&from, t))?);
        Ok(())
    })
}
