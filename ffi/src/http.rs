//! Stores behind web servers.

use crate::guard::{self, Options, guard, optional_path, optional_text, options, out, text, texts};
use crate::handle::give;
use crate::store::cv_store;
use libcv::job::Task;
use libcv::store::Store;
use libcv::store::http::doctor::examine;
use libcv::store::http::{HttpOptions, MirrorOf};
use libcv::web::Url;
use libcv::{Error, Result};
use std::ffi::c_char;

/// How a store behind web servers is reached. Zeros are the defaults, and what is NULL is taken from the environment:
/// `cv_http_options o = {0}; o.size = sizeof o;`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct cv_http_options {
    /// `sizeof(cv_http_options)`.
    pub size: u32,
    /// Other servers with the same store, each `URL` or `URL=WEIGHT`; none of them is trusted.
    pub mirrors: *const *const c_char,
    /// How many.
    pub mirror_count: usize,
    /// PEM file of the authorities that servers are believed by, and no others; NULL: those of the system.
    pub ca: *const c_char,
    /// PEM file of the certificate that this client shows, or NULL.
    pub client_cert: *const c_char,
    /// PEM file of its key.
    pub client_key: *const c_char,
    /// `http://HOST:PORT` that everything goes through, or NULL.
    pub proxy: *const c_char,
    /// Secret of a token that the server gave, or NULL. With one, captures into the store are sent there.
    pub token: *const c_char,
}

impl Default for cv_http_options {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            mirrors: std::ptr::null(),
            mirror_count: 0,
            ca: std::ptr::null(),
            client_cert: std::ptr::null(),
            client_key: std::ptr::null(),
            proxy: std::ptr::null(),
            token: std::ptr::null(),
        }
    }
}

// SAFETY: numbers and pointers only.
unsafe impl Options for cv_http_options {
    const FIRST: usize = std::mem::offset_of!(Self, token);
    const NAME: &'static str = "cv_http_options";
}

/// Core's options for C's.
pub(crate) fn read(url: &str, p: *const cv_http_options) -> Result<HttpOptions> {
    let o = options(p)?;
    let mut http = HttpOptions::from_environment(Url::parse(url)?)?;
    http.mirrors.extend(mirrors(&o)?);
    reached(http, &o)
}

/// The same where there is no server besides the mirrors; `None` without any of them.
pub(crate) fn read_mirrors(p: *const cv_http_options) -> Result<Option<HttpOptions>> {
    let o = options(p)?;
    HttpOptions::of_mirrors(&mirrors(&o)?)?.map(|http| reached(http, &o)).transpose()
}

fn mirrors(o: &cv_http_options) -> Result<Vec<MirrorOf>> {
    texts(o.mirrors, o.mirror_count, "options.mirrors")?.iter().map(|m| m.parse()).collect()
}

/// With what is said about certificates and a proxy.
fn reached(mut http: HttpOptions, o: &cv_http_options) -> Result<HttpOptions> {
    let file = |p, name| optional_path(p, name).map(|f| f.map(ToOwned::to_owned));
    http.web.ca = file(o.ca, "options.ca")?.or(http.web.ca);
    match (file(o.client_cert, "options.client_cert")?, file(o.client_key, "options.client_key")?) {
        (Some(certificate), Some(key)) => http.web.identity = Some((certificate, key)),
        (None, None) => {}
        _ => return Err(Error::invalid("options.client_cert and options.client_key go together")),
    }
    http.web.proxy = optional_text(o.proxy, "options.proxy")?.map(str::to_owned).or(http.web.proxy);
    Ok(http)
}

/// Asks servers of a store, each alone, what is wrong with them: a JSON array of `{url, store, rate, clock, findings}` in the order of `urls`,
/// `findings` being an array of `{check, verdict, message}` with a verdict of ok, warning or bad. What is wrong with a server is no
/// error. `options` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_doctor_http(
    urls: *const *const c_char,
    count: usize,
    options: *const cv_http_options,
    examined_json: *mut *mut c_char,
) -> i32 {
    guard(|| {
        let (urls, examined) = (texts(urls, count, "urls")?, out(examined_json, "examined_json")?);
        let Some((first, rest)) = urls.split_first() else { return Err(Error::invalid("no server is named")) };
        let mut http = read(first, options)?;
        for url in rest {
            http.mirrors.push(Url::parse(url)?.into());
        }
        examined.json(&examine(&http, &Task::quiet())?)
    })
}

/// Opens the store at `url`, `https://HOST[:PORT][/PATH]`, to be read: from that server, and from those that `options` names, which may be
/// NULL. `cv_store_open` opens one, too, with what the environment says. With a token `cv_capture` and `cv_capture_start` send what the
/// server lacks, and it publishes the next generation of the name that the token is for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cv_store_open_http(
    url: *const c_char,
    options: *const cv_http_options,
    store: *mut *mut cv_store,
) -> i32 {
    guard(|| {
        let (http, store) = (read(text(url, "url")?, options)?, out(store, "store")?);
        let token = optional_text(guard::options(options)?.token, "options.token")?;
        store.set(give(match token {
            Some(token) => Store::open_to(&http, token)?,
            None => Store::open_http(&http)?,
        }));
        Ok(())
    })
}
