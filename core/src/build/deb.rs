//! The packages of dpkg: `/var/lib/dpkg/status`. Bytes in, values out.
//!
//! Paragraphs of fields, an empty line between them; a line that begins with a blank continues the field before it.

use super::packages::{self, Kind, Package};
use crate::error::{Error, Result};

/// The largest file that is read: that of a full desktop has 5 MB.
pub const LIMIT: usize = 128 << 20;
const PACKAGES: usize = 200_000;

/// The packages that are installed. Others, such as those of which only the configuration is left, are not.
///
/// # Errors
/// `Integrity` when a paragraph has no name, version or architecture; `Limit`.
pub fn parse(bytes: &[u8]) -> Result<Vec<Package>> {
    if bytes.len() > LIMIT {
        return Err(Error::limit(format!("the status of dpkg has more than {} MiB", LIMIT >> 20)));
    }
    let mut out = Vec::new();
    let mut lines = bytes.split(|&b| b == b'\n').enumerate();
    loop {
        let mut paragraph = Paragraph::default();
        let mut more = false;
        for (n, line) in lines.by_ref() {
            more = true;
            if line.iter().all(u8::is_ascii_whitespace) {
                break;
            }
            paragraph.take(n + 1, line);
        }
        if out.len() > PACKAGES {
            return Err(Error::limit(format!("the status of dpkg has more than {PACKAGES} packages")));
        }
        out.extend(paragraph.package()?);
        if !more {
            packages::sort(&mut out);
            return Ok(out);
        }
    }
}

#[derive(Default)]
struct Paragraph {
    line: usize,
    fields: [Option<String>; FIELDS.len()],
}

const FIELDS: [&str; 6] = ["Package", "Status", "Version", "Architecture", "Source", "Maintainer"];

impl Paragraph {
    fn take(&mut self, number: usize, line: &[u8]) {
        if self.line == 0 {
            self.line = number;
        }
        let Some(colon) = memchr::memchr(b':', line).filter(|_| !line.starts_with(b" ") && !line.starts_with(b"\t"))
        else {
            return;
        };
        let known = FIELDS.iter().position(|f| f.as_bytes().eq_ignore_ascii_case(&line[..colon]));
        if let Some(n) = known {
            self.fields[n].get_or_insert_with(|| String::from_utf8_lossy(&line[colon + 1..]).trim().to_owned());
        }
    }

    fn package(self) -> Result<Option<Package>> {
        let [name, status, version, arch, source, vendor] = self.fields;
        if self.line == 0 || !status.is_some_and(|s| s.ends_with(" installed")) {
            return Ok(None);
        }
        let need = |field: Option<String>, what: &str| {
            field.filter(|f| !f.is_empty()).ok_or_else(|| {
                Error::integrity(format!("the status of dpkg has a package without {what} (line {})", self.line))
                    .fact("line", self.line)
            })
        };
        let mut package = Package::new(Kind::Deb, &need(name, "a name")?);
        package.version = need(version, "a version")?;
        package.arch = need(arch, "an architecture")?;
        (package.source, package.vendor) = (source, vendor);
        Ok(Some(package))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_listed() {
        let text = "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nSource: zlib\n\
                    Version: 1:1.2.13-1\nDescription: compression\n Package: not-this\n .\n\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n\n\
                    Package: bash\nStatus: install ok installed\nVersion: 5.2-2\nArchitecture: amd64\nMaintainer: M <m@x>";
        let names: Vec<_> = parse(text.as_bytes()).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["bash:amd64=5.2-2", "zlib1g:amd64=1:1.2.13-1"]);
        assert_eq!(parse(text.as_bytes()).unwrap()[1].source.as_deref(), Some("zlib"));
        assert_eq!(parse(b"").unwrap(), []);
    }

    #[test]
    fn a_package_without_a_version_is_told_with_its_line() {
        let e = parse(b"\nPackage: a\nStatus: install ok installed\nArchitecture: all\n").unwrap_err();
        assert_eq!((e.kind(), &e.facts()["line"]), (crate::ErrorKind::Integrity, &2.into()));
    }

    #[test]
    fn that_of_this_machine_is_read() {
        let Ok(bytes) = std::fs::read("/var/lib/dpkg/status") else { return };
        let packages = parse(&bytes).unwrap();
        assert!(packages.iter().any(|p| p.name == "dpkg" && p.source.is_none()));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
