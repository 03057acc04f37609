//! Where a path of the root leads, links being followed as after `chroot`.
//!
//! `openat2` can do this too, but it gives an open file, not a name, and it knows nothing of the links that an earlier
//! action of the same run is going to make. So the links are read here, and the name that comes out holds none: all
//! work is then done on it with links refused, and a link that is slipped in meanwhile is an error.

use super::{ConfigError, display};
use crate::error::Result;
use crate::sys::confined::split;

/// As many links as the kernel follows.
const LINK_LIMIT: usize = 40;

/// What stands at a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Absent,
    Directory,
    Link(Vec<u8>),
    /// Anything else, in words.
    Other(&'static str),
}

/// Resolves `path`, relative to the root, to a name without links. `follow` says whether a link at the end counts too;
/// one that leads nowhere is then its own result, so that a file takes its place.
pub(super) fn resolve(path: &[u8], follow: bool, look: &mut dyn FnMut(&[u8]) -> Result<Seen>) -> Result<Vec<u8>> {
    let mut todo: Vec<Vec<u8>> = components(path);
    let (mut at, mut links) = (Vec::new(), 0);
    let (mut end_link, mut absent) = (None, false);
    while let Some(name) = todo.pop() {
        if name == b".." {
            at = split(&at).0.to_vec();
            continue;
        }
        let here = join(&at, &name);
        let seen = look(&here)?;
        absent = seen == Seen::Absent;
        match seen {
            Seen::Link(target) if follow || !todo.is_empty() => {
                links += 1;
                if links > LINK_LIMIT {
                    return Err(ConfigError::Unsafe { path: display(path), rule: "its links do not end" }.into());
                }
                if todo.is_empty() && end_link.is_none() {
                    end_link = Some(here);
                }
                if target.first() == Some(&b'/') {
                    at.clear();
                }
                todo.extend(components(&target));
                continue;
            }
            Seen::Other(found) if !todo.is_empty() => {
                return Err(ConfigError::Kind { path: display(&here), found, wanted: "a directory" }.into());
            }
            _ => {}
        }
        at = here;
    }
    Ok(end_link.filter(|_| absent).unwrap_or(at))
}

/// The components, the last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&c| c == b'/').filter(|c| !c.is_empty() && *c != b".").rev().map(<[u8]>::to_vec).collect()
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if dir.is_empty() { b"" } else { b"/" };
    [dir, slash, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, follow: bool) -> Result<String> {
        let mut look = |p: &[u8]| {
            Ok(match p {
                b"usr" | b"usr/lib" | b"etc" => Seen::Directory,
                b"lib" => Seen::Link(b"usr/lib".to_vec()),
                b"etc/up" => Seen::Link(b"../../../usr".to_vec()),
                b"etc/self" => Seen::Link(b"/etc/self".to_vec()),
                b"etc/gone" => Seen::Link(b"../../run/x".to_vec()),
                b"etc/file" => Seen::Other("a file"),
                b"link" => Seen::Link(b"etc/file".to_vec()),
                _ => Seen::Absent,
            })
        };
        resolve(path.as_bytes(), follow, &mut look).map(|p| String::from_utf8(p).unwrap())
    }

    #[test]
    fn links_lead_within_the_root() {
        assert_eq!(at("lib/systemd/x", true).unwrap(), "usr/lib/systemd/x");
        assert_eq!(at("etc/up/lib/f", true).unwrap(), "usr/lib/f");
        assert_eq!(at("link", true).unwrap(), "etc/file");
        assert_eq!(at("link", false).unwrap(), "link");
        assert_eq!(at("etc/gone", true).unwrap(), "etc/gone");
        assert_eq!(at("etc/gone/f", true).unwrap(), "run/x/f");
        assert_eq!(at("etc/self", true).unwrap_err().kind(), crate::ErrorKind::UnsafeInput);
        assert_eq!(at("etc/file/x", true).unwrap_err().kind(), crate::ErrorKind::Invalid);
    }
}
