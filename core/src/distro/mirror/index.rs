//! `Packages`: the packages of a component for an architecture.

use super::control::{Paragraph, Paragraphs};
use crate::distro::digest::Digest;
use crate::distro::repo::{Package, Text};
use crate::error::{Error, Result};

/// Most packages; Debian has 64,000 in main.
const PACKAGES_LIMIT: usize = 500_000;
/// Most capabilities of all of them.
const PROVIDES_LIMIT: usize = 5_000_000;
const FIELDS: &[&str] =
    &["Package", "Version", "Architecture", "Filename", "Size", "SHA256", "SHA512", "Source", "Provides"];

/// Reads the packages, in their order, plain or compressed with gzip, zstd or xz. A version is all of it, the epoch too;
/// `built`, `release` and `license` are empty.
///
/// # Errors
/// `Integrity` when a package lacks what it needs, with the line; `UnsafeInput` for a path out of the mirror; `Limit`.
pub fn parse(bytes: &[u8]) -> Result<Vec<Package>> {
    let mut paragraphs = Paragraphs::new(Text::of(bytes)?, FIELDS);
    let (mut out, mut provides) = (Vec::new(), 0);
    loop {
        paragraphs.input().event();
        let Some(paragraph) = paragraphs.next()? else { return Ok(out) };
        let package = package(&paragraph)?;
        provides += package.provides.len();
        if out.len() == PACKAGES_LIMIT || provides > PROVIDES_LIMIT {
            return Err(Error::limit("a component has too many packages"));
        }
        out.push(package);
    }
}

fn package(p: &Paragraph) -> Result<Package> {
    let name = p.get("Package").unwrap_or_default();
    let lacks = |what: &str| {
        Error::integrity(format!("the list of packages gives {name:?} no {what} (line {})", p.line))
            .fact("line", p.line)
    };
    let word = |field: &str, what: &str| match p.get(field) {
        Some(w) if w.chars().all(|c| !c.is_control() && c != '/' && c != ' ') => Ok(w.to_owned()),
        _ => Err(lacks(what)),
    };
    let location = p.get("Filename").ok_or_else(|| lacks("file"))?.trim_start_matches("./");
    if location.starts_with('/') || location.split('/').any(|w| matches!(w, "" | "." | "..")) || location.contains('\0')
    {
        return Err(Error::unsafe_input(format!("the file of {name:?} would lie at {location:?}")).fact("line", p.line));
    }
    let digest = [("sha256", "SHA256"), ("sha512", "SHA512")];
    let digest = digest.iter().find_map(|(algorithm, field)| Digest::parse(algorithm, p.get(field)?));
    Ok(Package {
        name: word("Package", "name")?,
        epoch: 0,
        version: word("Version", "version")?,
        release: String::new(),
        arch: word("Architecture", "architecture")?,
        location: location.to_owned(),
        size: p.get("Size").and_then(|n| n.parse().ok()).ok_or_else(|| lacks("size"))?,
        digest: digest.ok_or_else(|| lacks("checksum that counts"))?,
        built: 0,
        header_end: 0,
        source: p.get("Source").unwrap_or(name).split(' ').next().unwrap_or_default().to_owned(),
        license: String::new(),
        provides: p.get("Provides").map(provides).unwrap_or_default(),
    })
}

/// `a (= 1), b:any` without versions.
fn provides(text: &str) -> Vec<String> {
    let name = |word: &str| word.split([' ', '(', ':']).find(|w| !w.is_empty()).map(str::to_owned);
    text.split(',').filter_map(|w| name(w.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn one(name: &str, more: &str) -> String {
        let sum = "c".repeat(64);
        format!(
            "Package: {name}\nVersion: 1:2.0-3\nArchitecture: amd64\nFilename: ./pool/a.deb\nSize: 7\nSHA256: {sum}\n{more}\n"
        )
    }

    #[test]
    fn packages_are_read() {
        let text = one("a", "Provides: mail-agent, awk (= 2),\n b:any\nSource: aa (1)\nDescription: x\n more\n")
            + &one("b", "");
        let all = parse(text.as_bytes()).unwrap();
        assert_eq!(all.iter().map(Package::nevra).collect::<Vec<_>>(), ["a:amd64=1:2.0-3", "b:amd64=1:2.0-3"]);
        let a = &all[0];
        assert_eq!((a.location.as_str(), a.size, a.source.as_str()), ("pool/a.deb", 7, "aa"));
        assert!(a.provides == ["mail-agent", "awk", "b"] && a.provides("awk") && all[1].source == "b");
        assert_eq!(parse(b"").unwrap(), []);
    }

    #[test]
    fn what_lacks_something_is_told() {
        for field in ["Package", "Version", "Architecture", "Filename", "Size", "SHA256"] {
            let e = parse(one("a", "").replace(&format!("{field}:"), "Other:").as_bytes()).unwrap_err();
            assert_eq!((e.kind(), &e.facts()["line"]), (ErrorKind::Integrity, &1.into()), "{field}");
        }
        for path in ["../x", "/x", "a//b", "a/./b"] {
            let e = parse(one("a", "").replace("./pool/a.deb", path).as_bytes()).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::UnsafeInput, "{path}");
        }
    }
}
