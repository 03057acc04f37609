//! What is installed in two versions of an image, what changed between them, and a bill of materials.
//!
//! ```sh
//! cargo run -p libcv-examples --example packages /tmp/an-empty-directory
//! ```

use libcv::build::sbom::Format;
use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::store::Store;
use libcv::{Error, Result};
use std::path::Path;

/// What dpkg keeps of two packages in the place of a system with hundreds.
const VERSIONS: [&str; 2] = [
    "Package: bash\nStatus: install ok installed\nVersion: 5.2-1\nArchitecture: amd64\n\n\
     Package: nano\nStatus: install ok installed\nVersion: 7.2-1\nArchitecture: amd64\n",
    "Package: bash\nStatus: install ok installed\nVersion: 5.2-2\nArchitecture: amd64\n\n\
     Package: vim\nStatus: install ok installed\nVersion: 2:9.0-1\nArchitecture: amd64\n",
];

/// Tells the story in `top`, an empty directory.
///
/// # Errors
/// Whatever goes wrong.
pub fn story(top: &Path) -> Result<()> {
    let (tree, task) = (top.join("tree"), Task::quiet());
    let dpkg = tree.join("var/lib/dpkg");
    std::fs::create_dir_all(&dpkg).map_err(|e| Error::io("create", "tree", e))?;
    let store = Store::init(top.join("store"))?;
    let options = CaptureOptions { state: Some(top.join("state")), ..CaptureOptions::default() };
    for status in VERSIONS {
        std::fs::write(dpkg.join("status"), status).map_err(|e| Error::io("write", "status", e))?;
        store.capture(&tree, "node", &options, &task)?;
    }

    // Whatever made an image: its packages are read from the database that it has, of rpm or of dpkg.
    let (before, after) = (store.image("node@1")?, store.image("node@2")?);
    for package in after.packages(&task)? {
        println!("installed {} {}", package.name, package.evr());
    }
    let changes = before.diff_packages(&after, &task)?;
    changes.added.iter().for_each(|p| println!("added {}", p.name));
    changes.removed.iter().for_each(|p| println!("removed {}", p.name));
    changes.changed.iter().for_each(|(old, new)| println!("changed {} {} -> {}", old.name, old.evr(), new.evr()));

    // The same version gives the same document each time.
    let document = after.sbom(Format::CycloneDx, &task)?;
    std::fs::write(top.join("node.cdx.json"), document).map_err(|e| Error::io("write", "node.cdx.json", e))
}

fn main() -> std::process::ExitCode {
    let Some(top) = std::env::args_os().nth(1) else {
        eprintln!("usage: packages DIRECTORY");
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
