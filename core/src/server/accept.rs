//! Connections: who gets one, TLS, and how they end.

use super::access::Peer;
use super::limits::Limits;
use super::metrics::Metrics;
use super::stall::Stall;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

/// What the store, the log and the runtime may open.
const FILES: usize = 512;
/// After an error of accepting, mostly for want of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// What accepts.
pub(super) struct Accepting {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) routes: Router,
}

/// How many connections each peer has.
#[derive(Default)]
struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// A connection that counts for its peer as long as this is there.
struct Place {
    peers: Arc<Peers>,
    peer: IpAddr,
    metrics: Arc<Metrics>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
        self.metrics.connections.dec();
    }
}

impl Peers {
    fn enter(self: &Arc<Self>, peer: IpAddr, limit: usize, metrics: &Arc<Metrics>) -> Option<Place> {
        let peer = network(peer);
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        metrics.connections.inc();
        Some(Place { peers: self.clone(), peer, metrics: metrics.clone() })
    }
}

/// What counts as one peer: whoever has an IPv6 address has 2^64 of them.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Accepting {
    /// Until it is stopped; ends when the last connection has.
    pub(super) async fn run(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let (graceful, peers) = (GracefulShutdown::new(), Arc::<Peers>::default());
        // Of the store few files are open at a time, however many ask.
        let left = crate::sys::descriptor::left();
        let most = self.limits.connections.min(left.saturating_sub(FILES).max(left / 2)).max(1);
        let (places, accepting) = (Arc::new(Semaphore::new(most)), Arc::new(self));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.changed() => break,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let entered = peers.enter(peer.ip(), accepting.limits.per_peer, &accepting.metrics);
            let (Some(place), Ok(permit)) = (entered, places.clone().try_acquire_owned()) else {
                accepting.metrics.refused.inc();
                continue;
            };
            let (accepting, watcher, mut stop) = (accepting.clone(), graceful.watcher(), stop.clone());
            tokio::spawn(async move {
                let begins = tokio::select! {
                    begins = accepting.begins(&stream) => begins,
                    _ = stop.changed() => false,
                };
                if begins {
                    // In memory of its own: those that only wait, of which there may be thousands, do without.
                    Box::pin(accepting.serve(stream, peer, watcher)).await;
                }
                drop((place, permit));
            });
        }
        drop(listener);
        graceful.shutdown().await;
    }

    /// Whether the client says something in time.
    async fn begins(&self, stream: &TcpStream) -> bool {
        let limit = if self.tls.is_some() { self.limits.handshake_time } else { self.limits.header_time };
        // `readable` takes a new socket for one that is.
        let begins = matches!(tokio::time::timeout(limit, stream.peek(&mut [0])).await, Ok(Ok(1)));
        if self.tls.is_some() && !begins {
            self.metrics.handshakes_failed.inc();
        }
        begins
    }

    async fn serve(&self, stream: TcpStream, address: SocketAddr, watcher: Watcher) {
        // What cannot be set costs time and no correctness.
        let _ = stream.set_nodelay(true);
        let stream = Stall::new(stream, self.limits.stall_time);
        let Some(tls) = &self.tls else {
            return self.converse(stream, Peer { address, identity: None }, watcher).await;
        };
        let handshake = TlsAcceptor::from(tls.clone()).accept(stream);
        match tokio::time::timeout(self.limits.handshake_time, handshake).await {
            Ok(Ok(stream)) => {
                let identity = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).map(|c| fingerprint(c));
                self.converse(stream, Peer { address, identity }, watcher).await;
            }
            _ => _ = self.metrics.handshakes_failed.inc(),
        }
    }

    async fn converse<S>(&self, stream: S, peer: Peer, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let routes = self.routes.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (mut request, mut routes) = (request.map(Body::new), routes.clone());
            request.extensions_mut().insert(peer.clone());
            async move { routes.call(request).await }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_time)
            .max_headers(self.limits.headers)
            .max_buf_size(self.limits.header_bytes.max(8 << 10))
            .serve_connection(TokioIo::new(stream), service);
        // How a connection ends is the client's affair; what was sent stands in the access events.
        let _ = watcher.watch(connection).await;
    }
}

/// The SHA-256 of a certificate, by which it is known.
fn fingerprint(certificate: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(certificate).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_so_many_connections_and_a_network_is_one_peer() {
        let (peers, metrics) = (Arc::<Peers>::default(), Arc::new(Metrics::new(None)));
        let enter = |ip: &str| peers.enter(ip.parse().unwrap(), 2, &metrics);
        let (a, b) = (enter("fd00::1"), enter("fd00::2"));
        assert!(a.is_some() && b.is_some());
        assert!(enter("fd00::3").is_none() && enter("fd00:0:0:1::1").is_some());
        // The same address, written in the other way.
        let (c, d) = (enter("10.0.0.1"), enter("::ffff:10.0.0.1"));
        assert!(c.is_some() && d.is_some() && enter("10.0.0.1").is_none());
        drop((a, b, c, d));
        assert!(peers.0.lock().unwrap().is_empty() && enter("10.0.0.1").is_some());
        assert_eq!(metrics.connections.get(), 0);
    }
}
