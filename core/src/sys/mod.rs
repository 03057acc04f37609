//! The only door to kernel, clock and programs, and the only place of the core with `unsafe`.

pub mod clock;
pub mod confined;
pub mod inode;
#[cfg(feature = "cli")]
pub mod signal;
pub mod xattr;
