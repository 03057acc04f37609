//! On a terminal.

use super::{Bed, common};
use std::io::Read;
use std::process::Command;

/// Runs with a terminal for all three, types `answer`, and gives exit code and what was on the screen.
pub(super) fn on_a_terminal(bed: &Bed, args: &[&str], answer: &str) -> (i32, String) {
    use rustix::pty::OpenptFlags;
    use std::io::Write;
    let own = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    rustix::pty::grantpt(&own).unwrap();
    rustix::pty::unlockpt(&own).unwrap();
    let name = rustix::pty::ptsname(&own, Vec::new()).unwrap();
    let open = || std::fs::OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cvctl"));
    command.args(args).env("CV_STORE", bed.path("store")).env("CV_STATE", bed.path("state")).env("TERM", "xterm");
    let mut child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
    drop(command);
    let mut own = std::fs::File::from(own);
    own.write_all(answer.as_bytes()).unwrap();
    let mut seen = Vec::new();
    let mut buf = [0; 4096];
    // The end of the last one that holds the other side is an error here.
    while let Ok(n) = own.read(&mut buf) {
        seen.extend_from_slice(&buf[..n]);
    }
    (child.wait().unwrap().code().unwrap(), String::from_utf8_lossy(&seen).into_owned())
}

#[test]
fn a_terminal_gets_a_bar() {
    let bed = Bed::captured();
    std::fs::write(bed.path("root/noise"), common::noise(60 << 20, 5)).unwrap();
    let args = ["image", "capture", &bed.text("root"), "--name", "bar"];
    let (code, seen) = on_a_terminal(&bed, &args, "");
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("read [") && seen.contains(" of ") && seen.contains(" left"), "{seen:?}");
    let last = seen.trim_end().lines().rev().take(4).collect::<String>();
    assert!(last.contains("bar@1"), "{seen:?}");
    let (code, seen) = on_a_terminal(&bed, &[&args[..], &["-q", "--paranoid"]].concat(), "");
    assert!(code == 0 && !seen.contains('['), "{seen:?}");
}
