//! An image is sent to two nodes at once, which write it while it comes. Nobody without the key can add anything.
//!
//! ```sh
//! cargo run -p libcv-examples --example multicast /tmp/an-empty-directory
//! ```

use libcv::capture::CaptureOptions;
use libcv::job::{Job, Task};
use libcv::multicast::Mode;
use libcv::multicast::drive::{ReceiveOptions, SendOptions, read_secret, receive, send};
use libcv::store::Store;
use libcv::{Error, Result};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Of a cluster it is the one that its nodes are on, such as `eth0`.
const INTERFACE: &str = "lo";

/// Tells the story in `top`, an empty directory.
///
/// # Errors
/// Whatever goes wrong.
pub fn story(top: &Path) -> Result<()> {
    let (tree, task) = (top.join("tree"), Task::quiet());
    fs::create_dir(&tree).map_err(|e| Error::io("create", "tree", e))?;
    fs::write(tree.join("motd"), "welcome\n").map_err(|e| Error::io("write", "motd", e))?;
    let store = Store::init(top.join("store"))?;
    let options = CaptureOptions { state: Some(top.join("state")), ..CaptureOptions::default() };
    store.capture(&tree, "node", &options, &task)?;

    // What the sender and its nodes share: as `openssl rand -hex 32 > key`.
    let (file, mut key) = (top.join("key"), [0; 32]);
    let random = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut key));
    random.and_then(|()| fs::write(&file, key)).map_err(|e| Error::io("write", "key", e))?;
    let secret = Some(read_secret(&file)?);

    // Each node waits for the image of this name.
    let node = |name: &str| {
        let (target, name) = (top.join(name), Some("node".to_owned()));
        let options = ReceiveOptions { secret, name, ..ReceiveOptions::new(INTERFACE) };
        Job::spawn("receive", move |task| receive(&target, options, task))
    };
    let nodes = [node("first")?, node("second")?];

    // It begins when both are there.
    let options = SendOptions { receivers: 2, mode: Mode::Tag, secret, ..SendOptions::new(INTERFACE) };
    let report = send(&store.image("node")?, &options, &task)?;
    println!("{} of {} nodes have {} bytes", report.done(), report.receivers.len(), report.bytes);
    for node in nodes {
        let delivered = node.wait()?;
        println!("{}@{}: {} entries", delivered.name, delivered.generation, delivered.extracted.entries);
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    let Some(top) = std::env::args_os().nth(1) else {
        eprintln!("usage: multicast DIRECTORY");
        return std::process::ExitCode::from(2);
    };
    match story(Path::new(&top)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:?}");
            std::process::ExitCode::from(u8::try_from(e.kind().code()).unwrap_or(1))
        }
    }
}
