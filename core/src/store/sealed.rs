//! Small documents of a store: a line that says what it is, a line of canonical JSON, and the BLAKE3 of both.
//!
//! ```text
//! libcv release v1
//! {"created":"2026-03-01T12:00:00Z",…}
//! blake3 <64 hex>
//! ```
//!
//! The first line keeps a signature over one kind of document from being valid for another.

use crate::image::{FormatError, Hash};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes of a document of this kind, such as `release`.
pub(super) fn seal<T: Serialize>(kind: &str, value: &T) -> Vec<u8> {
    let json = serde_json::to_string(value).unwrap_or_default();
    let front = format!("libcv {kind} v1\n{json}\n");
    let sum = Hash::of(front.as_bytes());
    format!("{front}blake3 {sum}\n").into_bytes()
}

/// Reads a document of this kind.
///
/// # Errors
/// `Malformed` unless it is the canonical form, with the right sum.
pub(super) fn unseal<T: Serialize + DeserializeOwned>(kind: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    let malformed = |why| FormatError::malformed(kind, why);
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
    let json = text.strip_prefix(&format!("libcv {kind} v1\n")).and_then(|rest| rest.lines().next());
    let json = json.ok_or(malformed("its first line is not ours"))?;
    let value: T = serde_json::from_str(json).map_err(|_| malformed("its second line is not what it should be"))?;
    if seal(kind, &value) == bytes { Ok(value) } else { Err(malformed("it is not in the canonical form, or changed")) }
}
