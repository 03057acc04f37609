//! Invariant: any bytes give verified chunks or an error, never a panic, and never more than a block may hold.
#![no_main]
use libcv::image::Hash;
use libcv::image::block::{BlockOpener, RAW_LIMIT, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut fixed = bytes.to_vec();
    // A random CRC would hide everything behind it.
    if fixed.len() > 24 {
        let mut h = crc(&fixed[..20]);
        h = crc_more(h, &fixed[24..]);
        fixed[20..24].copy_from_slice(&h.to_le_bytes());
    }
    for input in [bytes, &fixed] {
        let _ = parse(input);
        let mut sum = 0;
        let mut opener = BlockOpener::new().expect("a context");
        let _ = opener.open(input, |hash, chunk| {
            assert_eq!(Hash::of(chunk), hash);
            sum += chunk.len();
            Ok(())
        });
        assert!(sum <= RAW_LIMIT);
    }
});

fn crc(bytes: &[u8]) -> u32 {
    crc_more(0, bytes)
}

/// CRC-32 (IEEE), bit by bit: slow and independent of the library's.
fn crc_more(start: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!start, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}
