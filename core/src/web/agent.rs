//! The client: connections that are kept, TLS, and limits on time.

use super::options::{WebOptions, read};
use super::resolve::Remembering;
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// To be connected, TLS included.
    pub(crate) connect: Duration,
    /// Between two pieces of what it sends.
    pub(crate) silence: Duration,
    /// For a request as a whole.
    pub(crate) whole: Duration,
}

/// A client. Redirects are not followed, and bodies come as they are sent; statuses are no errors.
///
/// # Errors
/// `Invalid` when a file of certificates or keys is none; `Io`; `Invalid` for a proxy that is none.
pub(crate) fn agent(options: &WebOptions, pace: Pace, secure: bool) -> Result<ureq::Agent> {
    let mut config = ureq::Agent::config_builder()
        .user_agent(concat!("libcv/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections_per_host(16)
        .proxy(options.proxy.as_deref().map(proxy).transpose()?)
        .timeout_connect(Some(pace.connect))
        .timeout_recv_response(Some(pace.silence))
        .timeout_per_read(Some(pace.silence))
        .timeout_global(Some(pace.whole));
    if secure {
        config = config.tls_config(tls(options)?);
    }
    Ok(ureq::Agent::with_parts(config.build(), DefaultConnector::default(), Remembering::default()))
}

fn proxy(url: &str) -> Result<ureq::Proxy> {
    ureq::Proxy::new(url).map_err(|e| Error::invalid("the proxy is no http://HOST:PORT").cause(e))
}

/// Whom a client believes, and who it says it is.
///
/// # Errors
/// As [`agent`].
pub(crate) fn tls(options: &WebOptions) -> Result<TlsConfig> {
    let roots: Vec<Certificate<'static>> = match &options.ca {
        Some(path) => certificates(path)?,
        None => {
            let found = rustls_native_certs::load_native_certs().certs;
            found.iter().map(|c| Certificate::from_der(c).to_owned()).collect()
        }
    };
    let identity = match &options.identity {
        Some((certificate, key)) => Some(ClientCert::new_with_certs(&certificates(certificate)?, private_key(key)?)),
        None => None,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider).client_cert(identity);
    Ok(tls.root_certs(RootCerts::new_with_certs(&roots)).build())
}

/// The certificates of a PEM file, in their order.
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let (bytes, mut found) = (read(path)?, Vec::new());
    for item in parse_pem(&bytes) {
        match item {
            Ok(PemItem::Certificate(c)) => found.push(c),
            Ok(_) => {}
            Err(e) => return Err(Error::invalid(format!("{} cannot be read as PEM", path.display())).cause(e)),
        }
    }
    if found.is_empty() {
        return Err(Error::invalid(format!("there is no certificate in {}", path.display())));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>> {
    PrivateKey::from_pem(&read(path)?)
        .map_err(|e| Error::invalid(format!("there is no private key in {}", path.display())).cause(e))
}
