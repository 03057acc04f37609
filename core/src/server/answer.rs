//! What is handed out, whole or a range, under conditions, in pieces.

use super::access::text;
use super::conditions::{has_it, may_range};
use super::range::{self, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

/// For caches: it is the same for ever.
pub(super) const LASTING: &str = "public, max-age=31536000, immutable";
/// For caches: ask again each time.
pub(super) const CHANGING: &str = "no-cache";

/// Bytes that a client asks for.
pub(super) struct Entity {
    pub(super) size: u64,
    /// In milliseconds since 1970; 0 where it is not said.
    pub(super) modified: u64,
    /// The name of this version, in quotes.
    pub(super) etag: String,
    pub(super) caching: &'static str,
    pub(super) kind: &'static str,
}

/// A part of them that goes out.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) first: u64,
    pub(super) length: u64,
    status: StatusCode,
}

impl Entity {
    /// The part that is wanted; or the answer, when that has no bytes of it.
    pub(super) fn wanted(&self, headers: &HeaderMap) -> std::result::Result<Part, Box<Response>> {
        if has_it(headers, &self.etag) {
            return Err(Box::new(unchanged(&self.etag, self.caching)));
        }
        let wanted = match headers.get(header::RANGE).and_then(|v| v.to_str().ok()) {
            Some(range) if may_range(headers, &self.etag) => range::parse(range, self.size),
            _ => Wanted::Whole,
        };
        match wanted {
            Wanted::Whole => Ok(Part { first: 0, length: self.size, status: StatusCode::OK }),
            Wanted::Part(first, length) => Ok(Part { first, length, status: StatusCode::PARTIAL_CONTENT }),
            Wanted::Beyond => Err(Box::new(beyond(self.size))),
        }
    }

    /// The answer with this part.
    pub(super) fn answer(&self, part: Part, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = part.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(header::CONTENT_LENGTH, part.length.into());
        describe(headers, &self.etag, self.caching, Some(self.modified).filter(|m| *m > 0));
        if part.status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {}-{}/{}", part.first, part.first + part.length - 1, self.size);
            set(headers, header::CONTENT_RANGE, &range);
        }
        response
    }
}

/// Where the bytes of an answer come from.
pub(super) trait Source: Send + 'static {
    /// Whether all of them came.
    fn is_at_end(&self) -> bool;

    /// The next ones, before the end.
    fn next(&mut self) -> impl Future<Output = Result<Bytes>> + Send;
}

/// The bytes, read piece by piece as the client takes them; the first at once, so that an error is one.
pub(super) async fn body(mut source: impl Source) -> Result<Body> {
    if source.is_at_end() {
        return Ok(Body::empty());
    }
    let bytes = source.next().await?;
    if source.is_at_end() {
        return Ok(Body::from(bytes));
    }
    let rest = futures_util::stream::unfold((Some(source), Some(bytes)), |(source, begun)| async move {
        if let Some(bytes) = begun {
            return Some((Ok(bytes), (source, None)));
        }
        let mut source = source.filter(|s| !s.is_at_end())?;
        // An answer that cannot go on is cut off: the client sees that it is too short.
        let read = source.next().await;
        let source = read.is_ok().then_some(source);
        Some((read, (source, None)))
    });
    Ok(Body::from_stream(rest))
}

/// What a version of a document is called.
pub(super) fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &Hash::of(bytes).to_string()[..32])
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
