//! Blocks of PEM in a file, and what to say about those that are not what was asked for.

use crate::error::{Error, Result};

/// Label of a private key in PKCS#8.
pub(super) const PRIVATE: &str = "PRIVATE KEY";
/// Label of a public key as SubjectPublicKeyInfo.
pub(super) const PUBLIC: &str = "PUBLIC KEY";

/// `-----BEGIN label-----` up to `-----END label-----`.
pub(super) struct Block<'t> {
    pub(super) label: &'t str,
    /// All of it, both lines included.
    pub(super) text: &'t str,
}

/// The blocks of a text, in order; what stands around them is passed over, as openssl does.
pub(super) fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find("-----BEGIN ")?;
        let after = &rest[start + 11..];
        let label = after.lines().next()?.trim_end().strip_suffix("-----")?;
        let last = format!("-----END {label}-----");
        let length = rest[start..].find(&last)? + last.len();
        let block = Block { label, text: &rest[start..start + length] };
        rest = &rest[start + length..];
        Some(block)
    })
}

impl Block<'_> {
    /// The error of a block that is not `wanted`.
    pub(super) fn unwanted(&self, name: &str, wanted: &str) -> Error {
        match self.label {
            "ENCRYPTED PRIVATE KEY" => {
                Error::unsupported(format!("{name} is encrypted: keys with a passphrase are not read"))
                    .hint(format!("openssl pkey -in {name} -out PLAIN writes it without one"))
            }
            PRIVATE => Error::invalid(format!("{name} holds a private key, where {wanted} is needed"))
                .hint(format!("openssl pkey -in {name} -pubout writes the public one")),
            PUBLIC => Error::invalid(format!("{name} holds a public key, where {wanted} is needed")),
            label if label.ends_with(PRIVATE) || label.ends_with(PUBLIC) => other_algorithm(name),
            label => Error::invalid(format!("{name} holds a {label}, where {wanted} is needed")),
        }
    }
}

/// The error of a key that is not Ed25519.
pub(super) fn other_algorithm(name: &str) -> Error {
    Error::unsupported(format!("{name} is not an Ed25519 key in PKCS#8 or as a public key of openssl"))
        .hint("cvctl key generate, or openssl genpkey -algorithm ed25519")
}

/// The error of what is no key.
pub(super) fn unreadable(name: &str, what: &str) -> Error {
    Error::invalid(format!("{name} holds no {what} that can be read")).hint("keys are PEM, as openssl writes them")
}

/// The bytes of a file of keys as text.
pub(super) fn text<'b>(bytes: &'b [u8], name: &str) -> Result<&'b str> {
    std::str::from_utf8(bytes).map_err(|_| unreadable(name, "key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_among_other_text() {
        let text = "Bag\n-----BEGIN A-----\nx\n-----END A-----\nmore\n-----BEGIN B C-----\r\ny\r\n-----END B C-----";
        let found: Vec<_> = blocks(text).map(|b| (b.label, b.text.len())).collect();
        assert_eq!(found, [("A", 35), ("B C", 41)]);
        for broken in ["", "-----BEGIN ", "-----BEGIN A-----", "-----BEGIN A\n-----END A-----", "-----END A-----"] {
            assert_eq!(blocks(broken).count(), 0, "{broken}");
        }
    }
}
