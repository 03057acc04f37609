//! Why multicast does not arrive, found out by trying between hosts. See `multicast-protocol.md` §10.
//!
//! ```text
//!  sender: greets ──> small ones by five ways ──> data group ──> lengths ──> rates ──> over
//!              │  PROBE                                                         ▲
//!              ▼                                                           TOLD │ by unicast, and by all ways until the sender is known
//!  receiver: counts what comes, and by which interface; looks at its card, its memberships, questions for members
//!
//!  counts ──> judge: which cause explains what arrives and what does not ──> findings, the same at both ends
//! ```
//!
//! `phase` is what is sent; `tally` counts; `packet` reads what the card shows; `judge`, `reach` and `quality` come from counts to
//! findings; like those before they do no I/O. `net` and `host` are the sockets and this host; `send` and `receive` are the two ends.

mod host;
mod judge;
mod known;
mod net;
mod packet;
mod phase;
mod quality;
mod reach;
mod receive;
mod send;
mod tally;

pub use receive::{ReceiveOptions, Received, receive};
pub use send::{Receiver, SendOptions, Sent, send};

pub use crate::finding::{Finding, Verdict};

use super::wire::Count;
use crate::error::{Error, Result};
use phase::{Phase, Step};
use serde::Serialize;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Nobody waits longer for the other end.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

fn check_time(time: Duration) -> Result<()> {
    match time > TIME_LIMIT {
        true => {
            Err(Error::invalid(format!("{} s are longer than anybody waits", time.as_secs())).hint("an hour at most"))
        }
        false => Ok(()),
    }
}

/// The other end has another group.
fn other_group(what: &str, who: &str, group: [u8; 16], own: IpAddr, verdict: Verdict) -> Finding {
    let group = Ipv6Addr::from(group).to_canonical();
    let message = format!("{what}{who} has the group {group}, this end {own}: give both the same --group");
    Finding::new("group", verdict, message)
}

/// What came of what was sent.
#[derive(Clone, Debug, Serialize)]
pub struct Counted {
    /// `direct`, `broadcast`, `local`, `control`, `far`, `data`, `size` or `rate`.
    pub way: &'static str,
    /// Kilobits in a second, headers included; 0 when it has no rate.
    pub rate: u32,
    /// Datagrams that were sent; 0 when this end does not know.
    pub sent: u32,
    /// What came of them.
    #[serde(flatten)]
    pub count: Count,
}

impl Counted {
    fn all(counts: &[Count], steps: &[Step]) -> Vec<Self> {
        let one = |count: &Count| {
            let step = steps.iter().find(|s| s.phase == count.phase);
            let (rate, sent) = step.map_or((0, 0), |s| (s.rate, s.of));
            Self { way: Phase::of(count.phase).name(), rate, sent, count: *count }
        };
        counts.iter().map(one).collect()
    }
}
