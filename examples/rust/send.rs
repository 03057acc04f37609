//! A node sends its tree to a server, twice: all of it, and then what has changed.
//!
//! ```sh
//! cargo run -p libcv-examples --example send /tmp/an-empty-directory
//! ```

use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::server::{Server, ServerOptions};
use libcv::store::http::HttpOptions;
use libcv::store::{Store, TokenOptions};
use libcv::web::Url;
use libcv::{Error, Result};
use std::path::Path;
use std::time::Duration;

/// Tells the story in `top`, an empty directory.
///
/// # Errors
/// Whatever goes wrong.
pub fn story(top: &Path) -> Result<()> {
    let tree = top.join("tree");
    let write = |name: &str, text: &str| std::fs::write(tree.join(name), text).map_err(|e| Error::io("write", name, e));
    std::fs::create_dir(&tree).map_err(|e| Error::io("create", "tree", e))?;
    write("motd", "welcome\n")?;
    write("issue", "node\n")?;

    // Where the store lies: a server, and a token for each generation that somebody may send.
    let store = Store::init(top.join("store"))?;
    let server = Server::start(&store, "127.0.0.1:0", &ServerOptions::default())?;
    let url = Url::parse(&format!("http://{}", server.address()))?;
    let token = || {
        let hour = Some(Duration::from_secs(3600));
        let options = TokenOptions { name: "login".into(), max_size: Some(20 << 30), expires: hour };
        Ok::<_, Error>(store.create_token(&options)?.1)
    };

    // On the node: the same capture as into a store of its own.
    let options = CaptureOptions { state: Some(top.join("state")), ..CaptureOptions::default() };
    let send = |secret: &str| {
        let far = Store::open_to(&HttpOptions::new(url.clone()), secret)?;
        far.capture(&tree, "login", &options, &Task::quiet())
    };
    let first = send(&token()?)?;
    println!("generation {}: {} bytes sent", first.generation, first.stored_bytes);
    write("motd", "welcome back\n")?;
    let second = send(&token()?)?;
    println!("generation {}: {} entries read, {} bytes sent", second.generation, second.read, second.stored_bytes);
    let motd = store.image("login")?.row(b"motd")?.size();
    println!("motd has {motd} bytes there, {} tokens were used", store.tokens()?.iter().filter(|t| t.used).count());
    server.stop(Duration::from_secs(10))
}

fn main() -> std::process::ExitCode {
    let Some(top) = std::env::args_os().nth(1) else {
        eprintln!("usage: send DIRECTORY");
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
