//! `repodata/repomd.xml`: which metadata a repository has, where, and what it has to give.

use super::xml::{self, Step};
use crate::distro::digest::Digest;
use crate::distro::treeinfo::beneath;
use crate::error::{Error, Result};

/// Longest document.
pub(super) const LIMIT: u64 = 1 << 20;
const RECORDS_LIMIT: usize = 256;

/// One metadata file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `primary`, `group`, `modules`, …
    pub kind: String,
    /// Its path in the repository.
    pub location: String,
    /// Of the file as it is stored.
    pub digest: Digest,
    /// Bytes of the file as it is stored, if that is said.
    pub size: Option<u64>,
}

/// Reads the records, in their order.
///
/// # Errors
/// `Integrity` when it is no such document or names a digest that does not count; `UnsafeInput` for a path out of the
/// repository.
pub fn parse(bytes: &[u8]) -> Result<Vec<Record>> {
    let mut out = Vec::new();
    let (mut kind, mut location, mut digest, mut size) = (None, None, None, None);
    let mut algorithm = String::new();
    let mut root = false;
    xml::read("repomd.xml", bytes, |step| {
        match step {
            Step::Open("repomd", _) => root = true,
            Step::Open("data", a) => {
                (kind, location, digest, size) = (a.get("type"), None, None, None);
            }
            Step::Open("location", a) => {
                location = a.get("href").map(|href| inside(&href)).transpose()?;
                if a.get("xml:base").is_some() {
                    return Err(Error::unsafe_input("repomd.xml leads to another place than the repository"));
                }
            }
            Step::Open("checksum", a) => algorithm = a.get("type").unwrap_or_default(),
            Step::Close("checksum", text) => digest = Digest::parse(&algorithm, text),
            Step::Close("size", text) => size = text.parse().ok(),
            Step::Close("data", _) => {
                let whole = (kind.take(), location.take(), digest.take());
                let (Some(kind), Some(location), Some(digest)) = whole else {
                    return Err(Error::integrity("repomd.xml has a record without place or usable checksum"));
                };
                if out.len() == RECORDS_LIMIT {
                    return Err(Error::limit(format!("repomd.xml has more than {RECORDS_LIMIT} records")));
                }
                out.push(Record { kind, location, digest, size });
            }
            _ => {}
        }
        Ok(())
    })?;
    if root { Ok(out) } else { Err(Error::integrity("repomd.xml is another document")) }
}

/// A path that stays in the repository, even on its way.
pub(super) fn inside(path: &str) -> Result<String> {
    if path.split('/').any(|p| p == "..") {
        return Err(Error::unsafe_input(format!("\"{path}\" leads out of the repository")));
    }
    beneath("", path)
}
