//! Signed versions, a copy of the store, damage and its repair, a node that goes from one version to the next, a collection.
//!
//! ```sh
//! cargo run -p libcv-examples --example versions /tmp/an-empty-directory
//! ```

use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::sign::{Keyring, Signer, generate};
use libcv::store::collect::CollectOptions;
use libcv::store::{Store, SyncOptions, Trust};
use libcv::tree::extract::ExtractOptions;
use libcv::tree::update::UpdateOptions;
use libcv::{Error, Result};
use std::path::Path;
use std::time::Duration;

/// Tells the story in `top`, an empty directory.
///
/// # Errors
/// Whatever goes wrong.
pub fn story(top: &Path) -> Result<()> {
    let (tree, task) = (top.join("tree"), Task::quiet());
    let write = |text: &str| std::fs::write(tree.join("motd"), text).map_err(|e| Error::io("write", "motd", e));
    std::fs::create_dir(&tree).map_err(|e| Error::io("create", "tree", e))?;
    let key = top.join("site.key");
    println!("key {}", generate(&key)?.id());

    // Who captures signs.
    let store = Store::init(top.join("store"))?.signing(Signer::read(&key)?);
    let options = CaptureOptions { state: Some(top.join("state")), ..CaptureOptions::default() };
    for text in ["one\n", "two\n", "three\n"] {
        write(text)?;
        let done = store.capture(&tree, "node", &options, &task)?;
        println!("captured {}@{}, {} bytes more", done.name, done.generation, done.stored_bytes);
    }

    // A second copy; a run that is cut off goes on where it was.
    let copy = Store::init(top.join("copy"))?;
    println!("copied {:?}", store.sync(&copy, &SyncOptions::default(), &task)?.generations);

    // Who deploys believes signed releases only, and none that is older than what it saw before.
    let trust = Trust::new(Keyring::read(&[top.join("site.key.pub")])?).remembering(top.join("state"));
    let trusting = copy.trusting(trust);
    let node = top.join("node");
    trusting.image("node@1")?.extract(&node, &ExtractOptions::default(), &task)?;
    let newest = trusting.image("node")?;
    let done = newest.update(&node, &UpdateOptions::default(), &task)?;
    println!("updated: {} replaced, {:?}", done.replaced, done.verdict);

    // A sector is lost, and comes back from the copy.
    let packs = std::fs::read_dir(top.join("store/packs")).map_err(|e| Error::io("read", "packs", e))?;
    let shelf = packs.flatten().next().ok_or_else(|| Error::not_found("no packs"))?.path();
    std::fs::remove_dir_all(&shelf).map_err(|e| Error::io("remove", "packs", e))?;
    println!("faults: {}", store.check(true, &task)?.faults.len());
    let healed = Store::open_to_repair(top.join("store"))?.repair(&copy, &task)?;
    println!("{} found, {} left", healed.found, healed.faults.len());

    // Only the newest version is kept. What that frees is found now, and deleted by a run a week later, or at once.
    let options = CollectOptions { keep_last: Some(1), grace: Duration::ZERO, ..CollectOptions::default() };
    println!("removed {:?}", store.collect(&options, &task)?.removed);
    println!("deleted {} objects", store.collect(&options, &task)?.deleted);
    Ok(())
}

fn main() -> std::process::ExitCode {
    let Some(top) = std::env::args_os().nth(1) else {
        eprintln!("usage: versions DIRECTORY");
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
