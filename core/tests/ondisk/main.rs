//! Formats of disks beside the programs that own them: what is written is read by mdadm and LVM, what they write is read
//! here, and what any mkfs makes is named, erased, and then found by nobody.
//!
//! Everything is done to files that the test made; LVM gets loop devices of them, which the kernel detaches by itself.
//! A test that cannot run prints `skipped: ` with the reason; `tests/run.sh` counts these lines. The fixtures in
//! `fixtures/` were made by `fixtures/make.sh`.

#[path = "../common/mod.rs"]
mod common;
mod erase;
mod luks;
mod lvm;
mod md;
mod reuse;

use common::image;
use libcv::layout::device::{OpenDisk, ReadAt, WriteAt};
use libcv::layout::ondisk::lvm::export::Written;
use libcv::layout::ondisk::md::write::Member;
use libcv::sys::loopdev::LoopDevice;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ondisk/fixtures").join(name)
}

/// A file or a device.
fn open(path: &Path) -> OpenDisk {
    let mut file = File::open(path).unwrap();
    let size = file.seek(SeekFrom::End(0)).unwrap();
    OpenDisk { file, size }
}

/// What a program says; its words, whatever it thinks of them.
fn says(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).env("LC_ALL", "C").output().unwrap();
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

/// The value behind `KEY : ` in what mdadm says.
fn field(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|l| l.split_once(" : "));
    lines.find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim().to_owned())
}

/// A file that is written like a device.
struct Disk(File);

impl ReadAt for Disk {
    fn size(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

impl WriteAt for Disk {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn write(path: &Path, pieces: &[(u64, Vec<u8>)]) {
    let file = File::options().write(true).open(path).unwrap();
    pieces.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).unwrap());
}

/// A loop device of a new file.
fn loop_device(path: &Path) -> LoopDevice {
    let file = File::options().read(true).write(true).open(path).unwrap();
    LoopDevice::attach(file.as_fd(), 512).unwrap()
}

/// What blkid finds: keys and values.
fn probe(path: &Path) -> Vec<(String, String)> {
    let text = says("blkid", &["-p", "-o", "export", path.to_str().unwrap()]);
    let pairs = text.lines().filter_map(|l| l.split_once('='));
    pairs.filter(|(k, _)| *k != "DEVNAME").map(|(k, v)| (k.to_owned(), v.replace('\\', ""))).collect()
}

/// Not a test of its own: `tests/storage/test_ondisk.sh` has members of arrays and of a group written into a directory,
/// for a kernel to take.
#[test]
fn members_for_a_kernel() {
    let Some(dir) = std::env::var_os("LIBCV_TEST_ONDISK_OUT") else { return };
    for (version, level, bitmap) in md::ARRAYS {
        for role in 0..2 {
            let array = md::array(version, level, bitmap, 64 * MIB);
            let path = image(Path::new(&dir), &format!("{version}-{level}-{bitmap}.{role}"), 64 * MIB);
            let member = Member { role, uuid: Uuid::from_u128(u128::from(role) + 1), size: 64 * MIB };
            write(&path, &array.member(&member).unwrap());
        }
    }
    for name in ["pv0", "pv1"] {
        let path = image(Path::new(&dir), name, 64 * MIB);
        write(&path, &libcv::layout::ondisk::lvm::write(&lvm::group(64 * MIB), name, &Written::default()).unwrap());
    }
}
