//! Layouts that keep what is there: a first application that is cut, and a later one with something to keep. Each state is
//! resumed, and begun anew without its journal; of what is kept no byte is another one in any of them.

use super::*;

const KEEPING: &str = "
schema: cv.layout/v1
name: keeping
disks: {d: {count: 2, preserve: if-exists}}
partitions:
  d/x: {type: linux-raid, size: 8MiB}
  d/m: {type: linux-raid, size: 16MiB, preserve: if-exists}
  d/v: {type: linux-lvm, size: rest, preserve: if-exists}
raid:
  x: {level: 1, members: [d/x], metadata: \"1.0\", bitmap: none}
  a: {level: 1, members: [d/m], metadata: \"1.0\", bitmap: none, preserve: if-exists}
lvm:
  g:
    pvs: [d/v]
    preserve: if-exists
    lvs: {l: {size: 8MiB, preserve: if-exists}}
filesystems:
  x: {on: raid/x, type: swap, label: ONE}
  a: {on: raid/a, type: ext4, label: A, preserve: if-exists}
  l: {on: lvm/g/l, type: ext4, preserve: if-exists}
";

impl Bed {
    fn keeping(label: &str) -> Self {
        Self { text: KEEPING.replace("ONE", label), ..Self::new() }
    }

    /// Goes on from what is on the disks, once by the journal and once without it.
    fn both_ways(&mut self, when: &str, mut look: impl FnMut(&Self, &str)) {
        let (state, journal) = (self.images(), std::fs::read(self.journal()).unwrap());
        self.apply(true).unwrap_or_else(|e| panic!("{when}, resumed: {e:?}"));
        self.is_done(&format!("{when}, resumed"));
        look(self, &format!("{when}, resumed"));
        self.become_like(&state);
        std::fs::write(self.journal(), journal).unwrap();
        self.seed += 1;
        self.apply(false).unwrap_or_else(|e| panic!("{when}, anew: {e:?}"));
        self.seed -= 1;
        self.is_done(&format!("{when}, anew"));
        look(self, &format!("{when}, anew"));
    }
}

/// Where the commit begins: from there on each place is tried.
fn commit_of(ops: &[Op]) -> usize {
    let begins = |op: &Op| matches!(op, Op::Note(l) if String::from_utf8_lossy(l).contains("\"commit\""));
    ops.iter().position(begins).unwrap()
}

/// The partitions of both disks that are kept, byte by byte.
fn kept_bytes(bed: &Bed, plan: &Plan) -> Vec<Vec<u8>> {
    let own = |(i, disk): (usize, &crate::layout::plan::PlannedDisk)| {
        let kept = disk.partitions.iter().filter(|p| p.key.name != "x");
        kept.map(|p| {
            let mut bytes = vec![0; usize::try_from(p.length).unwrap()];
            bed.disks[i].0.read_exact_at(&mut bytes, p.start).unwrap();
            bytes
        })
        .collect::<Vec<_>>()
    };
    plan.disks().iter().enumerate().flat_map(own).collect()
}

/// Applies the document, and gives what the disks and the journal were like when it was cut off: at each write from the
/// commit on, and at some before.
fn states_of_an_apply(bed: &Bed, before: Images) -> Vec<(String, Images, Vec<u8>)> {
    let (_, ops) = tap::record(None, || bed.apply(false).unwrap());
    let (commit, (every, step)) = (commit_of(&ops), Bed::sample(ops.len(), 10));
    let mut states = Vec::new();
    bed.cut(
        before,
        &ops,
        every,
        |n| n >= commit || n % step == 0,
        |when| states.push((when.to_owned(), bed.images(), std::fs::read(bed.journal()).unwrap())),
    );
    assert!(states.len() > 15, "{}", states.len());
    states
}

#[test]
fn a_first_application_of_what_may_be_kept_is_resumed_or_begun_anew() {
    if !has_programs() {
        return;
    }
    let mut bed = Bed::keeping("ONE");
    let before = bed.images();
    for (when, images, journal) in states_of_an_apply(&bed, before) {
        bed.become_like(&images);
        std::fs::write(bed.journal(), journal).unwrap();
        bed.both_ways(&when, |_, _| {});
    }
}

#[test]
fn what_is_kept_is_the_same_in_every_state() {
    if !has_programs() {
        return;
    }
    let mut bed = Bed::keeping("ONE");
    bed.apply(false).unwrap();
    let first = bed.is_done("first");
    // What somebody put there, equal on both members.
    let noise: Vec<u8> = (0..1u32 << 20).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let array = first.disks()[0].partitions[1].start;
    bed.disks.iter().for_each(|d| d.0.write_all_at(&noise[..4 << 20], array + 6 * MIB).unwrap());
    (bed.text, bed.seed) = (KEEPING.replace("ONE", "TWO"), 20);
    let before = bed.images();
    let (wanted, entries) = (kept_bytes(&bed, &first), |plan: &Plan| {
        plan.disks().iter().map(|d| (d.guid, d.table(false).entries.split_off(&2))).collect::<Vec<_>>()
    });
    let again = bed.plan(false).unwrap();
    assert!(!again.is_unchanged() && again.kept_lines().len() > 8, "{:?}", again.kept_lines());
    assert_eq!(entries(&again), entries(&first));
    for (when, images, journal) in states_of_an_apply(&bed, before) {
        bed.become_like(&images);
        std::fs::write(bed.journal(), journal).unwrap();
        assert!(bed.has_tables(), "{when}: no table");
        assert!(kept_bytes(&bed, &first) == wanted, "{when}: a kept byte is another one");
        for (disk, planned) in bed.disks.iter().zip(first.disks()) {
            let facts = Facts::look(&disk.path(), Some(512)).unwrap();
            let table = facts.contents.table.table().unwrap();
            assert_eq!(table.disk, planned.guid, "{when}");
            assert_eq!(table.entries.clone().split_off(&2), planned.table(false).entries.split_off(&2), "{when}");
        }
        bed.both_ways(&when, |bed, when| {
            assert!(kept_bytes(bed, &first) == wanted, "{when}: a kept byte is another one");
        });
    }
}
