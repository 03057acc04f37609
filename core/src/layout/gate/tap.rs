//! For tests: what goes through the gates of this thread is written down in its order, and fails where a test wants it.

use std::cell::{Cell, RefCell};
use std::io;

/// Something that went through.
#[derive(Clone, Debug)]
pub(in crate::layout) enum Op {
    /// Bytes to a disk.
    Write {
        /// The disk.
        disk: String,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Everything that was written to a disk is on its medium.
    Sync {
        /// The disk.
        disk: String,
    },
    /// A line of the journal, which is on its own medium.
    Note(Vec<u8>),
}

/// What is written.
#[derive(Clone, Copy)]
pub(in crate::layout) enum Bytes<'a> {
    /// These.
    Data(&'a [u8]),
    /// So many zeros.
    Zeros(u64),
}

#[derive(Default)]
struct Tap {
    ops: Vec<Op>,
    /// The write or sync, counted from 0, that fails, and how.
    fault: Option<(usize, io::ErrorKind)>,
    count: usize,
}

thread_local! {
    static TAP: RefCell<Option<Tap>> = const { RefCell::new(None) };
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Writes down what `work` sends through gates; the write or sync with this number fails.
pub(in crate::layout) fn record<T>(fault: Option<(usize, io::ErrorKind)>, work: impl FnOnce() -> T) -> (T, Vec<Op>) {
    TAP.with_borrow_mut(|tap| *tap = Some(Tap { fault, ..Tap::default() }));
    let done = work();
    let tap = TAP.with_borrow_mut(Option::take);
    (done, tap.map(|t| t.ops).unwrap_or_default())
}

/// Does what was written down already.
pub(in crate::layout) fn silently<T>(work: impl FnOnce() -> T) -> T {
    SILENT.set(true);
    let done = work();
    SILENT.set(false);
    done
}

/// A write is about to happen; whether it is written down.
pub(in crate::layout) fn write(disk: &str, offset: u64, bytes: Bytes<'_>) -> io::Result<bool> {
    let bytes = match bytes {
        Bytes::Data(data) => data.to_vec(),
        Bytes::Zeros(length) => vec![0; usize::try_from(length).unwrap()],
    };
    happens(Op::Write { disk: disk.to_owned(), offset, bytes })
}

/// A sync is about to happen.
pub(in crate::layout) fn sync(disk: &str) -> io::Result<()> {
    happens(Op::Sync { disk: disk.to_owned() }).map(drop)
}

/// A line of a journal was written.
pub(in crate::layout) fn noted(line: &[u8]) {
    TAP.with_borrow_mut(|tap| {
        if let Some(tap) = tap {
            tap.ops.push(Op::Note(line.to_vec()));
        }
    });
}

fn happens(op: Op) -> io::Result<bool> {
    if SILENT.get() {
        return Ok(false);
    }
    TAP.with_borrow_mut(|tap| {
        let Some(tap) = tap else { return Ok(false) };
        let number = tap.count;
        tap.count += 1;
        match tap.fault {
            Some((at, kind)) if at == number => Err(kind.into()),
            _ => {
                tap.ops.push(op);
                Ok(true)
            }
        }
    })
}

mod tests {
    use super::*;
    use crate::layout::device::{Facts, WriteAt};
    use crate::layout::gate::{Claim, Gate};

    /// Everything that changes a disk is written down, also what only tells the device that it may forget.
    #[test]
    fn every_way_to_a_disk_is_written_down() {
        const MIB: u64 = 1 << 20;
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("disk");
        std::fs::write(&path, vec![7; 4 << 20]).unwrap();
        let mut gate = {
            let facts = Facts::look(&path, Some(512)).unwrap();
            Gate::open_plain(&facts, Claim::take(&facts).unwrap()).unwrap()
        };
        gate.keep([(MIB, MIB)].into_iter().collect());
        let ((), ops) = record(None, || {
            gate.discard();
            gate.zero_range(3 * MIB, MIB, &|| false).unwrap();
            gate.zero(0, 512).unwrap();
            gate.write_at(512, &[1; 512]).unwrap();
        });
        let places: Vec<(u64, usize)> = ops
            .iter()
            .map(|op| if let Op::Write { offset, bytes, .. } = op { (*offset, bytes.len()) } else { panic!("{op:?}") })
            .collect();
        assert_eq!(places, [(0, 1 << 20), (2 * MIB, 2 << 20), (3 * MIB, 1 << 20), (0, 512), (512, 512)]);
        // One after the other they make what the disk is now.
        let mut disk = vec![7; 4 << 20];
        for op in &ops {
            let Op::Write { offset, bytes, .. } = op else { continue };
            let at = usize::try_from(*offset).unwrap();
            disk[at..at + bytes.len()].copy_from_slice(bytes);
        }
        assert!(std::fs::read(&path).unwrap() == disk);
    }
}
