//! Invariant: whatever is sent to a server with a good token, it answers with no fault of its own, and publishes nothing that is not whole;
//! whatever is sent without one is refused. A policy is read or refused.
#![no_main]
use libcv::node::Policy;
use libcv::server::{Server, ServerOptions};
use libcv::store::{Store, TokenOptions};
use libfuzzer_sys::fuzz_target;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

struct Bed {
    store: Store,
    token: String,
    node: String,
    address: SocketAddr,
    connection: Mutex<Option<(TcpStream, Instant)>>,
    _server: Server,
    _dir: tempfile::TempDir,
}

fn bed() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::init(dir.path().join("store")).expect("a store");
        let options = TokenOptions { name: "sent".into(), ..TokenOptions::default() };
        let token = store.create_token(&options).expect("a token").1.to_string();
        let node = store.add_node("n1").expect("a node").to_string();
        let server = Server::start(&store, "127.0.0.1:0", &ServerOptions::default()).expect("a server");
        let (address, connection) = (server.address(), Mutex::default());
        Bed { store, token, node, address, connection, _server: server, _dir: dir }
    })
}

/// The status of the answer.
fn ask(bed: &Bed, request: &str, secret: &str, body: &[u8]) -> u16 {
    let mut kept = bed.connection.lock().expect("a connection");
    // One that has said nothing for long was closed.
    let open = kept.take().filter(|(_, last)| last.elapsed() < Duration::from_secs(5)).map(|(stream, _)| stream);
    let mut stream = open.unwrap_or_else(|| TcpStream::connect(bed.address).expect("the server"));
    let head = format!(
        "{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).expect("the server listens");
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    let (end, length, status) = loop {
        let n = stream.read(&mut buffer).expect("an answer");
        assert!(n > 0, "the server ended the connection: {request}");
        answer.extend_from_slice(&buffer[..n]);
        let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|t| t.lines().next()?.trim().parse::<usize>().ok());
        let status = head.split(' ').nth(1).and_then(|t| t.parse().ok()).expect("a status");
        break (end + 4, length.unwrap_or(0), status);
    };
    while answer.len() < end + length {
        let n = stream.read(&mut buffer).expect("the rest");
        assert!(n > 0, "an answer was cut off");
        answer.extend_from_slice(&buffer[..n]);
    }
    // Of a body that was not read the server ends the connection.
    *kept = (status < 400 || body.is_empty()).then_some((stream, Instant::now()));
    status
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, rest)) = bytes.split_first() else { return };
    let _ = Policy::parse(rest, Path::new("policy.yaml"));
    let bed = bed();
    // What a path or a query may hold without ending the line.
    let text: String = rest.iter().map(|b| format!("%{b:02x}")).take(64).collect();
    let plain: String = rest.iter().filter(|b| b.is_ascii_alphanumeric() || b"&=.-_%/".contains(b)).map(|b| *b as char).collect();
    let status = match which % 8 {
        0 => ask(bed, "POST /v1/packs", &bed.token, rest),
        1 => ask(bed, "POST /v1/has", &bed.token, rest),
        2 => ask(bed, "POST /v1/publish", &bed.token, rest),
        3 => ask(bed, &format!("POST /v1/publish?{}", &plain[..plain.len().min(200)]), &bed.token, b"x"),
        4 => ask(bed, &format!("PUT /v1/tags/{text}?generation=1"), &bed.token, b""),
        5 => ask(bed, "POST /v1/orders/0123456789abcdef", &bed.node, rest),
        6 => ask(bed, &format!("GET /v1/distros/{text}/x"), "", b""),
        _ => {
            let secret: String = plain.chars().filter(|c| *c != '/').collect();
            let status = ask(bed, "GET /v1/session", &secret, b"");
            assert!(status == 401 || secret == bed.token, "{secret}");
            status
        }
    };
    assert!(status < 500, "{status}");
    assert!(bed.store.images().expect("the store").is_empty());
});
