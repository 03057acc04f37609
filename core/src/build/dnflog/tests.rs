//! The recorded runs, and what is read in them.

use super::*;

fn heard(text: &str) -> Log {
    let mut log = Log::default();
    for line in text.lines() {
        let stream = if line.starts_with('!') { Stream::Err } else { Stream::Out };
        log.hear(&Line { stream, text: line.get(2..).unwrap_or_default().to_owned() });
    }
    log
}

macro_rules! recorded {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("../../../tests/dnf/", $name, ".txt")))),*] };
}

/// Name and exit status of each run.
const FAILED: [&str; 15] = [
    "resolved",
    "fail-pretrans",
    "fail-pre",
    "unsigned",
    "forged",
    "damaged",
    "needs-missing",
    "clash",
    "missing",
    "group",
    "stream",
    "excluded",
    "damaged-metadata",
    "no-metadata",
    "full",
];

#[test]
fn what_dnf_said_and_what_it_means() {
    let runs = recorded!(
        "resolved",
        "good",
        "weak",
        "fail-pretrans",
        "fail-pre",
        "fail-post",
        "fail-posttrans",
        "killed-post",
        "unsigned",
        "forged",
        "damaged",
        "needs-missing",
        "clash",
        "missing",
        "group",
        "stream",
        "excluded",
        "damaged-metadata",
        "no-metadata",
        "full"
    );
    let mut out = String::new();
    for (name, text) in runs {
        let log = heard(text);
        let status = i32::from(FAILED.contains(&name));
        out.push_str(&format!("{name}\n"));
        for r in log.resolved() {
            out.push_str(&format!("  {:?} {} {} {} from {}\n", r.action, r.name, r.evr, r.arch, r.repository));
        }
        match log.verdict(status, &[]) {
            Ok(()) => out.push_str("  good\n"),
            Err(e) => {
                out.push_str(&format!("  {} {e}\n  {}\n", e.kind().code(), serde_json::Value::from(e.facts().clone())));
            }
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn a_scriptlet_may_fail_where_a_role_allows_it() {
    let log = heard(include_str!("../../../tests/dnf/fail-post.txt"));
    assert!(log.verdict(0, &["fail-post".into()]).is_ok());
    assert_eq!(log.verdict(0, &["base".into()]).unwrap_err().kind(), ErrorKind::Plugin);
    assert_eq!(log.scriptlets[0].said, ["post says no"]);
}

/// The two streams come in any order to each other.
#[test]
fn the_order_of_the_streams_does_not_matter() {
    for name in recorded!("fail-pre", "fail-post", "clash", "excluded", "damaged-metadata", "killed-post") {
        let (out, err): (Vec<&str>, Vec<&str>) = name.1.lines().partition(|l| l.starts_with('|'));
        let one = heard(name.1);
        for lines in [[out.clone(), err.clone()].concat(), [err, out].concat()] {
            let other = heard(&lines.join("\n"));
            let said = |log: &Log| log.verdict(1, &[]).map_err(|e| format!("{e:?}"));
            assert_eq!(said(&one), said(&other), "{}", name.0);
        }
    }
}

#[test]
fn a_scriptlet_cannot_talk_packages_into_the_table() {
    let text = "| Dependencies resolved.\n| Installing:\n|  a  noarch  1-1  good  1 k\n| Running transaction\n\
                | Dependencies resolved.\n| Installing:\n|  b  noarch  1-1  good  1 k\n";
    let log = heard(text);
    assert_eq!(log.resolved().iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_name_wider_than_its_column_and_sections_of_other_things() {
    let text = "| Dependencies resolved.\n| Installing group/module packages:\n|  NetworkManager-initscripts-updown\n\
                |                  noarch    1:1.54.0-2.el9    baseos    20 k\n| Enabling module streams:\n\
                |  nginx                     1.24\n| Installing Environment Groups:\n|  Minimal Install\n\
                | Removing dependent packages:\n|  old  x86_64  1-1  @System  945\n| \n| Transaction Summary\n|  x  y  1-1  z  1 k\n";
    let rows: Vec<_> = heard(text).resolved().iter().map(|r| (r.name.clone(), r.evr.clone(), r.action)).collect();
    let wanted = [
        ("NetworkManager-initscripts-updown".to_owned(), "1:1.54.0-2.el9".to_owned(), Action::Install),
        ("old".to_owned(), "1-1".to_owned(), Action::Remove),
    ];
    assert_eq!(rows, wanted);
}

proptest::proptest! {
    /// Whatever is said, it is heard in bounded space and without a panic.
    #[test]
    fn nothing_that_is_said_breaks_it(lines in proptest::collection::vec((proptest::bool::ANY, ".{0,60}"), 0..60)) {
        let mut log = Log::default();
        for (out, text) in lines {
            log.hear(&Line { stream: if out { Stream::Out } else { Stream::Err }, text });
        }
        let _ = log.verdict(1, &[]);
    }
}
