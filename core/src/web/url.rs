//! An address on a web server: `https://HOST[:PORT][/PATH]`. A value of the type is well formed.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Longest address.
const LIMIT: usize = 2048;

/// The address of a directory or file. It has no user, no query and no fragment, and its path no `.` and no `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    secure: bool,
    /// Host and port.
    authority: String,
    /// Empty, or with a slash at its front and none at its end.
    path: String,
}

impl Url {
    /// Whether this text looks like one: it begins with `http://` or `https://`.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        split(text).is_some()
    }

    /// Reads an address.
    ///
    /// # Errors
    /// `Invalid` when it is none, or has a user, a query or a fragment.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            // Not the text itself: it may hold a password.
            Error::invalid(format!("this is no address of a web server: {what}"))
                .hint("give https://HOST[:PORT][/PATH]")
        };
        let (secure, rest) = split(text).ok_or_else(|| wrong("it does not begin with http:// or https://"))?;
        if text.len() > LIMIT {
            return Err(wrong("it is too long"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(wrong("it has a user, and a password would be kept"));
        }
        if !is_authority(authority) {
            return Err(wrong("its host or port is none"));
        }
        let path = path.trim_end_matches('/');
        let good = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|b| b.is_ascii_graphic() && !b"\"#<>?\\^`{|}".contains(&b))
        };
        if !path.is_empty() && !path.split('/').all(good) {
            return Err(wrong("a path has names with single slashes in between, and no query"));
        }
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { secure, authority: authority.to_ascii_lowercase(), path })
    }

    /// Whether it is `https`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and port, as they were given.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host without its port, and an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        match self.authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }

    /// The port, given or of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        let after = self.authority.rsplit_once(']').map_or(&*self.authority, |(_, after)| after);
        let given = after.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        given.unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// The address of what lies beneath it: a relative path of plain names. What a URL cannot hold is escaped.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        let mut out = self.to_string();
        out.push('/');
        for b in path.bytes() {
            match b {
                b'a'..=b'z'
                | b'A'..=b'Z'
                | b'0'..=b'9'
                | b'-'
                | b'.'
                | b'_'
                | b'~'
                | b'/'
                | b'@'
                | b'+'
                | b','
                | b'=' => {
                    out.push(b.into());
                }
                _ => out.push_str(&format!("%{b:02X}")),
            }
        }
        out
    }
}

/// Whether it is `https`, and what follows the scheme.
fn split(text: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    match scheme {
        s if s.eq_ignore_ascii_case("http") => Some((false, rest)),
        s if s.eq_ignore_ascii_case("https") => Some((true, rest)),
        _ => None,
    }
}

fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((host, after)) = rest.split_once(']') else { return false };
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (host, after.strip_prefix(':').or((!after.is_empty()).then_some("none")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let named = text.starts_with('[') || host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let numbered = port.is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|n| n > 0));
    !host.is_empty() && named && numbered
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn an_address_has_a_host_and_a_plain_path() {
        for (text, shown, host, port) in [
            ("http://head", "http://head", "head", 80),
            ("HTTPS://Head.example:8443/store/", "https://head.example:8443/store", "head.example", 8443),
            ("https://10.0.0.1/a/b", "https://10.0.0.1/a/b", "10.0.0.1", 443),
            ("http://[fd00::1]:7786", "http://[fd00::1]:7786", "fd00::1", 7786),
            ("http://[fd00::1]/x", "http://[fd00::1]/x", "fd00::1", 80),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.host(), url.port()), (shown, host, port), "{text}");
        }
        for text in [
            "",
            "head",
            "ftp://head",
            "http://",
            "http:///x",
            "http://u:p@h/x",
            "http://h:0/",
            "http://h:99999",
            "http://h:x",
            "http://h/a//b",
            "http://h/../x",
            "http://h/a?b",
            "http://h/a#b",
            "http://h/a b",
            "http://h /",
            "http://[::1",
            "http://[x]/",
            "http://[::1]x/",
            "http://h/\u{fc}",
        ] {
            assert_eq!(Url::parse(text).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
        let e = Url::parse("http://user:secret@h/x").unwrap_err();
        assert!(!e.to_string().contains("secret"), "{e}");
    }

    #[test]
    fn what_lies_beneath_is_escaped() {
        let url = Url::parse("http://h/s").unwrap();
        assert_eq!(url.join("packs/ab/x.pack"), "http://h/s/packs/ab/x.pack");
        assert_eq!(url.join("blobs/a b?c%"), "http://h/s/blobs/a%20b%3Fc%25");
    }
}
