//! The confined root with real programs: what a hostile package can do in it, and what is left of it at a kill.
#![allow(missing_docs)]

use libcv::ErrorKind;
use libcv::build::root::{Call, Confined, Line, Stream};
use libcv::job::{CancelToken, Task};
use libcv::sys::scratch::{self, Scratch};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Set, it makes [`as_the_process_that_is_killed`] work in this directory.
const KILLED: &str = "LIBCV_TEST_ROOT_KILLED";

fn may_run(name: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {name}: needs root; run it with: sudo -E cargo test -p libcv --test root {name}");
    }
    root
}

/// A scratch directory and a root over an empty target in it.
fn bed(parent: &Path) -> (Scratch, Confined) {
    let scratch = Scratch::new(parent, "build").unwrap();
    let (target, place) = (scratch.path().join("target"), scratch.path().join("root"));
    [&target, &place].iter().for_each(|d| std::fs::create_dir(d).unwrap());
    let conf = vec![("note".to_owned(), b"from the caller\n".to_vec())];
    let root = Confined { target, place, dist: Vec::new(), conf, work: None, net: false };
    (scratch, root)
}

fn sh(script: &str) -> Call {
    Call::new(["/bin/sh", "-c", script])
}

/// Runs a script and gives what it said, with its exit status.
fn run(root: &Confined, call: &Call) -> (i32, Vec<Line>) {
    let mut lines = Vec::new();
    let ended = root.run(call, &Task::quiet(), &mut |l| lines.push(l.clone())).unwrap();
    (ended.status, lines)
}

/// Processes whose command line has this text.
fn processes(text: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
    let has = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    pids.filter(has).collect()
}

fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// Lines `NAME yes` or `NAME no`: whether it could be done.
const HOSTILE: &str = r#"
try() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name yes"; else echo "$name no"; fi; }
py() { python3 -c "$1"; }
try mount mount -t tmpfs none /mnt
try bind mount --bind /tmp /var/tmp
try remount mount -o remount,rw /usr
try sysctl sh -c 'echo escaped > /proc/sys/kernel/domainname'
try hostname hostname escaped
try host-files ls /proc/1/root/etc/shadow /proc/1/root/home
try host-root sh -c '[ -e /work -o -e /home -o -e /var/lib/dpkg ]'
try init-environment sh -c 'tr "\0" "\n" < /proc/1/environ | grep -q LIBCV_TEST_SECRET'
try network py 'import socket; socket.create_connection(("127.0.0.1", PORT), 2)'
try abstract py 'import socket; socket.socket(socket.AF_UNIX).connect("\0libcv-test-PORT")'
try write-usr touch /usr/escaped
try write-conf touch /conf/escaped
try write-dist touch /dist/data/escaped
try user-namespace unshare -Ur true
try keyring py 'import ctypes,sys; sys.exit(ctypes.CDLL(None).syscall(250, 0, -4, 0) < 0)'
try module modprobe dummy
try kcore sh -c '[ "$(head -c 4 /proc/kcore | wc -c)" = 4 ]'
try sysfs sh -c '[ -n "$(ls -A /sys)" ]'
try disk sh -c 'ls /dev/[svh]d? /dev/nvme*'
try mknod mknod /target/node b 254 0
try open-node head -c 1 /target/node
try dev-node sh -c 'mknod /dev/node b 254 0 && head -c 1 /dev/node'
try escape-chroot py 'import os; os.mkdir("/target/x"); os.chroot("/target/x"); [os.chdir("..") for _ in range(9)]; os.chroot("."); os.stat("/etc/shadow")'
try descriptors sh -c 'ls /proc/self/fd | grep -qv "^[0-3]$"'
try other-processes sh -c 'ls -d /proc/[0-9]* | wc -l | { read n; [ "$n" -gt 12 ]; }'
try write-target touch /target/written
try read-dist cat /dist/data/file
try read-conf cat /conf/note
try devices sh -c 'echo x > /dev/null && head -c 8 /dev/urandom > /dev/shm/x && [ -d /dev/pts ] && : > /target/tmp/x'
setsid sleep DAEMON </dev/null >/dev/null 2>&1 &
"#;

#[test]
fn a_hostile_script_gets_none_of_the_host() {
    if !may_run("a_hostile_script_gets_none_of_the_host") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (scratch, mut root) = bed(dir.path());
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), "x").unwrap();
    root.dist.push(("data".into(), data.clone()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let name = <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(format!(
        "libcv-test-{port}"
    ))
    .unwrap();
    let _abstract = std::os::unix::net::UnixListener::bind_addr(&name).unwrap();
    // An open file of the host that is not close-on-exec.
    let leak = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let daemon = format!("{}.5", 86_400 + u64::from(std::process::id()));
    let host =
        (mounts(), rustix::system::uname().nodename().to_owned(), rustix::system::uname().domainname().to_owned());
    let script = HOSTILE.replace("PORT", &port.to_string()).replace("DAEMON", &daemon);
    let (status, lines) = run(&root, &sh(&script));
    assert_eq!(status, 0, "{lines:?}");
    let found: BTreeMap<&str, &str> = lines.iter().filter_map(|l| l.text.split_once(' ')).collect();
    let may: Vec<_> = found.iter().filter(|(_, v)| **v == "yes").map(|(k, _)| *k).collect();
    assert_eq!(may, ["devices", "mknod", "read-conf", "read-dist", "write-target"], "{lines:?}");
    assert_eq!(found.len(), HOSTILE.lines().filter(|l| l.starts_with("try ")).count());
    let after =
        (mounts(), rustix::system::uname().nodename().to_owned(), rustix::system::uname().domainname().to_owned());
    assert_eq!(host, after);
    assert!(processes(&daemon).is_empty());
    assert!(root.target.join("written").exists() && !data.join("escaped").exists());
    // What was mounted over was not written to, and has its own mode.
    for (name, mode) in [("proc", 0o555), ("sys", 0o555), ("dev", 0o755), ("run", 0o755), ("tmp", 0o1777)] {
        let path = root.target.join(name);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "{name}");
        let found = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(found & 0o7777, mode, "{name}");
    }
    scratch.remove().unwrap();
}

/// The checks of the script are worth something: on the host, most of it works.
#[test]
fn the_hostile_script_could_do_it_elsewhere() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let probes = ["network", "host-root", "sysfs", "other-processes", "keyring"];
    let lines: Vec<_> = HOSTILE
        .lines()
        .filter(|l| {
            let name = l.strip_prefix("try ").and_then(|l| l.split(' ').next());
            name.is_none_or(|n| probes.contains(&n)) && !l.starts_with("setsid")
        })
        .collect();
    let out = std::process::Command::new("sh").arg("-c").arg(lines.join("\n").replace("PORT", &port)).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(text.matches(" yes").count(), probes.len(), "{text}");
}

#[test]
fn programs_of_the_target_see_the_target() {
    if !may_run("programs_of_the_target_see_the_target") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_scratch, root) = bed(dir.path());
    // The host's shell and what it needs, by the loader's own list.
    let copy =
        "for f in /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*'); do mkdir -p /target/${f%/*}; cp -L $f /target/$f; done";
    assert_eq!(run(&root, &sh(copy)).0, 0);
    let script = "echo $HOME; cd /; echo *; read x < /proc/1/comm; echo $x; [ -d /proc/self ] && [ -c /dev/null ] && [ -d /proc/1/root/work ]; echo $?";
    let (status, lines) = run(&root, &sh(script).in_target());
    assert_eq!(status, 0);
    let texts: Vec<_> = lines.iter().map(|l| l.text.as_str()).collect();
    assert_eq!(texts[0], "/root");
    assert!(!texts[1].contains("dist") && texts[1].contains("proc"), "{texts:?}");
    assert_eq!(texts[2..], ["sh", "1"]);
}

#[test]
fn lines_come_as_they_are_said_and_the_status_as_it_is() {
    if !may_run("lines_come_as_they_are_said_and_the_status_as_it_is") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_scratch, root) = bed(dir.path());
    let begun = Instant::now();
    let mut first = None;
    let events = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = events.clone();
    let task = Task::new(CancelToken::default(), Some(Box::new(move |e| sink.lock().unwrap().push(e.message.clone()))));
    let call = sh("echo first; echo second >&2; sleep 1; echo third; exit 7").env("VARIABLE", "x");
    let mut streams = Vec::new();
    let ended = root.run(&call, &task, &mut |l| {
        first.get_or_insert(begun.elapsed());
        streams.push(l.stream);
    });
    let ended = ended.unwrap();
    assert_eq!((ended.status, ended.tail.len()), (7, 3));
    assert!(first.unwrap() + Duration::from_millis(800) < begun.elapsed());
    assert_eq!(streams.iter().filter(|s| **s == Stream::Err).count(), 1);
    assert!(events.lock().unwrap().contains(&Some("third".into())));
    assert_eq!(run(&root, &sh("kill -9 $$")).0, 137);
    assert_eq!(run(&root, &Call::new(["/nonexistent"])).0, 127);
    let (_, lines) = run(&root, &sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"));
    assert_eq!((lines.len(), lines[19_999].text.as_str()), (20_000, "line 19999"));
    // Orphans are children of process 1, which waits for them.
    let zombies = "for i in 1 2 3 4 5 6 7 8; do (sh -c 'sleep 0.1 &' ); done; sleep 0.6; grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    assert_eq!(run(&root, &sh(zombies)).1[0].text, "0");
}

#[test]
fn what_takes_too_long_is_ended_with_all_that_it_started() {
    if !may_run("what_takes_too_long_is_ended_with_all_that_it_started") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_scratch, root) = bed(dir.path());
    let marker = format!("{}.25", 86_400 + u64::from(std::process::id()));
    let script = format!("trap '' TERM INT HUP; setsid sleep {marker} & echo begun; while :; do sleep {marker}; done");
    let call = |limit, silence| Call {
        limit: Duration::from_millis(limit),
        silence: Duration::from_millis(silence),
        ..sh(&script)
    };
    let begun = Instant::now();
    let e = root.run(&call(700, 60_000), &Task::quiet(), &mut |_| {}).unwrap_err();
    assert_eq!(
        (e.kind(), &e.facts()["seconds"], &e.facts()["tail"][0]),
        (ErrorKind::Limit, &0.7.into(), &"begun".into())
    );
    assert!(e.message().contains("did not end"), "{e}");
    let e = root.run(&call(60_000, 700), &Task::quiet(), &mut |_| {}).unwrap_err();
    assert!(e.kind() == ErrorKind::Limit && e.message().contains("said nothing"), "{e}");
    let cancel = CancelToken::default();
    let task = Task::new(cancel.clone(), None);
    let e = root.run(&call(60_000, 60_000), &task, &mut |_| cancel.cancel()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled);
    // The caller's code panics in the middle of it.
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        root.run(&call(60_000, 60_000), &Task::quiet(), &mut |_| panic!("as the test wants it"))
    }));
    assert!(caught.is_err());
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(processes(&marker).is_empty());
}

#[test]
fn a_target_whose_directories_are_links_is_refused() {
    if !may_run("a_target_whose_directories_are_links_is_refused") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_scratch, root) = bed(dir.path());
    std::os::unix::fs::symlink("/etc", root.target.join("run")).unwrap();
    let e = root.run(&sh("true"), &Task::quiet(), &mut |_| {}).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::UnsafeInput);
}

#[test]
fn the_network_is_there_for_those_who_ask() {
    if !may_run("the_network_is_there_for_those_who_ask") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_scratch, root) = bed(dir.path());
    let root = Confined { net: true, ..root };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "import socket, os; socket.create_connection(('127.0.0.1', {port}), 2); print(os.path.exists('/etc/hosts'), os.path.exists('/etc/ssl/private'))"
    );
    let (status, lines) = run(&root, &Call::new(["/usr/bin/python3", "-c", &script]));
    assert_eq!((status, lines[0].text.as_str()), (0, "True False"));
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn as_the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(KILLED) else { return };
    let (_scratch, root) = bed(Path::new(&dir));
    let marker = std::env::var("MARKER").unwrap();
    let script = format!("setsid sleep {marker} & sleep {marker} & while :; do echo x > /target/f; sleep 0.01; done");
    let _ = root.run(&sh(&script), &Task::quiet(), &mut |_| {});
}

#[test]
fn a_kill_at_any_moment_leaves_no_process_and_no_mount() {
    if !may_run("a_kill_at_any_moment_leaves_no_process_and_no_mount") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut worked, before) = (0, mounts());
    for (n, after) in [5, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 800, 1200].iter().enumerate() {
        let marker = format!("{}.{}", 90_000 + u64::from(std::process::id()), 100 + n);
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "as_the_process_that_is_killed", "--nocapture"])
            .env(KILLED, dir.path())
            .env("MARKER", &marker)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(*after));
        worked += usize::from(!processes(&marker).is_empty());
        child.kill().unwrap();
        let killed = Instant::now();
        child.wait().unwrap();
        while !processes(&marker).is_empty() {
            assert!(killed.elapsed() < Duration::from_secs(1), "{after} ms: {:?}", processes(&marker));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(mounts(), before, "{after} ms");
        // What was forked and not yet executed has no marker, but holds the lock until it dies, too.
        while scratch::clean(dir.path(), "build") == 0 && std::fs::read_dir(dir.path()).unwrap().count() > 0 {
            assert!(killed.elapsed() < Duration::from_secs(1), "{after} ms: somebody holds what was left");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{after} ms");
    }
    assert!(worked >= 3, "most kills came before anything ran");
}
