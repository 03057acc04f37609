//! OpenPGP keys: which they are. What they signed is for rpm to say.
//!
//! ```text
//!  -----BEGIN PGP PUBLIC KEY BLOCK----- ── base64 ──> packets: 6 public key, 13 user id, … ──> fingerprint, name
//! ```
//!
//! RFC 9580 §4, §5.5, §6.

use super::mediasum::hex;
use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// Longest file with keys.
pub(super) const LIMIT: u64 = 1 << 20;
const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
const KEYS_LIMIT: usize = 64;

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// 40 hex digits (64 of a key of version 6), in capitals.
    pub fingerprint: String,
    /// Whose key it says that it is.
    pub user: String,
}

/// Reads the keys of a file, armoured or not.
///
/// # Errors
/// `Invalid` when there is none.
pub fn parse(bytes: &[u8]) -> Result<Vec<KeyInfo>> {
    split(bytes).map(|keys| keys.into_iter().map(|(info, _)| info).collect())
}

/// The keys of a file, as bytes that are not armoured.
pub(super) fn binary(bytes: &[u8]) -> Result<Vec<u8>> {
    split(bytes).map(|keys| keys.into_iter().flat_map(|(_, block)| block).collect())
}

/// The keys of a file, each with its own packets.
pub(super) fn split(bytes: &[u8]) -> Result<Vec<(KeyInfo, Vec<u8>)>> {
    if bytes.len() as u64 > LIMIT {
        return Err(Error::limit("a file with keys is over 1 MiB long"));
    }
    let blocks = match std::str::from_utf8(bytes) {
        Ok(text) if text.contains(BEGIN) => unarmour(text)?,
        _ => vec![bytes.to_vec()],
    };
    let mut out = Vec::new();
    for block in blocks {
        packets(&block, &mut out).ok_or_else(|| Error::invalid("this is not an OpenPGP public key"))?;
    }
    if out.is_empty() || out.len() > KEYS_LIMIT {
        return Err(Error::invalid(format!("a file with keys has 1 to {KEYS_LIMIT} OpenPGP public keys")));
    }
    Ok(out)
}

/// The same keys as text, for a document.
pub(super) fn armoured(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains(BEGIN) => text.to_owned(),
        _ => {
            let digits = STANDARD.encode(bytes);
            let lines = digits.as_bytes().chunks(64).map(|l| String::from_utf8_lossy(l)).collect::<Vec<_>>();
            format!("{BEGIN}\n\n{}\n{END}\n", lines.join("\n"))
        }
    }
}

/// The bytes of each block.
fn unarmour(text: &str) -> Result<Vec<Vec<u8>>> {
    let wrong = || Error::invalid("the armour of an OpenPGP key is damaged");
    text.split(BEGIN)
        .skip(1)
        .map(|block| {
            let (body, _) = block.split_once(END).ok_or_else(wrong)?;
            let lines = body.lines().map(str::trim).skip(1);
            // Headers end with an empty line; the line that begins with = is a checksum that proves nothing.
            let data = lines.skip_while(|l| l.contains(": ")).filter(|l| !l.starts_with('='));
            STANDARD.decode(data.collect::<String>()).map_err(|_| wrong())
        })
        .collect()
}

/// Adds the keys of a sequence of packets; `None` when it is none.
fn packets(mut bytes: &[u8], out: &mut Vec<(KeyInfo, Vec<u8>)>) -> Option<()> {
    while let Some((&tag, rest)) = bytes.split_first() {
        let (kind, length, body) = header(tag, rest)?;
        let (packet, after) = body.split_at_checked(length)?;
        let whole = &bytes[..bytes.len() - after.len()];
        bytes = after;
        match kind {
            6 => out.push((KeyInfo { fingerprint: fingerprint(packet)?, user: String::new() }, Vec::new())),
            13 => {
                if let Some((key, _)) = out.last_mut().filter(|(k, _)| k.user.is_empty()) {
                    key.user = String::from_utf8_lossy(&packet[..packet.len().min(256)]).into_owned();
                }
            }
            _ => {}
        }
        if let Some((_, block)) = out.last_mut() {
            block.extend_from_slice(whole);
        }
        if out.len() > KEYS_LIMIT {
            return None;
        }
    }
    Some(())
}

/// Kind and length of a packet, and what follows its header. Of keys no packet has a partial length.
fn header(tag: u8, rest: &[u8]) -> Option<(u8, usize, &[u8])> {
    let number = |n: usize| {
        let (digits, after) = rest.split_at_checked(n)?;
        Some((digits.iter().fold(0usize, |sum, d| sum << 8 | usize::from(*d)), after))
    };
    match tag {
        // The old form.
        0x80..=0xbf => {
            let (length, after) = match tag & 3 {
                0 => number(1),
                1 => number(2),
                2 => number(4),
                _ => None,
            }?;
            Some((tag >> 2 & 0xf, length, after))
        }
        0xc0.. => {
            let (first, after) = number(1)?;
            let (length, after) = match first {
                0..192 => (first, after),
                192..224 => (((first - 192) << 8) + usize::from(*after.first()?) + 192, &after[1..]),
                255 => {
                    let (digits, after) = after.split_at_checked(4)?;
                    (digits.iter().fold(0usize, |sum, d| sum << 8 | usize::from(*d)), after)
                }
                _ => return None,
            };
            Some((tag & 0x3f, length, after))
        }
        _ => None,
    }
}

fn fingerprint(key: &[u8]) -> Option<String> {
    let digest = match key.first()? {
        4 => {
            let mut sum = Sha1::new();
            sum.update([0x99]);
            sum.update(u16::try_from(key.len()).ok()?.to_be_bytes());
            sum.update(key);
            hex(&sum.finalize())
        }
        6 => {
            let mut sum = Sha256::new();
            sum.update([0x9b]);
            sum.update(u32::try_from(key.len()).ok()?.to_be_bytes());
            sum.update(key);
            hex(&sum.finalize())
        }
        _ => return None,
    };
    Some(digest.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Invariant: any bytes are keys or an error.
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes);
            let armoured = format!("{BEGIN}\nVersion: x\n\n{}\n=abcd\n{END}\n", STANDARD.encode(&bytes));
            let _ = parse(armoured.as_bytes());
        }
    }

    #[test]
    fn a_damaged_armour_is_told() {
        for bad in ["", "hello", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!\n-----END PGP PUBLIC KEY BLOCK-----\n"] {
            assert_eq!(parse(bad.as_bytes()).unwrap_err().kind(), crate::ErrorKind::Invalid, "{bad}");
        }
    }
}
