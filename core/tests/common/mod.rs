//! What the integration tests share: a tree with every oddity, made for real.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod miniature;
#[cfg(feature = "build")]
pub mod rpmdb;
pub mod watched;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Runs a program and wants success.
pub fn run(program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Whether the tests run as root, which most of an oddity needs.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a test can run here; says why not.
pub fn can(test: &str, programs: &[&str]) -> bool {
    let root = rustix::process::geteuid().is_root();
    let missing = programs
        .iter()
        .find(|p| !["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|d| Path::new(d).join(p).exists()));
    match (root, Path::new("/dev/loop-control").exists(), missing) {
        (true, true, None) => true,
        (false, ..) => skip(test, "it needs root: sudo cargo test"),
        (_, false, _) => skip(test, "it needs loop devices: modprobe loop"),
        (.., Some(p)) => skip(test, &format!("it needs the program {p}")),
    }
}

/// Whether these programs are there, for a test that needs no root; says which is not.
pub fn has(programs: &[&str], test: &str) -> bool {
    let missing = programs
        .iter()
        .find(|p| !["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|d| Path::new(d).join(p).exists()));
    missing.is_none_or(|p| skip(test, &format!("it needs the program {p}")))
}

/// Tells why a test does not run; `tests/run.sh` counts these lines.
pub fn skip(test: &str, why: &str) -> bool {
    eprintln!("skipped: {test}: {why}");
    false
}

/// A raw disk of `bytes` bytes.
pub fn image(dir: &Path, name: &str, bytes: u64) -> std::path::PathBuf {
    let path = dir.join(name);
    std::fs::File::create(&path).unwrap().set_len(bytes).unwrap();
    path
}

/// A small ordinary tree.
pub fn small_tree(root: &Path) {
    for d in ["etc", "usr/bin", "var/log", "proc", "tmp", "home/u"] {
        std::fs::create_dir_all(root.join(d)).unwrap();
    }
    std::fs::write(root.join("etc/fstab"), "UUID=1 / ext4 defaults 0 1\n").unwrap();
    std::fs::write(root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::write(root.join("etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\n").unwrap();
    std::fs::write(root.join("var/log/messages"), "much\n").unwrap();
    std::fs::write(root.join("tmp/x"), "x").unwrap();
    std::fs::write(root.join("usr/bin/big"), noise(3 << 20, 7)).unwrap();
    for i in 0..200 {
        std::fs::write(root.join(format!("home/u/f{i}")), format!("file {i}\n").repeat(i)).unwrap();
    }
    symlink("usr/bin", root.join("bin")).unwrap();
    std::fs::set_permissions(root.join("usr/bin/big"), PermissionsExt::from_mode(0o755)).unwrap();
}

/// Bytes that do not compress.
pub fn noise(n: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(n + 8);
    while out.len() < n {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(n);
    out
}

/// Everything that a filesystem can hold and a tool may forget. Needs root and a filesystem like ext4.
pub fn odd_tree(root: &Path, entries: usize) {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let at = |p: &str| root.join(p);
    let text = |p: &str| at(p).to_str().unwrap().to_owned();
    for d in ["a/b/c", "empty", "locked", "many", "links/one", "links/two", "acl"] {
        std::fs::create_dir_all(at(d)).unwrap();
    }
    std::fs::write(at("a/plain"), "plain\n").unwrap();
    std::fs::write(at("a/zero"), "").unwrap();
    // Attributes of all namespaces, an ACL, a default ACL, a file capability.
    std::fs::write(at("a/xattr"), "x").unwrap();
    for (name, value) in [("user.one", "1"), ("user.bytes", "0x00ff00"), ("trusted.t", "t"), ("security.s", "s")] {
        run("setfattr", &["-n", name, "-v", value, &text("a/xattr")]);
    }
    run("setfattr", &["-n", "trusted.dir", "-v", "d", &text("a/b")]);
    symlink("nowhere/at all", at("a/link")).unwrap();
    run("setfattr", &["-h", "-n", "trusted.link", "-v", "l", &text("a/link")]);
    std::fs::write(at("acl/file"), "acl").unwrap();
    run("setfacl", &["-m", "u:1234:rwx,g:4321:r-x,m:rwx", &text("acl/file")]);
    run("setfacl", &["-d", "-m", "u:1234:rwx", &text("acl")]);
    std::fs::write(at("a/cap"), "cap").unwrap();
    // cap_net_raw+ep, revision 2, as setcap writes it.
    run("setfattr", &["-n", "security.capability", "-v", "0x0100000200200000000000000000000000000000", &text("a/cap")]);
    // Modes and owners.
    for (name, mode) in [("suid", 0o4755), ("sgid", 0o2755), ("sticky", 0o1644), ("none", 0o0), ("other", 0o006)] {
        std::fs::write(at(name), name).unwrap();
        std::os::unix::fs::chown(at(name), Some(70_000), Some(4_000_000_000)).unwrap();
        std::fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    std::fs::set_permissions(at("locked"), PermissionsExt::from_mode(0o0)).unwrap();
    std::fs::set_permissions(at("empty"), PermissionsExt::from_mode(0o3777)).unwrap();
    // Hard links across directories, also of a link.
    std::fs::write(at("links/one/file"), noise(400_000, 3)).unwrap();
    std::fs::hard_link(at("links/one/file"), at("links/two/file")).unwrap();
    std::fs::hard_link(at("links/one/file"), at("a/third")).unwrap();
    std::fs::hard_link(at("a/link"), at("links/link")).unwrap();
    // Devices, FIFOs, a socket.
    run("mknod", &[&text("a/char"), "c", "5", "300"]);
    run("mknod", &[&text("a/block"), "b", "259", "70000"]);
    run("mkfifo", &[&text("a/fifo")]);
    drop(std::os::unix::net::UnixListener::bind(at("a/socket")).unwrap());
    // Names.
    for name in [&b"not utf-8 \xff\xfe"[..], b"new\nline", b"back\\slash", b" ", b"-rf", b"caf\xc3\xa9", &[b'n'; 255]] {
        std::fs::write(root.join(OsStr::from_bytes(name)), "n").unwrap();
    }
    // A path over PATH_MAX.
    deep(root, 22);
    // Holes: 1 TiB with three bytes of data, a hole at the start, a hole at the end, zeros that are none.
    sparse(&at("tib"), 1 << 40, &[(0, b"a"), (1 << 39, b"b"), ((1 << 40) - 1, b"c")]);
    sparse(&at("hole-end"), 10 << 20, &[(4096, &noise(300_000, 5))]);
    sparse(&at("hole-only"), 1 << 20, &[]);
    std::fs::write(at("zeros"), vec![0; 300_000]).unwrap();
    std::fs::write(at("large"), noise(9 << 20, 9)).unwrap();
    // Times.
    for (name, time) in [
        ("t-1901", "1902-01-01 00:00:00.000000001 UTC"),
        ("t-1969", "1969-12-31 23:59:59.999999999 UTC"),
        ("t-2038", "2038-01-19 03:14:08.123456789 UTC"),
        ("t-2200", "2200-06-01 00:00:00.5 UTC"),
    ] {
        std::fs::write(at(name), name).unwrap();
        run("touch", &["-m", "-d", time, &text(name)]);
    }
    run("touch", &["-h", "-m", "-d", "1999-01-01 00:00:00.25 UTC", &text("a/link")]);
    for i in 0..entries {
        std::fs::write(root.join(format!("many/{i:06}")), "").unwrap();
    }
    run("touch", &["-m", "-d", "2001-01-01 00:00:00.000000007 UTC", &text("many")]);
    // Immutable and append-only.
    std::fs::create_dir(at("frozen")).unwrap();
    std::fs::write(at("frozen/immutable"), "i").unwrap();
    std::fs::write(at("frozen/append"), "a").unwrap();
    run("chattr", &["+i", &text("frozen/immutable")]);
    run("chattr", &["+a", &text("frozen/append")]);
    run("chattr", &["+i", &text("frozen")]);
}

/// Takes immutable flags off, so that a tree can be removed.
pub fn thaw(root: &Path) {
    let _ = Command::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(root).output();
}

fn deep(root: &Path, levels: usize) {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    let name = "d".repeat(200);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(root, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&at, name.as_str(), Mode::RWXU).unwrap();
        at = openat(&at, name.as_str(), flags, Mode::empty()).unwrap();
    }
    let file = openat(&at, "deepest", OFlags::WRONLY | OFlags::CREATE, Mode::RUSR).unwrap();
    rustix::io::write(&file, b"deep").unwrap();
}

fn sparse(path: &Path, size: u64, data: &[(u64, &[u8])]) {
    use std::os::unix::fs::FileExt;
    let f = std::fs::File::create(path).unwrap();
    f.set_len(size).unwrap();
    for (at, bytes) in data {
        f.write_all_at(bytes, *at).unwrap();
    }
}

/// A filesystem in a file, mounted; unmounted and gone when dropped, and by autoclear when the test is killed.
pub struct Mounted {
    pub dir: tempfile::TempDir,
}

impl Mounted {
    /// Makes one of `kind` (`ext4`, `xfs`, `btrfs`) with `size` bytes in a sparse file under a temporary directory.
    pub fn new(kind: &str, size: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (image, at) = (dir.path().join("image"), dir.path().join("mnt"));
        std::fs::create_dir(&at).unwrap();
        std::fs::File::create(&image).unwrap().set_len(size).unwrap();
        let force = if kind == "ext4" { "-F" } else { "-f" };
        run(&format!("mkfs.{kind}"), &["-q", force, image.to_str().unwrap()]);
        run("mount", &["-o", "loop", "-t", kind, image.to_str().unwrap(), at.to_str().unwrap()]);
        let _ = std::fs::remove_dir(at.join("lost+found"));
        Self { dir }
    }

    /// A small one in memory, of so many bytes.
    pub fn small(size: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("mnt");
        std::fs::create_dir(&at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", at.to_str().unwrap()]);
        Self { dir }
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("mnt")
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        rustix::fs::statvfs(self.path()).map(|s| s.f_bavail * s.f_frsize).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        thaw(&self.path());
        let _ = Command::new("umount").arg(self.path()).output();
    }
}

/// A lease as a crash leaves it: a process of this number that began at another time is another one.
pub fn lease_of_the_dead(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut value: serde_json::Value = serde_json::from_str(text.lines().nth(1)?).ok()?;
    value["process"]["start"] = 1.into();
    let front = format!("libcv lease v1\n{value}\n");
    Some(format!("{front}blake3 {}\n", libcv::image::Hash::of(front.as_bytes())))
}

/// HEAD of a name, as the format has it.
pub fn head(name: &str, generation: u64) -> String {
    let check = libcv::image::Hash::of(format!("{name} {generation}").as_bytes()).to_string();
    format!("{generation} {}", &check[..8])
}
