//! Signatures of packages, as rpm sees them: it owns the format, and is what will install them.
//!
//! ```text
//!  keys ──> a database of their own ──> rpmkeys -Kv --nodigest /dev/stdin <── the front of a package, up to its header
//! ```
//!
//! The header has the digest of the payload. That the whole file is the right one says its digest in the metadata.

use super::document::Key;
use crate::error::{Error, Result};
use crate::job::Task;
use crate::sys::program::{Call, Program};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What checks signatures. Its directory goes with it.
pub(super) struct Signatures {
    dir: PathBuf,
}

impl Signatures {
    /// Begins, with keys.
    ///
    /// # Errors
    /// `Unsupported` when rpm is not installed; `Integrity` when it does not take a key.
    pub(super) fn begin(keys: &[Key], task: &Task) -> Result<Self> {
        Program::Rpmkeys.find()?;
        let dir = std::env::temp_dir().join(format!("cv-keys-{:016x}", crate::sys::clock::random_u64()));
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&dir).map_err(|e| Error::io("make", dir.display(), e))?;
        let out = Self { dir };
        for (n, key) in keys.iter().enumerate() {
            let file = out.dir.join(format!("{n}.asc"));
            std::fs::write(&file, &key.text).map_err(|e| Error::io("write", file.display(), e))?;
            let call = out.call().arg("--import").arg(&file);
            let refused =
                |e: Error| Error::integrity(format!("rpm does not take the key {}", key.info.fingerprint)).cause(e);
            call.run(&|| task.check().is_err()).map_err(|e| if task.check().is_err() { e } else { refused(e) })?;
        }
        Ok(out)
    }

    fn call(&self) -> Call {
        let database = Path::new(&self.dir).join("db");
        let define = format!("_dbpath {}", database.display());
        Call::new(Program::Rpmkeys).arg("--define").arg(define).env("HOME", &self.dir).limit(LIMIT)
    }

    /// Whether a package, of which this is the front, is signed by one of the keys; if not, why.
    ///
    /// # Errors
    /// When rpm does not run; `Cancelled`.
    pub(super) fn check(&self, front: Vec<u8>, task: &Task) -> Result<Option<String>> {
        let call = self.call().args(["-Kv", "--nodigest", "/dev/stdin"]).stdin(front);
        // The status says nothing: it is 0 of what is not signed, and 1 of a front.
        let output = call.run_whatever(&|| task.check().is_err())?;
        Ok(verdict(&String::from_utf8_lossy(&output.stdout)))
    }
}

impl Drop for Signatures {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What `rpmkeys -Kv` says of the signatures of a header; `None` when all is well.
fn verdict(text: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).filter(|l| l.starts_with("Header V") && l.contains(" Signature"));
    let (good, bad): (Vec<&str>, Vec<&str>) = lines.partition(|l| l.ends_with(": OK"));
    let id = |line: &str| line.split("key ID ").nth(1).and_then(|l| l.split(':').next()).unwrap_or("?").to_owned();
    match (good.first(), bad.first()) {
        (Some(_), None) => None,
        (_, Some(line)) if line.ends_with("NOKEY") => Some(format!("signed by another key, {}", id(line))),
        (_, Some(line)) => Some(format!("its signature by key {} is bad", id(line))),
        (None, None) => Some("it is not signed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn each_answer_of_rpm_is_understood() {
        let ok = "/dev/stdin:\n    Header V4 RSA/SHA512 Signature, key ID 9df9000e: OK\n    RSA signature: NOTFOUND\n";
        assert_eq!(verdict(ok), None);
        let other = "/dev/stdin:\n    Header V4 RSA/SHA512 Signature, key ID a9e684df: NOKEY\n";
        assert_eq!(verdict(other).unwrap(), "signed by another key, a9e684df");
        assert_eq!(verdict(&ok.replace("OK", "BAD")).unwrap(), "its signature by key 9df9000e is bad");
        for none in ["/dev/stdin:\n", "", "/dev/stdin:\n    RSA signature: NOTFOUND\n"] {
            assert_eq!(verdict(none).unwrap(), "it is not signed");
        }
    }
}
