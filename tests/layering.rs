//! The direction of dependency: a stage imports only the base and the stages above it, and nobody imports the command
//! line. The order is that of the `pub mod` lines in `core/src/lib.rs`.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn core() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src")
}

/// The modules of the crate in the order of their declaration.
fn stages() -> Vec<String> {
    let text = std::fs::read_to_string(core().join("lib.rs")).unwrap();
    let names = text.lines().filter_map(|l| l.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// What a file names as `crate::X`, outside of comments and of its tests.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().filter(|l| !l.trim_start().starts_with("//"));
    let mut out = BTreeSet::new();
    for line in lines {
        for part in line.split("crate::").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            out.insert(name);
        }
    }
    out
}

#[test]
fn no_arrow_points_backward() {
    let stages = stages();
    assert!(stages.len() >= 10, "the stages are declared in lib.rs: {stages:?}");
    let mut files = Vec::new();
    sources(&core(), &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(core()).unwrap().to_path_buf();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let own = first.trim_end_matches(".rs").to_owned();
        let Some(mine) = stages.iter().position(|s| *s == own) else { continue };
        for name in imports(&std::fs::read_to_string(&file).unwrap()) {
            if let Some(theirs) = stages.iter().position(|s| *s == name)
                && theirs > mine
            {
                wrong.push(format!("{} ({own}) imports {name}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "backward arrows:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_only_where_it_is_at_home() {
    let mut files = Vec::new();
    sources(&core(), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let inside = file.strip_prefix(core()).unwrap();
        assert!(
            !text.contains("allow(unsafe_code)") || inside.starts_with("sys"),
            "{} allows unsafe code outside of sys",
            inside.display()
        );
    }
}

#[test]
fn an_arrow_backward_would_be_found() {
    assert!(imports("use crate::capture::x;\n// crate::cli\n").contains("capture"));
    assert!(!imports("// use crate::cli;\n").contains("cli"));
}
