//! Where this host keeps its own state.

use std::path::PathBuf;

/// `/var/lib/libcv` for root, else the user's state directory.
#[must_use]
pub fn directory() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/libcv");
    }
    let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state"));
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    base.unwrap_or_else(|| PathBuf::from("/nonexistent")).join("libcv")
}
