//! Captures that clients send (`docs/capture-protocol.md`): who may, what is kept of each, and how it ends.
//!
//! ```text
//!  Authorization ──> token ──> its receiver: made at the first request, sealed when nobody has come for a while
//!                                  │
//!           body: so long, in time └──> has, packs, publish, tags ──> an answer, or a refusal in JSON
//! ```

mod requests;

pub(super) use requests::routes;

use super::object::blocking;
use super::refusal::{bearer, is_theirs};
use super::{Shared, body};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::store::receive::Receiver;
use crate::store::token::{Token, denied};
use axum::http::HeaderMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Captures that are received at a time: each has the index of the store in memory.
const OPEN: usize = 16;
/// What nobody has sent to for so long is sealed, and begins anew when somebody does.
const IDLE: Duration = Duration::from_secs(600);

/// The captures that are being received.
#[derive(Default)]
pub(super) struct Uploads {
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    receiver: Arc<Receiver>,
    last: Instant,
}

impl Uploads {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The receiver of a token that may still be used.
    fn of(&self, store: &Store, token: Token) -> Result<Arc<Receiver>> {
        if token.used {
            return Err(denied());
        }
        let mut open = self.lock();
        let there = open.len();
        if let Some(found) = open.get_mut(&token.id) {
            found.last = Instant::now();
            return Ok(found.receiver.clone());
        }
        if there >= OPEN {
            return Err(Error::new(
                ErrorKind::Busy,
                "as many captures are being received as this server takes at a time",
            ));
        }
        let id = token.id.clone();
        let receiver = Arc::new(Receiver::begin(store, token)?);
        open.insert(id, Open { receiver: receiver.clone(), last: Instant::now() });
        Ok(receiver)
    }

    /// Lets go of one that has ended.
    fn end_one(&self, id: &str) -> Option<Open> {
        self.lock().remove(id)
    }

    /// Seals those that nobody has sent anything to for a while.
    pub(super) fn end_idle(&self) {
        let idle: Vec<Open> = {
            let mut open = self.lock();
            let ids: Vec<String> =
                open.iter().filter(|(_, o)| o.last.elapsed() > IDLE).map(|(id, _)| id.clone()).collect();
            ids.iter().filter_map(|id| open.remove(id)).collect()
        };
        seal(idle);
    }

    /// Seals all: what was sent need not be sent again.
    pub(super) fn end(&self) {
        let open: Vec<Open> = self.lock().drain().map(|(_, open)| open).collect();
        seal(open);
    }
}

/// What cannot be sealed is sent again.
fn seal(open: impl IntoIterator<Item = Open>) {
    open.into_iter().for_each(|o| drop(o.receiver.seal()));
}

/// Does `work` with the receiver of the token that came with a request, and with its body.
async fn receive<T: Send + 'static>(
    shared: &Arc<Shared>,
    request: axum::extract::Request,
    limit: usize,
    work: impl FnOnce(&Receiver, &[u8]) -> Result<T> + Send + 'static,
) -> Result<T> {
    let token = token_of(shared, request.headers()).await?;
    let (id, mine) = (token.id.clone(), shared.clone());
    // Before the body: who may not send need not.
    let receiver = blocking(shared, move |store| mine.uploads.of(store, token)).await?;
    let (_place, bytes) = body::read(shared, request, limit).await?;
    let done = blocking(shared, move |_| work(&receiver, &bytes)).await;
    if done.as_ref().is_err_and(|e| !is_theirs(e.kind())) {
        // It may not go on; what was durable before, or can become so, need not be sent again.
        let mine = shared.clone();
        let sealed = blocking(shared, move |_| {
            seal(mine.uploads.end_one(&id));
            Ok(())
        });
        drop(sealed.await);
    }
    done
}

/// The token that came with a request, which may have been used.
async fn token_of(shared: &Arc<Shared>, headers: &HeaderMap) -> Result<Token> {
    let secret = bearer(headers).ok_or_else(denied)?;
    blocking(shared, move |store| store.token_of(&secret)).await
}
