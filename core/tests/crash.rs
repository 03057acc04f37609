//! The crash model. Every change that a store makes to its directory is recorded; then the states are built in which a
//! crash may leave a disk: after each operation, with any choice of what was not yet made durable. Invariant: each of
//! them checks clean without a hand, nothing that was acknowledged is missing, and the next run succeeds.
//!
//! What a disk may do: bytes that were not synced are there, or not, or a part of them, or zeros. A change of a
//! directory that was not synced is there or not, each independently of the others; but a name never goes away by a
//! rename without its new one being there.
#![allow(missing_docs)]

mod common;

use common::noise;
use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::store::collect::CollectOptions;
use libcv::store::local::{LocalDir, Operation};
use libcv::store::{Store, SyncOptions};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Pending changes of which every choice is tried; of more a sample.
const EVERY: usize = 6;
/// So many choices of a sample.
const SAMPLE: u64 = 96;

/// A change of one name.
#[derive(Clone, Debug)]
enum Change {
    Name(PathBuf, usize),
    /// Only together with the change of this number, if there is one.
    Forget(PathBuf, Option<usize>),
    Directory(PathBuf),
}

impl Change {
    fn path(&self) -> &Path {
        match self {
            Self::Name(p, _) | Self::Forget(p, _) | Self::Directory(p) => p,
        }
    }

    fn is_temporary(&self) -> bool {
        self.path().starts_with("tmp")
    }
}

/// What was recorded, as changes of a disk.
#[derive(Default)]
struct Record {
    /// Each with the number of the operation that made it, and of the one that made it durable.
    changes: Vec<(usize, usize, Change)>,
    /// Of each file: its bytes, with the number of the operation that appended them.
    files: Vec<Vec<(usize, Vec<u8>)>>,
    /// When files were synced: operation and file.
    syncs: Vec<(usize, usize)>,
    operations: usize,
}

/// What must hold of a state from one operation to another.
struct Promise {
    from: usize,
    until: usize,
    image: String,
}

impl Record {
    fn new(start: &Path, operations: &[Operation]) -> Self {
        let mut out = Self { operations: operations.len(), ..Self::default() };
        let mut names: HashMap<PathBuf, usize> = HashMap::new();
        for (path, bytes) in tree(start) {
            match bytes {
                None => out.changes.push((0, 0, Change::Directory(path))),
                Some(bytes) => {
                    names.insert(path.clone(), out.files.len());
                    out.changes.push((0, 0, Change::Name(path, out.files.len())));
                    out.syncs.push((0, out.files.len()));
                    out.files.push(vec![(0, bytes)]);
                }
            }
        }
        for (n, operation) in operations.iter().enumerate() {
            let n = n + 1;
            let mut change = |c| out.changes.push((n, usize::MAX, c));
            match operation {
                Operation::Create(p) => {
                    names.insert(p.clone(), out.files.len());
                    change(Change::Name(p.clone(), out.files.len()));
                    out.files.push(Vec::new());
                }
                Operation::Append(p, bytes) => out.files[names[p]].push((n, bytes.clone())),
                Operation::SyncFile(p) => out.syncs.push((n, names[p])),
                Operation::Rename(from, to) => {
                    let file = names.remove(from).unwrap();
                    names.insert(to.clone(), file);
                    change(Change::Name(to.clone(), file));
                    let named = out.changes.len() - 1;
                    out.changes.push((n, usize::MAX, Change::Forget(from.clone(), Some(named))));
                }
                Operation::Link(from, to) => {
                    let file = names[from];
                    names.insert(to.clone(), file);
                    change(Change::Name(to.clone(), file));
                }
                Operation::Remove(p) => {
                    names.remove(p).unwrap();
                    change(Change::Forget(p.clone(), None));
                }
                Operation::MakeDirectory(p) => change(Change::Directory(p.clone())),
                Operation::SyncDirectory(p) => {
                    let inside = |c: &Change| c.path().parent() == Some(p);
                    out.changes.iter_mut().filter(|c| c.1 == usize::MAX && inside(&c.2)).for_each(|c| c.1 = n);
                }
            }
        }
        out
    }

    /// All states of a crash after operation `at`: what has which name, and what of its bytes is there.
    fn states(&self, at: usize, mut f: impl FnMut(State)) {
        let made: Vec<usize> = (0..self.changes.len()).filter(|&i| self.changes[i].0 <= at).collect();
        let pending: Vec<usize> = made.iter().copied().filter(|&i| self.changes[i].1 > at).collect();
        let (temporary, lasting): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|&i| self.changes[i].2.is_temporary());
        let choices = if lasting.len() <= EVERY { 1 << lasting.len() } else { SAMPLE };
        for choice in 0..choices {
            let mut random = Random(choice ^ (at as u64) << 20);
            let bits = if lasting.len() <= EVERY { choice } else { random.next() };
            let mut dropped: HashSet<usize> =
                lasting.iter().enumerate().filter(|(b, _)| bits >> b & 1 == 0).map(|(_, &i)| i).collect();
            let other = random.next();
            dropped.extend(temporary.iter().enumerate().filter(|(b, _)| other >> (b % 64) & 1 == 0).map(|(_, &i)| i));
            for kind in 0..4 {
                f(self.state(at, &made, &dropped, kind));
            }
        }
    }

    fn state(&self, at: usize, made: &[usize], dropped: &HashSet<usize>, kind: u8) -> State {
        let (mut names, mut directories) = (BTreeMap::new(), BTreeSet::new());
        for &i in made.iter().filter(|i| !dropped.contains(i)) {
            match &self.changes[i].2 {
                Change::Name(p, file) => _ = names.insert(p.clone(), *file),
                Change::Forget(_, Some(with)) if dropped.contains(with) => {}
                Change::Forget(p, _) => _ = names.remove(p),
                Change::Directory(p) => _ = directories.insert(p.clone()),
            }
        }
        let reachable = |p: &Path| p.ancestors().skip(1).all(|a| a == Path::new("") || directories.contains(a));
        let files = names.into_iter().filter(|(p, _)| reachable(p)).map(|(p, file)| (p, self.bytes(file, at, kind)));
        let files = files.collect();
        State { files, directories: directories.iter().filter(|d| reachable(d)).cloned().collect() }
    }

    /// What is there of a file: what was synced, and of the rest nothing, all, half of it, or zeros.
    fn bytes(&self, file: usize, at: usize, kind: u8) -> Vec<u8> {
        let synced = self.syncs.iter().filter(|(n, f)| *f == file && *n <= at).map(|(n, _)| *n).max();
        let (mut bytes, mut rest) = (Vec::new(), Vec::new());
        for (n, part) in self.files[file].iter().filter(|(n, _)| *n <= at) {
            if synced.is_some_and(|s| *n <= s) { bytes.extend(part) } else { rest.extend(part) }
        }
        match kind {
            0 => {}
            1 => bytes.extend(rest),
            2 => bytes.extend(&rest[..rest.len() / 2]),
            _ => bytes.extend(vec![0; rest.len()]),
        }
        bytes
    }
}

#[derive(Hash)]
struct State {
    files: BTreeMap<PathBuf, Vec<u8>>,
    directories: BTreeSet<PathBuf>,
}

/// A generator of numbers, for choices that a run repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// The files and directories beneath a directory.
fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    fn walk(root: &Path, dir: &Path, out: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
        for e in std::fs::read_dir(dir).unwrap() {
            let path = e.unwrap().path();
            let inside = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                out.insert(inside, None);
                walk(root, &path, out);
            } else {
                out.insert(inside, Some(std::fs::read(&path).unwrap()));
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(root, root, &mut out);
    out
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in tree(from) {
        match bytes {
            None => std::fs::create_dir(to.join(path)).unwrap(),
            Some(bytes) => std::fs::write(to.join(path), bytes).unwrap(),
        }
    }
}

/// A store whose operations are recorded.
struct Bed {
    dir: tempfile::TempDir,
    start: tempfile::TempDir,
    store: Store,
    operations: Arc<Mutex<Vec<Operation>>>,
    promises: Vec<Promise>,
    /// Each state is first repaired from this one.
    repair_from: Option<Store>,
}

impl Bed {
    fn new() -> Self {
        let (dir, start) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = dir.path().join("store");
        drop(Store::init(&root).unwrap());
        copy(&root, start.path());
        std::fs::create_dir(dir.path().join("tree")).unwrap();
        let operations = Arc::new(Mutex::new(Vec::new()));
        let seen = operations.clone();
        let local = LocalDir::observed(&root, Arc::new(move |o| seen.lock().unwrap().push(o))).unwrap();
        let store = Store::with_backend(Box::new(local)).unwrap();
        Self { dir, start, store, operations, promises: Vec::new(), repair_from: None }
    }

    /// Forgets what was recorded: the store as it is now is what a crash begins with.
    fn begin_here(&mut self) {
        self.operations.lock().unwrap().clear();
        self.promises.clear();
        self.start = tempfile::tempdir().unwrap();
        copy(&self.dir.path().join("store"), self.start.path());
    }

    fn write(&self, name: &str, bytes: usize, seed: u64) {
        std::fs::write(self.dir.path().join("tree").join(name), noise(bytes, seed)).unwrap();
    }

    fn now(&self) -> usize {
        self.operations.lock().unwrap().len()
    }

    fn capture(&mut self, name: &str) {
        let done = capture(&self.store, self.dir.path(), name).unwrap();
        self.promise(&format!("{name}@{done}"));
    }

    /// From now on an image must be there.
    fn promise(&mut self, image: &str) {
        self.promises.push(Promise { from: self.now(), until: usize::MAX, image: image.to_owned() });
    }

    /// Does something after which some of what was promised need not be there.
    fn step(&mut self, work: impl FnOnce(&Store)) {
        let before = self.now();
        work(&self.store);
        for p in self.promises.iter_mut().filter(|p| p.until == usize::MAX) {
            if self.store.image(&p.image).is_err() {
                p.until = before;
            }
        }
    }

    fn collect(&mut self, keep_last: Option<u64>) {
        let options = CollectOptions { keep_last, grace: Duration::ZERO, ..CollectOptions::default() };
        self.step(|store| drop(store.collect(&options, &Task::quiet()).unwrap()));
    }

    /// Builds the states and looks at each. Gives how many there were.
    fn crash(&self) -> usize {
        let operations = self.operations.lock().unwrap();
        let record = Record::new(self.start.path(), &operations);
        let (next, count, seen) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(HashSet::new()));
        std::thread::scope(|s| {
            for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
                s.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at > record.operations {
                            return;
                        }
                        record.states(at, |state| {
                            let mut hasher = DefaultHasher::new();
                            (at, &state).hash(&mut hasher);
                            if seen.lock().unwrap().insert(hasher.finish()) {
                                let n = count.fetch_add(1, Ordering::Relaxed);
                                let last = at.checked_sub(1).map(|i| &operations[i]);
                                self.look(&state, at, n % 64 == 0, &format!("after operation {at}, {last:?}"));
                            }
                        });
                    }
                });
            }
        });
        count.into_inner()
    }

    fn look(&self, state: &State, at: usize, go_on: bool, what: &str) {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap();
        let root = dir.path().join("store");
        std::fs::create_dir(&root).unwrap();
        for d in &state.directories {
            std::fs::create_dir(root.join(d)).unwrap();
        }
        for (path, bytes) in &state.files {
            // Whoever wrote is dead after a crash.
            let dead = path.starts_with("leases").then(|| common::lease_of_the_dead(bytes)).flatten();
            std::fs::write(root.join(path), dead.map_or_else(|| bytes.to_vec(), String::into_bytes)).unwrap();
        }
        let clean = |store: &Store| assert_eq!(store.check(true, &Task::quiet()).unwrap().faults, [], "{what}");
        let store = Store::open(&root).unwrap_or_else(|e| panic!("{what}: {e:?}"));
        if let Some(there) = &self.repair_from {
            store.repair(there, &Task::quiet()).unwrap_or_else(|e| panic!("{what}: {e:?}"));
        }
        clean(&store);
        for p in self.promises.iter().filter(|p| p.from <= at && at < p.until) {
            store.image(&p.image).unwrap_or_else(|e| panic!("{what}: {} was there: {e:?}", p.image));
        }
        if go_on {
            capture(&store, self.dir.path(), "t").unwrap_or_else(|e| panic!("{what}: {e:?}"));
            let options = CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() };
            store.collect(&options, &Task::quiet()).unwrap_or_else(|e| panic!("{what}: {e:?}"));
            clean(&store);
        }
    }
}

fn capture(store: &Store, dir: &Path, name: &str) -> libcv::Result<u64> {
    let state = Some(dir.join("state"));
    let options = CaptureOptions { exact: true, threads: 1, state, ..CaptureOptions::default() };
    Ok(store.capture(dir.join("tree"), name, &options, &Task::quiet())?.generation)
}

#[test]
fn names_and_captures_survive_every_crash() {
    let mut b = Bed::new();
    b.write("a", 9_000, 1);
    b.capture("t");
    b.write("b", 5_000, 2);
    b.capture("t");
    b.store.tag("t@1", "t", "stable").unwrap();
    b.promise("t:stable");
    b.store.rollback("t", "t:stable").unwrap();
    b.promise("t@3");
    b.step(|store| store.remove("t:stable").unwrap());
    b.step(|store| store.remove("t@2").unwrap());
    b.capture("u");
    b.step(|store| store.remove("u").unwrap());
    let states = b.crash();
    println!("{states} states");
    assert!(states > 300, "{states}");
}

#[test]
fn collections_survive_every_crash() {
    let mut b = Bed::new();
    for n in 0..6 {
        b.write(&format!("f{n}"), 3_000, n);
    }
    b.capture("big");
    for n in 1..6 {
        std::fs::remove_file(b.dir.path().join(format!("tree/f{n}"))).unwrap();
    }
    b.capture("t");
    b.write("g", 2_000, 9);
    b.capture("t");
    b.step(|store| store.remove("big").unwrap());
    b.collect(None);
    // Under the names of what is about to go.
    b.capture("again");
    (0..3).for_each(|_| b.collect(Some(1)));
    let states = b.crash();
    println!("{states} states");
    assert!(states > 500, "{states}");
}

/// A store that is used for so many operations: what is done, and in which order, comes from the seed.
fn life(seed: u64, operations: usize) -> Bed {
    let (mut b, mut random, mut round) = (Bed::new(), Random(seed), 0);
    while b.now() < operations {
        round += 1;
        let name = format!("n{}", random.next() % 2);
        match random.next() % 8 {
            0 => drop(b.store.tag(&name, &name, "t")),
            1 => b.step(|store| drop(store.rollback(&name, &format!("{name}:t")))),
            2 => b.step(|store| drop(store.remove(&name))),
            3 => b.step(|store| drop(store.remove(&format!("{name}:t")))),
            4 => b.collect((random.next() % 2 == 0).then_some(1)),
            _ => {
                b.write(&format!("f{}", random.next() % 4), 500 + (random.next() % 3_000) as usize, round);
                b.capture(&name);
            }
        }
    }
    b
}

#[test]
fn copies_and_repairs_survive_every_crash() {
    let mut b = Bed::new();
    let there = Store::init(b.dir.path().join("there")).unwrap();
    for n in 0..4 {
        b.write(&format!("f{n}"), 3_000, n);
        capture(&there, b.dir.path(), "t").unwrap();
    }
    there.tag("t@2", "t", "stable").unwrap();
    there.sync(&b.store, &SyncOptions { threads: 1, ..SyncOptions::default() }, &Task::quiet()).unwrap();
    (1..=4).for_each(|n| b.promise(&format!("t@{n}")));
    b.write("g", 3_000, 9);
    capture(&there, b.dir.path(), "t").unwrap();
    there.sync(&b.store, &SyncOptions { threads: 1, ..SyncOptions::default() }, &Task::quiet()).unwrap();
    b.promise("t@5");
    let states = b.crash();
    println!("{states} states");
    assert!(states > 100, "{states}");
}

/// A repair begins with damage, and must never add to it: after a crash what can be read is no less than before, and
/// the next repair heals the rest.
#[test]
fn a_repair_that_crashes_is_repeated() {
    let mut b = Bed::new();
    for n in 0..4 {
        b.write(&format!("f{n}"), 3_000, n);
        b.capture("t");
    }
    let there = Store::init(b.dir.path().join("there")).unwrap();
    b.store.sync(&there, &SyncOptions::default(), &Task::quiet()).unwrap();
    let root = b.dir.path().join("store");
    for (path, bytes) in tree(&root).into_iter().filter_map(|(p, b)| Some((p, b?))) {
        let kind = path.components().next().unwrap().as_os_str();
        let damaged = ["packs", "images"].iter().any(|k| kind == *k) || path.ends_with("0000000000000002");
        if damaged && bytes.len() % 2 == 0 || path.ends_with("0000000000000002") {
            let mut bad = bytes;
            let middle = bad.len() / 2;
            bad[middle] ^= 4;
            std::fs::write(root.join(path), bad).unwrap();
        }
    }
    b.begin_here();
    assert!(!b.store.check(true, &Task::quiet()).unwrap().faults.is_empty());
    assert_eq!(b.store.repair(&there, &Task::quiet()).unwrap().faults, []);
    b.repair_from = Some(there);
    let states = b.crash();
    println!("{states} states");
    assert!(states > 30, "{states}");
}

#[test]
fn any_life_survives_every_crash() {
    let lives = if std::env::var_os("FULL").is_some_and(|f| f == "1") { 300 } else { 30 };
    // Beside each other: this one takes longer than all other tests of the library.
    let next = AtomicU64::new(0);
    let work = || std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|seed| *seed < lives);
    let some = || work().map(|seed| life(seed, 220).crash()).sum::<usize>();
    let states: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(some)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    println!("{states} states");
    assert!(states > 340 * lives as usize, "{states}");
}
