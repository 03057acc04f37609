//! What an examination found: checks, how they ended, and words for people.

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// One gets along with it.
    Warning,
    /// It does not work, or not for everything.
    Bad,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check. Each doctor has its own names.
    pub check: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// For people.
    pub message: String,
}

impl Finding {
    /// A finding.
    pub fn new(check: &'static str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { check, verdict, message: message.into() }
    }

    /// The worst of several.
    #[must_use]
    pub fn worst(findings: &[Self]) -> Verdict {
        findings.iter().map(|f| f.verdict).max().unwrap_or(Verdict::Ok)
    }
}
