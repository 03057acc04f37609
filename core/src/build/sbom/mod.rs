//! Bills of materials: what an image is made of, in the two formats that others read.
//!
//! ```text
//!  packages ─┬─> cyclonedx   CycloneDX 1.5: components, each with its package URL
//!            └─> spdx        SPDX 2.3: packages, and that the image contains them
//! ```
//!
//! The same packages of the same image give the same document: time and number of a document come from what it describes.

mod cyclonedx;
mod spdx;

use super::packages::Package;
use crate::error::{Error, ErrorKind, Result};
use crate::image::hash::Hash;
use crate::job::Task;
use crate::store::Image;
use crate::sys::clock;
use serde::Serialize;

/// The format of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// CycloneDX 1.5, JSON.
    CycloneDx,
    /// SPDX 2.3, JSON.
    Spdx,
}

impl Format {
    /// The words by which it is asked for.
    pub const WORDS: [(&str, Format); 2] = [("cyclonedx", Format::CycloneDx), ("spdx", Format::Spdx)];

    /// The format of this word.
    ///
    /// # Errors
    /// `Invalid` when there is none.
    pub fn parse(word: &str) -> Result<Self> {
        Self::WORDS.iter().find(|(w, _)| *w == word).map(|(_, format)| *format).ok_or_else(|| {
            Error::invalid(format!("\"{word}\" is no format of a bill of materials")).hint("cyclonedx or spdx")
        })
    }
}

/// What the document is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The name of the image.
    pub name: String,
    /// Its version: the id of the image, in hex.
    pub version: String,
    /// `ID` of its os-release, such as `rocky`; empty where it has none.
    pub os: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

impl Subject {
    /// The image as a subject. One that was opened by its id has neither name nor time: the name is then the first digits of
    /// the id, the time the beginning of 1970, so that the document stays the same.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        let release = image.release();
        let os = image.manifest().facts.as_ref().and_then(|f| f.get("os")?.get("ID")?.as_str());
        Self {
            name: release.map_or_else(|| image.id().short(), |r| r.name.clone()),
            version: image.id().to_string(),
            os: os.unwrap_or_default().to_owned(),
            created: release.and_then(|r| clock::seconds(&r.created)).unwrap_or_default(),
        }
    }
}

/// The bill of materials of an image, as JSON text with a line feed at its end: its packages, each with version, licence and
/// package URL. The same image opened by the same generation gives the same bytes.
///
/// # Errors
/// Those of [`Image::packages`].
pub fn sbom(image: &Image, format: Format, task: &Task) -> Result<Vec<u8>> {
    write(format, &Subject::of(image), &image.packages(task)?)
}

impl Image {
    /// See [`sbom()`].
    ///
    /// # Errors
    /// Those of [`Image::packages`].
    pub fn sbom(&self, format: Format, task: &Task) -> Result<Vec<u8>> {
        sbom(self, format, task)
    }
}

/// The document as JSON text with a line feed at its end.
///
/// # Errors
/// `Bug` when it cannot be written, which does not happen.
pub fn write(format: Format, subject: &Subject, packages: &[Package]) -> Result<Vec<u8>> {
    match format {
        Format::CycloneDx => text(&cyclonedx::document(subject, packages)),
        Format::Spdx => text(&spdx::document(subject, packages)),
    }
}

fn text(document: &impl Serialize) -> Result<Vec<u8>> {
    let written = serde_json::to_vec_pretty(document);
    let mut bytes =
        written.map_err(|e| Error::new(ErrorKind::Bug, "a bill of materials cannot be written").cause(e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The namespace of package URLs: who makes the packages.
fn namespace<'a>(subject: &'a Subject, packages: &[Package]) -> &'a str {
    use super::packages::Kind;
    match (subject.os.as_str(), packages.first().map(|p| p.kind)) {
        ("", Some(Kind::Deb)) => "debian",
        ("rhel" | "", _) => "redhat",
        (os, _) => os,
    }
}

/// A number for the document that only its content gives.
fn number(subject: &Subject, packages: &[Package]) -> uuid::Uuid {
    let mut whole = format!("{}\0{}\0{}\0", subject.name, subject.version, subject.created);
    packages.iter().for_each(|p| {
        whole.push_str(&p.to_string());
        whole.push_str(p.header_sha256.as_deref().unwrap_or_default());
        whole.push('\0');
    });
    uuid::Uuid::new_v8(Hash::of(whole.as_bytes()).half())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::packages::Kind;

    fn packages() -> [Package; 3] {
        let package = |name: &str, epoch| Package {
            epoch,
            version: "1.0".into(),
            release: Some("1.el9".into()),
            arch: "x86_64".into(),
            license: Some("GPLv2+ and MIT".into()),
            source: Some("src-1.0-1.el9.src.rpm".into()),
            vendor: Some("Rocky".into()),
            header_sha256: Some("ab".repeat(32)),
            module: (name == "nginx").then(|| "nginx:1.24:9040:c0ffee".into()),
            ..Package::new(Kind::Rpm, name)
        };
        [
            package("libstdc++", None),
            package("nginx", Some(1)),
            Package { license: None, vendor: None, ..package("plain", None) },
        ]
    }

    fn subject() -> Subject {
        Subject { name: "rocky9-node".into(), version: "0123abcd".into(), os: "rocky".into(), created: 1_714_521_600 }
    }

    #[test]
    fn the_documents() {
        for (word, format) in Format::WORDS {
            let bytes = write(format, &subject(), &packages()).unwrap();
            assert_eq!(bytes, write(format, &subject(), &packages()).unwrap());
            insta::assert_snapshot!(word, String::from_utf8(bytes).unwrap());
        }
    }

    #[test]
    fn another_list_is_another_document() {
        let one = number(&subject(), &packages());
        assert_ne!(one, number(&subject(), &packages()[1..]));
        assert_ne!(one, number(&Subject { version: "other".into(), ..subject() }, &packages()));
        assert_eq!(namespace(&Subject { os: String::new(), ..subject() }, &[Package::new(Kind::Deb, "a")]), "debian");
    }
}
