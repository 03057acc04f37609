//! What rpm says of a root is what libcv says of its image.

use super::{Bed, bed, install, packages};
use libcv::capture::CaptureOptions;
use libcv::job::Task;
use libcv::store::{Image, Store};
use rusqlite::Connection;
use std::path::Path;
use std::process::Command;

/// What rpm itself lists, but for the keys.
fn listed_by_rpm(root: &Path) -> Vec<String> {
    let form = "%{NAME}-%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}.%{ARCH}\n";
    let rpm = |command: &mut Command| command.args(["--dbpath", "/var/lib/rpm", "-qa", "--qf", form]).output().unwrap();
    let out = rpm(Command::new("rpm").arg("--root").arg(root));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().filter(|l| !l.starts_with("gpg-pubkey")).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn captured(store: &Store, bed: &Bed, dir: &Path) -> Image {
    let options = CaptureOptions { state: Some(dir.join("state")), ..Default::default() };
    store.capture(&bed.install.target, "node", &options, &Task::quiet()).unwrap();
    store.image("node").unwrap()
}

fn list(image: &Image) -> Vec<String> {
    let mut list: Vec<String> = image.packages(&Task::quiet()).unwrap().iter().map(ToString::to_string).collect();
    list.sort();
    list
}

#[test]
fn packages_of_an_image_are_those_that_rpm_lists() {
    let Some(packages) = packages() else { return };
    let bed = bed(packages);
    install(&bed, &["beacon"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path().join("store")).unwrap();
    let target = &bed.install.target;
    let first = captured(&store, &bed, dir.path());
    assert_eq!(list(&first), listed_by_rpm(target));
    assert_eq!(list(&first).len(), 2);

    // A running system: somebody reads the database, so that what rpm adds stays in its log.
    let database = target.join("var/lib/rpm/rpmdb.sqlite");
    let reader = Connection::open(&database).unwrap();
    let count = |c: &Connection| c.query_row("SELECT count(*) FROM Packages", [], |r| r.get::<_, i64>(0)).unwrap();
    // First into the mode in which rpm keeps it.
    reader.pragma_update(None, "journal_mode", "WAL").unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let before = count(&reader);
    let more = "beacon-with-a-name-that-no-column-of-a-table-can-hold-in-full";
    let file = packages.join(format!("good/{more}-1.4-1.el9.x86_64.rpm"));
    let rpm = Command::new("rpm")
        .args(["--root", target.to_str().unwrap(), "--dbpath", "/var/lib/rpm", "--justdb", "--nodeps", "--noscripts"])
        .args(["--nosignature", "--nodigest", "-i"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(rpm.status.success(), "{}", String::from_utf8_lossy(&rpm.stderr));
    assert!(std::fs::metadata(database.with_file_name("rpmdb.sqlite-wal")).unwrap().len() > 0);
    // Whoever reads without the log sees what the reader does.
    let alone = dir.path().join("alone");
    std::fs::copy(&database, &alone).unwrap();
    assert_eq!(count(&Connection::open(&alone).unwrap()), before);
    let second = captured(&store, &bed, dir.path());
    assert_eq!(list(&second), listed_by_rpm(target));
    assert_eq!(list(&second).len(), 3);

    let found = first.diff_packages(&second, &Task::quiet()).unwrap();
    assert!(found.removed.is_empty() && found.changed.is_empty());
    assert_eq!(found.added.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), [more]);
    assert_eq!(second.diff_packages(&first, &Task::quiet()).unwrap().removed, found.added);
}
