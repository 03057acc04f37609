//! How the installed system starts.

use super::is_false;
use schemars::JsonSchema;
use serde::Serialize;

/// How the installed system starts.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Boot {
    /// The boot loader.
    pub loader: Loader,
    /// The set of disks that it is installed on, on each of them.
    pub install_on: String,
    /// What is in front of the loader with UEFI.
    #[serde(default, skip_serializing_if = "SecureBoot::is_auto")]
    pub secure_boot: SecureBoot,
    /// What happens to the boot entries of the firmware.
    #[serde(default, skip_serializing_if = "Nvram::is_default")]
    pub nvram: Nvram,
    /// With UEFI: whether it is also installed where firmware looks without an entry of its own.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub removable_fallback: bool,
    /// More words for the kernel's command line; `root=` and what the devices need is added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cmdline: Vec<String>,
}

/// A boot loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// GRUB 2.
    Grub2,
    /// systemd-boot, with UEFI only.
    SystemdBoot,
}

impl Loader {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 2] = [("grub2", Self::Grub2), ("systemd-boot", Self::SystemdBoot)];
}

/// What is in front of the loader with UEFI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecureBoot {
    /// The signed shim where the image has one.
    #[default]
    Auto,
    /// The signed shim; an image without one is an error.
    Shim,
    /// The loader alone.
    None,
}

impl SecureBoot {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 3] = [("auto", Self::Auto), ("shim", Self::Shim), ("none", Self::None)];

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// What happens to the boot entries of the firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Nvram {
    /// Entries of this layout are made, and such that lead nowhere are removed.
    #[serde(default = "yes")]
    pub update: bool,
    /// The entry that the machine was started from over the network stays the first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep_pxe_first: bool,
}

impl Default for Nvram {
    fn default() -> Self {
        Self { update: true, keep_pxe_first: false }
    }
}

impl Nvram {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_true(value: &bool) -> bool {
    *value
}
