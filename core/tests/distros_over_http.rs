//! Distributions behind a server: their files as package managers ask for them, and media that are sent to it.
#![allow(missing_docs)]

#[path = "common/mod.rs"]
mod common;

use common::miniature::miniature;
use libcv::distro::{self, AddOptions, Added, Distro};
use libcv::image::Kind;
use libcv::job::Task;
use libcv::server::{Server, ServerOptions};
use libcv::store::http::HttpOptions;
use libcv::store::{Reason, Store, TokenOptions};
use libcv::web::Url;
use libcv::{ErrorKind, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
    server: Server,
    mini: PathBuf,
}

struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Bed {
    fn new(test: &str) -> Option<Self> {
        let mini = miniature(test)?;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        let server = Server::start(&store, "127.0.0.1:0", &ServerOptions::default()).unwrap();
        Some(Self { dir, store, server, mini })
    }

    fn iso(&self, version: &str) -> PathBuf {
        self.mini.join(format!("mini-{version}.iso"))
    }

    fn token(&self, name: &str, max_size: Option<u64>) -> String {
        let options = TokenOptions { name: name.into(), max_size, ..TokenOptions::default() };
        self.store.create_token(&options).unwrap().1.to_string()
    }

    fn send(&self, place: &Path, name: Option<&str>, token: &str) -> Result<Added> {
        let url = format!("http://{}", self.server.address());
        add(&Store::open_to(&HttpOptions::new(Url::parse(&url).unwrap()), token)?, place, name)
    }

    /// What the server says to exactly this: no client puts the path in order before.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lines = head.lines().skip(1).filter_map(|l| l.split_once(": "));
        let headers = lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: all[end + 4..].to_vec() }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", &format!("/v1/distros/{path}"), &[])
    }
}

fn add(store: &Store, place: &Path, name: Option<&str>) -> Result<Added> {
    let options = AddOptions { name: name.map(str::to_owned), threads: 2, ..AddOptions::default() };
    distro::add(store, place, &options, &Task::quiet())
}

/// All files beneath a directory, by their paths.
fn files(dir: &Path) -> Vec<String> {
    let (mut out, mut todo) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(at) = todo.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                out.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    out.sort();
    out
}

#[test]
fn each_file_of_the_medium_is_there_under_its_path() {
    let Some(bed) = Bed::new("each_file_of_the_medium_is_there_under_its_path") else { return };
    add(&bed.store, &bed.iso("9.4"), None).unwrap();
    let tree = bed.mini.join("tree-9.4");
    let all = files(&tree);
    for wanted in [".treeinfo", ".discinfo", "images/pxeboot/vmlinuz", "images/install.img", "EFI/BOOT/grub.cfg"] {
        assert!(all.iter().any(|f| f == wanted), "{wanted}");
    }
    for file in &all {
        let (answer, bytes) = (bed.get(&format!("rocky-9.4/{file}")), std::fs::read(tree.join(file)).unwrap());
        assert_eq!(answer.status, 200, "{file}");
        assert!(answer.body == bytes, "{file} has other bytes");
        assert_eq!(answer.headers["content-length"], bytes.len().to_string());
        assert_eq!(answer.headers["cache-control"], "no-cache");
        let head = bed.ask("HEAD", &format!("/v1/distros/rocky-9.4/{file}"), &[]);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.headers["content-length"], answer.headers["content-length"]);
        assert_eq!(head.headers["etag"], answer.headers["etag"]);
    }

    let listed = bed.ask("GET", "/v1/distros", &[]);
    let said: Value = serde_json::from_slice(&listed.body).unwrap();
    let first = &said["distros"][0];
    assert_eq!((&first["name"], &first["title"]), (&"rocky-9.4".into(), &"Rocky Linux".into()));
    assert_eq!(first["repositories"].as_array().unwrap().len(), 2);
    assert_eq!(first["keys"][0]["file"], "RPM-GPG-KEY-Mini");
    // Nothing of this machine.
    let text = String::from_utf8(listed.body).unwrap();
    assert!(!text.contains(bed.mini.to_str().unwrap()) && !text.contains(bed.dir.path().to_str().unwrap()), "{text}");
    let same = bed.ask("GET", "/v1/distros", &[("If-None-Match", &listed.headers["etag"])]);
    assert_eq!((same.status, same.body.len()), (304, 0));
}

#[test]
fn a_range_begins_and_ends_anywhere() {
    let Some(bed) = Bed::new("a_range_begins_and_ends_anywhere") else { return };
    add(&bed.store, &bed.iso("9.4"), None).unwrap();
    let path = files(&bed.mini.join("tree-9.4")).into_iter().find(|f| f.contains("/bigfile-")).unwrap();
    let bytes = std::fs::read(bed.mini.join("tree-9.4").join(&path)).unwrap();
    let url = format!("/v1/distros/rocky-9.4/{path}");
    // Where its chunks meet.
    let row = Distro::open(&bed.store, "rocky-9.4").unwrap().image().row(path.as_bytes()).unwrap();
    let Kind::File { content, .. } = row.kind else { panic!("{path} is a file") };
    let (mut borders, mut at) = (Vec::new(), 0);
    libcv::store::image::each_item(&bed.store, &content, |item| {
        if let libcv::image::Item::Chunk { length, .. } = item {
            at += *length as usize;
            borders.push(at);
        }
        Ok(())
    })
    .unwrap();
    assert!(borders.len() > 3 && at == bytes.len(), "{borders:?}");
    let mut ranges = vec![(0, 0), (0, bytes.len() - 1), (bytes.len() - 1, bytes.len() - 1), (1, 3 << 20)];
    ranges.extend(borders[..3].iter().flat_map(|&b| [(b - 1, b), (b, b), (b - 1, b - 1), (b, borders[3] + 1)]));
    for (first, last) in ranges {
        let answer = bed.ask("GET", &url, &[("Range", &format!("bytes={first}-{last}"))]);
        assert_eq!(answer.status, 206);
        assert_eq!(answer.headers["content-range"], format!("bytes {first}-{last}/{}", bytes.len()));
        assert!(answer.body == bytes[first..=last], "{first}-{last}");
    }
    let whole = bed.ask("HEAD", &url, &[]);
    let (etag, size) = (whole.headers["etag"].as_str(), bytes.len());
    let tail = bed.ask("GET", &url, &[("Range", "bytes=-7"), ("If-Range", etag)]);
    assert!(tail.status == 206 && tail.body == bytes[size - 7..]);
    assert_eq!(bed.ask("GET", &url, &[("Range", "bytes=-7"), ("If-Range", "\"x\"")]).status, 200);
    assert_eq!(bed.ask("GET", &url, &[("If-None-Match", etag)]).status, 304);
    let beyond = bed.ask("GET", &url, &[("Range", &format!("bytes={size}-"))]);
    assert_eq!((beyond.status, &beyond.headers["content-range"]), (416, &format!("bytes */{size}")));
    assert_eq!(bed.ask("POST", &url, &[]).status, 405);
}

#[test]
fn what_is_no_file_of_a_distribution_is_not_there() {
    let Some(bed) = Bed::new("what_is_no_file_of_a_distribution_is_not_there") else { return };
    add(&bed.store, &bed.iso("9.4"), None).unwrap();
    assert_eq!(bed.get("rocky-9.4/.treeinfo").status, 200);
    assert_eq!(bed.get("rocky-9.4/%2etreeinfo").status, 200);
    for path in [
        "rocky-9.4",
        "rocky-9.4/",
        "rocky-9.4/BaseOS",
        "rocky-9.4/BaseOS/",
        "rocky-9.4//.treeinfo",
        "rocky-9.4/./.treeinfo",
        "rocky-9.4/.treeinfo/",
        "rocky-9.4/.treeinfo/x",
        "rocky-9.4/BaseOS/../.treeinfo",
        "rocky-9.4/BaseOS/%2e%2e/.treeinfo",
        "rocky-9.4/../rocky-9.4/.treeinfo",
        "rocky-9.4/../../../store.json",
        "rocky-9.4/..%2f..%2fstore.json",
        "rocky-9.4/%2e%2e%2f%2e%2e%2fstore.json",
        "rocky-9.4/EFI%2fBOOT%2fgrub.cfg",
        "rocky-9.4/%252etreeinfo",
        "rocky-9.4/.treeinfo%00",
        "rocky-9.4/.treeinfo%",
        "rocky-9.4/.TREEINFO",
        "rocky-9.5/.treeinfo",
        "distro.rocky-9.4/.treeinfo",
        "../refs/distro.rocky-9.4/HEAD",
        "",
    ] {
        assert_eq!(bed.get(path).status, 404, "{path}");
    }
    // An image is no distribution, and one that is removed is none any more.
    let tree = bed.dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("f"), "f").unwrap();
    bed.store.capture(&tree, "node", &libcv::capture::CaptureOptions::default(), &Task::quiet()).unwrap();
    assert_eq!(bed.get("node/f").status, 404);
    Distro::remove(&bed.store, "rocky-9.4").unwrap();
    assert_eq!(bed.get("rocky-9.4/.treeinfo").status, 404);
    // The name with another release is read anew.
    add(&bed.store, &bed.iso("9.5"), Some("rocky-9.4")).unwrap();
    let info = bed.get("rocky-9.4/.treeinfo").body;
    assert_eq!(info, std::fs::read(bed.mini.join("tree-9.5/.treeinfo")).unwrap());
}

#[test]
fn what_is_sent_is_what_is_added_where_the_store_lies() {
    let Some(bed) = Bed::new("what_is_sent_is_what_is_added_where_the_store_lies") else { return };
    let sent = bed.send(&bed.iso("9.4"), None, &bed.token("distro.rocky-9.4", None)).unwrap();
    let beside = Store::init(bed.dir.path().join("beside")).unwrap();
    let here = add(&beside, &bed.iso("9.4"), None).unwrap();
    assert_eq!((sent.name.as_str(), sent.changed), ("rocky-9.4", true));
    assert_eq!((sent.image, sent.tree, sent.files), (here.image, here.tree, here.files));
    let found = Distro::open(&bed.store, "rocky-9.4").unwrap();
    assert_eq!(found.image().release().unwrap().reason, Reason::Import);
    assert!(found.verify(2, &Task::quiet()).unwrap().faults.is_empty());
    assert!(bed.store.check(true, &Task::quiet()).unwrap().faults.is_empty());

    // The same once more changes nothing, sends next to nothing, and the token stays good for something else.
    let token = bed.token("distro.rocky-9.4", None);
    let again = bed.send(&bed.iso("9.4"), None, &token).unwrap();
    assert_eq!((again.changed, again.image, again.stored_bytes), (false, here.image, 0));
    let e = bed.send(&bed.iso("9.5"), Some("rocky-9.4"), &token).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    // Of another release what did not change is there.
    let second = bed.send(&bed.iso("9.5"), None, &bed.token("distro.rocky-9.5", None)).unwrap();
    assert!(second.stored_bytes * 20 < sent.stored_bytes, "{} of {}", second.stored_bytes, sent.stored_bytes);
}

#[test]
fn what_was_sent_before_an_end_is_not_sent_again() {
    let Some(mut bed) = Bed::new("what_was_sent_before_an_end_is_not_sent_again") else { return };
    let beside = Store::init(bed.dir.path().join("beside")).unwrap();
    let whole = add(&beside, &bed.iso("9.4"), None).unwrap().stored_bytes;
    // Ends when there is no room for the second pack.
    let small = bed.token("distro.rocky-9.4", Some(9 << 20));
    assert_eq!(bed.send(&bed.iso("9.4"), None, &small).unwrap_err().kind(), ErrorKind::Limit);
    assert!(Distro::list(&bed.store).unwrap().is_empty());
    bed.server = Server::start(&bed.store, "127.0.0.1:0", &ServerOptions::default()).unwrap();
    let done = bed.send(&bed.iso("9.4"), None, &bed.token("distro.rocky-9.4", None)).unwrap();
    assert!(done.changed && done.stored_bytes * 2 < whole, "{} of {whole}", done.stored_bytes);
    assert!(Distro::open(&bed.store, "rocky-9.4").unwrap().verify(2, &Task::quiet()).unwrap().faults.is_empty());
}

#[test]
fn a_token_is_for_one_distribution() {
    let Some(bed) = Bed::new("a_token_is_for_one_distribution") else { return };
    let token = bed.token("distro.rocky-9.4", None);
    // Said before anything is looked at: there is no such medium.
    let nothing = bed.dir.path().join("nothing.iso");
    let kind = |place: &Path, name, token: &str| bed.send(place, name, token).unwrap_err().kind();
    assert_eq!(kind(&nothing, Some("other"), &token), ErrorKind::Denied);
    assert_eq!(kind(&nothing, None, &bed.token("rocky-9.4", None)), ErrorKind::Denied);
    assert_eq!(kind(&nothing, None, &token), ErrorKind::NotFound);
    // Its name is known when it was looked at.
    assert_eq!(kind(&bed.iso("9.5"), None, &token), ErrorKind::Denied);
    assert!(Distro::list(&bed.store).unwrap().is_empty());
    let url = format!("http://{}", bed.server.address());
    let far = Store::open_to(&HttpOptions::new(Url::parse(&url).unwrap()), &token).unwrap();
    let (task, options) = (Task::quiet(), libcv::capture::CaptureOptions::default());
    let e = far.capture(&bed.mini, "distro.rocky-9.4", &options, &task).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);

    // What is no distribution is not published under such a name, whoever sends it.
    let beside = Store::init(bed.dir.path().join("beside")).unwrap();
    let tree = bed.dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let image = beside.capture(&tree, "x", &options, &task).unwrap().image;
    let manifest = std::fs::read(bed.dir.path().join(format!("beside/images/{image}.cvm"))).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let request = ureq::http::Request::builder().method("POST").uri(format!("{url}/v1/publish"));
    let request = request.header("authorization", format!("Bearer {token}")).body(manifest).unwrap();
    let mut answer = agent.run(request).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    assert_eq!(answer.status().as_u16(), 400, "{text}");
    assert!(text.contains("no distribution"), "{text}");
    assert!(Distro::list(&bed.store).unwrap().is_empty());
}
