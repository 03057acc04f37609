//! A web server over a directory, with one fault: what mirrors do that are broken, old, slow, or lie.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// One bit of each kibibyte is another one.
    Corrupt,
    /// Half of each body, then the end.
    Cut,
    /// The whole object, whatever was asked for.
    NoRange,
    /// To itself, for ever.
    Loop,
    /// To somewhere else.
    Foreign,
    /// As if it were packed.
    Bomb,
    /// A body without an end.
    Endless,
    /// Headers without an end.
    Headers,
    /// A byte in a second.
    Stall,
    /// No answer at all.
    Silent,
    /// Something that is no HTTP.
    Garbage,
    /// 503, always.
    Busy,
    /// 403, always.
    Denied,
}

pub(crate) struct Web {
    pub(crate) url: String,
    /// What was asked for.
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    /// Objects that are not those of the directory.
    pub(crate) instead: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

struct Served {
    root: PathBuf,
    fault: Fault,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    instead: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Web {
    pub(crate) fn new(root: &Path, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, stop, instead) = (Arc::default(), Arc::default(), Arc::default());
        let served = Arc::new(Served {
            root: root.to_owned(),
            fault,
            requests: Arc::clone(&requests),
            stop: Arc::clone(&stop),
            instead: Arc::clone(&instead),
        });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let served = served.clone();
                if served.stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    std::thread::spawn(move || drop(served.serve(stream)));
                }
            }
        });
        Self { url: format!("http://{address}"), requests, stop, address, instead }
    }

    /// How often something that ends so was asked for.
    pub(crate) fn asked(&self, end: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|path| path.ends_with(end)).count()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl Served {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let (mut out, mut from) = (stream.try_clone()?, BufReader::new(stream));
        loop {
            let mut first = String::new();
            if from.read_line(&mut first)? == 0 || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let mut range = None;
            loop {
                let mut line = String::new();
                from.read_line(&mut line)?;
                let line = line.trim().to_ascii_lowercase();
                if line.is_empty() {
                    break;
                }
                range = line.strip_prefix("range: bytes=").map(str::to_owned).or(range);
            }
            let mut words = first.split(' ');
            let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
            self.requests.lock().unwrap().push(path.to_owned());
            if !self.answer(&mut out, method == "HEAD", path.trim_start_matches('/'), range.as_deref())? {
                return Ok(());
            }
        }
    }

    /// Whether the connection goes on.
    fn answer(&self, out: &mut TcpStream, head: bool, path: &str, range: Option<&str>) -> std::io::Result<bool> {
        let plain = |out: &mut TcpStream, text: &str| {
            write!(out, "HTTP/1.1 {text}\r\nContent-Length: 0\r\n\r\n").map(|()| true)
        };
        match self.fault {
            Fault::Loop => return plain(out, &format!("302 Found\r\nLocation: /{path}")),
            Fault::Foreign => return plain(out, "301 Moved Permanently\r\nLocation: http://192.0.2.1/x"),
            Fault::Busy => return plain(out, "503 Service Unavailable"),
            Fault::Denied => return plain(out, "403 Forbidden"),
            Fault::Silent => return self.wait().map(|()| false),
            Fault::Garbage => return out.write_all(b"\x00\xff\x00 no http at all\r\n\r\n").map(|()| false),
            Fault::Headers => {
                out.write_all(b"HTTP/1.1 200 OK\r\n")?;
                for n in 0.. {
                    write!(out, "X-{n}: {}\r\n", "y".repeat(1000))?;
                }
            }
            _ => {}
        }
        let instead = self.instead.lock().unwrap().get(path).cloned();
        let Some(mut bytes) = instead.or_else(|| std::fs::read(self.root.join(path)).ok()) else {
            return plain(out, "404 Not Found");
        };
        let total = bytes.len();
        let (mut status, mut headers) = ("200 OK", String::new());
        if let Some((from, to)) = range.filter(|_| self.fault != Fault::NoRange).and_then(|r| r.split_once('-')) {
            let from: usize = from.parse().unwrap();
            let to = to.parse::<usize>().unwrap_or(usize::MAX).min(total.saturating_sub(1));
            if from >= total {
                return plain(out, "416 Range Not Satisfiable");
            }
            bytes = bytes[from..=to].to_vec();
            (status, headers) = ("206 Partial Content", format!("Content-Range: bytes {from}-{to}/{total}\r\n"));
        }
        match self.fault {
            Fault::Corrupt => bytes.iter_mut().step_by(1024).for_each(|b| *b ^= 0x10),
            Fault::Bomb => headers += "Content-Encoding: gzip\r\n",
            _ => {}
        }
        if self.fault == Fault::Endless {
            write!(out, "HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n{headers}\r\n")?;
            if head {
                return Ok(true);
            }
            // Until the client has gone.
            loop {
                out.write_all(b"10000\r\n")?;
                out.write_all(&[b'x'; 0x10000])?;
                out.write_all(b"\r\n")?;
            }
        }
        write!(out, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", bytes.len())?;
        if head {
            return Ok(true);
        }
        match self.fault {
            Fault::Cut if bytes.len() > 1 => out.write_all(&bytes[..bytes.len() / 2]).map(|()| false),
            Fault::Stall => {
                for b in bytes {
                    out.write_all(&[b])?;
                    std::thread::sleep(Duration::from_secs(1));
                    if self.stop.load(Ordering::Relaxed) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => out.write_all(&bytes).map(|()| true),
        }
    }

    fn wait(&self) -> std::io::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
