//! The processes of this machine: what they are called, where their root is, which files they have mapped.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its short name.
    pub name: String,
    /// Device and inode of its root directory; `None` where that cannot be seen.
    pub root: Option<(u64, u64)>,
    /// Its control groups, as `/proc/PID/cgroup` has them.
    pub cgroup: String,
    /// Files that it has mapped, its program and libraries among them; each once.
    pub mapped: Vec<Mapped>,
}

/// A file that is mapped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapped {
    /// The absolute path that it had.
    pub path: Vec<u8>,
    /// Whether the path leads to it no more: it was removed or replaced.
    pub deleted: bool,
}

/// All processes that can be seen, but for this one and for threads of the kernel. `proc` is `/proc`.
#[must_use]
pub fn all(proc: &Path) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir(proc) else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let mut out: Vec<_> = pids.filter(|pid| *pid != std::process::id()).filter_map(|pid| one(proc, pid)).collect();
    out.sort_by_key(|p| p.pid);
    out
}

/// A process that ends meanwhile is none.
fn one(proc: &Path, pid: u32) -> Option<Process> {
    let dir = proc.join(pid.to_string());
    let mapped = parse_maps(&std::fs::read(dir.join("maps")).ok()?);
    if mapped.is_empty() {
        return None;
    }
    let root = std::fs::metadata(dir.join("root")).ok().map(|m| (m.dev(), m.ino()));
    let text = |name: &str| std::fs::read(dir.join(name)).map(|b| String::from_utf8_lossy(&b).into_owned());
    let name = text("comm").unwrap_or_default().trim_end().to_owned();
    Some(Process { pid, name, root, cgroup: text("cgroup").unwrap_or_default(), mapped })
}

/// The files in the text of `/proc/PID/maps`.
#[must_use]
pub fn parse_maps(text: &[u8]) -> Vec<Mapped> {
    let mut out = Vec::new();
    for line in text.split(|&c| c == b'\n') {
        // address perms offset dev inode path; only the path may hold spaces.
        let Some(at) = line.iter().position(|&c| c == b'/') else { continue };
        let mut fields = line[..at].split(|&c| c == b' ').filter(|f| !f.is_empty());
        if fields.nth(4).is_none_or(|inode| inode == b"0") {
            continue;
        }
        let path = unescape(&line[at..]);
        match path.strip_suffix(b" (deleted)") {
            Some(path) => out.push(Mapped { path: path.to_vec(), deleted: true }),
            None => out.push(Mapped { path, deleted: false }),
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// The kernel writes a line feed in a path as `\012`, and nothing else.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(&first) = rest.first() {
        match rest.strip_prefix(b"\\012") {
            Some(after) => {
                out.push(b'\n');
                rest = after;
            }
            None => {
                out.push(first);
                rest = &rest[1..];
            }
        }
    }
    out
}

/// Device and inode of a directory, as [`Process::root`] has them.
#[must_use]
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// The release of the kernel that runs.
#[must_use]
pub fn kernel_release() -> String {
    let name = rustix::system::uname();
    std::ffi::OsStr::from_bytes(name.release().to_bytes()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_name_each_file_once() {
        let text = b"55d0-55d1 r--p 00000000 fe:00 1234    /usr/bin/cat\n\
                     55d1-55d2 r-xp 00001000 fe:00 1234    /usr/bin/cat\n\
                     7f00-7f01 rw-p 00000000 00:00 0 \n\
                     7f01-7f02 r-xp 00000000 fe:00 99      /usr/lib/a b.so (deleted)\n\
                     7f02-7f03 rw-s 00000000 00:05 0       /dev/zero (deleted)\n\
                     7f03-7f04 r--p 00000000 fe:00 77      /srv/new\\012line\n\
                     7ffe-7fff rw-p 00000000 00:00 0       [stack]\n";
        let file = |path: &str, deleted| Mapped { path: path.as_bytes().to_vec(), deleted };
        let wanted = [file("/srv/new\nline", false), file("/usr/bin/cat", false), file("/usr/lib/a b.so", true)];
        assert_eq!(parse_maps(text), wanted);
    }

    #[test]
    fn a_child_of_ours_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        // Until exec, it maps what we map.
        let seen = || all(Path::new("/proc")).into_iter().find(|p| p.pid == pid && p.name == "sleep");
        let found = std::iter::repeat_with(seen).take(1000).find(|found| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            found.is_some()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let found = found.flatten().unwrap();
        assert!(found.mapped.iter().any(|m| m.path.ends_with(b"/sleep") && !m.deleted), "{found:?}");
        assert_eq!(found.root, identity(Path::new("/")));
    }
}
