//! Files without a name, in which filesystems are made before they are copied to where they belong.
//!
//! Programs reach one through this process (`/proc/PID/fd/N`). It ends with its descriptor, also when the process is
//! killed.

use crate::error::{Error, Result};
use crate::layout::device::{ReadAt, WriteAt};
use crate::sys::clock;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const BUFFER: usize = 1 << 20;
/// What is looked at for being all zeros.
const BLOCK: usize = 64 << 10;

/// A sparse file as large as a device.
#[derive(Debug)]
pub(super) struct Scratch {
    file: File,
    size: u64,
}

impl Scratch {
    /// Makes one in the first of these directories that takes it.
    ///
    /// # Errors
    /// `Io`, `Denied` or `Limit` of the last of them.
    pub(super) fn make(directories: &[PathBuf], size: u64) -> Result<Self> {
        let mut failed = None;
        for directory in directories {
            let made = nameless(directory).and_then(|fd| rustix::fs::ftruncate(&fd, size).map(|()| fd));
            match made {
                Ok(fd) => return Ok(Self { file: fd.into(), size }),
                Err(e) => failed = Some(Error::io("make a file in", directory.display(), e)),
            }
        }
        Err(failed.unwrap_or_else(|| Error::invalid("there is no directory for temporary files")))
    }

    /// Where programs that this process starts find it.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Copies what is in it to a device that holds zeros, and lets go of it piece by piece: there is never room needed for
    /// two of it.
    ///
    /// # Errors
    /// `Cancelled`; `Limit` when there is no room; `Io`. `name` stands for the device in messages.
    pub(super) fn pour(&self, to: &dyn WriteAt, name: &str, stop: &dyn Fn() -> bool) -> Result<u64> {
        let read = |e: Errno| Error::io("read", "a temporary file", e);
        let mut buffer = vec![0; BUFFER];
        let (mut at, mut copied) = (0, 0);
        while at < self.size.min(to.size()) {
            let data = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(Errno::NXIO) => break,
                // Where holes are not known everything is data.
                Err(Errno::INVAL) => at,
                Err(e) => return Err(read(e)),
            };
            let hole = rustix::fs::seek(&self.file, SeekFrom::Hole(data)).unwrap_or(self.size).min(self.size);
            at = data;
            while at < hole {
                if stop() {
                    return Err(Error::cancelled());
                }
                let length = usize::try_from(hole - at).map_or(BUFFER, |left| left.min(BUFFER));
                let piece = &mut buffer[..length];
                self.file.read_exact_at(piece, at).map_err(|e| Error::io("read", "a temporary file", e))?;
                copied += write_blocks(to, at, piece).map_err(|e| Error::io("write", name, e))?;
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                // Only to have the room: it is gone at the end anyway.
                let _ = rustix::fs::fallocate(&self.file, flags, at, length as u64);
                at += length as u64;
            }
        }
        Ok(copied)
    }
}

/// Writes what is not zero.
fn write_blocks(to: &dyn WriteAt, at: u64, bytes: &[u8]) -> std::io::Result<u64> {
    let is_zero = |block: &[u8]| block.iter().all(|b| *b == 0);
    let (mut begin, mut written) = (0, 0);
    while begin < bytes.len() {
        let mut end = begin;
        while end < bytes.len() && !is_zero(&bytes[end..bytes.len().min(end + BLOCK)]) {
            end = bytes.len().min(end + BLOCK);
        }
        if end > begin {
            to.write_at(at + begin as u64, &bytes[begin..end])?;
            written += (end - begin) as u64;
        }
        begin = end + BLOCK;
    }
    Ok(written)
}

fn nameless(directory: &Path) -> Result<OwnedFd, Errno> {
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
        // Of filesystems that cannot do it: NFS for one.
        Err(Errno::NOTSUP | Errno::ISDIR | Errno::INVAL) => {}
        done => return done,
    }
    let path = directory.join(format!(".cv-{:016x}", clock::random_u64()));
    let fd = rustix::fs::open(&path, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC, mode)?;
    rustix::fs::unlinkat(rustix::fs::CWD, &path, AtFlags::empty())?;
    Ok(fd)
}

impl AsFd for Scratch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl ReadAt for Scratch {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    struct Disk(File, u64);

    impl ReadAt for Disk {
        fn size(&self) -> u64 {
            self.1
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            self.0.read_exact_at(buffer, offset)
        }
    }

    impl WriteAt for Disk {
        fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
            self.0.write_all_at(bytes, offset)
        }

        fn sync(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_in_it_is_poured_and_holes_stay_holes() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = dir.path().join("nowhere");
        let scratch = Scratch::make(&[nowhere.clone(), dir.path().to_owned()], 64 << 20).unwrap();
        assert!(Scratch::make(&[nowhere], 1).is_err());
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "it has no name");
        // At odd places, over the end of a buffer, zeros in between, and the last byte.
        let data: &[(u64, usize)] = &[(5, 3), ((1 << 20) - 7, 100_000), (40 << 20, 1), ((64 << 20) - 1, 1)];
        let file = std::fs::OpenOptions::new().write(true).open(scratch.path()).unwrap();
        file.write_all_at(&vec![0; 3 << 20], 30 << 20).unwrap();
        for (at, length) in data {
            file.write_all_at(&vec![7; *length], *at).unwrap();
        }
        let disk = Disk(tempfile::tempfile_in(dir.path()).unwrap(), 64 << 20);
        disk.0.set_len(64 << 20).unwrap();
        let copied = scratch.pour(&disk, "it", &|| false).unwrap();
        assert!(copied < 1 << 20, "{copied}");
        let mut expected = vec![0; 64 << 20];
        data.iter().for_each(|(at, length)| expected[usize::try_from(*at).unwrap()..][..*length].fill(7));
        let mut found = vec![1; 64 << 20];
        disk.read_at(0, &mut found).unwrap();
        assert!(found == expected);
        assert!(disk.0.metadata().unwrap().blocks() * 512 < 2 << 20);
        let again = Scratch::make(&[dir.path().to_owned()], 1 << 20).unwrap();
        std::fs::write(again.path(), [1; 10]).unwrap();
        assert_eq!(again.pour(&disk, "it", &|| true).unwrap_err().kind(), crate::ErrorKind::Cancelled);
    }
}
