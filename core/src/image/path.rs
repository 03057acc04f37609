//! Paths of an image: bytes, relative, in component order.

use super::FormatError;
use crate::sys::confined::show;
use std::cmp::Ordering;

/// Longest path in bytes. Part of the format.
pub const PATH_LIMIT: usize = 65_535;
/// Deepest path in components. Part of the format.
pub const DEPTH_LIMIT: usize = 4_096;
/// Longest component in bytes. Part of the format.
pub const NAME_LIMIT: usize = 255;

/// Compares as the rows of an image are sorted: component by component, that is with `/` as the lowest byte.
#[must_use]
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let shared = shared_prefix(a, b);
    compare_rest(&a[shared..], &b[shared..])
}

/// Compares two paths of which the front, up to the first byte in which they differ, was taken off.
pub(super) fn compare_rest(a: &[u8], b: &[u8]) -> Ordering {
    match (a.first(), b.first()) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(b'/'), Some(_)) => Ordering::Less,
        (Some(_), Some(b'/')) => Ordering::Greater,
        (Some(x), Some(y)) => x.cmp(y),
    }
}

/// How many bytes two paths have in common at the front.
#[must_use]
pub fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    let whole = a.chunks_exact(16).zip(b.chunks_exact(16)).take_while(|(x, y)| x == y).count() * 16;
    whole + a[whole..].iter().zip(&b[whole..]).take_while(|(x, y)| x == y).count()
}

/// The directory part: `a/b` of `a/b/c`, empty for a name in the root.
#[must_use]
pub fn parent(path: &[u8]) -> &[u8] {
    crate::sys::confined::split(path).0
}

/// Whether `path` lies beneath `above`; every path but the root lies beneath the root.
#[must_use]
pub fn is_beneath(path: &[u8], above: &[u8]) -> bool {
    match path.strip_prefix(above) {
        Some(rest) if above.is_empty() => !rest.is_empty(),
        Some(rest) => rest.first() == Some(&b'/'),
        None => false,
    }
}

/// The last component.
#[must_use]
pub fn name(path: &[u8]) -> &[u8] {
    crate::sys::confined::split(path).1
}

/// Checks that a path is one that an image may hold: relative, clean, within the limits. The empty path is the root.
///
/// # Errors
/// `Unsafe` for an absolute path, `.`, `..`, an empty component or a NUL; `Limit` beyond the limits.
pub fn check(path: &[u8]) -> Result<(), FormatError> {
    check_after(path, 0)
}

/// [`check`] of a path whose first `shared` bytes begin a path that was checked.
pub(super) fn check_after(path: &[u8], shared: usize) -> Result<(), FormatError> {
    if path.is_empty() {
        return Ok(());
    }
    let bad = |rule| Err(FormatError::Unsafe { path: show(&path[..path.len().min(512)]).into_owned(), rule });
    if path.len() > PATH_LIMIT {
        return Err(FormatError::Limit { what: "a path", limit: PATH_LIMIT as u64 });
    }
    // Every component takes two bytes, but for the last one: most paths need not be counted.
    if path.len() >= 2 * DEPTH_LIMIT && path.iter().filter(|&&c| c == b'/').count() >= DEPTH_LIMIT {
        return Err(FormatError::Limit { what: "the depth of a path", limit: DEPTH_LIMIT as u64 });
    }
    let start = path[..shared].iter().rposition(|&c| c == b'/').map_or(0, |slash| slash + 1);
    let (mut begin, mut at) = (start, start);
    while at <= path.len() {
        match path.get(at) {
            Some(0) => return bad("a path holds no NUL byte"),
            None | Some(b'/') => {
                match &path[begin..at] {
                    b"" => return bad("a path is relative, without empty components"),
                    b"." | b".." => return bad("a path has no component . or .."),
                    p if p.len() > NAME_LIMIT => {
                        return Err(FormatError::Limit { what: "a name", limit: NAME_LIMIT as u64 });
                    }
                    _ => {}
                }
                begin = at + 1;
            }
            Some(_) => {}
        }
        at += 1;
    }
    Ok(())
}

/// What stands in a directory while an image is extracted into it.
pub const MARKER: &[u8] = b".libcv-extracting";

/// What stands in a directory while its tree is updated to another image.
pub const UPDATE_MARKER: &[u8] = b".libcv-updating";

/// Whether this name is one that libcv keeps for its own notes about a root: they say nothing about another root, and
/// are not part of an image.
#[must_use]
pub fn is_note(path: &[u8]) -> bool {
    path == MARKER || path.starts_with(UPDATE_MARKER) || path.starts_with(b".cv-config.journal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_is_that_of_components(a in "[a./-]{0,12}", b in "[a./-]{0,12}") {
            let parts = |p: &str| p.split('/').map(|c| c.as_bytes().to_vec()).collect::<Vec<_>>();
            prop_assert_eq!(compare(a.as_bytes(), b.as_bytes()), parts(&a).cmp(&parts(&b)));
        }
    }

    proptest! {
        /// Invariant: what two paths share at the front needs no second look.
        #[test]
        fn a_part_is_checked_as_the_whole(a in "[a./\0]{0,12}", b in "[a./\0]{0,12}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            if check(a).is_ok() {
                prop_assert_eq!(check_after(b, shared_prefix(a, b)).is_ok(), check(b).is_ok());
            }
        }
    }

    #[test]
    fn traversal_is_refused() {
        for bad in ["/etc", "a//b", "a/", "..", "a/../b", "./a", "a/.", "a\0b"] {
            assert!(matches!(check(bad.as_bytes()), Err(FormatError::Unsafe { .. })), "{bad}");
        }
        assert!(check("a".repeat(256).as_bytes()).is_err());
        assert!(check("a/".repeat(40_000).trim_end_matches('/').as_bytes()).is_err());
        for good in ["", "a", "a/b c/…", ".hidden", "..a/b.."] {
            check(good.as_bytes()).unwrap();
        }
    }
}
