//! What people, scripts and listeners read.

use super::Bed;
use super::layout::{LAYOUT, layout};
use serde_json::Value;
use std::io::Read;
use std::process::Stdio;

#[test]
fn events_are_lines_of_json() {
    let bed = Bed::captured();
    let file = bed.text("events");
    for _ in 0..2 {
        bed.ok(&["--events", &file, "store", "check", "--read-data"]);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let events: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let second = events.iter().rposition(|e| e["kind"] == "job.start").unwrap();
    assert!(second > 0, "events are appended");
    for job in [&events[..second], &events[second..]] {
        for (i, e) in job.iter().enumerate() {
            assert_eq!((e["seq"].as_u64(), &e["job"]), (Some(i as u64 + 1), &job[0]["job"]));
        }
        assert_eq!((&job[job.len() - 1]["kind"], &job[job.len() - 1]["code"]), (&"job.end".into(), &0.into()));
    }
    let out = bed.run(&["--events", "-", "store", "check"]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.lines().all(|l| serde_json::from_str::<Value>(l).is_ok()) && said.contains("job.end"), "{said}");
    bed.fails(23, &["--events", &bed.text("no/such/file"), "store", "check"]);
}

#[test]
fn people_get_names_and_every_finding() {
    let bed = Bed::captured();
    std::fs::write(bed.path("root/etc/passwd"), format!("me:x:{}:0::/:/bin/sh\n", uid())).unwrap();
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "base", "--tag", "good"]);
    let show = bed.ok(&["image", "show", "base"]);
    assert!(show.lines().any(|l| l.split_whitespace().eq(["tags", "good"])), "{show}");
    assert!(show.contains(" left out, emptied or kept by a rule\n"), "{show}");
    let all = bed.ok(&["image", "ls", "-r", "base"]);
    assert!(all.lines().all(|l| l.contains(&format!(" me:{} ", uid()))), "the image's own passwd names the owner");
    let home = bed.ok(&["image", "ls", "-r", "base", "/home"]);
    assert!(all.contains(&home) && home.lines().count() == 201);
    for reference in ["bsae", "bsae:good", "bsae@1"] {
        assert_eq!(bed.fails(10, &["image", "show", reference])["hint"], "did you mean \"base\"?", "{reference}");
    }
    // Every mistake of a document is shown once: by `check` as its result, elsewhere with the error.
    let args = layout(&bed);
    std::fs::write(bed.path("bad.yaml"), LAYOUT.replace("96MiB", "96").replace("ext4", "exf4")).unwrap();
    let (bad, [_, disk, place]) = (bed.text("bad.yaml"), args.each_ref().map(String::as_str));
    let out = bed.run(&["layout", "check", &bad]);
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), 2);
    assert_eq!(String::from_utf8_lossy(&out.stderr).lines().count(), 1);
    let out = bed.run(&["layout", "plan", &bad, disk, place]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains(": L108 partitions.") && said.contains(": L101 filesystems."), "{said}");
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let bed = Bed::new();
    for i in 0..3000 {
        std::fs::write(bed.path(&format!("root/{i:05}{}", "x".repeat(60))), "").unwrap();
    }
    bed.ok(&["store", "init", &bed.text("store")]);
    bed.ok(&["image", "capture", &bed.text("root"), "--name", "many"]);
    for form in ["text", "json"] {
        let args = ["image", "ls", "many", "-o", form];
        let mut child = bed.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut head = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut head).unwrap();
        let out = child.wait_with_output().unwrap();
        assert_eq!((out.status.code(), out.stderr.as_slice()), (Some(0), &b""[..]));
    }
    // What cannot be written is one.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = bed.command(&["image", "ls", "many"]).stdout(full).output().unwrap();
    assert_eq!(out.status.code(), Some(17));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "cvctl: cannot write the output: no space left on device\n");
}
