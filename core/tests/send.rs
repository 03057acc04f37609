//! Captures that are sent to a server: what goes over, who may, and what survives an end in the middle.
#![allow(missing_docs)]

use libcv::capture::{CaptureOptions, Captured};
use libcv::image::Hash;
use libcv::job::Task;
use libcv::server::{Server, ServerOptions};
use libcv::store::http::HttpOptions;
use libcv::store::{Store, TokenOptions};
use libcv::web::Url;
use libcv::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
    server: Option<Server>,
    url: String,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("etc")).unwrap();
        for n in 0..300u64 {
            std::fs::write(tree.join(format!("etc/{n}")), format!("{n}\n").repeat(n as usize)).unwrap();
        }
        std::fs::write(tree.join("noise"), noise(1, 19 << 20)).unwrap();
        // What is younger than the clock of files can tell is read again.
        std::thread::sleep(Duration::from_millis(50));
        let mut bed = Self { dir, store, server: None, url: String::new() };
        bed.start();
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Another server of the store; the one before ends at once.
    fn start(&mut self) {
        drop(self.server.take());
        let server = Server::start(&self.store, "127.0.0.1:0", &ServerOptions::default()).unwrap();
        self.url = format!("http://{}", server.address());
        self.server = Some(server);
    }

    fn token(&self, name: &str) -> String {
        self.token_with(&TokenOptions { name: name.into(), ..TokenOptions::default() })
    }

    fn token_with(&self, options: &TokenOptions) -> String {
        self.store.create_token(options).unwrap().1.to_string()
    }

    fn open(&self, token: &str) -> Result<Store> {
        Store::open_to(&HttpOptions::new(Url::parse(&self.url).unwrap()), token)
    }

    fn send(&self, token: &str, name: &str) -> Result<Captured> {
        self.open(token)?.capture(self.path("tree"), name, &self.options(), &Task::quiet())
    }

    fn options(&self) -> CaptureOptions {
        CaptureOptions { state: Some(self.path("state")), ..CaptureOptions::default() }
    }

    /// What the store and a capture beside it make of the tree is the same.
    fn is_same(&self, done: &Captured) {
        let beside = Store::init(self.path("beside")).unwrap();
        let here = beside.capture(self.path("tree"), "x", &self.options(), &Task::quiet()).unwrap();
        assert_eq!(here.tree, done.tree);
        std::fs::remove_dir_all(self.path("beside")).unwrap();
        let image = self.store.image(&format!("{}@{}", done.name, done.generation)).unwrap();
        image.verify(0, &Task::quiet()).unwrap();
        assert!(self.store.check(true, &Task::quiet()).unwrap().faults.is_empty());
    }
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
    let words = (0..bytes / 8).flat_map(|_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    });
    words.collect()
}

fn kind<T>(done: Result<T>) -> ErrorKind {
    done.err().expect("it should not work").kind()
}

/// Bytes of all packs.
fn packs(store: &Path) -> u64 {
    let walk =
        std::fs::read_dir(store.join("packs")).unwrap().flat_map(|d| std::fs::read_dir(d.unwrap().path()).unwrap());
    walk.map(|f| f.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn what_is_sent_is_what_was_captured_and_only_what_is_new_is_sent() {
    let bed = Bed::new();
    let first = bed.send(&bed.token("node"), "node").unwrap();
    assert_eq!((first.generation, first.changed), (1, true));
    assert!(first.stored_bytes > 19 << 20);
    bed.is_same(&first);

    // Nothing changed: nothing is published, and the token is still good.
    let token = bed.token("node");
    let same = bed.send(&token, "node").unwrap();
    assert_eq!((same.generation, same.changed, same.read), (1, false, 0));

    // One file more, and one that is somewhere in the store already, under another name.
    std::fs::write(bed.path("tree/etc/new"), noise(2, 1 << 20)).unwrap();
    std::fs::copy(bed.path("tree/noise"), bed.path("tree/twin")).unwrap();
    let before = packs(&bed.path("store"));
    let second = bed.send(&token, "node").unwrap();
    assert_eq!((second.generation, second.changed), (2, true));
    assert!(second.stored_bytes < (1 << 20) + (128 << 10), "{}", second.stored_bytes);
    let grown = packs(&bed.path("store")) - before;
    assert!(second.stored_bytes.abs_diff(grown) < 4096, "{} {grown}", second.stored_bytes);
    bed.is_same(&second);

    // Of another name all is there but the pages, which are there as well.
    let other = bed.send(&bed.token("other"), "other").unwrap();
    assert_eq!((other.generation, other.tree), (1, second.tree));
    assert!(other.stored_bytes < 4096, "{}", other.stored_bytes);
}

#[test]
fn a_token_is_for_one_generation_of_one_name() {
    let bed = Bed::new();
    let token = bed.token("node");
    assert_eq!(kind(bed.send(&token, "other")), ErrorKind::Denied);
    bed.send(&token, "node").unwrap();
    // Used up.
    std::fs::write(bed.path("tree/new"), "new").unwrap();
    assert_eq!(kind(bed.send(&token, "node")), ErrorKind::Denied);
    let used = bed.store.tokens().unwrap();
    assert!(used[0].used && used[0].name == "node");

    // Made up, cut off, of another store, removed, out of date.
    let wrong = format!("{}0", &bed.token("node")[..bed.token("node").len() - 1]);
    let beside = Store::init(bed.path("beside")).unwrap();
    let foreign = beside.create_token(&TokenOptions { name: "node".into(), ..TokenOptions::default() }).unwrap();
    let removed = bed.token("node");
    bed.store.remove_token(removed.split('-').nth(1).unwrap()).unwrap();
    let late =
        bed.token_with(&TokenOptions { name: "node".into(), expires: Some(Duration::ZERO), ..TokenOptions::default() });
    for token in ["x", "cvt1-0123456789abcdef-00", &wrong[..30], &wrong, &foreign.1, &removed, &late] {
        assert_eq!(kind(bed.open(token)), ErrorKind::Denied, "{token}");
    }
    assert_eq!(kind(bed.open("two words")), ErrorKind::Invalid);
    assert_eq!(bed.store.images().unwrap()[0].generation, 1);
    for name in ["", "../x", "distro.", "distro.../x"] {
        assert_eq!(
            kind(bed.store.create_token(&TokenOptions { name: name.into(), ..TokenOptions::default() })),
            ErrorKind::Invalid
        );
    }
}

#[test]
fn a_token_has_room_for_so_much_whatever_the_server() {
    let mut bed = Bed::new();
    let options = TokenOptions { name: "node".into(), max_size: Some(12 << 20), ..TokenOptions::default() };
    let token = bed.token_with(&options);
    assert_eq!(kind(bed.send(&token, "node")), ErrorKind::Limit);
    bed.start();
    // What was sent is there, and counts.
    std::fs::write(bed.path("tree/noise"), noise(3, 9 << 20)).unwrap();
    assert_eq!(kind(bed.send(&token, "node")), ErrorKind::Limit);
    assert!(bed.store.images().unwrap().is_empty());
    // Without it the rest fits.
    std::fs::write(bed.path("tree/noise"), noise(1, 4 << 20)).unwrap();
    bed.is_same(&bed.send(&token, "node").unwrap());
}

#[test]
fn tags_and_generations_are_those_of_the_server() {
    let bed = Bed::new();
    let send = |token: &str, options: &CaptureOptions| {
        bed.open(token).unwrap().capture(bed.path("tree"), "node", options, &Task::quiet())
    };
    let tagged = CaptureOptions { tag: Some("good".into()), ..bed.options() };
    let token = bed.token("node");
    assert_eq!(kind(send(&token, &CaptureOptions { expect_parent: Some(3), ..bed.options() })), ErrorKind::Conflict);
    send(&token, &tagged).unwrap();
    assert_eq!(bed.store.refs().tag("node", "good").unwrap(), Some(1));
    // Of what has not changed as well.
    send(&bed.token("node"), &CaptureOptions { tag: Some("better".into()), ..bed.options() }).unwrap();
    assert_eq!(bed.store.refs().tag("node", "better").unwrap(), Some(1));
    let wrong = CaptureOptions { tag: Some("../x".into()), ..bed.options() };
    assert_eq!(kind(send(&bed.token("node"), &wrong)), ErrorKind::Invalid);
}

#[test]
fn what_was_sent_before_a_server_ended_is_not_sent_again() {
    let mut bed = Bed::new();
    let token = bed.token("node");
    let small =
        bed.token_with(&TokenOptions { name: "node".into(), max_size: Some(12 << 20), ..TokenOptions::default() });
    // Ends in the middle, as the room does.
    assert_eq!(kind(bed.send(&small, "node")), ErrorKind::Limit);
    let server = bed.server.take().unwrap();
    server.stop(Duration::from_secs(5)).unwrap();
    bed.start();
    let done = bed.send(&token, "node").unwrap();
    assert!(done.stored_bytes < 14 << 20, "{}", done.stored_bytes);
    bed.is_same(&done);
}

#[test]
fn what_the_server_has_lost_is_read_and_sent_again() {
    let bed = Bed::new();
    bed.send(&bed.token("node"), "node").unwrap();
    // All packs but those of pages: whoever counts on the image before would publish a hole.
    std::fs::write(bed.path("tree/new"), "new").unwrap();
    let packs = std::fs::read_dir(bed.path("store/packs")).unwrap();
    let mut all: Vec<PathBuf> =
        packs.flat_map(|d| std::fs::read_dir(d.unwrap().path()).unwrap().map(|f| f.unwrap().path())).collect();
    all.sort_by_key(|p| p.metadata().unwrap().len());
    std::fs::remove_file(all.last().unwrap()).unwrap();
    let done = bed.send(&bed.token("node"), "node").unwrap();
    assert_eq!(done.generation, 2);
    let image = bed.store.image("node").unwrap();
    image.verify(0, &Task::quiet()).unwrap();
}

/// What anybody can say to a server with a token that is good.
#[test]
fn nothing_that_is_sent_is_believed() {
    let bed = Bed::new();
    let token = bed.token("node");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let ask = |method: &str, path: &str, body: &[u8]| {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}/{path}", bed.url));
        let request = request.header("authorization", format!("Bearer {token}")).body(body.to_vec()).unwrap();
        // Who refuses a long body may end the connection before all of it was sent; another one is whole.
        let Ok(mut answer) = agent.run(request.clone()).or_else(|_| agent.run(request)) else {
            return (0, String::new());
        };
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        (answer.status().as_u16(), text)
    };
    let code = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["code"].as_i64().unwrap();
    // A pack of a store, with a byte changed in each part of it.
    let beside = Store::init(bed.path("beside")).unwrap();
    std::fs::write(bed.path("tree/noise"), noise(5, 1 << 20)).unwrap();
    let done = beside.capture(bed.path("tree"), "x", &bed.options(), &Task::quiet()).unwrap();
    let dir = std::fs::read_dir(bed.path("beside/packs")).unwrap().next().unwrap().unwrap().path();
    let pack = std::fs::read(std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path()).unwrap();
    for at in [0, 9, pack.len() / 2, pack.len() - 300, pack.len() - 30, pack.len() - 1] {
        let mut bad = pack.clone();
        bad[at] ^= 1;
        let (status, text) = ask("POST", "v1/packs", &bad);
        assert_eq!((status, code(&text)), (422, 14), "{at} {text}");
    }
    for bad in [&b""[..], b"CVPACK01", &pack[..pack.len() - 1], &vec![7; 1 << 20]] {
        assert_eq!(ask("POST", "v1/packs", bad).0, 422);
    }
    // A manifest before its packs, one that is none, and one of a tree whose chunks are only partly there.
    let manifest = std::fs::read(bed.path("beside/images").join(format!("{}.cvm", done.image))).unwrap();
    let (status, text) = ask("POST", "v1/publish", &manifest);
    assert_eq!((status, code(&text)), (409, 11), "{text}");
    assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["lacking"].as_u64().unwrap() > 0);
    assert_eq!(ask("POST", "v1/publish", &manifest[1..]).0, 422);
    assert_eq!(ask("POST", "v1/publish?expect=x", &manifest).0, 400);
    assert_eq!(ask("POST", "v1/publish?tag=..", &manifest).0, 400);
    assert_eq!(ask("POST", "v1/publish?who=me", &manifest).0, 400);
    // Names of chunks that are none.
    assert_eq!(ask("POST", "v1/has", &[1; 31]).0, 400);
    assert!(matches!(ask("POST", "v1/has", &vec![1; 32 * 16_385]).0, 0 | 413));
    assert_eq!(ask("POST", "v1/has", &Hash::of(b"x").0), (200, "\0".into()));
    assert_eq!(ask("POST", "v1/has", b"").0, 400);
    // Tags of what is not there, and of nowhere.
    for path in [
        "v1/tags/good?generation=1",
        "v1/tags/good?generation=99999999999999999999",
        "v1/tags/good",
        "v1/tags/..%2fx?generation=1",
    ] {
        assert!(matches!(ask("PUT", path, b"").0, 400 | 404), "{path}");
    }
    assert!(bed.store.images().unwrap().is_empty());
    // The pack as it is, twice; then the image is there, and the answer can be had again.
    assert_eq!(ask("POST", "v1/packs", &pack).0, 204);
    assert_eq!(ask("POST", "v1/packs", &pack).0, 204);
    // Many at once: one makes it, and all are told of that one.
    let answers: Vec<_> = std::thread::scope(|s| {
        let all: Vec<_> = (0..8).map(|_| s.spawn(|| ask("POST", "v1/publish?expect=0", &manifest))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (status, first) = answers[0].clone();
    assert_eq!(status, 200, "{first}");
    assert!(answers.iter().all(|answer| *answer == (200, first.clone())), "{answers:?}");
    assert_eq!(ask("POST", "v1/publish?expect=0", &manifest), (200, first));
    assert_eq!(ask("POST", "v1/publish?expect=0", &manifest[1..]).0, 401);
    assert!(matches!(ask("POST", "v1/packs", &pack).0, 0 | 401));
    assert_eq!(ask("GET", "v1/session", b"").0, 401);
    assert_eq!(bed.store.images().unwrap()[0].generation, 1);
    bed.store.image("node").unwrap().verify(0, &Task::quiet()).unwrap();
    // A web server takes nothing.
    assert_eq!(ask("POST", "store.json", b"x").0, 405);
    assert_eq!(ask("PUT", "packs/00/x", b"x").0, 405);
}

/// A way to a server that breaks off when it has the answer to what is published, so many times.
fn losing(to: String, times: usize) -> String {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicUsize, Ordering};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let left = std::sync::Arc::new(AtomicUsize::new(times));
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (mut near, left) = (near.unwrap(), left.clone());
            let mut far = TcpStream::connect(to.trim_start_matches("http://")).unwrap();
            let (mut back, mut forth) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            let publishing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let seen = publishing.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 65536];
                while let Ok(n @ 1..) = near.read(&mut buffer) {
                    let asked = buffer[..n].windows(15).any(|w| w == b"POST /v1/publis");
                    seen.store(seen.load(Ordering::Relaxed) || asked, Ordering::Relaxed);
                    if far.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
                let _ = far.shutdown(Shutdown::Both);
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 65536];
                while let Ok(n @ 1..) = back.read(&mut buffer) {
                    let lose = publishing.load(Ordering::Relaxed)
                        && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
                    if lose || forth.write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
                let _ = forth.shutdown(Shutdown::Both);
            });
        }
    });
    url
}

#[test]
fn an_answer_that_is_lost_is_given_again() {
    let mut bed = Bed::new();
    let token = bed.token("node");
    bed.url = losing(bed.url.clone(), 1);
    let done = bed.send(&token, "node").unwrap();
    assert_eq!((done.generation, done.changed), (1, true));
    assert_eq!(bed.store.log("node").unwrap().len(), 1);
    assert!(bed.store.tokens().unwrap()[0].used);
    bed.is_same(&done);
}

#[test]
fn who_was_ended_between_the_generation_and_its_token_makes_no_second_one() {
    let mut bed = Bed::new();
    let token = bed.token("node");
    bed.send(&token, "node").unwrap();
    // As a server leaves it that was ended before it wrote down that the token was used.
    let id = token.split('-').nth(1).unwrap().to_owned();
    std::fs::remove_file(bed.path(&format!("store/tokens/{id}.used"))).unwrap();
    bed.start();
    std::fs::write(bed.path("tree/another"), "x").unwrap();
    assert_eq!(kind(bed.send(&token, "node")), ErrorKind::Denied);
    assert_eq!(bed.store.log("node").unwrap().len(), 1);
    assert!(bed.store.tokens().unwrap()[0].used);
}

#[test]
fn an_exact_copy_takes_nothing() {
    let bed = Bed::new();
    bed.send(&bed.token("node"), "node").unwrap();
    bed.store.mirror(bed.path("copy"), &Task::quiet()).unwrap();
    let copy = Store::open(bed.path("copy")).unwrap();
    assert_eq!(
        kind(copy.create_token(&TokenOptions { name: "node".into(), ..TokenOptions::default() })),
        ErrorKind::Refused
    );
    assert_eq!(kind(copy.add_node("n1")), ErrorKind::Refused);
}
