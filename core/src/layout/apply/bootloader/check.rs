//! The check afterwards: would it start? By own parsers, from what is on the filesystems now, without booting.
//!
//! ```text
//! ESP        fallback and vendor's loader are programs; the stub leads to the filesystem of /boot; all ESPs are alike
//! entries    every kernel and initramfs is there; root= is the root of the layout
//! /etc       mdadm.conf and crypttab name the arrays and volumes of the layout, and no others
//! initramfs  it holds what the disks need
//! BIOS       the core is no empty one
//! ```
//!
//! Nothing here asks how the files came to be; so it also judges a system that somebody changed by hand.

use super::bls::Entry;
use super::efi::in_fallback;
use super::facts::BootFacts;
use super::initramfs::{self, Verdict};
use super::kernels;
use super::storage::{is_array_line, mdadm_conf};
use super::system::{EspConfig, Family, System};
use super::tree::Tree;
use crate::error::Result;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::spec::Firmware;
use std::collections::BTreeSet;

/// What GRUB would read out of a `grub.cfg`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Script {
    /// UUIDs of filesystems that it looks for.
    searches: Vec<String>,
    /// Kernel, its command line, and initramfs files.
    entries: Vec<(String, Vec<String>, Vec<String>)>,
    blscfg: bool,
    kernelopts: Option<String>,
}

/// Everything that would keep the system from starting, and what could not be looked at.
pub(super) fn check(tree: &Tree, facts: &BootFacts, system: &System, core: Option<&[u8]>) -> Result<Vec<Diagnostic>> {
    let mut found = Vec::new();
    let esps = match facts.serves(Firmware::Uefi) {
        true => facts.esps.iter().map(|e| Tree::esp(&e.directory)).collect::<Result<Vec<_>>>()?,
        false => Vec::new(),
    };
    for esp in &esps {
        check_esp(esp, facts, &mut found)?;
    }
    if let Some((first, others)) = esps.split_first() {
        others.iter().try_for_each(|other| check_same(first, other, &mut found))?;
    }
    check_entries(tree, esps.first(), facts, system, &mut found)?;
    check_etc(tree, facts, system, &mut found)?;
    check_initramfs(tree, facts, &mut found)?;
    if facts.serves(Firmware::Bios) && !core.is_some_and(|c| c.iter().any(|b| *b != 0)) {
        found.push(Diagnostic::error("B509", "boot", "the core of GRUB for BIOS is empty"));
    }
    Ok(found)
}

fn check_esp(esp: &Tree, facts: &BootFacts, found: &mut Vec<Diagnostic>) -> Result<()> {
    let place = esp.place().display();
    let is_program = |path: &str| -> Result<bool> { Ok(esp.read(path)?.is_some_and(|b| b.starts_with(b"MZ"))) };
    let fallback = in_fallback(esp, "BOOTX64.EFI");
    if facts.removable_fallback && !is_program(&fallback)? {
        let text = format!("{place} has no program at {fallback}, which firmware without an entry starts");
        found.push(Diagnostic::error("B501", "boot", text));
    }
    let vendors: Vec<String> = esp.list("EFI").into_iter().filter(|v| !v.eq_ignore_ascii_case("boot")).collect();
    let (mut loaders, mut leading, mut odd) = (0, 0, Vec::new());
    for vendor in &vendors {
        let [shim, grub] = ["shimx64.efi", "grubx64.efi"].map(|n| format!("EFI/{vendor}/{n}"));
        if !esp.exists(&shim) && !esp.exists(&grub) {
            continue;
        }
        if is_program(&grub)? && (!esp.exists(&shim) || is_program(&shim)?) {
            loaders += 1;
        } else {
            odd.push(("B502", format!("{place}: EFI/{vendor} has not both of shim and GRUB as programs")));
        }
        let config = esp.text(&format!("EFI/{vendor}/grub.cfg"))?.unwrap_or_default();
        if Script::parse(&config).searches.contains(&facts.boot.uuid) {
            leading += 1;
        } else {
            odd.push(("B503", format!("{place}: EFI/{vendor}/grub.cfg does not lead to the filesystem of /boot")));
        }
    }
    let systemd = is_program("EFI/systemd/systemd-bootx64.efi")?;
    // What another system left beside a loader that is right keeps nothing from starting.
    let right = systemd || (loaders > 0 && leading > 0);
    for (code, text) in odd {
        found.push(if right { Diagnostic::warning(code, "boot", text) } else { Diagnostic::error(code, "boot", text) });
    }
    // shim starts fbx64.efi beside it, else grubx64.efi.
    let shim = vendors.iter().find_map(|v| esp.read(&format!("EFI/{v}/shimx64.efi")).transpose()).transpose()?;
    let is_shim = shim.is_some() && esp.read(&fallback)? == shim;
    let next = ["fbx64.efi", "grubx64.efi"].map(|n| in_fallback(esp, n));
    if is_shim && !next.iter().any(|n| esp.exists(n)) {
        let text = format!("{place}: the shim in the fallback path has neither fbx64.efi nor grubx64.efi beside it");
        found.push(Diagnostic::error("B501", "boot", text));
    }
    if loaders == 0 && !systemd {
        found.push(Diagnostic::error("B502", "boot", format!("{place} has no loader of a system")));
    }
    Ok(())
}

fn check_same(first: &Tree, other: &Tree, found: &mut Vec<Diagnostic>) -> Result<()> {
    for file in first.walk("").1 {
        if first.read(&file)? != other.read(&file)? {
            let text = format!("{file} differs between {} and {}", first.place().display(), other.place().display());
            found.push(Diagnostic::error("B514", "boot", text));
            return Ok(());
        }
    }
    Ok(())
}

fn check_entries(
    tree: &Tree,
    esp: Option<&Tree>,
    facts: &BootFacts,
    system: &System,
    found: &mut Vec<Diagnostic>,
) -> Result<()> {
    let mut entries: Vec<(String, Vec<String>, Vec<String>)> = Vec::new();
    let mut configs = vec![tree.text(&format!("boot/{}/grub.cfg", system.grub))?];
    if system.family == Family::Enterprise(EspConfig::Full)
        && let Some(esp) = esp
    {
        for vendor in esp.list("EFI") {
            configs.push(esp.text(&format!("EFI/{vendor}/grub.cfg"))?);
        }
    }
    for script in configs.iter().flatten().map(|t| Script::parse(t)) {
        entries.extend(script.entries);
        if !script.blscfg {
            continue;
        }
        for name in tree.list("boot/loader/entries").iter().filter(|n| n.ends_with(".conf")) {
            let text = tree.text(&format!("boot/loader/entries/{name}"))?.unwrap_or_default();
            let entry = Entry::parse(&text);
            let options = entry.options.replace("$kernelopts", script.kernelopts.as_deref().unwrap_or_default());
            let options = words(&options).unwrap_or_default();
            let files = entry.files().into_iter().map(|f| format!("/{f}"));
            entries.push((entry.linux.clone(), options, files.collect()));
        }
    }
    let below = |path: &str| path.strip_prefix(&facts.boot.path).map(|p| format!("boot{p}"));
    let mut here = 0;
    for (linux, options, files) in &entries {
        here += 1;
        for file in files.iter().chain([linux]) {
            if !below(file).is_some_and(|p| tree.exists(&p)) {
                let text = format!("an entry of the boot menu names {file}, which is not there");
                found.push(Diagnostic::error("B504", "boot", text));
            }
        }
        check_root(options, facts, found);
    }
    if let Some(esp) = esp {
        for name in esp.list("loader/entries").iter().filter(|n| n.ends_with(".conf")) {
            here += 1;
            let entry = Entry::parse(&esp.text(&format!("loader/entries/{name}"))?.unwrap_or_default());
            for file in entry.files().iter().filter(|f| !esp.exists(f)) {
                let text = format!("loader/entries/{name} names /{file}, which is not on the ESP");
                found.push(Diagnostic::error("B504", "boot", text));
            }
            check_root(&words(&entry.options).unwrap_or_default(), facts, found);
        }
    }
    if here == 0 {
        found.push(Diagnostic::error("B511", "boot", "the boot menu has no entry"));
    }
    Ok(())
}

fn check_root(options: &[String], facts: &BootFacts, found: &mut Vec<Diagnostic>) {
    let roots: Vec<&str> = options.iter().filter_map(|w| w.strip_prefix("root=")).collect();
    if roots != [facts.root.as_str()] {
        let text =
            format!("an entry of the boot menu has the root {:?}, the layout has {}", roots.join(" "), facts.root);
        found.push(Diagnostic::error("B506", "boot", text));
    }
}

fn check_etc(tree: &Tree, facts: &BootFacts, system: &System, found: &mut Vec<Diagnostic>) -> Result<()> {
    let path = mdadm_conf(system);
    let text = tree.text(path)?.unwrap_or_default();
    let uuids = text.lines().filter(|l| is_array_line(l)).map(|l| {
        let words = l.split_whitespace();
        words.filter_map(|w| w.strip_prefix("UUID=")).map(str::to_lowercase).collect::<String>()
    });
    let (have, want): (BTreeSet<String>, BTreeSet<String>) =
        (uuids.collect(), facts.arrays.iter().map(super::facts::Array::md_uuid).collect());
    if have != want {
        let list = |s: &BTreeSet<String>| s.iter().cloned().collect::<Vec<_>>().join(" ");
        let text = format!("/{path} names the arrays {:?}, the disks have {:?}", list(&have), list(&want));
        found.push(Diagnostic::error("B507", "raid", text));
    }
    let fstab = tree.text("etc/fstab")?.unwrap_or_default();
    let by_uuid = format!("UUID={}", facts.root_uuid);
    for line in fstab.lines().filter(|l| !l.trim_start().starts_with('#')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.get(1) == Some(&"/") && fields[0] != by_uuid && fields[0] != facts.root {
            let text = format!("/etc/fstab mounts {} at /, the layout has {by_uuid}", fields[0]);
            found.push(Diagnostic::error("B506", "boot", text));
        }
    }
    let crypttab = tree.text("etc/crypttab")?.unwrap_or_default();
    for luks in &facts.luks {
        let source = format!("UUID={}", luks.uuid);
        let names = |l: &str| l.split_whitespace().take(2).eq([luks.name.as_str(), source.as_str()]);
        if !crypttab.lines().any(names) {
            let text = format!("/etc/crypttab does not name the volume {}", luks.name);
            found.push(Diagnostic::error("B513", "luks", text));
        }
    }
    Ok(())
}

fn check_initramfs(tree: &Tree, facts: &BootFacts, found: &mut Vec<Diagnostic>) -> Result<()> {
    for kernel in kernels::listed(tree).iter().filter(|k| !k.is_rescue()) {
        let Some(name) = &kernel.initrd else {
            if facts.is_stacked() {
                let text = format!("kernel {} has no initramfs, and its root needs one", kernel.version);
                found.push(Diagnostic::error("B508", "boot", text));
            }
            continue;
        };
        let image = tree.read(&format!("boot/{name}"))?.unwrap_or_default();
        match initramfs::look(&image, facts, &initramfs::builtin(tree, &kernel.version)?) {
            Verdict::Keep => {}
            Verdict::Make(why) if facts.is_stacked() => {
                found.push(Diagnostic::error("B508", "boot", format!("the initramfs {name} does not serve: {why}")));
            }
            // The root of plain partitions is found by most that were made for another machine.
            Verdict::Make(why) => {
                found.push(Diagnostic::warning("W512", "boot", format!("the initramfs {name} may not serve: {why}")));
            }
            Verdict::Unknown(how) => {
                let text = format!("the initramfs {name} could not be looked into: it is compressed with {how}");
                found.push(Diagnostic::warning("W512", "boot", text));
            }
        }
    }
    Ok(())
}

impl Script {
    /// Reads the commands that matter, whatever stands around them.
    fn parse(text: &str) -> Self {
        let mut script = Self::default();
        for line in text.lines() {
            let Some(words) = words(line) else { continue };
            let mut rest = words.into_iter();
            match rest.next().as_deref() {
                // Options begin with "--"; of the old form the variable comes last.
                Some("search") => script.searches.extend(rest.find(|w| !w.starts_with("--"))),
                Some("search.fs_uuid") => script.searches.extend(rest.next()),
                Some("linux" | "linuxefi" | "linux16") => {
                    let image = rest.next().unwrap_or_default();
                    script.entries.push((on_root(&image), rest.collect(), Vec::new()));
                }
                Some("initrd" | "initrdefi" | "initrd16") => {
                    if let Some(entry) = script.entries.last_mut() {
                        entry.2.extend(rest.map(|f| on_root(&f)));
                    }
                }
                Some("blscfg") => script.blscfg = true,
                Some("set") => {
                    let value = rest.next().and_then(|w| w.strip_prefix("kernelopts=").map(ToOwned::to_owned));
                    script.kernelopts = value.or(script.kernelopts.take());
                }
                _ => {}
            }
        }
        script
    }
}

/// A path without the device in front of it.
fn on_root(path: &str) -> String {
    path.strip_prefix("($root)").unwrap_or(path).to_owned()
}

/// The words of a line of GRUB's shell; `None` when its quotes do not close.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut out, mut word, mut begun, mut quote) = (Vec::new(), String::new(), false, None);
    let mut chars = line.trim().chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '#') if !begun => break,
            (None, ' ' | '\t') => {
                if std::mem::take(&mut begun) {
                    out.push(std::mem::take(&mut word));
                }
            }
            (None, '\'' | '"') => (quote, begun) = (Some(c), true),
            (Some(q), c) if c == q => quote = None,
            (None | Some('"'), '\\') => {
                word.push(chars.next()?);
                begun = true;
            }
            (_, c) => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        out.push(word);
    }
    quote.is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_distributions_write_is_read() {
        let text = "# linux /no\nsearch --no-floppy --fs-uuid --set=root 11-22\nsearch.fs_uuid 33 root hd0,gpt2 \n\
                    menuentry 'It\\'\\''s' --class x {\n\tlinux\t/boot/vmlinuz-6 root=UUID=a ro  \"q w\"\n\
                    \tinitrd ($root)/a /b\n}\nif [ -z x ]; then\n  set kernelopts=\"root=x ro\"\nfi\nblscfg\nlinux 'open\n";
        let script = Script::parse(text);
        assert_eq!(script.searches, ["11-22", "33"]);
        let options = ["root=UUID=a", "ro", "q w"].map(String::from).to_vec();
        assert_eq!(script.entries, [("/boot/vmlinuz-6".into(), options, vec!["/a".into(), "/b".into()])]);
        assert!(script.blscfg);
        assert_eq!(script.kernelopts.as_deref(), Some("root=x ro"));
    }

    proptest! {
        /// What the writer quotes, the reader of the check reads back, and any text is read to its end.
        #[test]
        fn quoting_and_reading_agree(word in "[ -~]{1,30}", text in "\\PC{0,200}") {
            let line = format!("linux {} x", super::super::script::quote(&word));
            prop_assert_eq!(words(&line), Some(vec!["linux".to_owned(), word, "x".to_owned()]));
            let _ = Script::parse(&text);
        }
    }
}
