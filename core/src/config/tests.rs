//! Actions on real directories: both ways of resolving, every step failing, every step being the last.

use super::apply::apply_with;
use super::*;
use crate::error::Result;
use crate::job::Task;
use crate::sys::confined::Root;
use crate::sys::xattr::{self, Of};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

type Snapshot = BTreeMap<Vec<u8>, (u32, u32, i64, i64, u64, Vec<u8>)>;

/// Everything of a tree that an undone run must not change: also inodes and times of files.
fn snapshot(dir: &Path) -> Snapshot {
    let mut out = Snapshot::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let st = fs::symlink_metadata(&path).unwrap();
            let content = match st.file_type() {
                t if t.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
                t if t.is_file() => fs::read(&path).unwrap(),
                _ => Vec::new(),
            };
            // Directories get new times from temporaries that come and go.
            let (s, ns, ino) = if st.is_dir() { (0, 0, 0) } else { (st.mtime(), st.mtime_nsec(), st.ino()) };
            if st.is_dir() {
                todo.push(path.clone());
            }
            let name = path.strip_prefix(dir).unwrap().as_os_str().as_bytes().to_vec();
            out.insert(name, (st.mode(), st.uid(), s, ns, ino, content));
        }
    }
    out
}

fn distribution(dir: &Path) {
    for d in ["etc/systemd/system", "usr/lib/systemd/system", "usr/bin", "var/lib/dbus", "home"] {
        fs::create_dir_all(dir.join(d)).unwrap();
    }
    symlink("usr/lib", dir.join("lib")).unwrap();
    let write = |path: &str, text: &str| fs::write(dir.join(path), text).unwrap();
    write("etc/fstab", "# captured\nUUID=1111 / xfs defaults 0 0\ntmpfs /tmp tmpfs nosuid 0 0\n");
    write("etc/hostname", "old\n");
    write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 old.lan old\n");
    write("etc/shadow", "root:!:19000:0:99999:7:::\nuser:$6$a$b:19000:0:99999:7:::\n");
    write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    write("var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n");
    write(
        "usr/lib/systemd/system/a.service",
        "[Install]\nWantedBy=multi-user.target\nAlias=b.service\nAlso=c.socket\n",
    );
    write("usr/lib/systemd/system/c.socket", "[Install]\nRequiredBy=a.service\n");
    fs::set_permissions(dir.join("etc/shadow"), fs::Permissions::from_mode(0o600)).unwrap();
    xattr::set(Of::Path(&CString::new(dir.join("etc/fstab").as_os_str().as_bytes()).unwrap()), b"user.kept", b"1").ok();
}

fn all_actions() -> Vec<Action> {
    serde_json::from_value(serde_json::json!([
        {"write-file": {"path": "/etc/new/deep/file", "content": "text\n", "mode": "0640"}},
        {"write-file": {"path": "/lib/x.conf", "content": {"base64": "/wA="}}},
        {"link": {"path": "/etc/localtime", "target": "../usr/share/zoneinfo/UTC"}},
        {"fstab": {"lines": [{"spec": "UUID=aaaa", "file": "/", "fstype": "ext4", "pass": 1}]}},
        {"fstab-line": {"spec": "head:/home", "file": "/home", "fstype": "nfs", "options": "_netdev"}},
        {"hostname": "n1.cluster"},
        {"machine-id": "00112233445566778899aabbccddeeff"},
        {"password-hash": {"user": "root", "hash": "$6$salt$hash"}},
        {"enable-unit": {"unit": "a.service"}},
    ]))
    .unwrap()
}

fn roots(dir: &Path) -> [Root; 2] {
    [Root::open(dir).unwrap(), Root::open(dir).unwrap().without_openat2()]
}

fn read(dir: &Path, path: &str) -> String {
    fs::read_to_string(dir.join(path)).unwrap()
}

#[test]
fn everything_is_applied_and_a_second_time_nothing() {
    for way in 0..2 {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path();
        distribution(dir);
        let root = &roots(dir)[way];
        let done = apply_in(root, &all_actions(), &Task::quiet()).unwrap();
        use Outcome::{Changed, Created};
        assert_eq!(done, [Created, Created, Created, Changed, Changed, Changed, Changed, Changed, Created]);
        assert_eq!(read(dir, "etc/new/deep/file"), "text\n");
        assert_eq!(fs::metadata(dir.join("etc/new/deep/file")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::metadata(dir.join("etc/new")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::read(dir.join("usr/lib/x.conf")).unwrap(), [0xff, 0]);
        assert_eq!(
            read(dir, "etc/fstab"),
            "# captured\nUUID=aaaa / ext4 defaults 0 1\ntmpfs /tmp tmpfs nosuid 0 0\nhead:/home /home nfs _netdev 0 0\n"
        );
        assert_eq!(read(dir, "etc/hostname"), "n1.cluster\n");
        assert_eq!(read(dir, "etc/hosts"), "127.0.0.1 localhost\n127.0.1.1\tn1.cluster n1\n");
        assert_eq!(read(dir, "etc/machine-id"), "00112233445566778899aabbccddeeff\n");
        assert_eq!(fs::read_link(dir.join("var/lib/dbus/machine-id")).unwrap(), Path::new("/etc/machine-id"));
        let shadow = "root:$6$salt$hash:19000:0:99999:7:::\nuser:$6$a$b:19000:0:99999:7:::\n";
        assert_eq!(read(dir, "etc/shadow"), shadow);
        assert_eq!(fs::metadata(dir.join("etc/shadow")).unwrap().mode() & 0o7777, 0o600);
        for (link, unit) in [
            ("multi-user.target.wants/a.service", "a.service"),
            ("b.service", "a.service"),
            ("a.service.requires/c.socket", "c.socket"),
        ] {
            let target = fs::read_link(dir.join("etc/systemd/system").join(link)).unwrap();
            assert_eq!(target, Path::new("/usr/lib/systemd/system").join(unit));
        }
        let fstab = CString::new(dir.join("etc/fstab").as_os_str().as_bytes()).unwrap();
        if !xattr::list(Of::Path(&fstab)).unwrap().is_empty() {
            assert!(xattr::list(Of::Path(&fstab)).unwrap().contains(&(b"user.kept".to_vec(), b"1".to_vec())));
        }
        let before = (
            snapshot(dir),
            fs::metadata(dir).unwrap().mtime_nsec(),
            fs::metadata(dir.join("etc")).unwrap().mtime_nsec(),
        );
        let again = apply_in(root, &all_actions(), &Task::quiet()).unwrap();
        assert!(again.iter().all(|o| *o == Outcome::Unchanged), "{again:?}");
        let after = (
            snapshot(dir),
            fs::metadata(dir).unwrap().mtime_nsec(),
            fs::metadata(dir.join("etc")).unwrap().mtime_nsec(),
        );
        assert!(before == after);
        assert!(before.0.keys().all(|p| !String::from_utf8_lossy(p).contains(".cv-")));
    }
}

/// How a step goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The system returns an error.
    Error,
    /// The process ends: nothing runs any more, not even the undo.
    Kill,
}

/// Runs with a fault at step `n`; `None` when there are fewer steps.
fn with_fault(root: &Root, n: usize, fault: Fault) -> Option<Result<Vec<Outcome>>> {
    let (count, hit) = (Cell::new(0), Cell::new(false));
    let hook = |_: &'static str| {
        count.set(count.get() + 1);
        if count.get() == n + 1 {
            hit.set(true);
            if fault == Fault::Kill {
                std::panic::panic_any("killed");
            }
            return Err(std::io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    };
    let run = std::panic::AssertUnwindSafe(|| apply_with(root, &all_actions(), &Task::quiet(), &hook));
    let result = std::panic::catch_unwind(run).unwrap_or_else(|_| Err(Error::cancelled()));
    hit.get().then_some(result)
}

#[test]
fn a_failure_at_any_step_leaves_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    for way in 0..2 {
        for n in 0.. {
            let dir = &tmp.path().join(format!("{way}-{n}"));
            distribution(dir);
            let before = snapshot(dir);
            let Some(result) = with_fault(&roots(dir)[way], n, Fault::Error) else {
                assert!(n > 30, "{n}");
                break;
            };
            match result {
                // After the point of no return a fault only leaves backups, which the next run takes away.
                Ok(_) => {
                    let again = apply(dir, &all_actions(), &Task::quiet()).unwrap();
                    assert!(again.iter().all(|o| *o == Outcome::Unchanged));
                    assert!(snapshot(dir).keys().all(|p| !String::from_utf8_lossy(p).contains(".cv-")));
                }
                Err(e) => {
                    assert!(e.kind() == ErrorKind::Io && e.failed_undo().is_none(), "{n}: {e:?}");
                    assert!(snapshot(dir) == before, "step {n}");
                }
            }
            fs::remove_dir_all(dir).unwrap();
        }
    }
}

#[test]
fn a_kill_at_any_step_is_put_right_by_the_next_run() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"killed") {
            quiet(info);
        }
    }));
    let tmp = tempfile::tempdir().unwrap();
    for n in 0.. {
        let dir = &tmp.path().join(n.to_string());
        distribution(dir);
        let before = snapshot(dir);
        let root = &roots(dir)[n % 2];
        if with_fault(root, n, Fault::Kill).is_none() {
            assert!(n > 30, "{n}");
            break;
        }
        // A run without actions does nothing but put right: all of it, or none.
        apply_in(root, &[], &Task::quiet()).unwrap();
        let after = snapshot(dir);
        assert!(after.keys().all(|p| !String::from_utf8_lossy(p).contains(".cv-")), "step {n}");
        let done = apply_in(root, &all_actions(), &Task::quiet()).unwrap();
        if after == before {
            assert!(done.contains(&Outcome::Changed));
        } else {
            assert!(done.iter().all(|o| *o == Outcome::Unchanged), "step {n}: {done:?}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn a_kill_in_the_middle_of_an_undo_is_put_right_too() {
    let tmp = tempfile::tempdir().unwrap();
    // One more fault in the undo: the journal stays, and the next run finishes the work.
    for n in 0..40 {
        let dir = &tmp.path().join(n.to_string());
        distribution(dir);
        let before = snapshot(dir);
        let root = Root::open(dir).unwrap();
        let count = Cell::new(0);
        let hook = |step: &'static str| {
            count.set(count.get() + usize::from(step.starts_with("undo")));
            let fails = step == "journal done" || (step.starts_with("undo") && count.get() == n + 1);
            if fails { Err(std::io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
        };
        let e = apply_with(&root, &all_actions(), &Task::quiet(), &hook).unwrap_err();
        if e.failed_undo().is_none() {
            assert!(n > 10 && snapshot(dir) == before);
            break;
        }
        apply_in(&root, &[], &Task::quiet()).unwrap();
        assert!(snapshot(dir) == before, "step {n}");
        fs::remove_dir_all(dir).unwrap();
    }
}

/// Backups as second names are taken away before the swaps: what a filesystem without hard links looks like.
#[test]
fn without_hard_links_it_is_all_or_nothing_too() {
    let tmp = tempfile::tempdir().unwrap();
    for n in 0.. {
        let dir = &tmp.path().join(n.to_string());
        distribution(dir);
        let before = snapshot(dir);
        let root = Root::open(dir).unwrap();
        let after_commit = Cell::new(None);
        let hook = |step: &'static str| {
            if step == "journal commit" {
                for name in snapshot(dir).keys().filter(|p| p.ends_with(b".old")) {
                    fs::remove_file(dir.join(std::ffi::OsStr::from_bytes(name))).unwrap();
                }
                after_commit.set(Some(0));
            } else if let Some(count) = after_commit.get() {
                after_commit.set(Some(count + 1));
                if count == n {
                    std::panic::panic_any("killed");
                }
            }
            Ok(())
        };
        let run = std::panic::AssertUnwindSafe(|| apply_with(&root, &all_actions(), &Task::quiet(), &hook));
        let ended = std::panic::catch_unwind(run).is_ok();
        apply_in(&root, &[], &Task::quiet()).unwrap();
        let after = snapshot(dir);
        assert!(after.keys().all(|p| !String::from_utf8_lossy(p).contains(".cv-")), "step {n}");
        if after != before {
            let again = apply_in(&root, &all_actions(), &Task::quiet()).unwrap();
            assert!(again.iter().all(|o| *o == Outcome::Unchanged), "step {n}: {again:?}");
        }
        if ended {
            assert!(n > 10 && after != before);
            break;
        }
    }
}

#[test]
fn a_bad_action_stops_everything_before_it_begins() {
    let tmp = tempfile::tempdir().unwrap();
    distribution(tmp.path());
    let before = snapshot(tmp.path());
    let late = |json: serde_json::Value| {
        let mut actions = all_actions();
        actions.push(serde_json::from_value(json).unwrap());
        apply(tmp.path(), &actions, &Task::quiet()).unwrap_err()
    };
    let cases = [
        (serde_json::json!({"write-file": {"path": "/../x", "content": ""}}), ErrorKind::UnsafeInput),
        (serde_json::json!({"hostname": "a b"}), ErrorKind::Invalid),
        (serde_json::json!({"password-hash": {"user": "ghost", "hash": "*"}}), ErrorKind::NotFound),
        (serde_json::json!({"enable-unit": {"unit": "ghost.service"}}), ErrorKind::NotFound),
        (serde_json::json!({"enable-unit": {"unit": "b.service"}}), ErrorKind::Invalid),
        (serde_json::json!({"write-file": {"path": "/etc", "content": ""}}), ErrorKind::Invalid),
        (serde_json::json!({"write-file": {"path": "/etc/fstab/x", "content": ""}}), ErrorKind::Invalid),
    ];
    for (json, kind) in cases {
        let e = late(json);
        assert_eq!((e.kind(), &e.facts()["action"]), (kind, &9.into()), "{e:?}");
        assert!(snapshot(tmp.path()) == before);
    }
}

#[test]
fn a_hostile_root_leads_nowhere() {
    for way in 0..2 {
        let tmp = tempfile::tempdir().unwrap();
        let (dir, outside) = (&tmp.path().join("root"), &tmp.path().join("outside"));
        fs::create_dir_all(dir.join("real")).unwrap();
        fs::create_dir_all(outside).unwrap();
        fs::write(outside.join("fstab"), "theirs").unwrap();
        fs::write(tmp.path().join("victim"), "theirs").unwrap();
        let before = (snapshot(outside), read(tmp.path(), "victim"));
        let root = &roots(dir)[way];
        let line =
            serde_json::from_value(serde_json::json!({"fstab-line": {"spec": "a:/b", "file": "/b", "fstype": "nfs"}}))
                .unwrap();
        let actions = [line, Action::Hostname("n1".into())];
        let run = || apply_in(root, &actions, &Task::quiet());
        // etc is a link to itself.
        symlink("/etc", dir.join("etc")).unwrap();
        assert_eq!(run().unwrap_err().kind(), ErrorKind::UnsafeInput);
        fs::remove_file(dir.join("etc")).unwrap();
        // etc is an absolute and a climbing link to what exists only outside.
        for target in [outside.to_str().unwrap(), "../outside", "../../../../../../etc"] {
            symlink(target, dir.join("etc")).unwrap();
            let result = run();
            assert!(result.is_ok() || result.unwrap_err().kind() != ErrorKind::Bug);
            fs::remove_file(dir.join("etc")).unwrap();
        }
        // The file itself is a link out, which in the root leads nowhere: a file takes its place.
        fs::create_dir(dir.join("etc")).unwrap();
        symlink("../../victim", dir.join("etc/fstab")).unwrap();
        symlink(tmp.path().join("victim"), dir.join("etc/hostname")).unwrap();
        run().unwrap();
        assert!(fs::symlink_metadata(dir.join("etc/fstab")).unwrap().is_file());
        assert_eq!(read(dir, "etc/hostname"), "n1\n");
        // A FIFO must not block, a device must not be opened.
        fs::remove_file(dir.join("etc/fstab")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.join("etc/fstab"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        assert_eq!(run().unwrap_err().kind(), ErrorKind::Invalid);
        fs::remove_file(dir.join("etc/fstab")).unwrap();
        // A sparse giant is not read into memory.
        fs::File::create(dir.join("etc/fstab")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(run().unwrap_err().kind(), ErrorKind::Limit);
        fs::remove_file(dir.join("etc/fstab")).unwrap();
        // A journal that libcv never wrote.
        for bad in [
            "x".to_owned(),
            r#"{"format":1,"stage":"commit","directories":[],"swaps":[{"target":"../victim","new":".cv-a","old":null,"inode":1}]}"#.into(),
            r#"{"format":1,"stage":"done","directories":[],"swaps":[{"target":"etc/x","new":".cv-a","old":"../../victim","inode":1}]}"#.into(),
        ] {
            fs::write(dir.join(".cv-config.journal"), bad).unwrap();
            assert_eq!(run().unwrap_err().kind(), ErrorKind::Integrity);
        }
        fs::remove_file(dir.join(".cv-config.journal")).unwrap();
        symlink(tmp.path().join("victim"), dir.join(".cv-config.journal")).unwrap();
        assert_eq!(run().unwrap_err().kind(), ErrorKind::Integrity);
        assert!((snapshot(outside), read(tmp.path(), "victim")) == before);
    }
}

#[test]
fn actions_on_one_file_compose() {
    let tmp = tempfile::tempdir().unwrap();
    distribution(tmp.path());
    let actions: Vec<Action> = serde_json::from_value(serde_json::json!([
        {"write-file": {"path": "/lib/systemd/system/mine.service", "content": "[Install]\nWantedBy=default.target\n"}},
        {"enable-unit": {"unit": "mine.service"}},
        {"link": {"path": "/conf", "target": "etc"}},
        {"write-file": {"path": "/conf/a", "content": "1"}},
        {"write-file": {"path": "/etc/a", "content": "2"}},
        {"write-file": {"path": "/etc/fstab", "content": "# mine\n"}},
        {"fstab-line": {"spec": "a:/b", "file": "/b", "fstype": "nfs"}},
    ]))
    .unwrap();
    apply(tmp.path(), &actions, &Task::quiet()).unwrap();
    assert_eq!(read(tmp.path(), "etc/a"), "2");
    assert_eq!(read(tmp.path(), "etc/fstab"), "# mine\na:/b /b nfs defaults 0 0\n");
    assert!(tmp.path().join("etc/systemd/system/default.target.wants/mine.service").is_symlink());
    let again = apply(tmp.path(), &actions, &Task::quiet()).unwrap();
    assert!(again.iter().all(|o| *o == Outcome::Unchanged));
}

#[test]
fn the_umask_of_the_host_has_no_say() {
    // A thread cannot have an umask of its own; a directory with a default ACL does the same to a new file.
    let tmp = tempfile::tempdir().unwrap();
    let acl = [
        &2u32.to_le_bytes()[..],
        &[1, 0, 7, 0, 255, 255, 255, 255],
        &[2, 0, 7, 0, 9, 0, 0, 0],
        &[4, 0, 0, 0, 255, 255, 255, 255],
        &[16, 0, 7, 0, 255, 255, 255, 255],
        &[32, 0, 0, 0, 255, 255, 255, 255],
    ]
    .concat();
    fs::create_dir(tmp.path().join("etc")).unwrap();
    fs::write(tmp.path().join("etc/old"), "x").unwrap();
    fs::set_permissions(tmp.path().join("etc/old"), fs::Permissions::from_mode(0o604)).unwrap();
    let etc = CString::new(tmp.path().join("etc").as_os_str().as_bytes()).unwrap();
    if xattr::set(Of::Path(&etc), b"system.posix_acl_default", &acl).is_err() {
        return;
    }
    let actions: Vec<Action> = serde_json::from_value(serde_json::json!([
        {"write-file": {"path": "/etc/old", "content": "1"}},
        {"write-file": {"path": "/etc/new", "content": "2", "mode": "0644"}},
    ]))
    .unwrap();
    apply(tmp.path(), &actions, &Task::quiet()).unwrap();
    assert_eq!(fs::metadata(tmp.path().join("etc/old")).unwrap().mode() & 0o7777, 0o604);
    assert_eq!(fs::metadata(tmp.path().join("etc/new")).unwrap().mode() & 0o7777, 0o644);
    let old = CString::new(tmp.path().join("etc/old").as_os_str().as_bytes()).unwrap();
    assert!(xattr::list(Of::Path(&old)).unwrap().iter().all(|(n, _)| n != b"system.posix_acl_access"));
}

#[test]
fn a_label_of_selinux_is_kept_or_inherited() {
    let tmp = tempfile::tempdir().unwrap();
    distribution(tmp.path());
    let at = |p: &str| CString::new(tmp.path().join(p).as_os_str().as_bytes()).unwrap();
    let (etc, own) = (b"system_u:object_r:etc_t:s0\0", b"system_u:object_r:shadow_t:s0\0");
    if xattr::set(Of::Path(&at("etc")), b"security.selinux", etc).is_err() {
        return;
    }
    xattr::set(Of::Path(&at("etc/shadow")), b"security.selinux", own).unwrap();
    apply(tmp.path(), &all_actions(), &Task::quiet()).unwrap();
    let label =
        |p: &str| xattr::list(Of::Path(&at(p))).unwrap().into_iter().find(|x| x.0 == b"security.selinux").map(|x| x.1);
    assert_eq!(label("etc/shadow").as_deref(), Some(&own[..]));
    for new in ["etc/new", "etc/new/deep/file", "etc/localtime"] {
        assert_eq!(label(new).as_deref(), Some(&etc[..]), "{new}");
    }
}

#[test]
fn two_runs_at_once_and_a_cancelled_one() {
    let tmp = tempfile::tempdir().unwrap();
    distribution(tmp.path());
    let before = snapshot(tmp.path());
    let root = Root::open(tmp.path()).unwrap();
    let second = Cell::new(None);
    let hook = |_: &'static str| {
        second.set(Some(apply(tmp.path(), &[], &Task::quiet()).unwrap_err().kind()));
        Err(std::io::Error::from_raw_os_error(libc::EIO))
    };
    let e = apply_with(&root, &all_actions(), &Task::quiet(), &hook).unwrap_err();
    assert_eq!((second.get(), e.kind()), (Some(ErrorKind::Busy), ErrorKind::Io));
    let task = Task::quiet();
    let hook = |step: &'static str| {
        if step == "rename" {
            task.cancel_token().cancel();
        }
        Ok(())
    };
    assert_eq!(apply_with(&root, &all_actions(), &task, &hook).unwrap_err().kind(), ErrorKind::Cancelled);
    apply(tmp.path(), &[], &Task::quiet()).unwrap();
    assert!(snapshot(tmp.path()) == before);
}

/// The links are those of `systemctl --root`, where there is one.
#[test]
fn units_are_enabled_as_systemctl_does() {
    let units = [
        (
            "a.service",
            "[Install]\nWantedBy=multi-user.target \\\n  graphical.target\nAlias=z.service\nAlso=c.socket gone.service off.service\n",
        ),
        ("off.service", "[Install]\nWantedBy=x.target\n"),
        ("c.socket", "[Unit]\nWantedBy=no.target\n[Install]\n; note\nRequiredBy=a.service\n"),
        ("g@.service", "[Install]\nDefaultInstance=tty1\nWantedBy=getty.target dev-%i.device\n"),
        ("h@.service", "[Install]\nWantedBy=x.target\nWantedBy=\nWantedBy=%p-%i.target\n"),
    ];
    let make = |dir: &Path| {
        fs::create_dir_all(dir.join("etc/systemd/system")).unwrap();
        fs::create_dir_all(dir.join("usr/lib/systemd/system/c.socket.d")).unwrap();
        for (name, text) in units {
            fs::write(dir.join("usr/lib/systemd/system").join(name), text).unwrap();
        }
        symlink("/dev/null", dir.join("etc/systemd/system/off.service")).unwrap();
        fs::write(dir.join("usr/lib/systemd/system/c.socket.d/x.conf"), "[Install]\nWantedBy=sockets.target\n")
            .unwrap();
    };
    let links = |dir: &Path| {
        let all = snapshot(dir).into_iter().filter(|(_, e)| e.0 & 0o170_000 == 0o120_000);
        all.map(|(p, e)| (String::from_utf8(p).unwrap(), String::from_utf8(e.5).unwrap())).collect::<BTreeMap<_, _>>()
    };
    for names in [&["a.service"][..], &["g@.service"], &["g@x.service", "h@1.service"], &["c.socket", "a.service"]] {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make(ours.path());
        make(theirs.path());
        let enable = |n: &&str| Action::EnableUnit(EnableUnit { unit: (*n).into(), wanted_by: None });
        let actions: Vec<Action> = names.iter().map(enable).collect();
        apply(ours.path(), &actions, &Task::quiet()).unwrap();
        let mut systemctl = std::process::Command::new("systemctl");
        systemctl.arg("--root").arg(theirs.path()).arg("enable").args(names);
        match systemctl.output() {
            Ok(out) if out.status.success() => assert_eq!(links(ours.path()), links(theirs.path()), "{names:?}"),
            _ => eprintln!("skipped: systemctl cannot enable units in a root here"),
        }
        assert!(!links(ours.path()).is_empty());
        let again = apply(ours.path(), &actions, &Task::quiet()).unwrap();
        assert!(again.iter().all(|o| *o == Outcome::Unchanged));
    }
}

#[test]
fn masked_and_taken_units_are_left_alone() {
    let tmp = tempfile::tempdir().unwrap();
    distribution(tmp.path());
    let system = tmp.path().join("etc/systemd/system");
    let enable = |unit: &str, by: Option<&str>| {
        let action = EnableUnit { unit: unit.into(), wanted_by: by.map(str::to_owned) };
        apply(tmp.path(), &[Action::EnableUnit(action)], &Task::quiet())
    };
    symlink("/usr/lib/systemd/system/other.service", system.join("b.service")).unwrap();
    assert_eq!(enable("a.service", None).unwrap_err().kind(), ErrorKind::Conflict);
    symlink("/dev/null", system.join("a.service")).unwrap();
    assert_eq!(enable("a.service", None).unwrap_err().kind(), ErrorKind::Refused);
    fs::write(system.join("static.service"), "[Service]\n").unwrap();
    assert_eq!(enable("static.service", None).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(enable("static.service", Some("x.target")).unwrap(), [Outcome::Created]);
    assert!(system.join("x.target.wants/static.service").is_symlink());
}
