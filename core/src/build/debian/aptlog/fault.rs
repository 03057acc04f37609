//! What keeps packages from being installed, and how it is told.

use crate::error::{Error, ErrorKind};

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

impl Fault {
    pub(super) fn error(&self) -> Error {
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
