//! A node is asked, where the store lies, for its image, and then to become that image again.
//!
//! ```sh
//! cargo run -p libcv-examples --example nodes /tmp/an-empty-directory
//! ```

use libcv::job::{CancelToken, Task};
use libcv::node::{Action, ConnectOptions, connect};
use libcv::server::{Server, ServerOptions};
use libcv::store::Store;
use libcv::store::http::HttpOptions;
use libcv::web::Url;
use libcv::{Error, ErrorKind, Result};
use std::path::Path;
use std::time::Duration;

/// Tells the story in `top`, an empty directory.
///
/// # Errors
/// Whatever goes wrong.
pub fn story(top: &Path) -> Result<()> {
    let root = top.join("root"); // of a real node it is /
    let write = |path: &Path, text: &str| std::fs::write(path, text).map_err(|e| Error::io("write", path.display(), e));
    std::fs::create_dir(&root).map_err(|e| Error::io("create", root.display(), e))?;
    write(&root.join("motd"), "of the node\n")?;

    // Where the store lies: a server, and a node that it knows.
    let store = Store::init(top.join("store"))?;
    let server = Server::start(&store, "127.0.0.1:0", &ServerOptions::default())?;
    let url = Url::parse(&format!("http://{}", server.address()))?;
    let secret = store.add_node("n1")?;

    // On the node: its policy says what it may be asked for, and it asks the server for orders until it is told to end.
    let (place, policy) = (root.display(), top.join("policy.yaml"));
    let names = "schema: cv.policy/v1\ncapture: {names: [login], root: ROOT}\nupdate: {images: [login], root: ROOT}\n";
    write(&policy, &names.replace("ROOT", &place.to_string()))?;
    let options = ConnectOptions {
        state: Some(top.join("state")),
        ..ConnectOptions::new(HttpOptions::new(url), &secret, policy)
    };
    let end = CancelToken::default();
    let task = Task::new(end.clone(), None);
    let node = std::thread::spawn(move || connect(&options, &task));

    // Where the store lies again.
    let ask = |action: &Action| store.ask_node("n1", action, Duration::from_secs(60), &Task::quiet());
    let capture = |name: &str| Action::Capture { name: name.into(), tag: None, exclude: vec![], max_size: None };
    println!("captured: generation {}", ask(&capture("login"))?["generation"]);
    write(&root.join("motd"), "somebody was here\n")?;
    let updated = ask(&Action::Update { image: "login@1".into(), dry_run: false, protect: vec![] })?;
    println!("updated: {} replaced", updated["replaced"]);
    match ask(&capture("other")) {
        Err(e) if e.kind() == ErrorKind::Refused => println!("{}", e.message()),
        _ => return Err(Error::new(ErrorKind::Bug, "the policy should not allow that")),
    }
    end.cancel();
    drop(node.join());
    server.stop(Duration::from_secs(10))
}

fn main() -> std::process::ExitCode {
    let Some(top) = std::env::args_os().nth(1) else {
        eprintln!("usage: nodes DIRECTORY");
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
