//! Where a path of a tree leads, links being followed as after `chroot` to its root: for trees that are not files
//! (yet), such as an image, or a directory with changes that are only planned.

use crate::sys::confined::split;

/// As many links as the kernel follows.
const LINK_LIMIT: usize = 40;

/// What stands at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Absent,
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Link(Vec<u8>),
    /// Anything else, in words.
    Other(&'static str),
}

/// Why a path leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub enum Stuck<E> {
    /// There are too many links, or they go in a circle.
    Loop,
    /// Something else stands where a directory is needed.
    NotDirectory(Vec<u8>, &'static str),
    /// What looking returned.
    Look(E),
}

/// Resolves `path`, relative to the root, to a name without links; `look` tells what stands at such a name. `follow`
/// says whether a link at the end counts too; one that leads nowhere is then its own result, so that a file can take
/// its place.
///
/// # Errors
/// [`Stuck`].
pub fn resolve<E>(
    path: &[u8],
    follow: bool,
    look: &mut dyn FnMut(&[u8]) -> Result<Seen, E>,
) -> Result<Vec<u8>, Stuck<E>> {
    let mut todo: Vec<Vec<u8>> = components(path);
    let (mut at, mut links) = (Vec::new(), 0);
    let (mut end_link, mut absent) = (None, false);
    while let Some(name) = todo.pop() {
        if name == b".." {
            at = split(&at).0.to_vec();
            continue;
        }
        let here = join(&at, &name);
        let seen = look(&here).map_err(Stuck::Look)?;
        absent = seen == Seen::Absent;
        match seen {
            Seen::Link(target) if follow || !todo.is_empty() => {
                links += 1;
                if links > LINK_LIMIT {
                    return Err(Stuck::Loop);
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
            Seen::Other(found) if !todo.is_empty() => return Err(Stuck::NotDirectory(here, found)),
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

    fn at(path: &str, follow: bool) -> Result<String, Stuck<()>> {
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
        assert_eq!(at("etc/self", true), Err(Stuck::Loop));
        assert_eq!(at("etc/file/x", true), Err(Stuck::NotDirectory(b"etc/file".to_vec(), "a file")));
    }
}
