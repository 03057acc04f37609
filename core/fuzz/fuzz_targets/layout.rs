//! Invariant: any bytes give a layout or diagnostics, never a panic; a document is right exactly when it has no error,
//! and one that is right is right again in its JSON form.
#![no_main]
use libcv::layout::{Layout, Severity, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let wrong = check(bytes, "fuzz").iter().any(|d| d.severity == Severity::Error);
    match Layout::parse(bytes, "fuzz") {
        Ok(layout) => {
            assert!(!wrong);
            let json = layout.to_json().to_string();
            let again = Layout::parse(json.as_bytes(), "fuzz").expect("the JSON form is a document");
            assert_eq!(again.to_json(), layout.to_json());
        }
        Err(_) => assert!(wrong),
    }
});
