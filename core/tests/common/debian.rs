//! A small mirror of Debian: packages that dpkg-deb makes, lists, a Release, a key that signs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The mirror, made once for all tests; `None`, said so, where the programs for it are not there.
pub(crate) fn mirror(test: &str) -> Option<&'static Path> {
    static MADE: OnceLock<Result<(tempfile::TempDir, PathBuf), String>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let ask = "for p in dpkg-deb apt-get gpg gpgv xz busybox python3; do command -v $p >/dev/null || echo $p; done";
        let out = Command::new("sh").args(["-c", ask]).output().unwrap();
        if !out.stdout.is_empty() {
            return Err(String::from_utf8_lossy(&out.stdout).trim().replace('\n', " "));
        }
        let dir = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/debian/mirror.sh");
        let out = Command::new("bash").arg(script).arg(dir.path()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let path = dir.path().to_owned();
        Ok((dir, path))
    });
    match made {
        Ok((_, path)) => Some(path),
        Err(missing) => {
            let needs = "the packages dpkg apt gpg gpg-agent gpgv xz-utils busybox-static python3";
            eprintln!("skipped: {test}: it needs {needs} ({missing} is missing)");
            None
        }
    }
}

/// A copy of the mirror that may be changed.
pub(crate) fn copy(from: &Path, to: &Path) -> PathBuf {
    let out = Command::new("cp").arg("-a").arg(from.join("mirror")).arg(to).status().unwrap();
    assert!(out.success());
    to.join("dists/bookworm")
}

/// Serves a directory over HTTP on the loopback address until it is dropped.
pub(crate) struct Served {
    child: std::process::Child,
    pub(crate) url: String,
}

impl Served {
    pub(crate) fn new(dir: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("python3")
            .args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()])
            .current_dir(dir)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let there = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        for _ in 0..200 {
            if there() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Self { child, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Changes a file.
pub(crate) fn change(file: &Path, how: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, how(text)).unwrap();
}

/// The suite that this machine's apt uses first, and the keyring for it; `None`, said so, where it has none or cannot reach it.
pub(crate) fn machine(test: &str) -> Option<(String, PathBuf)> {
    let out = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(SITE) $(RELEASE) $(SIGNED_BY)",
            "Created-By: Packages",
            "Component: main",
        ])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let found = text.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (site, release) = (words.next()?, words.next()?);
        let key =
            words.next().filter(|k| k.starts_with('/')).unwrap_or("/usr/share/keyrings/debian-archive-keyring.gpg");
        let plain = !release.contains(['-', '/']) && site.starts_with("http") && Path::new(key).exists();
        plain.then(|| (format!("{site}/dists/{release}"), PathBuf::from(key)))
    });
    let reached = found.filter(|(url, _)| {
        let agent =
            Command::new("curl").args(["-sfI", "-m", "20", "-o", "/dev/null", &format!("{url}/InRelease")]).status();
        agent.is_ok_and(|s| s.success())
    });
    if reached.is_none() {
        eprintln!(
            "skipped: {test}: it needs curl and a mirror of Debian or Ubuntu in this machine's apt that can be reached"
        );
    }
    reached
}
