//! `GET v1/list/PREFIX`: a line of JSON for each object beneath a prefix, which a static web server cannot give.

use super::access::text;
use super::{Shared, answer, conditions, key, object};
use crate::error::{Error, ErrorKind};
use crate::store::http::Listed;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;

/// A body that takes the place of one listing until it is gone.
struct Held {
    body: Body,
    _permit: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

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
    // A listing is in memory until it is read to its end: there are few at a time.
    let Ok(permit) = shared.listing.clone().try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many listings at a time\n");
    };
    let walked = object::blocking(&shared, move |store| {
        let mut out = String::new();
        // Where the store has gone nothing is there, and that is not the same as an empty one.
        if store.blobs().stat("store.json")?.is_none() {
            return Err(Error::new(ErrorKind::Network, "the store is not there"));
        }
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
        Err(e) => return answer::failed(&e),
    };
    let etag = answer::etag(lines.as_bytes());
    if conditions::has_it(&headers, &etag) {
        return answer::unchanged(&etag, answer::CHANGING);
    }
    let mut response = text(StatusCode::OK, lines).map(|body| Body::new(Held { body, _permit: permit }));
    let to = response.headers_mut();
    to.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    answer::describe(to, &etag, answer::CHANGING, None);
    response
}
