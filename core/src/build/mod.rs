//! A distribution and a role become a tree.
//!
//! ```text
//!  resolve ─> root ─> install ─> configure ─> initramfs ─> generalise ─> capture
//!             │       │  rpm: what dnf is told            what is the machine's own goes
//!             │       │  dnflog: what it answers
//!             │       └  rpmdb, deb: what is installed ──> packages ──> sbom
//!             │          database: the same of an image that is there
//!             └ namespaces of its own, the host's /usr to read, nothing else of the host
//! ```

pub mod database;
pub mod deb;
pub mod dnflog;
pub mod generalise;
pub mod install;
pub mod packages;
pub mod root;
pub mod rpm;
pub mod rpmdb;
pub mod sbom;
