//! Who made it: Ed25519 keys and signatures.
//!
//! ```text
//!  FILE (private, PEM) ──> Signer ── sign(bytes) ──> Signature: key id, 64 bytes
//!  FILE.pub (public, PEM) ──> Keyring ── verify(bytes, signatures) ──> id of the key that one of them is of
//! ```
//!
//! Keys stand in PEM as openssl makes and reads them: PKCS#8 and SubjectPublicKeyInfo. What is signed, and how a
//! signature is checked by hand, is in `core/docs/signing.md`. Private keys are wiped from memory, and are never printed.

mod file;
mod key;
mod keyring;
mod pem;
mod signature;

pub use file::generate;
#[cfg(feature = "mcast")]
pub(crate) use file::read as read_key;
pub use key::{KeyId, PublicKey, Signer};
pub use keyring::Keyring;
pub use signature::Signature;
