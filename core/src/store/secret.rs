//! Secrets that a store knows somebody by: it has only their hashes. They have 256 random bits, so the hash need not be slow.

use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use zeroize::Zeroizing;

/// A new secret: the digits that are told, and the hash that is kept.
pub(crate) fn make() -> Result<(Zeroizing<String>, Hash)> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *random).map_err(|e| Error::new(ErrorKind::Failed, "there is no randomness").cause(e))?;
    let digits = Zeroizing::new(random.iter().map(|b| format!("{b:02x}")).collect::<String>());
    Ok((digits, Hash::of(&*random)))
}

/// Whether these are the digits of the secret with this hash. Hashes are compared, so that the time it takes tells nothing.
pub(crate) fn fits(digits: &str, hash: &Hash) -> bool {
    bytes(digits).is_some_and(|random| Hash::of(&*random) == *hash)
}

/// 32 bytes from their digits.
fn bytes(digits: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut out = Zeroizing::new([0; 32]);
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (n, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_digits_fit() {
        let (digits, hash) = make().unwrap();
        assert!(fits(&digits, &hash));
        let other = make().unwrap().0;
        for wrong in ["", &digits[..63], &digits[1..], &other, &digits.replace('0', "g"), "\u{e9}"] {
            assert!(!fits(wrong, &hash) || wrong == digits.as_str(), "{wrong}");
        }
    }
}
