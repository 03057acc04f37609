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

mod fault;
#[cfg(test)]
mod tests;

pub use fault::Fault;

use crate::build::dnflog::{Action, Resolved};
use crate::build::root::{Line, Stream};
use crate::error::{Error, ErrorKind, Result};
use std::collections::VecDeque;

/// Lines of a script that are kept, and texts of a kind.
const KEPT: usize = 40;
const RESOLVED_LIMIT: usize = 100_000;

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
