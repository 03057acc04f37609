//! Nodes that can be asked, and being one.

use crate::event::{cv_event_fn, task};
use crate::guard::{guard, optional_path, out, path, text};
use crate::handle::hold;
use crate::http::{self, cv_http_options};
use crate::job::{cv_job, start};
use crate::store::cv_store;
use libcv::node::{Action, ConnectOptions, connect};
use libcv::{Error, Result};
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// Makes a node known and tells the secret by which it says who it is, which is told this once and is to be freed with
/// `cv_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_node_add(store: *const cv_store, name: *const c_char, secret: *mut *mut c_char) -> i32 {
    guard(|| {
        let (name, secret) = (text(name, "name")?, out(secret, "secret")?);
        secret.text(hold(store)?.add_node(name)?.as_str())
    })
}

/// The nodes that are known: a JSON array of `{name, created, seen}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_node_list(store: *const cv_store, nodes_json: *mut *mut c_char) -> i32 {
    guard(|| {
        let nodes = out(nodes_json, "nodes_json")?;
        nodes.json(&hold(store)?.nodes()?)
    })
}

/// Forgets a node, and what it was asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_node_remove(store: *const cv_store, name: *const c_char) -> i32 {
    guard(|| hold(store)?.remove_node(text(name, "name")?))
}

/// Asks a node for something, through a server of this store, and waits for its end. `action_json` is
/// `{"do":"capture","name":NAME,"tag":null,"exclude":[],"max_size":null}` or `{"do":"update","image":REF,"dry_run":false,"protect":[]}`; `result_json`
/// becomes what `cv_store_capture` or `cv_image_update` gives, with lists that are cut. Whoever has not come for it within `patience_ms`
/// gets it no more: CV_E_TIMEOUT; a node whose policy does not allow it: CV_E_REFUSED. `on_event` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_node_ask(
    store: *const cv_store,
    node: *const c_char,
    action_json: *const c_char,
    patience_ms: u64,
    on_event: cv_event_fn,
    user: *mut c_void,
    result_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (node, action) = (text(node, "node")?, action(action_json)?);
        let (patience, result) = (Duration::from_millis(patience_ms), out(result_json, "result_json")?);
        let store = hold(store)?;
        result.json(&task(on_event, user).run("ask", |t| store.ask_node(node, &action, patience, t))?)
    })
}

/// Starts what `cv_node_ask` does; the result is the same object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_node_ask_start(
    store: *const cv_store,
    node: *const c_char,
    action_json: *const c_char,
    patience_ms: u64,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let (node, action) = (text(node, "node")?.to_owned(), action(action_json)?);
        let (patience, job, store) = (Duration::from_millis(patience_ms), out(job, "job")?, hold(store)?.clone());
        job.set(start("ask", move |t| store.ask_node(&node, &action, patience, t))?);
        Ok(())
    })
}

fn action(json: *const c_char) -> Result<Action> {
    serde_json::from_str(text(json, "action_json")?)
        .map_err(|e| Error::invalid("this is nothing that a node can be asked for").cause(e))
}

/// Starts to be a node: asks the server at `url` for orders, and does what the policy file allows, until the job is cancelled. `secret` is
/// what `cv_node_add` told. `options` may be NULL, and so may `state`, the directory in which this host keeps its state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_node_connect_start(
    url: *const c_char,
    options: *const cv_http_options,
    secret: *const c_char,
    policy: *const c_char,
    state: *const c_char,
    job: *mut *mut cv_job,
) -> i32 {
    guard(|| {
        let server = http::read(text(url, "url")?, options)?;
        let options = ConnectOptions::new(server, text(secret, "secret")?, path(policy, "policy")?);
        let options = ConnectOptions { state: optional_path(state, "state")?.map(ToOwned::to_owned), ..options };
        let job = out(job, "job")?;
        job.set(start("connect", move |t| connect(&options, t))?);
        Ok(())
    })
}
