//! The table of a transaction.
//!
//! ```text
//!  Installing:
//!   base                 x86_64   2.5-3.el9     good   1.1 M
//!   a-name-that-is-wider-than-its-column
//!                        noarch   1:1.0-1.el9   good   6.2 k
//!  Installing dependencies:
//!  …
//!  Transaction Summary
//! ```

use super::{Action, Resolved};

/// More packages than this no distribution has.
const LIMIT: usize = 100_000;

/// The table as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Resolved>,
    section: Option<Action>,
    begun: bool,
    ended: bool,
    /// A name alone on its line.
    wide: Option<String>,
}

impl Table {
    pub(super) fn rows(&self) -> &[Resolved] {
        &self.rows
    }

    pub(super) fn take(&mut self, text: &str) {
        match text {
            "Dependencies resolved." => self.begun = true,
            "Transaction Summary" => self.ended = true,
            _ => {}
        }
        if !self.begun || self.ended {
            return;
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        if !text.starts_with(' ') {
            if text.ends_with(':') {
                self.section = section(text);
            }
            return;
        }
        let Some(action) = self.section else { return };
        match (self.wide.take(), words.as_slice()) {
            (None, [name]) => self.wide = Some((*name).to_owned()),
            (Some(name), [arch, evr, repository, size @ ..]) if is_size(size) => {
                self.row(action, &name, arch, evr, repository);
            }
            (None, [name, arch, evr, repository, size @ ..]) if is_size(size) => {
                self.row(action, name, arch, evr, repository);
            }
            _ => {}
        }
    }

    fn row(&mut self, action: Action, name: &str, arch: &str, evr: &str, repository: &str) {
        if self.rows.len() < LIMIT {
            let [name, evr, arch, repository] = [name, evr, arch, repository].map(str::to_owned);
            self.rows.push(Resolved { name, evr, arch, repository, action });
        }
    }
}

/// Sections of packages; groups and streams have rows of another kind.
fn section(title: &str) -> Option<Action> {
    let other = ["module", "Module", "Groups", "Environment"];
    if other.iter().any(|o| title.contains(o)) && !title.contains("group/module packages") {
        return None;
    }
    match title.split([' ', ':']).next()? {
        "Installing" | "Upgrading" | "Reinstalling" | "Downgrading" => Some(Action::Install),
        "Removing" => Some(Action::Remove),
        _ => None,
    }
}

/// `1.1 M`, or `945` bytes without a unit.
fn is_size(words: &[&str]) -> bool {
    let number = |w: &str| w.parse::<f64>().is_ok();
    matches!(words, [n] if number(n)) || matches!(words, [n, unit] if number(n) && unit.len() == 1)
}
