//! Disks of which everything is erased, or that were blank: between their old and their new table they have none, and are
//! known by what else is on them.

use super::*;

/// Cut when the first table was begun: nothing is on the disks that tells whose they are.
fn begun(bed: &Bed) -> Images {
    let _ = tap::record(Some((0, io::ErrorKind::Other)), || bed.apply(false)).0.unwrap_err();
    bed.images()
}

#[test]
fn a_blank_disk_is_not_taken_for_another_one() {
    if !has_programs() {
        return;
    }
    let bed = Bed::blank();
    let half = begun(&bed);
    let journal = std::fs::read(bed.journal()).unwrap();
    assert!(String::from_utf8_lossy(&journal).contains("\"begin\",\"step\":\"erase:"));
    let xfs = [&b"XFSB"[..], &[0; 28], &[7; 16]].concat();
    let mut mbr = vec![0; 512];
    mbr[446 + 4] = 0x83;
    mbr[446 + 8] = 8;
    mbr[446 + 12] = 8;
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    for (what, at, bytes) in [("a filesystem", 0, &xfs), ("an MBR", 0, &mbr), ("a label", 1024, &b"SWAP".to_vec())] {
        bed.become_like(&half);
        std::fs::write(bed.journal(), &journal).unwrap();
        bed.disks[0].0.write_all_at(bytes, at).unwrap();
        let swapped = bed.images();
        let e = bed.apply(true).unwrap_err();
        assert_eq!(e.facts().get("code").and_then(|c| c.as_str()), Some("A412"), "{what}: {e:?}");
        assert!(bed.images() == swapped, "{what}: something was written");
    }
    // Where the first sectors are blank, and something lies behind them.
    bed.become_like(&half);
    std::fs::write(bed.journal(), &journal).unwrap();
    bed.disks[0].0.write_all_at(b"_BHRfS_M", (64 << 10) + 64).unwrap();
    let e = bed.apply(true).unwrap_err();
    assert!(e.message().contains("btrfs"), "{e:?}");
    bed.become_like(&half);
    bed.apply(true).unwrap();
    bed.is_finished("resumed");
}

#[test]
fn disks_that_are_discarded_are_resumed() {
    if !has_programs() {
        return;
    }
    let mut bed = Bed::new();
    bed.text = STACK.replace("count: 2", "count: 2, wipe: discard");
    let before = bed.images();
    let (_, ops) = tap::record(None, || bed.apply(false).unwrap());
    let all = |op: &Op| matches!(op, Op::Write { offset: 0, bytes, .. } if bytes.len() as u64 == SIZE);
    assert_eq!(ops.iter().filter(|op| all(op)).count(), 2, "what is discarded is written down");
    let first = ops.iter().position(all).unwrap();
    let (every, step) = Bed::sample(ops.len(), 6);
    let tried = bed.cut(
        before,
        &ops,
        every,
        |n| n % step == 0 || n.abs_diff(first) < 4,
        |when| {
            bed.apply(true).unwrap_or_else(|e| panic!("{when}: {e:?}"));
            bed.is_done(when);
        },
    );
    assert!(tried >= 8, "{tried}");
}
