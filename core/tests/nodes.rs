//! Orders for nodes, by the requests of `docs/node-protocol.md`: a node that is made here, byte by byte.
#![allow(missing_docs)]

use libcv::ErrorKind;
use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::node::Action;
use libcv::server::{Server, ServerOptions};
use libcv::store::Store;
use libcv::store::http::HttpOptions;
use libcv::web::Url;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
    server: Server,
}

/// A node that says what it likes.
struct Node {
    server: SocketAddr,
    secret: String,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        let server = Server::start(&store, "127.0.0.1:0", &ServerOptions::default()).unwrap();
        Self { dir, store, server }
    }

    fn node(&self, name: &str) -> Node {
        Node { server: self.server.address(), secret: self.store.add_node(name).unwrap().to_string() }
    }

    /// Asks a node in the background, and gives what came of it.
    fn ask(&self, node: &str, max_size: Option<u64>) -> std::thread::JoinHandle<libcv::Result<Value>> {
        let (store, node) = (self.store.clone(), node.to_owned());
        let action = Action::Capture { name: "login".into(), tag: None, exclude: Vec::new(), max_size };
        std::thread::spawn(move || store.ask_node(&node, &action, Duration::from_secs(60), &Task::quiet()))
    }
}

impl Node {
    /// Status and body.
    fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.server).unwrap();
        let (secret, length) = (&self.secret, body.len());
        write!(
            stream,
            "{method} /v1/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    fn order(&self) -> Value {
        let (status, body) = self.request("GET", "orders?wait=50", "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    fn say(&self, order: &Value, report: &str) -> u16 {
        self.request("POST", &format!("orders/{}", order["id"].as_str().unwrap()), report).0
    }
}

#[test]
fn all_that_wait_hear_of_an_order_and_only_its_node_gets_it() {
    let bed = Bed::new();
    let nodes: Vec<Node> = (1..=9).map(|n| bed.node(&format!("n{n}"))).collect();
    std::thread::scope(|scope| {
        let others: Vec<_> =
            nodes[1..].iter().map(|n| scope.spawn(|| n.request("GET", "orders?wait=5", "").0)).collect();
        let mine = scope.spawn(|| nodes[0].order());
        std::thread::sleep(Duration::from_secs(2));
        let (asked, began) = (bed.ask("n1", Some(1 << 20)), Instant::now());
        let order = mine.join().unwrap();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(order["action"]["do"], "capture");
        // Its token has room for what whoever asked allowed.
        assert_eq!(bed.store.tokens().unwrap()[0].max_size, Some(1 << 20));
        assert_eq!(nodes[0].say(&order, r#"{"state":"done","result":{"generation":7}}"#), 204);
        assert_eq!(asked.join().unwrap().unwrap()["generation"], 7);
        assert!(others.into_iter().all(|o| o.join().unwrap() == 204));
    });
    // The next one is another id: it is heard of as well.
    let asked = bed.ask("n2", None);
    let order = nodes[1].order();
    assert_eq!(nodes[1].say(&order, r#"{"state":"refused","message":"no"}"#), 204);
    assert_eq!(asked.join().unwrap().unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn an_order_that_is_given_twice_has_room_once() {
    let bed = Bed::new();
    let (node, tree) = (bed.node("n1"), bed.dir.path().join("tree"));
    std::fs::create_dir(&tree).unwrap();
    let asked = bed.ask("n1", Some(1 << 20));
    let options = CaptureOptions { state: Some(bed.dir.path().join("state")), ..CaptureOptions::default() };
    let send = |order: &Value| {
        let url = Url::parse(&format!("http://{}", node.server)).unwrap();
        let mut noise = vec![0; 600 << 10];
        std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
        std::fs::write(tree.join("noise"), noise).unwrap();
        let far = Store::open_to(&HttpOptions::new(url), order["token"].as_str().unwrap())?;
        far.capture(&tree, "login", &options, &Task::quiet())
    };
    let first = node.order();
    assert_eq!(send(&first).unwrap().generation, 1);
    let second = node.order();
    assert_eq!(second["id"], first["id"]);
    assert_eq!(send(&first).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(send(&second).unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(node.say(&second, r#"{"state":"failed","code":17,"message":"no room"}"#), 204);
    assert_eq!(asked.join().unwrap().unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn who_looks_at_the_head_of_an_answer_takes_no_order() {
    let bed = Bed::new();
    let node = bed.node("n1");
    let asked = bed.ask("n1", None);
    let orders = bed.dir.path().join("store/orders/n1");
    while !orders.exists() || std::fs::read_dir(&orders).unwrap().count() == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    // To hand it out makes its token.
    assert_eq!(node.request("HEAD", "orders", "").0, 405);
    assert!(bed.store.tokens().unwrap().is_empty());
    let order = node.order();
    assert_eq!(node.say(&order, r#"{"state":"failed","code":17,"message":"the disk is full"}"#), 204);
    assert_eq!(asked.join().unwrap().unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn a_node_that_does_not_survive_an_order_is_not_given_it_for_ever() {
    let bed = Bed::new();
    let node = bed.node("n1");
    let asked = bed.ask("n1", None);
    let mut ids = Vec::new();
    for _ in 0..5 {
        let order = node.order();
        // What is said twice is begun once.
        for _ in 0..3 {
            assert_eq!(node.say(&order, r#"{"state":"running"}"#), 204);
        }
        ids.push(order["id"].as_str().unwrap().to_owned());
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(node.request("GET", "orders", "").0, 204);
    // Its token is gone with it.
    assert!(bed.store.tokens().unwrap().is_empty());
    let e = asked.join().unwrap().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Failed);
    assert!(e.message().contains("begun 5 times"), "{e}");
}

#[test]
fn what_is_damaged_holds_up_nothing() {
    let bed = Bed::new();
    let node = bed.node("n1");
    let orders = bed.dir.path().join("store/orders/n1");
    std::fs::create_dir_all(&orders).unwrap();
    for file in ["0000000000000001", "0000000000000001.report", "0000000000000002.report"] {
        std::fs::write(orders.join(file), "libcv order v1\n{}\nblake3 no\n").unwrap();
    }
    let asked = bed.ask("n1", None);
    let order = node.order();
    assert_eq!(node.say(&order, r#"{"state":"done"}"#), 204);
    asked.join().unwrap().unwrap();
}
