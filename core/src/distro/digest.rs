//! Digests as metadata name them: an algorithm and hex digits.

use super::mediasum::hex;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::fmt;

/// An algorithm that counts. MD5 and SHA-1 do not: others can be made that have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// What some bytes have to give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Hex digits in small letters, as many as it has.
    pub hex: String,
}

impl Digest {
    /// Reads an algorithm and digits; `None` when the algorithm does not count or the digits are not as many as it has.
    #[must_use]
    pub fn parse(algorithm: &str, digits: &str) -> Option<Self> {
        let (algorithm, length) = match algorithm {
            "sha256" => (Algorithm::Sha256, 64),
            "sha384" => (Algorithm::Sha384, 96),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return None,
        };
        let good = digits.len() == length && digits.bytes().all(|b| b.is_ascii_hexdigit());
        good.then(|| Self { algorithm, hex: digits.to_ascii_lowercase() })
    }

    /// A SHA-256 that somebody gives.
    ///
    /// # Errors
    /// `Invalid` when it has not 64 hex digits.
    pub fn sha256(hex: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("{hex:?} is no SHA-256")).hint("it has 64 hex digits");
        Self::parse("sha256", hex).ok_or_else(wrong)
    }

    /// Whether these bytes give it.
    #[must_use]
    pub fn fits(&self, bytes: &[u8]) -> bool {
        let mut sum = self.begin();
        sum.add(bytes);
        self.hex == sum.finish()
    }

    /// Begins to sum what comes in parts.
    pub(super) fn begin(&self) -> Sum {
        match self.algorithm {
            Algorithm::Sha256 => Sum::Sha256(Sha256::new()),
            Algorithm::Sha384 => Sum::Sha384(Sha384::new()),
            Algorithm::Sha512 => Sum::Sha512(Sha512::new()),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
    }
}

/// A sum that is under way.
pub(super) enum Sum {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Sum {
    pub(super) fn sha256() -> Self {
        Self::Sha256(Sha256::new())
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(s) => s.update(bytes),
            Self::Sha384(s) => s.update(bytes),
            Self::Sha512(s) => s.update(bytes),
        }
    }

    /// Its hex digits.
    pub(super) fn finish(self) -> String {
        match self {
            Self::Sha256(s) => hex(&s.finalize()),
            Self::Sha384(s) => hex(&s.finalize()),
            Self::Sha512(s) => hex(&s.finalize()),
        }
    }
}
