//! Invariant: any bytes give a release or an error, never a panic; a release that comes out, with its signatures, has
//! one form. A REF is read or refused; so are the keys of a file.
#![no_main]
use libcv::image::Hash;
use libcv::sign::{Keyring, Signer};
use libcv::store::{Ref, SignedRelease};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // A random sum would hide everything behind it; the lines after the JSON are those of signatures.
    let mut lines = bytes.split(|&b| b == b'\n').skip_while(|l| !l.starts_with(b"{"));
    let front = [b"libcv release v1\n", lines.next().unwrap_or(bytes), b"\n"].concat();
    let mut sealed = [&front, format!("blake3 {}\n", Hash::of(&front)).as_bytes()].concat();
    let plain = sealed.clone();
    lines.for_each(|l| sealed.extend([l, b"\n"].concat()));
    for input in [bytes.to_vec(), plain, sealed] {
        if let Ok(release) = SignedRelease::decode(&input) {
            assert_eq!(release.encode(), input);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Ref::parse(text);
        let _ = Keyring::from_pem(text, "fuzz");
        let _ = Signer::from_pem(text, "fuzz");
    }
});
