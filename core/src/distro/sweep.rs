//! The sums of a whole medium, beside the storing of its files.
//!
//! ```text
//!  storing ── position ──> Pace ──> MD5     each reads the medium for itself; what is a few MiB ahead or behind
//!                             └───> SHA-256  is still in memory
//! ```

use super::digest::Sum;
use super::iso::{MediumFile, ReadAt, Volume};
use super::mediasum::Summing;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How far a sum may be ahead of the storing, in bytes.
const AHEAD: u64 = 64 << 20;
const STEP: usize = 1 << 20;
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
            s.spawn(move || {
                read(medium, pace, task, |bytes| summing.add(bytes))?;
                summing.finish()
            })
        });
        let done = read(medium, pace, task, |bytes| sha256.add(bytes));
        let panicked = || Error::new(ErrorKind::Bug, "a thread panicked");
        let checked = md5.map_or(Ok(()), |t| t.join().unwrap_or_else(|_| Err(panicked())));
        done.and(checked)
    })?;
    Ok(Swept { sha256: sha256.finish(), undamaged })
}

fn read(medium: &MediumFile, pace: &Pace, task: &Task, mut each: impl FnMut(&[u8])) -> Result<()> {
    let (mut buffer, mut at) = (vec![0; STEP], 0);
    loop {
        pace.wait(at, task)?;
        match medium.read_at(&mut buffer, at) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                each(&buffer[..n]);
                at += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read", "the medium", e)),
        }
    }
}
