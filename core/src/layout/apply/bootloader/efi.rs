//! GRUB for UEFI on Debian, Ubuntu and others: the image's signed shim and GRUB, else a core of its own.
//!
//! ```text
//! EFI/ID/     shimx64.efi ──> grubx64.efi ──> grub.cfg (stub) ──> /boot/grub/grub.cfg
//!             mmx64.efi fbx64.efi BOOTX64.CSV
//! EFI/BOOT/   BOOTX64.EFI (the same shim) ──> grubx64.efi ──> the same stub
//! ```
//!
//! It is what `grub-install` of these distributions puts there, without asking the machine that builds. There is no
//! `fbx64.efi` in `EFI/BOOT`: shim would start it instead of GRUB, and where the firmware takes no variables, or forgets
//! them, it starts the machine over and over. Entries in the firmware are made by [`super::nvram`].

use super::facts::BootFacts;
use super::grub::{self, Platform, no_grub};
use super::script;
use super::system::System;
use super::tree::Tree;
use crate::error::{Error, Result};
use crate::layout::spec::SecureBoot;

const SIGNED: &str = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
const SHIM: &str = "usr/lib/shim";
/// What shim is called: Debian's; Ubuntu's, where the first is a link to one of several.
const SHIMS: [&str; 3] = ["shimx64.efi.signed", "shimx64.efi.signed.latest", "shimx64.efi.dualsigned"];

/// Installs it into an ESP; gives the vendor's directory and the loader that the firmware starts.
pub(super) fn install(
    tree: &Tree,
    esp: &Tree,
    facts: &BootFacts,
    system: &System,
    stop: &dyn Fn() -> bool,
) -> Result<(String, &'static str)> {
    let modules = grub::copy_modules(tree, system, Platform::Efi)?;
    let stub = script::stub(facts, system);
    let signed = tree.read(SIGNED)?;
    let shim = match facts.secure_boot {
        SecureBoot::None => None,
        SecureBoot::Auto | SecureBoot::Shim => read_first(tree, SHIMS.map(|s| format!("{SHIM}/{s}")))?,
    };
    let (signed, shim) = match (signed, shim) {
        (Some(grub), Some(shim)) => (grub, shim),
        _ if facts.secure_boot == SecureBoot::Shim => return Err(no_shim()),
        (signed, _) => {
            // With Secure Boot off a signed GRUB starts as well without shim.
            let grub = match signed {
                Some(grub) if !modules && facts.secure_boot == SecureBoot::None => grub,
                _ if modules => grub::build(tree, facts, system, Platform::Efi, stop)?,
                _ => return Err(no_grub(Platform::Efi)),
            };
            let vendor = vendor_of(&grub).unwrap_or_else(|| vendor_of_id(&system.id));
            esp.write(&format!("EFI/{vendor}/grubx64.efi"), &grub)?;
            esp.write(&format!("EFI/{vendor}/grub.cfg"), stub.as_bytes())?;
            // The fallback comes last: until then the disk does not start.
            fall_back(esp, facts, &[("BOOTX64.EFI", &grub)])?;
            return Ok((vendor, "grubx64.efi"));
        }
    };
    let grub = signed;
    // A signed GRUB looks for its configuration in the directory that was built into it, and nowhere else.
    let vendor = vendor_of(&grub).unwrap_or_else(|| vendor_of_id(&system.id));
    let directory = format!("EFI/{vendor}");
    let manager = read_first(tree, ["mmx64.efi.signed", "mmx64.efi"].map(|n| format!("{SHIM}/{n}")))?;
    let fallback = read_first(tree, ["fbx64.efi.signed", "fbx64.efi"].map(|n| format!("{SHIM}/{n}")))?;
    esp.write(&format!("{directory}/grub.cfg"), stub.as_bytes())?;
    esp.write(&format!("{directory}/grubx64.efi"), &grub)?;
    if let Some(bytes) = &manager {
        esp.write(&format!("{directory}/mmx64.efi"), bytes)?;
    }
    if let Some(bytes) = &fallback {
        esp.write(&format!("{directory}/fbx64.efi"), bytes)?;
        esp.write(&format!("{directory}/BOOTX64.CSV"), &entry_for_fallback(tree, &vendor)?)?;
    }
    esp.write(&format!("{directory}/shimx64.efi"), &shim)?;
    let mut files: Vec<(&str, &[u8])> = vec![("grub.cfg", stub.as_bytes()), ("grubx64.efi", &grub)];
    files.extend(manager.iter().map(|bytes| ("mmx64.efi", bytes.as_slice())));
    files.push(("BOOTX64.EFI", &shim));
    fall_back(esp, facts, &files)?;
    Ok((vendor, "shimx64.efi"))
}

/// Puts these files, in this order, where firmware looks without an entry; where that is not wanted, takes them away.
pub(super) fn fall_back(esp: &Tree, facts: &BootFacts, files: &[(&str, &[u8])]) -> Result<()> {
    for (name, bytes) in files {
        let path = in_fallback(esp, name);
        if facts.removable_fallback {
            esp.write(&path, bytes)?;
        } else if esp.read(&path)?.as_deref() == Some(*bytes) {
            esp.remove(&path)?;
        }
    }
    Ok(())
}

fn no_shim() -> Error {
    Error::unsupported("the image has no signed shim with a signed GRUB, and secure-boot: shim wants them")
        .hint("add shim-signed and grub-efi-amd64-signed to the image")
        .fact("code", "I302")
}

/// A path in the directory that firmware looks into without an entry; it may be there in small letters.
pub(super) fn in_fallback(esp: &Tree, name: &str) -> String {
    let efi = esp.find("", "EFI").unwrap_or_else(|| "EFI".to_owned());
    let boot = esp.find(&efi, "BOOT").unwrap_or_else(|| "BOOT".to_owned());
    let name = esp.find(&format!("{efi}/{boot}"), name).unwrap_or_else(|| name.to_owned());
    format!("{efi}/{boot}/{name}")
}

fn read_first(tree: &Tree, paths: impl IntoIterator<Item = String>) -> Result<Option<Vec<u8>>> {
    for path in paths {
        if let Some(bytes) = tree.read(&path)? {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// The directory that was built into a GRUB as its prefix: the last `/EFI/NAME` with a zero after it.
pub(super) fn vendor_of(grub: &[u8]) -> Option<String> {
    let name = |at: usize| {
        let rest = &grub[at + 5..];
        let end = rest.iter().take(33).position(|b| *b == 0)?;
        let text = std::str::from_utf8(&rest[..end]).ok()?;
        let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        (plain && !text.eq_ignore_ascii_case("boot") && !text.starts_with('.')).then(|| text.to_owned())
    };
    memchr::memmem::rfind_iter(grub, b"/EFI/").find_map(name)
}

/// The directory of a system that says nothing better.
fn vendor_of_id(id: &str) -> String {
    let plain: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(32).collect();
    let usable = !plain.is_empty() && !plain.starts_with('.') && !plain.eq_ignore_ascii_case("boot");
    if usable { plain } else { "linux".to_owned() }
}

/// What shim's fallback makes an entry in the firmware of: UTF-16, with the mark of its order.
fn entry_for_fallback(tree: &Tree, vendor: &str) -> Result<Vec<u8>> {
    if let Some(bytes) = tree.read(&format!("{SHIM}/BOOTX64.CSV"))? {
        return Ok(bytes);
    }
    let text = format!("shimx64.efi,{vendor},,This is the boot entry for {vendor}\n");
    Ok([0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_the_one_that_grub_was_built_with() {
        let mut grub = b"x /EFI/BOOT/BOOTX64.EFI\0 /EFI/\0 /EFI/one two\0".to_vec();
        assert_eq!(vendor_of(&grub), None);
        grub.extend(b"\x03\0\0\0\x18\0\0\0/EFI/debian\0\0\0\0/EFI/BOOT\0/EFI/never ends");
        assert_eq!(vendor_of(&grub).as_deref(), Some("debian"));
        assert_eq!(vendor_of(b"/EFI/../../etc\0"), None);
        assert_eq!((vendor_of_id("../x").as_str(), vendor_of_id("boot").as_str()), ("linux", "linux"));
        assert_eq!(vendor_of_id("debian"), "debian");
    }
}
