//! Encrypted devices with cryptsetup. Secrets go through a pipe, or a file in a memory that nobody else sees.

use crate::error::{Error, Result};
use crate::layout::plan::PlannedCrypt;
use crate::sys::program::{Call, Program};
use std::path::Path;
use std::time::Duration;

/// Deriving a key takes two seconds here and minutes where the processor is emulated.
const LIMIT: Duration = Duration::from_secs(1800);
/// The unit of the offset.
const SECTOR: u64 = 512;

/// The run that writes the header, with the first secret.
pub(super) fn format(crypt: &PlannedCrypt, device: &Path, secret: &[u8]) -> Call {
    let mut call = cryptsetup("luksFormat")
        .args(["--type", "luks2", "--uuid", &crypt.uuid.to_string()])
        .args(["--offset", &(crypt.data_offset / SECTOR).to_string()]);
    if let Some(label) = &crypt.label {
        call = call.args(["--label", label]);
    }
    if crypt.for_grub {
        // GRUB 2.06 and 2.12 know no Argon2.
        call = call.args(["--pbkdf", "pbkdf2"]);
    }
    call.arg(device).stdin(secret)
}

/// The run that adds the secret in the file `new` to a device that `secret` opens.
pub(super) fn add(crypt: &PlannedCrypt, device: &Path, secret: &[u8], new: &Path) -> Call {
    let call = cryptsetup("luksAddKey");
    let call = if crypt.for_grub { call.args(["--pbkdf", "pbkdf2"]) } else { call };
    call.arg(device).arg(new).stdin(secret)
}

/// The run that takes the first secret away again, when another key opens it.
pub(super) fn remove_first(device: &Path) -> Call {
    let call = Call::new(Program::Cryptsetup).limit(LIMIT).env("DM_DISABLE_UDEV", "1");
    call.args(["luksKillSlot", "--batch-mode"]).arg(device).arg("0")
}

/// The run that opens it.
pub(super) fn open(crypt: &PlannedCrypt, device: &Path, secret: &[u8]) -> Call {
    cryptsetup("open").args(["--type", "luks2"]).arg(device).arg(crypt.name()).stdin(secret)
}

/// The run that says whether a secret opens it, by its header alone.
pub(super) fn test(header: &Path, secret: &[u8]) -> Call {
    cryptsetup("open").args(["--test-passphrase", "--type", "luks2"]).arg(header).stdin(secret)
}

/// The run that closes it.
pub(super) fn close(crypt: &PlannedCrypt) -> Call {
    Call::new(Program::Cryptsetup).args(["close", &crypt.name()]).env("DM_DISABLE_UDEV", "1")
}

fn cryptsetup(action: &str) -> Call {
    let call = Call::new(Program::Cryptsetup).limit(LIMIT).env("DM_DISABLE_UDEV", "1");
    call.args([action, "--batch-mode", "--key-file", "-"])
}

/// What opens a device: a secret must not be empty, and cryptsetup reads no more than 8 MiB of it.
///
/// # Errors
/// `Invalid`, without the secret.
pub(super) fn check(name: &str, secret: &[u8]) -> Result<()> {
    match secret.len() {
        0 => Err(Error::invalid(format!("the secret {name} is empty"))),
        n if n > 8 << 20 => Err(Error::limit(format!("the secret {name} is over 8 MiB long"))),
        _ => Ok(()),
    }
}
