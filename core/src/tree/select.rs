//! Choosing: the table of rules, `--exclude`, `--keep`, and the report of what they did.

use super::report::ReportFile;
use super::rules::{Effect, RULES};
use crate::error::Result;
use crate::image::path;
use crate::image::row::{DIRECTORY, KIND_MASK, REGULAR};
use crate::sys::confined::show;
use crate::tree::pattern::Patterns;
use crate::tree::walk::Choice;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// Most entries a report names; it counts them all.
const REPORT_LIMIT: usize = 10_000;

/// What was done to an entry, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Scrubbed {
    /// Path, printable, with leading slash.
    pub path: String,
    /// `left out`, `emptied` or `kept`.
    pub action: &'static str,
    /// The pattern that decided: of the table, or `--exclude` and the one that was given.
    pub rule: String,
    /// Why.
    pub why: String,
}

/// What a rule says about an entry.
struct Verdict {
    choice: Choice,
    action: &'static str,
    rule: String,
    why: &'static str,
}

/// The rules of one capture.
pub struct Selection {
    table: Patterns,
    exclude: Patterns,
    keep: Patterns,
    /// Literal fronts of the keep patterns: a directory on the way to one is entered although a rule leaves it out.
    keep_fronts: Vec<Vec<u8>>,
    report: Mutex<(Vec<Scrubbed>, u64)>,
    /// Takes what is beyond the limit.
    file: Option<ReportFile>,
}

impl Selection {
    /// The rules for a capture with these patterns; `exact` switches the table off. `file` gets what the report in memory
    /// has no room for.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is none.
    pub(crate) fn new(exclude: &[String], keep: &[String], exact: bool, file: Option<ReportFile>) -> Result<Self> {
        // The last pattern that fits decides in a gitignore file, the first one in the table.
        let patterns = RULES.iter().rev().filter(|r| !(exact && r.unless_exact)).map(|r| r.pattern);
        let front = |p: &String| {
            let literal = p.split(['*', '?', '[']).next().unwrap_or("");
            literal.trim_matches('/').as_bytes().to_vec()
        };
        Ok(Self {
            table: Patterns::new(&patterns.collect::<Vec<_>>(), "rule")?,
            exclude: Patterns::new(exclude, "--exclude")?,
            keep: Patterns::new(keep, "--keep")?,
            keep_fronts: keep.iter().map(front).collect(),
            report: Mutex::default(),
            file,
        })
    }

    /// Decides about an entry; the directories above it were taken.
    #[must_use]
    pub fn choose(&self, path: &[u8], mode: u32) -> Choice {
        let directory = mode & KIND_MASK == DIRECTORY;
        if self.keep.fits_or_beneath(path, directory).is_some() {
            return Choice::Take;
        }
        let Some(Verdict { choice, action, rule, why }) = self.rule(path, mode) else { return Choice::Take };
        if choice == Choice::Leave && directory && self.leads_to_kept(path) {
            return Choice::Take;
        }
        self.note(path, action, rule, why);
        choice
    }

    /// The rule that decides, if there is one.
    fn rule(&self, path: &[u8], mode: u32) -> Option<Verdict> {
        let directory = mode & KIND_MASK == DIRECTORY;
        let regular = mode & KIND_MASK == REGULAR;
        // With --keep beneath a directory that was left out, its other entries are left out by the pattern above them.
        let find = |p: &Patterns| -> Option<String> {
            let found = if self.keep.is_empty() { p.fits(path, directory) } else { p.fits_or_beneath(path, directory) };
            found.map(str::to_owned)
        };
        if let Some(pattern) = find(&self.exclude) {
            let rule = format!("--exclude {pattern}");
            return Some(Verdict { choice: Choice::Leave, action: "left out", rule, why: "as was asked for" });
        }
        let pattern = find(&self.table)?;
        let rule = RULES.iter().find(|r| r.pattern == pattern)?;
        let (choice, action) = match rule.effect {
            Effect::Leave => (Choice::Leave, "left out"),
            Effect::LeaveFile if regular => (Choice::Leave, "left out"),
            Effect::CoreDump if regular && is_core_dump(path::name(path)) => (Choice::Leave, "left out"),
            Effect::Empty if regular => (Choice::Empty, "emptied"),
            Effect::Report => (Choice::Take, "kept"),
            _ => return None,
        };
        Some(Verdict { choice, action, rule: pattern, why: rule.why })
    }

    /// Whether a rule takes an entry, or its content, for the machine's own and not the image's, and why; what stands
    /// above it is not looked at. Says nothing in the report.
    #[must_use]
    pub fn machine(&self, path: &[u8], mode: u32) -> Option<(Choice, &'static str)> {
        let verdict = self.rule(path, mode)?;
        (verdict.choice != Choice::Take).then_some((verdict.choice, verdict.why))
    }

    fn leads_to_kept(&self, path: &[u8]) -> bool {
        self.keep_fronts.iter().any(|f| f.is_empty() || (f.starts_with(path) && f.get(path.len()) == Some(&b'/')))
    }

    /// Adds to the report.
    fn note(&self, path: &[u8], action: &'static str, rule: String, why: &str) {
        let entry = Scrubbed { path: format!("/{}", show(path)), action, rule, why: why.to_owned() };
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.1 += 1;
        if report.0.len() < REPORT_LIMIT {
            report.0.push(entry);
        } else if let Some(file) = &self.file {
            file.more(&entry);
        }
    }

    /// The file that is to be finished.
    pub(crate) fn into_report_file(self) -> Option<ReportFile> {
        self.file
    }

    /// What was done, sorted by path, and how often in all.
    #[must_use]
    pub fn report(&self) -> (Vec<Scrubbed>, u64) {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted = report.0.clone();
        sorted.sort();
        (sorted, report.1)
    }
}

fn is_core_dump(name: &[u8]) -> bool {
    name.strip_prefix(b"core.").is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(s: &Selection, path: &str, mode: u32) -> Choice {
        s.choose(path.as_bytes(), mode)
    }

    #[test]
    fn the_machine_is_generalised() {
        let s = Selection::new(&[], &[], false, None).unwrap();
        assert_eq!(choose(&s, "proc", 0o040_755), Choice::Take);
        assert_eq!(choose(&s, "proc/1", 0o040_755), Choice::Leave);
        assert_eq!(choose(&s, "etc/machine-id", 0o100_444), Choice::Empty);
        assert_eq!(choose(&s, "var/lib/dbus/machine-id", 0o120_777), Choice::Take);
        assert_eq!(choose(&s, "var/log/apt/history.log", 0o100_644), Choice::Empty);
        assert_eq!(choose(&s, "var/log/apt", 0o040_755), Choice::Take);
        assert_eq!(choose(&s, "home/a/core.1234", 0o100_600), Choice::Leave);
        assert_eq!(choose(&s, "usr/share/man/man5/core.5", 0o100_644), Choice::Take);
        assert_eq!(choose(&s, "home/a/core.2.1.0.js", 0o100_644), Choice::Take);
        assert_eq!(choose(&s, "usr/lib/core.d", 0o040_755), Choice::Take);
        assert_eq!(choose(&s, "etc/munge/munge.key", 0o100_400), Choice::Take);
        assert_eq!(s.report().1, 5);
    }

    #[test]
    fn exact_keeps_all() {
        let s = Selection::new(&[], &[], true, None).unwrap();
        for p in ["etc/machine-id", "tmp/x", "var/log/messages", "proc/1"] {
            assert_eq!(choose(&s, p, 0o100_644), Choice::Take, "{p}");
        }
    }

    #[test]
    fn keep_wins_and_leads_into_what_is_left_out() {
        let exclude = ["/scratch".to_owned(), "*.iso".to_owned()];
        let keep = ["/scratch/apps/tool".to_owned(), "/etc/machine-id".to_owned()];
        let s = Selection::new(&exclude, &keep, false, None).unwrap();
        assert_eq!(choose(&s, "scratch", 0o040_755), Choice::Take);
        assert_eq!(choose(&s, "scratch/data", 0o040_755), Choice::Leave);
        assert_eq!(choose(&s, "scratch/apps", 0o040_755), Choice::Take);
        assert_eq!(choose(&s, "scratch/apps/other", 0o100_644), Choice::Leave);
        assert_eq!(choose(&s, "scratch/apps/tool/bin/x", 0o100_755), Choice::Take);
        assert_eq!(choose(&s, "etc/machine-id", 0o100_444), Choice::Take);
        assert_eq!(choose(&s, "srv/big.iso", 0o100_644), Choice::Leave);
        assert!(Selection::new(&["!x".to_owned()], &[], false, None).is_err());
        assert!(Selection::new(&["[z-a]".to_owned()], &[], false, None).is_err());
    }
}
