//! A store that is handed out, a mirror that follows, a node that reads from both, and goes on with the one that is left.
//!
//! ```sh
//! cargo run -p libcv-examples --example mirrors /tmp/an-empty-directory
//! ```

use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::server::{MirrorOptions, Server, ServerOptions};
use libcv::store::Store;
use libcv::store::http::HttpOptions;
use libcv::tree::extract::ExtractOptions;
use libcv::web::Url;
use libcv::{Error, Result};
use std::path::Path;
use std::time::Duration;

/// Any port of this machine.
const ANY: &str = "127.0.0.1:0";

/// Tells the story in `top`, an empty directory.
///
/// # Errors
/// Whatever goes wrong.
pub fn story(top: &Path) -> Result<()> {
    let (tree, task) = (top.join("tree"), Task::quiet());
    std::fs::create_dir(&tree).map_err(|e| Error::io("create", "tree", e))?;
    std::fs::write(tree.join("motd"), "welcome\n").map_err(|e| Error::io("write", "motd", e))?;
    let store = Store::init(top.join("store"))?;
    let options = CaptureOptions { state: Some(top.join("state")), ..CaptureOptions::default() };
    store.capture(&tree, "node", &options, &task)?;

    // The origin, and a mirror, which listens when it has all and has compared all of it.
    let origin = Server::start(&store, ANY, &ServerOptions::default())?;
    let url = Url::parse(&format!("http://{}", origin.address()))?;
    let follow = MirrorOptions::new(HttpOptions::new(url.clone()));
    let mirror = Server::mirror(top.join("mirror"), ANY, &follow, &ServerOptions::default(), Task::quiet())?;
    println!("origin at {}, mirror at {}", origin.address(), mirror.address());

    // A node asks both, and believes neither.
    let mirrors = vec![format!("http://{}=2", mirror.address()).parse()?];
    let image = Store::open_http(&HttpOptions { mirrors, ..HttpOptions::new(url) })?.image("node")?;
    image.extract(top.join("first"), &ExtractOptions::default(), &task)?;

    // The origin finishes what it does, and goes. One is enough.
    origin.stop(Duration::from_secs(10))?;
    image.extract(top.join("second"), &ExtractOptions::default(), &task)?;
    let motd = std::fs::read_to_string(top.join("second/motd")).map_err(|e| Error::io("read", "motd", e))?;
    println!("the node says: {}", motd.trim_end());
    let answers = mirror.metrics().lines().filter(|l| l.starts_with("libcv_http_answers_total")).count();
    println!("{answers} kinds of answers");
    mirror.stop(Duration::from_secs(10))
}

fn main() -> std::process::ExitCode {
    let Some(top) = std::env::args_os().nth(1) else {
        eprintln!("usage: mirrors DIRECTORY");
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
