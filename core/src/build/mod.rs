//! A distribution and a role become a tree.
//!
//! ```text
//!  resolve ─> root ─> install ─> configure ─> initramfs ─> generalise ─> capture
//!             │       │  rpm: what dnf is told            what is the machine's own goes
//!             │       │  dnflog: what it answers
//!             │       │  debian: the same of apt and dpkg
//!             │       └  rpmdb, deb: what is installed ──> packages ──> sbom
//!             └ namespaces of its own, the host's /usr to read, nothing else of the host
//! ```

pub mod deb;
pub mod debian;
pub mod dnflog;
pub mod generalise;
pub mod install;
pub mod packages;
pub mod root;
pub mod rpm;
pub mod rpmdb;
pub mod sbom;
