//! Invariant: any bytes as a pack's end, or as an index segment, give a description or an error, never a panic; a
//! trailer that comes out encodes to the same bytes.
#![no_main]
use libcv::image::Hash;
use libcv::image::pack::{FOOTER, Footer, MAGIC, decode_footer, decode_trailer, encode_footer, encode_trailer};
use libcv::store::index::Segment;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_footer(bytes, bytes.len() as u64 * 7);
    if let Ok(mut segment) = Segment::decode(bytes, |_| true) {
        assert_eq!(segment.encode(), bytes);
    }
    // A random footer would hide everything behind its hash.
    let footer = encode_footer(bytes);
    let parsed = Footer { trailer: bytes.len() as u64, id: Hash::of(bytes), ..footer_of(&footer) };
    for blocks in [0u64, 100, 5000] {
        let size = MAGIC.len() as u64 + blocks + (bytes.len() + FOOTER) as u64;
        if let Ok(found) = decode_trailer(bytes, &parsed, size) {
            let infos: Vec<_> = found.into_iter().map(|(_, b)| b).collect();
            assert_eq!(encode_trailer(&infos), bytes);
        }
    }
});

fn footer_of(bytes: &[u8; FOOTER]) -> Footer {
    decode_footer(bytes, 64 << 20).expect("what was written can be read")
}
