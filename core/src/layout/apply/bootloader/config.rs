//! What GRUB shows and starts: `grub.cfg`, and the defaults that the distribution's own tools use later.

use super::{list, write};
use crate::error::{Error, Result};
use crate::layout::plan::PlannedBoot;
use crate::sys::confined::Root;
use std::cmp::Ordering;
use std::fmt::Write as _;

/// Seconds that the menu waits.
const TIMEOUT: u32 = 3;

/// A kernel in `/boot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    pub(super) version: String,
    image: String,
    initrd: Option<String>,
}

/// The kernels in `/boot`, newest first, rescue kernels last.
pub(super) fn kernels(root: &Root) -> Result<Vec<Kernel>> {
    let found = find(&list(root, "boot").unwrap_or_default());
    if found.is_empty() {
        return Err(Error::unsupported("the image has no kernel in /boot")
            .hint("a layout with a boot loader needs an image with a kernel (vmlinuz-VERSION)")
            .fact("code", "I302"));
    }
    Ok(found)
}

fn find(names: &[String]) -> Vec<Kernel> {
    let mut found: Vec<Kernel> = names
        .iter()
        .filter_map(|image| {
            let version = image.strip_prefix("vmlinuz-")?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "._+-~".contains(c);
            if !version.chars().all(plain) || version.ends_with(".hmac") {
                return None;
            }
            // Debian and Ubuntu, Enterprise Linux, SUSE and Arch.
            let names_of_initrd =
                [format!("initrd.img-{version}"), format!("initramfs-{version}.img"), format!("initrd-{version}")];
            let initrd = names_of_initrd.into_iter().find(|i| names.contains(i));
            Some(Kernel { version: version.to_owned(), image: image.clone(), initrd })
        })
        .collect();
    found.sort_by(|a, b| {
        let rescue = |k: &Kernel| k.version.contains("rescue");
        rescue(a).cmp(&rescue(b)).then_with(|| compare(&b.version, &a.version))
    });
    found
}

/// Versions as people order them: `6.10` is newer than `6.9`.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let text = |s: &str| s.find(|c: char| c.is_ascii_digit()).unwrap_or(s.len());
        let (ta, tb) = (text(a), text(b));
        let order = a[..ta].cmp(&b[..tb]);
        (a, b) = (&a[ta..], &b[tb..]);
        if order != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return order;
        }
        let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
        let (da, db) = (digits(a), digits(b));
        let (na, nb) = (a[..da].trim_start_matches('0'), b[..db].trim_start_matches('0'));
        let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (&a[da..], &b[db..]);
    }
}

/// The whole `grub.cfg`; `directory` is where kernels are, as seen from the filesystem that they lie on.
pub(super) fn grub_cfg(root: &Root, boot: &PlannedBoot, uuid: &str, directory: &str, kernels: &[Kernel]) -> String {
    let system = system_name(root);
    let mut out = String::from("# Written by libcv when this system was installed.\n");
    let _ = writeln!(out, "set default=0\nset timeout={TIMEOUT}");
    if let Some((unit, speed)) = serial(&boot.cmdline) {
        let _ = writeln!(out, "if serial --unit={unit} --speed={speed}; then");
        out.push_str("  terminal_input serial console\n  terminal_output serial console\nfi\n");
    }
    let _ = writeln!(out, "search --no-floppy --fs-uuid --set=root {uuid}");
    for k in kernels {
        let _ = writeln!(out, "\nmenuentry '{system}, kernel {}' {{", k.version);
        let _ = writeln!(out, "  linux {directory}/{} {}", k.image, boot.cmdline);
        if let Some(initrd) = &k.initrd {
            let _ = writeln!(out, "  initrd {directory}/{initrd}");
        }
        out.push_str("}\n");
    }
    out
}

/// Unit and speed of the serial console that the command line names.
fn serial(cmdline: &str) -> Option<(&str, &str)> {
    let word = cmdline.split(' ').find_map(|w| w.strip_prefix("console=ttyS"))?;
    let (unit, rest) = word.split_once(',').unwrap_or((word, ""));
    let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let speed = &rest[..digits(rest)];
    let unit = Some(unit).filter(|u| !u.is_empty() && digits(u) == u.len())?;
    Some((unit, if speed.is_empty() { "115200" } else { speed }))
}

/// The name of the installed system, in characters that a GRUB script can quote.
fn system_name(root: &Root) -> String {
    let text = super::read(root, "etc/os-release").or_else(|_| super::read(root, "usr/lib/os-release"));
    let text = text.map(|t| String::from_utf8_lossy(&t).into_owned()).unwrap_or_default();
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    let plain = |c: &char| c.is_ascii_alphanumeric() || " ./()_-+".contains(*c);
    let name: String = name.unwrap_or_default().chars().filter(plain).take(60).collect();
    if name.trim().is_empty() { "Linux".to_owned() } else { name }
}

/// What `update-grub` will use when a kernel package is installed on the running system.
pub(super) fn write_defaults(root: &Root, boot: &PlannedBoot) -> Result<()> {
    if list(root, "etc/default/grub.d").is_err() && super::read(root, "etc/default/grub").is_err() {
        return Ok(());
    }
    // `root=` and `ro` are what update-grub adds by itself.
    let words: Vec<&str> = boot.cmdline.split(' ').filter(|w| !w.starts_with("root=") && *w != "ro").collect();
    let mut text = format!(
        "# Written by libcv when this system was installed.\nGRUB_CMDLINE_LINUX=\"{}\"\nGRUB_DISABLE_OS_PROBER=true\n",
        words.join(" ")
    );
    if let Some((unit, speed)) = serial(&boot.cmdline) {
        let _ = writeln!(text, "GRUB_TERMINAL=\"serial console\"");
        let _ = writeln!(text, "GRUB_SERIAL_COMMAND=\"serial --unit={unit} --speed={speed}\"");
    }
    write(root, "etc/default/grub.d/50-libcv.cfg", text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_first_and_rescue_last() {
        let names: Vec<String> = [
            "vmlinuz-6.9.1",
            "vmlinuz-6.10.0",
            "initrd.img-6.10.0",
            "vmlinuz-0-rescue-ab",
            "initramfs-6.9.1.img",
            "config-6.9.1",
            "vmlinuz-a b",
            "vmlinuz-6.1.0-9",
            "vmlinuz-6.1.0-10",
            ".vmlinuz-6.9.1.hmac",
        ]
        .map(String::from)
        .into();
        let found = find(&names);
        let versions: Vec<&str> = found.iter().map(|k| k.version.as_str()).collect();
        assert_eq!(versions, ["6.10.0", "6.9.1", "6.1.0-10", "6.1.0-9", "0-rescue-ab"]);
        assert_eq!(found[0].initrd.as_deref(), Some("initrd.img-6.10.0"));
        assert_eq!(found[1].initrd.as_deref(), Some("initramfs-6.9.1.img"));
        assert_eq!(found[2].initrd, None);
    }

    #[test]
    fn the_serial_console_is_that_of_the_kernel() {
        assert_eq!(serial("root=x ro console=ttyS1,9600n8 console=tty0"), Some(("1", "9600")));
        assert_eq!(serial("console=ttyS0"), Some(("0", "115200")));
        assert_eq!(serial("console=tty0 quiet"), None);
    }
}
