//! A store handed out over HTTP (feature `server`).
//!
//! ```text
//!  accept: how many, from whom, TLS ──> hyper: headers in time ──> routes ──┬─> objects: ranges, conditions, cached for ever or never
//!     │                                                                     ├─> v1/list/PREFIX
//!     │                                                                     ├─> v1/distros: repositories, installer trees
//!     │                                                                     ├─> v1/has, packs, publish: with a token
//!     │                                                                     ├─> v1/orders: for nodes
//!     └── stop: nobody new, what runs is finished                           └─> healthz, metrics
//! ```
//!
//! The server believes nothing and keeps nothing: what it hands out is what lies in the store, and a reader proves it by its names.
//! What is sent to it is proved as well, and only a token of the store lets anybody write. Its paths are those of `core/docs/server.md`.
//!
//! The runtime is the server's own; who starts one needs none.

mod accept;
mod access;
mod answer;
mod bell;
mod body;
mod conditions;
#[cfg(feature = "build")]
mod distros;
mod follow;
pub mod key;
mod limits;
mod list;
mod metrics;
mod object;
mod openapi;
mod orders;
mod pieces;
pub mod range;
mod refusal;
mod routes;
mod stall;
mod tls;
mod uploads;

pub use access::{Access, Listener};
pub use follow::MirrorOptions;
pub use limits::Limits;
pub use tls::TlsFiles;

use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::store::Store;
use accept::Accepting;
use bell::Bell;
use follow::Follower;
use metrics::Metrics;
use pieces::Pieces;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uploads::Uploads;

/// Listings at a time.
const LISTINGS: usize = 8;
/// Bodies that are received at a time.
const BODIES: usize = 4;
/// The same, of those that are small.
const SMALL_BODIES: usize = 32;
/// Between two looks at captures that nobody goes on with.
const TIDY: Duration = Duration::from_secs(60);
/// Reads from the store at a time.
const READERS: usize = 32;

/// How a store is served.
#[derive(Clone, Default)]
pub struct ServerOptions {
    /// Certificate and key; without them it is plain HTTP.
    pub tls: Option<TlsFiles>,
    /// What clients may take.
    pub limits: Limits,
    /// Called with each answer, from the threads of the server. It must not block.
    pub listener: Option<Listener>,
}

/// A server that runs. Dropped, it ends at once; [`Server::stop`] lets it finish what it does.
pub struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: Option<JoinHandle<()>>,
    metrics: Arc<Metrics>,
    /// Before the threads: it writes into the store.
    follower: Option<Follower>,
    listener: Arc<RwLock<Option<Listener>>>,
    uploads: Arc<Uploads>,
}

/// What all requests share.
struct Shared {
    store: Store,
    metrics: Arc<Metrics>,
    /// Emptied when the server ends: nothing is called after that.
    listener: Arc<RwLock<Option<Listener>>>,
    reading: Arc<tokio::sync::Semaphore>,
    pieces: Arc<Pieces>,
    listing: Arc<tokio::sync::Semaphore>,
    uploads: Arc<Uploads>,
    bodies: Arc<tokio::sync::Semaphore>,
    small_bodies: Arc<tokio::sync::Semaphore>,
    seen: orders::Seen,
    bell: Bell,
    /// Told when the server ends.
    stop: watch::Receiver<bool>,
    #[cfg(feature = "build")]
    distros: distros::Opened,
}

impl Server {
    /// Begins to serve `store` at `address`, such as `[::]:7787`; port 0 takes any.
    ///
    /// # Errors
    /// `Invalid` when certificates or keys are none; `Busy` when the address is taken; `Io`, `Denied`.
    pub fn start(store: &Store, address: &str, options: &ServerOptions) -> Result<Self> {
        Self::begin(store, listen(address)?, options, None)
    }

    /// Makes the directory `place` a mirror of a server, and serves it when all is there and whole; from then on it follows. `task`
    /// sees the first pull, and is told what goes wrong later; its cancelling ends both.
    ///
    /// # Errors
    /// As [`Server::start`]; `Conflict` when another store is there, `Refused` when something else is; `Unsupported` when the
    /// origin cannot list, `Network`, `Integrity`.
    pub fn mirror(
        place: impl AsRef<Path>,
        address: &str,
        origin: &MirrorOptions,
        options: &ServerOptions,
        task: Task,
    ) -> Result<Self> {
        // What would fail afterwards fails before; and nobody is kept waiting at an address that answers nothing yet.
        drop(listen(address)?);
        options.tls.as_ref().map(tls::config).transpose()?;
        let (follower, store) = Follower::start(place.as_ref(), origin, task)?;
        Self::begin(&store, listen(address)?, options, Some(follower))
    }

    fn begin(
        store: &Store,
        (listener, bound): (TcpListener, SocketAddr),
        options: &ServerOptions,
        follower: Option<Follower>,
    ) -> Result<Self> {
        let tls = options.tls.as_ref().map(tls::config).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("libcv-serve")
            .max_blocking_threads(READERS + 4)
            .build()
            .map_err(|e| Error::io("start", "the threads of the server", e))?;
        let metrics = Arc::new(Metrics::new(follower.as_ref().map(|f| f.freshness.clone())));
        let uploads = Arc::<Uploads>::default();
        let (stop, stopped) = watch::channel(false);
        let told = Arc::new(RwLock::new(options.listener.clone()));
        let shared = Arc::new(Shared {
            store: store.clone(),
            metrics: metrics.clone(),
            listener: told.clone(),
            reading: Arc::new(tokio::sync::Semaphore::new(READERS)),
            pieces: Arc::default(),
            listing: Arc::new(tokio::sync::Semaphore::new(LISTINGS)),
            uploads: uploads.clone(),
            bodies: Arc::new(tokio::sync::Semaphore::new(BODIES)),
            small_bodies: Arc::new(tokio::sync::Semaphore::new(SMALL_BODIES)),
            seen: orders::Seen::default(),
            bell: Bell::default(),
            stop: stopped.clone(),
            #[cfg(feature = "build")]
            distros: distros::Opened::default(),
        });
        let accepting = Accepting {
            tls,
            limits: options.limits.clone(),
            metrics: metrics.clone(),
            routes: routes::routes(shared.clone(), follower.is_none()),
        };
        let guard = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|e| Error::io("listen at", bound, e))?;
        drop(guard);
        let accepting = runtime.spawn(accepting.run(listener, stopped));
        runtime.spawn(tidy(uploads.clone()));
        runtime.spawn(bell::watch(shared));
        Ok(Self {
            runtime: Some(runtime),
            address: bound,
            stop,
            accepting: Some(accepting),
            metrics,
            follower,
            listener: told,
            uploads,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done, in the text format of Prometheus.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.metrics.text()
    }

    /// Waits for calls of the listener that run; there are none after that.
    fn silence(&self) {
        *self.listener.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes no new connections, and gives those that run `grace` to finish what they do.
    ///
    /// # Errors
    /// `Timeout` when some had to be cut off.
    pub fn stop(mut self, grace: Duration) -> Result<()> {
        let (Some(runtime), Some(accepting)) = (self.runtime.take(), self.accepting.take()) else { return Ok(()) };
        let _ = self.stop.send(true);
        let done = runtime.block_on(async { tokio::time::timeout(grace, accepting).await });
        runtime.shutdown_timeout(Duration::from_millis(100));
        self.uploads.end();
        self.silence();
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(Error::new(ErrorKind::Bug, "the server ended in its middle").cause(e)),
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("answers were cut off after {} s", grace.as_secs()))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.follower = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.uploads.end();
        self.silence();
    }
}

/// Seals captures that nobody goes on with: as long as they are open nothing can be collected that they count on.
async fn tidy(uploads: Arc<Uploads>) {
    loop {
        tokio::time::sleep(TIDY).await;
        let uploads = uploads.clone();
        drop(tokio::task::spawn_blocking(move || uploads.end_idle()).await);
    }
}

/// Connections that wait to be accepted: hundreds of nodes begin at the same moment. The kernel has a limit of its own (somaxconn).
const WAITING: i32 = 4096;

/// A socket that nobody is accepted at yet, and where it is.
fn listen(address: &str) -> Result<(TcpListener, SocketAddr)> {
    let wrong = || {
        Error::invalid(format!("\"{address}\" is no address to listen at"))
            .hint("give ADDR:PORT, such as [::]:7787 or 0.0.0.0:7787")
    };
    let parsed: SocketAddr = address.parse().map_err(|_| wrong())?;
    let listener = TcpListener::bind(parsed).map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            Error::new(ErrorKind::Busy, format!("somebody listens at {address} already")).cause(e)
        }
        _ => Error::io("listen at", address, e),
    })?;
    // The standard library has room for 128 that wait; the kernel drops those beyond, who try again after a second, after three and
    // after seven. A second call only makes the room larger.
    let wider = rustix::net::listen(&listener, WAITING).map_err(std::io::Error::from);
    let bound = wider.and_then(|()| listener.set_nonblocking(true)).and_then(|()| listener.local_addr());
    Ok((listener, bound.map_err(|e| Error::io("listen at", address, e))?))
}
