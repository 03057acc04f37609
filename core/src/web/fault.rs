//! What can go wrong with one request.

use std::fmt;

/// Why a request did not give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no such object: 404, 410.
    Missing,
    /// 401, 403, 407.
    Denied(u16),
    /// Another status.
    Status(u16),
    /// It points elsewhere, which is not followed.
    Redirect(u16),
    /// The whole object where a range was asked for, or another range.
    NotRanged,
    /// It is packed, although that was not asked for.
    Encoded,
    /// It is longer than it may be.
    TooLong,
    /// It ended too early.
    CutOff,
    /// It took too long.
    Late(String),
    /// The certificate is not believed, or TLS failed.
    Tls(String),
    /// It cannot be reached, or does not speak HTTP.
    Unreachable(String),
    /// What came is not what its name or its sum says.
    Wrong,
    /// Somebody else was faster.
    Abandoned,
}

impl Fault {
    /// What ureq says before there is an answer, or in the middle of one.
    pub(crate) fn of(e: &ureq::Error) -> Self {
        match e {
            ureq::Error::Timeout(t) => Self::Late(t.to_string()),
            ureq::Error::Rustls(e) => Self::Tls(e.to_string()),
            ureq::Error::Tls(e) => Self::Tls((*e).to_owned()),
            ureq::Error::Io(e) => Self::of_io(e),
            e => Self::Unreachable(e.to_string()),
        }
    }

    /// What a reader of a body, or a connection, says.
    pub(crate) fn of_io(e: &std::io::Error) -> Self {
        let inner = e.get_ref();
        if let Some(inner) = inner.and_then(|e| e.downcast_ref::<ureq::Error>()) {
            return match inner {
                ureq::Error::Io(e) => Self::plain(e),
                other => Self::of(other),
            };
        }
        Self::plain(e)
    }

    fn plain(e: &std::io::Error) -> Self {
        if let Some(tls) = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            return Self::Tls(tls.to_string());
        }
        match e.kind() {
            std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => Self::Late(e.to_string()),
            std::io::ErrorKind::UnexpectedEof => Self::CutOff,
            _ => Self::Unreachable(e.to_string()),
        }
    }

    /// Whether the server answered, and has not got it.
    pub(crate) fn is_missing(&self) -> bool {
        *self == Self::Missing
    }

    /// Whether it may be different the next time.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Late(_) | Self::Unreachable(_) | Self::CutOff => true,
            Self::Status(status) => *status >= 500 || matches!(status, 408 | 425 | 429),
            _ => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it has not got it"),
            Self::Denied(status) => write!(f, "it does not let us ({status})"),
            Self::Status(status) => write!(f, "it answers {status}"),
            Self::Redirect(status) => write!(f, "it points elsewhere ({status}), which is not followed"),
            Self::NotRanged => f.write_str("it does not give the range that was asked for"),
            Self::Encoded => f.write_str("it packs what it sends, although that was not asked for"),
            Self::TooLong => f.write_str("it sends more than there can be"),
            Self::CutOff => f.write_str("it was cut off"),
            Self::Late(what) => write!(f, "it took too long: {what}"),
            Self::Tls(what) => write!(f, "it is not trusted: {what}"),
            Self::Unreachable(what) => write!(f, "it cannot be reached: {what}"),
            Self::Wrong => f.write_str("it sends something else"),
            Self::Abandoned => f.write_str("another one was faster"),
        }
    }
}
