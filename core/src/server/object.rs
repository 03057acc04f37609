//! Objects of the store.

use super::Shared;
use super::access::text;
use super::answer::{self, CHANGING, Entity, LASTING, etag, failed};
use super::key::{Key, Kind};
use super::pieces::PIECE;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use std::sync::Arc;

/// What it is to a client that does not know stores.
const KIND: &str = "application/octet-stream";
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
    let entity = Entity { size: meta.size, modified: meta.modified, etag, caching: LASTING, kind: KIND };
    let part = match entity.wanted(headers) {
        Ok(part) => part,
        Err(answer) => return Ok(*answer),
    };
    let source = Reading { shared: shared.clone(), key, at: part.first, end: part.first + part.length };
    let body = if head { Body::empty() } else { answer::body(source).await? };
    Ok(entity.answer(part, body))
}

async fn document(shared: &Arc<Shared>, key: String, headers: &HeaderMap, head: bool) -> Result<Response> {
    let read = move |store: &Store| {
        // The time first: of what is replaced meanwhile it is too old, never too new.
        let modified = store.blobs().stat(&key)?.map_or(0, |m| m.modified);
        Ok((store.blobs().get(&key, DOCUMENT)?, modified))
    };
    let (bytes, modified) = blocking(shared, read).await?;
    let size = bytes.len() as u64;
    let entity = Entity { size, modified, etag: etag(&bytes), caching: CHANGING, kind: KIND };
    let part = match entity.wanted(headers) {
        Ok(part) => part,
        Err(answer) => return Ok(*answer),
    };
    let bytes = Bytes::from(bytes).slice(part.first as usize..(part.first + part.length) as usize);
    let body = if head { Body::empty() } else { Body::from(bytes) };
    Ok(entity.answer(part, body))
}

/// An object that is read.
struct Reading {
    shared: Arc<Shared>,
    key: String,
    at: u64,
    end: u64,
}

impl answer::Source for Reading {
    fn is_at_end(&self) -> bool {
        self.at == self.end
    }

    async fn next(&mut self) -> Result<Bytes> {
        let bytes = piece(&self.shared, &self.key, self.at, self.end).await?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }
}

async fn piece(shared: &Arc<Shared>, key: &str, at: u64, end: u64) -> Result<Bytes> {
    let mut piece = shared.pieces.take((end - at).min(most(shared, PIECE) as u64) as usize);
    // What is in memory is taken right here: to ask another thread takes as long.
    if shared.store.blobs().get_now(key, at, piece.as_mut()) {
        return Ok(piece.into_bytes());
    }
    let key = key.to_owned();
    let read = move |store: &Store| store.blobs().get_range(&key, at, piece.as_mut()).map(|()| piece);
    Ok(blocking(shared, read).await?.into_bytes())
}

/// How much an answer may have in memory now, of at most `largest`.
pub(super) fn most(shared: &Shared, largest: usize) -> usize {
    let running = usize::try_from(shared.metrics.running.get()).unwrap_or(0).max(1);
    (IN_FLIGHT / running).clamp(LEAST, largest)
}

/// Does what waits for a disk, on threads that may.
pub(super) async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
) -> Result<T> {
    let ended = || Error::new(ErrorKind::Cancelled, "the server ends");
    let permit = shared.reading.clone().acquire_owned().await.map_err(|_| ended())?;
    let store = shared.store.clone();
    // It counts until the work has ended, whether the client waits for it or not.
    let work = move || {
        let _permit = permit;
        work(&store)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(ended()))
}

fn refused_method() -> Response {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "objects are read only\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
