//! How many files this process may still open. The limit is the process's own: the library does not change it.

/// Kept for what the process does beside us.
const RESERVE: usize = 32;

/// Lets this process open as many files as it may. Only a program calls this, for itself.
pub fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it cannot be raised, it is as it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Descriptors that are left under the soft limit, less a few for others.
#[must_use]
pub fn left() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).saturating_sub(open + RESERVE)
}
