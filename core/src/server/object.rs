//! Objects of the store: whole or a range, under conditions, in pieces.

use super::Shared;
use super::access::text;
use super::conditions::{has_it, may_range};
use super::key::{Key, Kind};
use super::pieces::PIECE;
use super::range::{self, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use crate::store::Store;
use crate::store::blob::Meta;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use std::sync::Arc;

/// For caches: it is the same for ever.
const LASTING: &str = "public, max-age=31536000, immutable";
/// For caches: ask again each time.
pub(super) const CHANGING: &str = "no-cache";
/// Largest document.
const DOCUMENT: u64 = 16 << 20;
/// What is read at a time when many answers are on their way.
const LEAST: usize = 16 << 10;
/// All pieces together stay about here.
const IN_FLIGHT: usize = 48 << 20;

/// Answers a request for an object.
pub(super) async fn get(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        _ => return refused_method(),
    };
    let Some(Key { key, kind }) = request.uri().path().strip_prefix('/').and_then(Key::parse) else {
        return text(StatusCode::NOT_FOUND, "there is no such object\n");
    };
    let answered = match kind {
        Kind::Immutable => immutable(&shared, key, request.headers(), head).await,
        Kind::Document => document(&shared, key, request.headers(), head).await,
    };
    answered.unwrap_or_else(|e| failed(&e))
}

async fn immutable(shared: &Arc<Shared>, key: String, headers: &HeaderMap, head: bool) -> Result<Response> {
    let name = key.clone();
    let meta = blocking(shared, move |store| store.blobs().stat(&name)).await?;
    let meta = meta.ok_or_else(|| Error::not_found("there is no such object"))?;
    let file = key.rsplit('/').next().unwrap_or_default();
    let etag = format!("\"{}\"", file.split('.').next().unwrap_or_default());
    if has_it(headers, &etag) {
        return Ok(unchanged(&etag, LASTING));
    }
    let (status, first, length) = match wanted(headers, &etag, meta.size) {
        Wanted::Whole => (StatusCode::OK, 0, meta.size),
        Wanted::Part(first, length) => (StatusCode::PARTIAL_CONTENT, first, length),
        Wanted::Beyond => return Ok(beyond(meta.size)),
    };
    let body = if head { Body::empty() } else { pieces(shared.clone(), key, first, length).await? };
    Ok(answer(status, body, (first, length, meta), &etag, LASTING))
}

async fn document(shared: &Arc<Shared>, key: String, headers: &HeaderMap, head: bool) -> Result<Response> {
    let read = move |store: &Store| {
        // The time first: of what is replaced meanwhile it is too old, never too new.
        let modified = store.blobs().stat(&key)?.map_or(0, |m| m.modified);
        Ok((store.blobs().get(&key, DOCUMENT)?, modified))
    };
    let (bytes, modified) = blocking(shared, read).await?;
    let etag = etag(&bytes);
    if has_it(headers, &etag) {
        return Ok(unchanged(&etag, CHANGING));
    }
    let size = bytes.len() as u64;
    let (status, first, length) = match wanted(headers, &etag, size) {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part(first, length) => (StatusCode::PARTIAL_CONTENT, first, length),
        Wanted::Beyond => return Ok(beyond(size)),
    };
    let part = Bytes::from(bytes).slice(first as usize..(first + length) as usize);
    let body = if head { Body::empty() } else { Body::from(part) };
    Ok(answer(status, body, (first, length, Meta { size, modified }), &etag, CHANGING))
}

fn wanted(headers: &HeaderMap, etag: &str, size: u64) -> Wanted {
    match headers.get(header::RANGE).and_then(|v| v.to_str().ok()) {
        Some(range) if may_range(headers, etag) => range::parse(range, size),
        _ => Wanted::Whole,
    }
}

/// The bytes, read piece by piece as the client takes them; the first at once, so that an error is one.
async fn pieces(shared: Arc<Shared>, key: String, first: u64, length: u64) -> Result<Body> {
    let end = first + length;
    let bytes = piece(&shared, &key, first, end).await?;
    let at = first + bytes.len() as u64;
    if at == end {
        return Ok(Body::from(bytes));
    }
    let rest =
        futures_util::stream::unfold((shared, key, at, Some(bytes)), move |(shared, key, at, begun)| async move {
            if let Some(bytes) = begun {
                return Some((Ok(bytes), (shared, key, at, None)));
            }
            if at == end {
                return None;
            }
            // An answer that cannot go on is cut off: the client sees that it is too short.
            let read = piece(&shared, &key, at, end).await;
            let at = read.as_ref().map_or(end, |bytes| at + bytes.len() as u64);
            Some((read, (shared, key, at, None)))
        });
    Ok(Body::from_stream(rest))
}

async fn piece(shared: &Arc<Shared>, key: &str, at: u64, end: u64) -> Result<Bytes> {
    let running = usize::try_from(shared.metrics.running.get()).unwrap_or(0).max(1);
    let most = (IN_FLIGHT / running).clamp(LEAST, PIECE) as u64;
    let mut piece = shared.pieces.take((end - at).min(most) as usize);
    // What is in memory is taken right here: to ask another thread takes as long.
    if shared.store.blobs().get_now(key, at, piece.as_mut()) {
        return Ok(piece.into_bytes());
    }
    let key = key.to_owned();
    let read = move |store: &Store| store.blobs().get_range(&key, at, piece.as_mut()).map(|()| piece);
    Ok(blocking(shared, read).await?.into_bytes())
}

/// Does what waits for a disk, on threads that may.
pub(super) async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
) -> Result<T> {
    let ended = || Error::new(ErrorKind::Cancelled, "the server ends");
    let _permit = shared.reading.acquire().await.map_err(|_| ended())?;
    let store = shared.store.clone();
    tokio::task::spawn_blocking(move || work(&store)).await.unwrap_or_else(|_| Err(ended()))
}

/// What a version of a document is called.
pub(super) fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &Hash::of(bytes).to_string()[..32])
}

fn answer(status: StatusCode, body: Body, part: (u64, u64, Meta), etag: &str, caching: &'static str) -> Response {
    let (first, length, meta) = part;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    describe(headers, etag, caching, Some(meta.modified).filter(|m| *m > 0));
    if status == StatusCode::PARTIAL_CONTENT {
        set(headers, header::CONTENT_RANGE, &format!("bytes {first}-{}/{}", first + length - 1, meta.size));
    }
    response
}

/// What caches and clients have to know.
pub(super) fn describe(headers: &mut HeaderMap, etag: &str, caching: &'static str, modified: Option<u64>) {
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(headers, header::ETAG, etag);
    if let Some(time) = modified.and_then(date) {
        set(headers, header::LAST_MODIFIED, &time);
    }
}

/// Milliseconds since 1970 as HTTP writes them.
fn date(modified: u64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(modified).ok()?).ok()?;
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub(super) fn unchanged(etag: &str, caching: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    describe(response.headers_mut(), etag, caching, None);
    response
}

fn beyond(size: u64) -> Response {
    let mut response = text(StatusCode::RANGE_NOT_SATISFIABLE, "the object ends before\n");
    set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

fn refused_method() -> Response {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "objects are read only\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// What an error of the store is to a client: it learns no paths of this machine.
pub(super) fn failed(e: &Error) -> Response {
    let (status, what) = match e.kind() {
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "there is no such object"),
        ErrorKind::Integrity => (StatusCode::INTERNAL_SERVER_ERROR, "the object is damaged here"),
        ErrorKind::Limit => (StatusCode::INTERNAL_SERVER_ERROR, "the object is too large"),
        ErrorKind::Network | ErrorKind::Timeout => (StatusCode::BAD_GATEWAY, "the store cannot be reached"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "the object cannot be read"),
    };
    text(status, format!("{what}\n"))
}
