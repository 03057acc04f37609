//! Whether a distribution in the store is what it says: each file that something names has the digest that is named, and
//! each package is signed by one of its keys.

use super::Distro;
use super::digest::Digest;
use super::files::join;
use super::recognise::recognise;
use super::signature::Signatures;
use super::stored::Stored;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::{Failure, Task};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most faults that are listed.
const FAULTS_LIMIT: usize = 1000;
/// Longest front of a package that is looked at: a header has at most 64 MiB.
const FRONT_LIMIT: u64 = 80 << 20;

/// What a verification found.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The distribution.
    pub name: String,
    /// Packages that were looked at.
    pub packages: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// `checked`, or why signatures were not.
    pub signatures: String,
    /// What is wrong, sorted by path; at most 1,000.
    pub faults: Vec<Fault>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// Path in the tree.
    pub path: String,
    /// The package, if it is one.
    pub package: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl Verified {
    /// Well, or an error that names the first fault.
    ///
    /// # Errors
    /// `Integrity`.
    pub fn ok(&self) -> Result<()> {
        let Some(first) = self.faults.first() else { return Ok(()) };
        let what = first.package.as_ref().map_or_else(|| format!("/{}", first.path), |p| format!("package {p}"));
        let more = if self.faults.len() > 1 { format!(", and {} more", self.faults.len() - 1) } else { String::new() };
        let e = Error::integrity(format!("{}: {what}: {}{more}", self.name, first.message));
        let packages: Vec<_> = self.faults.iter().filter_map(|f| f.package.clone()).collect();
        Err(e.fact("path", first.path.clone()).fact("packages", packages))
    }
}

/// A file that something names.
struct Named {
    path: String,
    size: Option<u64>,
    digest: Digest,
    /// A package, and where its header ends.
    package: Option<(String, u64)>,
}

impl Distro {
    /// Verifies the chain from `.treeinfo` to each package. Signatures are checked where rpm is installed and the distribution
    /// has keys.
    ///
    /// # Errors
    /// `Integrity` when metadata do not fit, so that nobody knows what the packages should be; `Cancelled`. What is wrong with
    /// packages is in the report.
    pub fn verify(&self, threads: usize, task: &Task) -> Result<Verified> {
        let stored = Stored::of(self.image())?;
        task.stage("metadata", 0, Unit::Entries);
        if self.document().is_mirror() {
            return super::mirror::verify(&stored, self.name(), self.document(), task);
        }
        let found = recognise(&stored, task)?;
        let (signatures, said) = match Signatures::begin(&self.document().keys, task) {
            _ if self.document().keys.is_empty() => (None, "not checked: there are no keys".to_owned()),
            Ok(s) => (Some(s), "checked".to_owned()),
            Err(e) if e.kind() == ErrorKind::Unsupported => (None, format!("not checked: {e}")),
            Err(e) => return Err(e),
        };
        let listed = found.digests.into_iter().map(|(path, digest)| Named { path, size: None, digest, package: None });
        let packages = found.repositories.into_iter().flat_map(|r| {
            let of = move |p: super::Package| Named {
                path: join(&r.path, &p.location),
                size: Some(p.size),
                // Where nobody says how long its header is, as much as it may have.
                package: Some((p.nevra(), if p.header_end == 0 { FRONT_LIMIT } else { p.header_end.min(FRONT_LIMIT) })),
                digest: p.digest,
            };
            r.packages.into_iter().map(of)
        });
        let all: Vec<Named> = listed.chain(packages).collect();
        task.stage("verify", all.iter().filter_map(|n| n.size).sum(), Unit::Bytes);
        let (failure, next, bytes) = (Failure::default(), AtomicUsize::new(0), AtomicU64::new(0));
        let faults = Mutex::new(Vec::new());
        failure.on_threads(crate::job::threads(threads), || {
            while let Some(named) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                failure.check(task)?;
                if let Some(message) = look(&stored, named, signatures.as_ref(), &bytes, task)? {
                    let package = named.package.as_ref().map(|(p, _)| p.clone());
                    let fault = Fault { path: named.path.clone(), package, message };
                    faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
                }
            }
            Ok(())
        })?;
        let mut faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
        faults.sort();
        faults.truncate(FAULTS_LIMIT);
        Ok(Verified {
            name: self.name().to_owned(),
            packages: all.iter().filter(|n| n.package.is_some()).count() as u64,
            bytes: bytes.into_inner(),
            signatures: said,
            faults,
        })
    }
}

/// What is wrong with a file.
fn look(
    stored: &Stored,
    named: &Named,
    signatures: Option<&Signatures>,
    read: &AtomicU64,
    task: &Task,
) -> Result<Option<String>> {
    let Some((size, content)) = stored.files.get(named.path.as_bytes()) else {
        // What .treeinfo lists may be on other media of the same tree.
        return Ok(named.package.is_some().then(|| "its file is not there".to_owned()));
    };
    if named.size.is_some_and(|n| n != *size) {
        return Ok(Some(format!("it has {size} bytes and not {}", named.size.unwrap_or_default())));
    }
    let (mut sum, mut front) = (named.digest.begin(), Vec::new());
    let until = named.package.as_ref().map_or(0, |(_, end)| usize::try_from(*end).unwrap_or(0));
    let done = stored.parts(content, |bytes| {
        task.check()?;
        sum.add(bytes);
        front.extend_from_slice(&bytes[..bytes.len().min(until - front.len())]);
        read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        task.advance(bytes.len() as u64);
        Ok(())
    });
    match done {
        Err(e) if e.kind() == ErrorKind::Integrity => return Ok(Some(format!("it is damaged in the store: {e}"))),
        done => done?,
    }
    let actual = sum.finish();
    if actual != named.digest.hex {
        return Ok(Some(format!("it does not have the checksum {}", named.digest)));
    }
    match (signatures, &named.package) {
        (Some(s), Some(_)) => s.check(front, task),
        _ => Ok(None),
    }
}
