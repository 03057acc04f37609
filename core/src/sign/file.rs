//! Keys in files.

use super::key::{PublicKey, Signer};
use super::pem;
use crate::error::{Error, ErrorKind, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Makes a key: the private half in `path`, which only its owner may read, the public half beside it in `path.pub`.
///
/// # Errors
/// `Conflict` when one of the two files exists: a key is never overwritten. Nothing is then written.
pub fn generate(path: &Path) -> Result<PublicKey> {
    let beside = public_path(path);
    if beside.symlink_metadata().is_ok() {
        return Err(exists(&beside));
    }
    let signer = Signer::generate()?;
    let private = create(path, 0o600, signer.to_pem()?.as_bytes())?;
    if let Err(e) = create(&beside, 0o644, signer.public().to_pem()?.as_bytes()) {
        let undone = std::fs::remove_file(path).map_err(|e| Error::io("remove", path.display(), e));
        return Err(e.with_failed_undo(undone));
    }
    // The names, too.
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = private.sync_all().and_then(|()| File::open(parent)?.sync_all());
    synced.map_err(|e| Error::io("sync", path.display(), e))?;
    Ok(signer.public())
}

/// `FILE.pub` of `FILE`.
fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn exists(path: &Path) -> Error {
    Error::new(ErrorKind::Conflict, format!("{} exists already, and a key is never overwritten", path.display()))
        .hint("give another name")
}

fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => Error::io("create", path.display(), e),
    })?;
    if let Err(e) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        let _ = std::fs::remove_file(path);
        return Err(Error::io("write", path.display(), e));
    }
    Ok(file)
}

/// The bytes of a file of keys, wiped when they are dropped.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no key {}", path.display())),
        _ => Error::io("open", path.display(), e),
    })?;
    // At once as large as it may get: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
    let room = bytes.capacity() as u64;
    let n = file.take(room).read_to_end(&mut bytes).map_err(|e| Error::io("read", path.display(), e))?;
    if n as u64 == room {
        return Err(Error::limit(format!("{} is too long for a file of keys", path.display())));
    }
    Ok(bytes)
}

impl Signer {
    /// Reads the private key of a file.
    ///
    /// # Errors
    /// `NotFound`, and as [`Signer::from_pem`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        Self::from_pem(pem::text(&read(path.as_ref())?, &name)?, &name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::Keyring;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let (path, beside) = (dir.path().join("k"), dir.path().join("k.pub"));
        let public = generate(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Signer::read(&path).unwrap().public(), public);
        assert_eq!(Keyring::read(&[&beside]).unwrap().keys(), [public]);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(generate(&path).unwrap_err().kind(), ErrorKind::Conflict);
        std::fs::remove_file(&beside).unwrap();
        assert_eq!(generate(&path).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::write(dir.path().join("other.pub"), "mine").unwrap();
        assert_eq!(generate(&dir.path().join("other")).unwrap_err().kind(), ErrorKind::Conflict);
        assert!(!dir.path().join("other").exists());
        assert_eq!(Signer::read(dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(dir.path().join("long"), vec![b'x'; 70 << 10]).unwrap();
        assert_eq!(Signer::read(dir.path().join("long")).unwrap_err().kind(), ErrorKind::Limit);
    }
}
