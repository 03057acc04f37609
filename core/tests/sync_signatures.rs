//! What a sync makes of signatures: those of every generation go over, and what is known to be there is not asked again.
#![allow(missing_docs)]

mod common;

use common::watched::Watched;
use libcv::Result;
use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::sign::{Keyring, Signer};
use libcv::store::blob::{BlobStore, BlobWriter, Meta};
use libcv::store::local::LocalDir;
use libcv::store::{Store, SyncOptions, Synced, Trust};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A directory that says it is far away, and keeps what it was asked for.
struct Far<F>(Watched<F>);

impl<F: Fn(&str, &str) -> Result<()> + Send + Sync> BlobStore for Far<F> {
    fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        self.0.get(key, limit)
    }
    fn get_range(&self, key: &str, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.0.get_range(key, offset, buf)
    }
    fn stat(&self, key: &str) -> Result<Option<Meta>> {
        self.0.stat(key)
    }
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.0.put(key, bytes)
    }
    fn create(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.0.create(key, bytes)
    }
    fn writer(&self) -> Result<Box<dyn BlobWriter>> {
        self.0.writer()
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.0.list(prefix)
    }
    fn walk(&self, prefix: &str) -> Result<Vec<(String, Meta)>> {
        self.0.walk(prefix)
    }
    fn delete_all(&self, keys: &[String]) -> Result<()> {
        self.0.delete_all(keys)
    }
    fn is_remote(&self) -> bool {
        true
    }
    fn place(&self) -> String {
        self.0.place()
    }
}

struct Bed {
    dir: tempfile::TempDir,
    here: Store,
    there: Store,
}

impl Bed {
    /// A store with so many generations of `t`, each signed by `signer`, and an empty one.
    fn new(generations: usize, signer: &Signer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [here, there] = ["here", "there"].map(|s| Store::init(dir.path().join(s)).unwrap());
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let options = CaptureOptions { exact: true, state: Some(dir.path().join("state")), ..Default::default() };
        for n in 0..generations {
            std::fs::write(tree.join("file"), format!("version {n:09}")).unwrap();
            here.signing(signer.clone()).capture(&tree, "t", &options, &Task::quiet()).unwrap();
        }
        Self { dir, here, there }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sync(&self) -> Synced {
        sync(&self.here, &self.there)
    }

    /// The copy as one that is far away, with the keys of the objects that it is asked to give or to take.
    fn far(&self) -> (Store, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let before = move |verb: &str, key: &str| {
            if verb != "list" {
                seen.lock().unwrap().push(format!("{verb} {key}"));
            }
            Ok(())
        };
        let dir = LocalDir::open(&self.path("there")).unwrap();
        (Store::with_backend(Box::new(Far(Watched { dir, before }))).unwrap(), asked)
    }

    fn release(&self, store: &str, generation: u64) -> Vec<u8> {
        std::fs::read(self.path(store).join(format!("refs/t/{generation:016}"))).unwrap()
    }
}

fn sync(from: &Store, to: &Store) -> Synced {
    from.sync(to, &SyncOptions::default(), &Task::quiet()).unwrap()
}

fn signers<const N: usize>() -> [Signer; N] {
    std::array::from_fn(|_| Signer::generate().unwrap())
}

/// Each of these keys signed it.
fn signed(store: &Store, reference: &str, by: &[&Signer]) -> bool {
    by.iter().all(|s| {
        let keys = Keyring::new(vec![s.public()]).unwrap();
        store.trusting(Trust::new(keys)).image(reference).is_ok()
    })
}

fn check(store: &Store) {
    assert_eq!(store.check(true, &Task::quiet()).unwrap().faults, []);
}

/// An older generation that has as many signatures here as there, of other keys, while the newest is the same.
#[test]
fn an_older_generation_gets_the_signatures_that_it_lacks() {
    let [a, b, c] = signers();
    let bed = Bed::new(4, &a);
    bed.sync();
    bed.here.signing(b.clone()).sign("t@2").unwrap();
    bed.there.signing(c.clone()).sign("t@2").unwrap();
    assert_eq!(bed.release("here", 2).len(), bed.release("there", 2).len());
    let origin = bed.release("here", 2);
    bed.sync();
    assert!(signed(&bed.there, "t@2", &[&a, &b, &c]));
    assert!(!signed(&bed.here, "t@2", &[&c]) && bed.release("here", 2) == origin);
    for g in [1, 3, 4] {
        assert_eq!(bed.release("here", g), bed.release("there", g));
    }
    // A key that signs all of them afterwards, one after the other, but the newest.
    for g in 1..=3 {
        bed.here.signing(c.clone()).sign(&format!("t@{g}")).unwrap();
    }
    for g in [1, 3] {
        bed.there.signing(b.clone()).sign(&format!("t@{g}")).unwrap();
    }
    bed.sync();
    assert!((1..=3).all(|g| signed(&bed.there, &format!("t@{g}"), &[&a, &b, &c])));
    check(&bed.there);
}

/// Where reading is a request, what was once seen to lack nothing is not read again, until one of both changed.
#[test]
fn far_away_no_generation_is_read_twice() {
    let [a, b, c, d] = signers();
    let bed = Bed::new(20, &a);
    sync(&bed.here, &bed.far().0);
    let idle = |what: &str| {
        let (far, asked) = bed.far();
        sync(&bed.here, &far);
        let asked = asked.lock().unwrap().clone();
        let (kept, others): (Vec<_>, Vec<_>) = asked.iter().partition(|a| a.contains(" cache/"));
        assert_eq!(kept, [&format!("get cache/{}/t", bed.here.uuid())], "{what}");
        assert!(others.len() <= 1 && !others.iter().any(|a| a.contains("refs/")), "{what}: {others:?}");
    };
    idle("after the first");
    // As in a directory; and each is compared once more where it changed, and no other.
    bed.here.signing(b.clone()).sign("t@7").unwrap();
    bed.there.signing(c.clone()).sign("t@7").unwrap();
    let (far, asked) = bed.far();
    sync(&bed.here, &far);
    assert!(signed(&bed.there, "t@7", &[&a, &b, &c]));
    let read: Vec<_> = asked.lock().unwrap().iter().filter(|a| a.starts_with("get refs/t/0")).cloned().collect();
    assert!(!read.is_empty() && read.iter().all(|k| k.ends_with("refs/t/0000000000000007")), "{read:?}");
    sync(&bed.here, &bed.far().0);
    idle("after it was merged, although it is longer there");
    // A copy of the origin's files has its uuid, and other times.
    std::process::Command::new("cp").args(["-a", "here", "again"]).current_dir(bed.dir.path()).status().unwrap();
    let again = Store::open(bed.path("again")).unwrap();
    assert!(again.uuid() == bed.here.uuid());
    again.signing(d.clone()).sign("t@3").unwrap();
    bed.here.signing(b.clone()).sign("t@3").unwrap();
    assert_eq!(bed.release("here", 3).len(), bed.release("again", 3).len());
    sync(&bed.here, &bed.far().0);
    sync(&again, &bed.far().0);
    assert!(signed(&bed.there, "t@3", &[&a, &b, &d]));
    // What is kept may be lost, damaged, and may not be writable: then all is read.
    let kept = bed.path("there/cache").join(bed.here.uuid()).join("t");
    for damage in [None, Some("x")] {
        std::fs::remove_file(&kept).unwrap();
        if let Some(text) = damage {
            std::fs::write(&kept, text).unwrap();
        }
        sync(&bed.here, &bed.far().0);
        idle("after it was lost");
    }
    std::fs::remove_file(&kept).unwrap();
    let dir = LocalDir::open(&bed.path("there")).unwrap();
    let before = common::watched::reads_only;
    sync(&bed.here, &Store::with_backend(Box::new(Far(Watched { dir, before }))).unwrap());
    assert!(!kept.exists());
    check(&bed.there);
}

/// Which of both is damaged, and what to do, is in the error; and nothing newer goes over unseen.
#[test]
fn a_damaged_release_is_told_with_its_store() {
    let bed = Bed::new(3, &Signer::generate().unwrap());
    bed.sync();
    for (store, other) in [("here", "there"), ("there", "here")] {
        let path = bed.path(store).join("refs/t/0000000000000002");
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[40] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let e = bed.here.sync(&bed.there, &SyncOptions::default(), &Task::quiet()).unwrap_err();
        assert_eq!(e.kind(), libcv::ErrorKind::Integrity);
        assert!(e.message().starts_with(bed.path(store).to_str().unwrap()), "{e}");
        assert!(e.hint_text().is_some_and(|h| h.contains("store repair")));
        let healer = if other == "here" { &bed.here } else { &bed.there };
        let done = Store::open_to_repair(bed.path(store)).unwrap().repair(healer, &Task::quiet()).unwrap();
        assert_eq!((done.healed, done.faults.len()), (vec!["refs/t/0000000000000002".to_owned()], 0));
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        bed.sync();
    }
}

/// Two that sync into one store do not take from each other what they know.
#[test]
fn what_is_known_is_known_of_one_origin() {
    let [a, b, c] = signers();
    let bed = Bed::new(2, &a);
    let second = Store::init(bed.path("second")).unwrap();
    sync(&bed.here, &second);
    sync(&bed.here, &bed.far().0);
    second.signing(b.clone()).sign("t@1").unwrap();
    bed.here.signing(c.clone()).sign("t@1").unwrap();
    sync(&bed.here, &bed.far().0);
    sync(&second, &bed.far().0);
    assert!(signed(&bed.there, "t@1", &[&a, &b, &c]));
    assert!(Path::new(&bed.path("there/cache")).join(second.uuid()).join("t").exists());
}

/// Prints what an idle sync takes; a bound that a busy machine keeps as well.
#[test]
fn an_idle_sync_of_a_hundred_generations_is_quick() {
    let bed = Bed::new(100, &Signer::generate().unwrap());
    bed.sync();
    let began = Instant::now();
    let done = bed.sync();
    let took = began.elapsed();
    eprintln!("idle sync of 100 generations: {took:?}");
    assert!(done.generations.is_empty() && done.chunks == 0 && took.as_millis() < 500, "{took:?}");
}
