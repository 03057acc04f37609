//! Where a suite is: `http://mirror.example/debian/dists/bookworm`, or the directory of it.

use crate::error::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};

/// What stands before the name of a suite.
const DISTS: &str = "/dists/";

/// Where a mirror is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::distro) enum Base {
    /// `http://mirror.example/debian`.
    Url(String),
    /// A directory of this machine.
    Directory(PathBuf),
}

/// A suite of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    pub(super) base: Base,
    /// `bookworm`; what follows `/dists/`.
    pub(super) suite: String,
}

impl Suite {
    /// The suite that `place` means; `None` when it means something else, such as an ISO image.
    ///
    /// # Errors
    /// `Invalid` when it means a mirror and not a suite, or has a password.
    pub fn of(place: &Path) -> Result<Option<Self>> {
        let text = place.to_string_lossy();
        let scheme = text.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        match scheme.as_ref().map(|(scheme, rest)| (scheme.as_str(), *rest)) {
            Some((scheme @ ("http" | "https"), rest)) if text.contains(DISTS) => {
                let (before, suite) = split(rest)?;
                let host = before.split('/').next().unwrap_or_default();
                if host.contains('@') {
                    return Err(Error::invalid("the URL of a mirror has no user and no password: it is kept")
                        .hint("let a proxy on this machine log in, and name that"));
                }
                if !before.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\^`{}|#?".contains(&b)) || host.is_empty() {
                    return Err(Error::invalid(format!("{text} is no URL of a mirror")));
                }
                Ok(Some(Self { base: Base::Url(format!("{scheme}://{before}")), suite }))
            }
            Some(("file", rest)) => Self::directory(Path::new(rest)).map(Some),
            Some(_) => Ok(None),
            None if is_suite(place) => Self::directory(place).map(Some),
            None if place.join("dists").is_dir() && !place.join(".treeinfo").exists() => {
                Err(Error::invalid(format!("{} is a mirror with several suites", place.display()))
                    .hint(format!("name one: {}", place.join("dists/bookworm").display())))
            }
            None => Ok(None),
        }
    }

    fn directory(place: &Path) -> Result<Self> {
        let full = std::fs::canonicalize(place).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!("there is nothing at {}", place.display())),
            _ => Error::io("look at", place.display(), e),
        })?;
        let text = full.to_str().ok_or_else(|| Error::invalid("the path of a mirror is not UTF-8"))?;
        let (before, suite) = split(text)?;
        Ok(Self { base: Base::Directory(before.into()), suite })
    }

    /// Where the mirror is: a URL.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.base {
            Base::Url(url) => url.clone(),
            Base::Directory(path) => format!("file://{}", path.display()),
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{DISTS}{}", self.url(), self.suite)
    }
}

fn is_suite(place: &Path) -> bool {
    place.is_dir() && ["InRelease", "Release"].iter().any(|name| place.join(name).is_file())
}

fn split(text: &str) -> Result<(&str, String)> {
    let none = || {
        Error::invalid(format!("{text} is no suite of a mirror"))
            .hint("a suite lies in dists, such as http://mirror.example/debian/dists/bookworm")
    };
    let (before, suite) = text.rsplit_once(DISTS).ok_or_else(none)?;
    let suite = suite.trim_matches('/');
    if !is_path(suite) {
        return Err(none());
    }
    Ok((before.trim_end_matches('/'), suite.to_owned()))
}

/// Whether it is a path of plain names: what stands in documents becomes a part of URLs, paths and lines of configuration.
pub(super) fn is_path(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~+-".contains(&b);
    let word = |w: &str| !w.is_empty() && !w.starts_with(['.', '-']) && w.bytes().all(plain);
    text.len() <= 256 && text.split('/').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_what_follows_dists() {
        let of = |t: &str| Suite::of(Path::new(t));
        let good = of("HTTP://mirror.example/debian//dists/bookworm/").unwrap().unwrap();
        assert_eq!(good.to_string(), "http://mirror.example/debian/dists/bookworm");
        assert_eq!(of("https://h/a/dists/x/dists/buster/updates").unwrap().unwrap().suite, "buster/updates");
        for other in ["rocky.iso", "https://h/rocky.iso", "http://h/debian", "ftp://h/debian/dists/x", "/nowhere"] {
            assert_eq!(of(other).unwrap(), None, "{other}");
        }
        for bad in
            ["http://u:p@h/dists/x", "http://h/dists/", "http://h/dists/..", "http://h/dists/a b", "http:///dists/x"]
        {
            assert_eq!(of(bad).unwrap_err().kind(), crate::ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn a_directory_is_one_when_it_has_a_release() {
        let dir = tempfile::tempdir().unwrap();
        let suite = dir.path().join("dists/bookworm");
        std::fs::create_dir_all(&suite).unwrap();
        assert!(Suite::of(dir.path()).unwrap_err().hint_text().is_some_and(|h| h.contains("dists/bookworm")));
        assert_eq!(Suite::of(&suite).unwrap(), None);
        std::fs::write(suite.join("Release"), "").unwrap();
        let found = Suite::of(&suite).unwrap().unwrap();
        assert!(found.suite == "bookworm" && found.url().starts_with("file:///"));
        assert_eq!(Suite::of(Path::new(&format!("file://{}", suite.display()))).unwrap(), Some(found));
    }
}
