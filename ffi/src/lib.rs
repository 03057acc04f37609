//! The C library: core's model as opaque handles, error codes and JSON.
//!
//! ```text
//!  C ──> exported function ──> guard: NULL, UTF-8, panics, last error ──> libcv
//!                 │
//!                 └─ handle: a number that looks like a pointer, looked up, never followed
//! ```
//!
//! One file for each concept of core, under the same name; the header's functions follow in the order of the files.
//! Raw pointers are read and written in `guard.rs` only; a handle is never read through at all (`handle.rs`).
//!
//! # Safety
//!
//! Every exported function is `unsafe` for the same reason, and asks the same of its caller, which the head of
//! `libcv.h` says once for all: a pointer is NULL or points to what its type says, text ends with NUL, and nobody
//! changes either during the call. Everything else is checked.

#![allow(unsafe_code)] // `#[unsafe(no_mangle)]` needs it; `guard.rs` is where it matters
#![allow(clippy::missing_safety_doc)] // said once, above
#![allow(non_camel_case_types)] // types have the names of the header

pub mod error;

pub mod event;

pub mod job;

pub mod store;

pub mod collect;

pub mod sync;

pub mod http;

pub mod server;

pub mod token;

pub mod node;

pub mod capture;

pub mod image;

pub mod sign;

pub mod update;

pub mod multicast;

pub mod doctor;

pub mod convert;

pub mod packages;

pub mod layout;

pub mod plan;

pub mod config;

pub mod distro;

pub mod role;

pub mod build;

mod guard;
mod handle;
