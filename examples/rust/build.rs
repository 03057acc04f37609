//! An image from the ISO of a distribution and a role, and its next version with one more package. Needs root and dnf.
//!
//! ```sh
//! cargo run -p libcv-examples --example build /tmp/a-store Rocky-9.4-x86_64-dvd.iso our-node.yaml htop
//! ```

use libcv::build::{self, Base, Change, MakeOptions};
use libcv::distro::{self, AddOptions};
use libcv::job::Task;
use libcv::role::{Role, RoleOptions};
use libcv::store::Store;
use libcv::{Error, ErrorKind, Result};
use std::path::Path;

/// Tells the story in a new store.
///
/// # Errors
/// Whatever goes wrong.
pub fn story(store: &Path, iso: &Path, role: &str, package: &str) -> Result<()> {
    let (store, task) = (Store::init(store)?, Task::quiet());
    let added = distro::add(&store, iso, &AddOptions::default(), &task)?;
    println!("{}: {} {}", added.name, added.distribution.title, added.distribution.version);
    for key in &added.distribution.keys {
        // Whoever knows the fingerprint compares it; --key pins it.
        println!("signed with {} {}", key.info.fingerprint, key.info.user);
    }

    // The role says what is in the image; it names no distribution and no disk.
    let role = Role::find(role, &RoleOptions::default())?;
    let base = Base::Distro(added.name);
    let plan = MakeOptions { dry_run: true, ..MakeOptions::default() };
    println!("{} packages", build::build(&store, "node", &base, &role, &plan, &task)?.transaction.len());
    let options = MakeOptions { check_reproducible: true, tag: Some("prod".into()), ..MakeOptions::default() };
    let made = build::build(&store, "node", &base, &role, &options, &task)?;
    // What its packages made up: `generalise` of the role takes it out.
    made.differs.iter().flatten().for_each(|path| println!("differs each time: {path}"));

    // The next version needs no file of the first one: the role stands in its manifest.
    let change = Change { packages: vec![package.to_owned()], ..Change::default() };
    build::update(&store, "node", &change, &MakeOptions::default(), &task)?;
    let changes = store.image("node@1")?.diff_packages(&store.image("node")?, &task)?;
    changes.added.iter().for_each(|p| println!("added {p}"));
    store.rollback("node", "node:prod").map(drop)
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [store, iso, role, package] => story(Path::new(store), Path::new(iso), role, package),
        _ => Err(Error::new(ErrorKind::Invalid, "usage: build STORE ISO ROLE PACKAGE")),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:?}");
            std::process::ExitCode::from(u8::try_from(e.kind().code()).unwrap_or(1))
        }
    }
}
