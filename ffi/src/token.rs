//! Tokens: who may send captures into a store.

use crate::guard::{guard, out, text};
use crate::handle::hold;
use crate::store::cv_store;
use libcv::store::TokenOptions;
use std::ffi::c_char;
use std::time::Duration;

/// Makes a token for one new generation of `name` and tells its secret, which is told this once. At most `max_size` bytes may be sent with
/// it, and for `lifetime_s` seconds; 0 is no limit of either. `secret` is to be freed with `cv_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_token_create(
    store: *const cv_store,
    name: *const c_char,
    max_size: u64,
    lifetime_s: u64,
    secret: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (name, secret) = (text(name, "name")?.to_owned(), out(secret, "secret")?);
        let some = |n: u64| (n > 0).then_some(n);
        let options =
            TokenOptions { name, max_size: some(max_size), expires: some(lifetime_s).map(Duration::from_secs) };
        secret.text(hold(store)?.create_token(&options)?.1.as_str())
    })
}

/// The tokens of a store, without their secrets: a JSON array of `{id, name, max_size, created, expires, used}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_token_list(store: *const cv_store, tokens_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let tokens = out(tokens_json, "tokens_json")?;
        tokens.json(&hold(store)?.tokens()?)
    })
}

/// Removes the token with this id: nothing can be sent with it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_token_remove(store: *const cv_store, id: *const c_char) -> i32 {
    guard(|| hold(store)?.remove_token(text(id, "id")?))
}
