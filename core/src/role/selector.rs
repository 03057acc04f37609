//! For which systems something is said: `el`, `el9`, `deb`, `debian12`, `ubuntu24.04`, or all of them.
//!
//! ```text
//! everything ─┬─ el ── el8, el9, el10
//!             └─ deb ─┬─ debian ── debian12
//!                     └─ ubuntu ── ubuntu24.04
//! ```
//!
//! What is said of less goes before what is said of more. Two of them never overlap but by one lying in the other.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use std::fmt;

/// A group of systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Systems {
    /// All of them.
    All,
    /// Enterprise Linux: Red Hat, Rocky, Alma, Oracle, CentOS Stream.
    El,
    /// Debian and Ubuntu.
    Deb,
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
}

/// For which systems something is said: a group, or one release in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    systems: Systems,
    /// Major and minor; the minor is 0 but for Ubuntu.
    release: Option<(u16, u16)>,
}

impl Selector {
    /// Everything.
    pub const ALL: Self = Self { systems: Systems::All, release: None };
    /// Enterprise Linux.
    pub const EL: Self = Self { systems: Systems::El, release: None };
    /// Debian and Ubuntu.
    pub const DEB: Self = Self { systems: Systems::Deb, release: None };

    /// The words without a release, for hints.
    pub(super) const WORDS: [&'static str; 4] = ["el", "deb", "debian", "ubuntu"];

    /// Reads `el`, `el9`, `deb`, `debian`, `debian12`, `ubuntu`, `ubuntu24.04`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let (word, release) = text.split_at(digits);
        let systems = match word {
            "el" => Systems::El,
            "deb" => Systems::Deb,
            "debian" => Systems::Debian,
            "ubuntu" => Systems::Ubuntu,
            _ => return None,
        };
        let number = |t: &str| {
            let plain = !t.is_empty() && t.len() <= 2 && t.bytes().all(|b| b.is_ascii_digit());
            t.parse::<u16>().ok().filter(|_| plain)
        };
        let release = match (systems, release) {
            (_, "") => None,
            (Systems::All | Systems::Deb, _) => return None,
            (Systems::Ubuntu, release) => {
                let (major, minor) = release.split_once('.')?;
                Some((number(major)?, number(minor).filter(|_| minor.len() == 2)?))
            }
            (Systems::El | Systems::Debian, release) => {
                Some((number(release).filter(|n| *n > 0 && !release.starts_with('0'))?, 0))
            }
        };
        Some(Self { systems, release })
    }

    /// One release of a distribution, such as `el9`, `rocky-9.4` by its family and version.
    ///
    /// `None` when the version does not begin with a number.
    #[must_use]
    pub fn of(systems: Systems, version: &str) -> Option<Self> {
        let (major, minor) = version.split_once('.').unwrap_or((version, ""));
        let word = match systems {
            Systems::All | Systems::Deb => return None,
            Systems::El => format!("el{major}"),
            Systems::Debian => format!("debian{major}"),
            Systems::Ubuntu => format!("ubuntu{major}.{}", minor.get(..2).unwrap_or(minor)),
        };
        Self::parse(&word)
    }

    /// Whether all that `other` means is meant as well.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        let within = match (self.systems, other.systems) {
            (Systems::All, _) | (Systems::Deb, Systems::Debian | Systems::Ubuntu) => true,
            (mine, theirs) => mine == theirs,
        };
        within && (self.release.is_none() || self == other)
    }

    /// Whether something is meant by both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// How many of those that it lies in there are.
    pub(super) fn depth(self) -> usize {
        let group = match self.systems {
            Systems::All => 0,
            Systems::El | Systems::Deb => 1,
            Systems::Debian | Systems::Ubuntu => 2,
        };
        group + usize::from(self.release.is_some())
    }

    /// The group.
    #[must_use]
    pub fn systems(self) -> Systems {
        self.systems
    }

    /// Whether it lies in Debian or Ubuntu.
    #[must_use]
    pub fn is_deb(self) -> bool {
        Self::DEB.covers(self)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.systems {
            Systems::All => "all",
            Systems::El => "el",
            Systems::Deb => "deb",
            Systems::Debian => "debian",
            Systems::Ubuntu => "ubuntu",
        })?;
        match self.release {
            None => Ok(()),
            Some((major, minor)) if self.systems == Systems::Ubuntu => write!(f, "{major}.{minor:02}"),
            Some((major, _)) => write!(f, "{major}"),
        }
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for Selector {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Selector".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": PATTERN})
    }
}

/// What [`Selector::parse`] reads.
pub(super) const PATTERN: &str = r"^(el([1-9][0-9]?)?|deb|debian([1-9][0-9]?)?|ubuntu([0-9]{1,2}\.[0-9]{2})?)$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_again() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        for good in ["el", "el9", "el10", "deb", "debian", "debian12", "ubuntu", "ubuntu24.04"] {
            assert_eq!(Selector::parse(good).unwrap().to_string(), good);
            assert!(pattern.is_match(good), "{good}");
        }
        for bad in [
            "",
            "all",
            "deb12",
            "el09",
            "el0",
            "el9.4",
            "debian12.5",
            "ubuntu24",
            "ubuntu24.4",
            "rocky",
            "el9x",
            "el999",
        ] {
            assert_eq!(Selector::parse(bad), None, "{bad}");
            assert!(!pattern.is_match(bad), "{bad}");
        }
    }

    #[test]
    fn less_lies_in_more() {
        let s = |t| Selector::parse(t).unwrap();
        assert!(Selector::ALL.covers(s("el9")) && s("el").covers(s("el9")) && s("deb").covers(s("ubuntu24.04")));
        assert!(!s("el9").covers(s("el")) && !s("el9").overlaps(s("el8")) && !s("el").overlaps(s("debian")));
        assert!(s("debian12").overlaps(s("deb")) && !s("debian").overlaps(s("ubuntu")));
        assert_eq!(Selector::of(Systems::El, "9.4"), Some(s("el9")));
        assert_eq!(Selector::of(Systems::Ubuntu, "24.04.1"), Some(s("ubuntu24.04")));
        assert_eq!(Selector::of(Systems::Debian, "12"), Some(s("debian12")));
        assert_eq!(Selector::of(Systems::El, "rawhide"), None);
    }
}
