//! The examples in Rust, each of which stands in C and Python beside it, and runs as a test.

/// The story of `examples/c/mirrors.c` and `examples/python/mirrors.py`.
#[allow(dead_code)] // `main` is for the example
pub mod mirrors;
/// The story of `examples/c/multicast.c` and `examples/python/multicast.py`.
#[allow(dead_code)] // `main` is for the example
pub mod multicast;
/// The story of `examples/c/nodes.c` and `examples/python/nodes.py`.
#[allow(dead_code)] // `main` is for the example
pub mod nodes;
/// The story of `examples/c/packages.c` and `examples/python/packages.py`.
#[allow(dead_code)] // `main` is for the example
pub mod packages;
/// The story of `examples/c/plan.c` and `examples/python/plan.py`.
#[allow(dead_code)]
pub mod plan;
/// The story of `examples/c/quickstart.c` and `examples/python/quickstart.py`.
#[allow(dead_code)]
pub mod quickstart;
/// The story of `examples/c/send.c` and `examples/python/send.py`.
#[allow(dead_code)]
pub mod send;
/// The story of `examples/c/versions.c` and `examples/python/versions.py`.
#[allow(dead_code)]
pub mod versions;

#[cfg(test)]
mod tests {
    #[test]
    fn quickstart_runs() {
        let top = tempfile::tempdir().unwrap();
        super::quickstart::story(top.path()).unwrap();
    }

    #[test]
    fn mirrors_runs() {
        let top = tempfile::tempdir().unwrap();
        super::mirrors::story(top.path()).unwrap();
        assert!(top.path().join("mirror/refs/node/HEAD").exists());
    }

    #[test]
    fn multicast_runs() {
        let top = tempfile::tempdir().unwrap();
        super::multicast::story(top.path()).unwrap();
        for node in ["first", "second"] {
            assert_eq!(std::fs::read_to_string(top.path().join(node).join("motd")).unwrap(), "welcome\n");
        }
    }

    #[test]
    fn send_runs() {
        let top = tempfile::tempdir().unwrap();
        super::send::story(top.path()).unwrap();
        assert!(top.path().join("store/refs/login/0000000000000002").exists());
    }

    #[test]
    fn nodes_runs() {
        let top = tempfile::tempdir().unwrap();
        super::nodes::story(top.path()).unwrap();
        assert_eq!(std::fs::read_to_string(top.path().join("root/motd")).unwrap(), "of the node\n");
    }

    #[test]
    fn plan_runs() {
        let top = tempfile::tempdir().unwrap();
        super::plan::story(top.path()).unwrap();
        assert!(std::fs::read_to_string(top.path().join("plan.svg")).unwrap().contains("lvm/sys"));
    }

    #[test]
    fn versions_runs() {
        let top = tempfile::tempdir().unwrap();
        super::versions::story(top.path()).unwrap();
        assert_eq!(std::fs::read_to_string(top.path().join("node/motd")).unwrap(), "three\n");
    }

    #[test]
    fn packages_runs() {
        let top = tempfile::tempdir().unwrap();
        super::packages::story(top.path()).unwrap();
        let document = std::fs::read_to_string(top.path().join("node.cdx.json")).unwrap();
        assert!(document.contains("\"pkg:deb/debian/vim@2:9.0-1?arch=amd64\""), "{document}");
    }

    #[test]
    fn examples_are_short() {
        let stories = ["mirrors", "multicast", "nodes", "packages", "plan", "quickstart", "send", "versions"];
        for file in stories.iter().flat_map(|s| [format!("rust/{s}.rs"), format!("c/{s}.c"), format!("python/{s}.py")])
        {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 80, "{file} has {lines} lines");
        }
    }
}
