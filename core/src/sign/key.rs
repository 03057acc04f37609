//! A key pair, and the half of it that everybody may have.

use super::pem;
use super::signature::Signature;
use crate::error::{Error, ErrorKind, Result};
use crate::image::hash::hex;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{self, DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The short name of a key: the first 8 bytes of the SHA-256 of its 32 public bytes, 16 hex digits as text. SHA-256 and
/// not BLAKE3, because a person should be able to recompute it with what is installed everywhere. It finds a key; what
/// is believed is the key itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        let bad = || Error::invalid(format!("\"{text}\" is not a key id of 16 lower-case hex digits"));
        number.map(|n| Self(n.to_be_bytes())).ok_or_else(bad)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Its short name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&Sha256::digest(self.0.as_bytes())[..8]);
        KeyId(id)
    }

    /// Whether `signature` is this key's over exactly these bytes.
    #[must_use]
    pub fn verifies(&self, bytes: &[u8], signature: &Signature) -> bool {
        let made = ed25519_dalek::Signature::from_bytes(signature.bytes());
        signature.key() == self.id() && self.0.verify_strict(bytes, &made).is_ok()
    }

    /// The key as PEM.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_pem(&self) -> Result<String> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(|e| bug(&e))
    }

    /// Reads one block of PEM; `name` stands for the file in messages.
    pub(super) fn from_block(block: &pem::Block<'_>, name: &str) -> Result<Self> {
        if block.label != pem::PUBLIC {
            return Err(block.unwanted(name, "a public key"));
        }
        let key = VerifyingKey::from_public_key_pem(block.text).map_err(|e| match e {
            pkcs8::spki::Error::OidUnknown { .. } => pem::other_algorithm(name),
            _ => pem::unreadable(name, "public key"),
        })?;
        // Under such a key anything is signed.
        if key.is_weak() { Err(pem::unreadable(name, "public key")) } else { Ok(Self(key)) }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// A private key. Cheap to clone; the last copy wipes it.
#[derive(Clone)]
pub struct Signer(Arc<SigningKey>);

impl Signer {
    /// A new key.
    ///
    /// # Errors
    /// When the kernel has no randomness.
    pub fn generate() -> Result<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret)
            .map_err(|_| Error::new(ErrorKind::Failed, "there is no randomness to make a key from"))?;
        Ok(Self(Arc::new(SigningKey::from_bytes(&secret))))
    }

    /// A key that everybody knows, for tests.
    #[cfg(test)]
    pub(crate) fn of_test(secret: &[u8; 32]) -> Self {
        Self(Arc::new(SigningKey::from_bytes(secret)))
    }

    /// Reads PEM that holds one private key; `name` stands for the file in messages.
    ///
    /// # Errors
    /// `Invalid` when there is none; `Unsupported` when it is encrypted or of another algorithm.
    pub fn from_pem(text: &str, name: &str) -> Result<Self> {
        let mut private = pem::blocks(text).filter(|b| b.label != pem::PUBLIC);
        let block = match (private.next(), pem::blocks(text).next()) {
            (Some(block), _) => block,
            (None, Some(public)) => return Err(public.unwanted(name, "a private key")),
            (None, None) => return Err(pem::unreadable(name, "private key")),
        };
        if private.next().is_some() {
            return Err(Error::invalid(format!("{name} holds several private keys")).hint("one signs"));
        }
        if block.label != pem::PRIVATE {
            return Err(block.unwanted(name, "a private key"));
        }
        let key = SigningKey::from_pkcs8_pem(block.text).map_err(|e| match e {
            pkcs8::Error::PublicKey(pkcs8::spki::Error::OidUnknown { .. }) => pem::other_algorithm(name),
            _ => pem::unreadable(name, "private key"),
        })?;
        Ok(Self(Arc::new(key)))
    }

    /// The key as PEM, without its public half, as openssl writes it.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_pem(&self) -> Result<Zeroizing<String>> {
        let pair = pkcs8::KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        pair.to_pkcs8_pem(LineEnding::LF).map_err(|e| bug(&e))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs exactly these bytes.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        Signature::new(self.public().id(), self.0.sign(bytes).to_bytes())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public().id())
    }
}

fn bug(e: &dyn fmt::Display) -> Error {
    Error::new(ErrorKind::Bug, format!("a key cannot be written: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl genpkey -algorithm ed25519`; signs nothing but this test.
    const OPENSSL: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIP0k3cqmxWLhVcpRvZ6/Z8rSNxFyMDxRGbYfK7yviuBW\n-----END PRIVATE KEY-----\n";
    const OPENSSL_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA9BQ2C1VuGXngBxQ+Cv16uxOXs7MjLQ+Jky9qof15hBQ=\n-----END PUBLIC KEY-----\n";
    const RSA_IN_PKCS8: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf\n\
        9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==\n-----END PUBLIC KEY-----\n";

    fn public(text: &str) -> Result<PublicKey> {
        PublicKey::from_block(&pem::blocks(text).next().unwrap(), "k.pub")
    }

    #[test]
    fn keys_are_those_of_openssl_in_its_own_form() {
        let signer = Signer::from_pem(OPENSSL, "k").unwrap();
        assert_eq!(*signer.to_pem().unwrap(), OPENSSL);
        assert_eq!(signer.public().to_pem().unwrap(), OPENSSL_PUBLIC);
        assert_eq!(public(OPENSSL_PUBLIC).unwrap(), signer.public());
        // openssl pkey -pubin -in k.pub -outform DER | tail -c 32 | sha256sum | head -c 16
        assert_eq!(signer.public().id().to_string(), KEY_ID);
        assert_eq!(KEY_ID.parse::<KeyId>().unwrap(), signer.public().id());
    }

    const KEY_ID: &str = "084125f00ad2cdea";

    #[test]
    fn a_signature_is_of_one_key_over_one_text() {
        let (a, b) = (Signer::generate().unwrap(), Signer::generate().unwrap());
        let made = a.sign(b"text");
        assert!(a.public().verifies(b"text", &made));
        assert!(!a.public().verifies(b"text.", &made) && !b.public().verifies(b"text", &made));
        let mut forged = *made.bytes();
        forged[3] ^= 1;
        assert!(!a.public().verifies(b"text", &Signature::new(made.key(), forged)));
    }

    #[test]
    fn what_is_no_key_of_ours_says_what_it_is() {
        let kind = |text: &str| {
            let e = Signer::from_pem(text, "k").unwrap_err();
            (e.kind(), e.message().to_owned())
        };
        let labelled = |label: &str| OPENSSL.replace("PRIVATE KEY", label);
        for label in ["ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY"] {
            assert_eq!(kind(&labelled(label)).0, ErrorKind::Unsupported, "{label}");
        }
        assert!(kind(&labelled("ENCRYPTED PRIVATE KEY")).1.contains("encrypted"));
        assert_eq!(kind(OPENSSL_PUBLIC).0, ErrorKind::Invalid);
        assert_eq!(kind("nothing").0, ErrorKind::Invalid);
        assert_eq!(kind(&OPENSSL.replace("MC4C", "MC5C")).0, ErrorKind::Invalid);
        assert_eq!(kind(&[OPENSSL, OPENSSL].concat()).0, ErrorKind::Invalid);
        // X25519 has another number, at the same place.
        assert_eq!(kind(&OPENSSL.replace("K2VwBCI", "K2VuBCI")).0, ErrorKind::Unsupported);
        assert_eq!(public(RSA_IN_PKCS8).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(public(OPENSSL).unwrap_err().kind(), ErrorKind::Invalid);
        // The neutral element: whatever is signed, it fits.
        let weak = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\
                    -----END PUBLIC KEY-----\n";
        assert_eq!(public(weak).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_private_key_is_never_printed() {
        let signer = Signer::from_pem(OPENSSL, "k").unwrap();
        assert_eq!(format!("{signer:?}"), format!("Signer({KEY_ID})"));
    }
}
