//! Identities that exist before their objects do, and the token that confirms a plan.
//!
//! Every UUID is a hash of the seed and the object's path in the document, so fstab and command line can be written
//! into the plan. The token is a hash of what would be done and of the disks as their fingerprints show them now: a plan
//! that was read, or a disk that was looked at, cannot be exchanged for another one.

use serde_json::Value;
use uuid::Uuid;

/// The UUID of the object at `path`, such as `filesystems.root`.
#[must_use]
pub fn uuid(seed: &[u8; 16], path: &str) -> Uuid {
    let hash = keyed(seed, path);
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    Uuid::new_v8(bytes)
}

/// Bytes for identities that are no UUIDs.
#[must_use]
pub fn bytes(seed: &[u8; 16], path: &str) -> [u8; 32] {
    *keyed(seed, path).as_bytes()
}

/// A FAT volume id, as `1A2B-3C4D`.
#[must_use]
pub fn volume_id(seed: &[u8; 16], path: &str) -> String {
    let hash = keyed(seed, path);
    let b = hash.as_bytes();
    format!("{:02X}{:02X}-{:02X}{:02X}", b[0], b[1], b[2], b[3])
}

fn keyed(seed: &[u8; 16], path: &str) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key("libcv layout identities v1");
    hasher.update(seed);
    hasher.update(path.as_bytes());
    hasher.finalize()
}

/// A seed for this layout on these disks in one boot of one machine: all of them are among the parts.
///
/// Nobody has to keep it: the same plan made twice before it is applied has the same UUIDs and the same token, while
/// two machines, or two boots, never share one.
#[must_use]
pub fn seed(parts: &[&str]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("libcv layout seed v1");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut seed = [0u8; 16];
    hasher.finalize_xof().fill(&mut seed);
    seed
}

/// The token of what is described: eight hex digits as `4f2a-91c0`.
#[must_use]
pub fn token(described: &Value) -> String {
    let mut text = String::new();
    canonical(described, &mut text);
    let hash = blake3::derive_key("libcv layout token v1", text.as_bytes());
    format!("{:02x}{:02x}-{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3])
}

/// A hash of any JSON, 32 hex digits, whatever order its maps were built in.
#[must_use]
pub fn hash(described: &Value) -> String {
    let mut text = String::new();
    canonical(described, &mut text);
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}

/// JSON with sorted keys and without spaces, whatever order a map was built in.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn identities_depend_on_seed_and_path_only() {
        let (a, b) = ([1; 16], [2; 16]);
        assert_eq!(uuid(&a, "x"), uuid(&a, "x"));
        assert_ne!(uuid(&a, "x"), uuid(&a, "y"));
        assert_ne!(uuid(&a, "x"), uuid(&b, "x"));
        assert_eq!(uuid(&a, "x").get_version_num(), 8);
        assert_eq!(volume_id(&a, "x").len(), 9);
    }

    #[test]
    fn a_token_does_not_depend_on_the_order_of_keys() {
        let one = token(&json!({"a": 1, "b": [1, {"c": 2, "d": 3}]}));
        assert_eq!(one, token(&json!({"b": [1, {"d": 3, "c": 2}], "a": 1})));
        assert_ne!(one, token(&json!({"b": [1, {"d": 3, "c": 2}], "a": 2})));
        assert_eq!((one.len(), one.as_bytes()[4]), (9, b'-'));
    }
}
