//! Patterns that choose entries of a tree, written as in `.gitignore`, from the root of the tree. Paths are those of an
//! image: without the leading slash.

use crate::error::{Error, Result};
use crate::image::path;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Compiled patterns: one matcher, which costs the same for one pattern and for a hundred.
pub struct Patterns {
    compiled: Gitignore,
    fronts: Fronts,
}

impl Patterns {
    /// Compiles patterns; `what` is the option that gave them.
    ///
    /// # Errors
    /// `Invalid` for one that is none, or that takes something back.
    pub fn new<P: AsRef<str>>(patterns: &[P], what: &str) -> Result<Self> {
        let mut b = GitignoreBuilder::new("/");
        let mut fronts = Fronts::default();
        for p in patterns.iter().map(AsRef::as_ref) {
            let bad = |e: ignore::Error| {
                Error::invalid(format!("{what} \"{p}\" is not a pattern"))
                    .cause(e)
                    .hint("patterns are written as in .gitignore")
            };
            if p.trim().is_empty() || p.starts_with('!') {
                return Err(Error::invalid(format!("{what} \"{p}\" is not a pattern of its own"))
                    .hint("use --keep to take something back"));
            }
            b.add_line(None, p).map_err(bad)?;
            fronts.add(p);
        }
        let unite = |e| Error::invalid(format!("the patterns of {what} cannot be combined")).cause(e);
        Ok(Self { compiled: b.build().map_err(unite)?, fronts: fronts.sorted() })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.compiled.is_empty()
    }

    /// The last pattern that fits an entry itself, whatever stands above it.
    #[must_use]
    pub fn fits(&self, path: &[u8], directory: bool) -> Option<&str> {
        // Hardly any entry of a tree is one of these, and a matcher costs as much as asking the kernel for the entry.
        if !self.fronts.may_fit(path) {
            return None;
        }
        let absolute = [b"/", path].concat();
        original(&self.compiled.matched(Path::new(OsStr::from_bytes(&absolute)), directory))
    }

    /// The last pattern that fits an entry, or a directory above it.
    #[must_use]
    pub fn fits_or_beneath(&self, path: &[u8], directory: bool) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        let absolute = [b"/", path].concat();
        original(&self.compiled.matched_path_or_any_parents(Path::new(OsStr::from_bytes(&absolute)), directory))
    }
}

fn original<'p>(found: &Match<&'p Glob>) -> Option<&'p str> {
    if let Match::Ignore(glob) = found { Some(glob.original()) } else { None }
}

/// What paths begin with that may fit: the patterns up to where they stop being literal.
#[derive(Default)]
struct Fronts {
    /// Of whole paths, sorted; none begins with another.
    paths: Vec<Vec<u8>>,
    /// Of names, wherever they stand.
    names: Vec<Vec<u8>>,
}

impl Fronts {
    fn add(&mut self, pattern: &str) {
        let literal = pattern.split(['*', '?', '[', '{', '\\', ' ', '#']).next().unwrap_or_default();
        // A slash that is not the last byte binds a pattern to the root.
        let bound = pattern.trim_end_matches(' ').trim_end_matches('/').contains('/');
        let list = if bound { &mut self.paths } else { &mut self.names };
        list.push(literal.trim_start_matches('/').trim_end_matches('/').as_bytes().to_vec());
    }

    fn sorted(mut self) -> Self {
        self.paths.sort_unstable();
        // Sorted, whatever begins with another comes after it.
        self.paths.dedup_by(|next, kept| next.starts_with(kept));
        self
    }

    fn may_fit(&self, whole: &[u8]) -> bool {
        let after = self.paths.partition_point(|front| front.as_slice() <= whole);
        after.checked_sub(1).is_some_and(|n| whole.starts_with(&self.paths[n]))
            || self.names.iter().any(|front| path::name(whole).starts_with(front))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(patterns: &Patterns, path: &str, directory: bool) -> bool {
        patterns.compiled.matched(Path::new(&format!("/{path}")), directory).is_ignore()
    }

    #[test]
    fn fronts_tell_what_cannot_fit() {
        let p = Patterns::new(&["/proc/*", "/var/log/**", "/var/log/journal/*", "*.iso", "core"], "t").unwrap();
        assert_eq!(p.fronts.paths, [b"proc".to_vec(), b"var/log".to_vec()]);
        assert_eq!(p.fits(b"var/log/journal/x", false), Some("/var/log/journal/*"));
        assert_eq!(p.fits(b"srv/core", false), Some("core"));
        assert_eq!(p.fits(b"proc", true), None);
        assert_eq!(p.fits_or_beneath(b"proc/1/maps", false), Some("/proc/*"));
        let bound = Patterns::new(&["/proc/*", "/var/log/**"], "t").unwrap();
        assert!(
            !bound.fronts.may_fit(b"usr/bin/x") && !bound.fronts.may_fit(b"var/lib") && bound.fronts.may_fit(b"proc/1")
        );
    }

    proptest! {
        #[test]
        fn nothing_fits_that_the_fronts_do_not_let_through(
            patterns in prop::collection::vec(r"[/a]{0,2}[ab*?/.]{1,6}|/a/b|\{a,b\}b?|/a\{a,\}|a/|\\[ab]|[ab] b|#a|[ab]\[ab\]|\*\*/a|a[ ]|a/[\t\n\u{a0} ]", 1..5),
            path in r"[ab.]{1,2}(/[ab# \t\n\u{a0}]{1,2}){0,3}",
            directory: bool,
        ) {
            let Ok(p) = Patterns::new(&patterns, "t") else { return Ok(()) };
            prop_assert_eq!(p.fits(path.as_bytes(), directory).is_some(), plain(&p, &path, directory));
        }
    }
}
