//! The body of a request: so long, and in time.

use super::Shared;
use crate::error::{Error, ErrorKind, Result};
use axum::extract::Request;
use axum::http::header;
use http_body_util::BodyExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// How long a client waits for a place. How long it may send nothing, and how slow it may be on the whole: seconds for a body, and bytes in a second.
const WAIT: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(30);
const SLOWEST: u64 = 64 << 10;
/// What is no longer than this has places of its own: it does not wait for packs.
const SMALL: usize = 1 << 20;

/// All of a body, and the place that it takes until it was worked up.
pub(super) async fn read(
    shared: &Arc<Shared>,
    request: Request,
    limit: usize,
) -> Result<(OwnedSemaphorePermit, Vec<u8>)> {
    let said = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said > limit as u64) {
        return Err(too_long(limit));
    }
    let ended = || Error::new(ErrorKind::Cancelled, "the server ends");
    let places = if limit > SMALL { &shared.bodies } else { &shared.small_bodies };
    let busy = |_| Error::new(ErrorKind::Busy, "as many bodies are being received as this server takes at a time");
    let place = tokio::time::timeout(WAIT, places.clone().acquire_owned()).await.map_err(busy)?.map_err(|_| ended())?;
    let (began, mut body, mut out) = (Instant::now(), request.into_body(), Vec::new());
    loop {
        let late = |_| Error::new(ErrorKind::Timeout, "the body of the request does not come");
        let Some(frame) = tokio::time::timeout(SILENCE, body.frame()).await.map_err(late)? else { break };
        let frame = frame.map_err(|e| Error::invalid("the body of the request was cut off").cause(e))?;
        let Ok(bytes) = frame.into_data() else { continue };
        if out.len() + bytes.len() > limit {
            return Err(too_long(limit));
        }
        out.extend_from_slice(&bytes);
        shared.metrics.received.inc_by(bytes.len() as u64);
        if began.elapsed() > SHORT + Duration::from_secs(out.len() as u64 / SLOWEST) {
            return Err(Error::new(ErrorKind::Timeout, "the body of the request comes too slowly"));
        }
    }
    match said {
        Some(said) if said != out.len() as u64 => Err(Error::invalid("the body of the request was cut off")),
        _ => Ok((place, out)),
    }
}

fn too_long(limit: usize) -> Error {
    Error::limit(format!("the body of this request has at most {limit} bytes"))
}
