//! What dnf said, as facts. Lines in, values out; written by the runs in `core/tests/dnf`.
//!
//! ```text
//!  good (fetched) ── Installing: … ── Transaction Summary ── keys ── Running transaction ── Verifying ── Complete!
//!        │            the table: what was resolved            │      scriptlets, which may say anything
//!        └ metadata            unsigned, forged, damaged ─────┘
//! ```
//!
//! The exit status says little: it is 0 after a `%post` that failed, and 1 when only one package of many is not there. rpm
//! reports a scriptlet on stdout, with the status; dnf on stderr, with the name of the package alone. From the start of the
//! transaction on the lines are also those of scriptlets, so nothing that makes a build good is read from there.

mod table;
#[cfg(test)]
mod tests;

use super::root::{Line, Stream};
use crate::error::{Error, ErrorKind, Result};
use table::Table;

/// Lines of a scriptlet that are kept, and texts of a kind.
const KEPT: usize = 40;

/// A package of the resolved set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resolved {
    /// The name.
    pub name: String,
    /// Epoch, version and release, as `1:1.4-1.el9`.
    pub evr: String,
    /// The architecture.
    pub arch: String,
    /// The repository that it is from.
    pub repository: String,
    /// What is done with it.
    pub action: Action,
}

/// What a transaction does with a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It is there afterwards.
    Install,
    /// It is not.
    Remove,
}

/// A scriptlet that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scriptlet {
    /// The name of the package.
    pub package: String,
    /// Which one: `pre`, `post`, `pretrans`, `posttrans`, `preun`, …
    pub scriptlet: String,
    /// How it ended, such as `exit status 3`; empty where only dnf told of it.
    pub how: String,
    /// What was said since it began, at most forty lines.
    pub said: Vec<String>,
}

/// Something that keeps the packages from being installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing has these names.
    NoMatch(Vec<String>),
    /// No group and no stream of a module has this name.
    NoGroup(String),
    /// What is asked for does not go together.
    Unresolvable {
        /// The problems as dnf words them.
        problems: Vec<String>,
        /// What nothing provides, and the package that needs it.
        missing: Option<(String, String)>,
    },
    /// Two packages have a file of this path, with other content.
    FileConflict {
        /// The path.
        path: String,
        /// The packages.
        packages: [String; 2],
    },
    /// A package without a signature.
    Unsigned(String),
    /// A package that another key has signed.
    Forged(String),
    /// A package that is not what the metadata says.
    Damaged(String),
    /// Metadata of this repository that are not what `repomd.xml` says.
    DamagedMetadata(String),
    /// A repository without metadata.
    NoMetadata(String),
    /// The same of a repository elsewhere, which perhaps could not be reached.
    Unreachable {
        /// Its name.
        repository: String,
        /// Where it should be.
        url: String,
    },
    /// The disk is full.
    Full(String),
}

/// The facts so far.
#[derive(Debug, Default)]
pub struct Log {
    /// Scriptlets that failed.
    pub scriptlets: Vec<Scriptlet>,
    /// What went wrong, in the order in which it was said.
    pub faults: Vec<Fault>,
    /// Whether dnf was told not to go on.
    pub aborted: bool,
    /// What stood behind `Error:`, for cases that are not known.
    pub errors: Vec<String>,
    table: Table,
    running: bool,
    problem: bool,
    repository: String,
    said: Vec<String>,
}

impl Log {
    /// Takes a line.
    pub fn hear(&mut self, line: &Line) {
        let text = line.text.trim_end();
        match line.stream {
            Stream::Out => self.hear_out(text),
            Stream::Err => self.hear_err(text),
        }
        if text.ends_with("No space left on device") {
            self.fault(Fault::Full(text.to_owned()));
        }
    }

    /// The packages that the transaction was made of.
    #[must_use]
    pub fn resolved(&self) -> &[Resolved] {
        self.table.rows()
    }

    /// Whether it went well, as far as dnf says; `status` is its exit status. Scriptlets of packages in `allowed` may fail.
    ///
    /// # Errors
    /// `NotFound` for names that nothing has, `Conflict` for packages that do not go together, `Integrity` for signatures and
    /// sums, `Plugin` (22) for a scriptlet, `Limit` for a full disk, else `Io`; facts name package, scriptlet, path and so on.
    pub fn verdict(&self, status: i32, allowed: &[String]) -> Result<()> {
        if let Some(fault) = self.faults.first() {
            return Err(fault.error());
        }
        if let Some(failed) = self.scriptlets.iter().find(|s| !allowed.contains(&s.package)) {
            return Err(failed.error());
        }
        if status != 0 && self.scriptlets.is_empty() {
            let text = self.errors.first().map_or("it did not say why", String::as_str);
            return Err(
                Error::new(ErrorKind::Io, format!("dnf failed (exit status {status}): {text}")).fact("status", status)
            );
        }
        Ok(())
    }

    fn hear_out(&mut self, text: &str) {
        if text == "Running transaction" {
            self.running = true;
        }
        if !self.running {
            return self.table.take(text);
        }
        if let Some(failed) = from_rpm(text) {
            self.scriptlet(failed);
        } else if text.trim_start().starts_with("Running scriptlet:") {
            self.said.clear();
        } else if !text.is_empty() && self.said.len() < KEPT {
            self.said.push(text.to_owned());
        }
    }

    fn hear_err(&mut self, text: &str) {
        if let Some(failed) = from_dnf(text) {
            return self.scriptlet(failed);
        }
        if let Some(repository) = between(text, "Errors during downloading metadata for repository '", "':") {
            repository.clone_into(&mut self.repository);
        } else if text.contains("but checksum doesn't match") && !self.repository.is_empty() {
            self.fault(Fault::DamagedMetadata(self.repository.clone()));
        } else if let Some(repository) = between(text, "Failed to download metadata for repo '", "':") {
            // The reason came before, if dnf knew one.
            if !self.faults.iter().any(|f| matches!(f, Fault::DamagedMetadata(_))) {
                self.fault(Fault::NoMetadata(repository.to_owned()));
            }
        } else if let Some(fault) = fault(text) {
            self.fault(fault);
        } else if text.trim_start().starts_with("Problem") {
            self.problem = true;
            self.problem(text);
        } else if self.problem && text.trim_start().starts_with("- ") {
            self.problem(text);
        } else if let Some(error) = text.strip_prefix("Error:").map(str::trim) {
            self.problem = false;
            if !error.is_empty() && self.errors.len() < KEPT {
                self.errors.push(error.to_owned());
            }
        } else if text == "Operation aborted." {
            self.aborted = true;
        }
    }

    fn fault(&mut self, fault: Fault) {
        if self.faults.len() < KEPT && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn problem(&mut self, text: &str) {
        let text = text.trim();
        let found = text.split_once("nothing provides ").and_then(|(_, rest)| rest.split_once(" needed by "));
        let found = found.map(|(what, who)| (what.to_owned(), who.split(' ').next().unwrap_or(who).to_owned()));
        let known = self.faults.iter_mut().find_map(|f| match f {
            Fault::Unresolvable { problems, missing } => Some((problems, missing)),
            _ => None,
        });
        match known {
            Some((problems, missing)) => {
                if problems.len() < KEPT {
                    problems.push(text.to_owned());
                }
                if missing.is_none() {
                    *missing = found;
                }
            }
            None => self.fault(Fault::Unresolvable { problems: vec![text.to_owned()], missing: found }),
        }
    }

    /// One scriptlet is told of twice, in any order: rpm knows how it ended.
    fn scriptlet(&mut self, mut failed: Scriptlet) {
        if !failed.how.is_empty() {
            failed.said = std::mem::take(&mut self.said);
        }
        let same = |s: &&mut Scriptlet| s.package == failed.package && s.scriptlet == failed.scriptlet;
        let room = self.scriptlets.len() < KEPT;
        match self.scriptlets.iter_mut().find(same) {
            Some(known) if known.how.is_empty() => *known = failed,
            Some(_) => {}
            None if room => self.scriptlets.push(failed),
            None => {}
        }
    }
}

impl Scriptlet {
    fn error(&self) -> Error {
        let how = if self.how.is_empty() { "failed" } else { &self.how };
        let last = self.said.last().map_or(String::new(), |l| format!(": {l}"));
        Error::new(
            ErrorKind::Plugin,
            format!("%{} of the package {} failed ({how}){last}", self.scriptlet, self.package),
        )
        .hint(format!("a role can allow it: allow_scriptlet_failures: [{}]", self.package))
        .fact("package", self.package.clone())
        .fact("scriptlet", self.scriptlet.clone())
        .fact("how", how)
        .fact("tail", self.said.clone())
    }
}

impl Fault {
    fn error(&self) -> Error {
        match self {
            Self::NoMatch(names) => {
                let verb = if names.len() == 1 { "is no package" } else { "are no packages" };
                Error::not_found(format!("{} {verb} of the repositories", names.join(", ")))
                    .fact("packages", names.clone())
            }
            Self::NoGroup(name) => Error::not_found(format!("{name} is no group and no module of the repositories"))
                .fact("group", name.clone()),
            Self::Unresolvable { problems, missing } => {
                let conflict = |text: String| Error::new(ErrorKind::Conflict, text).fact("problems", problems.clone());
                match missing {
                    Some((what, who)) => conflict(format!("nothing provides {what}, which {who} needs"))
                        .fact("missing", what.clone())
                        .fact("package", who.clone()),
                    None => {
                        let bare = |p: &String| p.trim_start_matches("Problem: ").trim_start_matches("- ").to_owned();
                        let text = problems.iter().map(bare).collect::<Vec<_>>().join("; ");
                        conflict(format!("the packages cannot be installed together: {text}"))
                    }
                }
            }
            Self::FileConflict { path, packages: [one, other] } => Error::new(
                ErrorKind::Conflict,
                format!("{one} and {other} both have the file {path}, with other content"),
            )
            .fact("path", path.clone())
            .fact("packages", vec![one.clone(), other.clone()]),
            Self::Unsigned(package) => {
                Error::integrity(format!("the package {package} is not signed")).fact("package", package.clone())
            }
            Self::Forged(package) => {
                Error::integrity(format!("the package {package} is not signed by a key of its repository"))
                    .fact("package", package.clone())
            }
            Self::Damaged(package) => {
                Error::integrity(format!("the package {package} is damaged: its sum is not that of the metadata"))
                    .fact("package", package.clone())
            }
            Self::DamagedMetadata(id) => Error::integrity(format!("the metadata of the repository {id} are damaged"))
                .fact("repository", id.clone()),
            Self::NoMetadata(id) => {
                Error::not_found(format!("the repository {id} has no metadata")).fact("repository", id.clone())
            }
            Self::Unreachable { repository, url } => {
                let text = format!("the repository {repository} cannot be had from {url}");
                Error::new(ErrorKind::Network, text).fact("repository", repository.clone()).fact("url", url.clone())
            }
            Self::Full(text) => Error::limit(format!("there is no room for the packages: {}", text.trim())),
        }
    }
}

/// The faults that stand in one line.
fn fault(text: &str) -> Option<Fault> {
    if let Some(names) = text.strip_prefix("Error: Unable to find a match:") {
        return Some(Fault::NoMatch(names.split_whitespace().map(str::to_owned).collect()));
    }
    if let Some(name) = between(text, "Module or Group '", "' is not available") {
        return Some(Fault::NoGroup(name.to_owned()));
    }
    if let Some(package) = between(text, "Package ", " is not signed") {
        return Some(Fault::Unsigned(package.trim_end_matches(".rpm").to_owned()));
    }
    if let Some((_, package)) = text.split_once("Failing package is: ") {
        return Some(Fault::Forged(package.trim().to_owned()));
    }
    if let Some(package) = between(text, "Package \"", "\" from local repository").filter(|_| text.contains("checksum"))
    {
        return Some(Fault::Damaged(package.to_owned()));
    }
    if let Some((path, packages)) =
        text.trim_start().strip_prefix("file ").and_then(|t| t.split_once(" conflicts between attempted installs of "))
    {
        let (one, other) = packages.split_once(" and ")?;
        return Some(Fault::FileConflict { path: path.to_owned(), packages: [one.to_owned(), other.to_owned()] });
    }
    if let Some((path, rest)) = text.trim_start().strip_prefix("file ").and_then(|t| t.split_once(" from install of "))
    {
        let (one, other) = rest.split_once(" conflicts with file from package ")?;
        return Some(Fault::FileConflict { path: path.to_owned(), packages: [one.to_owned(), other.to_owned()] });
    }
    let needs = text.trim_start();
    (needs.starts_with("installing package ") && needs.contains(" more space on the "))
        .then(|| Fault::Full(needs.to_owned()))
}

/// `warning: %post(NEVRA) scriptlet failed, exit status 3`, or the like of Lua.
fn from_rpm(text: &str) -> Option<Scriptlet> {
    let text = text.strip_prefix("warning: ").or_else(|| text.strip_prefix("error: "))?;
    if let Some(rest) = text.strip_prefix("lua script failed: [string \"%") {
        let (name, how) = rest.split_once("\"]")?;
        let (scriptlet, package) = called(name)?;
        let how = how.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit()).trim().to_owned();
        return Some(Scriptlet { package, scriptlet, how, said: Vec::new() });
    }
    let (name, how) = text.strip_prefix('%')?.split_once(" scriptlet failed, ")?;
    let (scriptlet, package) = called(name)?;
    Some(Scriptlet { package, scriptlet, how: how.to_owned(), said: Vec::new() })
}

/// `post(NAME-VERSION-RELEASE.ARCH)`.
fn called(text: &str) -> Option<(String, String)> {
    let (scriptlet, package) = text.strip_suffix(')')?.split_once('(')?;
    Some((plain(scriptlet), name_of(package).to_owned()))
}

/// `Error in POSTIN scriptlet in rpm package NAME`.
fn from_dnf(text: &str) -> Option<Scriptlet> {
    let (scriptlet, package) = text.strip_prefix("Error in ")?.split_once(" scriptlet in rpm package ")?;
    Some(Scriptlet {
        package: package.trim().to_owned(),
        scriptlet: plain(scriptlet),
        how: String::new(),
        said: Vec::new(),
    })
}

/// One word for what rpm and dnf call `%prein` and `PREIN`.
fn plain(scriptlet: &str) -> String {
    match scriptlet.to_ascii_lowercase() {
        s if s == "prein" || s == "postin" => s.trim_end_matches("in").to_owned(),
        s => s,
    }
}

/// The name in `NAME-VERSION-RELEASE.ARCH`.
#[must_use]
pub fn name_of(nevra: &str) -> &str {
    let cut = |text: &str| text.rfind('-');
    cut(nevra).and_then(|at| cut(&nevra[..at])).map_or(nevra, |at| &nevra[..at])
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}
