//! Which paths are objects of a store that anybody may read. Leases, fossils, caches and what is unfinished are not.

/// An object that may be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As the store calls it.
    pub key: String,
    /// How it may change.
    pub kind: Kind,
}

/// How an object may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its name comes from its content: it never changes.
    Immutable,
    /// It is small, and may be replaced.
    Document,
}

/// Longest path.
const LIMIT: usize = 512;

impl Key {
    /// The object that a path, without its leading slash, means; `None` when it is none that is handed out.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        if path.len() > LIMIT {
            return None;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let kind = match parts[..] {
            ["store.json"] | ["idx", "CURRENT"] => Kind::Document,
            ["packs", front, name] => {
                let hash = name.strip_suffix(".pack")?;
                (is_hash(hash) && hash.starts_with(front) && front.len() == 2).then_some(Kind::Immutable)?
            }
            ["idx", name] => is_hash(name.strip_suffix(".idx")?).then_some(Kind::Immutable)?,
            ["images", name] => is_hash(name.strip_suffix(".cvm")?).then_some(Kind::Immutable)?,
            ["refs", name, "HEAD"] => is_name(name).then_some(Kind::Document)?,
            ["refs", name, generation] => {
                let digits = generation.strip_suffix(".removed").unwrap_or(generation);
                (is_name(name) && is_number(digits)).then_some(Kind::Document)?
            }
            ["tags", name, tag, number] => {
                (is_name(name) && is_name(tag) && is_number(number)).then_some(Kind::Document)?
            }
            ["blobs", image, kind] => (is_hash(image) && is_name(kind)).then_some(Kind::Document)?,
            _ => return None,
        };
        Some(Self { key: path.to_owned(), kind })
    }
}

/// Whether what lies beneath this may be listed.
#[must_use]
pub fn may_list(prefix: &str) -> bool {
    let parts: Vec<&str> = prefix.split('/').collect();
    match parts[..] {
        ["packs" | "idx" | "images" | "refs" | "tags" | "blobs"] => true,
        ["refs" | "tags", name] => is_name(name),
        ["tags", name, tag] => is_name(name) && is_name(tag),
        ["blobs", image] => is_hash(image),
        ["packs", front] => front.len() == 2 && front.bytes().all(is_hex),
        _ => false,
    }
}

fn is_hex(b: u8) -> bool {
    matches!(b, b'0'..=b'9' | b'a'..=b'f')
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_hex)
}

fn is_name(text: &str) -> bool {
    crate::store::name::check_name(text).is_ok()
}

fn is_number(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_readers_need_is_handed_out() {
        let hash = "ab".repeat(32);
        for (path, kind) in [
            ("store.json", Kind::Document),
            ("idx/CURRENT", Kind::Document),
            (&format!("packs/ab/{hash}.pack"), Kind::Immutable),
            (&format!("idx/{hash}.idx"), Kind::Immutable),
            (&format!("images/{hash}.cvm"), Kind::Immutable),
            ("refs/rocky9/HEAD", Kind::Document),
            ("refs/distro.rocky-9.4/0000000000000001", Kind::Document),
            ("refs/rocky9/0000000000000001.removed", Kind::Document),
            ("tags/rocky9/stable/0000000000000002", Kind::Document),
            (&format!("blobs/{hash}/erofs-plain"), Kind::Document),
        ] {
            assert_eq!(Key::parse(path).map(|k| k.kind), Some(kind), "{path}");
        }
        let upper = hash.to_uppercase();
        for path in [
            "",
            "/",
            "store.json/",
            "idx/BAD",
            "leases/0123456789abcdef",
            "trash/0000000000000001.fossils",
            "cache/h/n",
            "tmp/x",
            "refs/../store.json",
            "refs/a/../../x",
            "refs//HEAD",
            "refs/.a/HEAD",
            "refs/a/1",
            "refs/a",
            "packs",
            "store.json\0",
            &format!("packs/cd/{hash}.pack"),
            &format!("packs/ab/{upper}.pack"),
            &format!("packs/ab/{hash}.pack.x"),
            &format!("blobs/{hash}/../x"),
            &"a/".repeat(1000),
        ] {
            assert_eq!(Key::parse(path), None, "{path}");
        }
    }

    #[test]
    fn only_what_is_handed_out_is_listed() {
        for prefix in ["refs", "refs/rocky9", "tags/rocky9/stable", "packs", "packs/ab", "images", "idx", "blobs"] {
            assert!(may_list(prefix), "{prefix}");
        }
        for prefix in ["", "leases", "trash", "cache", "tmp", "refs/..", "refs/a/b", "..", "packs/xy", "store.json"] {
            assert!(!may_list(prefix), "{prefix}");
        }
    }
}
