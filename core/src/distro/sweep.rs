//! The sums of a whole medium, beside the storing of its files.
//!
//! ```text
//!  storing ── position ──> Pace ──> SHA-256 ── parts ──> MD5     reads the medium once more: what is a few MiB ahead or
//!                                                                behind is still in memory
//! ```

use super::digest::Sum;
use super::iso::{MediumFile, ReadAt, Volume};
use super::mediasum::Summing;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crossbeam_channel::bounded;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How far a sum may be ahead of the storing, in bytes.
const AHEAD: u64 = 64 << 20;
const STEP: usize = 1 << 20;
/// Parts between the two sums: MD5 is the slower one.
const BUFFERS: usize = 4;
const WAIT: Duration = Duration::from_millis(1);

/// How far the storing is.
#[derive(Default)]
pub(super) struct Pace {
    position: AtomicU64,
    failed: AtomicBool,
}

impl Pace {
    /// The storing is at this byte of the medium.
    pub(super) fn reached(&self, position: u64) {
        self.position.fetch_max(position, Ordering::Relaxed);
    }

    /// The storing is at its end; when it failed nobody needs the sums.
    pub(super) fn end(&self, well: bool) {
        self.failed.store(!well, Ordering::Relaxed);
        self.position.store(u64::MAX, Ordering::Relaxed);
    }

    fn wait(&self, at: u64, task: &Task) -> Result<()> {
        loop {
            task.check()?;
            if self.failed.load(Ordering::Relaxed) {
                return Err(Error::cancelled());
            }
            if at <= self.position.load(Ordering::Relaxed).saturating_add(AHEAD) {
                return Ok(());
            }
            std::thread::sleep(WAIT);
        }
    }
}

/// What the bytes of a medium gave.
pub(super) struct Swept {
    pub(super) sha256: String,
    /// Whether it carries a checksum, which then fits.
    pub(super) undamaged: bool,
}

/// Sums a medium.
///
/// # Errors
/// `Integrity` when it is damaged; those of reading; `Cancelled`.
pub(super) fn sweep(medium: &MediumFile, volume: &Volume, pace: &Pace, task: &Task) -> Result<Swept> {
    let mut sha256 = Sum::sha256();
    let summing = Summing::of(volume, medium.length());
    let undamaged = summing.is_some();
    std::thread::scope(|s| {
        let md5 = summing.map(|mut summing| {
            let (parts, full) = bounded::<Vec<u8>>(BUFFERS);
            let (empty, again) = bounded(BUFFERS);
            let thread = s.spawn(move || {
                for part in full {
                    summing.add(&part);
                    // Nobody wants it at the end.
                    let _ = empty.try_send(part);
                }
                summing
            });
            (thread, parts, again)
        });
        let done = read(medium, pace, task, |part| {
            sha256.add(part);
            let Some((_, parts, again)) = &md5 else { return };
            let next = again.try_recv().unwrap_or_default();
            // It ends before us only when it panicked, which is told below.
            let _ = parts.send(std::mem::replace(part, next));
        });
        let summing = md5.map(|(thread, parts, _)| {
            drop(parts);
            thread.join().map_err(|_| Error::new(ErrorKind::Bug, "a thread panicked"))
        });
        done?;
        summing.map_or(Ok(()), |summing| summing?.finish())
    })?;
    Ok(Swept { sha256: sha256.finish(), undamaged })
}

/// Tells `each` what the medium has, part by part; it may keep the part and leave another buffer.
fn read(medium: &MediumFile, pace: &Pace, task: &Task, mut each: impl FnMut(&mut Vec<u8>)) -> Result<()> {
    let (mut buffer, mut at) = (Vec::new(), 0);
    loop {
        pace.wait(at, task)?;
        buffer.resize(STEP, 0);
        match medium.read_at(&mut buffer, at) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                buffer.truncate(n);
                each(&mut buffer);
                at += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read", "the medium", e)),
        }
    }
}
