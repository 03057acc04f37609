//! Mirrors of Debian, small ones from a directory and over HTTP, and the one that this machine uses.
#![allow(missing_docs)]

#[path = "common/debian.rs"]
mod debian;

use debian::{Served, change, copy, mirror};
use libcv::ErrorKind;
use libcv::distro::{self, AddOptions, Added, Distro, Selection};
use libcv::job::Task;
use libcv::store::Store;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
    mini: &'static Path,
}

impl Bed {
    fn new(test: &str) -> Option<Self> {
        let mini = mirror(test)?;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        Some(Self { dir, store, mini })
    }

    fn add(&self, place: impl AsRef<Path>, key: &str) -> libcv::Result<Added> {
        self.add_as(place, key, &[], None)
    }

    fn add_as(&self, place: impl AsRef<Path>, key: &str, parts: &[&str], name: Option<&str>) -> libcv::Result<Added> {
        let keys = if key.is_empty() { Vec::new() } else { vec![self.mini.join(key)] };
        let components = parts.iter().map(|c| (*c).to_owned()).collect();
        let options =
            AddOptions { name: name.map(str::to_owned), keys, components, threads: 1, ..AddOptions::default() };
        distro::add(&self.store, place.as_ref(), &options, &Task::quiet())
    }

    fn suite(&self) -> PathBuf {
        self.mini.join("mirror/dists/bookworm")
    }

    /// A copy of the mirror; its suite.
    fn changed(&self, name: &str) -> PathBuf {
        copy(self.mini, &self.dir.path().join(name))
    }

    fn sign(&self, suite: &Path, date: &str, version: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/debian/sign.sh");
        let out =
            Command::new("bash").arg(script).arg(self.mini).arg(suite).args(["mini", date, version]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    fn refused(&self, place: &Path, kind: ErrorKind, says: &str) {
        let e = self.add(place, "KEY").unwrap_err();
        assert!(e.kind() == kind && e.message().contains(says), "{e:?}");
        assert!(Distro::list(&self.store).unwrap().is_empty(), "{e:?}");
    }
}

#[test]
fn a_suite_is_kept_with_its_lists_and_its_key() {
    let Some(bed) = Bed::new("a_suite_is_kept_with_its_lists_and_its_key") else { return };
    let served = Served::new(&bed.mini.join("mirror"));
    let url = format!("{}/dists/bookworm", served.url);
    let added = bed.add(&url, "KEY").unwrap();
    drop(served);
    let d = &added.distribution;
    assert_eq!((added.name.as_str(), d.id.as_str(), d.version.as_str(), d.major), ("debian-12", "debian", "12", 12));
    assert_eq!((d.codename.as_deref(), d.system().as_deref()), (Some("bookworm"), Some("debian12")));
    assert_eq!((d.arch.as_str(), d.timestamp, d.is_mirror()), (std::env::consts::ARCH, Some(1_714_521_600), true));
    let of = |u: &str| {
        (d.source.url.clone(), d.source.suite.clone(), d.source.release.clone())
            == (Some(u.into()), Some("bookworm".into()), Some("Mini 12.4".into()))
    };
    assert!(of(url.trim_end_matches("/dists/bookworm")), "{:?}", d.source);
    assert!(d.keys.len() == 1 && d.keys[0].pinned && d.source.components == ["main"]);
    // What is asked of it later needs no mirror.
    let distro = Distro::open(&bed.store, "debian-12").unwrap();
    let repositories = distro.repositories(&Task::quiet()).unwrap();
    assert_eq!(repositories.len(), 1);
    let package = |name: &str| repositories[0].packages.iter().find(|p| p.name == name).unwrap().clone();
    assert!(package("busybox").provides == ["mini-shell", "awk"] && package("hello").version == "1:1.0-1");
    assert!(repositories[0].place_of(&package("hello")).starts_with("pool/hello_1.0-1_"));
    assert_eq!(d.repositories[0].packages, repositories[0].packages.len() as u64);
    let report = distro.verify(1, &Task::quiet()).unwrap();
    assert!(report.ok().is_ok() && report.signatures == "checked", "{report:?}");
    let out = bed.dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let laid = distro.lay_out(&out, &Selection::Metadata, 1, &Task::quiet()).unwrap();
    assert!(laid.files == 2 && laid.keys.len() == 1 && out.join("tree/dists/bookworm/InRelease").exists(), "{laid:?}");
    // The same from a directory is the same tree; where it came from is another matter.
    let again = bed.add(bed.suite(), "KEY.gpg").unwrap();
    assert!(!again.changed && again.tree == added.tree, "{again:?}");
    Distro::remove(&bed.store, "debian-12").unwrap();
    assert!(Distro::list(&bed.store).unwrap().is_empty());
}

#[test]
fn a_later_state_is_the_next_version_and_an_older_one_is_refused() {
    let Some(bed) = Bed::new("a_later_state_is_the_next_version_and_an_older_one_is_refused") else { return };
    let first = bed.add(bed.suite(), "KEY").unwrap();
    let later = bed.changed("later");
    let list = format!("main/binary-{}/Packages", libcv::distro::mirror::deb_architecture(std::env::consts::ARCH));
    change(&later.join(list), |text| text.replace("Package: garnish", "Package: parsley"));
    bed.sign(&later, "1714600000", "12.5");
    let second = bed.add(&later, "KEY").unwrap();
    assert!(second.changed && second.tree != first.tree && second.distribution.timestamp == Some(1_714_600_000));
    let distro = Distro::open(&bed.store, "debian-12").unwrap();
    assert!(distro.repositories(&Task::quiet()).unwrap()[0].packages.iter().any(|p| p.name == "parsley"));
    assert_eq!(bed.add(bed.suite(), "KEY").unwrap_err().kind(), ErrorKind::Stale);
    assert!(bed.add_as(bed.suite(), "KEY", &[], Some("debian-12.4")).unwrap().changed);
}

#[test]
fn a_suite_without_the_right_signature_is_refused() {
    let Some(bed) = Bed::new("a_suite_without_the_right_signature_is_refused") else { return };
    let e = bed.add(bed.suite(), "").unwrap_err();
    assert!(e.kind() == ErrorKind::Invalid && e.hint_text().unwrap().contains("--key"), "{e:?}");
    let e = bed.add(bed.suite(), "OTHER").unwrap_err();
    assert!(e.kind() == ErrorKind::Integrity && e.message().contains("signed by another key"), "{e:?}");
    let forged = bed.changed("forged");
    change(&forged.join("InRelease"), |t| t.replace("Label: Debian", "Label: Debias"));
    bed.refused(&forged, ErrorKind::Integrity, "is not what the key");
    let prefixed = bed.changed("prefixed");
    change(&prefixed.join("InRelease"), |t| format!("Origin: Evil\n{t}"));
    bed.refused(&prefixed, ErrorKind::Integrity, "does not begin with what is signed");
    let detached = bed.changed("detached");
    std::fs::remove_file(detached.join("InRelease")).unwrap();
    change(&detached.join("Release"), |t| t.replace("Label: Debian", "Label: Debias"));
    bed.refused(&detached, ErrorKind::Integrity, "is not what the key");
    std::fs::remove_file(detached.join("Release.gpg")).unwrap();
    bed.refused(&detached, ErrorKind::Integrity, "is not signed");
    let good = bed.changed("good");
    std::fs::remove_file(good.join("InRelease")).unwrap();
    assert!(bed.add(&good, "KEY").unwrap().changed);
}

#[test]
fn what_is_damaged_or_not_there_is_named() {
    let Some(bed) = Bed::new("what_is_damaged_or_not_there_is_named") else { return };
    let arch = libcv::distro::mirror::deb_architecture(std::env::consts::ARCH);
    let damaged = bed.changed("damaged");
    let list = damaged.join(format!("main/binary-{arch}/Packages.xz"));
    let mut bytes = std::fs::read(&list).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&list, bytes).unwrap();
    bed.refused(&damaged, ErrorKind::Integrity, "Packages.xz does not have the size and checksum");
    let gone = bed.changed("gone");
    for form in ["", ".gz", ".xz"] {
        std::fs::remove_file(gone.join(format!("main/binary-{arch}/Packages{form}"))).unwrap();
    }
    bed.refused(&gone, ErrorKind::Integrity, "no list of packages of main");
    let part = bed.changed("part");
    change(&part.join(format!("main/binary-{arch}/Packages")), |t| t.replace("Package: dpkg\n", "Package: other\n"));
    bed.sign(&part, "1714600000", "12.5");
    bed.refused(&part, ErrorKind::Invalid, "is no whole distribution: it has no dpkg");
    let e = bed.add_as(bed.suite(), "KEY", &["contirb"], None).unwrap_err();
    assert!(e.kind() == ErrorKind::NotFound && e.hint_text().unwrap().contains("contrib"), "{e:?}");
    let served = Served::new(&bed.mini.join("mirror"));
    let none = bed.add(format!("{}/dists/nowhere", served.url), "KEY").unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound, "{none:?}");
    let dead = served.url.clone();
    drop(served);
    let e = bed.add(format!("{dead}/dists/bookworm"), "KEY").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Network, "{e:?}");
}

#[test]
fn that_of_this_machine_is_added() {
    let test = "that_of_this_machine_is_added";
    let Some((url, key)) = debian::machine(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path().join("store")).unwrap();
    let options = AddOptions { keys: vec![key], ..AddOptions::default() };
    let added = distro::add(&store, Path::new(&url), &options, &Task::quiet()).unwrap();
    let d = &added.distribution;
    assert!(d.is_mirror() && d.repositories[0].packages > 10_000 && d.keys.len() > 1, "{:?}", d.repositories);
    let distro = Distro::open(&store, &added.name).unwrap();
    let began = std::time::Instant::now();
    let repositories = distro.repositories(&Task::quiet()).unwrap();
    assert!(repositories[0].packages.iter().any(|p| p.name == "openssh-server"));
    eprintln!("{} packages of {} read in {:?}", repositories[0].packages.len(), added.name, began.elapsed());
}

#[test]
fn cvctl_takes_a_url() {
    let Some(bed) = Bed::new("cvctl_takes_a_url") else { return };
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cvctl"));
        let out = command.arg("-q").args(args).env("CV_STORE", bed.dir.path().join("store")).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    };
    let json = |schema: &str, args: &[&str]| {
        let (code, out, err) = run(&[&["-o", "json"], args].concat());
        assert_eq!(code, 0, "{args:?}: {err}");
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/cli/{schema}.json"));
        let (mut all, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        let text = std::fs::read_to_string(path).unwrap();
        compiler.add_resource("schema.json", serde_json::from_str(&text).unwrap()).unwrap();
        let compiled = compiler.compile("schema.json", &mut all).unwrap();
        all.validate(&value, compiled).unwrap_or_else(|e| panic!("{schema}: {e:#}"));
        value
    };
    let served = Served::new(&bed.mini.join("mirror"));
    let url = format!("{}/dists/bookworm", served.url);
    let key = bed.mini.join("KEY").display().to_string();
    let (code, _, err) = run(&["distro", "add", &url]);
    assert!(code == 2 && err.contains("--key FILE"), "{err}");
    let other = bed.mini.join("OTHER").display().to_string();
    assert_eq!(run(&["distro", "add", &url, "--key", &other]).0, 14);
    let added = json("distro-add", &["distro", "add", &url, "--key", &key, "--component", "main"]);
    assert_eq!((&added["name"], &added["distribution"]["source"]["kind"]), (&"debian-12".into(), &"mirror".into()));
    let (_, out, _) = run(&["distro", "show", "debian-12"]);
    assert!(
        out.contains(&format!("mirror {}, suite bookworm: Mini 12.4\n", served.url)) && out.contains(", pinned\n"),
        "{out}"
    );
    assert_eq!(json("distro-list", &["distro", "list"])["distributions"][0]["name"], "debian-12");
    json("distro-show", &["distro", "show", "debian-12"]);
    assert_eq!(json("distro-verify", &["distro", "verify", "debian-12"])["signatures"], "checked");
    assert_eq!(run(&["distro", "add", bed.mini.to_str().unwrap(), "--component", "main"]).0, 2);
    json("distro-rm", &["distro", "rm", "debian-12"]);
}
