//! A distribution of Enterprise Linux from an address: its ISO image, or its tree with the repositories.
//!
//! ```text
//!  …/dvd.iso        ──────────────────────────────> a file ┐
//!  …/os/  .treeinfo, repomd.xml ─> metadata ─> packages ──> a directory ┴─> as any other; gone when it is added
//! ```
//!
//! Nobody can list the files of a tree: only what its metadata name is fetched, and the keys have to be given.

use super::document::Key;
use super::mirror::{Base, Getter};
use super::recognise::recognise;
use super::repo;
use super::source::Source;
use super::treeinfo::{self, TreeInfo, beneath};
use crate::error::{Error, Result};
use crate::event::Unit;
use crate::job::{Failure, Task};
use crate::store::Store;
use crate::sys::scratch::{BUILD, Scratch};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

const REPOMD: &str = "repodata/repomd.xml";
/// No ISO image, and no file of metadata, is larger.
const MEDIUM_LIMIT: u64 = 64 << 30;
const METADATA_LIMIT: u64 = 1 << 30;
const DOCUMENT_LIMIT: u64 = 1 << 20;
/// Connections at once.
const THREADS: usize = 4;

/// An address of a distribution.
pub(super) struct Address {
    /// The directory.
    base: Base,
    /// The ISO image in it.
    medium: Option<String>,
}

/// What was fetched, for as long as it is needed.
pub(super) struct Fetched {
    _scratch: Scratch,
    pub(super) place: PathBuf,
}

impl Address {
    /// The address that `place` means; `None` when it means a file or directory of this machine.
    ///
    /// # Errors
    /// `Unsupported` for another scheme than HTTP, `Invalid` for one with a password in it.
    pub(super) fn of(place: &Path) -> Result<Option<Self>> {
        let text = place.to_string_lossy();
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(None) };
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(Error::unsupported(format!("{scheme}:// is not fetched"))
                .hint("http and https are; or download it, for example with dnf reposync"));
        }
        let host = rest.split('/').next().unwrap_or_default();
        if host.is_empty() || host.contains('@') || !rest.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(Error::invalid("this is no address, or one with a user in it, which would be kept")
                .hint("let a proxy on this machine log in, and name that"));
        }
        let url = |path: &str| Base::Url(format!("{}://{path}", scheme.to_ascii_lowercase()));
        let rest = rest.trim_end_matches('/');
        Ok(Some(match rest.rsplit_once('/').filter(|(_, name)| name.to_ascii_lowercase().ends_with(".iso")) {
            Some((directory, name)) => Self { base: url(directory), medium: Some(name.to_owned()) },
            None => Self { base: url(rest), medium: None },
        }))
    }

    /// Whether it is that of an ISO image.
    pub(super) fn is_medium(&self) -> bool {
        self.medium.is_some()
    }

    /// Fetches it into the store's `tmp`, or where large temporary files belong.
    ///
    /// # Errors
    /// `Network`; `NotFound` when there is none; `Invalid` for a tree without a key; `Integrity`, `UnsafeInput` as of a
    /// directory; `Limit`; `Cancelled`.
    pub(super) fn fetch(&self, store: &Store, keys: &[Key], task: &Task) -> Result<Fetched> {
        let parent = store.blobs().directory().map_or_else(|| PathBuf::from("/var/tmp"), |d| d.join("tmp"));
        let scratch = Scratch::new(&parent, BUILD)?;
        let get = Getter::new(&self.base, task)?;
        if let Some(name) = &self.medium {
            task.stage("fetch", 0, Unit::Bytes);
            let place = scratch.path().join("medium.iso");
            needed(get.save(name, &place, MEDIUM_LIMIT)?, name)?;
            return Ok(Fetched { _scratch: scratch, place });
        }
        if keys.is_empty() {
            return Err(Error::invalid("a tree that is fetched needs the key that its packages are signed with")
                .hint("give it with --key FILE; a distribution publishes it as RPM-GPG-KEY-…"));
        }
        let place = scratch.path().join("tree");
        std::fs::create_dir(&place).map_err(|e| Error::io("make", place.display(), e))?;
        tree(&get, &place, task)?;
        Ok(Fetched { _scratch: scratch, place })
    }
}

fn tree(get: &Getter<'_>, place: &Path, task: &Task) -> Result<()> {
    task.stage("list", 0, Unit::Entries);
    let mut repositories = vec![String::new()];
    if save(get, place, ".treeinfo", DOCUMENT_LIMIT)? {
        let path = place.join(".treeinfo");
        let info = TreeInfo::parse(&std::fs::read(&path).map_err(|e| Error::io("read", path.display(), e))?)?;
        let own = info.variants.iter().map(|v| beneath("", &v.repository)).collect::<Result<Vec<_>>>()?;
        if !own.is_empty() {
            repositories = own;
        }
    }
    save(get, place, ".discinfo", treeinfo::LIMIT)?;
    for repository in &repositories {
        let repomd = super::files::join(repository, REPOMD);
        needed(save(get, place, &repomd, DOCUMENT_LIMIT)?, &repomd)?;
        let path = place.join(&repomd);
        let bytes = std::fs::read(&path).map_err(|e| Error::io("read", path.display(), e))?;
        for record in repo::parse_repomd(&bytes)? {
            let file = super::files::join(repository, &record.location);
            needed(save(get, place, &file, record.size.unwrap_or(METADATA_LIMIT).min(METADATA_LIMIT))?, &file)?;
        }
    }
    let found = recognise(&Source::open(place, task)?, task)?;
    let packages: Vec<(String, u64)> =
        found.repositories.iter().flat_map(|r| r.packages.iter().map(|p| (r.place_of(p), p.size))).collect();
    task.stage("fetch", packages.iter().map(|p| p.1).sum(), Unit::Bytes);
    let (failure, next) = (Failure::default(), AtomicUsize::new(0));
    failure.on_threads(THREADS, || {
        while let Some((path, size)) = packages.get(next.fetch_add(1, Ordering::Relaxed)) {
            failure.check(task)?;
            needed(save(get, place, path, *size)?, path)?;
            task.advance(*size);
        }
        Ok(())
    })
}

/// Fetches a file of the tree, whose path is checked; false when there is none.
fn save(get: &Getter<'_>, place: &Path, path: &str, limit: u64) -> Result<bool> {
    let to = place.join(path);
    if let Some(directory) = to.parent() {
        std::fs::create_dir_all(directory).map_err(|e| Error::io("make", directory.display(), e))?;
    }
    get.save(path, &to, limit)
}

fn needed(there: bool, path: &str) -> Result<()> {
    let missing = || Error::not_found(format!("there is no {path} at this address"));
    if there {
        Ok(())
    } else {
        Err(missing().hint("it is the address of an ISO image, or of a directory with .treeinfo or repodata"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn addresses_are_told_from_files() {
        let of = |text: &str| Address::of(Path::new(text)).map(|a| a.map(|a| (a.base, a.medium)));
        assert_eq!(of("/srv/a.iso").unwrap(), None);
        let base = |text: &str| Base::Url(text.to_owned());
        let iso = of("HTTPS://h.example/a/b.iso").unwrap();
        assert_eq!(iso, Some((base("https://h.example/a"), Some("b.iso".to_owned()))));
        assert_eq!(of("http://h.example/9.4/os/").unwrap(), Some((base("http://h.example/9.4/os"), None)));
        assert_eq!(of("ftp://h.example/x").unwrap_err().kind(), ErrorKind::Unsupported);
        for bad in ["http://u:p@h.example/x", "http:///x", "http://h.example/a b"] {
            assert_eq!(of(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }
}
