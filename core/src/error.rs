//! The one table of errors that all skins share.
//!
//! A function of the C library returns `-code`, a Python exception carries `.code`, `cvctl` exits with the code.
//! Numbers are never reused. A message is one sentence that a person can act on, a hint is a second one; facts
//! (path, device, step, command, expected and actual digest) are fields, so that no caller has to parse prose.
//!
//! Each stage has its own enum of what can go wrong there (`image::FormatError`, `layout::GateError`, …); it becomes
//! an [`Error`] by `From`, which is where a fault gets its kind.

use crate::shown;
use serde_json::{Map, Value, json};
use std::fmt;

/// What kind of failure it was; the number is the code in every skin.
///
/// The numbers are part of the C ABI, of exit codes and of the wire: never change or reuse one.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum ErrorKind {
    /// Unclassified; the aim is never to need it.
    Failed = 1,
    /// A bad argument or document; documents carry path, line and column.
    Invalid = 2,
    /// Something named does not exist; the hint gives the nearest names.
    NotFound = 10,
    /// The version changed meanwhile, or an identity exists twice.
    Conflict = 11,
    /// Somebody else holds it; the message says who.
    Busy = 12,
    /// Not allowed: not armed, a used token, a wrong node, missing privilege.
    Denied = 13,
    /// A digest or checksum does not fit, or a file is truncated or cannot be parsed.
    Integrity = 14,
    /// Input breaks a rule that protects the machine: traversal, link out, absolute name.
    UnsafeInput = 15,
    /// A safety guard said no; the hint says how to confirm.
    Refused = 16,
    /// Space, quota, or a size or count over a limit.
    Limit = 17,
    /// The network or the peer failed.
    Network = 18,
    /// Some nodes failed.
    Partial = 19,
    /// Metadata that was rolled back or has expired.
    Stale = 20,
    /// Needs a version, tool, kernel or filesystem feature that is not here.
    Unsupported = 21,
    /// A plugin failed.
    Plugin = 22,
    /// The operating system returned an error; facts carry errno, path or device.
    Io = 23,
    /// The job was cancelled.
    Cancelled = 24,
    /// A closed or wrong handle, or a second call at once.
    Misuse = 25,
    /// Waited too long; facts say for what and how long.
    Timeout = 26,
    /// A panic was caught: a bug of libcv.
    Bug = 70,
}

impl ErrorKind {
    /// Every kind, in the order of its code.
    pub const ALL: [ErrorKind; 20] = [
        Self::Failed,
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Busy,
        Self::Denied,
        Self::Integrity,
        Self::UnsafeInput,
        Self::Refused,
        Self::Limit,
        Self::Network,
        Self::Partial,
        Self::Stale,
        Self::Unsupported,
        Self::Plugin,
        Self::Io,
        Self::Cancelled,
        Self::Misuse,
        Self::Timeout,
        Self::Bug,
    ];

    /// The number of this kind, positive.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The kind with this number. An unknown number is a failure, never a success.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        Self::ALL.into_iter().find(|k| k.code() == code).unwrap_or(Self::Failed)
    }

    /// The name as it stands in the table and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Invalid => "Invalid",
            Self::NotFound => "NotFound",
            Self::Conflict => "Conflict",
            Self::Busy => "Busy",
            Self::Denied => "Denied",
            Self::Integrity => "Integrity",
            Self::UnsafeInput => "UnsafeInput",
            Self::Refused => "Refused",
            Self::Limit => "Limit",
            Self::Network => "Network",
            Self::Partial => "Partial",
            Self::Stale => "Stale",
            Self::Unsupported => "Unsupported",
            Self::Plugin => "Plugin",
            Self::Io => "Io",
            Self::Cancelled => "Cancelled",
            Self::Misuse => "Misuse",
            Self::Timeout => "Timeout",
            Self::Bug => "Bug",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The result of everything in libcv.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A failure: kind, message, hint, facts and cause.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    facts: Map<String, Value>,
    cause: Option<Cause>,
    undo: Option<Error>,
}

impl Error {
    /// An error of `kind` whose `message` is one sentence without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), hint: None, facts: Map::new(), cause: None, undo: None }))
    }

    /// [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// [`ErrorKind::Integrity`].
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Integrity, message)
    }

    /// [`ErrorKind::UnsafeInput`].
    pub fn unsafe_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::UnsafeInput, message)
    }

    /// [`ErrorKind::Refused`].
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    /// [`ErrorKind::Limit`].
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, message)
    }

    /// [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// [`ErrorKind::Cancelled`].
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled")
    }

    /// An error of the operating system while doing `what` (such as `"open"`) to `subject` (a path or device).
    ///
    /// A full disk or quota becomes [`ErrorKind::Limit`], missing permission [`ErrorKind::Denied`], everything else
    /// [`ErrorKind::Io`]; `errno` is a fact.
    pub fn io(what: &str, subject: impl fmt::Display, source: impl Into<std::io::Error>) -> Self {
        let source = source.into();
        // What a device of our own refused is told as it is.
        let source = match source.downcast::<Self>() {
            Ok(own) => return own.fact("operation", what),
            Err(other) => other,
        };
        let errno = source.raw_os_error();
        let kind = match errno {
            Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => ErrorKind::Limit,
            Some(libc::EACCES | libc::EPERM) => ErrorKind::Denied,
            _ => ErrorKind::Io,
        };
        let mut e = Self::new(kind, format!("cannot {what} {subject}: {}", describe(&source)))
            .fact("operation", what)
            .fact("path", subject.to_string());
        if let Some(n) = errno {
            e = e.fact("errno", n);
        }
        if kind == ErrorKind::Denied && !rustix::process::geteuid().is_root() {
            e = e.hint("run as root");
        }
        e.cause(source)
    }

    /// Adds the second sentence: what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a fact. The key `code` is reserved for the codes of documents and guards (`L001`, `F003`, …).
    #[must_use]
    pub fn fact(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.facts.insert(key.to_owned(), value.into());
        self
    }

    /// Keeps what led to this error.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Carries a failed undo along, which never hides the first error.
    #[must_use]
    pub fn with_failed_undo(mut self, undo: Result<()>) -> Self {
        self.0.undo = undo.err().or(self.0.undo);
        self
    }

    /// Puts the surrounding work before the message: `"capture: cannot open …"`.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The one-sentence message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The second sentence, if there is one.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The facts as JSON fields.
    #[must_use]
    pub fn facts(&self) -> &Map<String, Value> {
        &self.0.facts
    }

    /// The error of an undo that failed as well.
    #[must_use]
    pub fn failed_undo(&self) -> Option<&Error> {
        self.0.undo.as_ref()
    }

    /// The whole error as the JSON object that every skin hands out:
    /// `{"code":14,"kind":"Integrity","message":…,"hint":…,"detail":{…},"causes":[…]}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(e) = next {
            causes.push(Value::from(e.to_string()));
            next = e.source();
        }
        let mut out = json!({
            "code": self.kind().code(),
            "kind": self.kind().name(),
            "message": self.message(),
            "hint": self.hint_text(),
            "detail": self.facts(),
            "causes": causes,
        });
        if let Some(undo) = self.failed_undo() {
            out["failed_undo"] = undo.to_json();
        }
        out
    }
}

/// The text of an operating system error without Rust's "(os error 2)".
fn describe(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may name what strangers named.
        f.write_str(&shown::text(&self.0.message))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind(), self.message())?;
        if let Some(h) = self.hint_text() {
            write!(f, " ({h})")?;
        }
        if !self.0.facts.is_empty() {
            write!(f, " {}", Value::from(self.0.facts.clone()))?;
        }
        if let Some(c) = &self.0.cause {
            write!(f, " caused by: {c}")?;
        }
        if let Some(u) = &self.0.undo {
            write!(f, "; and the undo failed: {u:?}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(|c| c.as_ref() as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_come_back() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(kind.code()), kind);
        }
        let mut codes: Vec<_> = ErrorKind::ALL.iter().map(|k| k.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn an_unknown_number_is_a_failure() {
        assert_eq!(ErrorKind::from_code(0), ErrorKind::Failed);
        assert_eq!(ErrorKind::from_code(9999), ErrorKind::Failed);
    }

    #[test]
    fn a_full_disk_is_a_limit() {
        let e = Error::io("write", "/x", std::io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(e.kind(), ErrorKind::Limit);
        assert_eq!(e.facts()["errno"], libc::ENOSPC);
    }

    #[test]
    fn json_keeps_both_errors() {
        let e = Error::refused("no").with_failed_undo(Err(Error::integrity("worse")));
        assert_eq!(e.to_json()["failed_undo"]["code"], 14);
        assert_eq!(e.to_json()["code"], 16);
    }
}
