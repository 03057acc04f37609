//! Stores behind web servers: one, several, and such that are broken, old, slow, or lie.
#![allow(missing_docs)]

#[path = "common/web.rs"]
mod web;

use libcv::capture::CaptureOptions;
use libcv::event::EventKind;
use libcv::job::{CancelToken, Task};
use libcv::server::{MirrorOptions, Server, ServerOptions};
use libcv::store::Store;
use libcv::store::http::HttpOptions;
use libcv::tree::extract::ExtractOptions;
use libcv::web::Url;
use libcv::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use web::{Fault, Web};

/// Those that no reader can use alone, and what it is told then.
const USELESS: [(Fault, &[ErrorKind]); 11] = [
    (Fault::Corrupt, &[ErrorKind::Integrity]),
    (Fault::Cut, &[ErrorKind::Network]),
    (Fault::NoRange, &[ErrorKind::Network]),
    (Fault::Loop, &[ErrorKind::Network]),
    (Fault::Foreign, &[ErrorKind::Network]),
    (Fault::Bomb, &[ErrorKind::Network]),
    (Fault::Endless, &[ErrorKind::Limit, ErrorKind::Network]),
    (Fault::Headers, &[ErrorKind::Network]),
    (Fault::Garbage, &[ErrorKind::Network]),
    (Fault::Busy, &[ErrorKind::Network]),
    (Fault::Denied, &[ErrorKind::Denied]),
];

struct Bed {
    dir: tempfile::TempDir,
    place: PathBuf,
    store: Store,
}

impl Bed {
    /// A store with a tree of some small files and a large one, in two generations, the first of which has a tag.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (place, tree) = (dir.path().join("store"), dir.path().join("tree"));
        let store = Store::init(&place).unwrap();
        std::fs::create_dir_all(tree.join("etc")).unwrap();
        let capture = || store.capture(&tree, "node", &CaptureOptions::default(), &Task::quiet()).unwrap();
        for n in 0..300 {
            std::fs::write(tree.join(format!("etc/{n}")), format!("{n}\n").repeat(n)).unwrap();
        }
        std::fs::write(tree.join("noise"), noise(9 << 20)).unwrap();
        capture();
        store.tag("node", "node", "first").unwrap();
        std::fs::write(tree.join("etc/new"), "new\n").unwrap();
        capture();
        Self { dir, place, store }
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    /// Extracts from these mirrors; what was told, and how long it took.
    fn extract(&self, urls: &[&str]) -> Result<(Vec<String>, Duration)> {
        let (began, target) = (Instant::now(), tempfile::tempdir_in(self.dir.path()).unwrap());
        let notes = Arc::new(Mutex::new(Vec::new()));
        let to = notes.clone();
        let listener = move |e: &libcv::event::Event| {
            if e.kind == EventKind::Log {
                to.lock().unwrap().extend(e.message.clone());
            }
        };
        let task = Task::new(CancelToken::default(), Some(Box::new(listener)));
        let store = open(urls)?;
        let image = store.image("node")?;
        image.extract(target.path(), &ExtractOptions::default(), &task)?;
        let same = Command::new("diff").arg("-r").args([&self.tree(), target.path()]).output().unwrap();
        assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
        let notes = notes.lock().unwrap().clone();
        Ok((notes, began.elapsed()))
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..bytes / 8).flat_map(|_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    });
    words.collect()
}

fn open(urls: &[&str]) -> Result<Store> {
    let mut options = HttpOptions::new(Url::parse(urls[0]).unwrap());
    options.mirrors = urls[1..].iter().map(|u| u.parse().unwrap()).collect();
    Store::open_http(&options)
}

fn serve(place: &Path) -> (Server, String) {
    let server = Server::start(&Store::open(place).unwrap(), "127.0.0.1:0", &ServerOptions::default()).unwrap();
    let url = format!("http://{}", server.address());
    (server, url)
}

#[test]
fn a_store_is_read_from_our_server_as_from_its_directory() {
    let bed = Bed::new();
    let (server, url) = serve(&bed.place);
    bed.extract(&[&url]).unwrap();
    let (near, far) = (&bed.store, open(&[&url]).unwrap());
    assert_eq!(near.uuid(), far.uuid());
    let json = |v: &dyn erased::Json| v.json();
    assert_eq!(json(&near.images().unwrap()), json(&far.images().unwrap()));
    assert_eq!(json(&near.log("node").unwrap()), json(&far.log("node").unwrap()));
    for reference in ["node", "node:first", "node@1", &near.image("node").unwrap().id().to_string()[..12]] {
        assert_eq!(near.image(reference).unwrap().id(), far.image(reference).unwrap().id(), "{reference}");
    }
    let mut bytes = Vec::new();
    far.image("node").unwrap().cat(b"etc/7", &mut bytes).unwrap();
    assert_eq!(bytes, b"7\n".repeat(7));
    far.image("node").unwrap().verify(0, &Task::quiet()).unwrap();
    assert_eq!(far.image("nobody").err().unwrap().kind(), ErrorKind::NotFound);
    // It only reads.
    let e = far.capture(bed.tree(), "node", &CaptureOptions::default(), &Task::quiet()).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert_eq!(far.remove("node").unwrap_err().kind(), ErrorKind::Unsupported);
    let metrics = server.metrics();
    assert!(metrics.contains("libcv_http_answers_total{method=\"GET\",status=\"206\"}"), "{metrics}");
    server.stop(Duration::from_secs(5)).unwrap();
    assert_eq!(open(&[&url]).err().unwrap().kind(), ErrorKind::Network);
}

mod erased {
    pub(super) trait Json {
        fn json(&self) -> String;
    }
    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_string(self).unwrap()
        }
    }
}

#[test]
fn a_static_server_is_enough_to_open_tag_and_extract() {
    let bed = Bed::new();
    let web = Web::new(&bed.place, Fault::None);
    bed.extract(&[&web.url]).unwrap();
    // The index is asked for once, and not for pages and content each.
    let segments = objects(&bed.place).iter().filter(|(name, _)| name.ends_with(".idx")).count();
    assert_eq!(web.asked(".idx"), segments);
    let far = open(&[&web.url]).unwrap();
    for reference in ["node", "node:first", "node@1", &bed.store.image("node").unwrap().id().to_string()] {
        assert_eq!(bed.store.image(reference).unwrap().id(), far.image(reference).unwrap().id(), "{reference}");
    }
    assert_eq!(far.refs().generations("node").unwrap(), [1, 2]);
    assert_eq!(far.image("node:none").err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(far.images().err().unwrap().kind(), ErrorKind::Unsupported);
    // HEAD is a lower bound: what came after it is found.
    let head = std::fs::read(bed.place.join("refs/node/HEAD")).unwrap();
    bed.store.rollback("node", "node@1").unwrap();
    web.instead.lock().unwrap().insert("refs/node/HEAD".into(), head);
    assert_eq!(far.image("node").unwrap().release().unwrap().generation, 3);
    // No store at all.
    assert_eq!(open(&[&format!("{}/refs", web.url)]).err().unwrap().kind(), ErrorKind::NotFound);
}

#[test]
fn beside_a_good_mirror_a_bad_one_does_no_harm() {
    let bed = Bed::new();
    let good = Web::new(&bed.place, Fault::None);
    for fault in USELESS.iter().map(|u| u.0).chain([Fault::Stall, Fault::Silent]) {
        let bad = Web::new(&bed.place, fault);
        // The bad one is preferred.
        let (notes, took) = bed.extract(&[&good.url, &format!("{}=20", bad.url)]).unwrap();
        assert!(bad.asked("") > 0, "{fault:?}: nobody asked it");
        assert!(notes.iter().any(|n| n.contains(&bad.url)), "{fault:?}: {notes:?}");
        assert!(notes.iter().all(|n| !n.contains(&good.url)), "{fault:?}: {notes:?}");
        println!("{fault:?}: {took:?}");
        assert!(took < Duration::from_secs(30), "{fault:?}: {took:?}");
    }
}

#[test]
fn alone_a_bad_mirror_is_a_clear_error() {
    let bed = Bed::new();
    for (fault, kinds) in USELESS {
        let bad = Web::new(&bed.place, fault);
        let began = Instant::now();
        let e = bed.extract(&[&bad.url]).err().unwrap_or_else(|| panic!("{fault:?}: it worked"));
        assert!(kinds.contains(&e.kind()), "{fault:?}: {e:?}");
        assert!(e.kind() == ErrorKind::Integrity || e.to_string().contains(&bad.url), "{fault:?}: {e}");
        assert!(began.elapsed() < Duration::from_secs(60), "{fault:?}: {:?}", began.elapsed());
    }
}

#[test]
fn the_newest_that_any_mirror_has_counts_and_what_is_made_up_does_not() {
    let bed = Bed::new();
    let old = tempfile::tempdir().unwrap();
    assert!(
        Command::new("cp")
            .arg("-a")
            .arg(format!("{}/.", bed.place.display()))
            .arg(old.path())
            .status()
            .unwrap()
            .success()
    );
    std::fs::write(bed.tree().join("etc/newer"), "newer\n").unwrap();
    bed.store.capture(bed.tree(), "node", &CaptureOptions::default(), &Task::quiet()).unwrap();
    let (new, old) = (Web::new(&bed.place, Fault::None), Web::new(old.path(), Fault::None));
    for _ in 0..5 {
        bed.extract(&[&old.url, &new.url]).unwrap();
    }
    // One says that there is a generation 9, which nobody has.
    let id = libcv::image::Hash::of(b"node 9").to_string();
    old.instead.lock().unwrap().insert("refs/node/HEAD".into(), format!("9 {}", &id[..8]).into_bytes());
    for _ in 0..5 {
        bed.extract(&[&old.url, &new.url]).unwrap();
    }
}

#[test]
fn a_mirror_that_dies_in_the_middle_is_left() {
    let bed = Bed::new();
    let good = Web::new(&bed.place, Fault::None);
    let (server, url) = serve(&bed.place);
    let store = open(&[&url, &good.url]).unwrap();
    let image = store.image("node").unwrap();
    drop(server);
    let target = tempfile::tempdir().unwrap();
    image.extract(target.path(), &ExtractOptions::default(), &Task::quiet()).unwrap();
}

/// All objects of a store that a mirror has, with their bytes.
fn objects(place: &Path) -> Vec<(String, Vec<u8>)> {
    let out = Command::new("find").current_dir(place).args([".", "-type", "f"]).output().unwrap();
    let mut names: Vec<String> = String::from_utf8(out.stdout).unwrap().lines().map(|l| l[2..].to_owned()).collect();
    names.retain(|n| {
        ["store.json", "packs/", "idx/", "images/", "refs/", "tags/", "blobs/"].iter().any(|p| n.starts_with(p))
    });
    names.sort();
    names.into_iter().map(|n| (n.clone(), std::fs::read(place.join(n)).unwrap())).collect()
}

#[test]
fn a_mirror_is_the_same_object_by_object_and_follows() {
    let bed = Bed::new();
    let (origin, url) = serve(&bed.place);
    let place = bed.dir.path().join("mirror");
    let of = |url: &str| MirrorOptions {
        every: Duration::from_millis(100),
        ..MirrorOptions::new(HttpOptions::new(Url::parse(url).unwrap()))
    };
    let begin = |url: &str, place: &Path| {
        Server::mirror(place, "127.0.0.1:0", &of(url), &ServerOptions::default(), Task::quiet())
    };
    let mirror = begin(&url, &place).unwrap();
    assert_eq!(objects(&bed.place), objects(&place));
    let mirrored = format!("http://{}", mirror.address());
    bed.extract(&[&mirrored]).unwrap();
    bed.extract(&[&url, &mirrored]).unwrap();
    // A new generation, a tag that goes elsewhere, a removal, and a collection that packs anew.
    std::fs::write(bed.tree().join("etc/newest"), noise(3 << 20)).unwrap();
    bed.store.capture(bed.tree(), "node", &CaptureOptions::default(), &Task::quiet()).unwrap();
    bed.store.tag("node", "node", "first").unwrap();
    bed.store.remove("node@1").unwrap();
    let grace = libcv::store::collect::CollectOptions { grace: Duration::ZERO, ..Default::default() };
    std::thread::sleep(Duration::from_millis(2100));
    for _ in 0..2 {
        bed.store.collect(&grace, &Task::quiet()).unwrap();
    }
    let until = Instant::now() + Duration::from_secs(20);
    while objects(&bed.place) != objects(&place) {
        assert!(Instant::now() < until, "it does not follow");
        std::thread::sleep(Duration::from_millis(50));
    }
    bed.extract(&[&mirrored]).unwrap();
    let checked = Store::open(&place).unwrap().check(true, &Task::quiet()).unwrap();
    assert!(checked.faults.is_empty(), "{:?}", checked.faults);
    // The origin goes; the mirror serves on, says so, and finds it again.
    let address = origin.address().to_string();
    origin.stop(Duration::from_secs(5)).unwrap();
    let failed = |m: &Server| {
        m.metrics().lines().any(|l| l.starts_with("libcv_http_mirror_pulls_failed ") && !l.ends_with(" 0"))
    };
    let until = Instant::now() + Duration::from_secs(30);
    while !failed(&mirror) {
        assert!(Instant::now() < until, "it does not notice: {}", mirror.metrics());
        std::thread::sleep(Duration::from_millis(50));
    }
    bed.extract(&[&mirrored]).unwrap();
    let origin = Server::start(&bed.store, &address, &ServerOptions::default()).unwrap();
    bed.store.rollback("node", "node:first").unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while open(&[&mirrored]).unwrap().image("node").unwrap().release().unwrap().generation < 4 {
        assert!(Instant::now() < until, "it does not find its origin again");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(mirror);
    drop(origin);
    // Another store, and what is none.
    let other = bed.dir.path().join("other");
    Store::init(&other).unwrap();
    let (origin, url) = serve(&bed.place);
    assert_eq!(begin(&url, &other).err().unwrap().kind(), ErrorKind::Conflict);
    assert_eq!(begin(&url, &bed.tree()).err().unwrap().kind(), ErrorKind::Refused);
    drop(origin);
}

#[test]
fn a_mirror_takes_nothing_that_is_damaged() {
    let bed = Bed::new();
    let pack = objects(&bed.place).into_iter().find(|(n, _)| n.starts_with("packs/")).unwrap();
    let (origin, url) = serve(&bed.place);
    for at in [20, pack.1.len() / 2, pack.1.len() - 100] {
        let mut bytes = pack.1.clone();
        bytes[at] ^= 1;
        std::fs::write(bed.place.join(&pack.0), bytes).unwrap();
        let place = bed.dir.path().join(format!("mirror{at}"));
        let options = MirrorOptions::new(HttpOptions::new(Url::parse(&url).unwrap()));
        let e =
            Server::mirror(&place, "127.0.0.1:0", &options, &ServerOptions::default(), Task::quiet()).err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Integrity, "{e:?}");
        assert!(!place.join(&pack.0).exists() && !place.join("refs").exists());
        // When it is whole again, the mirror goes on where it was.
        std::fs::write(bed.place.join(&pack.0), &pack.1).unwrap();
        drop(Server::mirror(&place, "127.0.0.1:0", &options, &ServerOptions::default(), Task::quiet()).unwrap());
        assert_eq!(objects(&bed.place), objects(&place));
    }
    drop(origin);
}

#[test]
fn the_doctor_says_what_is_wrong() {
    use libcv::store::http::doctor::{Verdict, examine};
    let bed = Bed::new();
    let (server, url) = serve(&bed.place);
    let static_one = Web::new(&bed.place, Fault::None);
    let other = tempfile::tempdir().unwrap();
    Store::init(other.path().join("s")).unwrap();
    let (another, elsewhere) = serve(&other.path().join("s"));
    let bad: Vec<(Fault, Web)> = USELESS.iter().map(|(f, _)| (*f, Web::new(&bed.place, *f))).collect();
    // A HEAD of yesterday, and a segment that is gone.
    let old = Web::new(&bed.place, Fault::None);
    let nowhere = format!("{}\n", libcv::image::Hash::of(b"nowhere"));
    old.instead.lock().unwrap().insert("idx/CURRENT".into(), nowhere.into_bytes());
    let mut options = HttpOptions::new(Url::parse(&url).unwrap());
    let urls = [&static_one.url, &elsewhere, &old.url].into_iter().chain(bad.iter().map(|(_, w)| &w.url));
    options.mirrors = urls.map(|u| u.parse().unwrap()).collect();
    let found = examine(&options, &Task::quiet()).unwrap();
    let check = |n: usize, check: &str| found[n].findings.iter().find(|f| f.check == check).map(|f| f.verdict);
    assert_eq!(found[0].verdict(), Verdict::Ok, "{:#?}", found[0]);
    assert!(found[0].rate > Some(0) && found[0].clock.is_some() && found[0].store.as_deref() == Some(bed.store.uuid()));
    // One that does not tell its time is a warning.
    assert_eq!(
        (found[1].verdict(), check(1, "clock"), check(1, "chunk")),
        (Verdict::Warning, Some(Verdict::Warning), Some(Verdict::Ok))
    );
    assert_eq!(found[2].verdict(), Verdict::Bad, "{:#?}", found[2]);
    assert_eq!((check(3, "index"), check(3, "ranges")), (Some(Verdict::Bad), None));
    for (n, (fault, _)) in bad.iter().enumerate() {
        assert_eq!(found[n + 4].verdict(), Verdict::Bad, "{fault:?}: {:#?}", found[n + 4]);
    }
    drop((server, another));
}

#[test]
fn an_index_that_is_made_up_leads_nobody_astray() {
    use libcv::image::Hash;
    use libcv::store::index::{Place, Segment};
    let bed = Bed::new();
    let (good, liar) = (Web::new(&bed.place, Fault::None), Web::new(&bed.place, Fault::None));
    let all = objects(&bed.place);
    let segments = all.iter().filter(|(name, _)| name.ends_with(".idx"));
    let records = segments.flat_map(|(_, bytes)| Segment::decode(bytes, |_| true).unwrap().records);
    // Everything is said to lie in one small block of a pack that nobody has; nothing would be cheaper to read.
    let place = |length| Place { pack: 0, offset: 8, stored: 100, length };
    let records = records.map(|(hash, p)| (hash, place(p.length))).collect();
    let forged = Segment { packs: vec![Hash::of(b"nowhere")], records }.encode();
    let name = Hash::of(&forged).to_string();
    let current = std::fs::read_to_string(bed.place.join("idx/CURRENT")).unwrap();
    let lies =
        [("idx/CURRENT".to_owned(), format!("{current}{name}\n").into_bytes()), (format!("idx/{name}.idx"), forged)];
    liar.instead.lock().unwrap().extend(lies);
    let (notes, _) = bed.extract(&[&good.url, &liar.url]).unwrap();
    assert!(liar.asked(".idx") > 0, "{notes:?}");
    bed.extract(&[&liar.url]).unwrap();
}

#[test]
fn whole_blocks_of_something_else_are_found_out() {
    use libcv::image::block::{BlockBuilder, Codec};
    use libcv::image::{Hash, pack};
    let bed = Bed::new();
    let (good, liar) = (Web::new(&bed.place, Fault::None), Web::new(&bed.place, Fault::None));
    let mut forged = 0;
    for (name, mut bytes) in objects(&bed.place).into_iter().filter(|(name, _)| name.starts_with("packs/")) {
        let size = bytes.len();
        let footer = pack::decode_footer(&bytes[size - pack::FOOTER..], size as u64).unwrap();
        let trailer = bytes[size - pack::FOOTER - footer.trailer as usize..size - pack::FOOTER].to_vec();
        for (at, info) in pack::decode_trailer(&trailer, &footer, size as u64).unwrap() {
            if info.codec == Codec::Raw {
                // As long as the true one, with as many chunks, and with the right sum: of other content.
                let mut other = BlockBuilder::new(1).unwrap();
                for (n, (_, length)) in info.chunks.iter().enumerate() {
                    let chunk: Vec<u8> = noise(*length as usize + 8 * n + 8)[8 * n..][..*length as usize].to_vec();
                    other.push(Hash::of(&chunk), &chunk);
                }
                let other = other.finish().unwrap().unwrap().to_vec();
                assert_eq!(other.len(), info.stored as usize);
                bytes[at as usize..at as usize + other.len()].copy_from_slice(&other);
                forged += 1;
            }
        }
        liar.instead.lock().unwrap().insert(name, bytes);
    }
    assert!(forged > 0);
    let (notes, _) = bed.extract(&[&good.url, &format!("{}=50", liar.url)]).unwrap();
    assert!(liar.asked(".pack") > 0, "{notes:?}");
    let store = open(&[&good.url, &format!("{}=50", liar.url)]).unwrap();
    store.image("node").unwrap().verify(0, &Task::quiet()).unwrap();
    assert_eq!(bed.extract(&[&liar.url]).unwrap_err().kind(), ErrorKind::Integrity);
}

#[test]
fn a_mirror_keeps_what_it_has_when_its_origin_is_gone() {
    let bed = Bed::new();
    let place = bed.dir.path().join("mirror");
    let (server, url) = serve(&bed.place);
    let mut replica = libcv::store::replica::Replica::open(&open(&[&url]).unwrap(), &place).unwrap();
    replica.pull(&Task::quiet()).unwrap();
    let before = objects(&place);
    // The disk of the origin is gone while it serves; then another store stands there.
    let aside = bed.dir.path().join("aside");
    std::fs::rename(&bed.place, &aside).unwrap();
    std::fs::create_dir(&bed.place).unwrap();
    replica.pull(&Task::quiet()).unwrap_err();
    assert_eq!(objects(&place), before);
    std::fs::remove_dir(&bed.place).unwrap();
    Store::init(&bed.place).unwrap();
    assert_eq!(replica.pull(&Task::quiet()).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(objects(&place), before);
    drop(server);
    // A copy by other means may have something of its own: it is not made a mirror.
    let copy = bed.dir.path().join("copy");
    assert!(Command::new("cp").arg("-a").args([&aside, &copy]).status().unwrap().success());
    let e = Store::open(&aside).unwrap().mirror(&copy, &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Refused);
}
