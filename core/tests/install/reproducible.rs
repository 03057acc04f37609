//! The same packages on two days give the same tree.

use super::{Bed, EPOCH, bed, install, packages};
use libcv::build::generalise::{Rules, generalise};
use libcv::build::rpmdb;
use libcv::job::Task;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where Debian has the library by which programs see another time.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Everything that an image keeps of a tree, by path.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let m = std::fs::symlink_metadata(&path).unwrap();
        let content = if m.is_symlink() {
            std::fs::read_link(&path).unwrap().to_string_lossy().into_owned()
        } else if m.is_file() {
            libcv::image::Hash::of(&std::fs::read(&path).unwrap()).to_string()
        } else {
            todo.extend(std::fs::read_dir(&path).into_iter().flatten().map(|e| e.unwrap().path()));
            String::new()
        };
        let mut value = [0; 64];
        let n = rustix::fs::lgetxattr(&path, "security.capability", &mut value).unwrap_or(0);
        let time = format!("{}.{}", m.mtime(), m.mtime_nsec());
        let entry = format!("{:o} {}:{} {} {time} {content} {:?}", m.mode(), m.uid(), m.gid(), m.nlink(), &value[..n]);
        let path = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
        out.insert(String::from_utf8_lossy(path).into_owned(), entry);
    }
    out
}

fn differences(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    paths.into_iter().filter(|p| one.get(*p) != other.get(*p)).cloned().collect()
}

/// Builds on a day so far from today, for programs of the host and for scriptlets.
fn built(packages: &Path, days: i64) -> Bed {
    let mut bed = bed(packages);
    if days != 0 {
        let pairs =
            [("LD_PRELOAD", FAKETIME.to_owned()), ("FAKETIME", format!("{days:+}d")), ("DAYS", days.to_string())];
        bed.install.environment = pairs.map(|(k, v)| (k.to_owned(), v)).into();
    }
    install(&bed, &["beacon"]).unwrap();
    bed
}

#[test]
fn two_builds_on_different_days_are_the_same() {
    let Some(packages) = packages() else { return };
    if !Path::new(FAKETIME).exists() {
        eprintln!("skipped: two_builds_on_different_days_are_the_same: it needs the package libfaketime");
        return;
    }
    let beds = [built(packages, 0), built(packages, 40)];
    let [one, other] = [&beds[0].install.target, &beds[1].install.target];
    // Before, they differ: the days were others indeed.
    let before = differences(&tree(one), &tree(other));
    for path in [
        "etc/shadow",
        "etc/machine-id",
        "var/lib/beacon.kept",
        "etc/ssh/ssh_host_rsa_key",
        "var/lib/systemd/random-seed",
    ] {
        assert!(before.iter().any(|p| p == path), "{path}: {before:?}");
    }
    let day = |root: &Path| {
        std::fs::read_to_string(root.join("etc/shadow")).unwrap().split(':').nth(10).unwrap().parse::<i64>().unwrap()
    };
    assert_eq!(day(other) - day(one), 40);
    // The database needs nothing but to be one file.
    let database = |root: &Path| std::fs::read(root.join("var/lib/rpm/rpmdb.sqlite")).unwrap();
    assert!(database(one) == database(other));
    // What a package makes up is named, and nothing else.
    let rules = Rules { epoch: EPOCH + 5, ..Rules::default() };
    for root in [one, other] {
        generalise(root, &rules, &Task::quiet()).unwrap();
    }
    assert_eq!(differences(&tree(one), &tree(other)), ["var/lib/beacon.seed"]);
    let rules = Rules { remove: vec!["/var/lib/beacon.seed".into()], ..rules };
    for root in [one, other] {
        generalise(root, &rules, &Task::quiet()).unwrap();
        assert_eq!(rpmdb::read(root).unwrap().unwrap().len(), 2);
        assert!(!root.join("etc/ssh/ssh_host_rsa_key").exists() && root.join("etc/ssh/sshd_config").exists());
        assert!(!root.join("etc/hostname").exists() && !root.join("var/lib/dnf/history.sqlite").exists());
    }
    assert_eq!(differences(&tree(one), &tree(other)), Vec::<String>::new());
    assert_eq!(rpmdb::newest(one).unwrap(), Some(EPOCH));
}
