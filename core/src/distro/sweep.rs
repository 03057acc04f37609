//! A medium that is read once, from front to back: by whoever stores its files, and beside it by the sums of the whole.
//!
//! ```text
//!  medium ── part ──┬──> fill: what the storing asks for, in the order of the medium
//!                   └──> sums, in a thread no more than 8 MiB behind: SHA-256, and MD5 unless the SHA-256 is known that has to
//!                        come out
//! ```
//!
//! What was passed already is read again by itself: only a medium whose files are out of order asks for that.

use super::digest::{Digest, Sum};
use super::iso::{MediumFile, ReadAt, Volume};
use super::mediasum::Summing;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crossbeam_channel::{Sender, bounded};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

/// A quarter of what a processor has near it: what is read is summed and cut before it has left.
const PART: usize = 256 << 10;
/// Parts that the sums may be behind.
const BEHIND: usize = 32;

/// A medium that is read.
pub(super) struct Sweep<'s, 'm> {
    medium: &'m MediumFile,
    task: &'m Task,
    part: Arc<Vec<u8>>,
    /// Where the part begins.
    at: u64,
    /// Parts that may still be summed; their memory serves the next ones.
    used: VecDeque<Arc<Vec<u8>>>,
    to_sum: Sender<Arc<Vec<u8>>>,
    /// Dropped with it.
    _stop: Stop,
    published: Option<Digest>,
    sums: ScopedJoinHandle<'s, Sums>,
}

/// The sums of the whole.
struct Sums {
    sha256: Sum,
    /// What the medium carries, if it counts.
    md5: Option<Summing>,
}

/// What the bytes of a medium gave.
pub(super) struct Swept {
    pub(super) sha256: String,
    /// Whether it has the checksum that was published or that it carries.
    pub(super) undamaged: bool,
}

impl<'s, 'm> Sweep<'s, 'm> {
    /// Begins at the front of a medium, of which the SHA-256 may be known: then it need not be compared with what it carries.
    pub(super) fn begin<'env>(
        scope: &'s Scope<'s, 'env>,
        medium: &'m MediumFile,
        volume: &Volume,
        published: Option<Digest>,
        task: &'m Task,
    ) -> Self {
        let (to_sum, parts) = bounded::<Arc<Vec<u8>>>(BEHIND);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let md5 = if published.is_some() { None } else { Summing::of(volume, medium.length()) };
        let sums = scope.spawn(move || {
            let mut sums = Sums { sha256: Sum::sha256(), md5 };
            parts.iter().take_while(|_| !stopped.load(Ordering::Relaxed)).for_each(|part| sums.add(&part));
            sums
        });
        Self {
            medium,
            task,
            part: Arc::default(),
            at: 0,
            used: VecDeque::new(),
            to_sum,
            _stop: Stop(stop),
            published,
            sums,
        }
    }

    /// Fills `buf` with what stands at `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when there is not as much; the system's.
    pub(super) fn fill(&mut self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let n = match offset.checked_sub(self.at) {
                None => {
                    let n = buf.len().min(usize::try_from(self.at - offset).unwrap_or(usize::MAX));
                    self.medium.read_exact_at(&mut buf[..n], offset)?;
                    n
                }
                Some(inside) => {
                    let rest = usize::try_from(inside).ok().and_then(|n| self.part.get(n..)).unwrap_or_default();
                    let n = rest.len().min(buf.len());
                    buf[..n].copy_from_slice(&rest[..n]);
                    if n == 0 && !self.advance()? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    n
                }
            };
            buf = &mut buf[n..];
            offset += n as u64;
        }
        Ok(())
    }

    /// Goes on to the next part; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        self.task.check().map_err(io::Error::other)?;
        self.at += self.part.len() as u64;
        let last = std::mem::take(&mut self.part);
        self.used.push_back(last);
        let free = self.used.front_mut().is_some_and(|oldest| Arc::get_mut(oldest).is_some());
        let mut part = free.then(|| self.used.pop_front()).flatten().and_then(Arc::into_inner).unwrap_or_default();
        // What was not there when it was opened does not count.
        let left = self.medium.length() - self.at;
        part.resize(usize::try_from(left).unwrap_or(PART).min(PART), 0);
        let n = loop {
            match self.medium.read_at(&mut part, self.at) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                n => break n?,
            }
        };
        part.truncate(n);
        self.part = Arc::new(part);
        if n > 0 {
            // The sums end before us only when they panicked, which is told at the end.
            drop(self.to_sum.send(Arc::clone(&self.part)));
        }
        Ok(n > 0)
    }

    /// Reads what is left, and gives the sums.
    ///
    /// # Errors
    /// `Integrity` when the medium is damaged, another one, or was changed meanwhile; those of reading; `Cancelled`.
    pub(super) fn finish(mut self) -> Result<Swept> {
        while self.advance().map_err(|e| Error::io("read", "the medium", e))? {}
        self.medium.is_unchanged(self.at)?;
        drop(self.to_sum);
        let panicked = |_| Error::new(ErrorKind::Bug, "a thread panicked");
        let Sums { sha256, md5 } = self.sums.join().map_err(panicked)?;
        let undamaged = md5.is_some() || self.published.is_some();
        md5.map_or(Ok(()), Summing::finish)?;
        let sha256 = sha256.finish();
        match self.published {
            Some(published) if published.hex != sha256 => Err(Error::integrity(
                "the medium is another one, or damaged: it does not have the SHA-256 that was given",
            )
            .fact("expected", published.hex)
            .fact("actual", sha256)),
            _ => Ok(Swept { sha256, undamaged }),
        }
    }
}

/// Stops the sums when nobody is there any more who could ask for them.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sums {
    fn add(&mut self, part: &[u8]) {
        match &mut self.md5 {
            None => self.sha256.add(part),
            Some(md5) => md5.add_beside(part, &mut self.sha256),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use md5::Digest as _;
    use std::fs::File;
    use std::io::Write;
    use std::path::PathBuf;

    struct Bed {
        _dir: tempfile::TempDir,
        path: PathBuf,
        bytes: Vec<u8>,
    }

    impl Bed {
        /// Three parts and a bit.
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("medium");
            let bytes: Vec<u8> =
                (0..3 * PART as u32 + 77).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            Self { _dir: dir, path, bytes }
        }

        fn sweep(
            &self,
            application: &str,
            published: Option<&str>,
            task: &Task,
            work: impl FnOnce(&mut Sweep<'_, '_>),
        ) -> Result<Swept> {
            let medium = MediumFile::open(&self.path).unwrap();
            let volume = Volume {
                name: String::new(),
                size: self.bytes.len() as u64,
                offset: 0,
                application: application.as_bytes().to_vec(),
            };
            let published = published.map(|hex| Digest::sha256(hex).unwrap());
            std::thread::scope(|s| {
                let mut sweep = Sweep::begin(s, &medium, &volume, published, task);
                work(&mut sweep);
                sweep.finish()
            })
        }

        fn sha256(&self) -> String {
            let mut sum = Sum::sha256();
            sum.add(&self.bytes);
            sum.finish()
        }
    }

    #[test]
    fn any_order_gives_the_bytes_and_the_sum_of_all() {
        let bed = Bed::new();
        let total = bed.bytes.len();
        let swept = bed.sweep("", None, &Task::quiet(), |sweep| {
            // Within a part, over a border, back, from what was passed into what was not, to the last byte.
            for (at, length) in
                [(5, 10), (PART - 3, 9), (0, 4), (7, 2 * PART), (PART / 2, 2 * PART), (total - 1, 1), (total, 0)]
            {
                let mut buf = vec![0; length];
                sweep.fill(&mut buf, at as u64).unwrap();
                assert!(buf == bed.bytes[at..at + length], "{at} {length}");
            }
            let e = sweep.fill(&mut [0; 2], total as u64 - 1).unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof);
        });
        let swept = swept.unwrap();
        assert_eq!((swept.sha256, swept.undamaged), (bed.sha256(), false));
    }

    #[test]
    fn a_published_sum_goes_before_that_of_the_medium() {
        let bed = Bed::new();
        let own = |md5: &str| format!("ISO MD5SUM = {md5};SKIPSECTORS = 0");
        let mut blanked = bed.bytes.clone();
        blanked[883..883 + 512].fill(b' ');
        let right = md5::Md5::digest(&blanked).iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (right, wrong, task) = (own(&right), own(&"0".repeat(32)), Task::quiet());
        assert!(bed.sweep(&right, None, &task, |_| {}).unwrap().undamaged);
        assert_eq!(bed.sweep(&wrong, None, &task, |_| {}).err().unwrap().kind(), ErrorKind::Integrity);
        assert!(bed.sweep(&wrong, Some(&bed.sha256()), &task, |_| {}).unwrap().undamaged);
        let e = bed.sweep(&right, Some(&"0".repeat(64)), &task, |_| {}).err().unwrap();
        assert_eq!((e.kind(), e.facts()["actual"].as_str()), (ErrorKind::Integrity, Some(bed.sha256().as_str())));
    }

    #[test]
    fn a_medium_that_changes_meanwhile_is_refused() {
        let bed = Bed::new();
        let changes: [&dyn Fn(); 3] = [
            &|| File::options().append(true).open(&bed.path).unwrap().write_all(b"more").unwrap(),
            &|| std::fs::write(&bed.path, &bed.bytes).unwrap(),
            &|| File::options().write(true).open(&bed.path).unwrap().set_len(PART as u64 + 1).unwrap(),
        ];
        for change in changes {
            std::fs::write(&bed.path, &bed.bytes).unwrap();
            let swept = bed.sweep("", None, &Task::quiet(), |_| {
                // The clock of files goes by ticks.
                std::thread::sleep(std::time::Duration::from_millis(20));
                change();
            });
            assert_eq!(swept.err().unwrap().kind(), ErrorKind::Integrity);
        }
    }

    #[test]
    fn it_hears_a_cancel_in_its_middle() {
        let bed = Bed::new();
        let task = Task::quiet();
        let swept = bed.sweep("", None, &task, |sweep| {
            sweep.fill(&mut [0; 9], 0).unwrap();
            task.cancel_token().cancel();
            let e = sweep.fill(&mut [0; 9], 2 * PART as u64).unwrap_err();
            assert_eq!(Error::io("read", "it", e).kind(), ErrorKind::Cancelled);
        });
        assert_eq!(swept.err().unwrap().kind(), ErrorKind::Cancelled);
    }
}
