//! Who takes what a capture, or the addition of a distribution, stores when the store is behind a server (`docs/capture-protocol.md`).
//!
//! ```text
//!  chunks of a run ── lacking? ──> those that are ── a pack ──> send … manifest ──> publish
//! ```
//!
//! Packs are handed to the writer of the backend, as they are where a store lies; what becomes of them is the server's affair.

use crate::error::{Error, ErrorKind, Result};
use crate::image::{Hash, Manifest};

/// Bytes of a pack on its way: a part of what the server makes of it, so that little is sent twice when the way breaks off.
pub const CLOSE_AT: u64 = 8 << 20;

/// The fact of an error that says how many chunks are not there.
pub const LACKING: &str = "lacking";

/// A server that takes a capture.
pub trait Depot: Send + Sync {
    /// The name whose next generation it takes.
    fn name(&self) -> &str;

    /// Whether it takes this name.
    ///
    /// # Errors
    /// `Denied` when the token is for another.
    fn allows(&self, name: &str) -> Result<()> {
        if self.name() == name {
            return Ok(());
        }
        let text = format!("the token is for {}, and not for {name}", self.name());
        Err(Error::new(ErrorKind::Denied, text).hint("make one where the store lies: cvctl token create"))
    }

    /// For each of these chunks whether it has to be sent.
    ///
    /// # Errors
    /// `Denied` when the token counts no more; `Network`.
    fn lacking(&self, chunks: &[Hash]) -> Result<Vec<bool>>;

    /// Publishes the next generation of the name that the token is for, whose chunks were all sent or not lacking, perhaps with a
    /// tag; its number.
    ///
    /// # Errors
    /// `Conflict` when `expect` is not the newest generation, or with the fact `lacking` when the server has not all of it;
    /// `Denied`, `Network`.
    fn publish(&self, manifest: &Manifest, expect: Option<u64>, tag: Option<&str>) -> Result<u64>;

    /// Points a tag of that name to a generation, unless it points to a later one.
    ///
    /// # Errors
    /// `NotFound` when there is no such generation; `Denied`, `Network`.
    fn tag(&self, tag: &str, generation: u64) -> Result<()>;
}
