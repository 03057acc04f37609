//! Whom a client of a web server believes, and who it says it is.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Certificates and keys of a client; the default believes what the system does.
#[derive(Clone, Debug, Default)]
pub struct WebOptions {
    /// A PEM file of authorities: a server is believed when one of these vouches for it, and no other one counts.
    pub ca: Option<PathBuf>,
    /// PEM files of the certificate (with those in between) and the key by which a server knows this client.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `http://HOST:PORT`: everything goes through it. What `http_proxy` says counts for nothing.
    pub proxy: Option<String>,
}

impl WebOptions {
    /// What `CV_CA`, `CV_CLIENT_CERT`, `CV_CLIENT_KEY` and `CV_PROXY` say.
    ///
    /// # Errors
    /// `Invalid` when there is a certificate without a key, or the other way round.
    pub fn from_environment() -> Result<Self> {
        let path = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let identity = match (path("CV_CLIENT_CERT"), path("CV_CLIENT_KEY")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(Error::invalid("CV_CLIENT_CERT and CV_CLIENT_KEY go together")),
        };
        let proxy = std::env::var("CV_PROXY").ok().filter(|v| !v.is_empty());
        Ok(Self { ca: path("CV_CA"), identity, proxy })
    }
}

/// The bytes of a PEM file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    /// No bundle of certificates is larger.
    const LIMIT: u64 = 4 << 20;
    let size = std::fs::metadata(path).map_err(|e| Error::io("read", path.display(), e))?.len();
    if size > LIMIT {
        return Err(Error::invalid(format!("{} is no file of certificates or keys", path.display())));
    }
    std::fs::read(path).map_err(|e| Error::io("read", path.display(), e))
}
