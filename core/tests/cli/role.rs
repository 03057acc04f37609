//! Roles: checked with all that is wrong, shown with all that they extend.

use super::Bed;

const ROLE: &str = "
schema: cv.role/v1
name: our-node
extends: node
packages: [htop, -tcpdump]
users: [{name: root, keys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me\"]}]
files: [{path: /etc/motd, source: motd}]
";

/// A role of a site, with a file beside it.
fn role(bed: &Bed) -> String {
    std::fs::create_dir_all(bed.path("roles")).unwrap();
    std::fs::write(bed.path("roles/our-node.yaml"), ROLE).unwrap();
    std::fs::write(bed.path("roles/motd"), "welcome\n").unwrap();
    bed.text("roles/our-node.yaml")
}

pub(super) fn in_json(bed: &Bed) {
    let file = role(bed);
    bed.json("role-check", &["role", "check", &file]);
    bed.json("role-schema", &["role", "schema"]);
    bed.json("role-show", &["role", "show", &file]);
    bed.json("role-show", &["role", "show", "login", "--for", "el9"]);
}

#[test]
fn a_role_is_shown_with_all_that_it_extends() {
    let bed = Bed::new();
    let file = role(&bed);
    let shown = bed.json("role-show", &["role", "show", &file, "--for", "el9"]);
    let packages: Vec<&str> =
        shown["role"]["packages"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
    assert!(
        packages.contains(&"htop") && packages.contains(&"kernel") && !packages.contains(&"tcpdump"),
        "{packages:?}"
    );
    let motd = shown["role"]["files"].as_array().unwrap().iter().find(|f| f["path"] == "/etc/motd").unwrap();
    assert_eq!(motd["content"], "welcome\n");
    // What is shown is a role of its own, the same one.
    let whole = bed.ok(&["role", "show", &file]);
    assert!(whole.starts_with(&format!("# digest {}\n", shown["digest"].as_str().unwrap())), "{whole}");
    std::fs::write(bed.path("whole.yaml"), &whole).unwrap();
    assert_eq!(bed.ok(&["role", "show", &bed.text("whole.yaml")]), whole);
    // By its name, from where roles lie.
    let dir = bed.text("roles");
    assert_eq!(bed.ok(&["role", "show", "our-node", "--role-path", &dir]), whole);
    let e = bed.fails(10, &["role", "show", "our-node"]);
    assert!(e["hint"].as_str().unwrap().contains("minimal, node, login, storage, head"), "{e}");
    bed.fails(10, &["role", "show", "./none.yaml"]);
    bed.fails(2, &["role", "show", "node", "--for", "rocky"]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let bed = Bed::new();
    let file = role(&bed);
    assert_eq!(bed.ok(&["role", "check", &file]), format!("{file}: good\n"));
    std::fs::write(&file, ROLE.replace("htop", "'h top'").replace("source: motd", "source: modt")).unwrap();
    let out = bed.run(&["role", "check", &file]);
    let said = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(2), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with(&format!("{file}:5:12: R045 packages: ")), "{said}");
    assert!(lines[1].starts_with(&format!("{file}:7:35: R014 files./etc/motd.source: ")), "{said}");
    let e = bed.fails(2, &["role", "check", &file]);
    assert_eq!(e["detail"]["diagnostics"].as_array().unwrap().len(), 2);
    bed.fails(10, &["role", "check", &bed.text("none.yaml")]);
    // What means nothing on a system is a warning, and no error.
    std::fs::write(&file, "schema: cv.role/v1\nname: x\ngroups: [core]\nselinux: enforcing\n").unwrap();
    let said = bed.ok(&["role", "check", &file, "--for", "debian12"]);
    let codes: Vec<&str> = said.lines().filter_map(|l| l.split(' ').nth(1)).collect();
    assert_eq!(codes, ["R050", "R051"], "{said}");
    assert_eq!(bed.ok(&["role", "check", &file, "--for", "el9"]), format!("{file}: good\n"));
}
