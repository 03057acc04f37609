//! Layout documents: every code with its place and its words, examples that are right, and texts that are meant to do
//! harm.
//!
//! `golden/layout/CODE.yaml` has mistakes of that code and of no other; what is said about it stands beside it in
//! `CODE.txt`. `LIBCV_BLESS=1` writes these anew.

use libcv::layout::{self, Layout, LayoutOptions};
use libcv::{Error, ErrorKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const GOOD: &str = include_str!("golden/layout/good-one.yaml");

/// Codes that no file of a sensible size has.
const ELSEWHERE: [&str; 1] = ["L007"];

fn parse_error(text: &str) -> Error {
    Layout::parse(text.as_bytes(), "test.yaml").unwrap_err()
}

/// The documents in a folder, by name.
fn documents(folder: &str) -> BTreeMap<String, PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let documents = paths.filter(|p| p.extension().is_some_and(|e| e == "yaml"));
    documents.map(|p| (p.file_stem().unwrap().to_str().unwrap().to_owned(), p)).collect()
}

#[test]
fn examples_are_right_and_come_back_from_json() {
    let examples = documents("../examples/layouts");
    for name in ["compute-2nvme-mirror", "single-sata", "data-raid10", "head-node"] {
        assert!(examples.contains_key(name), "{name}");
    }
    for (name, path) in examples {
        let layout = Layout::load(&path).unwrap_or_else(|e| panic!("{e}: {:#?}", e.facts()));
        assert_eq!(layout.name(), name);
        let again = Layout::parse(layout.to_json().as_bytes(), "json").unwrap();
        assert_eq!((again.to_json(), again.hash()), (layout.to_json(), layout.hash()));
    }
}

/// Every code has its words and its place, and nothing else is said.
#[test]
fn every_code_says_what_it_should() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (name, path) in documents("tests/golden/layout") {
        let found = layout::check_file(&path, &LayoutOptions::default()).unwrap();
        let mut text = String::new();
        for d in &found {
            // Where the repository lies does not belong into the expectation.
            let line = d.to_string().replace(&*path.parent().unwrap().to_string_lossy(), "…");
            let within = d.document.as_deref().map(|d| format!("{}: ", Path::new(d).file_name().unwrap().display()));
            writeln!(text, "{}{line}", within.unwrap_or_default()).unwrap();
        }
        let expected = path.with_extension("txt");
        if std::env::var_os("LIBCV_BLESS").is_some() {
            std::fs::write(&expected, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&expected).unwrap_or_default(), "{name}: LIBCV_BLESS=1 writes it");
        if let Some(code) = name.get(..4).filter(|c| c.starts_with('L')) {
            assert!(!found.is_empty() && found.iter().all(|d| d.code == code), "{name}\n{text}");
            assert!(found.iter().all(|d| d.line > 0 && d.column > 0), "{name}\n{text}");
            seen.insert(code.to_owned());
        } else if name.starts_with("good") {
            assert_eq!(text, "", "{name}");
        }
    }
    let known = described().into_iter().filter(|c| c.starts_with('L') && !ELSEWHERE.contains(&c.as_str()));
    // The boundary between what a document can say and what a plan can do is not the document's.
    let missing: Vec<String> = known.filter(|c| c != "L005" && !seen.contains(c)).collect();
    assert!(missing.is_empty(), "there is no golden document for {missing:?}");
}

/// The codes in the table of the document.
fn described() -> BTreeSet<String> {
    let lines = include_str!("../docs/layout-schema.md").lines();
    lines.filter_map(|l| l.strip_prefix("| ")?.get(..4)).filter(|c| is_code(c)).map(str::to_owned).collect()
}

fn is_code(text: &str) -> bool {
    text.len() == 4 && text.starts_with(['L', 'F', 'A', 'I']) && text[1..].chars().all(|c| c.is_ascii_digit())
}

#[test]
fn the_document_says_every_code() {
    let known = described();
    let mut open = ["src/layout", "src/sys"].map(|p| Path::new(env!("CARGO_MANIFEST_DIR")).join(p)).to_vec();
    let mut used = BTreeSet::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            used.extend(source.split('"').filter(|p| is_code(p)).map(str::to_owned));
        }
    }
    let missing: Vec<&String> = used.difference(&known).collect();
    assert!(missing.is_empty() && used.len() > 50, "{missing:?} are not in core/docs/layout-schema.md");
}

/// The schema takes what is a document, whatever it means, and refuses what is none.
#[test]
fn documents_fit_the_schema() {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/cv.layout.v1.json");
    let text: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    compiler.add_resource("file:///cv.layout.v1.json", text).unwrap();
    let index = compiler.compile("file:///cv.layout.v1.json", &mut schemas).unwrap();
    let all = documents("../examples/layouts").into_iter().chain(documents("tests/golden/layout"));
    let mut counts = (0, 0);
    for (name, path) in all {
        // What is no YAML, or means something only after the types, is not for a schema to judge.
        if ["L001", "L002", "no-cascade"].contains(&name.as_str()) || name.starts_with("L101-has") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let value: serde_json::Value = serde_saphyr::from_slice(&bytes).unwrap();
        let fits = schemas.validate(&value, index);
        let structural = ["L003", "L004", "L006", "L101", "L108", "L116", "L140"];
        if structural.contains(&name.as_str()) {
            assert!(fits.is_err(), "{name} fits the schema");
            counts.0 += 1;
        } else {
            assert!(fits.is_ok(), "{name}: {}", fits.unwrap_err());
            counts.1 += 1;
        }
        // And in its JSON form, where it has one.
        if let Ok(layout) = Layout::load(&path) {
            let json: serde_json::Value = serde_json::from_str(&layout.to_json()).unwrap();
            assert!(schemas.validate(&json, index).is_ok(), "{name}");
        }
    }
    assert!(counts.0 >= 7 && counts.1 >= 40, "{counts:?}");
}

#[test]
fn places_are_exact_and_json_has_them() {
    let text = "\
schema: cv.layout/v1
name: bad
colour: red
disks:
  os: {count: two}
partitions:
  os/a: {type: linux, size: 100G}
  os/b: {type: lniux, size: 1GiB}
  os/c: {size: 1GiB, typ: linux}
filesystems:
  a: {on: os/aa, type: ext4, label: seventeen-letters}
  b: {on: os/b, type: ext4}
";
    let found: Vec<_> = layout::check(text.as_bytes(), "test").iter().map(|d| (d.code, d.line, d.column)).collect();
    assert_eq!(
        found,
        [
            ("L003", 3, 1),
            ("L101", 5, 15),
            ("L108", 7, 29),
            ("L101", 8, 16),
            ("L004", 9, 9),
            ("L003", 9, 22),
            ("L103", 11, 11),
            ("L113", 11, 37),
        ]
    );
    let e = parse_error(text);
    assert_eq!(e.kind(), ErrorKind::Invalid);
    assert_eq!(e.facts()["diagnostics"].as_array().unwrap().len(), 8);
    assert!(e.message().starts_with("test.yaml:3:1: colour:"), "{e}");
    let d = &e.facts()["diagnostics"][3];
    assert_eq!((&d["path"], &d["hint"]), (&"partitions.os/b.type".into(), &"did you mean \"linux\"?".into()));
    assert!(d.get("document").is_none(), "it is in the document that was asked for");
}

#[test]
fn kinds_follow_codes() {
    assert_eq!(parse_error("[1, 2]").kind(), ErrorKind::Invalid);
    assert_eq!(parse_error("").kind(), ErrorKind::Invalid);
    assert_eq!(Layout::load("/nonexistent/x.yaml").unwrap_err().kind(), ErrorKind::NotFound);
    let layout = Layout::parse(GOOD.as_bytes(), "test").unwrap();
    let e = layout.plan(&BTreeMap::new(), &Default::default()).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Invalid, &"F201".into()));
}

/// Documents that extend others: where they are looked for, what they may be called, which one a mistake is in.
#[test]
fn documents_extend_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (site, shared) = (dir.path().join("site"), dir.path().join("shared"));
    std::fs::create_dir_all(&site).unwrap();
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::write(shared.join("base.yaml"), GOOD.replace("name: golden", "name: base")).unwrap();
    let own = "schema: cv.layout/v1\nname: own\nextends: base\nfilesystems:\n  root: {type: xfs, label: null}\n";
    std::fs::write(site.join("own.yaml"), own).unwrap();
    let options = LayoutOptions { search: vec![shared.clone()], ..LayoutOptions::default() };

    // Not beside it, and nobody said where.
    let e = Layout::load(site.join("own.yaml")).unwrap_err();
    assert_eq!((e.kind(), &e.facts()["code"]), (ErrorKind::Invalid, &"L008".into()));
    let layout = Layout::load_with(site.join("own.yaml"), &options).unwrap();
    let root = &layout.spec().filesystems["root"];
    assert_eq!((root.kind.name(), &root.label, layout.name()), ("xfs", &None, "own"));
    assert_eq!(root.mount.as_ref().unwrap().at, "/");

    // The same as one document, and from the hands of the caller.
    let whole = GOOD.replace("name: golden", "name: own").replace("type: ext4, label: root", "type: xfs");
    assert_eq!(Layout::parse(whole.as_bytes(), "whole").unwrap().hash(), layout.hash());
    let documents = BTreeMap::from([("base".to_owned(), GOOD.as_bytes().to_vec())]);
    let given = LayoutOptions { documents, ..LayoutOptions::default() };
    assert_eq!(Layout::parse_with(own.as_bytes(), "text", &given).unwrap().hash(), layout.hash());
    assert_eq!(Layout::parse(own.as_bytes(), "text").unwrap_err().facts()["code"], "L008");

    // What lies beside it goes before what lies elsewhere; a mistake is in the document that has it.
    std::fs::write(site.join("base.yaml"), GOOD.replace("size: rest", "size: 100G")).unwrap();
    let found = layout::check_file(site.join("own.yaml"), &options).unwrap();
    let base = site.join("base.yaml").display().to_string();
    let places: Vec<_> = found.iter().map(|d| (d.code, d.document.as_deref(), d.line)).collect();
    assert_eq!(places, [("L108", Some(base.as_str()), 8)]);
    let e = Layout::load_with(site.join("own.yaml"), &options).unwrap_err();
    assert!(e.message().starts_with(&format!("{base}:8:")), "{e}");
    assert_eq!(e.facts()["diagnostics"][0]["document"], base.as_str());

    // A name is not a path.
    std::fs::write(dir.path().join("secret.yaml"), GOOD).unwrap();
    for name in ["../secret", "/etc/passwd", "..", "a/b", ".hidden"] {
        std::fs::write(site.join("out.yaml"), own.replace("extends: base", &format!("extends: \"{name}\""))).unwrap();
        let found = layout::check_file(site.join("out.yaml"), &options).unwrap();
        assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["L116"], "{name}");
    }
}

/// Documents that would take long, or much, end soon with the right kind.
#[test]
fn hostile_documents_end_soon() {
    let head = "schema: cv.layout/v1\nname: many\ndisks: {d: {}}\npartitions:\n";
    let lines = |n: usize, line: &dyn Fn(usize) -> String| (0..n).fold(head.to_owned(), |s, i| s + &line(i));
    let many = lines(100_000, &|i| format!("  d/p{i}: {{type: linux, size: 1MiB}}\n"));
    // The same within the limit of the text, and as many as the limit of nodes lets through.
    let dense = lines(60_000, &|i| format!(" d/{i}: {{}}\n"));
    assert!(dense.len() < 1 << 20);
    let fewer = lines(15_000, &|i| format!(" d/{i}: {{}}\n"));
    let same = lines(1, &|_| "  d/p: &p {type: linux, size: 1MiB}\n".to_owned())
        + &(0..30_000).fold(String::new(), |s, i| s + &format!("  d/p{i}: *p\n"));
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let _ = writeln!(laughs, "a{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 9].join(", "));
    }
    let deep = format!("schema: {}{}", "[".repeat(50_000), "]".repeat(50_000));
    let long_key = format!("{}: 1\n", "k".repeat(1_000_000));
    let keys: String = (0..80_000).fold(String::new(), |s, i| s + &format!("k{i}: 1\n"));
    let merge = {
        let mut s = String::from("a0: &a0 {x: 1}\n");
        for i in 1..60 {
            let _ = writeln!(s, "a{i}: &a{i} {{<<: [*a{0}, *a{0}, *a{0}], k{i}: 1}}", i - 1);
        }
        s
    };
    // Groups on volumes of groups, each with many volumes and references that lead nowhere.
    let chain = {
        let mut s = String::from("schema: cv.layout/v1\nname: chain\ndisks: {d: {}}\nlvm:\n");
        for g in 0..120 {
            let _ =
                writeln!(s, "  g{g}:\n    pvs: [lvm/g{}/v, lvm/g{g}/nowhere]\n    lvs:\n      v: {{size: 1B}}", g + 1);
            for v in 0..50 {
                let _ = writeln!(s, "      v{v}: {{size: 1B}}");
            }
        }
        s
    };
    let rules = format!(
        "schema: cv.layout/v1\nname: x\ndisks: {{d: {{match: {}{}}}}}\n",
        "{not: ".repeat(20),
        "{serial: x}".to_owned() + &"}".repeat(20)
    );
    assert!(Layout::parse(rules.as_bytes(), "rules").is_ok(), "deep, and still a document");
    let cases = [
        ("many", many, &[ErrorKind::Limit][..]),
        ("dense", dense, &[ErrorKind::Limit]),
        ("fewer", fewer, &[ErrorKind::Limit]),
        ("same", same, &[ErrorKind::Limit]),
        ("laughs", laughs, &[ErrorKind::Limit]),
        ("deep", deep, &[ErrorKind::Limit, ErrorKind::Invalid]),
        ("long key", long_key, &[ErrorKind::Limit, ErrorKind::Invalid]),
        ("keys", keys, &[ErrorKind::Limit]),
        ("merge", merge, &[ErrorKind::Limit, ErrorKind::Invalid]),
        ("chain", chain, &[ErrorKind::Invalid]),
        ("big", " ".repeat(5 << 20), &[ErrorKind::Limit]),
    ];
    // A second is what is promised of a program as it is shipped; this one is neither optimised nor alone.
    let patience = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });
    for (name, text, kinds) in cases {
        let begun = Instant::now();
        let e = parse_error(&text);
        let took = begun.elapsed();
        assert!(kinds.contains(&e.kind()), "{name}: {:?} {}", e.kind(), e.message());
        eprintln!("{name}: {took:?}");
        assert!(took < patience, "{name}: {took:?}");
        assert!(e.facts()["diagnostics"].as_array().unwrap().len() <= 100, "{name}");
        assert!(e.message().len() < 1000, "{name}");
    }
}
