//! OCI images: layouts and archives in and out, archives of `docker save` in.
//!
//! ```text
//!  index.json ──> [index ──> …] manifest ──> config: platform, what runs, digests of the plain layers
//!                                   └──────> layers, each over those before it
//! ```
//!
//! The formats are those of the OCI image specification, version 1; the normative text is `core/docs/oci.md`. Nothing is
//! believed: each blob is as long as its descriptor says and has its digest, and so has each plain layer.

pub(super) mod document;
pub(super) mod export;
pub(super) mod import;
pub(super) mod layer;
pub(super) mod layout;
mod select;

use crate::error::{Error, Result};
use crate::image::hash::hex;
use crate::sys::confined::show;
use std::fmt;

/// A SHA-256, as `sha256:` and 64 hex digits: the only algorithm that is used in practice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// Reads a digest.
    ///
    /// # Errors
    /// `UnsafeInput` for what is none, `Unsupported` for another algorithm.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let shown = || show(&text.as_bytes()[..text.len().min(200)]).into_owned();
        let bad = || Error::unsafe_input(format!("\"{}\" is not a digest", shown())).fact("digest", shown());
        let (algorithm, digits) = text.split_once(':').ok_or_else(bad)?;
        let word = |s: &str, also: &str| {
            !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || also.as_bytes().contains(&b))
        };
        if !word(algorithm, "+._-") || !word(digits, "=_-") {
            return Err(bad());
        }
        if algorithm != "sha256" {
            return Err(Error::unsupported(format!("digests of {algorithm} are not read")).fact("digest", shown()));
        }
        Self::from_hex(digits).ok_or_else(bad)
    }

    /// The digest of 64 lower-case digits.
    pub(super) fn from_hex(digits: &str) -> Option<Self> {
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() != 64 || !digits.bytes().all(lower) {
            return None;
        }
        let mut out = [0; 32];
        for (n, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        Some(Self(out))
    }

    /// The digest of bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut sum = Sum::default();
        sum.update(bytes);
        sum.finish()
    }

    /// The digits alone.
    pub(super) fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A digest that grows.
#[derive(Clone, Default)]
pub(super) struct Sum(sha2::Sha256);

impl Sum {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        sha2::Digest::update(&mut self.0, bytes);
    }

    pub(super) fn finish(self) -> Digest {
        Digest(sha2::Digest::finalize(self.0).into())
    }
}

/// What was expected and what is there.
pub(super) fn differs(what: &str, expected: &Digest, actual: &Digest) -> Error {
    Error::integrity(format!("{what} has not the digest that is said of it"))
        .fact("expected", expected.to_string())
        .fact("actual", actual.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn digests_are_what_they_look_like() {
        let good = format!("sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(Digest::parse(&good).unwrap().to_string(), good);
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        let kind = |text: &str| Digest::parse(text).unwrap_err().kind();
        for bad in
            ["", "sha256", "sha256:", "sha256:12", "sha256:../../etc/passwd", "../x:aa", &good.to_uppercase()[..]]
        {
            assert_eq!(kind(&bad.replace("SHA", "sha")), ErrorKind::UnsafeInput, "{bad}");
        }
        assert_eq!(kind(&format!("sha512:{}", "0".repeat(128))), ErrorKind::Unsupported);
        assert_eq!(kind("sha512+b64u:abc"), ErrorKind::Unsupported);
    }
}
