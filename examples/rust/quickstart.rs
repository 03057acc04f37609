//! A store, a captured tree, a change, a second generation, what is different, and the way back.
//!
//! ```sh
//! cargo run -p libcv-examples --example quickstart /tmp/an-empty-directory
//! ```

use libcv::capture::CaptureOptions;
use libcv::job::{Job, Task};
use libcv::store::Store;
use libcv::tree::extract::ExtractOptions;
use libcv::{Error, Result};
use std::path::Path;
use std::time::Duration;

/// Tells the story in `top`, an empty directory.
///
/// # Errors
/// Whatever goes wrong.
pub fn story(top: &Path) -> Result<()> {
    let tree = top.join("tree");
    let write = |text: &str| std::fs::write(tree.join("motd"), text).map_err(|e| Error::io("write", "motd", e));
    std::fs::create_dir(&tree).map_err(|e| Error::io("create", "tree", e))?;
    let store = Store::init(top.join("store"))?;

    write("welcome\n")?;
    let options = CaptureOptions { state: Some(top.join("state")), ..CaptureOptions::default() };
    let first = store.capture(&tree, "node", &options, &Task::quiet())?;
    println!("captured {}@{}, {} entries", first.name, first.generation, first.entries);

    write("welcome, all of you\n")?;
    let (again, tree) = (store.clone(), tree.clone());
    let job = Job::spawn("capture", move |task| again.capture(&tree, "node", &options, task))?; // in the background
    while let Some(event) = job.next_event(Duration::from_secs(60)) {
        println!("  {}", event.to_json());
    }
    let second = job.wait()?;
    println!("captured {}@{}, {} entries read", second.name, second.generation, second.read);

    for change in store.diff(&store.image("node@1")?, &store.image("node@2")?, &Task::quiet())? {
        println!("changed {}", change.to_json());
    }

    let release = store.rollback("node", "node@1")?;
    println!("rolled back, which is generation {}", release.generation);

    let image = store.image("node")?;
    let options = ExtractOptions { verify: true, ..ExtractOptions::default() };
    let done = image.extract(top.join("out"), &options, &Task::quiet())?;
    println!("extracted {} entries", done.entries);
    for row in image.list(b"", true)? {
        println!("  {}", libcv::image::dump::row(&row));
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    let Some(top) = std::env::args_os().nth(1) else {
        eprintln!("usage: quickstart DIRECTORY");
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
