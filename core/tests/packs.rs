//! Many threads that store at once fill one pack after the other, and one that cannot be made durable ends the session.
#![allow(missing_docs)]

mod common;

use common::watched::Watched;
use libcv::image::Hash;
use libcv::job::Task;
use libcv::store::local::LocalDir;
use libcv::store::{ChunkWriter, Store};
use libcv::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const THREADS: u64 = 4;
const CHUNK: usize = 1 << 20;
const CHUNKS: u64 = 60;

/// Bytes that nothing makes smaller, others for each number.
fn noise(number: u64) -> Vec<u8> {
    let mut x = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..CHUNK / 8).flat_map(|_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    });
    words.collect()
}

/// Stores 240 MiB from all threads, which is five packs.
fn fill(store: &Store) -> Result<u64> {
    let session = store.session("test")?;
    std::thread::scope(|s| {
        let work = |thread: u64| {
            let session = &session;
            move || {
                let mut writer = ChunkWriter::new(session, 1)?;
                (0..CHUNKS).try_for_each(|n| writer.put(&noise(thread * CHUNKS + n)).map(drop))?;
                writer.close()
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|n| s.spawn(work(n))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).fold(Ok(()), Result::and)
    })?;
    session.finish()
}

fn packs(place: &Path) -> usize {
    let found = std::process::Command::new("find").arg(place.join("packs")).args(["-type", "f"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().count()
}

#[test]
fn all_that_threads_store_at_once_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = Store::init(&place).unwrap();
    assert!(fill(&store).unwrap() > (THREADS * CHUNKS) << 20);
    assert!((5..8).contains(&packs(&place)), "{}", packs(&place));
    store.check(true, &Task::quiet()).unwrap().ok().unwrap();
    let session = store.session("look").unwrap();
    let all = (0..THREADS * CHUNKS).all(|n| session.holds(&Hash::of(&noise(n))).unwrap());
    assert!(all);
}

/// Invariant: whichever pack cannot be begun, the session fails with that error, no thread waits for ever, and the store is whole.
#[test]
fn a_pack_that_fails_ends_the_session() {
    for failing in [1, 2, 4] {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("store");
        Store::init(&place).unwrap();
        let asked = AtomicUsize::new(0);
        let before = move |what: &str, _: &str| match what {
            "writer" if asked.fetch_add(1, SeqCst) + 1 == failing => Err(Error::new(ErrorKind::Io, "no more")),
            _ => Ok(()),
        };
        let watched = Watched { dir: LocalDir::open(&place).unwrap(), before };
        let store = Store::with_backend(Box::new(watched)).unwrap();
        let e = fill(&store).expect_err("nobody was told");
        assert_eq!((e.kind(), e.message()), (ErrorKind::Io, "no more"), "{failing}");
        Store::open(&place).unwrap().check(true, &Task::quiet()).unwrap().ok().unwrap();
    }
}
