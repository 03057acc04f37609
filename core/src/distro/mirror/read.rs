//! A suite that is kept: its packages, and whether it is what it says.

use super::release::{self, Release};
use super::signature::{self, Signed};
use super::{deb_architecture, index};
use crate::distro::document::Document;
use crate::distro::files::Files;
use crate::distro::repo::{Repository, STORED_LIMIT};
use crate::distro::verify::{Fault, Verified};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;

pub(super) const INLINE: &str = "InRelease";
pub(super) const RELEASE: &str = "Release";
pub(super) const SIGNATURE: &str = "Release.gpg";
/// As lists are compressed, the smallest first.
const FORMS: [&str; 4] = [".xz", ".zst", ".gz", ""];

/// The lists of a component that are needed, each with the paths in the suite that it may have.
pub(super) fn lists(release: &Release, component: &str, deb: &str) -> Vec<Vec<String>> {
    let of = |arch: &str| {
        let path = |form: &&str| format!("{component}/binary-{arch}/Packages{form}");
        FORMS.iter().map(path).filter(|p| release.files.contains_key(p)).collect::<Vec<_>>()
    };
    let mut out = vec![of(deb)];
    if !release.all_in_each && release.architectures.iter().any(|a| a == "all") {
        out.extend(Some(of("all")).filter(|paths| !paths.is_empty()));
    }
    out
}

fn suite(document: &Document) -> Result<&str> {
    let none = || Error::integrity("the document of a mirror names no suite");
    document.source.suite.as_deref().ok_or_else(none)
}

/// The text that is signed, by its path; and its signature where that is another file.
fn signed(files: &dyn Files, suite: &str) -> Result<(String, Vec<u8>, Option<Vec<u8>>)> {
    let inline = format!("dists/{suite}/{INLINE}");
    if let Some(bytes) = files.read_if(&inline, release::LIMIT)? {
        return Ok((inline, bytes, None));
    }
    let path = format!("dists/{suite}/{RELEASE}");
    let bytes = files.read(&path, release::LIMIT)?;
    Ok((path, bytes, files.read_if(&format!("dists/{suite}/{SIGNATURE}"), release::LIMIT)?))
}

/// Each list that is kept: the component, the path, what it has to be.
fn kept(files: &dyn Files, document: &Document, release: &Release) -> Result<Vec<(String, String, Vec<u8>)>> {
    let (suite, mut out) = (suite(document)?, Vec::new());
    for component in &document.source.components {
        for candidates in lists(release, component, deb_architecture(&document.arch)) {
            let full = |path: &String| format!("dists/{suite}/{path}");
            let there = candidates.iter().find(|path| files.size(&full(path)).is_some());
            let missing = || {
                Error::integrity(format!("the list of packages of {component} is missing"))
                    .fact("repository", component.clone())
            };
            let path = there.ok_or_else(missing)?;
            out.push((component.clone(), path.clone(), files.read(&full(path), STORED_LIMIT)?));
        }
    }
    Ok(out)
}

/// The packages of each component.
///
/// # Errors
/// `Integrity` when a list is not the one that the suite names; `Cancelled`.
pub(in crate::distro) fn repositories(files: &dyn Files, document: &Document, task: &Task) -> Result<Vec<Repository>> {
    let (_, text, _) = signed(files, suite(document)?)?;
    let release = release::parse(&text)?;
    let mut out = Vec::<Repository>::new();
    for (component, path, bytes) in kept(files, document, &release)? {
        task.check()?;
        if !fits(&release, &path, &bytes) {
            return Err(Error::integrity(format!("/{path} does not have the checksum that the suite gives it"))
                .fact("path", path)
                .fact("repository", component));
        }
        let packages = index::parse(&bytes).map_err(|e| e.context(&path))?;
        match out.iter_mut().find(|r| r.id == component) {
            Some(known) => known.packages.extend(packages),
            None => out.push(Repository::of_component(&component, packages)),
        }
    }
    Ok(out)
}

fn fits(release: &Release, path: &str, bytes: &[u8]) -> bool {
    release.files.get(path).is_some_and(|(size, digest)| *size == bytes.len() as u64 && digest.fits(bytes))
}

/// Whether the suite is signed by one of its keys, and each list is the one that it names. Packages are on the mirror.
///
/// # Errors
/// `Integrity` when nobody knows what the lists should be; `Cancelled`.
pub(in crate::distro) fn verify(files: &dyn Files, name: &str, document: &Document, task: &Task) -> Result<Verified> {
    let suite = suite(document)?;
    let (path, text, signature) = signed(files, suite)?;
    let (mut faults, mut said) = (Vec::new(), "checked".to_owned());
    let what = signature.as_ref().map_or(Signed::Inline(&text), |signature| Signed::Detached(&text, signature));
    let fault = |path: String, message: String| Fault { path, package: None, message };
    match signature::check(&what, &document.keys, suite, task) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::Unsupported => said = format!("not checked: {e}"),
        Err(e) if e.kind() == ErrorKind::Integrity => faults.push(fault(path, e.message().to_owned())),
        Err(e) => return Err(e),
    }
    let release = release::parse(&text)?;
    let mut bytes = text.len() as u64;
    for (_, path, list) in kept(files, document, &release)? {
        task.check()?;
        bytes += list.len() as u64;
        if !fits(&release, &path, &list) {
            faults.push(fault(
                format!("dists/{suite}/{path}"),
                "it does not have the checksum that the suite gives it".into(),
            ));
        }
    }
    faults.sort();
    Ok(Verified { name: name.to_owned(), packages: 0, bytes, signatures: said, faults })
}
