//! How to reach a server: endpoint, region, credentials, patience. From the places where other programs look for them,
//! or set by hand.
//!
//! ```text
//! AWS_* variables ──> the profile that AWS_PROFILE names, or `default` ──> a role: web identity, container, machine
//! ```

use super::failure::{Place, no_credentials};
use super::profile::{self, Profile};
use super::transport::{Connector, Patience};
use crate::error::{Error, ErrorKind, Result};
use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const REGION: &str = "us-east-1";
/// A machine that has a metadata service is next to it.
const METADATA_PATIENCE: Patience = Patience { total: Duration::from_secs(4), attempts: 3 };
const METADATA_CONNECT: Duration = Duration::from_secs(1);

/// How to reach a server that speaks S3.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct S3Options {
    /// Such as `http://10.0.0.7:3900`; `None` is Amazon's.
    pub endpoint: Option<String>,
    /// The region; `None` is `us-east-1`.
    pub region: Option<String>,
    /// Who asks; `None` is a role that the environment gives to this process or machine.
    pub keys: Option<Keys>,
    /// A file with certificates, in PEM, that sign the server's; `None` is those of the system.
    pub ca_bundle: Option<PathBuf>,
    /// How long a request is repeated that fails for a reason that may pass.
    pub retry_for: Duration,
    /// How often a request is made at most.
    pub attempts: u32,
    /// How long to wait for a connection.
    pub connect: Duration,
    /// How long a server may say nothing, the time in which a part of an upload travels included.
    pub stall: Duration,
    /// What else the environment says: encryption, roles, the style of addresses.
    others: Others,
    no_metadata: bool,
}

/// An access key.
#[derive(Clone)]
pub struct Keys {
    /// Its name.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// The token of a key for some hours.
    pub token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Settings for object_store. Among them may be a key for encryption, so no value is shown.
#[derive(Clone, Default)]
struct Others(Vec<(AmazonS3ConfigKey, String)>);

impl Others {
    fn has_role(&self) -> bool {
        self.0.iter().any(|(key, _)| is_role(key))
    }
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            keys: None,
            ca_bundle: None,
            retry_for: Duration::from_secs(30),
            attempts: u32::MAX,
            connect: Duration::from_secs(5),
            stall: Duration::from_secs(60),
            others: Others::default(),
            no_metadata: false,
        }
    }
}

impl S3Options {
    /// What the `AWS_*` variables say, and then the profile.
    ///
    /// # Errors
    /// `Invalid` when half of a key is missing, `NotFound` for a profile that is not there, `Unsupported` for one that
    /// has to be logged in to.
    pub fn from_environment() -> Result<Self> {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .filter(|(k, v)| (k.starts_with("AWS_") || k == "HOME") && !v.is_empty())
            .collect();
        Self::read(&variables, |path| std::fs::read_to_string(path).unwrap_or_default())
    }

    fn read(variables: &[(String, String)], file: impl Fn(&Path) -> String) -> Result<Self> {
        let get = |name: &str| variables.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        let home = |name: &str| PathBuf::from(get("HOME").unwrap_or_default()).join(".aws").join(name);
        let path = |variable, name| get(variable).map_or_else(|| home(name), PathBuf::from);
        let config = file(&path("AWS_CONFIG_FILE", "config"));
        let credentials = file(&path("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
        let named = get("AWS_PROFILE").or_else(|| get("AWS_DEFAULT_PROFILE"));
        let profile = profile::find(named.as_deref().unwrap_or("default"), &config, &credentials);
        if let (Some(name), None) = (&named, &profile) {
            return Err(Error::not_found(format!("there is no profile {name} in ~/.aws/config or ~/.aws/credentials"))
                .hint("see AWS_PROFILE"));
        }
        let profile = profile.unwrap_or_default();
        let mut others = Others(variables.iter().filter_map(|(k, v)| Some((other(k)?, v.clone()))).collect());
        let keys = keys(get, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")?;
        let keys = if keys.is_none() && !others.has_role() { keys_of(&profile, &mut others)? } else { keys };
        let set = |key: &str| profile.get(key).cloned();
        let usual = Self::default();
        Ok(Self {
            endpoint: get("AWS_ENDPOINT_URL_S3")
                .or_else(|| get("AWS_ENDPOINT_URL"))
                .or_else(|| get("AWS_ENDPOINT"))
                .or_else(|| set("endpoint_url")),
            region: get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")).or_else(|| set("region")),
            keys,
            ca_bundle: get("AWS_CA_BUNDLE").or_else(|| set("ca_bundle")).map(PathBuf::from),
            attempts: get("AWS_MAX_ATTEMPTS").and_then(|n| n.parse().ok()).unwrap_or(usual.attempts).max(1),
            others,
            no_metadata: get("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")),
            ..usual
        })
    }

    /// The server, as errors name it.
    pub(super) fn peer(&self) -> String {
        let region = self.region.as_deref().unwrap_or(REGION);
        self.endpoint.clone().unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"))
    }

    /// A client for a bucket.
    pub(super) fn client(&self, bucket: &str) -> Result<AmazonS3> {
        let peer = self.peer();
        let wrong = |what: &str| Error::invalid(format!("the endpoint {what}")).hint("such as http://10.0.0.7:3900");
        let address = peer.strip_prefix("http://").or_else(|| peer.strip_prefix("https://"));
        match address {
            Some("") => return Err(wrong("has no host")),
            Some(a) if a.contains('@') => return Err(wrong("must not have credentials in it")),
            Some(a) if a.contains([' ', '?', '#']) => return Err(wrong(&format!("{peer} is no address"))),
            Some(_) => {}
            None => return Err(wrong("does not begin with http:// or https://")),
        }
        let unfit =
            |e: object_store::Error| Error::invalid("the options for S3 do not fit together").cause(e.to_string());
        let mut builder = AmazonS3Builder::new();
        for (key, value) in &self.others.0 {
            builder = builder.with_config(*key, value);
        }
        builder = builder
            .with_bucket_name(bucket)
            .with_region(self.region.as_deref().unwrap_or(REGION))
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // One object at a time is what every server can do.
            .with_disable_bulk_delete(true)
            // The transport repeats; it sees more.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/')).with_allow_http(true);
        }
        if let Some(keys) = &self.keys {
            builder = builder.with_access_key_id(&keys.id).with_secret_access_key(&keys.secret);
            builder = keys.token.iter().fold(builder, AmazonS3Builder::with_token);
        } else {
            if self.no_metadata && !self.others.has_role() {
                return Err(no_credentials(&Place { location: format!("s3://{bucket}"), bucket: bucket.into(), peer }));
            }
            let client = self.http(METADATA_CONNECT, true)?;
            let connector = Connector { client, patience: METADATA_PATIENCE, credentials: true };
            let role = builder.clone().with_http_connector(connector).build().map_err(unfit)?;
            builder = builder.with_credentials(role.credentials().clone());
        }
        let client = self.http(self.connect, peer.starts_with("https:"))?;
        let patience = Patience { total: self.retry_for, attempts: self.attempts };
        builder.with_http_connector(Connector { client, patience, credentials: false }).build().map_err(unfit)
    }

    /// A client for HTTP. The provider of TLS is given, not installed: a library has no business with what its host uses.
    /// A server without TLS is reached from a root that has no certificates, too.
    fn http(&self, connect: Duration, tls: bool) -> Result<reqwest::Client> {
        let failed = |e: &dyn std::error::Error| {
            Error::new(ErrorKind::Failed, "a client for S3 cannot be made").cause(e.to_string())
        };
        let mut roots = rustls::RootCertStore::empty();
        if let Some(bundle) = &self.ca_bundle {
            let unread = |e| Error::invalid(format!("{} has no certificates", bundle.display())).cause(format!("{e}"));
            for certificate in CertificateDer::pem_file_iter(bundle).map_err(unread)? {
                roots.add(certificate.map_err(unread)?).map_err(|e| failed(&e))?;
            }
        } else if tls {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| failed(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .connect_timeout(connect)
            .read_timeout(self.stall)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("libcv/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| failed(&e))
    }
}

/// An option that is not decided here.
fn other(variable: &str) -> Option<AmazonS3ConfigKey> {
    use AmazonS3ConfigKey as K;
    let decided = |k: &K| {
        let keys = matches!(k, K::AccessKeyId | K::SecretAccessKey | K::Token);
        let place = matches!(k, K::Region | K::DefaultRegion | K::Endpoint | K::S3Endpoint | K::Bucket);
        keys || place || matches!(k, K::ConditionalPut | K::CopyIfNotExists | K::DisableBulkDelete | K::Client(_))
    };
    variable.to_ascii_lowercase().parse().ok().filter(|k| variable.starts_with("AWS_") && !decided(k))
}

fn is_role(key: &AmazonS3ConfigKey) -> bool {
    use AmazonS3ConfigKey as K;
    matches!(
        key,
        K::WebIdentityTokenFile
            | K::ContainerCredentialsRelativeUri
            | K::ContainerCredentialsFullUri
            | K::SkipSignature
            | K::MetadataEndpoint
    )
}

fn keys(get: impl Fn(&str) -> Option<String>, id: &str, secret: &str, token: &str) -> Result<Option<Keys>> {
    let half = |missing: &str| Err(Error::invalid(format!("{missing} is missing beside the other half of the key")));
    match (get(id), get(secret)) {
        (Some(id), Some(secret)) => Ok(Some(Keys { id, secret, token: get(token) })),
        (Some(_), None) => half(secret),
        (None, Some(_)) => half(id),
        (None, None) => Ok(None),
    }
}

/// The keys of a profile, or its role.
fn keys_of(profile: &Profile, others: &mut Others) -> Result<Option<Keys>> {
    let get = |key: &str| profile.get(key).cloned();
    let found = keys(get, "aws_access_key_id", "aws_secret_access_key", "aws_session_token")?;
    if found.is_some() {
        return Ok(found);
    }
    if let (Some(token), Some(role)) = (get("web_identity_token_file"), get("role_arn")) {
        others.0.push((AmazonS3ConfigKey::WebIdentityTokenFile, token));
        others.0.push((AmazonS3ConfigKey::RoleArn, role));
        return Ok(None);
    }
    let foreign = ["role_arn", "sso_session", "sso_start_url", "credential_process", "login_session"];
    match foreign.into_iter().find(|key| profile.contains_key(*key)) {
        Some(key) => Err(Error::unsupported(format!("the profile gets its keys by {key}, which libcv cannot do"))
            .hint("let aws configure export-credentials --format env give keys for some hours")),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], config: &str, credentials: &str) -> Result<S3Options> {
        let variables: Vec<_> = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        S3Options::read(&variables, |path| match path.file_name().and_then(|n| n.to_str()) {
            Some("config") => config.to_owned(),
            _ => credentials.to_owned(),
        })
    }

    fn id(o: &S3Options) -> Option<&str> {
        o.keys.as_ref().map(|k| k.id.as_str())
    }

    const CONFIG: &str = "[default]\nregion = r0\n[profile lab]\nregion = r1\nendpoint_url = http://lab\n[profile sso]\nsso_session = x\n";
    const CREDENTIALS: &str = "[default]\naws_access_key_id = D\naws_secret_access_key = ds\n[lab]\naws_access_key_id = L\n\
                               aws_secret_access_key = ls\naws_session_token = lt\n";

    #[test]
    fn variables_count_more_than_a_profile() {
        let o = read(&[], CONFIG, CREDENTIALS).unwrap();
        assert_eq!((id(&o), o.region.as_deref(), o.endpoint.as_deref()), (Some("D"), Some("r0"), None));
        let o = read(&[("AWS_PROFILE", "lab")], CONFIG, CREDENTIALS).unwrap();
        assert_eq!((id(&o), o.region.as_deref(), o.endpoint.as_deref()), (Some("L"), Some("r1"), Some("http://lab")));
        assert_eq!(o.keys.unwrap().token.as_deref(), Some("lt"));
        let set = [
            ("AWS_PROFILE", "lab"),
            ("AWS_ACCESS_KEY_ID", "E"),
            ("AWS_SECRET_ACCESS_KEY", "es"),
            ("AWS_REGION", "r2"),
            ("AWS_DEFAULT_REGION", "r3"),
            ("AWS_ENDPOINT_URL", "http://all"),
            ("AWS_ENDPOINT_URL_S3", "http://s3"),
            ("AWS_MAX_ATTEMPTS", "3"),
        ];
        let o = read(&set, CONFIG, CREDENTIALS).unwrap();
        assert_eq!((id(&o), o.region.as_deref(), o.endpoint.as_deref()), (Some("E"), Some("r2"), Some("http://s3")));
        assert_eq!((o.keys.unwrap().token, o.attempts), (None, 3));
        let o = read(&[("AWS_SERVER_SIDE_ENCRYPTION", "AES256"), ("AWS_CONDITIONAL_PUT", "disabled")], "", "").unwrap();
        assert_eq!(o.others.0.len(), 1);
        assert!(o.keys.is_none());
    }

    #[test]
    fn what_cannot_be_is_said() {
        let fails = |variables: &[(&str, &str)]| read(variables, CONFIG, CREDENTIALS).unwrap_err().kind();
        assert_eq!(fails(&[("AWS_ACCESS_KEY_ID", "E")]), ErrorKind::Invalid);
        assert_eq!(fails(&[("AWS_PROFILE", "nobody")]), ErrorKind::NotFound);
        assert_eq!(fails(&[("AWS_PROFILE", "sso")]), ErrorKind::Unsupported);
        for endpoint in ["lab:3900", "http://", "http://a@b", "ftp://lab", "http://a b"] {
            let o = S3Options { endpoint: Some(endpoint.into()), ..S3Options::default() };
            assert_eq!(o.client("abc").err().unwrap().kind(), ErrorKind::Invalid, "{endpoint}");
        }
        let o = read(&[("AWS_EC2_METADATA_DISABLED", "true")], "", "").unwrap();
        assert_eq!(o.client("abc").err().unwrap().kind(), ErrorKind::Denied);
        let o = S3Options { ca_bundle: Some("/nowhere".into()), ..read(&[], CONFIG, CREDENTIALS).unwrap() };
        assert_eq!(o.client("abc").err().unwrap().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secrets = [
            ("AWS_ACCESS_KEY_ID", "who"),
            ("AWS_SECRET_ACCESS_KEY", "hush-1"),
            ("AWS_SESSION_TOKEN", "hush-2"),
            ("AWS_SSE_CUSTOMER_KEY_BASE64", "hush-3"),
        ];
        let shown = format!("{:?}", read(&secrets, "", "").unwrap());
        assert!(shown.contains("who") && shown.contains("CustomerEncryptionKey") && !shown.contains("hush"), "{shown}");
    }
}
