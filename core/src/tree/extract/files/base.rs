//! Chunks that the tree has already: a file that is replaced has many of its bytes where they are to be. They need not be
//! read from the source.

use super::{Shared, Worker};
use crate::error::Result;
use crate::image::{ChunkSet, Hash};
use crate::tree::extract::queue::spread;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// Consecutive chunks that one file has first.
struct Run {
    file: u32,
    chunks: Range<u32>,
}

/// Writes the chunks that stand in the files that are replaced, at the same offsets; those that are left to be read.
///
/// A file that is replaced stays open until all of its chunks were looked at, whatever takes its place meanwhile.
pub(super) fn reuse(shared: &Shared<'_>) -> Result<ChunkSet> {
    let plan = shared.run.plan;
    let mut runs: Vec<Run> = Vec::new();
    for chunk in 0..plan.chunks.len() as u32 {
        let file = plan.places.first(chunk).file();
        match runs.last_mut() {
            Some(run) if run.file == file && run.chunks.end == chunk => run.chunks.end += 1,
            _ => runs.push(Run { file, chunks: chunk..chunk + 1 }),
        }
    }
    spread(shared.run, &runs, |run| {
        let Some(before) = before(shared, run.file) else { return Ok(()) };
        let (mut worker, mut bytes) = (Worker::new(shared), Vec::new());
        for chunk in run.chunks.clone() {
            shared.run.failure.check(shared.run.task)?;
            let (hash, length) = &plan.chunks.chunks()[chunk as usize];
            bytes.resize(*length as usize, 0);
            if read(&before, &mut bytes, plan.places.first(chunk).offset()) && Hash::of(&bytes) == *hash {
                worker.chunk(chunk, &bytes)?;
            }
        }
        Ok(())
    })?;
    let mut rest = ChunkSet::default();
    for (chunk, (hash, length)) in (0..).zip(plan.chunks.chunks()) {
        if !plan.has_come(chunk) {
            rest.insert(*hash, *length);
        }
    }
    Ok(rest)
}

/// The file that stands where one of the plan belongs.
fn before(shared: &Shared<'_>, file: u32) -> Option<OwnedFd> {
    let run = shared.run;
    run.root.open_file(&run.plan.path(run.plan.files.get(file)), OFlags::RDONLY).ok()
}

/// Whether all of it is there.
fn read(fd: &OwnedFd, bytes: &mut [u8], offset: u64) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        match rustix::io::pread(fd, &mut bytes[at..], offset + at as u64) {
            Ok(0) => return false,
            Ok(n) => at += n,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
