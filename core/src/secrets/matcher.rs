//! The table, compiled once: places as one set of globs, words as one automaton, each pattern when it is first needed.

use super::rules::{RULES, Rule};
use aho_corasick::{AhoCorasick, MatchKind};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use memchr::memchr_iter;
use regex::bytes::{Regex, RegexBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

/// Raised when the same table finds something else.
const VERSION: u8 = 1;

/// Rules as bits; there are fewer than 128.
type Bits = u128;

pub(super) struct Matcher {
    places: GlobSet,
    /// The rule of each glob.
    placed: Vec<u8>,
    words: AhoCorasick,
    /// The rules of each word.
    worded: Vec<Bits>,
    patterns: Vec<OnceLock<Regex>>,
    exceptions: Vec<OnceLock<Regex>>,
}

static MATCHER: LazyLock<Matcher> = LazyLock::new(Matcher::new);

/// The one matcher.
pub(super) fn matcher() -> &'static Matcher {
    &MATCHER
}

/// Names this table: what another one found, or did not find, says nothing about this.
#[must_use]
pub fn edition() -> [u8; 8] {
    let text = format!("{VERSION} {} {RULES:?}", super::scan::CONTENT_LIMIT);
    let mut out = [0; 8];
    out.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    out
}

impl Matcher {
    /// # Panics
    /// When the table is wrong, which its test would have found.
    fn new() -> Self {
        assert!(RULES.len() < Bits::BITS as usize, "a rule is a bit");
        let (mut globs, mut placed) = (GlobSetBuilder::new(), Vec::new());
        let (mut words, mut worded) = (Vec::<&str>::new(), Vec::<Bits>::new());
        for (n, rule) in RULES.iter().enumerate() {
            for place in rule.places {
                globs.add(GlobBuilder::new(place).literal_separator(true).build().expect("a glob of the table"));
                placed.push(n as u8);
            }
            for word in rule.words {
                match words.iter().position(|w| w == word) {
                    Some(at) => worded[at] |= 1 << n,
                    None => {
                        words.push(word);
                        worded.push(1 << n);
                    }
                }
            }
        }
        Self {
            places: globs.build().expect("the globs of the table"),
            placed,
            words: AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostFirst)
                .build(&words)
                .expect("the words of the table"),
            worded,
            patterns: RULES.iter().map(|_| OnceLock::new()).collect(),
            exceptions: RULES.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    /// The rules whose place fits.
    pub(super) fn placed(&self, path: &[u8]) -> Bits {
        let found = self.places.matches(Path::new(OsStr::from_bytes(path)));
        found.into_iter().fold(0, |bits, glob| bits | 1 << self.placed[glob])
    }

    /// The rules one of whose words is in the text.
    pub(super) fn worded(&self, text: &[u8]) -> Bits {
        self.words.find_iter(text).fold(0, |bits, m| bits | self.worded[m.pattern().as_usize()])
    }

    /// The line where a rule finds something; 0 when its place alone says it.
    pub(super) fn line(&self, n: usize, bytes: &[u8]) -> Option<u32> {
        let rule = &RULES[n];
        if rule.pattern.is_empty() {
            return Some(0);
        }
        let pattern = self.patterns[n].get_or_init(|| compile(rule.pattern));
        let mut found = pattern.find_iter(bytes);
        let at = found.find(|m| !self.excepted(n, rule, bytes, m.start()))?;
        // `^\s*` may begin on empty lines before.
        let blank = at.as_bytes().iter().take_while(|b| b.is_ascii_whitespace()).count();
        let lines = memchr_iter(b'\n', &bytes[..at.start() + blank]).count();
        Some(u32::try_from(lines + 1).unwrap_or(u32::MAX))
    }

    fn excepted(&self, n: usize, rule: &Rule, bytes: &[u8], at: usize) -> bool {
        if rule.unless.is_empty() {
            return false;
        }
        let exception = self.exceptions[n].get_or_init(|| compile(rule.unless));
        exception.find_at(bytes, at).is_some_and(|m| m.start() == at)
    }
}

fn compile(pattern: &str) -> Regex {
    RegexBuilder::new(pattern).unicode(false).multi_line(true).build().expect("a pattern of the table")
}

/// The rules of a set, in the order of the table.
pub(super) fn each(bits: Bits) -> impl Iterator<Item = usize> {
    (0..RULES.len()).filter(move |n| bits & 1 << n != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_is_right_in_itself() {
        let m = matcher();
        let mut ids = HashSet::new();
        for (n, rule) in RULES.iter().enumerate() {
            assert!(ids.insert(rule.id), "{} occurs twice", rule.id);
            assert!(!rule.places.is_empty() || !rule.words.is_empty(), "{} looks nowhere", rule.id);
            assert!(!rule.pattern.is_empty() || rule.words.is_empty(), "{} has words and no pattern", rule.id);
            let _ = m.line(n, b"x");
            let _ = m.excepted(n, rule, b"x", 0);
        }
        // A word that is hidden by another one would never be seen.
        let words: Vec<&str> = RULES.iter().flat_map(|r| r.words).copied().collect();
        for word in &words {
            let m = m.words.find(word.as_bytes()).unwrap();
            assert_eq!((m.start(), m.end()), (0, word.len()), "{word} is hidden");
        }
    }
}
