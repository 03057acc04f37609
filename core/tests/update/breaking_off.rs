//! What breaks an update off, and what keeps it from beginning.

use super::*;
use crate::common::{Mounted, is_root, noise, skip};
use libcv::event::Event;
use libcv::job::CancelToken;
use libcv::tree::update::Need;
use libcv::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;

/// Cancels at the first event of this stage.
fn cancelled_at(stage: &'static str) -> Task {
    let token = CancelToken::default();
    let cancel = token.clone();
    let listener = move |e: &Event| {
        if e.to_json()["stage"] == stage {
            cancel.cancel();
        }
    };
    Task::new(token, Some(Box::new(listener)))
}

#[test]
fn an_update_that_did_not_end_is_seen_by_all_and_finished_by_repeating() {
    let bed = Bed::deployed();
    let first = bed.store.image("t").unwrap();
    for i in 0..200 {
        bed.write(&format!("tree/home/u/f{i}"), noise(3000 + i, 40 + i as u64));
    }
    bed.write("tree/boot/vmlinuz-9", "kernel");
    let image = bed.capture();
    let out = bed.at("out");
    let e = image.update(&out, &node(), &cancelled_at("transfer")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled);
    assert!(out.join(".libcv-updating").exists());
    let refused = |done: Result<()>| assert_eq!(done.unwrap_err().kind(), ErrorKind::Refused);
    refused(image.extract(&out, &ExtractOptions::default(), &Task::quiet()).map(drop));
    refused(bed.store.capture(&out, "x", &CaptureOptions::default(), &Task::quiet()).map(drop));
    // What a killed run leaves: a temporary file, and a file that is half on the medium although it looks whole.
    let note: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join(".libcv-updating")).unwrap()).unwrap();
    let left = format!("home/u/.cv-{:016x}-f3", note["runs"][0].as_u64().unwrap());
    let foreign = "home/u/.cv-00000000000000aa-f3";
    std::fs::write(out.join(&left), "half").unwrap();
    std::fs::write(out.join(foreign), "somebody's").unwrap();
    let whole_time = std::fs::metadata(bed.at("tree/home/u/f7")).unwrap().modified().unwrap();
    std::fs::remove_file(out.join("home/u/f7")).unwrap();
    let file = std::fs::File::create(out.join("home/u/f7")).unwrap();
    file.set_len(3007).unwrap();
    file.set_modified(whole_time).unwrap();
    drop(file);
    let dry = bed.update(&image, &UpdateOptions { dry_run: true, ..node() }).unwrap();
    assert!(dry.resumed && out.join(&left).exists());
    let done = bed.update(&image, &UpdateOptions { exact: true, ..node() }).unwrap();
    assert!(done.resumed && !out.join(&left).exists() && out.join(foreign).exists());
    // The kernel may have come with the run that was interrupted: the verdict still knows.
    assert_eq!(done.verdict.need, Need::Reboot, "{:?}", done.verdict);
    std::fs::remove_file(out.join(foreign)).unwrap();
    bed.update(&image, &whole()).unwrap();
    assert_eq!(bed.differences(&image, &out), none());

    // Interrupted on its way back, and then sent to the image it came from.
    first.update(&out, &whole(), &cancelled_at("transfer")).unwrap_err();
    image.update(&out, &whole(), &Task::quiet()).unwrap();
    assert_eq!(bed.differences(&image, &out), none());
}

#[test]
fn a_full_disk_is_said_and_gives_its_space_back() {
    if !is_root() {
        skip("a_full_disk_is_said_and_gives_its_space_back", "it needs root");
        return;
    }
    let bed = Bed::new();
    small_tree(&bed.at("tree"));
    let first = bed.capture();
    let target = Mounted::new("ext4", 48 << 20);
    let out = target.path();
    bed.extract(&out);
    let free = || rustix::fs::statvfs(&out).map(|s| s.f_bavail * s.f_frsize).unwrap();
    let before = free();
    bed.write("tree/large", noise(100 << 20, 11));
    let second = bed.capture();
    let e = second.update(&out, &UpdateOptions { no_sync: false, ..whole() }, &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Limit, "{e:?}");
    assert!(out.join(".libcv-updating").exists());
    rustix::fs::syncfs(std::fs::File::open(&out).unwrap()).unwrap();
    assert!(free() + (1 << 20) > before, "{} of {before} bytes are free", free());
    first.update(&out, &whole(), &Task::quiet()).unwrap();
    assert_eq!(bed.differences(&first, &out), none());
}

#[test]
fn what_cannot_be_held_is_said_before_anything_is_written() {
    if !is_root() || !Path::new("/dev/shm").is_dir() {
        skip("what_cannot_be_held_is_said_before_anything_is_written", "it needs root and /dev/shm");
        return;
    }
    let bed = Bed::new();
    let source = tempfile::tempdir_in("/dev/shm").unwrap();
    small_tree(source.path());
    let first = bed.capture_of(source.path(), "t");
    let target = Mounted::new("ext4", 256 << 20);
    bed.extract(&target.path());
    // More than a block of ext4 holds; on a file that stays.
    let value = "v".repeat(20_000);
    let file = source.path().join("etc/os-release");
    let name = c"user.large";
    if rustix::fs::setxattr(&file, name, value.as_bytes(), rustix::fs::XattrFlags::empty()).is_err() {
        skip(
            "what_cannot_be_held_is_said_before_anything_is_written",
            "this kernel's tmpfs has no attributes of users",
        );
        return;
    }
    let second = bed.capture_of(source.path(), "t");
    let e = second.update(target.path(), &whole(), &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
    assert_eq!((bed.differences(&first, &target.path()), at_work(&target.path())), (none(), false));
    let done = second.update(target.path(), &UpdateOptions { accept_loss: true, ..whole() }, &Task::quiet()).unwrap();
    assert_eq!(done.losses[0].example, "/etc/os-release");
}

#[test]
fn a_target_that_is_none_or_taken_has_the_right_code() {
    let bed = Bed::deployed();
    let image = bed.store.image("t").unwrap();
    let kind = |dir: &Path| image.update(dir, &node(), &Task::quiet()).map(drop).map_err(|e: Error| e.kind());
    assert_eq!(kind(&bed.at("none")), Err(ErrorKind::NotFound));
    assert_eq!(kind(&bed.at("out/etc/fstab")), Err(ErrorKind::Invalid));
    let e = bed.update(&image, &UpdateOptions { protect: vec!["!x".into()], ..node() }).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    let out = std::fs::File::open(bed.at("out")).unwrap();
    rustix::fs::flock(&out, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(kind(&bed.at("out")), Err(ErrorKind::Busy));
    drop(out);
    let note = format!(
        "libcv extracts an image into this directory, and clears it after an interruption\n{}\n{}\n",
        std::fs::metadata(bed.at("out")).unwrap().ino(),
        image.id()
    );
    std::fs::write(bed.at("out/.libcv-extracting"), note).unwrap();
    assert_eq!(kind(&bed.at("out")), Err(ErrorKind::Refused));
}
