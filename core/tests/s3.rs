//! One suite for every place of a store: a directory, and a prefix in S3. tests/s3/serve.py starts a server, says where it
//! is, and runs this:
//!
//! ```text
//! LIBCV_S3_STORE       s3://bucket; endpoint and keys are in the usual variables AWS_*
//! LIBCV_S3_CONDITIONS  whether the server honours If-None-Match: yes or no
//! LIBCV_S3_RACES       an endpoint of the same server that decides races as S3 does
//! LIBCV_S3_FAULTY      another endpoint of it, that fails one request in ten
//! ```
#![allow(missing_docs)]

mod common;

use common::{noise, skip, small_tree};
use libcv::capture::CaptureOptions;
use libcv::convert::tar::{Compression, ExportOptions, ImportOptions, export, import};
use libcv::job::Task;
use libcv::sign::{Keyring, Signer};
use libcv::store::s3::{Keys, S3, S3Options};
use libcv::store::{Store, SyncOptions, Trust};
use libcv::sys::confined::Root;
use libcv::tree::compare::compare;
use libcv::tree::extract::ExtractOptions;
use libcv::{Error, ErrorKind, Result};
use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A place for a store, and a directory for trees.
struct Bed {
    dir: tempfile::TempDir,
    place: String,
}

impl Bed {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The store, through another endpoint if it is in S3.
    fn through(&self, options: &S3Options) -> Result<Store> {
        match self.place.strip_prefix("s3://").and_then(|p| p.split_once('/')) {
            Some((bucket, prefix)) => Store::with_backend(Box::new(S3::connect(bucket, prefix, options)?)),
            None => Store::open(&self.place),
        }
    }

    fn tree(&self) -> PathBuf {
        let tree = self.path("tree");
        if !tree.exists() {
            std::fs::create_dir(&tree).unwrap();
            small_tree(&tree);
            // More than one request takes, and not compressible: it goes in parts.
            std::fs::write(tree.join("large"), noise(21 << 20, 3)).unwrap();
        }
        tree
    }

    fn options(&self) -> CaptureOptions {
        CaptureOptions { exact: true, state: Some(self.path("state")), ..CaptureOptions::default() }
    }

    fn extract_and_compare(&self, store: &Store, reference: &str) {
        let out = self.path("out");
        let image = store.image(reference).unwrap();
        image.extract(&out, &ExtractOptions { verify: true, ..Default::default() }, &Task::quiet()).unwrap();
        let root = Root::open(&out).unwrap();
        let found = compare(&image, store, &root, false, 2, &Task::quiet()).unwrap();
        assert!(found.is_empty(), "{found:?}");
        std::fs::remove_dir_all(&out).unwrap();
    }
}

fn bed(place: &str) -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let place = match place {
        "" => dir.path().join("store").to_str().unwrap().to_owned(),
        bucket => format!("{bucket}/{}", dir.path().file_name().unwrap().to_str().unwrap()),
    };
    Bed { dir, place }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// A place in S3, if there is a server.
fn remote(test: &str) -> Option<Bed> {
    let place = variable("LIBCV_S3_STORE").map(|s| bed(&s));
    if place.is_none() {
        skip(test, "there is no server; tests/run.sh s3 starts some");
    }
    place
}

/// A directory, and a place in S3.
fn places(test: &str) -> Vec<Bed> {
    std::iter::once(bed("")).chain(remote(test)).collect()
}

fn check(store: &Store) -> Vec<libcv::store::check::Fault> {
    store.check(true, &Task::quiet()).unwrap().faults
}

#[test]
fn the_whole_story() {
    for bed in places("the_whole_story") {
        let (tree, place) = (bed.tree(), &bed.place);
        assert_eq!(Store::open(place).err().unwrap().kind(), ErrorKind::NotFound);
        let store = Store::init(place).unwrap();
        assert_eq!(Store::init(place).err().unwrap().kind(), ErrorKind::Conflict);
        let capture = || Store::open(place).unwrap().capture(&tree, "t", &bed.options(), &Task::quiet()).unwrap();
        let first = capture();
        assert!(first.changed && first.stored_bytes > 21 << 20, "{}", first.stored_bytes);
        std::thread::sleep(Duration::from_millis(50));
        let again = capture();
        assert!(!again.changed && again.stored_bytes == 0 && again.read < again.entries);
        std::fs::write(tree.join("etc/motd"), "welcome\n").unwrap();
        assert_eq!(capture().generation, 2);
        store.tag("t", "t", "stable").unwrap();
        assert_eq!(
            store.diff(&store.image("t@1").unwrap(), &store.image("t:stable").unwrap(), &Task::quiet()).unwrap().len(),
            2
        );
        bed.extract_and_compare(&store, "t:stable");
        assert_eq!(store.rollback("t", "t@1").unwrap().generation, 3);
        bed.extract_and_compare(&store, "t");
        let log: Vec<_> = store.log("t").unwrap().into_iter().map(|l| (l.release.generation, l.tags)).collect();
        assert_eq!(log, [(3, vec![]), (2, vec!["stable".to_owned()]), (1, vec![])]);
        let options = ExportOptions { compression: Compression::Zstd, level: 0 };
        let (tar, _) = export(&store.image("t").unwrap(), Vec::new(), &options, &Task::quiet()).unwrap();
        let brought = import(&store, &tar[..], "brought", &ImportOptions::default(), &Task::quiet()).unwrap();
        assert_eq!(brought.tree, first.tree);
        assert_eq!(check(&store), []);
        store.remove("t:stable").unwrap();
        store.remove("t@2").unwrap();
        store.remove("brought").unwrap();
        let names: Vec<_> = store.images().unwrap().into_iter().map(|i| i.name).collect();
        assert_eq!((names, store.log("t").unwrap().len()), (vec!["t".to_owned()], 2));
        assert_eq!(check(&store), []);
    }
}

#[test]
fn a_place_with_other_files_is_refused() {
    for bed in places("a_place_with_other_files_is_refused") {
        let store = Store::init(&bed.place).unwrap();
        let beneath = format!("{}/images", bed.place);
        store.blobs().put("images/mine", b"x").unwrap();
        let e = Store::init(&beneath).err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Refused, "{e:?}");
        let e = Store::open(&beneath).err().unwrap();
        assert_eq!((e.kind(), e.hint_text().is_some()), (ErrorKind::NotFound, true), "{e:?}");
    }
}

#[test]
fn a_damaged_object_is_found_and_healed() {
    for bed in places("a_damaged_object_is_found_and_healed") {
        let store = Store::init(&bed.place).unwrap();
        store.capture(bed.tree(), "t", &bed.options(), &Task::quiet()).unwrap();
        store.tag("t", "t", "stable").unwrap();
        for kind in ["packs", "idx", "images", "refs", "tags"] {
            let keys = store.blobs().walk(kind).unwrap();
            let named = |key: &str| !key.ends_with("/HEAD") && !key.ends_with("/CURRENT");
            let (key, meta) = keys.into_iter().find(|(key, _)| named(key)).unwrap();
            let whole = store.blobs().get(&key, 1 << 30).unwrap();
            assert_eq!(whole.len() as u64, meta.size, "{key}");
            let mut bad = whole.clone();
            bad[whole.len() / 2] ^= 4;
            for wrong in [&bad[..], &whole[..whole.len() - 1]] {
                store.blobs().put(&key, wrong).unwrap();
                let e = Store::open(&bed.place).unwrap().check(true, &Task::quiet()).unwrap().ok().unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Integrity, "{key}");
                assert!(e.to_json().to_string().contains(key.split('/').next_back().unwrap()), "{key}: {e:?}");
                store.blobs().put(&key, &whole).unwrap();
                store.blobs().delete("idx/BAD").unwrap();
            }
            store.blobs().delete(&key).unwrap();
            // A tag without a record was never made.
            assert_eq!(check(&Store::open(&bed.place).unwrap()).is_empty(), kind == "tags", "{key}");
            store.blobs().put(&key, &whole).unwrap();
        }
        assert_eq!(check(&Store::open(&bed.place).unwrap()), []);
        // What is missing is stored again by the next capture.
        for (key, _) in store.blobs().walk("packs").unwrap() {
            store.blobs().delete(&key).unwrap();
        }
        std::fs::write(bed.tree().join("etc/motd"), "new").unwrap();
        let options = CaptureOptions { paranoid: true, ..bed.options() };
        Store::open(&bed.place).unwrap().capture(bed.tree(), "t", &options, &Task::quiet()).unwrap();
        bed.extract_and_compare(&Store::open(&bed.place).unwrap(), "t");
    }
}

#[test]
fn writers_of_one_name_at_once_lose_nothing() {
    for bed in places("writers_of_one_name_at_once_lose_nothing") {
        let store = Store::init(&bed.place).unwrap();
        if !store.blobs().has_conditions().unwrap() {
            skip("writers_of_one_name_at_once_lose_nothing", "this server decides no races; one writer at a time");
            continue;
        }
        let races = options(&variable("LIBCV_S3_RACES").unwrap_or_default());
        let trees: Vec<PathBuf> = (0..4).map(|n| bed.path(&format!("tree{n}"))).collect();
        for (n, tree) in trees.iter().enumerate() {
            std::fs::create_dir(tree).unwrap();
            std::fs::write(tree.join("own"), noise(1 << 20, n as u64)).unwrap();
        }
        let at_once = |expect_parent| -> Vec<Result<u64>> {
            let capture = |tree: &PathBuf| {
                std::fs::write(tree.join("more"), format!("{} {expect_parent:?}", tree.display())).unwrap();
                let options = CaptureOptions { expect_parent, ..bed.options() };
                Ok(bed.through(&races)?.capture(tree, "t", &options, &Task::quiet())?.generation)
            };
            std::thread::scope(|scope| {
                let threads: Vec<_> = trees.iter().map(|tree| scope.spawn(|| capture(tree))).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            })
        };
        let made: HashSet<u64> = at_once(None).into_iter().map(Result::unwrap).collect();
        assert_eq!(made, HashSet::from([1, 2, 3, 4]));
        // Of those who expect the same generation one succeeds.
        let done = at_once(Some(4));
        assert_eq!(done.iter().filter(|d| d.is_ok()).count(), 1);
        assert!(done.iter().filter_map(|d| d.as_ref().err()).all(|e| e.kind() == ErrorKind::Conflict), "{done:?}");
        assert_eq!(check(&store), []);
    }
}

#[test]
fn objects_are_named_listed_and_bounded() {
    for bed in places("objects_are_named_listed_and_bounded") {
        let store = Store::init(&bed.place).unwrap();
        let blobs = store.blobs();
        if let ("s3:", Some(expected)) = (&bed.place[..3], variable("LIBCV_S3_CONDITIONS")) {
            assert_eq!(blobs.has_conditions().unwrap(), expected == "yes");
        }
        blobs.create("refs/a/1", b"one").unwrap();
        assert_eq!(blobs.create("refs/a/1", b"one").unwrap_err().kind(), ErrorKind::Conflict, "whatever the bytes");
        blobs.create("refs/ab/1", b"").unwrap();
        assert_eq!(blobs.list("refs/a").unwrap(), ["1"], "refs/a is not the beginning of refs/ab");
        assert_eq!(blobs.list("refs").unwrap(), ["a", "ab"]);
        assert_eq!((blobs.list("refs/b").unwrap().len(), blobs.walk("refs/b").unwrap().len()), (0, 0));
        assert_eq!(blobs.get("refs/ab/1", 10).unwrap(), b"");
        assert_eq!(blobs.get("refs/a/1", 2).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(blobs.get("refs/a/2", 2).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(blobs.get_span("refs/a/1", 1, 2, Vec::new()).unwrap(), b"ne");
        for (at, length) in [(1, 3), (3, 1), (100, 1)] {
            let e = blobs.get_span("refs/a/1", at, length, Vec::new()).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Integrity, "{at} {length}: {e:?}");
        }
        assert_eq!(blobs.stat("refs/a/2").unwrap(), None);
        let (listed, asked) = (blobs.walk("refs").unwrap(), blobs.stat("refs/a/1").unwrap().unwrap());
        assert_eq!(listed[0], ("refs/a/1".to_owned(), asked));
        blobs.delete("refs/a/1").unwrap();
        blobs.delete("refs/a/1").unwrap();
        assert_eq!(blobs.list("refs").unwrap().last().unwrap(), "ab");
        // More than a page of a listing.
        std::thread::scope(|scope| {
            for t in 0..4 {
                scope.spawn(move || (0..280).for_each(|n| blobs.put(&format!("idx/{t}/{n}"), b"x").unwrap()));
            }
        });
        assert_eq!(blobs.walk("idx").unwrap().len(), 1120);
        assert_eq!((blobs.list("idx").unwrap().len(), blobs.list("idx/3").unwrap().len()), (4, 280));
        assert!(blobs.list("tmp").unwrap().is_empty(), "a probe was left");
    }
}

#[test]
fn an_asynchronous_caller_is_no_trouble() {
    let Some(bed) = remote("an_asynchronous_caller_is_no_trouble") else { return };
    for runtime in [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()] {
        let place = format!("{}/{}", bed.place, std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
        { runtime }.build().unwrap().block_on(async {
            let store = Store::init(&place).unwrap();
            assert!(store.images().unwrap().is_empty());
            drop(store);
        });
    }
}

/// From a directory into S3 and back: signatures of an older generation go over, and an idle sync reads none of them.
#[test]
fn a_sync_of_many_generations_merges_signatures_and_asks_little() {
    let Some(bed) = remote("a_sync_of_many_generations_merges_signatures_and_asks_little") else { return };
    let (here, there) = (Store::init(bed.path("here")).unwrap(), Store::init(&bed.place).unwrap());
    let tree = bed.path("small");
    std::fs::create_dir(&tree).unwrap();
    for n in 0..100 {
        std::fs::write(tree.join("file"), format!("version {n:09}")).unwrap();
        here.capture(&tree, "t", &bed.options(), &Task::quiet()).unwrap();
    }
    let sync = |from: &Store, to: &Store| {
        let began = Instant::now();
        let done = from.sync(to, &SyncOptions::default(), &Task::quiet()).unwrap();
        (began.elapsed(), done)
    };
    let (first, done) = sync(&here, &there);
    assert_eq!(done.generations.len(), 100);
    let (idle, done) = sync(&here, &there);
    assert!(done.generations.is_empty() && idle < Duration::from_millis(500), "{idle:?}");
    let [a, b] = std::array::from_fn(|_| Signer::generate().unwrap());
    here.signing(a.clone()).sign("t@50").unwrap();
    there.signing(b.clone()).sign("t@50").unwrap();
    sync(&here, &there);
    for (store, signers) in [(&there, &[&a, &b][..]), (&here, &[&a])] {
        for signer in signers {
            let trust = Trust::new(Keyring::new(vec![signer.public()]).unwrap());
            store.trusting(trust).image("t@50").unwrap();
        }
    }
    let (back, _) = sync(&there, &here);
    let (idle_back, _) = sync(&there, &here);
    assert_eq!(here.refs().signed("t", 50).unwrap(), there.refs().signed("t", 50).unwrap());
    assert!(idle_back < Duration::from_millis(500), "{idle_back:?}");
    eprintln!("100 generations into S3: {first:?}, idle {idle:?}; back: {back:?}, idle {idle_back:?}");
    assert_eq!(check(&there), []);
}

fn cvctl(place: &str, args: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cvctl"));
    command.args(["-q", "-o", "json", "--store", place]).args(args).envs(variables.iter().copied());
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    (out.status.code().unwrap(), text)
}

#[test]
fn the_program_works_in_s3_and_its_exit_codes_tell_what_is_wrong() {
    let Some(bed) = remote("the_program_works_in_s3_and_its_exit_codes_tell_what_is_wrong") else { return };
    let (place, tree, state) = (bed.place.as_str(), bed.tree(), bed.path("state"));
    let usual = [("CV_STATE", state.to_str().unwrap())];
    let tree = tree.to_str().unwrap();
    for args in [
        &["store", "init", place][..],
        &["image", "capture", tree, "--name", "base", "--tag", "v1"],
        &["image", "list"],
        &["image", "extract", "base:v1", bed.path("out").to_str().unwrap(), "--verify"],
        &["store", "check", "--read-data"],
    ] {
        let (code, text) = cvctl(place, args, &usual);
        assert_eq!(code, 0, "{args:?}: {text}");
    }
    let bucket = place.split('/').nth(2).unwrap();
    let missing = place.replacen(bucket, "no-such-bucket", 1);
    let secret = "x".repeat(64);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (code, place, variables) in [
        (13, place, &[("AWS_SECRET_ACCESS_KEY", secret.as_str()), ("AWS_SESSION_TOKEN", "tok-en")][..]),
        (10, &missing, &[]),
        (18, place, &[("AWS_ENDPOINT_URL", &format!("http://{dead}")), ("AWS_MAX_ATTEMPTS", "4")]),
    ] {
        // moto looks at no secret.
        if code == 13 && variable("LIBCV_S3_SERVER").is_some_and(|s| s == "moto") {
            continue;
        }
        let begun = Instant::now();
        let (got, text) = cvctl(place, &["image", "list"], variables);
        assert_eq!(got, code, "{text}");
        assert!(!text.contains(&secret) && !text.contains("tok-en"), "{text}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value["error"]["hint"].is_string() && value["error"]["detail"]["peer"].is_string(), "{text}");
    }
}

/// Options for the endpoint of the environment, or another one.
fn options(endpoint: &str) -> S3Options {
    let mut options = S3Options::default();
    let get = |name| variable(name).unwrap_or_default();
    options.endpoint = Some(endpoint.to_owned());
    options.region = variable("AWS_REGION");
    options.keys = Some(Keys { id: get("AWS_ACCESS_KEY_ID"), secret: get("AWS_SECRET_ACCESS_KEY"), token: None });
    options
}

#[test]
fn a_dead_server_is_given_up_in_time() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = options(&format!("http://{dead}"));
    options.retry_for = Duration::from_secs(2);
    let blobs = S3::connect("some-bucket", "", &options).unwrap();
    let begun = Instant::now();
    let e = Store::with_backend(Box::new(blobs)).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Network, "{e:?}");
    assert!(e.facts()["retries"].as_u64() >= Some(3), "{e:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// One request in ten fails in some way. With patience everything succeeds; without, what fails does it cleanly, and
/// harms nothing.
#[test]
fn nothing_is_lost_when_requests_fail() {
    const TEST: &str = "nothing_is_lost_when_requests_fail";
    const ROUNDS: u64 = 16;
    let Some(faulty) = variable("LIBCV_S3_FAULTY") else {
        skip(TEST, "there is no faulty server; tests/run.sh s3 starts one");
        return;
    };
    let Some(bed) = remote(TEST) else { return };
    let direct = Store::init(&bed.place).unwrap();
    let tree = bed.path("tree");
    std::fs::create_dir(&tree).unwrap();
    small_tree(&tree);
    let (mut failed, mut done) = (Vec::<Error>::new(), 0);
    for round in 0..ROUNDS {
        let mut options = options(&faulty);
        // First with patience, then with none.
        let patient = round < ROUNDS / 2;
        options.attempts = if patient { u32::MAX } else { 1 + (round % 2) as u32 };
        let open = || bed.through(&options);
        std::fs::write(tree.join("etc/motd"), noise(200 << 10, round)).unwrap();
        // One that goes up in parts, with and without patience.
        let large = if round % (ROUNDS / 2) == 3 { 18 << 20 } else { 0 };
        std::fs::write(tree.join("large"), noise(large, round)).unwrap();
        let work: [&dyn Fn() -> Result<()>; 5] = [
            &|| open()?.capture(&tree, "t", &bed.options(), &Task::quiet()).map(|_| ()),
            &|| open()?.tag("t", "t", "stable"),
            &|| open()?.rollback("t", "t:stable").map(|_| ()),
            &|| {
                let out = bed.path("out");
                let _ = std::fs::remove_dir_all(&out);
                let options = ExtractOptions { verify: true, ..Default::default() };
                open()?.image("t")?.extract(&out, &options, &Task::quiet()).map(|_| ())
            },
            &|| open()?.check(true, &Task::quiet())?.ok(),
        ];
        for (n, work) in work.into_iter().enumerate() {
            let begun = Instant::now();
            match work() {
                Ok(()) => done += 1,
                Err(e) => {
                    assert!(!patient, "round {round}, work {n}: {e:?}");
                    // Without a first success there may be neither name nor tag.
                    let fits = matches!(e.kind(), ErrorKind::Network | ErrorKind::Conflict | ErrorKind::NotFound);
                    assert!(fits, "round {round}, work {n}: {e:?}");
                    failed.push(e);
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "round {round}, work {n}: {:?}", begun.elapsed());
        }
        if round % 4 == 3 {
            // Through the direct endpoint.
            assert_eq!(check(&Store::open(&bed.place).unwrap()), [], "round {round}");
        }
    }
    println!("{done} succeeded, {} failed", failed.len());
    assert!(failed.len() > 5 && done > 40, "{done} {failed:?}");
    let log = direct.log("t").unwrap();
    let generations: Vec<u64> = log.iter().rev().map(|l| l.release.generation).collect();
    assert_eq!(generations, (1..=generations.len() as u64).collect::<Vec<_>>());
    assert!(generations.len() as u64 >= ROUNDS, "{}", generations.len());
    std::fs::write(tree.join("etc/motd"), "the end").unwrap();
    Store::open(&bed.place).unwrap().capture(&tree, "t", &bed.options(), &Task::quiet()).unwrap();
    let _ = std::fs::remove_dir_all(bed.path("out"));
    bed.extract_and_compare(&direct, "t");
}
