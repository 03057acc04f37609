//! What GRUB reads: `grub.cfg` in its three forms, and the block of its environment.
//!
//! ```text
//! stub (on an ESP)   search the filesystem of /boot, prefix, configfile
//! menu               an entry per kernel                                     Debian, Ubuntu, others
//! bls                the command blscfg, which reads /boot/loader/entries    Enterprise Linux
//! ```
//!
//! Everything that comes from outside is quoted, although [`super::facts`] lets nothing through that needs it.

use super::facts::BootFacts;
use super::kernels::Kernel;
use super::system::System;
use std::fmt::Write as _;

/// Seconds that the menu waits.
const TIMEOUT: u32 = 3;
/// The first line of what belongs to us.
pub(super) const HEAD: &str = "# Written by libcv when this system was installed.\n";
/// The size of a block of GRUB's environment, which GRUB writes in place and never makes longer.
const ENVIRONMENT: usize = 1024;

/// A word as GRUB's shell takes it literally.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,=+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A text as GRUB's shell takes it literally, in any case in quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A command line of which each word is taken literally.
pub(super) fn quote_words(cmdline: &str) -> String {
    cmdline.split(' ').filter(|w| !w.is_empty()).map(quote).collect::<Vec<_>>().join(" ")
}

/// Where GRUB's own files lie, from the filesystem of `/boot`.
pub(super) fn prefix(facts: &BootFacts, system: &System) -> String {
    format!("{}/{}", facts.boot.path, system.grub)
}

/// What opens the LUKS volumes that `/boot` lies on.
fn unlock(facts: &BootFacts) -> String {
    let volumes = facts.luks.iter().filter(|l| l.needed.boot);
    volumes.map(|l| format!("cryptomount -u {}\n", l.uuid.simple())).collect()
}

/// What is built into a core: from there on GRUB finds its own files.
pub(super) fn early(facts: &BootFacts, system: &System) -> String {
    let uuid = quote(&facts.boot.uuid);
    format!("{}search.fs_uuid {uuid} root\nset prefix=($root){}\n", unlock(facts), quote(&prefix(facts, system)))
}

/// `grub.cfg` on an ESP that leads to the one in `/boot`, as the packages of Debian and Ubuntu have it.
pub(super) fn stub(facts: &BootFacts, system: &System) -> String {
    format!("{HEAD}{}configfile $prefix/grub.cfg\n", early(facts, system))
}

/// The same as the packages of Enterprise Linux have it: their tools look for the words.
///
/// `grub` is the program that reads it. Newer ones can be told to look on their own disk only, so that a disk that
/// somebody plugs in is not taken for this one; a filesystem that lies on several disks is on none of them.
pub(super) fn enterprise_stub(facts: &BootFacts, system: &System, grub: &[u8]) -> String {
    let uuid = quote(&facts.boot.uuid);
    let spread = facts.arrays.iter().any(|a| a.needed.boot) || facts.volumes.iter().any(|v| v.needed.boot);
    let knows = memchr::memmem::find(grub, b"root-dev-only").is_some();
    let only = if knows && !spread && !facts.luks.iter().any(|l| l.needed.boot) { " --root-dev-only" } else { "" };
    format!(
        "{}search --no-floppy{only} --fs-uuid --set=dev {uuid}\nset prefix=($dev){}\nexport $prefix\n\
         configfile $prefix/grub.cfg\n",
        unlock(facts),
        quote(&prefix(facts, system))
    )
}

/// The whole `grub.cfg` with an entry per kernel; `node` is the initramfs of what is the node's own.
pub(super) fn menu(
    facts: &BootFacts,
    system: &System,
    cmdline: &str,
    kernels: &[Kernel],
    node: Option<&str>,
) -> String {
    let mut out = String::from(HEAD);
    let _ = writeln!(out, "set default=0\nset timeout={TIMEOUT}");
    out.push_str(&terminal(cmdline));
    let _ = writeln!(out, "search --no-floppy --fs-uuid --set=root {}", quote(&facts.boot.uuid));
    let path = |name: &str| quote(&format!("{}/{name}", facts.boot.path));
    for k in kernels {
        let title = format!("{}, kernel {}", system.pretty, k.version);
        let _ = writeln!(out, "\nmenuentry {} {{", quoted(&title));
        let _ = writeln!(out, "  linux {} {}", path(&k.image), quote_words(cmdline));
        if let Some(initrd) = &k.initrd {
            let node = node.filter(|_| !k.is_rescue()).map(|n| format!(" {}", path(n))).unwrap_or_default();
            let _ = writeln!(out, "  initrd {}{node}", path(initrd));
        }
        out.push_str("}\n");
    }
    out
}

/// Which `grub.cfg` of Enterprise Linux it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In `/boot/grub2`.
    Boot,
    /// On an ESP, with all of it.
    Esp,
}

/// The whole `grub.cfg` of Enterprise Linux: entries come from BLS files.
///
/// `kernelopts` is the command line for entries that name it so (8); `grubenv` may say something newer.
pub(super) fn bls(facts: &BootFacts, cmdline: &str, place: Place, kernelopts: bool) -> String {
    let mut out = String::from(HEAD);
    out.push_str("set default=0\nif [ -s $prefix/grubenv ]; then\n  load_env\nfi\n");
    out.push_str("if [ -n \"${saved_entry}\" ]; then\n  set default=\"${saved_entry}\"\nfi\n");
    let _ = writeln!(out, "set timeout={TIMEOUT}");
    out.push_str("function load_video {\n  insmod all_video\n}\n");
    out.push_str(&terminal(cmdline));
    // blscfg of 8 looks for grubenv on $boot, under UEFI in EFI/VENDOR there. Whichever ESP of several we come from,
    // it is the one that GRUB calls its root now.
    if place == Place::Esp {
        out.push_str("set boot=$root\n");
        out.push_str(&unlock(facts));
    }
    let _ = writeln!(out, "search --no-floppy --fs-uuid --set=root {}", quote(&facts.boot.uuid));
    if place == Place::Boot {
        out.push_str("set boot=$root\n");
    }
    if !facts.boot.path.is_empty() {
        let _ = writeln!(out, "set blsdir={}", quote(&format!("{}/loader/entries", facts.boot.path)));
    }
    if kernelopts {
        let _ = writeln!(out, "if [ -z \"${{kernelopts}}\" ]; then\n  set kernelopts={}\nfi", quoted(cmdline));
    }
    out.push_str("insmod blscfg\nblscfg\n");
    out
}

/// GRUB's environment: 1024 bytes, of which the rest is `#`.
pub(super) fn environment(variables: &[(&str, &str)]) -> Vec<u8> {
    let mut out = String::from("# GRUB Environment Block\n");
    for (name, value) in variables {
        let line = format!("{name}={}\n", value.replace('\\', "\\\\").replace('\n', "\\\n"));
        // What does not fit is left out: entries have a fallback for it.
        if out.len() + line.len() <= ENVIRONMENT {
            out.push_str(&line);
        }
    }
    let mut bytes = out.into_bytes();
    bytes.resize(ENVIRONMENT, b'#');
    bytes
}

/// The serial console that the command line names, also for the menu.
fn terminal(cmdline: &str) -> String {
    let Some((unit, speed)) = serial(cmdline) else { return String::new() };
    format!(
        "if serial --unit={unit} --speed={speed}; then\n  terminal_input serial console\n  terminal_output serial console\nfi\n"
    )
}

/// Unit and speed of the serial console that the command line names.
pub(super) fn serial(cmdline: &str) -> Option<(&str, &str)> {
    let word = cmdline.split(' ').find_map(|w| w.strip_prefix("console=ttyS"))?;
    let (unit, rest) = word.split_once(',').unwrap_or((word, ""));
    let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let speed = &rest[..digits(rest)];
    let unit = Some(unit).filter(|u| !u.is_empty() && digits(u) == u.len())?;
    Some((unit, if speed.is_empty() { "115200" } else { speed }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_serial_console_is_that_of_the_kernel() {
        assert_eq!(serial("root=x ro console=ttyS1,9600n8 console=tty0"), Some(("1", "9600")));
        assert_eq!(serial("console=ttyS0"), Some(("0", "115200")));
        assert_eq!(serial("console=tty0 quiet"), None);
    }

    #[test]
    fn the_environment_has_always_one_size() {
        let block = environment(&[("saved_entry", "a-1"), ("kernelopts", "root=x ro")]);
        assert_eq!(block.len(), 1024);
        let text = String::from_utf8(block).unwrap();
        assert!(text.starts_with("# GRUB Environment Block\nsaved_entry=a-1\nkernelopts=root=x ro\n####"));
        let long = environment(&[("a", &"x".repeat(2000)), ("b", "1")]);
        assert_eq!(long.len(), 1024);
        assert!(String::from_utf8(long).unwrap().contains("\nb=1\n"));
    }

    /// GRUB's shell, as far as quotes go: words of one line, or `None` when something is not literal.
    fn words(line: &str) -> Option<Vec<String>> {
        let (mut out, mut word, mut quotes, mut any) = (Vec::new(), String::new(), false, false);
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match (quotes, c) {
                (_, '\'') => (quotes, any) = (!quotes, true),
                (true, c) => word.push(c),
                (false, '\\') => {
                    word.push(chars.next()?);
                    any = true;
                }
                (false, ' ') if any => {
                    out.push(std::mem::take(&mut word));
                    any = false;
                }
                (false, ' ') => {}
                (false, c) if "\"$;{}<>|&#`\n\t".contains(c) => return None,
                (false, c) => {
                    word.push(c);
                    any = true;
                }
            }
        }
        if any {
            out.push(word);
        }
        (!quotes).then_some(out)
    }

    proptest! {
        /// Whatever a word holds, GRUB's shell reads it as that one word.
        #[test]
        fn no_word_breaks_out_of_its_quotes(word in "[ -~\u{e4}\n\t]{0,40}") {
            prop_assert_eq!(words(&quote(&word)), Some(vec![word.clone()]));
            prop_assert_eq!(words(&quoted(&word)), Some(vec![word]));
        }

        #[test]
        fn a_command_line_keeps_its_words(list in proptest::collection::vec("[!-~]{1,12}", 0..8)) {
            prop_assert_eq!(words(&quote_words(&list.join(" "))), Some(list));
        }
    }
}
