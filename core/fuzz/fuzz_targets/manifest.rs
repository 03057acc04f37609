//! Invariant: any bytes give a manifest or an error, never a panic; a manifest that comes out encodes to the same
//! bytes, or to fewer where unknown fields were skipped.
#![no_main]
use libcv::image::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    let again = manifest.encode();
    assert!(again == bytes || again.len() < bytes.len());
    assert_eq!(Manifest::decode(&again).expect("what was written can be read"), manifest);
});
