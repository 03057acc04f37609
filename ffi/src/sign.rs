//! Keys and signatures: who made an image.

use crate::event::{cv_event_fn, task};
use crate::guard::{bytes, guard, out, path, paths, text};
use crate::handle::{give, hold};
use crate::image::cv_image;
use crate::job::{cv_job, start};
use crate::store::cv_store;
use libcv::sign::{Keyring, Signer, generate};
use libcv::store::Trust;
use std::ffi::{OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;

/// Makes an Ed25519 key: the private half in `file`, which must not exist and which only its owner may read, the public
/// half in `file.pub`; gives the key id, 16 hex digits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_key_generate(file: *const c_char, key_id: *mut *mut c_char) -> i32 {
    guard(|| {
        let (file, key_id) = (path(file, "file")?, out(key_id, "key_id")?);
        key_id.text(generate(file)?.id().to_string())
    })
}

/// Opens a store once more, as one that signs each generation it makes (captures, imports, roll backs, removals), and
/// each file that it derives, with the private key in `key_file`. Both handles are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_signing(
    store: *const cv_store,
    key_file: *const c_char,
    signing: *mut *mut cv_store,
) -> i32 {
    guard(|| {
        let (key_file, signing) = (path(key_file, "key_file")?, out(signing, "signing")?);
        let store = hold(store)?;
        signing.set(give(store.signing(Signer::read(key_file)?)));
        Ok(())
    })
}

/// Opens a store once more, as one that opens only images whose generation one of the public keys in `key_files` signed:
/// `CV_E_INTEGRITY` for any other. With `state`, a directory, the highest generation of a name or tag that was believed is
/// kept there, and a lower one is `CV_E_STALE` later; NULL remembers nothing. Both handles are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_trusting(
    store: *const cv_store,
    key_files: *const *const c_char,
    count: usize,
    state: *const c_char,
    trusting: *mut *mut cv_store,
) -> i32 {
    guard(|| {
        let (key_files, trusting) = (paths(key_files, count, "key_files")?, out(trusting, "trusting")?);
        let store = hold(store)?;
        let mut trust = Trust::new(Keyring::read(&key_files)?);
        if !state.is_null() {
            trust = trust.remembering(OsStr::from_bytes(bytes(state, "state")?));
        }
        trusting.set(give(store.trusting(trust)));
        Ok(())
    })
}

/// Adds the signature of the key of this store, one of `cv_store_signing`, to a generation that is there, and gives the
/// release as JSON.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_sign(
    store: *const cv_store,
    reference: *const c_char,
    release_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (reference, release) = (text(reference, "reference")?, out(release_json, "release_json")?);
        release.json(&hold(store)?.sign(reference)?)
    })
}

/// Reads all of an image and compares it with its hashes; `threads` of 0 is one for each core. The result is a JSON
/// object `{image, tree, name, generation, key, entries, chunks, bytes, …}`, where `key` is the id of the key that signed
/// it, if the store asked. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_verify(
    image: *const cv_image,
    threads: u32,
    on_event: cv_event_fn,
    user: *mut c_void,
    verified_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let verified = out(verified_json, "verified_json")?;
        let image = hold(image)?;
        verified.json(&task(on_event, user).run("verify", |t| image.verify(threads as usize, t))?)
    })
}

/// Starts what `cv_image_verify` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_image_verify_start(image: *const cv_image, threads: u32, job: *mut *mut cv_job) -> i32 {
    guard(|| {
        let job = out(job, "job")?;
        let image = hold(image)?.clone();
        job.set(start("verify", move |t| image.verify(threads as usize, t))?);
        Ok(())
    })
}
