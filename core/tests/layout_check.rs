//! Layout documents: every code with its place, examples that are right, and texts that are meant to do harm.

use libcv::layout::{self, Layout};
use libcv::{Error, ErrorKind};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

const GOOD: &str = "\
schema: cv.layout/v1
name: good
firmware: [bios]
disks:
  os: {}
partitions:
  os/biosboot: {type: bios-boot, size: 1MiB}
  os/root: {type: root, size: rest}
filesystems:
  root: {on: os/root, type: ext4, label: root, mount: {at: /}}
boot: {loader: grub2, install-on: os}
";

/// Code, line and column of everything wrong in a text.
fn codes(text: &str) -> Vec<(&'static str, u32, u32)> {
    layout::check(text.as_bytes(), "test").iter().map(|d| (d.code, d.line, d.column)).collect()
}

fn only_code(text: &str) -> &'static str {
    let found = layout::check(text.as_bytes(), "test");
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    found[0].code
}

fn parse_error(text: &str) -> Error {
    Layout::parse(text.as_bytes(), "test.yaml").unwrap_err()
}

#[test]
fn the_good_one_is_good_and_comes_back_from_json() {
    assert_eq!(codes(GOOD), []);
    let layout = Layout::parse(GOOD.as_bytes(), "test").unwrap();
    let json = layout.to_json();
    let again = Layout::parse(json.to_string().as_bytes(), "json").unwrap();
    assert_eq!(again.to_json(), json);
    assert_eq!(again.name(), "good");
}

#[test]
fn examples_are_right_and_come_back_from_json() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/layouts");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let layout = Layout::load(&path).unwrap();
        assert_eq!(layout.name(), path.file_stem().unwrap().to_str().unwrap());
        let again = Layout::parse(layout.to_json().to_string().as_bytes(), "json").unwrap();
        assert_eq!(again.to_json(), layout.to_json());
        seen += 1;
    }
    assert!(seen >= 4);
}

#[test]
fn one_mistake_one_code() {
    let cases = [
        ("L001", GOOD.replace("firmware: [bios]", "firmware: [bios")),
        ("L002", GOOD.replace("  os: {}", "  os: {}\n  os: {}")),
        ("L003", GOOD.replace("name: good", "name: good\nnmae: x")),
        ("L004", GOOD.replace(", size: rest", "")),
        ("L005", format!("{GOOD}raid: {{}}\n")),
        ("L005", format!("{GOOD}lvm: {{}}\n")),
        ("L005", format!("{GOOD}luks: {{}}\n")),
        ("L005", format!("{GOOD}extends: x\n")),
        ("L005", format!("{GOOD}policy: {{}}\n")),
        ("L005", GOOD.replace("size: rest", "size: rest, preserve: true")),
        ("L005", GOOD.replace("os: {}", "os: {count: 2}")),
        ("L005", GOOD.replace("grub2", "systemd-boot")),
        ("L006", GOOD.replace("cv.layout/v1", "cv.layout/v9")),
        ("L101", GOOD.replace("os: {}", "os: {count: two}")),
        ("L101", GOOD.replace("type: ext4", "type: ext5")),
        ("L101", GOOD.replace("size: rest", "size: 0%")),
        ("L101", GOOD.replace("size: rest", "size: {min: 2GiB, max: 1GiB}")),
        ("L101", GOOD.replace("size: rest", "size: rest, number: 129")),
        ("L101", GOOD.replace("size: rest", "size: rest, uuid: xyz")),
        ("L102", GOOD.replace("size: rest}", "size: rest}\n  sys/x: {type: linux, size: 1MiB}")),
        ("L103", GOOD.replace("mount: {at: /}}", "mount: {at: /}}\n  x: {on: os/rot, type: xfs}")),
        ("L105", GOOD.replace("mount: {at: /}}", "mount: {at: /}}\n  x: {on: os/root, type: xfs}")),
        ("L105", GOOD.replace("mount: {at: /}}", "mount: {at: /}}\n  x: {on: os/biosboot, type: swap}")),
        ("L107", GOOD.replace("at: /", "at: /srv")),
        ("L108", GOOD.replace("1MiB", "1M")),
        ("L108", GOOD.replace("1MiB", "1048576")),
        ("L109", GOOD.replace("size: rest}", "size: rest}\n  os/x: {type: linux, size: rest}")),
        ("L110", GOOD.replace("size: rest}", "size: 60%}\n  os/x: {type: linux, size: 50%}")),
        ("L111", GOOD.replace("size: rest}", "size: rest, number: 7}\n  os/x: {type: linux, size: 1MiB, number: 7}")),
        ("L112", GOOD.replace("size: rest", &format!("size: rest, name: {}", "n".repeat(34)))),
        ("L113", GOOD.replace("label: root", "label: seventeen-letters")),
        ("L116", GOOD.replace("name: good", "name: -good")),
        ("L116", GOOD.replace("size: rest}", "size: rest}\n  x: {type: linux, size: 1MiB}")),
        ("L118", GOOD.replace("mount: {at: /}}", "mount: {at: /}, mkfs: [/dev/sdb]}")),
        ("L118", GOOD.replace("mount: {at: /}}", "mount: {at: /, options: [journal_path=/dev/sdb]}}")),
        ("L117", GOOD.replace("at: /}}", "at: /}}\n  x: {on: os/x, type: xfs, mount: {at: /my dir}}")
            .replace("  os/root:", "  os/x: {type: linux, size: 1GiB}\n  os/root:")),
        ("L117", GOOD.replace("mount: {at: /}}", "mount: {at: /}}\n  x: {on: os/x, type: xfs, mount: {at: /a/../b}}")
            .replace("size: rest}", "size: rest}\n  os/x: {type: linux, size: 1GiB}")),
        ("L118", GOOD.replace("install-on: os", "install-on: os, cmdline: [\"quiet; reboot\"]")),
        ("L119", GOOD.replace("mount: {at: /}}", "uuid: 4f68bce3-e8cd-4db1-96e7-fbcaf984b701, mount: {at: /}}\n  x: {on: os/x, type: xfs, uuid: 4F68BCE3-e8cd-4db1-96e7-fbcaf984b701}")
            .replace("size: rest}", "size: rest}\n  os/x: {type: linux, size: 1GiB}")),
        ("L121", GOOD.replace("type: bios-boot", "type: linux")),
        ("L122", GOOD.replace("size: rest}", "size: rest}\n  os/esp: {type: esp, size: 64MiB}")),
        ("L126", GOOD.replace("size: rest", "size: 4MiB")),
    ];
    for (code, text) in cases {
        assert_eq!(only_code(&text), code, "{text}");
    }
    let two = GOOD.replace("mount: {at: /}}", "mount: {at: /}}\n  x: {on: os/x, type: xfs, mount: {at: /}}");
    assert_eq!(only_code(&two.replace("size: rest}", "size: rest}\n  os/x: {type: linux, size: 1GiB}")), "L106");
    let uefi: Vec<_> = codes(&GOOD.replace("[bios]", "[uefi]")).into_iter().map(|c| c.0).collect();
    assert_eq!(uefi, ["L120", "L005"]);
}

#[test]
fn all_mistakes_at_once_with_their_places() {
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
    let found = codes(text);
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
}

#[test]
fn kinds_follow_codes() {
    assert_eq!(parse_error(&format!("{GOOD}raid: {{}}\n")).kind(), ErrorKind::Unsupported);
    assert_eq!(parse_error(&format!("{GOOD}raid: {{}}\nx: 1\n")).kind(), ErrorKind::Invalid);
    assert_eq!(parse_error("[1, 2]").kind(), ErrorKind::Invalid);
    assert_eq!(parse_error("").kind(), ErrorKind::Invalid);
    assert_eq!(Layout::load("/nonexistent/x.yaml").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_document_says_every_code() {
    let text = include_str!("../docs/layout-schema.md");
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut todo = vec![src.join("layout"), src.join("sys")];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else {
            sources.push(std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(sources.len() > 40);
    for source in sources {
        for piece in source.split('"').filter(|p| {
            p.len() == 4 && p.starts_with(['L', 'F', 'A', 'I']) && p[1..].chars().all(|c| c.is_ascii_digit())
        }) {
            assert!(text.contains(&format!("| {piece} |")), "{piece} is not in core/docs/layout-schema.md");
        }
    }
}

/// Hostile documents get the right kind within five seconds.
#[test]
fn hostile_documents_end_soon() {
    let mut many = GOOD.replace("filesystems:", "#");
    many.clear();
    many.push_str("schema: cv.layout/v1\nname: many\ndisks: {d: {}}\npartitions:\n");
    let few_bytes = many.clone();
    for i in 0..100_000 {
        let _ = writeln!(many, "  d/p{i}: {{type: linux, size: 1MiB}}");
    }
    // The same within the limit of the text: as many as fit into 1 MiB.
    let mut dense = few_bytes;
    for i in 0..60_000 {
        let _ = writeln!(dense, " d/{i}: {{}}");
    }
    assert!(dense.len() < 1 << 20);
    // And as many as the limit of nodes lets through.
    let fewer: String = dense.lines().take(15_000).fold(String::new(), |s, l| s + l + "\n");
    let mut same = String::from(
        "schema: cv.layout/v1\nname: x\ndisks: {d: {}}\npartitions:\n  d/p: &p {type: linux, size: 1MiB}\n",
    );
    for i in 0..30_000 {
        let _ = writeln!(same, "  d/p{i}: *p");
    }
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let _ = writeln!(laughs, "a{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 9].join(", "));
    }
    let deep = format!("schema: {}{}", "[".repeat(50_000), "]".repeat(50_000));
    let long_key = format!("{}: 1\n", "k".repeat(1_000_000));
    let keys: String = (0..80_000).fold(String::new(), |mut s, i| {
        let _ = writeln!(s, "k{i}: 1");
        s
    });
    let merge = {
        let mut s = String::from("a0: &a0 {x: 1}\n");
        for i in 1..60 {
            let _ = writeln!(s, "a{i}: &a{i} {{<<: [*a{0}, *a{0}, *a{0}], k{i}: 1}}", i - 1);
        }
        s
    };
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
        ("big", " ".repeat(5 << 20), &[ErrorKind::Limit]),
    ];
    for (name, text, kinds) in cases {
        let begun = Instant::now();
        let e = parse_error(&text);
        let took = begun.elapsed();
        assert!(kinds.contains(&e.kind()), "{name}: {:?} {}", e.kind(), e.message());
        eprintln!("{name}: {took:?}");
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");
        assert!(e.facts()["diagnostics"].as_array().unwrap().len() <= 100, "{name}");
        assert!(e.message().len() < 1000, "{name}");
    }
}
