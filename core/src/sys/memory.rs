//! The memory of this machine, and that of this process.

#![allow(unsafe_code)]

/// Its bytes, as `/proc/meminfo` has them; `None` where it does not say.
#[must_use]
pub fn total() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// Gives memory that was freed back to the kernel. glibc keeps what is not at the end of a heap, and lends it only to the threads of
/// that heap: what one thread has freed is not there for what another one needs next.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no precondition, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn parse(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_total_is_read() {
        assert_eq!(parse("MemTotal:       24616300 kB\nMemFree: 1 kB\n"), Some(24_616_300 * 1024));
        assert_eq!(parse("MemFree: 1 kB\n"), None);
        assert!(total().unwrap() > 0);
    }
}
