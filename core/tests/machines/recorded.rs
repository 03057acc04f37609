//! A recorded machine as a directory again.

use libcv::layout::inventory::Inventory;
use std::path::{Path, PathBuf};

pub(crate) const MACHINES: [&str; 9] = [
    "fc-multipath",
    "fc-without-map",
    "md-lvm-root",
    "nvme-namespaces",
    "raid-volumes",
    "sas-expander",
    "sata-workstation",
    "usb-installer",
    "virtio-vm",
];

/// A directory with the files of a machine.
pub(crate) struct Recorded(tempfile::TempDir);

impl Recorded {
    /// The machine of this name; `keeps` says which of its files are there.
    pub(crate) fn with(name: &str, keeps: impl Fn(&str) -> bool) -> Self {
        let path = golden("sysfs").join(format!("{name}.tree"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let dir = tempfile::tempdir().unwrap();
        let mut lines = text.lines().filter(|l| !l.starts_with('#')).peekable();
        while let Some(line) = lines.next() {
            let mut more = Vec::new();
            while let Some(next) = lines.peek().and_then(|l| l.strip_prefix("| ")) {
                more.push(next);
                lines.next();
            }
            let entry = entry(line, &more);
            if keeps(entry.0) {
                make(dir.path(), &entry);
            }
        }
        Self(dir)
    }

    pub(crate) fn inventory(&self) -> Inventory {
        Inventory::read(self.0.path())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The inventory of a machine with everything that was recorded.
pub(crate) fn inventory(name: &str) -> Inventory {
    Recorded::with(name, |_| true).inventory()
}

pub(crate) fn golden(what: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(what)
}

enum Kind {
    Directory,
    Link(String),
    File(Vec<u8>),
}

fn entry<'a>(line: &'a str, more: &[&str]) -> (&'a str, Kind) {
    if let Some((path, target)) = line.split_once(" -> ") {
        return (path, Kind::Link(target.to_owned()));
    }
    if let Some(path) = line.strip_suffix('/') {
        return (path, Kind::Directory);
    }
    if let Some(path) = line.strip_suffix(" =") {
        let lines = more.iter().flat_map(|l| [unescaped(l), b"\n".to_vec()].concat());
        return (path, Kind::File(lines.collect()));
    }
    let (path, value) = line.split_once(" = ").unwrap_or_else(|| panic!("not an entry: {line}"));
    (path, Kind::File([unescaped(value), b"\n".to_vec()].concat()))
}

fn unescaped(text: &str) -> Vec<u8> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\\', Some(b'x')) => {
                out.push(u8::from_str_radix(&text[at + 2..at + 4], 16).unwrap());
                at += 4;
            }
            (b'\\', Some(b'\\')) => {
                out.push(b'\\');
                at += 2;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

fn make(root: &Path, (path, kind): &(&str, Kind)) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    match kind {
        Kind::Directory => std::fs::create_dir_all(&path).unwrap(),
        Kind::Link(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
        Kind::File(bytes) => std::fs::write(&path, bytes).unwrap(),
    }
}
