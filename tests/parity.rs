//! No capability in one skin alone: every name of `parity.yaml` exists, and no skin has a name that is not there.
//!
//! `LIBCV_BLESS=1 cargo test -p libcv-tests --test parity` rewrites `core/docs/parity.md`.
#![allow(missing_docs)]

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// One name or several, or a gap.
#[derive(Deserialize, Clone, Default)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
    #[default]
    Gap,
}

impl Names {
    fn list(&self) -> Vec<String> {
        match self {
            Self::One(n) => vec![n.clone()],
            Self::Many(n) => n.clone(),
            Self::Gap => Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Capability {
    what: String,
    rust: Names,
    c: Names,
    python: Names,
    cvctl: Names,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parity {
    capabilities: Vec<Capability>,
    own: BTreeMap<String, Vec<String>>,
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap()
}

fn parity() -> Parity {
    serde_saphyr::from_str(&read("tests/parity.yaml")).unwrap()
}

impl Parity {
    fn names(&self, skin: &str, of: impl Fn(&Capability) -> &Names) -> BTreeSet<String> {
        let own = self.own.get(skin).cloned().unwrap_or_default();
        self.capabilities.iter().flat_map(|c| of(c).list()).chain(own).collect()
    }
}

/// Fails unless the two sets are the same.
fn same(skin: &str, there: &BTreeSet<String>, named: &BTreeSet<String>) {
    let gone: Vec<_> = named.difference(there).collect();
    let unnamed: Vec<_> = there.difference(named).collect();
    assert!(gone.is_empty(), "tests/parity.yaml names what {skin} has not: {gone:?}");
    assert!(unnamed.is_empty(), "{skin} has what tests/parity.yaml does not name: {unnamed:?}");
}

/// All sources of a module of the core.
fn module(name: &str) -> String {
    fn gather(path: &Path, out: &mut String) {
        if !path.exists() {
            return;
        }
        if path.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                gather(&entry.unwrap().path(), out);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    let mut out = String::new();
    let base = top().join("core/src").join(name);
    gather(&base.with_extension("rs"), &mut out);
    gather(&base, &mut out);
    out
}

#[test]
fn rust_has_every_name() {
    for name in parity().names("rust", |c| &c.rust) {
        let parts: Vec<&str> = name.split("::").collect();
        let (stage, function) = (parts[0], parts[parts.len() - 1]);
        let text = module(stage);
        let there = ["pub fn", "pub const fn", "fn"].iter().any(|f| text.contains(&format!("{f} {function}(")))
            || text.contains(&format!("pub fn {function}<"));
        assert!(there, "core/src/{stage} has no {name}");
        for of in parts[1..parts.len() - 1].iter().filter(|p| p.starts_with(char::is_uppercase)) {
            assert!(text.contains(&format!("pub struct {of}")), "core/src/{stage} has no type {of}");
        }
    }
}

#[test]
fn c_has_every_name_and_no_other() {
    let symbols: BTreeSet<String> = read("tests/abi/symbols.txt").lines().map(str::to_owned).collect();
    let (types, functions) = parity().names("c", |c| &c.c).into_iter().partition(|n: &String| n.ends_with("_fn"));
    same("the header", &symbols, &functions);
    let header = read("include/libcv.h");
    let types: BTreeSet<String> = types;
    types.iter().for_each(|t| assert!(header.contains(t.as_str()), "the header has no {t}"));
}

/// The public functions and methods of the stubs, of `aio.py` and of `progress.py`. What a value is made of (rows,
/// changes, …) is none.
fn python() -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut class = None;
    for line in read("python/libcv/_native.pyi").lines() {
        if let Some(rest) = line.strip_prefix("class ") {
            class = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
        }
        let Some(rest) = line.trim_start().strip_prefix("def ") else { continue };
        let name = rest.split('(').next().unwrap_or_default();
        let of = class.as_deref().filter(|_| line.starts_with(' '));
        match of {
            _ if name.starts_with('_') => {}
            Some("Row" | "Rows" | "Change" | "_HasFileno") => {}
            Some(of) => drop(out.insert(format!("{of}.{name}"))),
            None => drop(out.insert(name.to_owned())),
        }
    }
    for (file, prefix) in [("aio", "aio."), ("progress", "")] {
        let text = read(&format!("python/libcv/{file}.py"));
        let functions = text.lines().filter_map(|l| l.strip_prefix("async def ").or_else(|| l.strip_prefix("def ")));
        let names = functions.filter_map(|l| l.split('(').next()).filter(|n| !n.starts_with('_'));
        out.extend(names.map(|n| format!("{prefix}{n}")));
    }
    out
}

#[test]
fn python_has_every_name_and_no_other() {
    same("the Python package", &python(), &parity().names("python", |c| &c.python));
}

#[test]
fn cvctl_has_every_verb_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["cvctl", "--quiet", "man"].map(std::ffi::OsString::from);
    assert_eq!(libcv::cli::run(args.into_iter().chain([dir.path().join("man").into()])), 0);
    let files: Vec<String> = std::fs::read_dir(dir.path().join("man"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter_map(|n| n.strip_suffix(".1").map(str::to_owned))
        .collect();
    // A noun has verbs beneath it, which are what counts.
    let leaves = files.iter().filter(|f| !files.iter().any(|o| o.starts_with(&format!("{f}-"))));
    let verbs: BTreeSet<String> = leaves.map(|f| f.trim_start_matches("cvctl-").replace('-', " ")).collect();
    let (options, named): (BTreeSet<_>, BTreeSet<_>) =
        parity().names("cvctl", |c| &c.cvctl).into_iter().partition(|n| n.starts_with('-'));
    same("cvctl", &verbs, &named);
    let page = std::fs::read_to_string(dir.path().join("man/cvctl.1")).unwrap().replace('\\', "");
    options.iter().for_each(|o| assert!(page.contains(o.as_str()), "cvctl has no {o}"));
}

#[test]
fn the_table_is_current() {
    let mut out = String::from(
        "# Parity of the skins\n\nMade from `tests/parity.yaml`, whose test fails when a name is missing on either side. \
         A gap is shown as –.\n\n| Capability | Rust `libcv::` | C | Python `libcv.` | `cvctl` |\n|---|---|---|---|---|\n",
    );
    for c in parity().capabilities {
        let cell = |n: &Names| match n.list() {
            list if list.is_empty() => "–".to_owned(),
            list => list.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" "),
        };
        let cells = [&c.rust, &c.c, &c.python, &c.cvctl].map(cell).join(" | ");
        let _ = writeln!(out, "| {} | {cells} |", c.what);
    }
    let path = top().join("core/docs/parity.md");
    if std::env::var_os("LIBCV_BLESS").is_some() {
        std::fs::write(&path, &out).unwrap();
    }
    let now = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(now == out, "core/docs/parity.md is not current: LIBCV_BLESS=1 cargo test -p libcv-tests --test parity");
}
