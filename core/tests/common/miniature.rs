//! The miniature distribution of `tests/beds/distro`: made once for all tests, and again when its scripts change.

use super::has;
use rustix::fs::{FlockOperation, flock};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What it is made with.
pub const PROGRAMS: [&str; 8] =
    ["rpmbuild", "rpmsign", "createrepo_c", "xorriso", "implantisomd5", "busybox", "gpg", "openssl"];

/// The directory with `tree-9.4`, `mini-9.4.iso`, `bad-9.4`, the same of 9.5, and `keys`; nobody may change it. `None`, and
/// a word why, where it cannot be made.
pub fn miniature(test: &str) -> Option<PathBuf> {
    if !has(&PROGRAMS, test) {
        return None;
    }
    let beds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/beds/distro");
    let mut scripts = Vec::new();
    for dir in [beds.clone(), beds.join("specs")] {
        let mut files: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).filter(|p| p.is_file()).collect();
        files.sort();
        files.iter().for_each(|f| scripts.extend(std::fs::read(f).unwrap()));
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("distro");
    std::fs::create_dir_all(&place).unwrap();
    // Programs of other tests may want it at the same time.
    let lock = std::fs::File::create(place.join("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let (work, ready) = (place.join("work"), place.join("ready"));
    let of = blake3::hash(&scripts).to_string();
    if std::fs::read_to_string(&ready).is_ok_and(|made| made == of) {
        return Some(work);
    }
    let _ = std::fs::remove_dir_all(&work);
    let out = Command::new(beds.join("make.sh")).arg(&work).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::write(ready, of).unwrap();
    Some(work)
}
