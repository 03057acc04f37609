//! A distribution and a role become a tree.
//!
//! ```text
//!  make: resolve ─> root ─> install ─> configure ─> initramfs ─> generalise ─> capture
//!                   │       │  rpm: what dnf is told            what is the machine's own goes
//!                   │       │  dnflog: what it answers
//!                   │       │  debian: the same of apt and dpkg
//!                   │       └  rpmdb, deb: what is installed ──> packages ──> sbom
//!                   │          database: the same of an image that is there
//!                   └ namespaces of its own, the host's /usr to read, nothing else of the host
//! ```
//!
//! Where an image came from stands in its manifest: provenance.

mod configure;
pub mod database;
pub mod deb;
pub mod debian;
pub mod dnflog;
pub mod generalise;
mod initramfs;
pub mod install;
mod make;
pub mod packages;
pub mod provenance;
pub mod root;
pub mod rpm;
pub mod rpmdb;
pub mod sbom;

pub use make::{Base, Change, Made, MakeOptions, Program, Step, System, build, edit, update};
pub use provenance::Provenance;
