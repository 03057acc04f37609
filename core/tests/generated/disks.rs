//! What is on disks, read without libcv's own way through arrays and volumes: from the plan and the metadata of LVM.

use libcv::layout::Plan;
use libcv::layout::ondisk::lvm::{self, text::Mapping};
use libcv::layout::place::Place;
use libcv::layout::plan::Device;
use libcv::layout::spec::Level;
use rustix::fs::SeekFrom;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A stretch of a disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    disk: usize,
    start: u64,
    length: u64,
}

/// The disks of a plan, opened.
pub(crate) struct Disks<'a> {
    plan: &'a Plan,
    files: Vec<File>,
}

impl<'a> Disks<'a> {
    pub(crate) fn open(plan: &'a Plan) -> Self {
        Self { plan, files: plan.disks().iter().map(|d| File::open(&d.facts.path).unwrap()).collect() }
    }

    /// Where a device lies: of a mirror on its member number `leg`.
    pub(crate) fn pieces(&self, device: Device, leg: usize) -> Vec<Piece> {
        match device {
            Device::Partition { disk, partition } => {
                let p = &self.plan.disks()[disk].partitions[partition];
                vec![Piece { disk, start: p.start, length: p.length }]
            }
            Device::Array(i) => {
                let array = &self.plan.arrays()[i];
                let members: Vec<Vec<Piece>> = array.members.iter().map(|m| self.pieces(*m, leg)).collect();
                let n = members.len() as u64;
                let chunk = array.chunk.unwrap_or(array.size);
                let copies = if array.level == Level::Raid10 { 2 } else { 1 };
                let chunks = (0..array.size / chunk).map(|c| match array.level {
                    Level::Raid1 => (leg % members.len(), 0),
                    _ => {
                        let at = c * copies + leg as u64 % copies;
                        (usize::try_from(at % n).unwrap(), at / n * chunk)
                    }
                });
                chunks.flat_map(|(m, at)| part(&members[m], array.data_offset + at, chunk)).collect()
            }
            Device::Volume { group, volume } => {
                let planned = &self.plan.groups()[group];
                let on = self.pieces(planned.pvs[0].0, leg);
                // The label and the text lie before the first extent.
                let head = self.read(&part(&on, 0, 1 << 20));
                let found = lvm::read(&Place::whole(&head)).unwrap().unwrap();
                let found = found.group().unwrap();
                let logical = found.volume(&planned.volumes[volume].name).unwrap();
                assert_eq!(found.size_of(logical), planned.volumes[volume].size);
                let place = |s: &lvm::text::Segment| match &s.mapping {
                    Mapping::Linear(at) => part(
                        &on,
                        found.physical[0].start + at.extent * found.extent_size,
                        s.extents * found.extent_size,
                    ),
                    other => panic!("{other:?}"),
                };
                logical.segments.iter().flat_map(place).collect()
            }
            Device::Crypt(_) => panic!("nothing is encrypted here"),
        }
    }

    fn read(&self, pieces: &[Piece]) -> Vec<u8> {
        let mut all = Vec::new();
        for p in pieces {
            let at = all.len();
            all.resize(at + usize::try_from(p.length).unwrap(), 0);
            self.files[p.disk].read_exact_at(&mut all[at..], p.start).unwrap();
        }
        all
    }

    /// Writes the pieces into a file, holes as holes.
    pub(crate) fn extract(&self, pieces: &[Piece], to: &Path) -> File {
        let out = File::options().read(true).write(true).create(true).truncate(true).open(to).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let mut end = 0;
        for piece in pieces {
            let file = &self.files[piece.disk];
            let (mut at, last) = (piece.start, piece.start + piece.length);
            while at < last {
                // The next bytes that the file has; none behind the last.
                let Ok(from) = rustix::fs::seek(file, SeekFrom::Data(at)) else { break };
                let till = rustix::fs::seek(file, SeekFrom::Hole(from)).unwrap().min(last);
                at = from.min(last);
                while at < till {
                    let length = usize::try_from((till - at).min(buffer.len() as u64)).unwrap();
                    file.read_exact_at(&mut buffer[..length], at).unwrap();
                    out.write_all_at(&buffer[..length], end + (at - piece.start)).unwrap();
                    at += length as u64;
                }
            }
            end += piece.length;
        }
        out.set_len(end).unwrap();
        out
    }
}

/// So many bytes of some pieces from `offset` on.
fn part(pieces: &[Piece], mut offset: u64, mut length: u64) -> Vec<Piece> {
    let mut found = Vec::new();
    for p in pieces {
        if offset >= p.length {
            offset -= p.length;
            continue;
        }
        let here = (p.length - offset).min(length);
        if here > 0 {
            found.push(Piece { disk: p.disk, start: p.start + offset, length: here });
        }
        (offset, length) = (0, length - here);
    }
    assert_eq!(length, 0, "beyond the end");
    found
}
