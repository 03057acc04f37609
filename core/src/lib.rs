//! libcv provisions the nodes of a Linux cluster.
//!
//! ```text
//!  live node ── capture ┐                              ┌─ disk: partition, format, copy, configure, boot
//!  tar, OCI ─── convert ┼─> image ─> store ─> chunks ──┤
//!                       │              ^               └─ directory: extract
//!                       └ versions, tags, rollback
//!  layout document ─> validate ─> match disks ─> plan ─> apply
//! ```
//!
//! An image and a layout never know each other; a plan joins them for one node. The modules stand in the order of
//! dependency: each uses only those above it, and `tests/layering.rs` holds that.

#![forbid(unsafe_op_in_unsafe_fn)]

// The modules stand in the order of dependency, not of the alphabet.
mod shown;
pub mod error;
pub mod units;
pub mod finding;
pub mod sys;
pub mod event;
pub mod job;
pub mod document;

pub mod image;
pub mod sign;
pub mod web;
pub mod store;
pub mod tree;
pub mod secrets;
pub mod convert;
#[cfg(feature = "build")]
pub mod distro;
pub mod layout;
pub mod capture;
pub mod config;
#[cfg(feature = "build")]
pub mod role;
#[cfg(feature = "build")]
pub mod build;
pub mod deploy;
#[cfg(feature = "mcast")]
pub mod multicast;
#[cfg(feature = "http")]
pub mod node;
#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "cli")]
pub mod cli;

pub use error::{Error, ErrorKind, Result};
