//! What speaks against writing to a disk, as far as facts and the kernel tell: nothing is opened for writing here.

use crate::layout::device::{Facts, Medium};
use crate::layout::diagnostic::Diagnostic;
use crate::sys::loopdev;
use crate::sys::sysfs::{DeviceNumber, Kernel, Use};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why a disk is not touched, as far as can be seen without opening it for writing; empty when nothing speaks against it.
#[must_use]
pub fn inspect(facts: &Facts, path: &str) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = read_only(facts, path).into_iter().collect();
    let name = facts.path.display();
    match facts.medium {
        Medium::Block { major, minor } => {
            found.extend(inspect_device(&facts.path, DeviceNumber { major, minor }, path));
        }
        Medium::File { device, inode } => {
            if let Some(first) = loopdev::attached_to(device, inode).first() {
                let d = Diagnostic::error("F204", path, format!("{name} is in use: it is attached to /dev/{first}"));
                found.push(d.hint(format!("wait for whoever works on it; if nobody does: losetup -d /dev/{first}")));
            }
            if Kernel::default().swaps().iter().any(|s| is_file(s, device, inode)) {
                found.push(Diagnostic::error("F204", path, format!("{name} is in use as swap")));
            }
        }
    }
    found.extend(shared(facts, path));
    found
}

/// The same of a disk that was recorded elsewhere: what facts alone say.
#[must_use]
pub fn inspect_recorded(facts: &Facts, path: &str) -> Vec<Diagnostic> {
    read_only(facts, path).into_iter().chain(shared(facts, path)).collect()
}

fn read_only(facts: &Facts, path: &str) -> Option<Diagnostic> {
    let d = || Diagnostic::error("F214", path, format!("{} is read-only", facts.path.display()));
    facts.read_only.then(|| d().hint("make it writable, run as its owner or root, or name another disk"))
}

fn shared(facts: &Facts, path: &str) -> Option<Diagnostic> {
    let shared = facts.contents.shared()?;
    let text = format!("{} carries {shared}, which other machines may be using", facts.path.display());
    let d = Diagnostic::error("F222", path, text);
    Some(d.hint("libcv never writes to shared storage; erase it by hand if it is nobody's"))
}

/// The same of a device that was not opened at all: what the kernel says about its use.
#[must_use]
pub fn inspect_device(device: &Path, number: DeviceNumber, path: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let kernel = Kernel::default();
    if kernel.is_partition(number) {
        let d = Diagnostic::error("F215", path, format!("{} is a partition", device.display()));
        found.push(d.hint("a disk set needs a whole disk"));
    }
    found.extend(kernel.uses(number).into_iter().take(1).map(|u| in_use(path, device, &u)));
    found
}

fn in_use(path: &str, disk: &Path, how: &Use) -> Diagnostic {
    let name = disk.display();
    match how {
        Use::RunningRoot(_) => Diagnostic::error("F205", path, format!("{name} is in use: {how}"))
            .hint("name another disk, or start this machine from the network"),
        Use::Mounted(_, at) => Diagnostic::error("F204", path, format!("{name} is in use: {how}"))
            .hint(format!("unmount it first: umount {}", at.display())),
        Use::Swap(device) => Diagnostic::error("F204", path, format!("{name} is in use: {how}"))
            .hint(format!("switch it off first: swapoff /dev/{device}")),
        Use::Held(_, by) => {
            Diagnostic::error("F204", path, format!("{name} is in use: {how}")).hint(format!("stop {by} first"))
        }
    }
}

fn is_file(path: &Path, device: u64, inode: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == (device, inode))
}
