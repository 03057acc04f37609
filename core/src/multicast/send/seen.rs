//! What can be seen of a session.

use super::receivers::Standing;
use serde::Serialize;

/// What a sender sent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sent {
    /// Symbols of the first pass.
    pub first: u64,
    /// Parity.
    pub parity: u64,
    /// Symbols of stripes that were sent again as a whole.
    pub again: u64,
    /// Messages.
    pub messages: u64,
    /// Reports that were looked at.
    pub reports: u64,
    /// Datagrams that were not what they should be.
    pub refused: u64,
}

/// A receiver, for whoever watches.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// What it calls itself.
    pub name: String,
    /// How it stands with it.
    pub standing: Standing,
    /// Stripes that it has.
    pub whole: u32,
    /// Share of the symbols that it loses.
    pub loss: f64,
    /// Bits of symbols in a second that come to it.
    pub rate: f64,
    /// KiB that wait for its disk.
    pub backlog: u32,
    /// Datagrams that its socket had no room for.
    pub dropped: u32,
}

/// Where a session is, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// For receivers.
    Waiting,
    /// Everything that is wanted is sent once.
    FirstPass,
    /// What was lost, and what late ones lack.
    Repair,
    /// Nobody wants anything; somebody may come.
    Lingering,
    /// It has ended.
    Over,
}
