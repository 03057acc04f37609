//! An apply to disks in memory, cut at every write and with every write and sync failing: each state is resumed, and
//! what comes of it is what an undisturbed apply makes.
//!
//! `FULL=1` tries all of them, otherwise every so many-th.

use super::*;
use crate::layout::device::Facts;
use crate::layout::gate::tap::{self, Op};
use crate::layout::gpt as table;
use crate::layout::{Disks, Layout, PlanOptions};
use rustix::fs::MemfdFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

mod erased;
mod kept;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 48 * MIB;

const STACK: &str = "
schema: cv.layout/v1
name: stack
disks: {d: {count: 2}}
partitions:
  d/swap: {type: swap, size: 2MiB}
  d/m: {type: linux-raid, size: 20MiB}
  d/v: {type: linux-lvm, size: rest}
raid: {a: {level: 1, members: [d/m], metadata: \"1.0\", bitmap: none}}
lvm: {g: {pvs: [d/v], lvs: {l: {size: 20MiB}, s: {size: 4MiB}}}}
filesystems:
  a: {on: raid/a, type: ext4, label: A}
  l: {on: lvm/g/l, type: ext4}
  s: {on: lvm/g/s, type: swap}
";

/// A disk in memory, under a path that opens it again.
struct Disk(File);

impl Disk {
    fn new() -> Self {
        let file = File::from(rustix::fs::memfd_create("disk", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(SIZE).unwrap();
        Self(file)
    }

    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    fn become_like(&self, bytes: &BTreeMap<u64, Vec<u8>>) {
        self.0.set_len(0).unwrap();
        self.0.set_len(SIZE).unwrap();
        bytes.iter().for_each(|(at, block)| self.0.write_all_at(block, *at).unwrap());
    }

    fn bytes(&self) -> BTreeMap<u64, Vec<u8>> {
        let mut found = BTreeMap::new();
        for at in (0..SIZE).step_by(BLOCK) {
            let mut block = vec![0; BLOCK];
            self.0.read_exact_at(&mut block, at).unwrap();
            if block.iter().any(|b| *b != 0) {
                found.insert(at, block);
            }
        }
        found
    }
}

const BLOCK: usize = 4096;

/// Writes into the blocks of a disk.
fn put(disk: &mut BTreeMap<u64, Vec<u8>>, offset: u64, bytes: &[u8]) {
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        let (block, within) = (at / BLOCK as u64 * BLOCK as u64, (at % BLOCK as u64) as usize);
        let length = (BLOCK - within).min(bytes.len() - done);
        let block = disk.entry(block).or_insert_with(|| vec![0; BLOCK]);
        block[within..within + length].copy_from_slice(&bytes[done..done + length]);
        done += length;
    }
}

struct Bed {
    disks: [Disk; 2],
    dir: tempfile::TempDir,
    text: String,
    /// Where identities come from when nothing is resumed.
    seed: u8,
}

type Images = [BTreeMap<u64, Vec<u8>>; 2];

impl Bed {
    /// Two disks with what an older apply of another layout left on them.
    fn new() -> Self {
        let bed = Self::blank();
        let old = "schema: cv.layout/v1\nname: old\ndisks: {d: {count: 2}}\npartitions: {d/o: {type: linux-raid, size: rest}}\n\
                   raid: {o: {level: 1, members: [d/o]}}\nfilesystems: {o: {on: raid/o, type: swap}}\n";
        let plan = Layout::parse(old.as_bytes(), "old").unwrap().plan(&bed.named(), &PlanOptions::default()).unwrap();
        let options = ApplyOptions { backend: Backend::Offline, ..ApplyOptions::default() };
        plan.apply_with(&Confirm::Yes, None, &options, &Task::quiet()).unwrap();
        bed
    }

    fn named(&self) -> Disks {
        Disks::from([("d".to_owned(), self.disks.iter().map(Disk::path).collect())])
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn plan(&self, resume: bool) -> Result<Plan> {
        let seed = (!resume).then_some([self.seed; 16]);
        let options = PlanOptions { seed, resume: resume.then(|| self.journal()), ..PlanOptions::default() };
        Layout::parse(self.text.as_bytes(), "stack").unwrap().plan(&self.named(), &options)
    }

    fn apply(&self, resume: bool) -> Result<Applied> {
        let options = ApplyOptions {
            backend: Backend::Offline,
            journal: Some(self.journal()),
            resume,
            ..ApplyOptions::default()
        };
        self.plan(resume)?.apply_with(&Confirm::Yes, None, &options, &Task::quiet())
    }

    fn images(&self) -> Images {
        [self.disks[0].bytes(), self.disks[1].bytes()]
    }

    fn become_like(&self, images: &Images) {
        self.disks.iter().zip(images).for_each(|(disk, bytes)| disk.become_like(bytes));
    }

    fn index(&self, name: &str) -> usize {
        self.disks.iter().position(|d| d.path().to_str() == Some(name)).unwrap()
    }

    /// Whether a whole GPT can be read of each disk.
    fn has_tables(&self) -> bool {
        self.disks.iter().all(|d| Facts::look(&d.path(), Some(512)).unwrap().contents.table.table().is_some())
    }

    /// Nothing differs from what the layout wants, and no mark is left.
    fn is_done(&self, when: &str) -> Plan {
        let plan = self.plan(false).unwrap_or_else(|e| panic!("{when}: {e:?}"));
        assert!(plan.is_unchanged(), "{when}: {:?}", plan.differences());
        for disk in plan.disks() {
            let found = table::read(&disk.facts_reader(), 512).unwrap();
            assert_eq!((found.primary.as_ref().unwrap(), found.backup.is_ok()), (&disk.table(false), true), "{when}");
        }
        plan
    }

    /// The same, made by this apply and no other.
    fn is_finished(&self, when: &str) {
        let plan = self.is_done(when);
        let seeded = PlanOptions { seed: Some([9; 16]), ..PlanOptions::default() };
        let wanted = Layout::parse(STACK.as_bytes(), "stack").unwrap().plan(&Bed::blank().named(), &seeded).unwrap();
        // The identities are those of the seed, so what is there was made by this apply.
        let uuids = |p: &Plan| p.filesystems().iter().map(|f| f.uuid.clone()).collect::<Vec<_>>();
        assert_eq!(uuids(&plan), uuids(&wanted), "{when}");
    }

    fn blank() -> Self {
        let (disks, dir) = ([Disk::new(), Disk::new()], tempfile::tempdir().unwrap());
        Self { disks, dir, text: STACK.to_owned(), seed: 9 }
    }

    /// Each state that a cut of the power may leave at the places that are `chosen`, with the journal of then: what is on
    /// the media for certain, and of what was written since all, nothing, or two of the many subsets between. `every` has
    /// all four of them, otherwise each place has one.
    fn cut(
        &self,
        before: Images,
        ops: &[Op],
        every: bool,
        chosen: impl Fn(usize) -> bool,
        mut look: impl FnMut(&str),
    ) -> usize {
        const SUBSETS: [u64; 4] = [u64::MAX, 0, 0xaaaa_aaaa_aaaa_aaaa, 0x9e37_79b9_7f4a_7c15];
        let (mut durable, mut pending, mut journal) = (before, [Vec::new(), Vec::new()], Vec::new());
        let mut tried = 0;
        for (n, op) in ops.iter().enumerate() {
            match op {
                Op::Write { disk, offset, bytes } => pending[self.index(disk)].push((*offset, bytes)),
                Op::Sync { disk } => {
                    let i = self.index(disk);
                    for (offset, bytes) in pending[i].drain(..) {
                        put(&mut durable[i], offset, bytes);
                    }
                }
                Op::Note(line) => journal.extend_from_slice(line),
            }
            if !chosen(n) {
                continue;
            }
            let subsets = match (pending.iter().any(|p| !p.is_empty()), every) {
                (false, _) => &SUBSETS[..1],
                (true, true) => &SUBSETS[..],
                (true, false) => &SUBSETS[tried % 4..][..1],
            };
            for subset in subsets {
                let state = [0, 1].map(|i| {
                    let mut state = durable[i].clone();
                    let chosen = pending[i].iter().enumerate().filter(|(k, _)| subset >> (k % 64) & 1 == 1);
                    chosen.for_each(|(_, (offset, bytes))| put(&mut state, *offset, bytes));
                    state
                });
                self.become_like(&state);
                std::fs::write(self.journal(), &journal).unwrap();
                look(&format!("after {n} of {}, subset {subset:x}", ops.len()));
                tried += 1;
            }
        }
        tried
    }

    /// That many of so many places, at equal distances; with `FULL=1` all of them.
    fn sample(all: usize, sample: usize) -> (bool, usize) {
        let step = stride(all, sample);
        (step == 1, step)
    }
}

trait FactsReader {
    fn facts_reader(&self) -> crate::layout::device::OpenDisk;
}

impl FactsReader for crate::layout::plan::PlannedDisk {
    fn facts_reader(&self) -> crate::layout::device::OpenDisk {
        crate::layout::device::OpenDisk { file: File::open(&self.facts.path).unwrap(), size: self.facts.size }
    }
}

/// Each line of a journal is what its schema says.
fn fits_the_schema(journal: &Path) {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("file:///schema.json", journal::json_schema()).unwrap();
    let index = compiler.compile("file:///schema.json", &mut schemas).unwrap();
    for line in std::fs::read_to_string(journal).unwrap().lines() {
        let value = serde_json::from_str(line).unwrap();
        schemas.validate(&value, index).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

fn stride(all: usize, sample: usize) -> usize {
    if std::env::var("FULL").is_ok_and(|f| f == "1") { 1 } else { all.div_ceil(sample).max(1) }
}

fn has_programs() -> bool {
    let there = ["mkfs.ext4", "mkswap"]
        .iter()
        .all(|p| ["/sbin", "/usr/sbin", "/bin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(p).exists()));
    if !there {
        eprintln!(
            "skipped: crashes of an apply: mkfs.ext4 or mkswap is not installed (packages e2fsprogs, util-linux)"
        );
    }
    there
}

#[test]
fn an_apply_that_was_cut_anywhere_is_resumed() {
    if !has_programs() {
        return;
    }
    let bed = Bed::new();
    let before = bed.images();
    let (done, ops) = tap::record(None, || bed.apply(false));
    assert_eq!(done.unwrap().journal(), Some(bed.journal().as_path()));
    bed.is_finished("undisturbed");
    let writes = ops.iter().filter(|op| matches!(op, Op::Write { .. })).count();
    assert!(writes > 60, "{writes}");

    let (every, step) = Bed::sample(ops.len(), 24);
    let tried = bed.cut(
        before,
        &ops,
        every,
        |n| n % step == 0,
        |when| {
            assert!(bed.has_tables(), "{when}: no table");
            bed.apply(true).unwrap_or_else(|e| panic!("{when}: {e}"));
            bed.is_finished(when);
        },
    );
    assert!(tried >= 20, "{tried}");
}

#[test]
fn an_apply_whose_write_fails_says_so_and_is_resumed() {
    if !has_programs() {
        return;
    }
    let bed = Bed::new();
    let before = bed.images();
    let (_, ops) = tap::record(None, || bed.apply(false).unwrap());
    let all = ops.iter().filter(|op| !matches!(op, Op::Note(_))).count();
    for n in (0..all).step_by(stride(all, 12)) {
        bed.become_like(&before);
        let failed = tap::record(Some((n, io::ErrorKind::Other)), || bed.apply(false)).0.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Io, "{n}: {failed:?}");
        assert!(failed.facts().contains_key("journal") && bed.has_tables(), "{n}: {failed:?}");
        let journal = Journal::read(&bed.journal()).unwrap();
        assert!(!journal.is_done());
        bed.apply(true).unwrap_or_else(|e| panic!("{n}: {e:?}"));
        fits_the_schema(&bed.journal());
        assert!(Journal::read(&bed.journal()).unwrap().is_done());
        bed.is_finished(&format!("after write {n} failed"));
    }
}

#[test]
fn what_was_saved_brings_the_old_table_back() {
    use base64::Engine;
    let bed = Bed::new();
    let before = bed.images();
    // Everything fails from the first new table on.
    let _ = tap::record(Some((60, io::ErrorKind::Other)), || bed.apply(false));
    fits_the_schema(&bed.journal());
    let journal = Journal::read(&bed.journal()).unwrap();
    let kinds: Vec<&str> = journal.saved().iter().map(|s| s.what.as_str()).collect();
    assert!(kinds.contains(&"table") && kinds.contains(&"md"), "{kinds:?}");
    for saved in journal.saved() {
        let packed = base64::engine::general_purpose::STANDARD.decode(&saved.data).unwrap();
        let bytes = zstd::stream::decode_all(&*packed).unwrap();
        assert_eq!(bytes.len() as u64, saved.length);
        let i = bed.index(&saved.disk);
        bed.disks[i].0.write_all_at(&bytes, saved.offset).unwrap();
        let mut was = before[i].clone();
        put(&mut was, saved.offset, &bytes);
        was.retain(|_, block| block.iter().any(|b| *b != 0));
        assert!(was == before[i], "{} at {} is not what was there", saved.what, saved.offset);
    }
    for disk in &bed.disks {
        let facts = Facts::look(&disk.path(), Some(512)).unwrap();
        assert_eq!(facts.contents.table.table().unwrap().entries[&1].name, "o");
        assert!(facts.contents.signatures.iter().any(|(_, _, s)| s.kind == "linux_raid_member"));
    }
}

#[test]
fn what_is_not_as_it_was_left_is_refused() {
    if !has_programs() {
        return;
    }
    let bed = Bed::new();
    let refused = |code: &str| {
        let before = bed.images();
        let e = bed.apply(true).unwrap_err();
        assert_eq!(e.facts().get("code").and_then(|c| c.as_str()), Some(code), "{e:?}");
        assert!(before == bed.images(), "{code}: something was written");
    };
    refused("A410");
    let untouched = bed.images();
    let (_, ops) = tap::record(None, || bed.apply(false).unwrap());
    // Finished: nothing is left to do, and nothing is written.
    let finished = bed.images();
    bed.apply(true).unwrap();
    assert!(finished == bed.images());

    // Cut between the volume group and the filesystems.
    bed.become_like(&untouched);
    let begins = |op: &Op| matches!(op, Op::Note(l) if String::from_utf8_lossy(l).contains("mkfs"));
    let first = ops.iter().position(begins).unwrap();
    let writes = ops[..first].iter().filter(|op| !matches!(op, Op::Note(_))).count();
    let _ = tap::record(Some((writes, io::ErrorKind::Other)), || bed.apply(false)).0.unwrap_err();
    let (half, journal) = (bed.images(), std::fs::read_to_string(bed.journal()).unwrap());

    // Nothing was begun, and yet the disks are others.
    std::fs::write(bed.journal(), journal.lines().next().unwrap().to_owned() + "\n").unwrap();
    refused("A412");
    // The disks changed places.
    std::fs::write(bed.journal(), &journal).unwrap();
    bed.become_like(&[half[1].clone(), half[0].clone()]);
    refused("A412");
    bed.become_like(&half);
    // A journal of another host, with another seed, that is none.
    for (from, to, code) in [
        ("\"hostname\":null", "\"hostname\":\"n1\"", "A411"),
        ("\"seed\":\"09", "\"seed\":\"0a", "A411"),
        ("\"size\":", "\"size\":1", "A411"),
        ("\"state\":\"plan\"", "\"state\":\"other\"", "A413"),
    ] {
        assert!(journal.contains(from), "{from}");
        std::fs::write(bed.journal(), journal.replacen(from, to, 1)).unwrap();
        refused(code);
    }
    std::fs::write(bed.journal(), &journal).unwrap();
    // Somebody was here: where a member was, something else is.
    let member = bed.plan(true).unwrap().disks()[0].partitions[1].clone();
    let tail = 256 << 10;
    bed.disks[0].0.write_all_at(&vec![0; tail], member.start + member.length - tail as u64).unwrap();
    bed.disks[0].0.write_all_at(b"LUKS\xba\xbe\0\x02", member.start).unwrap();
    refused("A412");
    bed.become_like(&half);
    bed.apply(true).unwrap();
    bed.is_finished("resumed");
}
