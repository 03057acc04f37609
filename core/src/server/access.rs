//! What was asked and answered: one record for each answer, when its last byte has gone or the client has.

use super::Shared;
use crate::sys::clock;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::Serialize;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

/// An answer.
#[derive(Clone, Debug, Serialize)]
pub struct Access {
    /// When the request came, RFC 3339 in UTC.
    pub ts: String,
    /// Who asked.
    pub peer: SocketAddr,
    /// The SHA-256 of the client's certificate, where one was asked for.
    pub identity: Option<String>,
    /// The method.
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// The status.
    pub status: u16,
    /// Bytes of the body that went to the client.
    pub bytes: u64,
    /// Whether all of it did.
    pub complete: bool,
    /// Milliseconds from the request to the end of the answer.
    pub ms: u64,
}

/// Called with each record.
pub type Listener = Arc<dyn Fn(&Access) + Send + Sync>;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) identity: Option<String>,
}

/// Records what goes through.
pub(super) async fn record(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let Some(peer) = request.extensions().get::<Peer>().cloned() else { return next.run(request).await };
    let access = Access {
        ts: clock::now_rfc3339_millis(),
        peer: peer.address,
        identity: peer.identity,
        method: request.method().to_string(),
        path: crate::shown::line(request.uri().path()),
        status: 0,
        bytes: 0,
        complete: false,
        ms: 0,
    };
    let running = Running::begin(&shared);
    let response = next.run(request).await;
    let access = Access { status: response.status().as_u16(), ..access };
    response.map(|body| Body::new(Counted { body, access, began, running }))
}

/// A body that is counted.
struct Counted {
    body: Body,
    access: Access,
    began: Instant,
    running: Running,
}

/// An answer that is on its way as long as this is there, whether the client waits for it or not.
struct Running(Arc<Shared>);

impl Running {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.metrics.running.inc();
        Self(shared.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.metrics.running.dec();
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => self.access.bytes += frame.data_ref().map_or(0, |d| d.len() as u64),
            Poll::Ready(None) => self.access.complete = true,
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Self { access, began, running: Running(shared), body } = self;
        access.complete |= body.is_end_stream();
        access.ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        shared.metrics.answered(access, began.elapsed());
        if let Some(listener) = &*shared.listener.read().unwrap_or_else(PoisonError::into_inner) {
            listener(access);
        }
    }
}

/// An answer that has a text.
pub(super) fn text(status: axum::http::StatusCode, text: impl Into<String>) -> Response {
    let body = http_body_util::Full::new(Bytes::from(text.into())).map_err(|e| match e {}).boxed();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    let plain = axum::http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(axum::http::header::CONTENT_TYPE, plain);
    response
}
