//! `Release` and `InRelease`: what a suite is, and the sums of its files.

use super::control::Paragraphs;
use super::place::is_path;
use crate::distro::digest::Digest;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Longest file: that of Debian has 150 KB.
pub(super) const LIMIT: u64 = 16 << 20;
const FILES_LIMIT: usize = 200_000;
const FIELDS: &[&str] = &[
    "Origin",
    "Label",
    "Suite",
    "Version",
    "Codename",
    "Date",
    "Valid-Until",
    "Architectures",
    "Components",
    "Description",
    "Acquire-By-Hash",
    "No-Support-for-Architecture-all",
    "SHA256",
];
const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// What a suite says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// `Debian`.
    pub origin: String,
    /// `Debian`.
    pub label: String,
    /// `12.15`; not every suite has one.
    pub version: String,
    /// `bookworm`.
    pub codename: String,
    /// When it was made, in seconds since 1970.
    pub date: i64,
    /// Until when it should be replaced by another one.
    pub valid_until: Option<i64>,
    /// `amd64`, …
    pub architectures: Vec<String>,
    /// `main`, …; without what comes before the last `/`.
    pub components: Vec<String>,
    /// `Debian 12.15 Released 11 July 2026`.
    pub description: String,
    /// Whether files are also found by their sums, so that those that belong together are found while a mirror changes.
    pub by_hash: bool,
    /// Whether packages for all architectures stand in the list of each.
    pub all_in_each: bool,
    /// Size and sum of each file, by its path in the suite.
    pub files: BTreeMap<String, (u64, Digest)>,
}

/// Reads a `Release`, or an `InRelease` of which only what is signed counts.
///
/// # Errors
/// `Integrity` when it is none, or has no date.
pub fn parse(bytes: &[u8]) -> Result<Release> {
    let text = signed(bytes)?;
    let mut paragraphs = Paragraphs::new(text.as_bytes(), FIELDS);
    let lacks = |what: &str| Error::integrity(format!("the Release of the suite has no {what}"));
    let all = paragraphs.next()?.ok_or_else(|| lacks("field"))?;
    if paragraphs.next()?.is_some() {
        return Err(Error::integrity("the Release of the suite is several"));
    }
    let field = |name: &str| all.get(name).unwrap_or_default().to_owned();
    let words =
        |name: &str| all.get(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let last = |c: &String| c.rsplit('/').next().unwrap_or_default().to_owned();
    let out = Release {
        origin: field("Origin"),
        label: field("Label"),
        version: field("Version"),
        codename: field("Codename"),
        date: all.get("Date").and_then(time).ok_or_else(|| lacks("date"))?,
        valid_until: all.get("Valid-Until").and_then(time),
        architectures: words("Architectures"),
        components: words("Components").iter().map(last).collect(),
        description: field("Description"),
        by_hash: all.get("Acquire-By-Hash").is_some_and(|v| v.eq_ignore_ascii_case("yes")),
        all_in_each: all.get("No-Support-for-Architecture-all").is_some_and(|v| v.contains("Packages")),
        files: files(all.get("SHA256").unwrap_or_default())?,
    };
    if out.files.is_empty() {
        return Err(lacks("SHA-256 of a file"));
    }
    Ok(out)
}

/// The text that a signature is for; all of it where the signature stands in another file.
///
/// Strict: what stands before or after the signed text is refused and not passed over.
pub(super) fn signed(bytes: &[u8]) -> Result<String> {
    let odd = |what: &str| Error::integrity(format!("the InRelease of the suite {what}"));
    let text = std::str::from_utf8(bytes).map_err(|_| odd("is not UTF-8"))?;
    if !text.contains("-----BEGIN PGP") {
        return Ok(text.to_owned());
    }
    let mut lines = text.lines();
    if lines.next() != Some(BEGIN) {
        return Err(odd("does not begin with what is signed"));
    }
    for header in lines.by_ref() {
        if header.is_empty() {
            break;
        }
        if !header.starts_with("Hash: ") {
            return Err(odd("has a header that is unknown"));
        }
    }
    let (mut out, mut whole) = (String::new(), false);
    for line in lines.by_ref() {
        if line == SIGNATURE {
            whole = true;
            break;
        }
        let plain = match line.strip_prefix("- ") {
            Some(plain) => plain,
            None if line.starts_with('-') => return Err(odd("has a line that cannot be in it")),
            None => line,
        };
        // Blanks at the end of a line are not signed.
        out.push_str(plain.trim_end_matches([' ', '\t', '\r']));
        out.push('\n');
    }
    let end = lines.position(|line| line == END);
    if !whole || end.is_none() || lines.any(|line| !line.trim().is_empty()) {
        return Err(odd("does not end with its signature"));
    }
    Ok(out)
}

/// `Sat, 11 Jul 2026 10:16:37 UTC`.
fn time(text: &str) -> Option<i64> {
    let (text, zone) = text.trim().rsplit_once(' ')?;
    if !matches!(zone, "UTC" | "GMT" | "Z" | "+0000") {
        return None;
    }
    let civil = jiff::civil::DateTime::strptime("%a, %d %b %Y %H:%M:%S", text).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

/// Lines of a sum, a size and a path.
fn files(text: &str) -> Result<BTreeMap<String, (u64, Digest)>> {
    let mut out = BTreeMap::new();
    for line in text.lines().filter(|l| !l.is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(sum), Some(size), Some(path), None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(Error::integrity("the Release of the suite has a line that is no sum of a file"));
        };
        // Files with other names are none that are looked for.
        if let (Some(digest), Ok(size), true) = (Digest::parse("sha256", sum), size.parse(), is_path(path)) {
            out.insert(path.to_owned(), (size, digest));
        }
        if out.len() > FILES_LIMIT {
            return Err(Error::limit(format!("a suite has more than {FILES_LIMIT} files")));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "Origin: Debian\nVersion: 12.15\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n\
        Acquire-By-Hash: yes\nNo-Support-for-Architecture-all: Packages\nArchitectures: all amd64\n\
        Components: main updates/contrib\nMD5Sum:\n 0ed6d4c8891eb86358b94bb35d9e4da4 1 main/x\nSHA256:\n";

    fn body() -> String {
        format!("{BODY} {} 42 main/binary-amd64/Packages.xz\n {} 1 ../odd\n", "a".repeat(64), "b".repeat(64))
    }

    fn clear(body: &str) -> String {
        format!("{BEGIN}\nHash: SHA256\n\n{body}{SIGNATURE}\n\niQ==\n{END}\n")
    }

    #[test]
    fn a_suite_says_what_it_is() {
        let r = parse(body().as_bytes()).unwrap();
        assert_eq!(parse(clear(&body()).as_bytes()).unwrap(), r);
        assert_eq!((r.version.as_str(), r.date, r.by_hash, r.all_in_each), ("12.15", 1_783_764_997, true, true));
        assert_eq!((r.architectures.join(" "), r.components.join(" ")), ("all amd64".into(), "main contrib".into()));
        assert_eq!(r.files.keys().collect::<Vec<_>>(), ["main/binary-amd64/Packages.xz"]);
    }

    #[test]
    fn only_what_is_signed_counts() {
        let good = clear("- -dash: x  \nb: c\n");
        assert_eq!(signed(good.as_bytes()).unwrap(), "-dash: x\nb: c\n");
        let bad = [
            format!("Origin: me\n{good}"),
            format!("{good}Origin: me\n"),
            format!("{good}{good}"),
            good.replace(END, ""),
            good.replace(SIGNATURE, ""),
            good.replace("Hash: SHA256\n", "Hash: SHA256\nOrigin: me\n"),
            good.replace("b: c", "-b: c"),
        ];
        for text in bad {
            assert_eq!(signed(text.as_bytes()).unwrap_err().kind(), crate::ErrorKind::Integrity, "{text}");
        }
        for text in
            [body().replace("Date", "Day"), BODY.to_owned(), String::new(), format!("{}\n\nOrigin: x\n", body())]
        {
            assert_eq!(parse(text.as_bytes()).unwrap_err().kind(), crate::ErrorKind::Integrity, "{text}");
        }
    }

    proptest::proptest! {
        /// Invariant: any bytes are a suite or an error.
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
