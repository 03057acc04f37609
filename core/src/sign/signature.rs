//! A signature as it stands beneath a document: `ed25519 <key id> <base64>`.

use super::key::KeyId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Algorithm, the first word of the line. Another algorithm would come with another word.
const WORD: &str = "ed25519";

/// A signature of one key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    key: KeyId,
    bytes: [u8; 64],
}

impl Signature {
    /// The signature with these bytes, said to be of `key`.
    #[must_use]
    pub fn new(key: KeyId, bytes: [u8; 64]) -> Self {
        Self { key, bytes }
    }

    /// The key that it is said to be of.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Its 64 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 64] {
        &self.bytes
    }

    /// Reads a line without its newline. `None` unless it is in the one form that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (key, base64) = line.strip_prefix(WORD)?.strip_prefix(' ')?.split_once(' ')?;
        let signature = Self { key: key.parse().ok()?, bytes: STANDARD.decode(base64).ok()?.try_into().ok()? };
        (signature.to_string() == line).then_some(signature)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{WORD} {} {}", self.key, STANDARD.encode(self.bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_one_form() {
        let made = super::super::Signer::generate().unwrap().sign(b"x");
        let line = made.to_string();
        assert_eq!(Signature::parse(&line), Some(made));
        let upper = line.replacen(&made.key().to_string(), &made.key().to_string().to_uppercase(), 1);
        // 64 bytes leave four bits of the last digit free, which must be 0.
        let loose = format!("{}B==", line.strip_suffix("==").unwrap().split_at(line.len() - 3).0);
        for bad in ["", "ed25519", &line[1..], &line[..line.len() - 1], &upper, &loose, &line.replace(' ', "  ")] {
            assert!(bad == line || Signature::parse(bad).is_none(), "{bad}");
        }
    }
}
