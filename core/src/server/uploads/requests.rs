//! The requests of a client that sends a capture.

use super::super::object::blocking;
use super::super::refusal::{json, nothing, refused};
use super::super::{Shared, body};
use super::{receive, token_of};
use crate::error::{Error, Result};
use crate::image::Hash;
use crate::image::manifest::BYTE_LIMIT;
use crate::store::receive::{HAS_LIMIT, PACK_LIMIT, Receiver};
use crate::store::wire::{Granted, Published};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post, put};
use std::sync::Arc;

pub(in crate::server) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/session", get(session))
        .route("/v1/has", post(has))
        .route("/v1/packs", post(packs))
        .route("/v1/publish", post(publish))
        .route("/v1/tags/{tag}", put(tags))
}

/// What the token lets its owner do.
async fn session(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match granted(&shared, request.headers()).await {
        Ok(granted) => json(StatusCode::OK, &granted),
        Err(e) => refused(&e),
    }
}

/// A question is answered from the token alone: nothing is begun for it.
async fn granted(shared: &Arc<Shared>, headers: &HeaderMap) -> Result<Granted> {
    let token = token_of(shared, headers).await?;
    if token.used {
        return Err(super::denied());
    }
    blocking(shared, move |store| store.granted(&token)).await
}

/// Which chunks need not be sent.
async fn has(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match receive(&shared, request, HAS_LIMIT * 32, Receiver::has).await {
        Ok(bits) => {
            let mut response = Response::new(Body::from(bits));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(e) => refused(&e),
    }
}

/// Takes a pack.
async fn packs(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    done(receive(&shared, request, PACK_LIMIT, Receiver::take).await)
}

/// Makes the next generation.
async fn publish(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    published(&shared, request).await.map_or_else(|e| refused(&e), |made| json(StatusCode::OK, &made))
}

async fn published(shared: &Arc<Shared>, request: Request) -> Result<Published> {
    let (mut expect, mut tag) = (None, None);
    for (name, value) in query(&request) {
        match name {
            "expect" => expect = Some(number(name, value)?),
            "tag" => tag = Some(value.to_owned()),
            _ => return Err(unknown(name)),
        }
    }
    let token = token_of(shared, request.headers()).await?;
    // The answer may have been lost: who says the same once more gets it again.
    if token.used {
        let (_place, manifest) = body::read(shared, request, BYTE_LIMIT).await?;
        let made = blocking(shared, move |store| store.published_with(&token)).await?;
        return if made.image == Hash::of(&manifest) { Ok(made) } else { Err(super::denied()) };
    }
    let name = token.name.clone();
    let made = receive(shared, request, BYTE_LIMIT, move |receiver, manifest| {
        check_distro(&name, manifest)?;
        receiver.publish(manifest, expect, tag.as_deref())
    });
    made.await
}

/// What is published under the name of a distribution has to be one.
#[cfg(feature = "build")]
fn check_distro(name: &str, manifest: &[u8]) -> Result<()> {
    crate::distro::check_sent(name, manifest)
}

/// Who cannot look at distributions takes none.
#[cfg(not(feature = "build"))]
fn check_distro(name: &str, _manifest: &[u8]) -> Result<()> {
    match name.strip_prefix(crate::store::DISTRO_PREFIX) {
        Some(_) => Err(Error::unsupported("this server was built without distributions")),
        None => Ok(()),
    }
}

/// Points a tag to a generation.
async fn tags(State(shared): State<Arc<Shared>>, Path(tag): Path<String>, request: Request) -> Response {
    let generation = query(&request).find(|(name, _)| *name == "generation").map(|(name, value)| number(name, value));
    let generation = match generation.unwrap_or_else(|| Err(Error::invalid("the generation is not said"))) {
        Ok(generation) => generation,
        Err(e) => return refused(&e),
    };
    done(receive(&shared, request, 0, move |receiver, _| receiver.tag(&tag, generation)).await)
}

fn done(done: Result<()>) -> Response {
    done.map_or_else(|e| refused(&e), |()| nothing())
}

/// The parameters of a request; none of ours has a character that is written in another way.
fn query(request: &Request) -> impl Iterator<Item = (&str, &str)> {
    let text = request.uri().query().unwrap_or_default();
    text.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
}

fn number(name: &str, value: &str) -> Result<u64> {
    let plain = value.bytes().all(|b| b.is_ascii_digit());
    value.parse().ok().filter(|_| plain).ok_or_else(|| Error::invalid(format!("{name} is no number")))
}

fn unknown(name: &str) -> Error {
    Error::invalid(format!("there is no parameter {}", crate::shown::line(name)))
}
