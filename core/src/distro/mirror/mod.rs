//! Mirrors of Debian and Ubuntu: a suite, its signature, its lists of packages.
//!
//! ```text
//!  --key ── gpgv ──> InRelease ── SHA-256 ──> main/binary-amd64/Packages.xz ── size, SHA-256 ──> packages, on the mirror
//! ```
//!
//! What is kept is the suite as it was then, and not the packages: a build takes those from the mirror, and each has to be the
//! one that the kept list names. The format is that of the Debian repository, <https://wiki.debian.org/DebianRepository/Format>.

mod control;
mod fetch;
mod get;
mod index;
mod place;
mod read;
mod release;
mod signature;

pub(super) use fetch::fetch;
pub(super) use get::Getter;
pub use index::parse as parse_packages;
pub(super) use place::Base;
pub use place::Suite;
pub(super) use read::{repositories, verify};
pub use release::{Release, parse as parse_release};

/// What the source of a distribution is called that came from a mirror.
pub(super) const KIND: &str = "mirror";

/// What dpkg calls the architecture that the kernel calls so: `amd64` for `x86_64`. Others have one name.
#[must_use]
pub fn deb_architecture(arch: &str) -> &str {
    NAMES.iter().find(|(kernel, _)| *kernel == arch).map_or(arch, |(_, deb)| deb)
}

/// A keyring for gpgv and apt: the keys of a file, armoured or not, as bytes that are not.
///
/// # Errors
/// `Invalid` when there is none.
pub fn keyring(bytes: &[u8]) -> crate::error::Result<Vec<u8>> {
    super::key::binary(bytes)
}

const NAMES: [(&str, &str); 4] = [("x86_64", "amd64"), ("aarch64", "arm64"), ("ppc64le", "ppc64el"), ("i686", "i386")];
