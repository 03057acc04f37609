//! `primary.xml`: the packages of a repository.

use super::repomd::inside;
use super::xml::{self, Step};
use crate::distro::digest::Digest;
use crate::error::{Error, Result};
use serde::Serialize;

/// Most packages of a repository; Fedora has 75,000.
const PACKAGES_LIMIT: usize = 500_000;
/// Most capabilities of all of them.
const PROVIDES_LIMIT: usize = 20_000_000;

/// A package as metadata describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its epoch.
    pub epoch: u64,
    /// Its version; of dpkg all of it.
    pub version: String,
    /// Its release; empty of dpkg.
    pub release: String,
    /// Its architecture.
    pub arch: String,
    /// Path of its file in the repository.
    pub location: String,
    /// Bytes of its file.
    pub size: u64,
    /// Of its file.
    pub digest: Digest,
    /// When it was built, in seconds since 1970.
    pub built: i64,
    /// Bytes of the front of its file, up to the end of its header.
    pub header_end: u64,
    /// Its package of sources.
    pub source: String,
    /// Its licence.
    pub license: String,
    /// Names of what it provides.
    pub provides: Vec<String>,
}

impl Package {
    /// Name, epoch, version, release and architecture, as dnf writes them: the epoch only where there is one. Of dpkg
    /// `bash:amd64=5.2-2`.
    #[must_use]
    pub fn nevra(&self) -> String {
        if self.release.is_empty() {
            return format!("{}:{}={}", self.name, self.arch, self.version);
        }
        let epoch = if self.epoch > 0 { format!("{}:", self.epoch) } else { String::new() };
        format!("{}-{epoch}{}-{}.{}", self.name, self.version, self.release, self.arch)
    }

    /// Whether it provides `capability`, in any version.
    #[must_use]
    pub fn provides(&self, capability: &str) -> bool {
        self.provides.iter().any(|p| p == capability)
    }
}

/// A package that is being read.
#[derive(Default)]
struct Draft {
    name: String,
    arch: String,
    evr: Option<(u64, String, String)>,
    algorithm: String,
    digest: Option<Digest>,
    location: Option<String>,
    size: Option<u64>,
    built: i64,
    header_end: u64,
    source: String,
    license: String,
    provides: Vec<String>,
}

/// Reads the packages, in their order.
///
/// # Errors
/// `Integrity` when it is no such document or a package lacks what it needs, which is named; `UnsafeInput` for a path out of
/// the repository; `Limit`.
pub fn parse(bytes: &[u8]) -> Result<Vec<Package>> {
    let mut out: Vec<Package> = Vec::new();
    let (mut draft, mut in_provides, mut provides, mut root) = (None::<Draft>, false, 0, false);
    xml::read("primary.xml", bytes, |step| {
        let Some(p) = &mut draft else {
            match step {
                Step::Open("metadata", _) => root = true,
                Step::Open("package", _) => draft = Some(Draft::default()),
                _ => {}
            }
            return Ok(());
        };
        match step {
            Step::Open("version", a) => {
                let epoch = a.get("epoch").and_then(|e| e.parse().ok()).unwrap_or(0);
                p.evr = Some((epoch, a.get("ver").unwrap_or_default(), a.get("rel").unwrap_or_default()));
            }
            Step::Open("checksum", a) => p.algorithm = a.get("type").unwrap_or_default(),
            Step::Open("time", a) => p.built = a.get("build").and_then(|t| t.parse().ok()).unwrap_or(0),
            Step::Open("size", a) => p.size = a.get("package").and_then(|n| n.parse().ok()),
            Step::Open("location", a) => {
                if a.get("xml:base").is_some() {
                    return Err(Error::unsafe_input(format!("package {} lies in another place", p.name)));
                }
                p.location = a.get("href").map(|href| inside(&href)).transpose()?;
            }
            Step::Open("header-range", a) => p.header_end = a.get("end").and_then(|n| n.parse().ok()).unwrap_or(0),
            Step::Open("provides", _) => in_provides = true,
            Step::Open("entry", a) if in_provides => {
                provides += 1;
                if provides > PROVIDES_LIMIT {
                    return Err(Error::limit("the packages of a repository provide too much"));
                }
                p.provides.extend(a.get("name"));
            }
            Step::Close("provides", _) => in_provides = false,
            Step::Close("name", text) => text.clone_into(&mut p.name),
            Step::Close("arch", text) => text.clone_into(&mut p.arch),
            Step::Close("checksum", text) => p.digest = Digest::parse(&p.algorithm, text),
            Step::Close("sourcerpm", text) => text.clone_into(&mut p.source),
            Step::Close("license", text) => text.clone_into(&mut p.license),
            Step::Close("package", _) => {
                if out.len() == PACKAGES_LIMIT {
                    return Err(Error::limit(format!("a repository has more than {PACKAGES_LIMIT} packages")));
                }
                out.push(draft.take().unwrap_or_default().finish()?);
            }
            _ => {}
        }
        Ok(())
    })?;
    if root { Ok(out) } else { Err(Error::integrity("primary.xml is another document")) }
}

impl Draft {
    fn finish(self) -> Result<Package> {
        let lacks = |what: &str| Error::integrity(format!("primary.xml gives package {} no {what}", self.name));
        let printable = |t: &str| !t.is_empty() && t.chars().all(|c| !c.is_control() && c != '/' && c != ' ');
        if !printable(&self.name) || !printable(&self.arch) {
            return Err(Error::integrity("primary.xml has a package without name or architecture"));
        }
        let (epoch, version, release) = self.evr.clone().ok_or_else(|| lacks("version"))?;
        if !printable(&version) || !printable(&release) {
            return Err(lacks("version"));
        }
        Ok(Package {
            epoch,
            version,
            release,
            digest: self.digest.clone().ok_or_else(|| lacks("checksum that counts"))?,
            location: self.location.clone().filter(|l| !l.is_empty()).ok_or_else(|| lacks("file"))?,
            size: self.size.ok_or_else(|| lacks("size"))?,
            name: self.name,
            arch: self.arch,
            built: self.built,
            header_end: self.header_end,
            source: self.source,
            license: self.license,
            provides: self.provides,
        })
    }
}
