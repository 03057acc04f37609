//! Roles: every code has its words and its place, every code is described, and hostile documents end soon.
//!
//! `golden/role/CODE.yaml` has mistakes of that code and of no other; what is said about it stands beside it in
//! `CODE.txt`. `LIBCV_BLESS=1` writes these anew.
#![allow(missing_docs)]

use libcv::ErrorKind;
use libcv::role::{self, Role, RoleOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Codes that no file of a sensible size has, or that need a distribution.
const ELSEWHERE: [&str; 4] = ["R007", "R020", "R021", "R022"];

fn documents(folder: &str) -> BTreeMap<String, PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let documents = paths.filter(|p| p.extension().is_some_and(|e| e == "yaml"));
    documents.map(|p| (p.file_stem().unwrap().to_str().unwrap().to_owned(), p)).collect()
}

/// Every code has its words and its place, and nothing else is said.
#[test]
fn every_code_says_what_it_should() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (name, path) in documents("tests/golden/role") {
        let found = role::check_file(&path, &RoleOptions::default()).unwrap();
        let mut text = String::new();
        for d in &found {
            // Where the repository lies does not belong into the expectation.
            let line = d.to_string().replace(&*path.parent().unwrap().to_string_lossy(), "…");
            let within = d.document.as_deref().map(|d| format!("{}: ", Path::new(d).file_name().unwrap().display()));
            writeln!(text, "{}{line}", within.unwrap_or_default()).unwrap();
        }
        let expected = path.with_extension("txt");
        if std::env::var_os("LIBCV_BLESS").is_some() && name != "circle" && !name.starts_with("base") {
            std::fs::write(&expected, &text).unwrap();
        }
        if let Some(code) = name.get(..4).filter(|c| c.starts_with('R')) {
            assert_eq!(text, std::fs::read_to_string(&expected).unwrap_or_default(), "{name}: LIBCV_BLESS=1 writes it");
            assert!(!found.is_empty() && found.iter().all(|d| d.code == code), "{name}\n{text}");
            assert!(found.iter().all(|d| d.line > 0 && d.column > 0), "{name}\n{text}");
            seen.insert(code.to_owned());
        } else if name.starts_with("good") {
            assert_eq!(text, "", "{name}");
        }
    }
    let missing: Vec<String> =
        described().into_iter().filter(|c| !ELSEWHERE.contains(&c.as_str()) && !seen.contains(c)).collect();
    assert!(missing.is_empty(), "there is no golden document for {missing:?}");
}

/// What is secret is not repeated, whatever is said about it.
#[test]
fn a_secret_is_not_repeated() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/role/R036.yaml");
    let e = Role::load(path).unwrap_err();
    let said = format!("{e} {:?} {}", e.facts(), e.hint_text().unwrap_or_default());
    assert!(!said.contains("hunter2") && !said.contains("b3BlbnNzaC1r"), "{said}");
}

/// The codes in the table of the document.
fn described() -> BTreeSet<String> {
    let lines = include_str!("../docs/role-schema.md").lines();
    lines.filter_map(|l| l.strip_prefix("| ")?.get(..4)).filter(|c| is_code(c)).map(str::to_owned).collect()
}

fn is_code(text: &str) -> bool {
    text.len() == 4 && text.starts_with('R') && text[1..].chars().all(|c| c.is_ascii_digit())
}

#[test]
fn the_document_says_every_code_and_every_key() {
    let known = described();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/role")];
    let mut used = BTreeSet::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            used.extend(source.split('"').filter(|p| is_code(p)).map(str::to_owned));
        }
    }
    assert_eq!(used, known, "core/docs/role-schema.md has the codes that are used");
    let text = include_str!("../docs/role-schema.md");
    for key in Role::json_schema()["properties"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("| `{key}")), "{key} is not in core/docs/role-schema.md");
    }
}

/// The schema takes what is a document, whatever it means, and refuses what is none.
#[test]
fn documents_fit_the_schema() {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/cv.role.v1.json");
    let text: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    compiler.add_resource("file:///cv.role.v1.json", text).unwrap();
    let index = compiler.compile("file:///cv.role.v1.json", &mut schemas).unwrap();
    let all = documents("tests/golden/role").into_iter().chain(documents("src/role/shipped"));
    let mut counts = (0, 0);
    for (name, path) in all {
        // What is no YAML is not for a schema to judge; the rest of R004 is what no single object says.
        if ["R002", "R003"].contains(&name.as_str()) {
            continue;
        }
        let value: serde_json::Value = serde_saphyr::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let fits = schemas.validate(&value, index);
        let structural = ["R001", "R004", "R005", "R006", "R008", "R032", "R034", "R036", "R041", "R042", "R048"];
        if structural.contains(&name.as_str()) {
            assert!(fits.is_err(), "{name} fits the schema");
            counts.0 += 1;
        } else if name.starts_with("good")
            || ["node", "login", "head", "storage", "minimal", "R012", "R023"].contains(&name.as_str())
        {
            assert!(fits.is_ok(), "{name}: {}", fits.unwrap_err());
            counts.1 += 1;
        }
        // And in its JSON form, where it has one.
        if let Ok(role) = Role::load(&path) {
            let json: serde_json::Value = serde_json::from_str(&role.to_json()).unwrap();
            assert!(schemas.validate(&json, index).is_ok(), "{name}: {}", schemas.validate(&json, index).unwrap_err());
        }
    }
    assert!(counts.0 >= 10 && counts.1 >= 6, "{counts:?}");
}

#[test]
fn places_are_exact_and_json_has_them() {
    let text = "\
schema: cv.role/v1
name: bad
colour: red
packages: [bash, a b]
files:
  - {path: /etc/motd, content: x, mode: \"9\"}
for:
  el: {timezone: Europ/Berlin}
";
    let found: Vec<_> = role::check(text.as_bytes(), "test").iter().map(|d| (d.code, d.line, d.column)).collect();
    assert_eq!(found, [("R001", 3, 1), ("R045", 4, 18), ("R032", 6, 41), ("R040", 8, 18)]);
    let e = Role::parse(text.as_bytes(), "test.yaml").unwrap_err();
    assert_eq!((e.kind(), e.facts()["diagnostics"].as_array().unwrap().len()), (ErrorKind::Invalid, 4));
    assert!(e.message().starts_with("test.yaml:3:1: colour:"), "{e}");
    let d = &e.facts()["diagnostics"][3];
    assert_eq!((&d["path"], &d["hint"]), (&"for.el.timezone".into(), &"did you mean \"Europe/Berlin\"?".into()));
}

/// Documents that would take long, or much, end soon with the right kind.
#[test]
fn hostile_documents_end_soon() {
    let head = "schema: cv.role/v1\nname: many\n";
    let many = |n: usize, key: &str, item: &dyn Fn(usize) -> String| {
        format!("{head}{key}: [{}]\n", (0..n).map(item).collect::<Vec<_>>().join(", "))
    };
    let mut laughs = format!("{head}a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let _ = writeln!(laughs, "a{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 9].join(", "));
    }
    let excluded = format!(
        "{head}packages: [{}]\nexclude: [{}]\n",
        (0..15_000).map(|i| format!("p{i}")).collect::<Vec<_>>().join(", "),
        (0..300).map(|i| format!("'x{i}*y*z'")).collect::<Vec<_>>().join(", ")
    );
    let deep = format!("{head}files: [{{path: \"{}\", content: x}}]\n", "/a".repeat(500));
    let cases = [
        ("many", many(100_000, "packages", &|i| format!("p{i}")), &[ErrorKind::Limit][..]),
        ("same", many(30_000, "packages", &|_| "p".to_owned()), &[ErrorKind::Invalid]),
        ("bad", many(30_000, "kernel_args", &|i| format!("'a {i}'")), &[ErrorKind::Invalid]),
        ("files", many(6_000, "files", &|_| "{path: /etc/a, content: x}".to_owned()), &[ErrorKind::Invalid]),
        ("laughs", laughs, &[ErrorKind::Limit]),
        ("long", format!("{head}files: [{{path: /a/b, content: {}}}]\n", "x".repeat(300_000)), &[ErrorKind::Limit]),
        ("big", " ".repeat(5 << 20), &[ErrorKind::Limit]),
        ("empty", String::new(), &[ErrorKind::Invalid]),
        ("list", "[1, 2]".to_owned(), &[ErrorKind::Invalid]),
    ];
    // A second is what is promised of a program as it is shipped; this one is neither optimised nor alone.
    let patience = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });
    for (name, text, kinds) in cases {
        let begun = Instant::now();
        let e = Role::parse(text.as_bytes(), "test.yaml").unwrap_err();
        let took = begun.elapsed();
        eprintln!("{name}: {took:?}");
        assert!(kinds.contains(&e.kind()), "{name}: {:?} {}", e.kind(), e.message());
        assert!(took < patience, "{name}: {took:?}");
        assert!(e.facts()["diagnostics"].as_array().unwrap().len() <= 100 && e.message().len() < 1000, "{name}");
    }
    for (name, text) in [("excluded", excluded), ("deep", deep)] {
        let begun = Instant::now();
        assert!(Role::parse(text.as_bytes(), "test.yaml").is_ok(), "{name}");
        eprintln!("{name}: {:?}", begun.elapsed());
        assert!(begun.elapsed() < 3 * patience, "{name}: {:?}", begun.elapsed());
    }
}
