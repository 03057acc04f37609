//! What those are told who ask for more than objects: who they have to be, and why something was not done.

use super::access::text;
use crate::error::{Error, ErrorKind};
use crate::store::wire::Refusal;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use zeroize::Zeroizing;

/// The secret that came with a request.
pub(super) fn bearer(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Zeroizing::new(secret.trim().to_owned()))
}

/// Whether the reason lies with who sent the request: what was received goes on.
pub(super) fn is_theirs(kind: ErrorKind) -> bool {
    use ErrorKind::{Conflict, Denied, Integrity, Invalid, NotFound, UnsafeInput};
    matches!(kind, Conflict | Denied | Integrity | Invalid | NotFound | UnsafeInput)
}

/// An answer that says what was not done, and why. What only this machine should know stays here.
pub(super) fn refused(e: &Error) -> Response {
    let status = match e.kind() {
        ErrorKind::Denied => StatusCode::UNAUTHORIZED,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Limit => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Integrity | ErrorKind::UnsafeInput => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Timeout => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::Busy | ErrorKind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let ours = !is_theirs(e.kind()) && !matches!(e.kind(), ErrorKind::Limit | ErrorKind::Busy | ErrorKind::Timeout);
    let says = if ours || ["path", "lease"].iter().any(|fact| e.facts().contains_key(*fact)) {
        "the store cannot be written"
    } else {
        e.message()
    };
    let said = Refusal {
        code: e.kind().code(),
        message: says.to_owned(),
        hint: e.hint_text().filter(|_| !ours).map(str::to_owned),
        lacking: e.facts().get(crate::store::depot::LACKING).and_then(serde_json::Value::as_u64),
    };
    let mut response = json(status, &said);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

pub(super) fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    let mut response = text(status, serde_json::to_string(value).unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer that says that it is done, or that there is nothing.
pub(super) fn nothing() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The statuses of refusals, and what they mean; for the document that describes them.
pub(super) const STATUSES: [(u16, &str); 10] = [
    (400, "A parameter or body that is none"),
    (401, "Who asks is not known, or may not any more"),
    (404, "There is none"),
    (408, "The body does not come"),
    (409, "Something lacks, or another generation is the newest"),
    (413, "It is over a limit"),
    (422, "What was sent is not what it says, or breaks a rule"),
    (500, "The store cannot be written"),
    (501, "Not with this store"),
    (503, "The server has too much to do, or ends"),
];

/// The schema of a refusal.
pub(super) fn schema() -> serde_json::Value {
    serde_json::json!({
        "type": "object",
        "properties": {
            "code": { "type": "integer" },
            "message": { "type": "string" },
            "hint": { "type": "string" },
            "lacking": { "type": "integer" },
        },
        "required": ["code", "message"],
        "additionalProperties": false,
    })
}
