//! What went wrong with a request, as an error of ours: the kind tells what kind of trouble, the hint where to look.
//!
//! Nothing of a request or an answer is quoted but its code and message: an answer to a wrong signature, for example,
//! repeats the token that was signed.

use crate::error::{Error, ErrorKind};

/// Where the store is, as errors name it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) location: String,
    pub(super) bucket: String,
    /// The server: the endpoint, or that of the region.
    pub(super) peer: String,
}

/// What happened while a request was made.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Attempts that failed and were repeated.
    pub(super) retries: u32,
    pub(super) too_long: bool,
    /// It was a request for credentials that failed last.
    pub(super) credentials: bool,
    pub(super) last: Option<Last>,
}

/// How the last attempt failed.
#[derive(Debug)]
pub(super) enum Last {
    Answer { status: u16, code: String, message: String },
    Broken { text: String, permanent: bool },
}

/// A request that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Box<object_store::Error>,
    pub(super) told: Box<Told>,
}

impl From<object_store::Error> for Failed {
    fn from(error: object_store::Error) -> Self {
        Self { error: Box::new(error), told: Box::default() }
    }
}

impl Failed {
    fn status(&self) -> Option<u16> {
        match &self.told.last {
            Some(Last::Answer { status, .. }) => Some(*status),
            _ => None,
        }
    }

    fn code(&self) -> &str {
        match &self.told.last {
            Some(Last::Answer { code, .. }) => code,
            _ => "",
        }
    }

    /// The object is not there, though the bucket is.
    pub(super) fn is_missing(&self) -> bool {
        self.status() == Some(404) && self.code() != "NoSuchBucket"
    }

    /// An object of that name is there.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self.status(), Some(409 | 412))
    }

    /// The server knows the request, and not what it asks for.
    pub(super) fn is_unimplemented(&self) -> bool {
        self.status() == Some(501) || self.code() == "NotImplemented"
    }

    /// Attempts came before the last one: nobody knows what they did.
    pub(super) fn is_repeated(&self) -> bool {
        self.told.retries > 0
    }

    /// The error of doing `what` to `key`.
    pub(super) fn explain(self, place: &Place, what: &str, key: &str) -> Error {
        let object = if key.is_empty() { place.location.clone() } else { format!("{}/{key}", place.location) };
        let e = match &self.told.last {
            _ if self.told.too_long => Error::limit(format!("{key} is longer than it may be")),
            _ if self.told.credentials => no_credentials(place),
            Some(Last::Answer { status, code, message }) => {
                let e = answered(*status, code, message, place, what, &object);
                let e = if code.is_empty() { e } else { e.fact("answer", code.clone()) };
                e.fact("status", *status)
            }
            Some(Last::Broken { text, permanent }) => {
                let e = Error::new(ErrorKind::Network, format!("cannot {what} {object}: {text}"));
                match permanent {
                    true => e.hint("see the certificate of the server; AWS_CA_BUNDLE may name a file with others"),
                    false => e.hint(format!("is {} the right endpoint, and up?", place.peer)),
                }
            }
            // No request failed: the answer makes no sense, or no request was made.
            None => match &*self.error {
                object_store::Error::InvalidPath { .. } => Error::invalid(format!("{object} cannot be a key")),
                e => Error::new(ErrorKind::Network, format!("cannot {what} {object}: the answer cannot be read"))
                    .cause(e.to_string()),
            },
        };
        let e = if key.is_empty() { e } else { e.fact("object", key) };
        e.fact("peer", place.peer.clone()).fact("retries", self.told.retries)
    }
}

pub(super) fn no_credentials(place: &Place) -> Error {
    Error::new(ErrorKind::Denied, format!("there are no credentials for {}", place.location))
        .hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
}

fn answered(status: u16, code: &str, message: &str, place: &Place, what: &str, object: &str) -> Error {
    let peer = &place.peer;
    let said = match (code, message) {
        ("", _) => format!("the answer of {peer} is {status}"),
        (code, "") => format!("{peer} answers {status} {code}"),
        (code, message) => format!("{peer} answers {status} {code}: {}", message.trim_end_matches('.')),
    };
    let failed = |kind| Error::new(kind, format!("cannot {what} {object}: {said}"));
    match (status, code) {
        (_, "NoSuchBucket") => Error::not_found(format!("there is no bucket {} at {peer}", place.bucket))
            .fact("bucket", place.bucket.clone())
            .hint("a bucket is made with the tools of the server; see AWS_ENDPOINT_URL and AWS_REGION, too"),
        (404, _) => Error::not_found(format!("{object} does not exist")),
        (_, "EntityTooLarge" | "QuotaExceeded" | "ServiceQuotaExceeded" | "InsufficientStorage") | (413 | 507, _) => {
            failed(ErrorKind::Limit)
        }
        (_, "RequestTimeTooSkewed") => failed(ErrorKind::Denied).hint("set the clock of this machine"),
        (_, "ExpiredToken" | "TokenRefreshRequired") => failed(ErrorKind::Denied).hint("get new credentials"),
        (401 | 403, _) => failed(ErrorKind::Denied)
            .hint("see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, and what they may do in the bucket"),
        (301 | 307 | 308, _) | (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            failed(ErrorKind::Invalid).hint("the bucket is in another region: set AWS_REGION")
        }
        (409 | 412, _) => failed(ErrorKind::Conflict),
        (416, _) => Error::integrity(format!("{object} is truncated")),
        (405 | 501, _) => failed(ErrorKind::Unsupported),
        _ => failed(ErrorKind::Network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: u16, code: &str) -> Error {
        let last = Last::Answer { status, code: code.into(), message: "As it is.".into() };
        let told = Box::new(Told { retries: 3, last: Some(last), ..Told::default() });
        let error = Box::new(object_store::Error::NotSupported { source: "secret".into() });
        let place = Place { location: "s3://b/p".into(), bucket: "b".into(), peer: "http://s:1".into() };
        Failed { error, told }.explain(&place, "read", "images/x")
    }

    #[test]
    fn an_answer_has_its_kind() {
        for (status, code, kind) in [
            (404, "NoSuchKey", ErrorKind::NotFound),
            (404, "NoSuchBucket", ErrorKind::NotFound),
            (403, "AccessDenied", ErrorKind::Denied),
            (403, "SignatureDoesNotMatch", ErrorKind::Denied),
            (401, "", ErrorKind::Denied),
            (400, "ExpiredToken", ErrorKind::Denied),
            (412, "PreconditionFailed", ErrorKind::Conflict),
            (507, "", ErrorKind::Limit),
            (400, "EntityTooLarge", ErrorKind::Limit),
            (403, "QuotaExceeded", ErrorKind::Limit),
            (301, "PermanentRedirect", ErrorKind::Invalid),
            (416, "InvalidRange", ErrorKind::Integrity),
            (501, "NotImplemented", ErrorKind::Unsupported),
            (503, "SlowDown", ErrorKind::Network),
            (500, "InternalError", ErrorKind::Network),
        ] {
            let e = failed(status, code);
            assert_eq!(e.kind(), kind, "{status} {code}: {e}");
            assert_eq!((e.facts()["peer"].as_str(), e.facts()["retries"].as_u64()), (Some("http://s:1"), Some(3)));
            assert!(!format!("{e:?}").contains("secret"), "{e:?}");
        }
        assert_eq!(failed(404, "NoSuchBucket").message(), "there is no bucket b at http://s:1");
        assert_eq!(
            failed(503, "SlowDown").message(),
            "cannot read s3://b/p/images/x: http://s:1 answers 503 SlowDown: As it is"
        );
    }
}
