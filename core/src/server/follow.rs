//! A server that is a mirror: it has all of its origin before it listens, and looks for more from then on.

use crate::error::{Error, Result};
use crate::job::{CancelToken, Task};
use crate::store::Store;
use crate::store::http::{Http, HttpOptions};
use crate::store::replica::Replica;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at whether the end was asked for.
const LOOK: Duration = Duration::from_millis(50);

/// Where a mirror takes from, and how often it looks.
#[derive(Clone, Debug)]
pub struct MirrorOptions {
    /// The origin: a server that lists, as `cvctl serve` does.
    pub origin: HttpOptions,
    /// Between two looks.
    pub every: Duration,
}

impl MirrorOptions {
    /// Looks every two seconds.
    #[must_use]
    pub fn new(origin: HttpOptions) -> Self {
        Self { origin, every: Duration::from_secs(2) }
    }
}

/// What a mirror tells of itself.
#[derive(Debug)]
pub(super) struct Freshness {
    began: Instant,
    /// Milliseconds after the begin at which it had all that its origin listed.
    last: AtomicU64,
    /// Pulls that failed.
    pub(super) failed: AtomicU64,
}

impl Freshness {
    fn pulled(&self) {
        self.last.store(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago it had all.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

/// A thread that pulls, until it is dropped.
pub(super) struct Follower {
    cancel: CancelToken,
    /// Ends what is asked of the origin.
    closer: Box<dyn Fn() + Send + Sync>,
    thread: Option<JoinHandle<()>>,
    pub(super) freshness: Arc<Freshness>,
}

impl Follower {
    /// Pulls all of the origin into a directory, and then what is new; `task` sees the first pull, and what goes wrong later.
    ///
    /// # Errors
    /// As [`Replica::open`] and [`Replica::pull`] of the first one.
    pub(super) fn start(place: &Path, options: &MirrorOptions, task: Task) -> Result<(Self, Store)> {
        // One origin: what several list together nobody has.
        let http = Http::connect(&HttpOptions { mirrors: Vec::new(), ..options.origin.clone() })?;
        let closer = Box::new(http.closer());
        let origin = Store::with_backend(Box::new(http))?;
        let mut replica = Replica::open(&origin, place)?;
        replica.pull(&task)?;
        let (store, cancel, every) = (replica.store().clone(), task.cancel_token(), options.every);
        let freshness =
            Arc::new(Freshness { began: Instant::now(), last: AtomicU64::new(0), failed: AtomicU64::new(0) });
        let known = freshness.clone();
        let thread = std::thread::Builder::new()
            .name("libcv-mirror".into())
            .spawn(move || follow(&mut replica, every, &known, &task))
            .map_err(|e| Error::io("start", "a thread", e))?;
        Ok((Self { cancel, closer, thread: Some(thread), freshness }, store))
    }
}

fn follow(replica: &mut Replica, every: Duration, freshness: &Freshness, task: &Task) {
    let mut next = Instant::now() + every;
    loop {
        if task.check().is_err() {
            return;
        }
        if Instant::now() < next {
            std::thread::sleep(LOOK);
            continue;
        }
        match replica.pull(task) {
            Ok(_) => freshness.pulled(),
            Err(_) if task.check().is_err() => return,
            // The origin may be away for a while: what is here is served meanwhile.
            Err(e) => {
                freshness.failed.fetch_add(1, Ordering::Relaxed);
                task.warn(format!("the origin could not be followed: {e}"));
            }
        }
        next = Instant::now() + every;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.cancel.cancel();
        (self.closer)();
        // A request that hears nothing at all ends by its own limit.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
