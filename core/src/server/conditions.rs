//! Conditional requests, RFC 9110 §13: what a client has already is not sent again.

use axum::http::{HeaderMap, header};

/// Whether the client has this version already: `If-None-Match`.
pub(super) fn has_it(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|v| {
        let v = v.trim();
        v == "*" || v.strip_prefix("W/").unwrap_or(v) == etag
    })
}

/// Whether a range may be given: `If-Range`, when it is there, names this version. A date never does: it is too coarse.
pub(super) fn may_range(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|v| v.as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_by_its_etag() {
        let with = |name: header::HeaderName, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        for (value, known) in
            [("\"a\"", true), ("W/\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("\"b\"", false), ("a", false)]
        {
            assert_eq!(has_it(&with(header::IF_NONE_MATCH, value), "\"a\""), known, "{value}");
        }
        assert!(!has_it(&HeaderMap::new(), "\"a\"") && may_range(&HeaderMap::new(), "\"a\""));
        assert!(may_range(&with(header::IF_RANGE, "\"a\""), "\"a\""));
        for other in ["\"b\"", "W/\"a\"", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert!(!may_range(&with(header::IF_RANGE, other), "\"a\""), "{other}");
        }
    }
}
