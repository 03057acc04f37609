//! What the installed system has to know of its arrays, LUKS volumes and volume groups: files in `/etc`.
//!
//! ```text
//! mdadm.conf     ARRAY lines of the layout; those of the captured machine go, other lines stay
//! crypttab       a line per LUKS volume; those that name a disk of the captured machine go
//! LVM devices    the file goes: without it LVM looks at every disk, and the one of the image names other disks
//! dracut, initramfs-tools, GRUB        settings for the next initramfs and menu that the system makes by itself
//! ```

use super::facts::{BootFacts, Luks, Unlock};
use super::script::{HEAD, serial};
use super::system::{Family, Maker, System};
use super::tree::Tree;
use crate::error::Result;
use std::fmt::Write as _;

/// Writes all of it, for whatever family the target is of.
pub(super) fn write(tree: &Tree, facts: &BootFacts, system: &System) -> Result<()> {
    let path = mdadm_conf(system);
    let old = tree.text(path)?;
    if !facts.arrays.is_empty() || old.as_deref().is_some_and(|t| t.lines().any(is_array_line)) {
        tree.write(path, arrays(old.as_deref().unwrap_or_default(), facts).as_bytes())?;
    }
    let old = tree.text("etc/crypttab")?;
    let names_disks = |t: &str| t.lines().any(names_a_disk);
    if !facts.luks.is_empty() || old.as_deref().is_some_and(names_disks) {
        let text = crypttab(old.as_deref().unwrap_or_default(), facts, system.maker);
        tree.write_mode("etc/crypttab", text.as_bytes(), 0o600)?;
    }
    tree.remove("etc/lvm/devices/system.devices")?;
    match system.maker {
        Maker::Dracut => dracut(tree, facts)?,
        Maker::InitramfsTools => initramfs_tools(tree, facts)?,
        Maker::None => {}
    }
    Ok(())
}

/// Where the family has it.
pub(super) const fn mdadm_conf(system: &System) -> &'static str {
    match system.family {
        Family::Debian => "etc/mdadm/mdadm.conf",
        Family::Enterprise(_) | Family::Other => "etc/mdadm.conf",
    }
}

/// A line for every array.
pub(super) fn array_lines(facts: &BootFacts) -> String {
    facts.arrays.iter().map(|a| a.line() + "\n").collect()
}

fn arrays(old: &str, facts: &BootFacts) -> String {
    let mut out = kept(old, |l| !is_array_line(l));
    if old.is_empty() {
        out.push_str(HEAD);
        out.push_str("MAILADDR root\n");
    }
    out.push_str(&array_lines(facts));
    out
}

/// mdadm takes the first three letters of a keyword, in either case.
pub(super) fn is_array_line(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|w| w.len() >= 3 && "array".starts_with(&w.to_ascii_lowercase()))
}

fn crypttab(old: &str, facts: &BootFacts, maker: Maker) -> String {
    let mut out = kept(old, |l| !names_a_disk(l));
    if out.is_empty() {
        out.push_str(HEAD);
    }
    out.push_str(&crypttab_lines(&facts.luks, maker));
    out
}

/// A line for each of these volumes.
pub(super) fn crypttab_lines<'l>(luks: impl IntoIterator<Item = &'l Luks>, maker: Maker) -> String {
    luks.into_iter().map(|l| l.line(maker == Maker::InitramfsTools) + "\n").collect()
}

fn names_a_disk(line: &str) -> bool {
    let source = line.split_whitespace().nth(1).unwrap_or_default();
    let disk =
        ["UUID=", "PARTUUID=", "LABEL=", "PARTLABEL=", "/dev/disk/", "/dev/sd", "/dev/nvme", "/dev/md", "/dev/mapper/"];
    !line.trim_start().starts_with('#') && disk.iter().any(|d| source.starts_with(d))
}

/// The lines that may stay, and the end of the last one.
fn kept(old: &str, keep: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    old.lines().filter(|l| keep(l)).for_each(|l| {
        let _ = writeln!(out, "{l}");
    });
    out
}

/// What dracut puts into every initramfs that the system makes by itself.
fn dracut(tree: &Tree, facts: &BootFacts) -> Result<()> {
    let (raid, lvm, crypt) = needs(facts);
    let tpm = facts.luks.iter().any(|l| l.needed.root && l.unlock == Unlock::Tpm2) && has_tpm_module(tree);
    let modules = [(raid, "mdraid"), (lvm, "lvm"), (crypt, "crypt"), (tpm, "tpm2-tss")];
    let modules: Vec<&str> = modules.into_iter().filter(|(n, _)| *n).map(|(_, m)| m).collect();
    if modules.is_empty() {
        return tree.remove("etc/dracut.conf.d/50-libcv.conf").map(drop);
    }
    let yes = |b: bool| if b { "yes" } else { "no" };
    let text = format!(
        "{HEAD}mdadmconf=\"{}\"\nlvmconf=\"{}\"\nadd_dracutmodules+=\" {} \"\n",
        yes(raid),
        yes(lvm),
        modules.join(" ")
    );
    tree.write("etc/dracut.conf.d/50-libcv.conf", text.as_bytes()).map(drop)
}

/// Whether an initramfs that the system makes asks the TPM.
pub(super) fn asks_the_tpm(tree: &Tree, system: &System) -> bool {
    system.maker == Maker::Dracut && has_tpm_module(tree)
}

/// Whether dracut can put in what systemd asks a TPM with.
fn has_tpm_module(tree: &Tree) -> bool {
    tree.list("usr/lib/dracut/modules.d").iter().any(|m| m.ends_with("tpm2-tss"))
}

/// Whether arrays, logical volumes and LUKS are needed before the root is there.
pub(super) fn needs(facts: &BootFacts) -> (bool, bool, bool) {
    (
        facts.arrays.iter().any(|a| a.needed.root),
        facts.volumes.iter().any(|v| v.needed.root),
        facts.luks.iter().any(|l| l.needed.root),
    )
}

fn initramfs_tools(tree: &Tree, facts: &BootFacts) -> Result<()> {
    // A device to resume from that is not there is waited for half a minute.
    const RESUME: &str = "etc/initramfs-tools/conf.d/resume";
    match &facts.resume {
        Some(device) => drop(tree.write(RESUME, format!("{HEAD}RESUME={device}\n").as_bytes())?),
        None if tree.exists(RESUME) => drop(tree.write(RESUME, format!("{HEAD}RESUME=none\n").as_bytes())?),
        None => {}
    }
    let (.., crypt) = needs(facts);
    const HOOK: &str = "etc/cryptsetup-initramfs/conf-hook";
    if crypt && let Some(old) = tree.text(HOOK)? {
        tree.write(HOOK, set_values(&old, &[("CRYPTSETUP", "y")]).as_bytes())?;
    }
    Ok(())
}

/// What the distribution's own tools use when a kernel comes to the running system; says whether it changed.
pub(super) fn grub_defaults(tree: &Tree, facts: &BootFacts, system: &System, cmdline: &str) -> Result<bool> {
    // `root=`, `ro` and the subvolume are what these tools add by themselves.
    let own = |w: &&str| w.starts_with("root=") || w.starts_with("rootflags=subvol=") || *w == "ro";
    let words: Vec<&str> = cmdline.split(' ').filter(|w| !own(w)).collect();
    let words = words.join(" ");
    let mut values = vec![("GRUB_CMDLINE_LINUX", words.as_str()), ("GRUB_DISABLE_OS_PROBER", "true")];
    if matches!(system.family, Family::Enterprise(_)) {
        values.extend([("GRUB_ENABLE_BLSCFG", "true"), ("GRUB_DEFAULT", "saved")]);
    }
    if facts.luks.iter().any(|l| l.needed.boot) {
        values.push(("GRUB_ENABLE_CRYPTODISK", "y"));
    }
    let command = serial(cmdline).map(|(unit, speed)| format!("serial --unit={unit} --speed={speed}"));
    if let Some(command) = &command {
        values.extend([("GRUB_TERMINAL", "serial console"), ("GRUB_SERIAL_COMMAND", command)]);
    }
    if matches!(system.family, Family::Enterprise(_)) {
        let old = tree.text("etc/default/grub")?.unwrap_or_else(|| HEAD.to_owned());
        return tree.write("etc/default/grub", set_values(&old, &values).as_bytes());
    }
    if !tree.exists("etc/default/grub.d") && !tree.exists("etc/default/grub") {
        return Ok(false);
    }
    tree.write("etc/default/grub.d/50-libcv.cfg", set_values(HEAD, &values).as_bytes())
}

/// A file of shell variables with these values: lines that set one give way, others stay.
fn set_values(old: &str, values: &[(&str, &str)]) -> String {
    let sets = |line: &str| {
        values.iter().position(|(k, _)| line.trim_start().strip_prefix(k).is_some_and(|r| r.starts_with('=')))
    };
    let (mut out, mut done) = (String::new(), vec![false; values.len()]);
    let mut set = |out: &mut String, i: usize| {
        let (key, value) = values[i];
        if !std::mem::replace(&mut done[i], true) {
            let bare = value.chars().all(|c| c.is_ascii_alphanumeric()) && !value.is_empty();
            let _ = if bare { writeln!(out, "{key}={value}") } else { writeln!(out, "{key}=\"{value}\"") };
        }
    };
    for line in old.lines() {
        match sets(line) {
            Some(i) => set(&mut out, i),
            None => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    (0..values.len()).for_each(|i| set(&mut out, i));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_captured_machine_give_way() {
        assert!(is_array_line("ARRAY /dev/md0 UUID=x") && is_array_line(" arr x") && !is_array_line("# ARRAY"));
        assert!(!is_array_line("AUTO -all") && !is_array_line("ar x"));
        assert!(names_a_disk("a UUID=1 none") && names_a_disk("a /dev/sda2 none luks"));
        assert!(!names_a_disk("# a UUID=1") && !names_a_disk("swap /dev/urandom none") && !names_a_disk(""));
    }

    #[test]
    fn values_are_set_once_where_they_stood() {
        let old = "A=1\n# B=2\nGRUB_TIMEOUT=5\nB=\"x y\"\nB=3\n";
        assert_eq!(set_values(old, &[("B", "q r"), ("C", "yes")]), "A=1\n# B=2\nGRUB_TIMEOUT=5\nB=\"q r\"\nC=yes\n");
        let once = set_values(old, &[("B", "q r")]);
        assert_eq!(set_values(&once, &[("B", "q r")]), once);
    }
}
