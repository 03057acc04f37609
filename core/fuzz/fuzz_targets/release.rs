//! Invariant: any bytes give a release or an error, never a panic; a release that comes out has one form. A REF is read
//! or refused.
#![no_main]
use libcv::store::{Ref, Release};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for input in [bytes.to_vec(), [b"libcv release v1\n", bytes].concat()] {
        if let Ok(release) = Release::decode(&input) {
            assert_eq!(release.encode(), input);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Ref::parse(text);
    }
});
