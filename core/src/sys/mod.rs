//! The only door to kernel, clock and programs, and the only place of the core with `unsafe`.

pub mod block;
pub mod clock;
#[cfg(feature = "build")]
pub mod confine;
pub mod confined;
pub mod cwd;
pub mod descriptor;
pub mod identity;
pub mod inode;
pub mod lock;
pub mod loopdev;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod process;
pub mod program;
#[cfg(feature = "build")]
pub mod scratch;
#[cfg(feature = "build")]
pub mod seccomp;
pub mod state;
pub mod sysfs;
#[cfg(feature = "cli")]
pub mod signal;
pub mod xattr;
