//! POSIX ACLs: what the kernel keeps as an attribute, and the text of `SCHILY.acl.*` that GNU tar and star use.

/// An entry: tag, permissions, id. The numbers are the kernel's.
type Entry = (u16, u16, u32);

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;
const TAGS: [(u16, &str, bool); 6] = [
    (0x01, "user", false),
    (0x02, "user", true),
    (0x04, "group", false),
    (0x08, "group", true),
    (0x10, "mask", false),
    (0x20, "other", false),
];

/// The attribute's bytes as text with numeric ids; `None` when they are no ACL.
pub(super) fn to_text(bytes: &[u8]) -> Option<String> {
    let (version, rest) = bytes.split_first_chunk()?;
    let (entries, []) = rest.as_chunks::<8>() else { return None };
    if u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let mut lines = Vec::new();
    for &[a, b, c, d, id @ ..] in entries {
        let (tag, perm, id) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]), u32::from_le_bytes(id));
        let &(_, name, named) = TAGS.iter().find(|t| t.0 == tag)?;
        let flag = |bit, c| if perm & bit == 0 { '-' } else { c };
        let id = if named { id.to_string() } else { String::new() };
        lines.push(format!("{name}:{id}:{}{}{}", flag(4, 'r'), flag(2, 'w'), flag(1, 'x')));
    }
    Some(lines.join(","))
}

/// What a text says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// An ACL as the kernel keeps it.
    Acl(Vec<u8>),
    /// Nothing but the permission bits.
    Plain,
    /// It names a user or group without the number.
    Named(String),
    /// It is no ACL.
    Malformed,
}

/// Reads a text: entries between commas or line ends, ids as numbers, or as names with the number in a fourth field.
pub(super) fn from_text(text: &[u8]) -> Text {
    let Ok(text) = std::str::from_utf8(text) else { return Text::Malformed };
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.split([',', '\n']).map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let line = line.split(['\t', '#']).next().unwrap_or_default().trim();
        let line = line.strip_prefix("default:").unwrap_or(line);
        let fields: Vec<&str> = line.split(':').collect();
        let (tag, name, perm, number) = match fields[..] {
            // "mask:rwx" and "other:rwx" may leave the empty field out.
            [tag @ ("mask" | "m" | "other" | "o"), perm] => (tag, "", perm, None),
            [tag, name, perm] => (tag, name, perm, None),
            [tag, name, perm, number] => (tag, name, perm, Some(number)),
            _ => return Text::Malformed,
        };
        let tag = match tag {
            "u" => "user",
            "g" => "group",
            "m" => "mask",
            "o" => "other",
            tag => tag,
        };
        let Some(&(tag, ..)) = TAGS.iter().find(|t| t.1 == tag && t.2 != name.is_empty()) else {
            return Text::Malformed;
        };
        let Some(perm) = permissions(perm) else { return Text::Malformed };
        let id = match (name, number) {
            ("", _) => NO_ID,
            (name, number) => match number.and_then(|n| n.parse().ok()).or_else(|| name.parse().ok()) {
                Some(id) => id,
                None => return Text::Named(name.to_owned()),
            },
        };
        entries.push((tag, perm, id));
        if entries.len() > 8191 {
            return Text::Malformed;
        }
    }
    if entries.iter().all(|e| matches!(e.0, 0x01 | 0x04 | 0x20)) {
        return Text::Plain;
    }
    // The kernel wants them in this order.
    entries.sort_unstable_by_key(|e| (e.0, e.2));
    let mut out = VERSION.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&perm.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    Text::Acl(out)
}

fn permissions(text: &str) -> Option<u16> {
    text.chars().try_fold(0, |n, c| match c {
        'r' => Some(n | 4),
        'w' => Some(n | 2),
        'x' => Some(n | 1),
        '-' => Some(n),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes() {
        let text = "user::rw-,user:0:r--,user:12345:r-x,group::r--,mask::r-x,other::r--";
        let Text::Acl(bytes) = from_text(text.as_bytes()) else { panic!() };
        assert_eq!(bytes.len(), 4 + 6 * 8);
        assert_eq!(to_text(&bytes).unwrap(), text);
        let star = "user::rw-\nuser:root:r--:0\nuser:joe:r-x:12345\ngroup::r--\nmask::r-x\nother::r--\n";
        assert_eq!(from_text(star.as_bytes()), Text::Acl(bytes));
        assert_eq!(from_text(b"user::rwx\ngroup::r-x\nother::r-x"), Text::Plain);
        assert_eq!(from_text(b"user::rwx,user:joe:r--,mask::r--"), Text::Named("joe".into()));
        for bad in [&b"x"[..], b"user::q", b"mask:x:rwx", b"a:b:c:d:e", b"\xff"] {
            assert_eq!(from_text(bad), Text::Malformed);
        }
        assert_eq!(to_text(b""), None);
        assert_eq!(to_text(&[2, 0, 0, 0, 1]), None);
    }
}
