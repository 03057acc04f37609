//! Time and randomness of the machine.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now in UTC as RFC 3339 with seconds: `2026-03-01T12:00:00Z`.
#[must_use]
pub fn now_rfc3339() -> String {
    rfc3339(now().0)
}

/// Now in UTC as RFC 3339 with milliseconds: `2026-03-01T12:00:00.123Z`.
#[must_use]
pub fn now_rfc3339_millis() -> String {
    let (seconds, nanos) = now();
    let time = jiff::Timestamp::new(seconds, i32::try_from(nanos).unwrap_or(0));
    time.map_or_else(|_| format!("@{seconds}"), |t| format!("{t:.3}"))
}

/// A time in seconds since the epoch as RFC 3339.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("@{seconds}"), |t| t.to_string())
}

/// The seconds since the epoch that an RFC 3339 text means; `None` when it is none.
#[must_use]
pub fn seconds(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// Now as seconds and nanoseconds since the epoch.
#[must_use]
pub fn now() -> (i64, u32) {
    // Not by rustix: it panics where the kernel gives programs no vDSO that it knows, as User-Mode Linux.
    let since = |t: SystemTime| t.duration_since(UNIX_EPOCH);
    match since(SystemTime::now()) {
        Ok(d) => (i64::try_from(d.as_secs()).unwrap_or(i64::MAX), d.subsec_nanos()),
        Err(before) => (-i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX), 0),
    }
}

/// 64 random bits.
///
/// # Panics
/// When the kernel has no source of randomness, which Linux always has.
#[must_use]
pub fn random_u64() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        // An early boot environment without devtmpfs: the time and the address space layout must do for a name.
        let (s, ns) = now();
        let here = &raw const s as u64;
        (s as u64).rotate_left(32) ^ u64::from(ns) ^ here.rotate_left(17) ^ u64::from(std::process::id())
    })
}
