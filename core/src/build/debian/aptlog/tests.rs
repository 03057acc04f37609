//! The recorded runs, and what is read in them.

use super::*;
use crate::ErrorKind;
use crate::build::root::Stream;
use std::fmt::Write;

/// A recorded run: its facts, and its exit status.
fn heard(text: &str) -> (Log, i32) {
    let (mut log, mut status) = (Log::default(), 0);
    for line in text.lines() {
        let (front, text) = line.split_at_checked(2).unwrap_or((line, ""));
        match front {
            "= " => status = text.parse().unwrap(),
            "! " => log.hear(&Line { stream: Stream::Err, text: text.to_owned() }),
            _ => log.hear(&Line { stream: Stream::Out, text: text.to_owned() }),
        }
    }
    (log, status)
}

macro_rules! recorded {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("../../../../tests/apt/", $name, ".txt")))),*] };
}

#[test]
fn what_apt_said_and_what_it_means() {
    let runs = recorded!(
        "resolved",
        "removed",
        "installed",
        "missing",
        "version",
        "unmet",
        "excluded",
        "damaged",
        "vanished",
        "bad-preinst",
        "bad-postinst",
        "clash",
        "forged",
        "other-key",
        "damaged-list",
        "unreachable"
    );
    let mut out = String::new();
    for (name, text) in runs {
        let (log, status) = heard(text);
        let _ = writeln!(out, "## {name}");
        for r in &log.resolved {
            let _ = writeln!(out, "{:?} {} {} {} {}", r.action, r.name, r.evr, r.arch, r.repository);
        }
        match log.verdict("apt-get", status) {
            Ok(()) => out.push_str("well\n"),
            Err(e) => {
                let _ = writeln!(out, "{}: {}\n{}", e.kind(), e.message(), serde_json::to_string(e.facts()).unwrap());
            }
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn a_script_that_plays_apt_makes_nothing_good_or_bad() {
    let said = "  Setting up x (1) ...\n! E: Unable to locate package y\n! W: Failed to fetch z_1_all.deb  404\n";
    let begun = "  Selecting previously unselected package x.\n";
    let (log, _) = heard(&format!("{begun}{said}= 0\n"));
    assert!(log.verdict("apt-get", 0).is_ok());
    let failed = "! dpkg: error processing package x:amd64 (--configure):\n\
                  !  installed x:amd64 package post-installation script subprocess was killed by signal (Killed)\n";
    let (log, _) = heard(&format!("{begun}  Setting up x (1) ...\n{failed}= 100\n"));
    let e = log.verdict("apt-get", 100).unwrap_err();
    assert_eq!(
        (e.kind(), e.message()),
        (ErrorKind::Plugin, "the postinst of the package x failed (was killed by signal (Killed))")
    );
}

#[test]
fn a_full_disk_is_told_before_all_else() {
    let (log, status) = heard(
        "! dpkg: error processing archive /a/x_1_all.deb (--unpack):\n!  cannot copy: No space left on device\n= 100\n",
    );
    assert_eq!(log.verdict("apt-get", status).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn later_solvers_are_understood() {
    let text = "! E: Unable to satisfy dependencies. Reached two conflicting assignments:\n!    1. a is selected\n!    2. b is not\n= 100\n";
    let (log, status) = heard(text);
    let e = log.verdict("apt-get", status).unwrap_err();
    assert!(e.kind() == ErrorKind::Conflict && e.message().contains("1. a is selected"), "{e:?}");
}

proptest::proptest! {
    /// Invariant: any lines are heard.
    #[test]
    fn nothing_panics(lines in proptest::collection::vec("(E: |W: |dpkg: error processing |Inst |Purg | x : Depends: |Failed to fetch )?[ -~]{0,40}", 0..20)) {
        let mut log = Log::default();
        for text in lines {
            log.hear(&Line { stream: Stream::Err, text: text.clone() });
            log.hear(&Line { stream: Stream::Out, text });
        }
        let _ = log.verdict("apt-get", 100);
    }
}
