//! A disk that takes so many bytes in a second, and the queue before it.

use std::collections::VecDeque;
use std::time::Duration;

/// Bytes that may wait; with more nothing is read from the network.
const ROOM: u64 = 4 * 65_536;

/// The disk of a receiver.
#[derive(Default)]
pub(crate) struct Disk {
    waiting: VecDeque<(u32, Vec<u8>)>,
    bytes: u64,
    applied: u64,
    /// Applied before the beginning of this second, when that was, and in the second before.
    second: (u64, Duration, u64),
    /// Datagrams that came when there was no room.
    pub(crate) dropped: u32,
}

impl Disk {
    /// A stripe comes; how long it takes to write it, when nothing else is written.
    pub(crate) fn put(&mut self, stripe: u32, bytes: Vec<u8>, speed: u64) -> Option<Duration> {
        self.bytes += bytes.len() as u64;
        self.waiting.push_back((stripe, bytes));
        if self.waiting.len() == 1 { self.next(speed) } else { None }
    }

    /// The first one is written.
    pub(crate) fn written(&mut self, now: Duration) -> Option<(u32, Vec<u8>)> {
        let (stripe, bytes) = self.waiting.pop_front()?;
        self.bytes -= bytes.len() as u64;
        self.applied += bytes.len() as u64;
        let (before, since, _) = self.second;
        if now - since >= Duration::from_secs(1) {
            let in_a_second = (self.applied - before) as f64 / (now - since).as_secs_f64();
            self.second = (self.applied, now, in_a_second as u64);
        }
        Some((stripe, bytes))
    }

    /// How long the next one takes.
    pub(crate) fn next(&self, speed: u64) -> Option<Duration> {
        self.waiting.front().map(|(_, bytes)| Duration::from_secs_f64(bytes.len() as f64 / speed as f64))
    }

    pub(crate) fn has_room(&self) -> bool {
        self.bytes < ROOM
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that wait, and that were written in a second.
    pub(crate) fn load(&self) -> (u64, u64) {
        (self.bytes, self.second.2)
    }
}
