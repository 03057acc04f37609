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
use crate::store::depot::LACKING;
use crate::store::receive::Receiver;
use crate::store::token::{Token, denied};
use axum::http::HeaderMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Captures that are received at a time: each has the index of the store in memory.
const OPEN: usize = 16;
/// One that nobody has sent to for so long makes room for another.
const SHORTLY: Duration = Duration::from_secs(20);
/// What nobody has sent to for so long is sealed, and begins anew when somebody does.
const IDLE: Duration = Duration::from_secs(600);

/// The captures that are being received.
#[derive(Default)]
pub(super) struct Uploads {
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    slot: Arc<Slot>,
    last: Instant,
}

/// Empty until the first request that needs it has begun; the others wait for that, and nobody else does.
#[derive(Default)]
struct Slot(Mutex<Option<Arc<Receiver>>>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Receiver>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes durable what was taken; what cannot be is sent again.
    fn seal(&self) {
        if let Some(receiver) = self.lock().take() {
            drop(receiver.seal());
        }
    }
}

impl Uploads {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The receiver of a token that may still be used.
    fn of(&self, store: &Store, token: &Token) -> Result<Arc<Receiver>> {
        if token.used {
            return Err(denied());
        }
        let slot = self.slot(&token.id)?;
        let mut receiver = slot.lock();
        match &*receiver {
            Some(begun) => Ok(begun.clone()),
            None => Ok(receiver.insert(Arc::new(Receiver::begin(store, token.clone())?)).clone()),
        }
    }

    fn slot(&self, id: &str) -> Result<Arc<Slot>> {
        let mut open = self.lock();
        if !open.contains_key(id) && open.len() >= OPEN {
            // One that nobody works with makes room.
            let idle = open.iter().filter(|(_, o)| Arc::strong_count(&o.slot) == 1 && o.last.elapsed() > SHORTLY);
            let Some(oldest) = idle.min_by_key(|(_, o)| o.last).map(|(id, _)| id.clone()) else {
                let text = "as many captures are being received as this server takes at a time";
                return Err(Error::new(ErrorKind::Busy, text));
            };
            let evicted = open.remove(&oldest);
            drop(open);
            evicted.iter().for_each(|o| o.slot.seal());
            open = self.lock();
        }
        let found = open.entry(id.to_owned()).or_insert_with(|| Open { slot: Arc::default(), last: Instant::now() });
        found.last = Instant::now();
        Ok(found.slot.clone())
    }

    /// Ends one: it goes on with what is durable, if somebody comes again.
    pub(super) fn end_one(&self, id: &str) {
        let ended = self.lock().remove(id);
        if let Some(Open { slot, .. }) = ended {
            // Requests that are under way hold it still.
            slot.lock().iter().for_each(|receiver| receiver.end());
            slot.seal();
        }
    }

    /// Seals those that nobody has sent anything to for a while.
    pub(super) fn end_idle(&self) {
        let idle: Vec<Open> = {
            let mut open = self.lock();
            let is_idle = |o: &Open| o.last.elapsed() > IDLE && Arc::strong_count(&o.slot) == 1;
            let ids: Vec<String> = open.iter().filter(|(_, o)| is_idle(o)).map(|(id, _)| id.clone()).collect();
            ids.iter().filter_map(|id| open.remove(id)).collect()
        };
        idle.iter().for_each(|o| o.slot.seal());
    }

    /// Seals all: what was sent need not be sent again.
    pub(super) fn end(&self) {
        let open: Vec<Open> = self.lock().drain().map(|(_, open)| open).collect();
        open.iter().for_each(|o| o.slot.seal());
    }
}

/// Does `work` with the receiver of the token that came with a request, and with its body.
async fn receive<T: Send + 'static>(
    shared: &Arc<Shared>,
    request: axum::extract::Request,
    limit: usize,
    work: impl FnOnce(&Receiver, &[u8]) -> Result<T> + Send + 'static,
) -> Result<T> {
    let token = token_of(shared, request.headers()).await?;
    // Before the body: who may not send need not.
    if token.used {
        return Err(denied());
    }
    let (place, bytes) = body::read(shared, request, limit).await?;
    let mine = shared.clone();
    // All of it in one piece: it ends as it has to, whether the client waits for it or not.
    let whole = move |store: &Store| {
        let _place = place;
        let receiver = mine.uploads.of(store, &token)?;
        let done = work(&receiver, &bytes);
        // What was durable before, or can become so, need not be sent again.
        if receiver.has_ended() || done.as_ref().is_err_and(is_an_end) {
            drop(receiver);
            mine.uploads.end_one(&token.id);
        }
        done
    };
    blocking(shared, whole).await
}

/// Whether what was received does not go on after this.
fn is_an_end(e: &Error) -> bool {
    let lost = e.kind() == ErrorKind::Conflict && !e.facts().contains_key(LACKING);
    lost || !is_theirs(e.kind())
}

/// The token that came with a request, which may have been used.
async fn token_of(shared: &Arc<Shared>, headers: &HeaderMap) -> Result<Token> {
    let secret = bearer(headers).ok_or_else(denied)?;
    blocking(shared, move |store| store.token_of(&secret)).await
}
