//! Orders for nodes: a node asks, and is answered when there is one (`docs/node-protocol.md`).

use super::object::blocking;
use super::refusal::{bearer, json, nothing, refused};
use super::{Shared, body};
use crate::error::{Error, ErrorKind, Result};
use crate::node::action::{Order, REPORT_LIMIT, Report};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a node may wait for an order at most.
const LONGEST: u64 = 60;
/// That a node asked is written down so often.
const SEEN: Duration = Duration::from_secs(300);

/// When nodes were last written down to have asked, and the number of their last question.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<String, Instant>>, Mutex<HashMap<String, u64>>);

impl Seen {
    /// Whether it is to be written down once more.
    fn is_due(&self, node: &str) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = seen.get(node).is_none_or(|at| at.elapsed() > SEEN);
        if due {
            seen.insert(node.to_owned(), Instant::now());
        }
        due
    }

    /// The number of a new question of a node.
    fn question(&self, node: &str) -> u64 {
        let mut last = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let number = last.entry(node.to_owned()).or_default();
        *number += 1;
        *number
    }

    /// Whether it has asked nothing since.
    fn is_last(&self, node: &str, question: u64) -> bool {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).get(node) == Some(&question)
    }
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    // Who only looks at the head of an answer would take an order along that nobody then obeys.
    Router::new()
        .route("/v1/orders", get(next).head(async || (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")])))
        .route("/v1/orders/{id}", post(report))
}

/// The next order, or nothing after a while.
async fn next(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match wait(&shared, request.headers(), request.uri().query().unwrap_or_default()).await {
        Ok(Some(order)) => json(StatusCode::OK, &order),
        Ok(None) => nothing(),
        Err(e) => refused(&e),
    }
}

async fn wait(shared: &Arc<Shared>, headers: &HeaderMap, query: &str) -> Result<Option<Order>> {
    let node = node(shared, headers).await?;
    let seconds = match query.strip_prefix("wait=") {
        Some(text) => text.parse().map_err(|_| Error::invalid("wait is a number of seconds"))?,
        None if query.is_empty() => 0,
        None => return Err(Error::invalid("the only parameter is wait")),
    };
    let until = Instant::now() + Duration::from_secs(u64::min(seconds, LONGEST));
    let (mut stop, mut bell, question) = (shared.stop.clone(), shared.bell.listen(), shared.seen.question(&node));
    loop {
        let (name, mine) = (node.clone(), shared.clone());
        let look = move |store: &crate::store::Store| {
            // Of a node that asked again nobody hears this answer.
            if !mine.seen.is_last(&name, question) {
                return Ok((None, true));
            }
            let order = store.next_order(&name)?;
            // Its token was made anew: what was received with the old one goes on with this.
            order.iter().filter(|o| o.token.is_some()).for_each(|o| mine.uploads.end_one(&o.id));
            Ok((order, false))
        };
        let (order, superseded) = blocking(shared, look).await?;
        if superseded || order.is_some() || Instant::now() >= until {
            return Ok(order);
        }
        tokio::select! {
            _ = bell.changed() => {}
            () = tokio::time::sleep_until(until) => {}
            // The server ends: the node asks again.
            _ = stop.changed() => return Ok(None),
        }
    }
}

/// What a node says of an order.
async fn report(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Response {
    match keep(&shared, id, request).await {
        Ok(()) => nothing(),
        Err(e) => refused(&e),
    }
}

async fn keep(shared: &Arc<Shared>, id: String, request: Request) -> Result<()> {
    let node = node(shared, request.headers()).await?;
    let (_place, bytes) = body::read(shared, request, REPORT_LIMIT).await?;
    let report: Report =
        serde_json::from_slice(&bytes).map_err(|e| Error::invalid("this is no report of an order").cause(e))?;
    blocking(shared, move |store| store.put_report(&node, &id, &report)).await
}

/// Who asks.
async fn node(shared: &Arc<Shared>, headers: &HeaderMap) -> Result<String> {
    let denied = || Error::new(ErrorKind::Denied, "orders are for nodes, which say who they are");
    let secret = bearer(headers).ok_or_else(denied)?;
    let asked = shared.clone();
    let work = move |store: &crate::store::Store| {
        let node = store.node_of(&secret)?.name;
        if asked.seen.is_due(&node) {
            store.note_seen(&node)?;
        }
        Ok(node)
    };
    blocking(shared, work).await
}
