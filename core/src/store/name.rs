//! Names, and the REF that people type: `name`, `name:tag`, `name@GEN`, or the first digits of an image id.

use crate::error::{Error, Result};

/// Fewest digits of an image id that count as a REF.
pub const PREFIX_MIN: usize = 6;

/// What a REF says, before a store is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ref {
    /// The newest generation of a name; or, when no such name exists and the text is 6 to 64 hex digits, an image id.
    Name(String),
    /// The generation that a tag points to.
    Tag(String, String),
    /// One generation of a name.
    Generation(String, u64),
}

impl Ref {
    /// Reads a REF.
    ///
    /// # Errors
    /// `Invalid` when it is none.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some((name, generation)) = text.split_once('@') {
            let bad =
                || Error::invalid(format!("\"{generation}\" in \"{text}\" is not a generation, a number from 1 on"));
            let plain = generation.starts_with(|c: char| matches!(c, '1'..='9'));
            let n = generation.parse::<u64>().ok().filter(|_| plain).ok_or_else(bad)?;
            return Ok(Self::Generation(check_name(name)?.to_owned(), n));
        }
        if let Some((name, tag)) = text.split_once(':') {
            return Ok(Self::Tag(check_name(name)?.to_owned(), check_name(tag)?.to_owned()));
        }
        Ok(Self::Name(check_name(text)?.to_owned()))
    }

    /// The name part.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Name(n) | Self::Tag(n, _) | Self::Generation(n, _) => n,
        }
    }
}

/// Checks the name of an image that somebody makes: those of distributions are not for that.
///
/// # Errors
/// `Invalid`, as [`check_name`] and for what begins as they do.
pub(crate) fn check_image_name(name: &str) -> Result<&str> {
    if name.starts_with(super::DISTRO_PREFIX) {
        return Err(Error::invalid(format!(
            "\"{}\" would be a distribution",
            crate::sys::confined::show(name.as_bytes())
        ))
        .hint(format!("names of images do not begin with {}", super::DISTRO_PREFIX)));
    }
    check_name(name)
}

/// Checks the name of an image, or `distro.NAME` of a distribution.
///
/// # Errors
/// `Invalid`, as [`check_name`].
#[cfg(feature = "server")]
pub(crate) fn check_any_name(name: &str) -> Result<&str> {
    check_name(name.strip_prefix(super::DISTRO_PREFIX).unwrap_or(name)).and_then(|_| check_name(name))
}

/// Checks a name or tag: letters, digits, `.`, `_`, `-`, at most 128, beginning with a letter or digit.
///
/// # Errors
/// `Invalid` with the rule.
pub fn check_name(name: &str) -> Result<&str> {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good = (1..=128).contains(&name.len())
        && name.chars().all(ok)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name != "HEAD";
    if good {
        return Ok(name);
    }
    let shown = crate::sys::confined::show(name.as_bytes());
    Err(Error::invalid(format!("\"{shown}\" is not a name"))
        .hint("a name has up to 128 letters, digits and . _ - and begins with a letter or digit"))
}

/// The names among `known` that are nearest to `wanted`, for a hint.
#[must_use]
pub fn nearest(wanted: &str, known: &[String]) -> Option<String> {
    let mut near: Vec<(usize, &String)> = known.iter().map(|k| (distance(wanted, k), k)).collect();
    near.sort();
    let close: Vec<_> = near.iter().filter(|(d, k)| *d <= k.len().max(wanted.len()) / 2).take(3).collect();
    let names = close.iter().map(|(_, k)| format!("\"{k}\"")).collect::<Vec<_>>().join(", ");
    (!close.is_empty()).then(|| format!("did you mean {names}?"))
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_parse() {
        assert_eq!(Ref::parse("rocky9").unwrap(), Ref::Name("rocky9".into()));
        assert_eq!(Ref::parse("rocky9:stable").unwrap(), Ref::Tag("rocky9".into(), "stable".into()));
        assert_eq!(Ref::parse("rocky9@12").unwrap(), Ref::Generation("rocky9".into(), 12));
        for bad in ["", "a/b", "..", ".a", "a@0", "a@-1", "a@+1", "a@01", "a@x", "a:b:c", "a b", "HEAD", "ä"] {
            assert_eq!(Ref::parse(bad).unwrap_err().kind(), crate::ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn hints_name_the_nearest() {
        let known = ["rocky9-gpu".to_owned(), "debian".to_owned()];
        assert_eq!(nearest("rocky9gpu", &known).unwrap(), "did you mean \"rocky9-gpu\"?");
        assert_eq!(nearest("zzzz", &known), None);
    }
}
