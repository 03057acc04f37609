//! A distribution and a role become a tree.
//!
//! ```text
//!  resolve ─> root ─> install ─> configure ─> initramfs ─> generalise ─> capture
//!             │       rpm: what dnf is told     what is the machine's own goes
//!             │       dnflog: what it answers
//!             └ namespaces of its own, the host's /usr to read, nothing else of the host
//! ```

pub mod root;
