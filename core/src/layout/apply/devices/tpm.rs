//! Encrypted devices that the TPM opens: `systemd-cryptenroll` seals a key to its registers.
//!
//! The registers are those of the machine as it runs now. Where the installed system is started by another loader than this
//! one, some of them (7 does not, with the same keys of Secure Boot) will be others then, and somebody is asked.

use crate::error::{Error, Result};
use crate::layout::plan::{Plan, PlannedCrypt, PlannedDisk};
use crate::layout::spec::Key;
use crate::sys::program::{Call, Program};
use std::path::Path;
use std::time::Duration;

/// The TPM of this machine.
pub const AUTO: &str = "auto";
/// A TPM is slow, and an emulated one slower.
const LIMIT: Duration = Duration::from_secs(600);

/// Checks that a plan that wants a TPM has one: `given` as the program takes it, or that of this machine.
///
/// # Errors
/// `Refused` (F231) when there is none, or when it would be that of another machine than the disks are for.
pub fn require(plan: &Plan, given: Option<&str>) -> Result<()> {
    // In what is kept no key is made.
    let wants = |c: &&PlannedCrypt| !c.kept && c.keys.iter().any(Key::is_tpm2);
    let Some(crypt) = plan.crypts().iter().find(wants) else { return Ok(()) };
    if given.is_some() {
        return Ok(());
    }
    let refused = |text: String, hint: &str| Err(Error::refused(text).hint(hint).fact("code", "F231"));
    if plan.disks().iter().any(PlannedDisk::is_file) {
        let text =
            format!("luks/{} would be bound to the TPM of this machine, and its disk is an image file", crypt.id);
        return refused(text, "apply the layout on the machine itself, or name the TPM of its guest: --tpm2-device");
    }
    if !is_there(Path::new("/sys/class/tpm")) {
        let text = format!("luks/{} is to be opened by the TPM, and this machine has no TPM 2.0", crypt.id);
        return refused(text, "switch it on in the firmware, or leave the key tpm2 out of the layout");
    }
    Ok(())
}

/// Whether the kernel shows a TPM 2.0 there.
fn is_there(class: &Path) -> bool {
    let tpms = std::fs::read_dir(class).into_iter().flatten().flatten();
    let is_two = |path: &Path| std::fs::read_to_string(path.join("tpm_version_major")).is_ok_and(|v| v.trim() == "2");
    tpms.map(|e| e.path()).any(|path| is_two(&path))
}

/// The run that lets the TPM open a device, which the secret in the file `unlock` opens now.
pub(super) fn enrol(device: &Path, pcrs: &[u32], tpm: &str, unlock: &Path) -> Call {
    let registers = pcrs.iter().map(u32::to_string).collect::<Vec<_>>().join("+");
    let call = Call::new(Program::SystemdCryptenroll).limit(LIMIT);
    call.arg(format!("--unlock-key-file={}", unlock.display()))
        .args([format!("--tpm2-device={tpm}"), format!("--tpm2-pcrs={registers}")])
        .arg(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registers_are_a_list_with_plus() {
        let call = enrol(Path::new("/dev/x"), &[7, 14], AUTO, Path::new("/run/s"));
        let words =
            ["systemd-cryptenroll", "--unlock-key-file=/run/s", "--tpm2-device=auto", "--tpm2-pcrs=7+14", "/dev/x"];
        assert_eq!(call.preview(), words);
        let none = enrol(Path::new("/dev/x"), &[], AUTO, Path::new("/run/s")).preview();
        assert_eq!(none[3], "--tpm2-pcrs=");
    }

    #[test]
    fn a_tpm_of_the_first_kind_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_there(dir.path()) && !is_there(&dir.path().join("nothing")));
        for (name, version) in [("tpm0", "1\n"), ("tpm1", "2\n")] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("tpm_version_major"), version).unwrap();
            assert_eq!(is_there(dir.path()), name == "tpm1");
        }
    }
}
