//! How it ends: with which code, and how soon after Ctrl-C.

use super::layout::{can_apply, layout};
use super::{Bed, common, validate};
use serde_json::Value;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn the_exit_code_is_the_kind_of_the_error() {
    let bed = Bed::captured();
    let (root, store) = (bed.text("root"), bed.text("store"));
    bed.fails(2, &["image", "nonsense"]);
    bed.fails(2, &["image", "capture", &root]);
    bed.fails(2, &["image", "capture", &root, "--name", "x", "--level", "20"]);
    bed.fails(2, &["image", "capture", &root, "--name", "no/name"]);
    bed.fails(2, &["image", "tag", "base", "base"]);
    let e = bed.fails(10, &["image", "show", "bsae"]);
    assert_eq!(e["hint"], "did you mean \"base\"?");
    bed.fails(10, &["image", "cat", "base", "/etc/none"]);
    bed.fails(10, &["--store", &bed.text("nowhere"), "image", "list"]);
    bed.fails(11, &["store", "init", &store]);
    bed.fails(11, &["image", "capture", &root, "--name", "base", "--exact", "--expect-parent", "7"]);
    bed.fails(16, &["store", "init", &root]);
    bed.fails(16, &["image", "rm", "base@1"]);
    bed.fails(16, &["image", "extract", "base", &root]);
    // No store at all.
    let out = bed.command(&["image", "list"]).env_remove("CV_STORE").output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("hint: give --store DIR"));
}

/// Starts, waits until it is at work, interrupts, and gives how long it then took and the error line.
fn interrupted(bed: &Bed, args: &[&str], after: Duration) -> (Duration, String) {
    let mut child = bed.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(after);
    assert!(child.try_wait().unwrap().is_none(), "it was faster than the test");
    let began = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let took = began.elapsed();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.code(), Some(24), "{status} {stderr}");
    (took, stderr)
}

#[test]
fn ctrl_c_ends_it_in_half_a_second() {
    let bed = Bed::new();
    std::fs::write(bed.path("root/noise"), common::noise(200 << 20, 11)).unwrap();
    let root = bed.text("root");
    bed.ok(&["store", "init", &bed.text("store")]);
    // On a machine that does other things besides, one of three has to be quick enough.
    let slow = ["image", "capture", &root, "--name", "big", "--level", "19", "--threads", "1", "-o", "json"];
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let (took, stderr) = interrupted(&bed, &slow, Duration::from_millis(600));
        let line: Value = serde_json::from_str(&stderr).unwrap();
        validate("error", &line);
        assert_eq!(line["error"]["kind"], "Cancelled");
        best = best.min(took);
        if best < Duration::from_millis(500) {
            break;
        }
    }
    assert!(best < Duration::from_millis(500), "{best:?}");
    assert!(bed.ok(&["store", "check", "--read-data"]).starts_with("0 faults; 0 images"));
    bed.ok(&["image", "capture", &root, "--name", "big", "--level", "1"]);
    bed.ok(&["store", "check", "--read-data"]);
}

#[test]
fn an_interrupted_deployment_gives_everything_back() {
    if !can_apply() {
        return;
    }
    let bed = Bed::captured();
    std::fs::write(bed.path("root/noise"), common::noise(40 << 20, 5)).unwrap();
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "base"]);
    let args = layout(&bed);
    let [file, disk, place] = args.each_ref().map(String::as_str);
    let apply = ["layout", "apply", file, disk, place, "--image", "base", "--yes"];
    let events = bed.text("events");
    let mut child = bed.command(&[&apply[..], &["--events", &events]].concat()).spawn().unwrap();
    let began = Instant::now();
    while !std::fs::read_to_string(&events).is_ok_and(|t| t.contains("\"transfer\"")) {
        assert!(began.elapsed() < Duration::from_secs(120), "it never came to the transfer");
        std::thread::sleep(Duration::from_millis(2));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(24));
    let last = std::fs::read_to_string(&events).unwrap().lines().last().unwrap().to_owned();
    assert!(last.contains("\"job.end\"") && last.contains("\"code\":24"), "it cleaned up to the end: {last}");
    let disk = std::fs::metadata(bed.path("disk")).unwrap();
    let (device, inode) = { (std::os::unix::fs::MetadataExt::dev(&disk), std::os::unix::fs::MetadataExt::ino(&disk)) };
    assert_eq!(libcv::sys::loopdev::attached_to(device, inode), Vec::<String>::new());
    bed.ok(&apply);
}
