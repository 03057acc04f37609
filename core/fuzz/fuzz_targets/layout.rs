//! Invariant: any bytes give a layout or diagnostics, never a panic; a document is right exactly when it has no error, and
//! one that is right is right again in its JSON form, with the same hash. The same holds when it extends another one: the
//! bytes are cut in two at the first zero byte, and the second part is the document `base`. On disks of any size a right
//! document is solved the same twice, or refused with a reason; what is solved lies on its disk and overlaps nothing.
#![no_main]
use libcv::layout::solve::{DiskSize, Ground, solve};
use libcv::layout::stack::Stack;
use libcv::layout::{Layout, LayoutOptions, Severity, check_with};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|b| *b == 0);
    let (main, base) = cut.map_or((bytes, &bytes[..0]), |at| (&bytes[..at], &bytes[at + 1..]));
    let mut options = LayoutOptions::default();
    if cut.is_some() {
        options.documents.insert("base".to_owned(), base.to_vec());
    }
    let wrong = check_with(main, "fuzz", &options).iter().any(|d| d.severity == Severity::Error);
    match Layout::parse_with(main, "fuzz", &options) {
        Ok(layout) => {
            assert!(!wrong);
            let again = Layout::parse(layout.to_json().as_bytes(), "fuzz").expect("the JSON form is a document");
            assert_eq!((again.to_json(), again.hash()), (layout.to_json(), layout.hash()));
            // The size of the disks out of the bytes, so that every run has its own.
            let bits = bytes.iter().fold(0u64, |sum, b| sum.wrapping_mul(31).wrapping_add((*b).into()));
            solved(&layout, bits);
        }
        Err(_) => assert!(wrong),
    }
});

fn solved(layout: &Layout, bits: u64) {
    let spec = layout.spec();
    let Ok(stack) = Stack::of(spec) else { return };
    let sector = if bits & 1 == 0 { 512 } else { 4096 };
    let size = (bits >> 1) % (1 << (20 + bits % 40)) / u64::from(sector) * u64::from(sector);
    let optimal_io = [0, 64 << 10, 3 << 20][(bits % 3) as usize];
    let sets = spec.disks.iter().map(|(set, disks)| {
        let disk = |n| DiskSize { name: format!("{n}"), size, sector, optimal_io, kept: Vec::new() };
        (set.clone(), (0..disks.count.min.clamp(1, 6)).map(disk).collect())
    });
    let ground = Ground { sets: sets.collect(), ram: Some(size / 7), ..Ground::default() };
    let answer = solve(spec, &stack, &ground);
    match (&answer, solve(spec, &stack, &ground)) {
        (Ok(a), Ok(b)) => assert_eq!(*a, b),
        (Err(found), Err(_)) => assert!(!found.is_empty()),
        _ => panic!("solved the one time, and not the other"),
    }
    for placed in answer.iter().flat_map(|s| s.disks.values()).flatten() {
        let mut places: Vec<(u64, u64)> = placed.iter().flatten().map(|p| (p.start, p.length)).collect();
        places.sort_unstable();
        let mut end = 0;
        for (start, length) in places {
            assert!(start >= end && length > 0);
            end = start + length;
        }
        assert!(end <= size);
    }
}
