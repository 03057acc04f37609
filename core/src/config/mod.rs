//! Node-specific configuration: actions on the root of a target, applied all or nothing.
//!
//! ```text
//!  actions ── check ──> draft (in memory, against the tree as it is) ──> commit (temporaries, renames, journal)
//!                         │ fstab · host name · machine-id · password · unit     │ failure or kill
//!                         └ outcome per action                                   └──> everything as it was
//! ```
//!
//! The normative text is `core/docs/config-actions.md`. Two facts hold for every action: it never reaches outside the
//! root, whatever links the root holds, and applying the same actions twice changes nothing the second time.

mod action;
mod apply;
mod commit;
mod draft;
mod fstab;
mod identity;
mod journal;
#[cfg(test)]
mod tests;
mod unit;

pub use action::{Action, Content, EnableUnit, Fstab, Link, MachineId, PasswordHash, Secret, WriteFile};
pub use apply::{Outcome, apply, apply_in, forget};
pub use fstab::FstabLine;

use crate::error::{Error, ErrorKind};
use crate::sys::confined::show;
use rustix::io::Errno;

/// What can be wrong with an action or with the root that it is for.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A field of an action is not what it should be. The value is left out where it is a secret.
    #[error("{field} is not valid: {why}")]
    Field {
        /// The field, such as `fstab-line.options`.
        field: &'static str,
        /// The rule, with the value where that may be shown.
        why: String,
    },
    /// A path of an action, or a link of the root, breaks a rule that protects the machine.
    #[error("unsafe path {path}: {rule}")]
    Unsafe {
        /// The path in the root.
        path: String,
        /// The rule.
        rule: &'static str,
    },
    /// Something else stands where a file or directory is needed.
    #[error("{path} is {found}, not {wanted}")]
    Kind {
        /// The path in the root.
        path: String,
        /// What stands there.
        found: &'static str,
        /// What is needed.
        wanted: &'static str,
    },
    /// Something that the action names is not in the root.
    #[error("there is no {what} {name} in the root")]
    Missing {
        /// Kind of thing, such as `user`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Something is in the way that the action must not replace.
    #[error("{path} already is {found}")]
    Taken {
        /// The path in the root.
        path: String,
        /// What it is.
        found: String,
    },
    /// A unit that was switched off on purpose.
    #[error("unit {unit} is masked")]
    Masked {
        /// The unit.
        unit: String,
    },
    /// A file or count is too large.
    #[error("{what} is over the limit of {limit}")]
    Limit {
        /// What is too large.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// Something that is right, but that this version does not do.
    #[error("{what} is not supported")]
    Unsupported {
        /// What.
        what: String,
    },
}

impl ConfigError {
    fn field(field: &'static str, why: impl Into<String>) -> Self {
        Self::Field { field, why: why.into() }
    }
}

impl From<ConfigError> for Error {
    fn from(e: ConfigError) -> Self {
        let kind = match &e {
            ConfigError::Field { .. } | ConfigError::Kind { .. } => ErrorKind::Invalid,
            ConfigError::Unsafe { .. } => ErrorKind::UnsafeInput,
            ConfigError::Missing { .. } => ErrorKind::NotFound,
            ConfigError::Taken { .. } => ErrorKind::Conflict,
            ConfigError::Masked { .. } => ErrorKind::Refused,
            ConfigError::Limit { .. } => ErrorKind::Limit,
            ConfigError::Unsupported { .. } => ErrorKind::Unsupported,
        };
        let out = Error::new(kind, e.to_string());
        match e {
            ConfigError::Field { field, .. } => out.fact("field", field),
            ConfigError::Unsafe { path, rule } => out.fact("path", path).fact("rule", rule),
            ConfigError::Kind { path, found, .. } => out.fact("path", path).fact("found", found),
            ConfigError::Missing { what, name } => out.fact("what", what).fact("name", name),
            ConfigError::Taken { path, .. } => out.fact("path", path),
            ConfigError::Masked { unit } => {
                out.fact("unit", unit).hint("remove the link to /dev/null to allow it again")
            }
            ConfigError::Limit { limit, .. } => out.fact("limit", limit),
            ConfigError::Unsupported { .. } => out,
        }
    }
}

/// An errno of work inside the root as an error; what would leave the root is unsafe input.
fn failed(what: &str, path: &[u8], errno: Errno) -> Error {
    let path = display(path);
    match errno {
        Errno::LOOP => ConfigError::Unsafe { path, rule: "no link may stand or loop here" }.into(),
        Errno::XDEV => ConfigError::Unsafe { path, rule: "a path stays within the root" }.into(),
        _ => Error::io(what, path, errno),
    }
}

/// A path of the root as people write it: with a leading slash.
fn display(path: &[u8]) -> String {
    format!("/{}", show(path.strip_prefix(b"/").unwrap_or(path)))
}
