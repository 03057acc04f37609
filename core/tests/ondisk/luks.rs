//! Encrypted volumes, beside cryptsetup.

use super::common::{self, can, image};
use super::{MIB, open, says};
use libcv::layout::ondisk::luks;
use libcv::layout::place::Place;
use std::fs::File;
use std::os::unix::fs::FileExt;

#[test]
fn headers_of_cryptsetup_are_read() {
    if !can("headers_of_cryptsetup_are_read", &["cryptsetup"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "a key").unwrap();
    let key = key.to_str().unwrap();
    let format = |name: &str, arguments: &[&str]| {
        let path = image(dir.path(), name, 32 * MIB);
        let text = path.to_str().unwrap().to_owned();
        common::run("cryptsetup", &[&["luksFormat", "-q"], arguments, &[text.as_str(), key]].concat());
        (path, text)
    };
    let (path, text) = format("one", &["--type", "luks1", "--pbkdf-force-iterations", "1000", "--hash", "sha512"]);
    let header = luks::read(&Place::whole(&open(&path))).unwrap().unwrap();
    assert_eq!((header.version, header.uuid.as_str()), (1, says("cryptsetup", &["luksUUID", &text]).trim()));
    assert_eq!((header.cipher.as_str(), header.data_offset), ("aes-xts-plain64", 2 * MIB));
    assert_eq!(header.keyslots[0].kdf, luks::Kdf::Pbkdf2 { hash: "sha512".into(), iterations: 1000 });

    let argon = ["--type", "luks2", "--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "64"];
    let (path, text) =
        format("two", &[&argon[..], &["--label", "disk", "--subsystem", "sub", "--sector-size", "4096"]].concat());
    let header = luks::read(&Place::whole(&open(&path))).unwrap().unwrap();
    assert_eq!((header.version, header.uuid.as_str()), (2, says("cryptsetup", &["luksUUID", &text]).trim()));
    assert_eq!((header.label.as_deref(), header.subsystem.as_deref()), (Some("disk"), Some("sub")));
    assert_eq!((header.secondary, header.sector, header.data_offset), (Some(0x4000), 4096, 16 * MIB));
    assert!(header.needs_argon2());
    common::run(
        "cryptsetup",
        &["luksAddKey", "-q", "--key-file", key, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", &text, key],
    );
    let token = dir.path().join("token");
    std::fs::write(&token, r#"{"type": "clevis", "keyslots": ["1"]}"#).unwrap();
    common::run("cryptsetup", &["token", "import", "--json-file", token.to_str().unwrap(), &text]);
    let header = luks::read(&Place::whole(&open(&path))).unwrap().unwrap();
    assert!(!header.needs_argon2() && header.sequence > 1);
    assert_eq!(
        header.keyslots[1],
        luks::Keyslot { id: 1, kdf: luks::Kdf::Pbkdf2 { hash: "sha256".into(), iterations: 1000 } }
    );
    assert_eq!(header.tokens, [luks::Token { id: 0, kind: "clevis".into(), keyslots: vec![1], pcrs: Vec::new() }]);
    // The first header is damaged: the second says the same.
    File::options().write(true).open(&path).unwrap().write_all_at(b"x", 25).unwrap();
    let copy = luks::read(&Place::whole(&open(&path))).unwrap().unwrap();
    assert_eq!(luks::Header { offset: 0, ..copy.clone() }, header);
    assert_eq!(copy.offset, 0x4000);

    // A larger header has its second one elsewhere.
    let (path, _) = format("large", &[&argon[..], &["--luks2-metadata-size", "1M"]].concat());
    assert_eq!(luks::read(&Place::whole(&open(&path))).unwrap().unwrap().secondary, Some(1 << 20));
}
