//! What clients may take.

use std::time::Duration;

/// Limits of a server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections of one peer at a time: an IPv4 address, or the /64 of an IPv6 address.
    pub per_peer: usize,
    /// How long the headers of a request may take, the wait for it included: an idle connection is closed after that. The first byte of a new
    /// connection has as long.
    pub header_time: Duration,
    /// How long TLS may take to begin.
    pub handshake_time: Duration,
    /// How long a client may read nothing of an answer.
    pub stall_time: Duration,
    /// Bytes of the headers of a request.
    pub header_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            per_peer: 2_048,
            header_time: Duration::from_secs(15),
            handshake_time: Duration::from_secs(10),
            stall_time: Duration::from_secs(60),
            header_bytes: 16 << 10,
            headers: 64,
        }
    }
}
