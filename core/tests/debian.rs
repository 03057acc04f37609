//! Real installations by apt and dpkg in the confined root, from a mirror that `debian/mirror.sh` makes, and from the one that this
//! machine uses.
#![allow(missing_docs)]

#[path = "common/debian.rs"]
mod debian;

use debian::{Served, change, copy, mirror};
use libcv::ErrorKind;
use libcv::build::debian::{BASE, Bootstrap, Command, Repository};
use libcv::build::dnflog::Resolved;
use libcv::build::generalise::{Rules, generalise};
use libcv::distro::{self, AddOptions, Distro, Selection};
use libcv::job::Task;
use libcv::store::Store;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The date of the suite.
const EPOCH: i64 = 1_714_521_600;

struct Bed {
    dir: tempfile::TempDir,
    mini: PathBuf,
    bootstrap: Bootstrap,
}

fn arch() -> &'static str {
    distro::mirror::deb_architecture(std::env::consts::ARCH)
}

fn empty(mirror: String, keyring: Vec<u8>, dir: &Path) -> Bootstrap {
    let at = |name: &str| {
        let path = dir.join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    Bootstrap {
        mirror,
        suite: "bookworm".into(),
        components: vec!["main".into()],
        keyring,
        kept: None,
        arch: arch().into(),
        repositories: Vec::new(),
        exclude: Vec::new(),
        weak_deps: false,
        docs: false,
        languages: vec!["de".into()],
        base: vec![BASE[0].into()],
        proxy: None,
        target: at("target"),
        place: at("root"),
        work: at("work"),
        epoch: EPOCH,
        environment: Vec::new(),
        limit: Duration::from_secs(600),
        silence: Duration::from_secs(300),
    }
}

impl Bed {
    fn new(test: &str) -> Option<Self> {
        let mini = mirror(test)?.to_owned();
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: {test}: it needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}", mini.join("mirror").display());
        let bootstrap = empty(url, std::fs::read(mini.join("KEY")).unwrap(), dir.path());
        Some(Self { dir, mini, bootstrap })
    }

    /// Fails with this kind, a message that has these, and leaves no mount and no process.
    fn fails(&self, wanted: &[&str], kind: ErrorKind, says: &[&str]) -> libcv::Error {
        let e = self.bootstrap.install(&names(wanted), &Task::quiet()).expect_err("it was installed");
        assert_eq!(e.kind(), kind, "{e:?}");
        says.iter().for_each(|s| assert!(e.message().contains(s), "{s}: {e:?}"));
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(self.dir.path().to_str().unwrap()), "{mounts}");
        e
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.bootstrap.target.join(path)).unwrap()
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn shown(r: &Resolved) -> String {
    format!("{}={}", r.name, r.evr)
}

#[test]
fn what_is_resolved_is_installed_and_the_host_is_not_seen() {
    let Some(mut bed) = Bed::new("what_is_resolved_is_installed_and_the_host_is_not_seen") else { return };
    let served = Served::new(&bed.mini.join("mirror"));
    bed.bootstrap.mirror = served.url.clone();
    let resolved = bed.bootstrap.resolve(&names(&["hello"]), &Task::quiet()).unwrap();
    let mut list: Vec<_> = resolved.iter().map(shown).collect();
    list.sort();
    let wanted = ["base-files", "busybox", "dpkg", "greeting", "hello", "libc6"].map(|n| format!("{n}=1:1.0-1"));
    assert_eq!(list, wanted);
    assert!(!bed.bootstrap.target.join("usr").exists(), "nothing is installed yet");
    let installed = bed.bootstrap.install(&names(&["hello"]), &Task::quiet()).unwrap();
    let list: Vec<_> = installed.packages.iter().map(|p| format!("{}={}", p.name, p.version)).collect();
    assert_eq!(list, wanted);
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    let said = bed.read("var/lib/hello");
    assert!(said.ends_with("none\nno-net\npolicy 101\nplain\n") && !said.contains(&host), "{said}");
    assert_eq!(bed.read("var/lib/hello-epoch").trim(), EPOCH.to_string());
    let target = &bed.bootstrap.target;
    let there = |p: &str| target.join(p).exists();
    assert!(there("usr/share/locale/de/hello.mo") && !there("usr/share/locale/fr/hello.mo"));
    assert!(
        there("usr/share/doc/base-files/copyright")
            && !there("usr/share/doc/base-files/README")
            && !there("usr/share/doc/hello/README")
    );
    assert!(!there("usr/sbin/policy-rc.d") && !there("etc/resolv.conf") && !there("etc/hostname"));
    assert_eq!(std::fs::read_link(target.join("bin")).unwrap(), Path::new("usr/bin"));
    // More into the same root, and out of it again.
    let more = bed.bootstrap.change(Command::Install, &names(&["garnish"]), &Task::quiet()).unwrap();
    assert!(more.resolved.len() == 1 && more.packages.len() == 7, "{more:?}");
    let less = bed.bootstrap.change(Command::Remove, &names(&["garnish"]), &Task::quiet()).unwrap();
    assert_eq!(less.packages, installed.packages);
}

#[test]
fn what_is_kept_is_what_is_installed() {
    let Some(mut bed) = Bed::new("what_is_kept_is_what_is_installed") else { return };
    let store = Store::init(bed.dir.path().join("store")).unwrap();
    let options = AddOptions { keys: vec![bed.mini.join("KEY")], ..AddOptions::default() };
    let suite = copy(&bed.mini, &bed.dir.path().join("mirror"));
    distro::add(&store, &suite, &options, &Task::quiet()).unwrap();
    // The mirror has no lists any more, as one that has gone on: those that are kept name what is wanted.
    std::fs::remove_dir_all(suite.parent().unwrap()).unwrap();
    let distro = Distro::open(&store, "debian-12").unwrap();
    let out = bed.dir.path().join("laid");
    std::fs::create_dir(&out).unwrap();
    distro.lay_out(&out, &Selection::Metadata, 1, &Task::quiet()).unwrap();
    let document = distro.document();
    bed.bootstrap.mirror = document.source.url.clone().unwrap();
    bed.bootstrap.kept = Some(out.join("tree"));
    bed.bootstrap.keyring = document.keys.iter().flat_map(|k| k.text.bytes()).collect();
    // Nothing is asked of a mirror before packages are wanted.
    let away = Bootstrap { mirror: "http://127.0.0.1:1/debian".into(), ..bed.bootstrap.clone() };
    assert_eq!(away.resolve(&names(&["greeting"]), &Task::quiet()).unwrap().len(), 5);
    let installed = bed.bootstrap.install(&names(&["greeting"]), &Task::quiet()).unwrap();
    assert_eq!(installed.packages.len(), 5);
    bed.fails(&["vanished"], ErrorKind::NotFound, &["the package vanished is not on the mirror any more"]);
}

#[test]
fn words_of_a_role_are_followed() {
    let Some(mut bed) = Bed::new("words_of_a_role_are_followed") else { return };
    bed.bootstrap.weak_deps = true;
    bed.bootstrap.repositories.push(Repository {
        name: "extra".into(),
        url: format!("file://{}", bed.mini.join("extra").display()),
        key: std::fs::read(bed.mini.join("OTHER")).unwrap(),
        suite: "extra".into(),
        components: Vec::new(),
        priority: None,
    });
    let installed = bed.bootstrap.install(&names(&["hello", "addition=1:1.0-1"]), &Task::quiet()).unwrap();
    let has = |name: &str| installed.packages.iter().any(|p| p.name == name);
    assert!(has("garnish") && has("addition"), "{:?}", installed.packages);
    let Some(mut bed) = Bed::new("words_of_a_role_are_followed") else { return };
    bed.bootstrap.exclude = vec!["greet*".into(), "zz-?x+*".into()];
    bed.bootstrap.base.push(BASE[1].into());
    let e = bed.fails(&["hello"], ErrorKind::Conflict, &["hello needs greeting"]);
    assert_eq!((&e.facts()["package"], &e.facts()["missing"]), (&"hello".into(), &"greeting".into()));
    // The key of a repository is for that one only.
    bed.bootstrap.exclude.clear();
    bed.bootstrap.keyring = std::fs::read(bed.mini.join("OTHER")).unwrap();
    bed.fails(&["hello"], ErrorKind::Integrity, &["is not signed by its keys"]);
}

#[test]
fn each_fault_names_what_is_wrong() {
    let Some(bed) = Bed::new("each_fault_names_what_is_wrong") else { return };
    let e = bed.fails(&["helo", "nothing-like-it"], ErrorKind::NotFound, &["helo, nothing-like-it are no packages"]);
    assert!(e.hint_text().unwrap().contains("\"hello\""), "{e:?}");
    bed.fails(&["hello=9"], ErrorKind::NotFound, &["hello=9"]);
    let e = bed.fails(&["wants-missing"], ErrorKind::Conflict, &["wants-missing needs not-there (>= 2)"]);
    assert_eq!(e.facts()["missing"], "not-there (>= 2)");
    bed.fails(&["damaged"], ErrorKind::Integrity, &["the package damaged is damaged"]);
    bed.fails(&["vanished"], ErrorKind::NotFound, &["the package vanished is not on the mirror"]);
    bed.fails(&["--allow-unauthenticated"], ErrorKind::Invalid, &["no name of a package"]);
    // Until here nothing was unpacked.
    assert!(!bed.bootstrap.target.join("usr").exists());
    let e = bed.fails(
        &["bad-postinst"],
        ErrorKind::Plugin,
        &["the postinst of the package bad-postinst failed (exit status 3): what it said"],
    );
    assert_eq!((&e.facts()["package"], &e.facts()["scriptlet"]), (&"bad-postinst".into(), &"postinst".into()));
    let Some(bed) = Bed::new("each_fault_names_what_is_wrong") else { return };
    bed.fails(
        &["bad-preinst"],
        ErrorKind::Plugin,
        &["the preinst of the package bad-preinst failed (exit status 4): before"],
    );
    let Some(bed) = Bed::new("each_fault_names_what_is_wrong") else { return };
    let e =
        bed.fails(&["clash"], ErrorKind::Conflict, &["clash and greeting", "both have the file /usr/share/greeting"]);
    assert_eq!(e.facts()["path"], "/usr/share/greeting");
}

#[test]
fn a_script_that_hangs_is_ended() {
    let Some(mut bed) = Bed::new("a_script_that_hangs_is_ended") else { return };
    bed.bootstrap.silence = Duration::from_secs(5);
    let began = Instant::now();
    let e = bed.fails(&["hangs"], ErrorKind::Limit, &["said nothing for"]);
    assert!(began.elapsed() < Duration::from_secs(60) && e.facts()["tail"].to_string().contains("begun"), "{e:?}");
}

#[test]
fn a_mirror_that_is_forged_or_away_is_refused() {
    let Some(mut bed) = Bed::new("a_mirror_that_is_forged_or_away_is_refused") else { return };
    let suite = copy(&bed.mini, &bed.dir.path().join("mirror"));
    bed.bootstrap.mirror = format!("file://{}", bed.dir.path().join("mirror").display());
    change(&suite.join("InRelease"), |t| t.replace("Label: Debian", "Label: Debias"));
    bed.fails(&["hello"], ErrorKind::Integrity, &["is not signed by its keys"]);
    let fresh = copy(&bed.mini, &bed.dir.path().join("fresh"));
    bed.bootstrap.mirror = format!("file://{}", bed.dir.path().join("fresh").display());
    for form in ["", ".gz", ".xz"] {
        let list = fresh.join(format!("main/binary-{}/Packages{form}", arch()));
        let mut bytes = std::fs::read(&list).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&list, bytes).unwrap();
    }
    bed.fails(&["hello"], ErrorKind::Integrity, &["the list", "is damaged"]);
    let served = Served::new(&bed.mini.join("mirror"));
    bed.bootstrap.mirror = served.url.clone();
    drop(served);
    bed.fails(&["hello"], ErrorKind::Network, &["cannot be fetched"]);
}

/// Every entry of a tree: what it is, its owner, mode and time; of files a sum, of links where they lead.
fn listing(root: &Path) -> BTreeMap<PathBuf, String> {
    let (mut out, mut todo) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let m = std::fs::symlink_metadata(&path).unwrap();
            let what = match m.file_type() {
                t if t.is_dir() => {
                    todo.push(path.clone());
                    String::new()
                }
                t if t.is_symlink() => std::fs::read_link(&path).unwrap().display().to_string(),
                t if t.is_file() => sum(&path),
                _ => m.rdev().to_string(),
            };
            let text = format!("{:o} {}:{} {} {what}", m.permissions().mode(), m.uid(), m.gid(), m.mtime());
            out.insert(path.strip_prefix(root).unwrap().to_owned(), text);
        }
    }
    out
}

fn sum(path: &Path) -> String {
    let mut sum = blake3::Hasher::new();
    std::io::copy(&mut std::fs::File::open(path).unwrap(), &mut sum).unwrap();
    sum.finalize().to_string()
}

fn same(one: &Path, other: &Path) {
    let (one, other) = (listing(one), listing(other));
    let differ: Vec<_> = one.keys().chain(other.keys()).filter(|p| one.get(*p) != other.get(*p)).collect();
    assert!(differ.is_empty(), "{differ:?}: {:?} {:?}", one.get(differ[0]), other.get(differ[0]));
}

#[test]
fn twice_installed_is_the_same_tree() {
    let (Some(one), Some(other)) =
        (Bed::new("twice_installed_is_the_same_tree"), Bed::new("twice_installed_is_the_same_tree"))
    else {
        return;
    };
    for bed in [&one, &other] {
        bed.bootstrap.install(&names(&["hello"]), &Task::quiet()).unwrap();
        generalise(&bed.bootstrap.target, &Rules { epoch: EPOCH, ..Rules::default() }, &Task::quiet()).unwrap();
        std::thread::sleep(Duration::from_millis(1100));
    }
    same(&one.bootstrap.target, &other.bootstrap.target);
}

/// From the mirror of this machine: a whole node, twice.
#[test]
fn a_node_of_this_machines_distribution_comes_out_whole_and_the_same() {
    let test = "a_node_of_this_machines_distribution_comes_out_whole_and_the_same";
    let Some((url, key)) = debian::machine(test) else { return };
    if Bed::new(test).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(dir.path().join("store")).unwrap();
    let options = AddOptions { keys: vec![key], ..AddOptions::default() };
    let added = distro::add(&store, Path::new(&url), &options, &Task::quiet()).unwrap();
    let distro = Distro::open(&store, &added.name).unwrap();
    let document = distro.document();
    let laid = dir.path().join("laid");
    std::fs::create_dir(&laid).unwrap();
    distro.lay_out(&laid, &Selection::Metadata, 1, &Task::quiet()).unwrap();
    let kernel = match (document.id.as_str(), arch()) {
        ("debian", arch) => format!("linux-image-cloud-{arch}"),
        _ => "linux-image-virtual".to_owned(),
    };
    let mut wanted = names(&[&kernel, "systemd-sysv", "openssh-server", "initramfs-tools"]);
    // More of them, to look for packages that do not like it here.
    wanted.extend(std::env::var("LIBCV_DEB_PACKAGES").iter().flat_map(|v| v.split_whitespace()).map(str::to_owned));
    let mut targets = Vec::new();
    for n in 0..2 {
        let part = dir.path().join(n.to_string());
        std::fs::create_dir(&part).unwrap();
        let keyring = document.keys.iter().flat_map(|k| k.text.bytes()).collect();
        let mut bootstrap = empty(document.source.url.clone().unwrap(), keyring, &part);
        bootstrap.suite = document.source.suite.clone().unwrap();
        bootstrap.base = BASE.map(str::to_owned).into();
        bootstrap.kept = Some(laid.join("tree"));
        bootstrap.epoch = document.timestamp.unwrap();
        if n > 0 {
            // What was fetched once.
            std::fs::remove_dir(&bootstrap.work).unwrap();
            std::fs::rename(dir.path().join("0/work"), &bootstrap.work).unwrap();
        }
        let began = Instant::now();
        let installed = bootstrap.install(&wanted, &Task::quiet()).unwrap();
        eprintln!("{} packages of {} in {:?}", installed.packages.len(), added.name, began.elapsed());
        let target = &bootstrap.target;
        for path in [
            "sbin/init",
            "usr/sbin/sshd",
            "usr/bin/apt-get",
            "vmlinuz",
            "initrd.img",
            "etc/shadow",
            "usr/share/zoneinfo/UTC",
        ] {
            assert!(
                std::fs::metadata(target.join(path)).is_ok_and(|m| m.len() > 0) || target.join(path).is_symlink(),
                "{path}"
            );
        }
        let boot: Vec<_> = std::fs::read_dir(target.join("boot"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(boot.iter().any(|n| n.starts_with("initrd.img-")), "{boot:?}");
        let host = std::fs::read("/etc/resolv.conf").unwrap_or_default();
        assert!(std::fs::read(target.join("etc/resolv.conf")).map_or(true, |r| r != host));
        generalise(target, &Rules { epoch: bootstrap.epoch, ..Rules::default() }, &Task::quiet()).unwrap();
        targets.push(bootstrap.target);
    }
    same(&targets[0], &targets[1]);
}
