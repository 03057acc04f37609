//! Real installations by dnf in the confined root, from packages that `dnf/packages.sh` makes.
#![allow(missing_docs)]

use libcv::ErrorKind;
use libcv::build::dnflog::Resolved;
use libcv::build::install::{Install, Installed};
use libcv::build::rpm::{Command as Dnf, Place, Release, Repository, Setup};
use libcv::build::rpmdb;
use libcv::job::Task;
use libcv::sys::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[path = "install/captured.rs"]
mod captured;
#[path = "install/reproducible.rs"]
mod reproducible;

/// The time of the packages.
const EPOCH: i64 = 1_714_521_600;

/// The repositories, made once for all tests; `None` where the tools or root are not there.
fn packages() -> Option<&'static Path> {
    static MADE: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let there = |name: &&str| Command::new("sh").args(["-c", "command -v \"$1\" >/dev/null", "sh", name]).status().unwrap().success();
        let missing: Vec<_> = ["dnf", "rpmbuild", "rpmsign", "createrepo_c", "gpg", "busybox"].into_iter().filter(|n| !there(n)).collect();
        if !missing.is_empty() || !rustix::process::geteuid().is_root() {
            eprintln!("skipped: the tests of tests/install.rs: they need root and the packages rpm dnf createrepo-c busybox-static gpg ({missing:?} are missing)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dnf/packages.sh");
        let out = Command::new("bash").arg(script).arg(dir.path()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let path = dir.path().to_owned();
        Some((dir, path))
    });
    made.as_ref().map(|(_, path)| path.as_path())
}

struct Bed {
    _dir: tempfile::TempDir,
    install: Install,
}

fn bed(packages: &Path) -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let repository = |id: &str| Repository {
        id: id.into(),
        place: Place::Directory(packages.join(id)),
        keys: vec!["KEY".into()],
        priority: None,
    };
    let setup = Setup {
        release: Release {
            version: "9".into(),
            arch: "x86_64".into(),
            platform: Some("platform:el9".into()),
            database: "/var/lib/rpm".into(),
        },
        repositories: vec![repository("good"), repository("bad")],
        keys: vec![("KEY".into(), std::fs::read(packages.join("KEY")).unwrap())],
        weak_deps: false,
        docs: false,
        languages: vec!["en_US".into()],
        exclude: Vec::new(),
    };
    let install = Install {
        setup,
        target: at("target"),
        place: at("root"),
        work: at("work"),
        allowed: Vec::new(),
        epoch: EPOCH,
        environment: Vec::new(),
        limit: Duration::from_secs(120),
        silence: Duration::from_secs(60),
    };
    Bed { _dir: dir, install }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn install(bed: &Bed, wanted: &[&str]) -> libcv::Result<Installed> {
    bed.install.install(&names(wanted), &Task::quiet())
}

#[test]
fn what_is_resolved_is_installed_and_listed() {
    let Some(packages) = packages() else { return };
    let mut bed = bed(packages);
    let resolved = bed.install.resolve(Dnf::Install, &names(&["beacon"]), &Task::quiet()).unwrap();
    let shown = |r: &Resolved| format!("{}-{}.{}", r.name, r.evr, r.arch);
    let wanted = ["beacon-1:1.4-1.el9.x86_64", "base-2.5-3.el9.x86_64"];
    assert_eq!(resolved.iter().map(shown).collect::<Vec<_>>(), wanted);
    assert!(!bed.install.target.join("usr/bin").exists(), "nothing is installed yet");
    let installed = install(&bed, &["beacon"]).unwrap();
    let list: Vec<_> = installed.packages.iter().map(ToString::to_string).collect();
    assert_eq!(list, ["base-2.5-3.el9.x86_64", "beacon-1:1.4-1.el9.x86_64"]);
    let base = &installed.packages[0];
    assert_eq!((base.license.as_deref(), base.vendor.as_deref()), (Some("MIT AND GPL-2.0-only"), Some("Mini")));
    assert!(base.source.as_deref() == Some("base-2.5-3.el9.src.rpm") && base.header_sha256.is_some());
    let target = &bed.install.target;
    assert!(
        !target.join("usr/share/doc/beacon/README").exists() && !target.join("usr/share/locale/de/beacon.mo").exists()
    );
    // Its scriptlets ran, with a /dev; and its capability is there.
    assert_eq!(std::fs::metadata(target.join("var/lib/systemd/random-seed")).unwrap().len(), 512);
    let mut value = [0; 64];
    assert!(rustix::fs::lgetxattr(target.join("usr/bin/beacon"), "security.capability", &mut value).is_ok());
    // rpm itself believes in the database as we left it.
    let rpm = Command::new("rpm")
        .arg("--root")
        .arg(target)
        .args(["--dbpath", "/var/lib/rpm", "-qa", "--qf", "%{NAME} %{INSTALLTIME}\n"])
        .output()
        .unwrap();
    let text = String::from_utf8(rpm.stdout).unwrap();
    assert!(text.contains(&format!("base {EPOCH}")) && text.contains("beacon"), "{text}");
    assert!(std::fs::read_dir(target.join("var/lib/rpm")).unwrap().all(|e| e.unwrap().file_name() == "rpmdb.sqlite"));
    // With weak dependencies, documentation and all languages, into the same root.
    (bed.install.setup.weak_deps, bed.install.setup.docs) = (true, true);
    let more = "beacon-with-a-name-that-no-column-of-a-table-can-hold-in-full";
    let installed = install(&bed, &[more]).unwrap();
    assert!(installed.packages.iter().any(|p| p.name == more));
}

/// Another rpm takes the headers as they are: that of this machine, into a database of its own.
#[test]
fn headers_go_from_one_database_to_another() {
    let Some(packages) = packages() else { return };
    let bed = bed(packages);
    install(&bed, &["beacon"]).unwrap();
    let mut headers = Vec::new();
    assert_eq!(rpmdb::export(&bed.install.target, &mut headers).unwrap(), 3, "two packages and a key");
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("headers");
    std::fs::write(&file, headers).unwrap();
    let rpmdb = |command: &str| {
        let mut call = Command::new("rpmdb");
        call.arg("--root").arg(other.path()).args(["--dbpath", "/var/lib/rpm", command]);
        call.stdin(std::fs::File::open(&file).unwrap()).status().unwrap()
    };
    assert!(rpmdb("--initdb").success() && rpmdb("--importdb").success());
    rpmdb::normalise(other.path()).unwrap();
    assert_eq!(rpmdb::read(other.path()).unwrap(), rpmdb::read(&bed.install.target).unwrap());
    // A root without an rpm of its own cannot take it over.
    let e = bed.install.convert(&Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
}

#[test]
fn each_fault_is_told_by_its_kind_and_its_name() {
    let Some(packages) = packages() else { return };
    let cases: [(&[&str], ErrorKind, &str); 12] = [
        (&["base", "fail-pretrans"], ErrorKind::Plugin, "fail-pretrans"),
        (&["base", "fail-pre"], ErrorKind::Plugin, "fail-pre"),
        (&["base", "fail-post"], ErrorKind::Plugin, "fail-post"),
        (&["base", "fail-posttrans"], ErrorKind::Plugin, "fail-posttrans"),
        (&["base", "killed-post"], ErrorKind::Plugin, "signal 9"),
        (&["unsigned"], ErrorKind::Integrity, "unsigned-1.0-1.x86_64"),
        (&["forged"], ErrorKind::Integrity, "forged-1.0-1.x86_64"),
        (&["damaged"], ErrorKind::Integrity, "damaged-1.0-1.x86_64"),
        (&["needs-missing"], ErrorKind::Conflict, "no-such-capability >= 2"),
        (&["base", "clash"], ErrorKind::Conflict, "/etc/machine-id"),
        (&["base", "nothing-a", "nothing-b"], ErrorKind::NotFound, "nothing-a, nothing-b"),
        (&["@nothing"], ErrorKind::NotFound, "nothing"),
    ];
    for (wanted, kind, text) in cases {
        let e = install(&bed(packages), wanted).unwrap_err();
        assert_eq!(e.kind(), kind, "{wanted:?}: {e:?}");
        assert!(e.message().contains(text), "{wanted:?}: {e}");
    }
    let mut allowed = bed(packages);
    allowed.install.allowed = vec!["fail-post".into()];
    let installed = install(&allowed, &["fail-post"]).unwrap();
    assert_eq!((installed.failed.len(), installed.failed[0].said.as_slice()), (1, names(&["post says no"]).as_slice()));
    // One that is not there is an error even where it may fail.
    allowed = bed(packages);
    allowed.install.allowed = vec!["fail-pre".into()];
    let e = install(&allowed, &["fail-pre"]).unwrap_err();
    assert!(e.kind() == ErrorKind::Failed && e.message().contains("fail-pre-1.0-1.x86_64 is not installed"), "{e:?}");
}

#[test]
fn a_scriptlet_that_hangs_and_a_disk_that_is_full_are_limits() {
    let Some(packages) = packages() else { return };
    let mut slow = bed(packages);
    slow.install.silence = Duration::from_secs(6);
    let begun = Instant::now();
    let e = install(&slow, &["slow-post"]).unwrap_err();
    assert!(e.kind() == ErrorKind::Limit && begun.elapsed() < Duration::from_secs(60), "{e:?}");
    assert!(e.facts()["tail"].to_string().contains("Running scriptlet: slow-post"), "{e:?}");
    let full = bed(packages);
    let target = full.install.target.clone();
    let e = libcv::sys::namespace::in_private_mounts(|| {
        // For the thread that installs, which has it from this one.
        libcv::sys::mount::tmpfs(&target, "size=2m,mode=0755")?;
        install(&full, &["base"])
    });
    let e = e.unwrap_err();
    assert!(e.kind() == ErrorKind::Limit && e.message().contains("no room"), "{e:?}");
}

/// What a kill leaves is a scratch directory, which the next one removes; nothing runs, nothing is mounted.
#[test]
fn a_build_that_is_cancelled_leaves_nothing() {
    let Some(packages) = packages() else { return };
    let dir = tempfile::tempdir().unwrap();
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for after in [1, 4, 8, 14] {
        let scratch = Scratch::new(dir.path(), "build").unwrap();
        let mut bed = bed(packages);
        let at = |name: &str| {
            let path = scratch.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        (bed.install.target, bed.install.place, bed.install.work) = (at("target"), at("root"), at("work"));
        let cancel = libcv::job::CancelToken::default();
        let (token, lines) = (cancel.clone(), std::sync::atomic::AtomicUsize::new(0));
        let count = move |_: &libcv::event::Event| {
            if lines.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == after {
                token.cancel();
            }
        };
        let task = Task::new(cancel, Some(Box::new(count)));
        let e = bed.install.install(&names(&["beacon"]), &task).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Cancelled);
        scratch.remove().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    }
}
