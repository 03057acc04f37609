//! Invariant: any bytes give a release or an error, never a panic; a release that comes out has one form. A REF is read
//! or refused.
#![no_main]
use libcv::image::Hash;
use libcv::store::{Ref, Release};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // A random sum would hide everything behind it.
    let line = bytes.split(|&b| b == b'\n').find(|l| l.starts_with(b"{")).unwrap_or(bytes);
    let front = [b"libcv release v1\n", line, b"\n"].concat();
    let sealed = [&front, format!("blake3 {}\n", Hash::of(&front)).as_bytes()].concat();
    for input in [bytes.to_vec(), sealed] {
        if let Ok(release) = Release::decode(&input) {
            assert_eq!(release.encode(), input);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Ref::parse(text);
    }
});
