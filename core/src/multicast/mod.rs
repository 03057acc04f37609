//! One image to many nodes at once, by multicast. See `docs/multicast-protocol.md`.
//!
//! ```text
//!  image ─> head, plan, body ─> stripes ─> symbols ─┐ datagrams ┌─> symbols ─> stripes ─> blocks ─> extraction
//!                                                   │           │
//!            sender: what is sent, and when ────────┤           ├──── receiver: what is there, and what is lacking
//!                                                   └── reports ┘
//! ```
//!
//! All but the driver get time and datagrams as arguments and do no I/O: the simulator uses the
//! same machines.

mod contents;
pub mod doctor;
pub mod drive;
pub mod fec;
pub mod offer;
pub mod offered;
pub mod plan;
pub mod receive;
pub mod send;
pub mod shape;
pub mod wire;

pub use shape::Shape;
pub use wire::{Keys, Mode, Session};
