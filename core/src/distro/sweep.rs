//! A medium that is read once, from front to back: by whoever stores its files, and beside it by the sums of the whole.
//!
//! ```text
//!  medium ── part ──┬──> fill: what the storing asks for, in the order of the medium
//!                   ├──> SHA-256      a thread each; no more than a few parts behind
//!                   └──> MD5            unless the SHA-256 is known that has to come out
//! ```
//!
//! What was passed already is read again by itself: only a medium whose files are out of order asks for that.

use super::digest::{Digest, Sum};
use super::iso::{MediumFile, ReadAt, Volume};
use super::mediasum::Summing;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};

const PART: usize = 1 << 20;
/// Parts that a sum may be behind; less than the storing stands still for while a pack becomes durable.
const BEHIND: usize = 48;

/// A medium that is read.
pub(super) struct Sweep<'s, 'm> {
    medium: &'m MediumFile,
    task: &'m Task,
    part: Arc<Vec<u8>>,
    /// Where the part begins.
    at: u64,
    /// Parts that a sum may still read; their memory serves the next ones.
    used: VecDeque<Arc<Vec<u8>>>,
    sums: Vec<Sender<Arc<Vec<u8>>>>,
    published: Option<Digest>,
    sha256: ScopedJoinHandle<'s, String>,
    md5: Option<ScopedJoinHandle<'s, Result<()>>>,
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
        let mut sums = Vec::new();
        let mut channel = || {
            let (parts, received) = bounded(BEHIND);
            sums.push(parts);
            received
        };
        let parts = channel();
        let sha256 = scope.spawn(move || {
            let mut sum = Sum::sha256();
            each(&parts, |part| sum.add(part));
            sum.finish()
        });
        let summing = if published.is_some() { None } else { Summing::of(volume, medium.length()) };
        let md5 = summing.map(|mut sum| {
            let parts = channel();
            scope.spawn(move || {
                each(&parts, |part| sum.add(part));
                sum.finish()
            })
        });
        Self { medium, task, part: Arc::default(), at: 0, used: VecDeque::new(), sums, published, sha256, md5 }
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
        part.resize(PART, 0);
        let n = loop {
            match self.medium.read_at(&mut part, self.at) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                n => break n?,
            }
        };
        part.truncate(n);
        self.part = Arc::new(part);
        if n > 0 {
            // A sum ends before us only when it panicked, which is told at the end.
            self.sums.iter().for_each(|sum| drop(sum.send(Arc::clone(&self.part))));
        }
        Ok(n > 0)
    }

    /// Reads what is left, and gives the sums.
    ///
    /// # Errors
    /// `Integrity` when the medium is damaged; those of reading; `Cancelled`.
    pub(super) fn finish(mut self) -> Result<Swept> {
        loop {
            self.task.check()?;
            if !self.advance().map_err(|e| Error::io("read", "the medium", e))? {
                break;
            }
        }
        drop(self.sums);
        let panicked = |_| Error::new(ErrorKind::Bug, "a thread panicked");
        let undamaged = self.md5.is_some() || self.published.is_some();
        self.md5.map_or(Ok(()), |thread| thread.join().map_err(panicked)?)?;
        let sha256 = self.sha256.join().map_err(panicked)?;
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

fn each(parts: &Receiver<Arc<Vec<u8>>>, mut add: impl FnMut(&[u8])) {
    for part in parts {
        add(&part);
    }
}
