//! What a server has done, for Prometheus.

use super::access::Access;
use super::follow::Freshness;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Seconds of an answer.
const SECONDS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    status: u16,
}

/// The counters.
pub(super) struct Metrics {
    registry: Registry,
    answers: Family<Answered, Counter>,
    bytes: Counter,
    seconds: Histogram,
    /// Bytes of bodies that came from clients.
    pub(super) received: Counter,
    /// Connections that are open.
    pub(super) connections: Gauge,
    /// Connections that were turned away.
    pub(super) refused: Counter,
    /// TLS that did not come about.
    pub(super) handshakes_failed: Counter,
    /// Answers that are on their way.
    pub(super) running: Gauge,
    mirror: (Option<Arc<Freshness>>, Gauge, Gauge),
}

impl Metrics {
    /// The counters of a server, which may be a mirror.
    pub(super) fn new(freshness: Option<Arc<Freshness>>) -> Self {
        let mut registry = Registry::with_prefix("libcv_http");
        let (answers, bytes, seconds) = (Family::default(), Counter::default(), Histogram::new(SECONDS));
        let (connections, running) = (Gauge::default(), Gauge::default());
        let (refused, handshakes_failed, received) = (Counter::default(), Counter::default(), Counter::default());
        registry.register("answers", "Answers by method and status", Family::clone(&answers));
        registry.register("body_bytes", "Bytes of bodies that went to clients", bytes.clone());
        registry.register("received_bytes", "Bytes of bodies that came from clients", received.clone());
        registry.register("answer_seconds", "From the request to the end of the answer", seconds.clone());
        registry.register("connections", "Connections that are open", connections.clone());
        registry.register("connections_refused", "Connections that were turned away", refused.clone());
        registry.register("handshakes_failed", "TLS that did not come about", handshakes_failed.clone());
        registry.register("answers_running", "Answers that are on their way", running.clone());
        let (mirror_age, mirror_failed) = (Gauge::default(), Gauge::default());
        if freshness.is_some() {
            registry.register("mirror_age_seconds", "Since the mirror had all of its origin", mirror_age.clone());
            registry.register("mirror_pulls_failed", "Looks at the origin that failed", mirror_failed.clone());
        }
        let mirror = (freshness, mirror_age, mirror_failed);
        Self { registry, answers, bytes, received, seconds, connections, refused, handshakes_failed, running, mirror }
    }

    /// Counts an answer.
    pub(super) fn answered(&self, access: &Access, took: Duration) {
        // Whatever clients call their methods: the labels are few.
        let method =
            ["GET", "HEAD", "POST", "PUT", "DELETE"].into_iter().find(|m| *m == access.method).unwrap_or("other");
        self.answers.get_or_create(&Answered { method, status: access.status }).inc();
        self.bytes.inc_by(access.bytes);
        self.seconds.observe(took.as_secs_f64());
    }

    /// The text format.
    pub(super) fn text(&self) -> String {
        if let (Some(freshness), age, failed) = &self.mirror {
            age.set(i64::try_from(freshness.age().as_secs()).unwrap_or(i64::MAX));
            failed.set(i64::try_from(freshness.failed.load(Ordering::Relaxed)).unwrap_or(i64::MAX));
        }
        let mut out = String::new();
        // A String takes everything.
        let _ = encode(&mut out, &self.registry);
        out
    }
}
