//! What a role means, as one digest.
//!
//! Two texts that mean the same have one digest: defaults, comments, the order of keys and of names, which documents a role
//! is spread over, and what it is for make no difference. Order does where it means something: words to the kernel, and
//! scripts. What is in files beside the document is in it.

use super::spec::Spec;

/// The digest of a role, as hex digits.
///
/// It stands in the provenance of images: what it is made of must not change without a version of its own.
pub(super) fn digest(spec: &Spec) -> String {
    let spec = Spec { description: None, extends: Vec::new(), ..spec.clone() };
    let text = serde_json::to_vec(&spec).unwrap_or_default();
    let mut hasher = blake3::Hasher::new_derive_key("libcv role document v1");
    hasher.update(&text);
    hasher.finalize().to_hex().to_string()
}
