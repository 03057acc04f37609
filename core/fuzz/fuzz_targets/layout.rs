//! Invariant: any bytes give a layout or diagnostics, never a panic; a document is right exactly when it has no error, and
//! one that is right is right again in its JSON form, with the same hash. The same holds when it extends another one: the
//! bytes are cut in two at the first zero byte, and the second part is the document `base`.
#![no_main]
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
        }
        Err(_) => assert!(wrong),
    }
});
