//! A repository in memory, its chain, and what breaks it.

use super::*;
use crate::ErrorKind;
use std::collections::BTreeMap;

/// Files in memory.
#[derive(Clone, Default)]
struct Memory(BTreeMap<String, Vec<u8>>);

impl Files for Memory {
    fn each(&self, each: &mut dyn FnMut(&[u8])) {
        self.0.keys().for_each(|p| each(p.as_bytes()));
    }

    fn size(&self, path: &str) -> Option<u64> {
        self.0.get(path).map(|b| b.len() as u64)
    }

    fn content(&self, path: &str) -> Result<Vec<u8>> {
        Ok(self.0.get(path).cloned().unwrap_or_default())
    }
}

const PRIMARY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
<package type="rpm">
  <name>rocky-release</name><arch>noarch</arch><version epoch="1" ver="9.4" rel="1.7.el9"/>
  <checksum type="sha256" pkgid="YES">028ed0b37318e94d73f925d89aa7171ef39149642c8bb0ddb4510bc493d0491d</checksum>
  <summary>Release &amp; more</summary><time file="1" build="1714521600"/>
  <size package="7814" installed="152" archive="1144"/><location href="Packages/r/rocky-release.rpm"/>
  <format><rpm:license>BSD</rpm:license><rpm:sourcerpm>rocky-release.src.rpm</rpm:sourcerpm>
    <rpm:header-range start="4504" end="7477"/>
    <rpm:provides><rpm:entry name="system-release" flags="EQ" ver="9.4"/><rpm:entry name="a(b)"/></rpm:provides>
    <rpm:requires><rpm:entry name="not-provided"/></rpm:requires><file>/etc/os-release</file></format>
</package>
</metadata>
"#;

const COMPS: &str = r#"<comps><group><id>core</id><name>Core</name><name xml:lang="de">Kern</name><packagelist>
<packagereq type="mandatory">bash</packagereq><packagereq type="optional">zsh</packagereq></packagelist></group>
<environment><id>minimal-environment</id><name>Minimal</name><grouplist><groupid>core</groupid></grouplist>
<optionlist><groupid>standard</groupid></optionlist></environment></comps>"#;

const MODULES: &str = "---\ndocument: modulemd\nversion: 2\ndata: {name: webd, stream: 1.10, profiles: {common: {}}}\n";

fn sha256(bytes: &[u8]) -> String {
    let mut sum = crate::distro::digest::Sum::sha256();
    sum.add(bytes);
    sum.finish()
}

fn repository(edit: impl Fn(&str) -> String) -> Memory {
    let mut out = Memory::default();
    let mut records = String::new();
    let primary = edit(PRIMARY);
    for (kind, name, text) in
        [("primary", "p.xml.zst", primary.as_str()), ("group", "c.xml", COMPS), ("modules", "m.yaml.zst", MODULES)]
    {
        let bytes = if name.ends_with("zst") { zstd::encode_all(text.as_bytes(), 3).unwrap() } else { text.into() };
        records += &format!(
            "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><open-checksum type=\"sha256\">{}</open-checksum>\
             <location href=\"repodata/{name}\"/><size>{}</size></data>",
            sha256(&bytes),
            sha256(text.as_bytes()),
            bytes.len()
        );
        out.0.insert(format!("R/repodata/{name}"), bytes);
    }
    out.0.insert(format!("R/{REPOMD}"), format!("<repomd>{records}</repomd>").into_bytes());
    out
}

fn read(files: &Memory) -> Result<Repository> {
    Repository::read(files, "BaseOS", "R", None, &Task::quiet())
}

#[test]
fn all_metadata_are_read() {
    let r = read(&repository(str::to_owned)).unwrap();
    let p = &r.packages[0];
    assert_eq!(p.nevra(), "rocky-release-1:9.4-1.7.el9.noarch");
    assert_eq!((p.size, p.header_end, p.built), (7814, 7477, 1_714_521_600));
    assert_eq!(p.provides, ["system-release", "a(b)"]);
    assert_eq!((p.license.as_str(), p.location.as_str()), ("BSD", "Packages/r/rocky-release.rpm"));
    assert_eq!((r.groups[0].id.as_str(), r.groups[0].name.as_str()), ("core", "Core"));
    assert_eq!(r.groups[0].packages[1], ("zsh".into(), Wanted::Optional));
    assert_eq!(r.environments[0].groups, ["core"]);
    assert_eq!(r.environments[0].options, ["standard"]);
    assert_eq!(r.modules[0].streams.keys().collect::<Vec<_>>(), ["1.10"]);
}

#[test]
fn the_chain_holds_or_the_link_is_named() {
    let good = repository(str::to_owned);
    for (path, why) in [("R/repodata/p.xml.zst", "p.xml.zst"), ("R/repodata/c.xml", "c.xml")] {
        let mut bad = good.clone();
        bad.0.get_mut(path).unwrap()[20] ^= 1;
        let e = read(&bad).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Integrity);
        assert!(e.message().contains(why), "{e}");
        bad.0.remove(path);
        assert_eq!(read(&bad).unwrap_err().kind(), ErrorKind::Integrity);
    }
    let repomd = good.0[&format!("R/{REPOMD}")].clone();
    let right = Digest::parse("sha256", &sha256(&repomd)).unwrap();
    Repository::read(&good, "BaseOS", "R", Some(&right), &Task::quiet()).unwrap();
    let wrong = Digest::parse("sha256", &sha256(b"x")).unwrap();
    let e = Repository::read(&good, "BaseOS", "R", Some(&wrong), &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Integrity);
}

#[test]
fn what_leads_elsewhere_is_refused() {
    for (from, to, kind) in [
        ("Packages/r/", "../r/", ErrorKind::UnsafeInput),
        ("Packages/r/", "/r/", ErrorKind::UnsafeInput),
        ("<location href", "<location xml:base=\"http://x/\" href", ErrorKind::UnsafeInput),
        ("sha256", "md5", ErrorKind::Integrity),
        ("7814", "many", ErrorKind::Integrity),
        ("<name>rocky-release</name>", "<name>a/b</name>", ErrorKind::Integrity),
        ("</metadata>", "", ErrorKind::Integrity),
        ("metadata", "other", ErrorKind::Integrity),
    ] {
        let e = read(&repository(|t| t.replace(from, to))).unwrap_err();
        assert_eq!(e.kind(), kind, "{from} → {to}: {e}");
    }
}

proptest::proptest! {
    /// Invariant: whatever stands in a document, it is read or refused.
    #[test]
    fn changed_documents_do_not_panic(at in 0usize..PRIMARY.len(), n in 0usize..40, more in "[<>/a-z\"= &;]{0,12}") {
        let mut text = PRIMARY.as_bytes().to_vec();
        text.splice(at..(at + n).min(text.len()), more.bytes());
        let _ = parse_primary(&text);
        let _ = parse_comps(&text);
        let _ = parse_repomd(&text);
        let _ = parse_modules(&text);
    }
}
