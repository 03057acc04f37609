//! The keys that somebody believes.

use super::key::{KeyId, PublicKey};
use super::signature::Signature;
use super::{file, pem};
use crate::error::{Error, Result};
use std::path::Path;

/// Public keys, one of which has to have signed. Several: while keys are changed, the old and the new one.
#[derive(Clone, Debug, Default)]
pub struct Keyring(Vec<PublicKey>);

impl Keyring {
    /// A keyring of these keys.
    ///
    /// # Errors
    /// `Invalid` when there is none: nothing could ever be believed.
    pub fn new(keys: Vec<PublicKey>) -> Result<Self> {
        if keys.is_empty() { Err(Error::invalid("no key is given to verify with")) } else { Ok(Self(keys)) }
    }

    /// The keys of these files, each of which may hold several.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a file without a public key; `Unsupported` for another algorithm.
    pub fn read<P: AsRef<Path>>(files: &[P]) -> Result<Self> {
        let mut keys = Vec::new();
        for path in files {
            let name = path.as_ref().display().to_string();
            keys.extend(Self::from_pem(pem::text(&file::read(path.as_ref())?, &name)?, &name)?.0);
        }
        Self::new(keys)
    }

    /// The keys of a text; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Keyring::read`].
    pub fn from_pem(text: &str, name: &str) -> Result<Self> {
        let keys: Vec<_> = pem::blocks(text).map(|b| PublicKey::from_block(&b, name)).collect::<Result<_>>()?;
        if keys.is_empty() { Err(pem::unreadable(name, "public key")) } else { Ok(Self(keys)) }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.0
    }

    /// The key of this ring that signed exactly these bytes; `what` they are stands in messages.
    ///
    /// # Errors
    /// `Integrity`: not signed, signed by others only, or with a signature that does not fit.
    pub fn verify(&self, what: &str, bytes: &[u8], signatures: &[Signature]) -> Result<KeyId> {
        let good = |key: &&PublicKey| signatures.iter().any(|s| key.verifies(bytes, s));
        if let Some(key) = self.0.iter().find(good) {
            return Ok(key.id());
        }
        let ids = |ids: Vec<KeyId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (given, signed) =
            (ids(self.0.iter().map(PublicKey::id).collect()), ids(signatures.iter().map(Signature::key).collect()));
        let message = match signed.iter().find(|s| given.contains(s)) {
            Some(key) => format!("the signature of key {key} does not fit {what}: it was changed after it was signed"),
            None if signed.is_empty() => format!("{what} is not signed"),
            None => format!("{what} is signed by key {}, which is none of those given", signed.join(", ")),
        };
        Err(Error::integrity(message).fact("signed_by", signed).fact("keys", given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::Signer;

    #[test]
    fn one_of_the_keys_is_enough_and_none_is_not() {
        let (a, b, c) = (Signer::generate().unwrap(), Signer::generate().unwrap(), Signer::generate().unwrap());
        let ring = Keyring::new(vec![a.public(), b.public()]).unwrap();
        assert_eq!(ring.verify("it", b"x", &[c.sign(b"x"), b.sign(b"x")]).unwrap(), b.public().id());
        let message = |s: &[Signature]| ring.verify("it", b"x", s).unwrap_err().message().to_owned();
        assert_eq!(message(&[]), "it is not signed");
        assert!(message(&[c.sign(b"x")]).contains("none of those given"));
        assert!(message(&[c.sign(b"x"), a.sign(b"y")]).contains("does not fit"));
        assert!(Keyring::new(Vec::new()).is_err());
        let both = [a.public().to_pem().unwrap(), b.public().to_pem().unwrap()].concat();
        assert_eq!(Keyring::from_pem(&both, "f").unwrap().keys(), ring.keys());
    }
}
