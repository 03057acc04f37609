//! Small documents of a store: a line that says what it is, a line of canonical JSON, the BLAKE3 of both, and the
//! signatures of both, if there are any.
//!
//! ```text
//! libcv release v1
//! {"created":"2026-03-01T12:00:00Z",…}
//! blake3 <64 hex>
//! ed25519 <16 hex: key id> <base64>
//! ```
//!
//! The first line keeps a signature over one kind of document from being valid for another.

use crate::image::{FormatError, Hash};
use crate::sign::Signature;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write;

/// Most signatures of a document. Part of the format.
pub(super) const SIGNATURES: usize = 16;

/// The bytes that a signature is over: the first two lines of a document of this kind, such as `release`.
pub(super) fn front<T: Serialize>(kind: &str, value: &T) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    format!("libcv {kind} v1\n{json}\n")
}

/// The bytes of a document of a kind that is not signed.
pub(crate) fn seal<T: Serialize>(kind: &str, value: &T) -> Vec<u8> {
    seal_signed(kind, value, &[])
}

/// The bytes of a document of this kind. Signatures stand in the order of their key ids.
pub(super) fn seal_signed<T: Serialize>(kind: &str, value: &T, signatures: &[Signature]) -> Vec<u8> {
    let mut text = front(kind, value);
    let sum = Hash::of(text.as_bytes());
    let _ = writeln!(text, "blake3 {sum}");
    for signature in signatures {
        let _ = writeln!(text, "{signature}");
    }
    text.into_bytes()
}

/// Whether these are the bytes of a document of some kind, with the right sum.
pub(super) fn has_sum(bytes: &[u8]) -> bool {
    let Some(at) = bytes.windows(8).position(|w| w == b"\nblake3 ") else { return false };
    let (front, rest) = bytes.split_at(at + 1);
    rest.starts_with(format!("blake3 {}\n", Hash::of(front)).as_bytes())
}

/// Reads a document of a kind that is not signed.
///
/// # Errors
/// As [`unseal_signed`]; `Malformed` when it has signatures.
pub(crate) fn unseal<T: Serialize + DeserializeOwned>(kind: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    match unseal_signed(kind, bytes)? {
        (value, signatures) if signatures.is_empty() => Ok(value),
        _ => Err(FormatError::malformed(kind, "documents of its kind are not signed")),
    }
}

/// Reads a document of this kind, with its signatures, which are not verified.
///
/// # Errors
/// `Malformed` unless it is the canonical form, with the right sum.
pub(super) fn unseal_signed<T>(kind: &'static str, bytes: &[u8]) -> Result<(T, Vec<Signature>), FormatError>
where
    T: Serialize + DeserializeOwned,
{
    let malformed = |why| FormatError::malformed(kind, why);
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
    let rest = text.strip_prefix(&format!("libcv {kind} v1\n")).ok_or(malformed("its first line is not ours"))?;
    let mut lines = rest.lines();
    let json = lines.next().ok_or(malformed("it ends after its first line"))?;
    let value: T = serde_json::from_str(json).map_err(|_| malformed("its second line is not what it should be"))?;
    let signatures: Option<Vec<_>> = lines.skip(1).map(Signature::parse).collect();
    let signatures = signatures.ok_or(malformed("a line after its third is not a signature"))?;
    if signatures.len() > SIGNATURES || !signatures.is_sorted_by(|a, b| a.key() < b.key()) {
        return Err(malformed("its signatures are too many, or not in the order of their keys"));
    }
    let canonical = seal_signed(kind, &value, &signatures) == bytes;
    if canonical { Ok((value, signatures)) } else { Err(malformed("it is not in the canonical form, or changed")) }
}

/// Adds a signature; one of the same key gives way.
///
/// # Errors
/// `Limit` when there are as many as there may be.
pub(super) fn add(signatures: &mut Vec<Signature>, signature: Signature) -> Result<(), FormatError> {
    signatures.retain(|s| s.key() != signature.key());
    if signatures.len() == SIGNATURES {
        return Err(FormatError::Limit { what: "the number of signatures", limit: SIGNATURES as u64 });
    }
    signatures.push(signature);
    signatures.sort_unstable();
    Ok(())
}

/// Adds those signatures of the same document whose keys have not signed it here; says whether there were any. Of two
/// that are said to be of one key the one here stays, for nobody can tell without the key which of them is good.
///
/// # Errors
/// `Limit` when together they are more than there may be.
pub(super) fn merge(signatures: &mut Vec<Signature>, others: &[Signature]) -> Result<bool, FormatError> {
    let before = signatures.len();
    for other in others {
        if signatures.iter().all(|s| s.key() != other.key()) {
            add(signatures, *other)?;
        }
    }
    Ok(signatures.len() > before)
}
