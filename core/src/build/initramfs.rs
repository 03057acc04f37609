//! Kernels of a new root: each lies in `/boot` under its version, with an initramfs for any machine.
//!
//! What packages made of it while they were installed is made anew: files of the role are in it, and it is the same each time.

use super::root::{Call, Confined};
use crate::error::{Error, ErrorKind, Result};
use crate::image::facts::Peek;
use crate::job::Task;
use crate::sys::confined::{Links, Root};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(1800);

/// What makes an initramfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Dracut(&'static str),
    InitramfsTools,
}

/// Does it for all kernels; says their versions.
///
/// # Errors
/// `Plugin` when an initramfs cannot be made, with the last lines; as [`Confined::run`].
pub(super) fn make(confined: &Confined, environment: &[(String, String)], task: &Task) -> Result<Vec<String>> {
    let root = Root::open(&confined.target).map_err(|e| Error::io("open", confined.target.display(), e))?;
    let kernels = kernels(&root);
    let maker = maker(&root);
    for version in &kernels {
        place(&root, version)?;
        let Some(maker) = maker else {
            task.warn(format!("kernel {version} has no initramfs: the image has neither dracut nor initramfs-tools"));
            continue;
        };
        let mut call = Call::new(arguments(maker, version)).in_target();
        call = call.envs(environment);
        (call.limit, call.silence) = (LIMIT, LIMIT);
        let ended = confined.run(&call, task, &mut |_| {})?;
        if ended.status != 0 {
            let text = format!("the initramfs of kernel {version} was not made: exit status {}", ended.status);
            return Err(Error::new(ErrorKind::Plugin, text).fact("kernel", version.as_str()).fact("tail", ended.tail));
        }
    }
    Ok(kernels)
}

/// Versions that have modules and an image, sorted.
fn kernels(root: &Root) -> Vec<String> {
    let names = root.names(b"usr/lib/modules").into_iter().chain(root.names(b"lib/modules"));
    let mut out: Vec<String> = names.filter_map(|n| String::from_utf8(n).ok()).filter(|n| is_version(n)).collect();
    out.sort();
    out.dedup();
    let image = |v: &String| {
        let places =
            [format!("lib/modules/{v}/vmlinuz"), format!("usr/lib/modules/{v}/vmlinuz"), format!("boot/vmlinuz-{v}")];
        places.iter().any(|p| root.exists(p.as_bytes()))
    };
    out.retain(image);
    out
}

/// It becomes a part of paths and an argument.
fn is_version(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-~".contains(&b))
}

fn maker(root: &Root) -> Option<Maker> {
    if let Some(path) =
        ["/usr/bin/dracut", "/usr/sbin/dracut", "/sbin/dracut"].into_iter().find(|p| root.exists(&p.as_bytes()[1..]))
    {
        return Some(Maker::Dracut(path));
    }
    root.exists(b"usr/sbin/mkinitramfs").then_some(Maker::InitramfsTools)
}

fn arguments(maker: Maker, version: &str) -> Vec<String> {
    let words: Vec<String> = match maker {
        Maker::Dracut(path) => {
            let options = ["--force", "--no-hostonly", "--no-hostonly-cmdline", "--reproducible"];
            let file = format!("/boot/initramfs-{version}.img");
            std::iter::once(path).chain(options).map(str::to_owned).chain([file, version.to_owned()]).collect()
        }
        Maker::InitramfsTools => {
            let file = format!("/boot/initrd.img-{version}");
            vec!["/usr/sbin/mkinitramfs".to_owned(), "-o".to_owned(), file, version.to_owned()]
        }
    };
    words
}

/// Copies the image of a kernel to `/boot`, where its package left that to a hook.
fn place(root: &Root, version: &str) -> Result<()> {
    let to = format!("boot/vmlinuz-{version}");
    if root.exists(to.as_bytes()) {
        return Ok(());
    }
    let failed = |e: std::io::Error| Error::io("copy", format!("/{to}"), e);
    // A package may have made anything of that name.
    let from = root
        .open_file(format!("usr/lib/modules/{version}/vmlinuz").as_bytes(), OFlags::RDONLY)
        .or_else(|_| root.open_file(format!("lib/modules/{version}/vmlinuz").as_bytes(), OFlags::RDONLY));
    let mut from = std::fs::File::from(from.map_err(|e| match e {
        Errno::INVAL => Error::unsafe_input(format!("the image of kernel {version} is no file")),
        e => failed(e.into()),
    })?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let file =
        root.open_at(to.as_bytes(), flags, Mode::from_raw_mode(0o755), Links::InRoot).map_err(|e| failed(e.into()))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o755)).map_err(|e| failed(e.into()))?;
    std::io::copy(&mut from, &mut std::fs::File::from(file)).map_err(failed).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let dracut = arguments(Maker::Dracut("/usr/bin/dracut"), "5.14.0-1.el9.x86_64").join(" ");
        let wanted = "/usr/bin/dracut --force --no-hostonly --no-hostonly-cmdline --reproducible \
                      /boot/initramfs-5.14.0-1.el9.x86_64.img 5.14.0-1.el9.x86_64";
        assert_eq!(dracut, wanted);
        let tools = arguments(Maker::InitramfsTools, "6.1.0-9-amd64").join(" ");
        assert_eq!(tools, "/usr/sbin/mkinitramfs -o /boot/initrd.img-6.1.0-9-amd64 6.1.0-9-amd64");
    }

    #[test]
    fn kernels_have_an_image_and_a_name_that_is_a_version() {
        let dir = tempfile::tempdir().unwrap();
        for (version, image) in
            [("6.1.0-9", true), ("5.14.0-1.el9.x86_64", true), ("6.2", false), ("--help", true), ("1 2", true)]
        {
            let modules = dir.path().join("usr/lib/modules").join(version);
            std::fs::create_dir_all(&modules).unwrap();
            if image {
                std::fs::write(modules.join("vmlinuz"), version).unwrap();
            }
        }
        std::fs::create_dir(dir.path().join("boot")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(kernels(&root), ["5.14.0-1.el9.x86_64", "6.1.0-9"]);
        place(&root, "6.1.0-9").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("boot/vmlinuz-6.1.0-9")).unwrap(), "6.1.0-9");
        assert_eq!(maker(&root), None);
    }
}
