//! What holds for any roles, and how several become one.

use super::selector::Selector;
use super::spec::{Part, arbitrary, json_schema};
use super::{Diagnostic, Names, Role, RoleOptions, Severity, check_with, decode, names};
use crate::document::{Node, Value as NodeValue, node};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn head(name: &str, rest: &str) -> String {
    format!("schema: cv.role/v1\nname: {name}\n{rest}")
}

fn options(documents: &[(&str, &str)]) -> RoleOptions {
    let documents = documents.iter().map(|(name, rest)| ((*name).to_owned(), head(name, rest).into_bytes()));
    RoleOptions { documents: documents.collect(), ..RoleOptions::default() }
}

fn role(documents: &[(&str, &str)], main: &str) -> Role {
    match Role::parse_with(head("main", main).as_bytes(), "main", &options(documents)) {
        Ok(role) => role,
        Err(e) => panic!("{e}: {:#?}", e.facts()),
    }
}

/// Codes with document and line.
fn found(documents: &[(&str, &str)], main: &str) -> Vec<(&'static str, String, u32)> {
    let found = check_with(head("main", main).as_bytes(), "main", &options(documents));
    let place = |d: Diagnostic| (d.code, d.document.map_or_else(|| "main".to_owned(), String::from), d.line);
    found.into_iter().map(place).collect()
}

fn packages(part: &Part) -> Vec<&str> {
    part.packages.iter().map(String::as_str).collect()
}

#[test]
fn lists_are_united_and_a_child_takes_away() {
    let base = ("base", "packages: [a, b]\nkernel_args: [quiet]\n");
    let other = ("other", "packages: [b, c]\nkernel_args: [nosmt]\n");
    let both = role(&[base, other], "extends: [base, other]\npackages: [-b, d]\n");
    assert_eq!(packages(&both.spec().part), ["a", "c", "d"]);
    let words: Vec<&String> = both.spec().part.kernel_args.iter().collect();
    assert_eq!(words, ["quiet", "nosmt"], "from left to right");
    // What nobody brings cannot be taken away.
    assert_eq!(found(&[base], "extends: base\npackages: [-c]\n"), [("R013", "main".into(), 4)]);
    assert_eq!(found(&[], "packages: [-c]\n"), [("R013", "main".into(), 3)]);
}

#[test]
fn parents_that_disagree_are_a_conflict_until_the_child_decides() {
    let a = ("a", "timezone: UTC\nunits: {enable: [x]}\n");
    let b = ("b", "timezone: Europe/Berlin\nunits: {mask: [x]}\n");
    let wrong = check_with(head("main", "extends: [a, b]\n").as_bytes(), "main", &options(&[a, b]));
    let said: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "3:11: R012 timezone: two roles that it extends disagree on \"timezone\": a:3:11 and b:3:11 (say in the \
             document what it is to be)",
            "4:18: R012 units.x.service: two roles that it extends disagree on \"x.service\": a:4:18 and b:4:16 (say \
             in the document what it is to be, or -NAME for none)",
        ]
    );
    assert!(wrong.iter().all(|d| d.document.as_deref() == Some("a")));
    let role = role(&[a, b], "extends: [a, b]\ntimezone: Etc/GMT\nunits: {disable: [x]}\n");
    assert_eq!(role.spec().part.timezone.as_deref(), Some("Etc/GMT"));
    assert_eq!(role.spec().part.units.disable.get("x.service").map(String::as_str), Some("x.service"));
    // What both say alike is none; what one takes away and another brings is one.
    assert_eq!(found(&[a, ("c", "timezone: UTC\n")], "extends: [a, c]\n"), []);
    let (with, without) = (("with", "packages: [p]\n"), ("without", "extends: with\npackages: [-p]\n"));
    let brings = ("brings", "packages: [p]\n");
    assert_eq!(found(&[with, without, brings], "extends: [brings, without]\n")[0].0, "R012");
    assert_eq!(found(&[with, without, brings], "extends: [brings, without]\npackages: [-p]\n"), []);
}

/// Where two roles extend a third, the one that says otherwise than the third goes before the one that says nothing.
#[test]
fn what_was_replaced_is_no_conflict() {
    let base = ("base", "timezone: UTC\npackages: [p]\n");
    let changed = ("changed", "extends: base\ntimezone: Europe/Berlin\npackages: [-p]\n");
    let plain = ("plain", "extends: base\npackages: [q]\n");
    for order in ["[changed, plain]", "[plain, changed]"] {
        let role = role(&[base, changed, plain], &format!("extends: {order}\n"));
        assert_eq!(role.spec().part.timezone.as_deref(), Some("Europe/Berlin"), "{order}");
        assert_eq!(packages(&role.spec().part), ["q"], "{order}");
    }
    let other = ("other", "extends: base\ntimezone: Etc/GMT\n");
    assert_eq!(found(&[base, changed, other], "extends: [changed, other]\n"), [("R012", "changed".into(), 4)]);
}

#[test]
fn what_is_said_of_some_goes_before_what_is_said_of_all() {
    let main = "packages: [a, b]\nfor:\n  el: {packages: [c, -b], timezone: UTC}\n  el8: {packages: [-c]}\n  deb: {packages: [d]}\n";
    let one = role(&[], main);
    let of = |system: &str| {
        let part = one.part(Selector::parse(system).unwrap());
        packages(&part).join(" ")
    };
    assert_eq!([of("el9"), of("el8"), of("debian12"), of("el")], ["a c", "a", "a b d", "a c"]);
    // What a child says of all goes before what its parent says of some.
    let child = role(&[("base", main)], "extends: base\ntimezone: Europe/Berlin\npackages: [-a, -c]\n");
    assert_eq!(child.part(Selector::parse("el9").unwrap()).timezone.as_deref(), Some("Europe/Berlin"));
    assert_eq!(packages(&child.part(Selector::parse("el9").unwrap())), [""; 0]);
    assert_eq!(packages(&child.part(Selector::parse("debian12").unwrap())), ["b", "d"]);
    // Two parents, one of which speaks of all and one of some, disagree where it is about some.
    let (a, b) = (("a", "timezone: UTC\n"), ("b", "for: {el: {timezone: Europe/Berlin}}\n"));
    assert_eq!(found(&[a, b], "extends: [a, b]\n"), [("R012", "b".into(), 3)]);
    let settled = role(&[a, b], "extends: [a, b]\nfor: {el: {timezone: Etc/GMT}}\n");
    assert_eq!(settled.part(Selector::parse("el9").unwrap()).timezone.as_deref(), Some("Etc/GMT"));
    assert_eq!(settled.part(Selector::parse("deb").unwrap()).timezone.as_deref(), Some("UTC"));
}

#[test]
fn the_roles_that_come_with_it_are_right_for_all_systems() {
    for (name, text) in super::SHIPPED {
        assert_eq!(check_with(text.as_bytes(), name, &RoleOptions::default()), [], "{name}");
        let role = Role::find(name, &RoleOptions::default()).unwrap();
        assert_eq!(role.name(), name);
        for (system, kernel, boots) in [
            ("el8", "kernel", "grub2-pc"),
            ("el10", "kernel", "shim-x64"),
            ("debian12", "linux-image-amd64", "shim-signed"),
            ("ubuntu24.04", "linux-image-generic", "grub-pc-bin"),
        ] {
            let system = Selector::parse(system).unwrap();
            let part = role.part(system);
            assert!(part.packages.get(kernel).is_some(), "{name} {system}");
            assert_eq!(part.packages.get(boots).is_some(), name != "minimal", "{name} {system}");
            assert_eq!(part.selinux.is_some(), !system.is_deb());
            assert_eq!(role.without_meaning(system), [], "{name} {system}");
            let again = serde_json::to_string(&part).unwrap();
            assert!(!again.contains("\"-"), "something is still taken away: {again}");
        }
        // Nothing that would open a machine is in them.
        assert!(role.spec().part.users.is_empty());
    }
    let e = Role::find("nod", &RoleOptions::default()).unwrap_err();
    assert_eq!((e.kind(), e.hint_text().unwrap().contains("\"node\"")), (crate::ErrorKind::NotFound, true));
}

#[test]
fn names_that_a_distribution_lacks_are_told_with_what_is_meant() {
    let set = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<String>>();
    let group = names::Group { mandatory: set(&["bash", "sudo"]) };
    let all = Names {
        packages: set(&["bash", "openssh-server", "python3-dnf", "kernel"]),
        provides: set(&["webserver"]),
        groups: BTreeMap::from([("core".to_owned(), group)]),
        environments: set(&["minimal-environment"]),
        modules: BTreeMap::from([(
            "nodejs".to_owned(),
            BTreeMap::from([("18".to_owned(), set(&["common"])), ("20".to_owned(), set(&[]))]),
        )]),
    };
    let role = role(
        &[],
        "packages: [bash, kernel-5.14.0-1.el9.x86_64, openssh-servr, webserver, nothing-like-it]\n\
         groups: [cor, minimal-environment]\nenvironment: minimal-enviroment\n\
         modules: ['nodejs:19', 'node:18']\nfor: {deb: {packages: [linux-image-amd64]}}\n",
    );
    let el9 = Selector::parse("el9").unwrap();
    let said: Vec<String> = role.unknown_names(el9, &all).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "3:46: R020 packages: the distribution has no package \"openssh-servr\" (did you mean \"openssh-server\"?)",
            "3:72: R020 packages: the distribution has no package \"nothing-like-it\"",
            "4:10: R021 groups: the distribution has no group \"cor\" (did you mean \"core\"?)",
            "4:15: R021 groups: the distribution has no group \"minimal-environment\" (it is an environment: write \
             environment: minimal-environment)",
            "5:14: R021 environment: the distribution has no environment \"minimal-enviroment\" (did you mean \
             \"minimal-environment\"?)",
            "6:11: R022 modules: the module \"nodejs\" has no stream \"19\" (it has 18, 20)",
            "6:24: R022 modules: the distribution has no module \"node\" (did you mean \"nodejs\"?)",
        ]
    );
    // Words that are given besides a role.
    let words = ["bash", "opensh-server", "@cor", "@core", "@minimal-environment", "@nodejs:19"];
    let said: Vec<String> = all
        .lacks(words.into_iter().chain([
            "/usr/bin/sh",
            "kern*",
            "bash=5.2",
            "@^minimal-environment",
            "bash-5.1-9.el9.rocky.0.1",
            "bash.x86_64_v2",
            "kernel-5.14.0-1.module+el9.4.0+1",
            "openssh-server:i386",
            "minimal^",
            "bash-",
        ]))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "R020 packages: the distribution has no package \"opensh-server\" (did you mean \"openssh-server\"?)",
            "R021 groups: the distribution has no group \"cor\" (did you mean \"core\"?)",
            "R022 modules: the module \"nodejs\" has no stream \"19\" (it has 18, 20)",
        ]
    );
    let e = role.error(&role.unknown_names(el9, &all));
    assert_eq!(e.kind(), crate::ErrorKind::NotFound);
    // On Debian groups and modules mean nothing, and are warned of elsewhere.
    let deb = role.unknown_names(Selector::parse("debian12").unwrap(), &all);
    assert!(deb.iter().all(|d| d.code == "R020"), "{deb:?}");
    assert_eq!(role.without_meaning(Selector::parse("debian12").unwrap()).len(), 3);
    // What is excluded and comes all the same.
    let lost = super::tests::role(&[], "groups: [core]\nexclude: ['su*']\n");
    let said: Vec<String> = lost.unknown_names(el9, &all).iter().map(ToString::to_string).collect();
    assert!(said[0].contains("R023 groups: the group \"core\" always brings the package \"sudo\""), "{said:?}");
}

#[test]
fn several_roles_become_one_and_each_file_is_the_one_that_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = |directory: &str, name: &str, text: &str| {
        std::fs::create_dir_all(dir.path().join(directory)).unwrap();
        let path = dir.path().join(directory).join(format!("{name}.yaml"));
        std::fs::write(&path, head(name, text)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let first = file("a", "site", "packages: [one]\nextends: base\n");
    file("a", "base", "packages: [below]\n");
    let other = file("b", "extra", "packages: [two]\n");
    file("b", "site", "packages: [wrong]\n");
    // One that has the name of what it extends.
    let node = file("c", "node", "extends: minimal\npackages: [three]\n");
    let el9 = Selector::parse("el9").unwrap();
    let all = Role::find_all(&[first.as_str(), &other, &node, "storage"], &RoleOptions::default()).unwrap();
    assert_eq!(all.name(), "site-extra-node-storage");
    let packages = all.part(el9).packages;
    assert!(["one", "below", "two", "three", "kernel"].iter().all(|p| packages.get(p).is_some()));
    assert!(packages.get("wrong").is_none());
    assert_eq!(Role::find_all(&[&other], &RoleOptions::default()).unwrap().name(), "extra");
    // Two of one name in two directories.
    let again = dir.path().join("b/site.yaml").to_str().unwrap().to_owned();
    let both = Role::find_all(&[&first, &again], &RoleOptions::default()).unwrap();
    assert!(["one", "wrong"].iter().all(|p| both.part(el9).packages.get(p).is_some()));
    let none = Role::find_all(&[] as &[&str], &RoleOptions::default()).unwrap_err();
    assert_eq!(none.kind(), crate::ErrorKind::Invalid);
    let lost = |name: &str| Role::find_all(&[first.as_str(), name], &RoleOptions::default()).unwrap_err();
    assert_eq!(
        (lost("nod").kind(), lost("nod").hint_text().unwrap().contains("\"node\"")),
        (crate::ErrorKind::NotFound, true)
    );
    assert_eq!(lost("/none/such.yaml").kind(), crate::ErrorKind::NotFound);
    let odd = file("d", "x", "packages: [four]\n");
    let renamed = dir.path().join("d/_ü.yaml");
    std::fs::rename(odd, &renamed).unwrap();
    let named = |names: &[&str]| Role::find_all(names, &RoleOptions::default()).unwrap().name().to_owned();
    let odd = renamed.to_str().unwrap();
    assert_eq!((named(&[odd, "storage"]), named(&[odd, odd])), ("storage".to_owned(), "roles".to_owned()));
}

#[test]
fn files_beside_a_document_are_in_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("files")).unwrap();
    std::fs::write(dir.path().join("files/motd"), "one\n").unwrap();
    std::fs::write(dir.path().join("r.yaml"), head("r", "files: [{path: /etc/motd, source: files/motd}]\n")).unwrap();
    let one = Role::load(dir.path().join("r.yaml")).unwrap();
    let inline = role(&[], "files: [{path: /etc/motd, content: \"one\\n\"}]\n");
    assert_eq!(one.spec().part, inline.spec().part);
    std::fs::write(dir.path().join("files/motd"), "two\n").unwrap();
    assert_ne!(Role::load(dir.path().join("r.yaml")).unwrap().digest(), one.digest());
    // A text has no folder; who has it gives the files.
    let text = head("r", "files: [{path: /etc/motd, source: files/motd}]\n");
    assert_eq!(Role::parse(text.as_bytes(), "r").unwrap_err().facts()["code"], "R014");
    let given =
        RoleOptions { sources: BTreeMap::from([("files/motd".to_owned(), b"one\n".to_vec())]), ..Default::default() };
    assert_eq!(Role::parse_with(text.as_bytes(), "r", &given).unwrap().digest(), one.digest());
}

/// Digests stand in the provenance of images: one that changes is a break of the format.
#[test]
fn a_digest_stays_what_it_is() {
    let one = role(
        &[],
        "packages: [b, a]\nunits: {enable: [x]}\nkernel_args: [z, y]\nfiles: [{path: /a, content: x, mode: 0600}]\n\
         for: {el9: {packages: [-a, c]}}\n",
    );
    assert_eq!(
        one.to_json(),
        r#"{"schema":"cv.role/v1","name":"main","packages":["a","b"],"files":[{"path":"/a","content":"x","mode":"0600"}],"units":{"enable":["x.service"]},"kernel_args":["z","y"],"for":{"el9":{"packages":["-a","c"]}}}"#
    );
    assert_eq!(one.digest(), DIGEST);
}

const DIGEST: &str = "31bd3f516f3ff5cdcb0d1337deed39ad4c2b20a6660c6407c1f420bd17d49b5f";

/// The schema in the repository is what the types say; `LIBCV_BLESS=1` writes it anew.
#[test]
fn the_schema_in_the_repository_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/cv.role.v1.json");
    let now = format!("{:#}\n", json_schema());
    if std::env::var_os("LIBCV_BLESS").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == now, "core/schemas/cv.role.v1.json is out of date: run the tests with LIBCV_BLESS=1");
}

/// The keys that are read are those of the schema: neither can change without the other.
#[test]
fn keys_are_those_of_the_schema() {
    let schema = json_schema();
    let check = |name: &str, object: &Value, keys: &[&str]| {
        let known: BTreeSet<&str> = object["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(known, keys.iter().copied().collect(), "{name}");
        assert_eq!(object["additionalProperties"], false, "{name}");
    };
    check("Spec", &schema, decode::TOP);
    for (name, keys) in [
        ("Part", decode::PART),
        ("Units", decode::UNITS),
        ("Generalise", decode::GENERALISE),
        ("File", decode::FILE),
        ("User", decode::USER),
        ("Repository", decode::REPOSITORY),
        ("Script", decode::SCRIPT),
    ] {
        check(name, &schema["$defs"][name], keys);
    }
}

/// A document as JSON with the keys of every object, and lists whose order means nothing, the other way round.
fn turned(node: &Node, ordered: bool) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    match &node.value {
        NodeValue::Map(entries) => {
            let ordered = |key: &str| matches!(key, "kernel_args" | "scripts" | "components");
            let entry =
                |(k, v): &(crate::document::Key, Node)| format!("{}:{}", quoted(&k.name), turned(v, ordered(&k.name)));
            format!("{{{}}}", entries.iter().rev().map(entry).collect::<Vec<_>>().join(","))
        }
        NodeValue::List(items) => {
            let mut items: Vec<String> = items.iter().map(|v| turned(v, false)).collect();
            if !ordered {
                items.reverse();
            }
            format!("[{}]", items.join(","))
        }
        NodeValue::Text(text) => quoted(text),
        NodeValue::Number(number) => number.clone(),
        NodeValue::Bool(value) => value.to_string(),
        NodeValue::Null => "null".to_owned(),
    }
}

fn parsed(text: &str, options: &RoleOptions) -> Result<Role, TestCaseError> {
    Role::parse_with(text.as_bytes(), "generated", options)
        .map_err(|e| TestCaseError::fail(format!("{e}\n{:#?}\n{text}", e.facts())))
}

fn named(name: &str, document: &Value) -> (String, Vec<u8>) {
    let mut document = document.clone();
    document["name"] = name.into();
    (name.to_owned(), document.to_string().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A document in its JSON form, and in YAML, is the document again, with the same digest; the order of keys and of names
    /// is nothing to it. What is written fits the schema.
    #[test]
    fn what_is_written_is_the_document_again(document in arbitrary::document()) {
        let none = RoleOptions::default();
        let role = parsed(&document.to_string(), &none)?;
        let json = role.to_json();
        let again = parsed(&json, &none)?;
        prop_assert_eq!(again.to_json(), json.clone());
        prop_assert_eq!(again.digest(), role.digest());
        let yaml = role.to_yaml().unwrap();
        let read = parsed(&yaml, &none)?;
        prop_assert_eq!(read.to_json(), json.clone(), "{}", yaml);
        for system in ["el8", "el9", "debian12", "ubuntu24.04"].map(|s| Selector::parse(s).unwrap()) {
            prop_assert_eq!(again.part(system), role.part(system));
        }
        let tree = node::read(document.to_string().as_bytes(), &super::FORM.codes).unwrap();
        prop_assert_eq!(parsed(&turned(&tree, false), &none)?.digest(), role.digest());
        for value in [document, serde_json::from_str(&json).unwrap()] {
            let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
            compiler.add_resource("file:///schema.json", json_schema()).unwrap();
            let index = compiler.compile("file:///schema.json", &mut schemas).unwrap();
            let fits = schemas.validate(&value, index).map_err(|e| e.to_string());
            prop_assert!(fits.is_ok(), "{}\n{value}", fits.unwrap_err());
        }
    }

    /// A document that extends one and says nothing is that one; one that extends it twice, too.
    #[test]
    fn extending_is_idempotent(document in arbitrary::document()) {
        let options = RoleOptions { documents: [named("any", &document)].into(), ..RoleOptions::default() };
        let plain = parsed(&document.to_string(), &options)?;
        for extends in ["any", "[any, any]"] {
            let above = parsed(&format!("schema: cv.role/v1\nname: any\nextends: {extends}\n"), &options);
            prop_assert_eq!(above?.digest(), plain.digest());
        }
    }

    /// Whether three parents are named side by side, or two of them by way of another document, makes no difference but for
    /// where they disagree, which is the same things.
    #[test]
    fn extending_is_associative(a in arbitrary::document(), b in arbitrary::document(), c in arbitrary::document()) {
        let via = |name: &str, of: &str| (name.to_owned(), format!("schema: cv.role/v1\nname: {name}\nextends: {of}\n").into_bytes());
        let documents = [named("a", &a), named("b", &b), named("c", &c), via("ab", "[a, b]"), via("bc", "[b, c]")];
        let options = RoleOptions { documents: documents.into(), ..RoleOptions::default() };
        let ways = ["[a, b, c]", "[ab, c]", "[a, bc]"].map(|extends| {
            let text = format!("schema: cv.role/v1\nname: any\nextends: {extends}\n");
            let wrong = check_with(text.as_bytes(), "any", &options);
            let conflicts = wrong.iter().any(|d| d.severity == Severity::Error);
            (conflicts, Role::parse_with(text.as_bytes(), "any", &options).ok().map(|r| r.digest()))
        });
        prop_assert_eq!(&ways[0], &ways[1]);
        prop_assert_eq!(&ways[0], &ways[2]);
    }
}
