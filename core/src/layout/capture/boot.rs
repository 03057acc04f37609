//! How the captured system starts: firmware, boot loader, and the words of its command line that are its own.

use super::Draft;
use crate::layout::spec::{Boot, Firmware, Nvram, SecureBoot};
use crate::layout::validate::boot::command_line_word;

/// Words that a plan makes itself, by how they begin.
const MADE: [&str; 6] = ["root=", "rd.", "BOOT_IMAGE=", "resume=", "initrd=", "rootfstype="];

impl Draft<'_> {
    pub(super) fn boot(&mut self) {
        let has = |set: &str, kind: &str| self.spec.partitions.iter().any(|(k, p)| k.set == set && p.kind.is(kind));
        let set = self.sets.keys().find(|s| has(s, "esp") || has(s, "bios-boot")).cloned();
        let Some(set) = set else { return };
        let (uefi, bios) = (has(&set, "esp"), has(&set, "bios-boot"));
        if !self.spec.filesystems.values().any(|f| f.is_mounted_at("/")) {
            let text = "where the root is mounted is not known: no boot loader is in this document";
            self.notes.push(text.to_owned());
            return;
        }
        let system = self.observed.system.as_ref();
        let Some(loader) = system.and_then(|s| s.loader) else {
            self.notes.push("which boot loader is installed cannot be seen: none is in this document".to_owned());
            return;
        };
        let firmware = [(Firmware::Uefi, uefi), (Firmware::Bios, bios)];
        self.spec.firmware = firmware.into_iter().filter(|(_, is)| *is).map(|(f, _)| f).collect();
        let mut cmdline = Vec::new();
        for word in system.iter().flat_map(|s| &s.cmdline) {
            let made = matches!(word.as_str(), "ro" | "rw") || MADE.iter().any(|m| word.starts_with(m));
            match made {
                true => {}
                false if command_line_word(word) => cmdline.push(word.clone()),
                false => self.notes.push(format!("the word {word} of the command line cannot stand in a document")),
            }
        }
        self.spec.boot = Some(Boot {
            loader,
            install_on: set,
            secure_boot: SecureBoot::Auto,
            nvram: Nvram::default(),
            removable_fallback: true,
            cmdline,
        });
    }
}
