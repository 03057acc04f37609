//! The facts of a directory.

use crate::image::facts::Peek;
use crate::sys::confined::{Links, Root};
use rustix::fs::{Mode, OFlags, RawDir};
use std::io::Read;
use std::mem::MaybeUninit;

impl Peek for Root {
    fn read(&self, path: &[u8], limit: u64) -> Option<Vec<u8>> {
        let fd = self.open_file(path, OFlags::RDONLY).ok()?;
        let mut out = Vec::new();
        std::fs::File::from(fd).take(limit).read_to_end(&mut out).ok()?;
        Some(out)
    }

    fn names(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(fd) = self.open_at(path, flags, Mode::empty(), Links::InRoot) else { return Vec::new() };
        let mut buf = [const { MaybeUninit::<u8>::uninit() }; 4096];
        let mut dir = RawDir::new(&fd, &mut buf);
        let mut out = Vec::new();
        while let Some(Ok(e)) = dir.next() {
            out.push(e.file_name().to_bytes().to_vec());
        }
        out
    }

    fn exists(&self, path: &[u8]) -> bool {
        self.open_at(path, OFlags::PATH, Mode::empty(), Links::InRoot).is_ok()
    }
}
