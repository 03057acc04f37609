//! `GET v1/list/PREFIX`: a line of JSON for each object beneath a prefix, which a static web server cannot give.

use super::access::text;
use super::{Shared, conditions, key, object};
use crate::error::ErrorKind;
use crate::store::http::Listed;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use std::sync::Arc;

/// Answers a listing.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Path(prefix): Path<String>,
    headers: HeaderMap,
) -> Response {
    let prefix = prefix.trim_end_matches('/').to_owned();
    if !key::may_list(&prefix) {
        return text(StatusCode::NOT_FOUND, "there is no such listing\n");
    }
    let walked = object::blocking(&shared, move |store| {
        let mut out = String::new();
        for (key, meta) in store.blobs().walk(&prefix)? {
            if key::Key::parse(&key).is_some() {
                let line = Listed { key, size: meta.size, modified: meta.modified };
                out.push_str(&serde_json::to_string(&line).unwrap_or_default());
                out.push('\n');
            }
        }
        Ok(out)
    });
    let lines = match walked.await {
        Ok(lines) => lines,
        Err(e) if e.kind() == ErrorKind::Unsupported => {
            return text(StatusCode::NOT_IMPLEMENTED, "this store cannot be listed\n");
        }
        Err(e) => return object::failed(&e),
    };
    let etag = object::etag(lines.as_bytes());
    if conditions::has_it(&headers, &etag) {
        return object::unchanged(&etag, object::CHANGING);
    }
    let mut response = text(StatusCode::OK, lines);
    let to = response.headers_mut();
    to.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    object::describe(to, &etag, object::CHANGING, None);
    response
}
