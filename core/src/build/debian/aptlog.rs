//! What apt and dpkg said, as facts. Lines in, values out; those in the tests are recorded runs.
//!
//! ```text
//!  Inst NAME [OLD] (VERSION ORIGIN [ARCH])      apt-get -s: what was resolved
//!  E: …, W: …                                   apt: names, signatures, sums, the network
//!   NAME : Depends: … but it is not …           apt: what does not go together
//!  dpkg: error processing package NAME (--configure):
//!   installed NAME package post-installation script subprocess returned error exit status 3
//! ```
//!
//! Apt ends with 100 whatever happened. From the first package on the lines are also those of scripts.

use crate::build::dnflog::{Action, Resolved};
use crate::build::root::{Line, Stream};
use crate::error::{Error, ErrorKind, Result};
use std::collections::VecDeque;

/// Lines of a script that are kept, and texts of a kind.
const KEPT: usize = 40;
const RESOLVED_LIMIT: usize = 100_000;

/// Something that keeps the packages from being installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing has these names.
    NoMatch(Vec<String>),
    /// It is named, and nothing provides it, or it is excluded.
    NoCandidate(String),
    /// What is asked for does not go together.
    Unresolvable {
        /// The problems as apt words them.
        problems: Vec<String>,
        /// The package, and what it needs.
        missing: Option<(String, String)>,
    },
    /// A suite that is not signed by its keys; and why, as apt says.
    Unsigned(String, String),
    /// A list or package that is not what is signed.
    Damaged(String),
    /// A package, or a suite, that is not there any more.
    Gone(String),
    /// A place that cannot be reached, and why.
    Unreachable(String, String),
    /// Two packages have a file of this path.
    FileConflict {
        /// The path.
        path: String,
        /// The packages; the second one as dpkg words it.
        packages: [String; 2],
    },
    /// A script of a package that failed.
    Script {
        /// The package.
        package: String,
        /// Which: `preinst`, `postinst`, `prerm`, `postrm`.
        script: String,
        /// How it ended, such as `exit status 3`.
        how: String,
        /// What was said since its package was begun.
        said: Vec<String>,
    },
    /// Anything else that dpkg says of a package.
    Package(String, String),
    /// The disk is full.
    Full(String),
}

/// The facts so far.
#[derive(Debug, Default)]
pub struct Log {
    /// What was resolved.
    pub resolved: Vec<Resolved>,
    /// What went wrong, in the order in which it was said.
    pub faults: Vec<Fault>,
    /// What stood behind `E:`, for cases that are not known.
    pub errors: Vec<String>,
    /// Why a suite's signature does not count.
    why: String,
    unmet: Option<String>,
    /// Whether packages are being installed: their scripts may say anything.
    running: bool,
    /// The package that dpkg has just told an error of.
    error: Option<String>,
    said: VecDeque<String>,
}

impl Log {
    /// Takes a line.
    pub fn hear(&mut self, line: &Line) {
        let text = line.text.trim_end();
        if text.contains("No space left on device") {
            self.fault(Fault::Full(text.to_owned()));
        }
        if let Some(package) = self.error.take() {
            return self.because(package, text.trim());
        }
        if let Some(rest) = text.strip_prefix("dpkg: error processing ") {
            self.error = processed(rest);
            return;
        }
        match line.stream {
            Stream::Out => self.hear_out(text),
            Stream::Err => self.hear_err(text),
        }
    }

    fn hear_out(&mut self, text: &str) {
        if let Some(found) = resolved(text) {
            if self.resolved.len() < RESOLVED_LIMIT {
                self.resolved.push(found);
            }
            return;
        }
        if text == "The following packages have unmet dependencies:" {
            self.unmet = Some(String::new());
            return;
        }
        self.running |= text.starts_with("Selecting previously ") || text.starts_with("(Reading database ");
        if text.starts_with("Setting up ") || text.starts_with("Preparing to unpack ") || text.starts_with("Removing ")
        {
            return self.said.clear();
        }
        match self.unmet.take() {
            Some(package) if text.starts_with(' ') => self.problem(package, text),
            _ => self.say(text),
        }
    }

    fn hear_err(&mut self, text: &str) {
        let error = text.strip_prefix("E: ");
        if let Some(said) =
            text.strip_prefix("W: GPG error: ").or(text.strip_prefix("W: OpenPGP signature verification failed: "))
        {
            said.rsplit(": ").next().unwrap_or(said).clone_into(&mut self.why);
        } else if let Some(fault) = error.or_else(|| text.strip_prefix("W: ")).and_then(|t| self.fault_of(t)) {
            self.fault(fault);
        } else if let Some(error) = error {
            if self.errors.len() < KEPT {
                self.errors.push(error.to_owned());
            }
            if error.starts_with("Unable to satisfy dependencies") {
                self.fault(Fault::Unresolvable { problems: vec![error.to_owned()], missing: None });
            }
        } else {
            // The solver of apt 3 goes on below its error.
            if let Some(Fault::Unresolvable { problems, .. }) =
                self.faults.last_mut().filter(|_| text.starts_with("   "))
                && problems.len() < KEPT
            {
                problems.push(text.trim().to_owned());
            }
            self.say(text);
        }
    }

    fn say(&mut self, text: &str) {
        if text.is_empty() || text.starts_with("dpkg: warning: ") {
            return;
        }
        if self.said.len() == KEPT {
            self.said.pop_front();
        }
        self.said.push_back(text.to_owned());
    }

    /// What follows ` NAME : Depends: …`; without a name, the package of the line before.
    fn problem(&mut self, package: String, text: &str) {
        let trimmed = text.trim();
        let (package, what) = match trimmed.split_once(" : ") {
            Some((name, what)) => (name.to_owned(), what),
            None => (package, trimmed),
        };
        let needs = ["Depends: ", "PreDepends: "].iter().find_map(|p| what.strip_prefix(p));
        let missing = needs.map(|n| (package.clone(), n.split(" but ").next().unwrap_or(n).to_owned()));
        let text = format!("{package}: {what}");
        match self.faults.iter_mut().find_map(|f| match f {
            Fault::Unresolvable { problems, missing } => Some((problems, missing)),
            _ => None,
        }) {
            Some((problems, known)) => {
                if problems.len() < KEPT {
                    problems.push(text);
                }
                // That something is not there at all says more than that something else will not be.
                if known.is_none() {
                    *known = missing;
                }
            }
            None => self.fault(Fault::Unresolvable { problems: vec![text], missing }),
        }
        self.unmet = Some(package);
    }

    /// The line after dpkg's `error processing`.
    fn because(&mut self, package: String, text: &str) {
        if let Some((front, how)) = text.split_once(" script subprocess ") {
            let script = match front.rsplit(' ').next().unwrap_or_default() {
                "pre-installation" => "preinst",
                "post-installation" => "postinst",
                "pre-removal" => "prerm",
                "post-removal" => "postrm",
                other => other,
            };
            let how = how.trim_start_matches("returned error ").to_owned();
            let said = std::mem::take(&mut self.said).into();
            return self.fault(Fault::Script { package, script: script.to_owned(), how, said });
        }
        let conflict =
            text.strip_prefix("trying to overwrite '").and_then(|rest| rest.split_once("', which is also in package "));
        self.fault(match conflict {
            Some((path, other)) => Fault::FileConflict { path: path.to_owned(), packages: [package, other.to_owned()] },
            // A package that waits for one that failed is no fault of its own.
            None if text.starts_with("dependency problems") => return,
            None => Fault::Package(package, text.to_owned()),
        });
    }

    fn fault(&mut self, fault: Fault) {
        if let (Fault::NoMatch(new), Some(Fault::NoMatch(known))) =
            (&fault, self.faults.iter_mut().find(|f| matches!(f, Fault::NoMatch(_))))
        {
            return known.extend(new.iter().cloned());
        }
        if self.faults.len() < KEPT && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn fault_of(&self, text: &str) -> Option<Fault> {
        if let Some(name) = text.strip_prefix("Unable to locate package ") {
            return Some(Fault::NoMatch(vec![name.to_owned()]));
        }
        if let Some(name) = between(text, "Couldn't find any package by ", "'") {
            return Some(Fault::NoMatch(vec![name.to_owned()]));
        }
        if let Some((version, name)) =
            between(text, "Version '", "' was not found").and_then(|t| t.split_once("' for '"))
        {
            return Some(Fault::NoMatch(vec![format!("{name}={version}")]));
        }
        if let Some(name) = between(text, "Package '", "' has no installation candidate") {
            return Some(Fault::NoCandidate(name.to_owned()));
        }
        let repository = between(text, "The repository '", "'");
        if let Some(repository) = repository.filter(|_| text.ends_with("is not signed.") || text.contains("signatures"))
        {
            return Some(Fault::Unsigned(repository.to_owned(), self.why.clone()));
        }
        if let Some(repository) = repository.filter(|_| text.contains("does not have a Release file")) {
            return Some(Fault::Gone(format!("the suite of {repository}")));
        }
        let (place, why) = text.strip_prefix("Failed to fetch ")?.split_once("  ")?;
        let why = why.trim();
        let file = place.rsplit('/').next().unwrap_or(place);
        let what = match file.split_once('_').filter(|_| file.ends_with(".deb")) {
            Some((package, _)) => format!("the package {package}"),
            None => format!("the list {place}"),
        };
        let starts = |all: &[&str]| all.iter().any(|w| why.starts_with(w));
        Some(if why.starts_with("The following signatures") {
            Fault::Unsigned(place.to_owned(), why.rsplit(": ").next().unwrap_or(why).to_owned())
        } else if starts(&[
            "Hash Sum",
            "File has unexpected size",
            "Clearsigned file",
            "Writing more data",
            "Invalid file",
        ]) {
            Fault::Damaged(what)
        } else if starts(&["404", "410", "File not found", "Failed to stat"]) || why.contains("No such file") {
            Fault::Gone(what)
        } else {
            Fault::Unreachable(place.to_owned(), why.split(" [IP").next().unwrap_or(why).to_owned())
        })
    }

    /// Whether it went well, as far as is said; `status` is the exit status of `program`.
    ///
    /// # Errors
    /// `NotFound` for names, `Conflict` for what does not go together, `Integrity` for signatures and sums, `Network`, `Plugin`
    /// (22) for a script, `Limit` for a full disk, else `Io`; facts name package, script, path and so on.
    pub fn verdict(&self, program: &str, status: i32) -> Result<()> {
        if status == 0 && self.running {
            return Ok(());
        }
        // A cause that is one before all others, whatever was said first.
        let full = self.faults.iter().find(|f| matches!(f, Fault::Full(_)));
        if let Some(fault) = full.or_else(|| self.faults.first()) {
            return Err(fault.error());
        }
        if status != 0 {
            let last = || self.said.back().map_or("it did not say why", String::as_str);
            let text = self.errors.first().map_or_else(last, String::as_str);
            return Err(Error::new(ErrorKind::Io, format!("{program} failed (exit status {status}): {text}"))
                .fact("status", status)
                .fact("tail", self.said.iter().cloned().collect::<Vec<_>>()));
        }
        Ok(())
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
            Self::NoCandidate(name) => Error::not_found(format!(
                "{name} is excluded, or only named by others: nothing can be installed for it"
            ))
            .fact("packages", vec![name.clone()]),
            Self::Unresolvable { problems, missing } => {
                let conflict = |text: String| Error::new(ErrorKind::Conflict, text).fact("problems", problems.clone());
                match missing {
                    Some((who, what)) => conflict(format!("{who} needs {what}, which cannot be installed"))
                        .fact("missing", what.clone())
                        .fact("package", who.clone()),
                    None => conflict(format!("the packages cannot be installed together: {}", problems.join("; "))),
                }
            }
            Self::Unsigned(repository, why) => {
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                Error::integrity(format!("the repository {repository} is not signed by its keys{why}"))
                    .fact("repository", repository.clone())
            }
            Self::Damaged(what) => {
                Error::integrity(format!("{what} is damaged: its sum is not the one that is signed"))
                    .fact("package", package(what))
            }
            Self::Gone(what) => Error::not_found(format!("{what} is not on the mirror any more"))
                .hint("the mirror has changed: add the distribution again")
                .fact("package", package(what)),
            Self::Unreachable(place, why) => {
                Error::new(ErrorKind::Network, format!("{place} cannot be fetched: {why}")).fact("url", place.clone())
            }
            Self::FileConflict { path, packages: [one, other] } => {
                Error::new(ErrorKind::Conflict, format!("{one} and {other} both have the file {path}"))
                    .fact("path", path.clone())
                    .fact("packages", vec![one.clone(), other.clone()])
            }
            Self::Script { package, script, how, said } => {
                let last = said.last().map_or(String::new(), |l| format!(": {l}"));
                Error::new(ErrorKind::Plugin, format!("the {script} of the package {package} failed ({how}){last}"))
                    .fact("package", package.clone())
                    .fact("scriptlet", script.clone())
                    .fact("how", how.clone())
                    .fact("tail", said.clone())
            }
            Self::Package(package, text) => {
                Error::new(ErrorKind::Failed, format!("the package {package} cannot be installed: {text}"))
                    .fact("package", package.clone())
            }
            Self::Full(text) => Error::limit(format!("there is no room for the packages: {}", text.trim())),
        }
    }
}

/// The name in `the package NAME`, or all of it.
fn package(what: &str) -> &str {
    what.strip_prefix("the package ").unwrap_or(what)
}

/// `package NAME (--configure):` or `archive PATH (--unpack):`.
fn processed(rest: &str) -> Option<String> {
    let (kind, rest) = rest.split_once(' ')?;
    let what = rest.rsplit_once(" (").map_or(rest, |(what, _)| what);
    let name = match kind {
        "archive" => what.rsplit('/').next().unwrap_or(what).split('_').next().unwrap_or(what),
        _ => what,
    };
    Some(name.split(':').next().unwrap_or(name).to_owned())
}

/// `Inst NAME [OLD] (VERSION ORIGIN [ARCH]) …`, `Remv NAME [OLD]`, `Purg NAME [OLD]`.
fn resolved(text: &str) -> Option<Resolved> {
    let (word, rest) = text.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    let plain = |name: &str| name.split(':').next().unwrap_or(name).to_owned();
    match word {
        "Inst" => {
            let (_, rest) = rest.split_once('(')?;
            let (evr, rest) = rest.split_once(' ')?;
            let (repository, rest) = rest.split_once(" [")?;
            let (arch, _) = rest.split_once(']')?;
            let [evr, repository, arch] = [evr, repository, arch].map(str::to_owned);
            Some(Resolved { name: plain(name), evr, arch, repository, action: Action::Install })
        }
        "Remv" | "Purg" => {
            let evr = rest.strip_prefix('[')?.split(']').next()?.to_owned();
            // Of which architecture it is apt says only where that is another one.
            let arch = name.split_once(':').map_or("", |(_, arch)| arch).to_owned();
            Some(Resolved { name: plain(name), evr, arch, repository: String::new(), action: Action::Remove })
        }
        _ => None,
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// A recorded run: its facts, and its exit status.
    fn heard(text: &str) -> (Log, i32) {
        let (mut log, mut status) = (Log::default(), 0);
        for line in text.lines() {
            let (front, text) = line.split_at_checked(2).unwrap_or((line, ""));
            match front {
                "= " => status = text.parse().unwrap(),
                "! " => log.hear(&Line { stream: Stream::Err, text: text.to_owned() }),
                _ => log.hear(&Line { stream: Stream::Out, text: text.to_owned() }),
            }
        }
        (log, status)
    }

    macro_rules! recorded {
        ($($name:literal),*) => { [$(($name, include_str!(concat!("../../../tests/apt/", $name, ".txt")))),*] };
    }

    #[test]
    fn what_apt_said_and_what_it_means() {
        let runs = recorded!(
            "resolved",
            "removed",
            "installed",
            "missing",
            "version",
            "unmet",
            "excluded",
            "damaged",
            "vanished",
            "bad-preinst",
            "bad-postinst",
            "clash",
            "forged",
            "other-key",
            "damaged-list",
            "unreachable"
        );
        let mut out = String::new();
        for (name, text) in runs {
            let (log, status) = heard(text);
            let _ = writeln!(out, "## {name}");
            for r in &log.resolved {
                let _ = writeln!(out, "{:?} {} {} {} {}", r.action, r.name, r.evr, r.arch, r.repository);
            }
            match log.verdict("apt-get", status) {
                Ok(()) => out.push_str("well\n"),
                Err(e) => {
                    let _ =
                        writeln!(out, "{}: {}\n{}", e.kind(), e.message(), serde_json::to_string(e.facts()).unwrap());
                }
            }
        }
        insta::assert_snapshot!(out);
    }

    #[test]
    fn a_script_that_plays_apt_makes_nothing_good_or_bad() {
        let said = "  Setting up x (1) ...\n! E: Unable to locate package y\n! W: Failed to fetch z_1_all.deb  404\n";
        let begun = "  Selecting previously unselected package x.\n";
        let (log, _) = heard(&format!("{begun}{said}= 0\n"));
        assert!(log.verdict("apt-get", 0).is_ok());
        let failed = "! dpkg: error processing package x:amd64 (--configure):\n\
                      !  installed x:amd64 package post-installation script subprocess was killed by signal (Killed)\n";
        let (log, _) = heard(&format!("{begun}  Setting up x (1) ...\n{failed}= 100\n"));
        let e = log.verdict("apt-get", 100).unwrap_err();
        assert_eq!(
            (e.kind(), e.message()),
            (ErrorKind::Plugin, "the postinst of the package x failed (was killed by signal (Killed))")
        );
    }

    #[test]
    fn a_full_disk_is_told_before_all_else() {
        let (log, status) = heard(
            "! dpkg: error processing archive /a/x_1_all.deb (--unpack):\n!  cannot copy: No space left on device\n= 100\n",
        );
        assert_eq!(log.verdict("apt-get", status).unwrap_err().kind(), ErrorKind::Limit);
    }

    #[test]
    fn later_solvers_are_understood() {
        let text = "! E: Unable to satisfy dependencies. Reached two conflicting assignments:\n!    1. a is selected\n!    2. b is not\n= 100\n";
        let (log, status) = heard(text);
        let e = log.verdict("apt-get", status).unwrap_err();
        assert!(e.kind() == ErrorKind::Conflict && e.message().contains("1. a is selected"), "{e:?}");
    }

    proptest::proptest! {
        /// Invariant: any lines are heard.
        #[test]
        fn nothing_panics(lines in proptest::collection::vec("(E: |W: |dpkg: error processing |Inst |Purg | x : Depends: |Failed to fetch )?[ -~]{0,40}", 0..20)) {
            let mut log = Log::default();
            for text in lines {
                log.hear(&Line { stream: Stream::Err, text: text.clone() });
                log.hear(&Line { stream: Stream::Out, text });
            }
            let _ = log.verdict("apt-get", 100);
        }
    }
}
