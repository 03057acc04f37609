//! The examples in Rust, each of which stands in C and Python beside it, and runs as a test.

/// The story of `examples/c/quickstart.c` and `examples/python/quickstart.py`.
#[allow(dead_code)] // `main` is for the example
pub mod quickstart;

#[cfg(test)]
mod tests {
    #[test]
    fn quickstart_runs() {
        let top = tempfile::tempdir().unwrap();
        super::quickstart::story(top.path()).unwrap();
    }

    #[test]
    fn examples_are_short() {
        for file in ["rust/quickstart.rs", "c/quickstart.c", "python/quickstart.py"] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 80, "{file} has {lines} lines");
        }
    }
}
