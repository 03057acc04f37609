//! What is answered where.

use super::access::{record, text};
use super::{Shared, list, object, openapi, orders, uploads};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use std::sync::Arc;

/// `takes`: whether anything may be sent, which a mirror does not take.
pub(super) fn routes(shared: Arc<Shared>, takes: bool) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/openapi.json", get(openapi::get))
        .route("/v1/list/{*prefix}", get(list::list));
    let routes = if takes { routes.merge(uploads::routes()).merge(orders::routes()) } else { routes };
    #[cfg(feature = "build")]
    let routes = routes.merge(super::distros::routes());
    routes.fallback(object::get).layer(axum::middleware::from_fn_with_state(shared.clone(), record)).with_state(shared)
}

/// Whether the store can be read.
async fn health(State(shared): State<Arc<Shared>>) -> Response {
    match object::blocking(&shared, |store| store.blobs().stat("store.json")).await {
        Ok(Some(_)) => text(StatusCode::OK, "ok\n"),
        _ => text(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read\n"),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut response = text(StatusCode::OK, shared.metrics.text());
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
