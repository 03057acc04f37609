//! Certificate and key of a server, and whom it lets in.

use crate::error::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate of the server, and those in between.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities: only clients with a certificate of one of them are served.
    pub client_ca: Option<PathBuf>,
}

pub(super) fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::invalid("TLS cannot be set up").cause(e))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| wrong(path, "no certificate of an authority", e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|e| wrong(path, "no certificates of authorities", e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| wrong(&files.key, "no private key", e))?;
    let mut config = builder
        .with_single_cert(certificates(&files.certificate)?, key)
        .map_err(|e| wrong(&files.certificate, "no certificate of this key", e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).map_err(|e| wrong(path, "no certificates", e))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| wrong(path, "no certificates", e))?;
    if found.is_empty() {
        return Err(Error::invalid(format!("there is no certificate in {}", path.display())));
    }
    Ok(found)
}

fn wrong(path: &Path, what: &str, e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid(format!("{} holds {what}", path.display())).cause(e)
}
