//! The table survives a crash after every write, and other programs find no fault with it.

use super::*;
use crate::layout::gpt::{Entry, Fault};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::Command;
use uuid::Uuid;

/// A write, or a sync.
type Logged = Option<(u64, Vec<u8>)>;

/// A disk in memory that remembers what was written between two syncs.
struct Memory {
    bytes: RefCell<Vec<u8>>,
    log: RefCell<Vec<Logged>>,
}

impl Memory {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: RefCell::new(bytes), log: RefCell::default() }
    }
}

impl ReadAt for Memory {
    fn size(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.bytes.borrow().read_at(offset, buffer)
    }
}

impl WriteAt for Memory {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        self.bytes.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
        self.log.borrow_mut().push(Some((offset, bytes.to_vec())));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.log.borrow_mut().push(None);
        Ok(())
    }
}

fn sample(seed: u8, numbers: &[u32], sector: u32, size: u64) -> Table {
    let sectors = size / u64::from(sector);
    let unit = (64 << 10) / u64::from(sector);
    let entries: BTreeMap<u32, Entry> = (1u64..)
        .zip(numbers)
        .map(|(i, n)| {
            let entry = Entry {
                kind: uuid::uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4"),
                uuid: Uuid::from_u128(u128::from(seed) * 1000 + u128::from(*n)),
                first: i * unit,
                last: (i + 1) * unit - 1,
                attributes: 1 << 2,
                name: format!("größe{n}{}", crate::layout::MARKER),
            };
            (*n, entry)
        })
        .collect();
    let disk = Uuid::from_u128(u128::from(seed) << 64 | 1);
    let (first_usable, last_usable) = (unit, sectors - 2 - array_sectors(sector));
    Table { disk, sector, first_usable, last_usable, other: sectors - 1, entries }
}

const SIZE: u64 = 512 << 10;

/// Every state that the medium can be in when the power fails: all writes before a sync that returned are there, of
/// those after it any subset.
fn crashes(before: &[u8], log: &[Logged]) -> Vec<Vec<u8>> {
    let mut states = Vec::new();
    let mut durable = before.to_vec();
    for phase in log.split(Option::is_none) {
        let writes: Vec<&(u64, Vec<u8>)> = phase.iter().flatten().collect();
        for subset in 0..1u32 << writes.len() {
            let mut state = durable.clone();
            for (i, (offset, bytes)) in writes.iter().enumerate() {
                if subset & (1 << i) != 0 {
                    let at = usize::try_from(*offset).unwrap();
                    state[at..at + bytes.len()].copy_from_slice(bytes);
                }
            }
            states.push(state);
        }
        durable = states.last().unwrap().clone();
    }
    states
}

fn same(a: &Table, b: &Table) -> bool {
    a.disk == b.disk && a.entries == b.entries
}

/// Writes `new` over `before`, crashes everywhere, and lets the next run complete from each state.
fn crash_everywhere(before: &[u8], old: Option<&Table>, new: &Table) -> usize {
    let memory = Memory::new(before.to_vec());
    write(&memory, new, BootCode::Erase).unwrap();
    let log = memory.log.borrow().clone();
    let states = crashes(before, &log);
    for (i, state) in states.iter().enumerate() {
        let found = table::read(state, new.sector).unwrap();
        match (found.table(), old) {
            (Some(t), Some(old)) => assert!(same(t, old) || same(t, new), "state {i}: a third table"),
            (Some(t), None) => assert!(same(t, new), "state {i}"),
            (None, old) => assert!(old.is_none(), "state {i}: no valid table"),
        }
        if let Some(t) = found.table().filter(|t| same(t, new)) {
            assert!(matches!(found.mbr, Mbr::Protective | Mbr::None | Mbr::Partitions), "{t:?}");
        }
        let next = Memory::new(state.clone());
        write(&next, new, BootCode::Erase).unwrap();
        verify(&next, new).unwrap();
        // And so does the run after a crash of that one.
        let log = next.log.borrow().clone();
        for again in crashes(state, &log) {
            let t = table::read(&again, new.sector).unwrap();
            assert!(t.table().is_some() || found.table().is_none(), "state {i}: the second crash loses the table");
        }
    }
    states.len()
}

#[test]
fn one_table_is_valid_after_every_write() {
    for sector in [512, 4096] {
        let blank = vec![0u8; usize::try_from(SIZE).unwrap()];
        let old = sample(1, &[1, 5], sector, SIZE);
        let new = sample(2, &[2, 3, 128], sector, SIZE);
        assert!(crash_everywhere(&blank, None, &new) >= 12);
        let memory = Memory::new(blank);
        write(&memory, &old, BootCode::Erase).unwrap();
        let both = memory.bytes.into_inner();
        crash_everywhere(&both, Some(&old), &new);
        let s = sector as usize;
        // Only the backup holds: header broken, array broken.
        for at in [s + 20, 2 * s + 40] {
            let mut broken = both.clone();
            broken[at] ^= 0xff;
            assert!(table::read(&broken, sector).unwrap().primary.is_err());
            crash_everywhere(&broken, Some(&old), &new);
        }
        // Only the primary holds.
        let mut broken = both.clone();
        let end = broken.len() - s + 20;
        broken[end] ^= 0xff;
        assert!(table::read(&broken, sector).unwrap().backup.is_err());
        crash_everywhere(&broken, Some(&old), &new);
        // The last step: the same table without the marker.
        let mut done = old.clone();
        done.entries.values_mut().for_each(|e| e.name = e.name.replace(crate::layout::MARKER, ""));
        crash_everywhere(&both, Some(&old), &done);
    }
}

#[test]
fn an_mbr_stays_until_the_new_table_stands() {
    let mut disk = vec![0u8; usize::try_from(SIZE).unwrap()];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[446 + 4] = 0x83;
    let new = sample(2, &[1], 512, SIZE);
    let memory = Memory::new(disk.clone());
    write(&memory, &new, BootCode::Erase).unwrap();
    for state in crashes(&disk, &memory.log.borrow()) {
        let found = table::read(&state, 512).unwrap();
        assert!(found.mbr == Mbr::Partitions || found.table().is_some());
    }
}

#[test]
fn boot_code_is_erased_or_kept() {
    let new = sample(2, &[1], 512, SIZE);
    let memory = Memory::new(vec![0u8; usize::try_from(SIZE).unwrap()]);
    write(&memory, &new, BootCode::Erase).unwrap();
    memory.bytes.borrow_mut()[..440].fill(0xeb);
    write(&memory, &new, BootCode::Keep).unwrap();
    assert_eq!(memory.bytes.borrow()[439], 0xeb);
    write(&memory, &new, BootCode::Erase).unwrap();
    assert_eq!(memory.bytes.borrow()[0], 0);
}

#[test]
fn what_cannot_be_is_not_written() {
    let good = sample(1, &[1, 2], 512, SIZE);
    let memory = Memory::new(vec![0u8; usize::try_from(SIZE).unwrap()]);
    let mut cases = Vec::new();
    for (first, last) in [(1, 200), (128, 1 << 40), (300, 299), (128, 300)] {
        let mut t = good.clone();
        let e = t.entries.get_mut(&1).unwrap();
        (e.first, e.last) = (first, last);
        cases.push(t);
    }
    let mut twice = good.clone();
    twice.entries.get_mut(&1).unwrap().uuid = good.entries[&2].uuid;
    cases.push(twice);
    let mut number = good.clone();
    let entry = number.entries.remove(&1).unwrap();
    number.entries.insert(129, entry);
    cases.push(number);
    for t in cases {
        assert_eq!(write(&memory, &t, BootCode::Erase).unwrap_err().kind(), ErrorKind::Invalid, "{t:?}");
    }
    assert!(memory.log.borrow().is_empty());
    let tiny = Memory::new(vec![0u8; 16 * 512]);
    assert!(write(&tiny, &good, BootCode::Erase).is_err());
    assert_eq!(table::read(&tiny, 512).unwrap().primary, Err(Fault::Absent));
}

#[test]
fn other_programs_find_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    for sector in [512u32, 4096] {
        let size = 64 << 20;
        let new = sample(3, &[1, 5, 2], sector, size);
        let memory = Memory::new(vec![0u8; usize::try_from(size).unwrap()]);
        write(&memory, &new, BootCode::Erase).unwrap();
        let path = dir.path().join(format!("disk{sector}"));
        std::fs::write(&path, &*memory.bytes.borrow()).unwrap();
        // Both take a file for one with 512-byte sectors; tests/layout_apply.rs shows them a loop device with 4096.
        if sector == 4096 {
            continue;
        }
        match Command::new("sgdisk").arg("-v").arg(&path).output() {
            Err(_) => eprintln!("skipped: sgdisk -v: not installed (package gdisk)"),
            Ok(out) => {
                let text = String::from_utf8_lossy(&out.stdout).into_owned();
                assert!(out.status.success() && text.contains("No problems found"), "{text}");
            }
        }
        match Command::new("sfdisk").arg("--json").arg(&path).output() {
            Err(_) => eprintln!("skipped: sfdisk --json: not installed (package fdisk)"),
            Ok(out) => {
                assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
                let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
                let parts = json["partitiontable"]["partitions"].as_array().unwrap();
                assert_eq!(parts.len(), 3);
                assert!(parts.iter().any(|p| p["node"].as_str().unwrap().ends_with('5') && p["name"] == "größe5~cv"));
            }
        }
    }
}
