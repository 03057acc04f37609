//! Servers of a store.

use crate::event::{cv_event_fn, task};
use crate::guard::{Callback, Options, guard, optional_path, options, out, owned, path, text};
use crate::handle::{Opaque, close, give, hold};
use crate::http::{self, cv_http_options};
use crate::store::cv_store;
use libcv::server::{Access, Listener, MirrorOptions, Server, ServerOptions, TlsFiles};
use libcv::{Error, ErrorKind, Result};
use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A server that runs.
pub struct cv_server;

impl Opaque for cv_server {
    /// `None` once it was stopped.
    type Object = Mutex<Option<Server>>;
    const NAME: &'static str = "cv_server";
}

/// How a store is served. Zeros are the defaults: `cv_server_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_server_options {
    /// `sizeof(cv_server_options)`.
    pub size: u32,
    /// PEM file of the certificate; NULL: plain HTTP.
    pub tls_cert: *const c_char,
    /// PEM file of its key.
    pub tls_key: *const c_char,
    /// PEM file of authorities: only clients with a certificate of one of them are served; or NULL.
    pub client_ca: *const c_char,
    /// Called with each answer, a JSON object, from the threads of the server, until it has ended; or NULL. What it returns does
    /// not matter.
    pub on_access: cv_event_fn,
    /// Its second argument.
    pub user: *mut c_void,
}

impl Default for cv_server_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            tls_cert: std::ptr::null(),
            tls_key: std::ptr::null(),
            client_ca: std::ptr::null(),
            on_access: None,
            user: std::ptr::null_mut(),
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_server_options {
    const FIRST: usize = size_of::<Self>();
    const NAME: &'static str = "cv_server_options";
}

/// Core's options for C's.
fn read(p: *const cv_server_options) -> Result<ServerOptions> {
    let o = options(p)?;
    let file = |p, name| optional_path(p, name).map(|f| f.map(ToOwned::to_owned));
    let client_ca = file(o.client_ca, "options.client_ca")?;
    let tls = match (file(o.tls_cert, "options.tls_cert")?, file(o.tls_key, "options.tls_key")?) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key, client_ca }),
        (None, None) if client_ca.is_none() => None,
        _ => return Err(Error::invalid("options.tls_cert and options.tls_key go together, and client_ca needs both")),
    };
    let listener = o.on_access.map(|call| {
        let callback = Callback::new(call, o.user);
        let listener: Listener = Arc::new(move |access: &Access| {
            if let Ok(text) = serde_json::to_string(access).map_err(|_| ()).and_then(|t| owned(t).map_err(|_| ())) {
                callback.call(&text);
            }
        });
        listener
    });
    Ok(ServerOptions { tls, listener, ..ServerOptions::default() })
}

/// Runs `f` on a server that has not been stopped.
fn with<R>(server: *const cv_server, f: impl FnOnce(&Server) -> R) -> Result<R> {
    let held = hold(server)?;
    let server = held.lock().unwrap_or_else(PoisonError::into_inner);
    server.as_ref().map(f).ok_or_else(|| Error::new(ErrorKind::Misuse, "this server was stopped"))
}

/// Hands a store out over HTTP at `address`, such as `[::]:7787`; port 0 takes any. `options` may be NULL. The server runs until it is
/// stopped or freed; the store may be freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_server_start(
    store: *const cv_store,
    address: *const c_char,
    options: *const cv_server_options,
    server: *mut *mut cv_server,
) -> i32 {
    guard(|| {
        let (address, options, server) = (text(address, "address")?, read(options)?, out(server, "server")?);
        server.set(give(Mutex::new(Some(Server::start(&*hold(store)?, address, &options)?))));
        Ok(())
    })
}

/// Makes the directory a mirror of the server at `url` and hands it out, when all is there and whole; from then on it follows. The directory
/// is empty at first, or the mirror already. Both kinds of options may be NULL, and so may `on_event`, which is called until the server
/// has ended: with the progress of the first pull, and a warning when the origin cannot be followed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_server_mirror(
    directory: *const c_char,
    address: *const c_char,
    url: *const c_char,
    origin: *const cv_http_options,
    options: *const cv_server_options,
    on_event: cv_event_fn,
    user: *mut c_void,
    server: *mut *mut cv_server,
) -> i32 {
    guard(|| {
        let (directory, address) = (path(directory, "directory")?, text(address, "address")?);
        let origin = MirrorOptions::new(http::read(text(url, "url")?, origin)?);
        let (options, server) = (read(options)?, out(server, "server")?);
        let running = Server::mirror(directory, address, &origin, &options, task(on_event, user))?;
        server.set(give(Mutex::new(Some(running))));
        Ok(())
    })
}

/// Where a server listens: `127.0.0.1:7787`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_server_address(server: *const cv_server, address: *mut *mut c_char) -> i32 {
    guard(|| {
        let address = out(address, "address")?;
        address.text(with(server, |s| s.address().to_string())?)
    })
}

/// What a server has done, in the text format of Prometheus.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_server_metrics(server: *const cv_server, metrics: *mut *mut c_char) -> i32 {
    guard(|| {
        let metrics = out(metrics, "metrics")?;
        metrics.text(with(server, Server::metrics)?)
    })
}

/// Stops a server: it takes no new connections, and those that run have `grace_ms` milliseconds to finish. CV_E_TIMEOUT when some were
/// cut off. The handle has to be freed all the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_server_stop(server: *const cv_server, grace_ms: u32) -> i32 {
    guard(|| {
        let held = hold(server)?;
        let running = held.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stopped = || Error::new(ErrorKind::Misuse, "this server was stopped");
        running.ok_or_else(stopped)?.stop(Duration::from_millis(grace_ms.into()))
    })
}

/// Frees a server; one that runs ends at once. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_server_free(server: *mut cv_server) -> i32 {
    guard(|| close(server))
}
