//! The C header: current, complete, and the same table of errors as core's.
//!
//! `LIBCV_BLESS=1 cargo test -p libcv-tests --test abi` rewrites `include/libcv.h` and `tests/abi/symbols.txt`.
#![allow(missing_docs)]

use libcv::ErrorKind;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_default()
}

/// Compares a committed file, or rewrites it.
fn held(path: &str, now: &str) {
    if std::env::var_os("LIBCV_BLESS").is_some() {
        std::fs::create_dir_all(top().join(path).parent().unwrap()).unwrap();
        std::fs::write(top().join(path), now).unwrap();
    }
    assert!(read(path) == now, "{path} is not current: LIBCV_BLESS=1 cargo test -p libcv-tests --test abi");
}

fn generated() -> String {
    let crate_dir = top().join("ffi");
    let config = cbindgen::Config::from_file(crate_dir.join("cbindgen.toml")).unwrap();
    let mut out = Vec::new();
    cbindgen::Builder::new().with_crate(crate_dir).with_config(config).generate().unwrap().write(&mut out);
    String::from_utf8(out).unwrap()
}

/// A function of the header: its name, and name and type of each argument.
struct Function {
    name: String,
    arguments: Vec<(String, String)>,
}

fn functions(header: &str) -> Vec<Function> {
    let code: String = header.split("*/").filter_map(|part| part.split("/*").next()).collect();
    let mut out = Vec::new();
    for statement in code.split(';') {
        let Some((head, rest)) = statement.split_once('(') else { continue };
        let name: String = head.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().into();
        if !name.starts_with("cv_") || head.contains("typedef") {
            continue;
        }
        let list = rest.rsplit_once(')').unwrap().0;
        let arguments = list.split(',').map(|a| a.trim().to_owned()).filter(|a| a != "void" && !a.is_empty());
        let arguments = arguments.map(|a| {
            let at = a.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
            (a[at..].to_owned(), a[..at].trim().to_owned())
        });
        out.push(Function { name, arguments: arguments.collect() });
    }
    out
}

#[test]
fn the_header_is_current() {
    held("include/libcv.h", &generated());
}

#[test]
fn the_list_of_symbols_is_that_of_the_header() {
    let mut names: Vec<String> = functions(&generated()).into_iter().map(|f| f.name).collect();
    assert!(names.len() > 30, "too few functions were found in the header: {names:?}");
    names.sort();
    held("tests/abi/symbols.txt", &format!("{}\n", names.join("\n")));
}

#[test]
fn every_kind_of_error_has_a_constant_and_a_name() {
    let header = generated();
    for kind in ErrorKind::ALL {
        let mut macro_name = String::from("CV_E");
        for c in kind.name().chars() {
            if c.is_uppercase() {
                macro_name.push('_');
            }
            macro_name.push(c.to_ascii_uppercase());
        }
        let line = format!("#define {macro_name} {}\n", kind.code());
        assert!(header.contains(&line), "{line} is not in the header");
        for code in [kind.code(), -kind.code()] {
            let name = cv::error::cv_error_name(code);
            // SAFETY: the names are static.
            #[allow(unsafe_code)]
            let name = unsafe { std::ffi::CStr::from_ptr(name) };
            assert_eq!(name.to_str().unwrap(), kind.name());
        }
    }
    let constants = header.lines().filter(|l| l.starts_with("#define CV_E_")).count();
    assert_eq!(constants, ErrorKind::ALL.len());
}

/// `null/` gives NULL for each pointer: as `NULL_IS_ERROR(function, argument, call)`, or as `NULL_IS_FINE(…)`.
#[test]
fn null_is_tried_for_each_pointer() {
    let files = std::fs::read_dir(top().join("tests/abi/null")).unwrap();
    let text: String = files.map(|f| std::fs::read_to_string(f.unwrap().path()).unwrap()).collect();
    let tried: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut missing = Vec::new();
    for f in functions(&generated()) {
        for (name, kind) in &f.arguments {
            let pointer = kind.ends_with('*') || kind == "cv_event_fn";
            let there =
                ["NULL_IS_ERROR", "NULL_IS_FINE"].iter().any(|m| tried.contains(&format!("{m}({}, {name},", f.name)));
            if pointer && !there {
                missing.push(format!("{}: {name}", f.name));
            }
        }
    }
    assert!(missing.is_empty(), "tests/abi/null does not try NULL for\n{}", missing.join("\n"));
}
