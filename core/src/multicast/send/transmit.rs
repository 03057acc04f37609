//! What a sender sends.

use crate::multicast::wire::Message;
use std::net::SocketAddr;
use std::ops::Range;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The control group.
    Control,
    /// The data group.
    Data,
    /// One receiver.
    One(SocketAddr),
}

/// Consecutive symbols of one stripe, sent at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The stripe.
    pub stripe: u32,
    /// The symbols; those beyond the stripe's own are parity.
    pub symbols: Range<u16>,
    /// The number of the first one.
    pub seq: u32,
    /// It is sent because somebody lacks symbols.
    pub repair: bool,
    /// The whole stripe is sent again.
    pub again: bool,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// A message.
    Message(To, Message),
    /// Symbols, to the data group.
    Symbols(Burst),
}
