//! Invariant: any bytes give a role or diagnostics, never a panic; a document is right exactly when it has no error, and one
//! that is right is right again in its JSON and its YAML form, with the same digest, and says the same of every system. The
//! same holds when it extends another one: the bytes are cut in two at the first zero byte, and the second part is the
//! document `base`. Templates are filled in whatever they are.
#![no_main]
use libcv::role::{Role, RoleOptions, Selector, Severity, check_with, spec::Body, template};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().position(|b| *b == 0);
    let (main, base) = cut.map_or((bytes, &bytes[..0]), |at| (&bytes[..at], &bytes[at + 1..]));
    let mut options = RoleOptions::default();
    if cut.is_some() {
        options.documents.insert("base".to_owned(), base.to_vec());
    }
    let wrong = check_with(main, "fuzz", &options).iter().any(|d| d.severity == Severity::Error);
    let role = match Role::parse_with(main, "fuzz", &options) {
        Ok(role) => role,
        Err(_) => return assert!(wrong),
    };
    assert!(!wrong);
    let yaml = role.to_yaml().expect("any role is written");
    for text in [role.to_json(), yaml] {
        // Merged it may be longer than a document can be.
        if text.len() > 1 << 19 {
            continue;
        }
        let again = Role::parse(text.as_bytes(), "fuzz").expect("the written form is a document");
        assert_eq!((again.to_json(), again.digest()), (role.to_json(), role.digest()));
        for system in ["el8", "el9", "debian12", "ubuntu24.04"] {
            let system = Selector::parse(system).expect("a system");
            assert_eq!(again.part(system), role.part(system));
            let _ = role.without_meaning(system);
        }
    }
    for file in role.spec().part.files.iter() {
        if let Body::Template(text) = file.body() {
            let _ = template::fill(text, &BTreeMap::new());
        }
    }
});
