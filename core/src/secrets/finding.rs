//! What was found, and what is done about it.

use super::rules::{Class, RULES};
use super::scan::Hit;
use crate::error::{Error, Result};
use crate::job::Task;
use crate::sys::confined::show;
use crate::tree::pattern::Patterns;
use serde::Serialize;
use serde_json::json;

/// Most findings that a report names, and most that are warned of one by one; it counts them all.
const REPORT_LIMIT: usize = 10_000;
const WARN_LIMIT: usize = 100;
/// So many the error names.
const ERROR_LIMIT: usize = 5;

/// What is done about secrets.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// A secret is an error, and nothing is published.
    pub forbid: bool,
    /// Secrets in these files are wanted; patterns as in `.gitignore`, from the root of the tree.
    pub allow: Vec<String>,
}

/// A secret, or something encrypted. It does not say what the secret is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Path, printable, with leading slash.
    pub path: String,
    /// Line, from 1; `None` when the place of the file says it all.
    pub line: Option<u32>,
    /// The rule.
    pub rule: &'static str,
    /// How bad it is.
    pub class: Class,
    /// What it is, in words.
    pub what: &'static str,
    /// Whether it is one of those that are wanted.
    pub allowed: bool,
}

/// The findings of a tree.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// In the order of their paths, at most 10,000.
    pub list: Vec<Finding>,
    /// How many there are in all.
    pub count: u64,
    /// How many of them are secrets and not wanted.
    pub unwanted: u64,
}

/// The patterns of what is wanted, compiled.
pub struct Wanted(Patterns);

impl Policy {
    /// Compiles the patterns: before work begins that would be in vain.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is none.
    pub fn wanted(&self) -> Result<Wanted> {
        Patterns::new(&self.allow, "--allow-secret").map(Wanted)
    }
}

impl Wanted {
    /// Judges what was found: the files in order, each with its hits.
    #[must_use]
    pub fn judge<P: AsRef<[u8]>, H: AsRef<[Hit]>>(&self, found: &[(P, H)]) -> Findings {
        let mut out = Findings::default();
        for finding in self.each(found) {
            out.count += 1;
            out.unwanted += u64::from(finding.class == Class::Secret && !finding.allowed);
            if out.list.len() < REPORT_LIMIT {
                out.list.push(finding);
            }
        }
        out
    }

    /// The same one by one, whatever their number.
    pub fn each<P: AsRef<[u8]>, H: AsRef<[Hit]>>(&self, found: &[(P, H)]) -> impl Iterator<Item = Finding> {
        found.iter().flat_map(|(path, hits)| {
            let path = path.as_ref();
            let allowed = self.0.fits_or_beneath(path, false).is_some();
            hits.as_ref().iter().map(move |hit| {
                let rule = &RULES[hit.rule as usize];
                Finding {
                    path: format!("/{}", show(path)),
                    line: (hit.line > 0).then_some(hit.line),
                    rule: rule.id,
                    class: rule.class,
                    what: rule.what,
                    allowed,
                }
            })
        })
    }
}

impl Findings {
    /// Warns of what was found; or, where secrets are forbidden, refuses to go on.
    ///
    /// # Errors
    /// `Refused` when one is forbidden.
    pub fn enforce(&self, forbid: bool, task: &Task) -> Result<()> {
        if forbid && self.unwanted > 0 {
            return Err(self.refusal());
        }
        let unwanted = self.list.iter().filter(|f| !f.allowed);
        let warned = unwanted.clone().take(WARN_LIMIT).map(|f| task.warn(f.text())).count() as u64;
        let allowed = self.list.iter().filter(|f| f.allowed).count() as u64;
        match self.count.saturating_sub(allowed + warned) {
            0 => {}
            more => task.warn(format!("and {more} more findings of secrets; the report lists them")),
        }
        Ok(())
    }

    fn refusal(&self) -> Error {
        let unwanted: Vec<_> = self.list.iter().filter(|f| f.class == Class::Secret && !f.allowed).take(1000).collect();
        let named: Vec<String> = unwanted.iter().take(ERROR_LIMIT).map(|f| f.text()).collect();
        let more = match self.unwanted.saturating_sub(named.len() as u64) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let how_many = match self.unwanted {
            1 => "a secret is".to_owned(),
            n => format!("{n} secrets are"),
        };
        Error::refused(format!("{how_many} in the tree: {}{more}", named.join("; ")))
            .hint("leave the files out with --exclude, or say that they are wanted with --allow-secret")
            .fact("secrets", json!(unwanted))
            .fact("secrets_count", self.unwanted)
    }
}

impl Finding {
    /// In a line for people.
    fn text(&self) -> String {
        match self.line {
            Some(line) => format!("{} holds {} (line {line}, {})", self.path, self.what, self.rule),
            None => format!("{} is {} ({})", self.path, self.what, self.rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::secrets::Scan;

    fn judged(allow: &[&str], files: &[(&str, &str)]) -> Findings {
        let found: Vec<(&[u8], Vec<Hit>)> = files
            .iter()
            .map(|(path, text)| {
                let mut scan = Scan::default();
                scan.begin(text.len() as u64);
                scan.add(path.as_bytes(), text.as_bytes());
                (path.as_bytes(), scan.end(path.as_bytes()).to_vec())
            })
            .collect();
        let policy = Policy { forbid: true, allow: allow.iter().map(|s| (*s).to_owned()).collect() };
        policy.wanted().unwrap().judge(&found)
    }

    #[test]
    fn what_is_wanted_or_encrypted_is_not_refused_and_nothing_says_the_secret() {
        let files = [
            ("etc/munge/munge.key", "0123456789abcdef"),
            ("root/v.yml", "$ANSIBLE_VAULT;1.1;AES256\n"),
            ("root/t", "x\nt = ghp_0123456789abcdefghijABCDEFGHIJ456789\n"),
        ];
        let all = judged(&[], &files);
        assert_eq!((all.count, all.unwanted), (3, 2));
        let e = all.enforce(true, &Task::quiet()).unwrap_err();
        assert_eq!((e.kind(), &e.facts()["secrets_count"]), (ErrorKind::Refused, &2.into()));
        assert!(e.message().contains("/root/t holds a token of GitHub (line 2, github-token)"), "{e}");
        assert!(!format!("{e:?} {all:?}").contains("ghp_0"));
        let some = judged(&["/etc/munge"], &files);
        assert_eq!((some.count, some.unwanted, some.list[0].allowed), (3, 1, true));
        assert!(judged(&["/etc/munge/munge.key", "t"], &files).enforce(true, &Task::quiet()).is_ok());
        let task = Task::quiet();
        all.enforce(false, &task).unwrap();
        assert_eq!(task.warnings().len(), 3);
        assert!(Policy { forbid: false, allow: vec!["!x".into()] }.wanted().is_err());
    }

    #[test]
    fn very_many_are_counted() {
        let found: Vec<(String, [Hit; 1])> =
            (0..10_100).map(|n| (format!("f{n}"), [Hit { rule: 0, line: 1 }])).collect();
        let all = Policy::default().wanted().unwrap().judge(&found);
        assert_eq!((all.list.len(), all.count), (10_000, 10_100));
        let task = Task::quiet();
        all.enforce(false, &task).unwrap();
        assert_eq!(task.warnings().last().unwrap(), "and 10000 more findings of secrets; the report lists them");
    }
}
