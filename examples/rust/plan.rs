//! A layout for two disks, what it means for these two, and its picture. Nothing is written to them.
//!
//! ```sh
//! cargo run -p libcv-examples --example plan /tmp/an-empty-directory
//! ```

use libcv::layout::{Disks, Layout, PlanOptions};
use libcv::{Error, Result};
use std::path::Path;

const LAYOUT: &[u8] = b"
schema: cv.layout/v1
name: mirror
disks: {os: {count: 2, wipe: all}}
partitions:
  os/esp: {type: esp, size: 512MiB}
  os/pv:  {type: linux-raid, size: rest}
raid: {pv: {level: 1, members: [os/pv]}}
lvm: {sys: {pvs: [raid/pv], lvs: {root: {size: 20GiB}, swap: {size: 4GiB}, data: {size: rest}}}}
filesystems:
  esp:  {on: os/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /boot/efi}}
  root: {on: lvm/sys/root, type: xfs, label: root, mount: {at: /}}
  swap: {on: lvm/sys/swap, type: swap}
  data: {on: lvm/sys/data, type: xfs, mount: {at: /data}}
";

/// Tells the story in `top`, an empty directory.
///
/// # Errors
/// Whatever goes wrong.
pub fn story(top: &Path) -> Result<()> {
    let disks = vec![top.join("disk0"), top.join("disk1")]; // devices would be named the same way: /dev/sda
    for disk in &disks {
        let made = std::fs::File::create_new(disk).and_then(|f| f.set_len(100 << 30));
        made.map_err(|e| Error::io("create", disk.display(), e))?;
    }

    let options = PlanOptions { hostname: Some("node001".to_owned()), ..PlanOptions::default() };
    let plan = Layout::parse(LAYOUT, "mirror.yaml")?.plan(&Disks::from([("os".to_owned(), disks)]), &options)?;
    print!("{}", plan.to_text());
    for step in plan.steps() {
        println!("{:?} {}", step.danger, step.title);
    }

    let picture = top.join("plan.svg");
    std::fs::write(&picture, plan.to_svg()).map_err(|e| Error::io("write", picture.display(), e))?;
    println!("look at {}, and then apply it with {}", picture.display(), plan.token());
    Ok(())
}

fn main() -> std::process::ExitCode {
    let Some(top) = std::env::args_os().nth(1) else {
        eprintln!("usage: plan DIRECTORY");
        return std::process::ExitCode::from(2);
    };
    match story(Path::new(&top)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:?}");
            std::process::ExitCode::from(u8::try_from(e.kind().code()).unwrap_or(1))
        }
    }
}
