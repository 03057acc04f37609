//! `--mirror` and `--ca`: how a store behind web servers is reached. What is not said comes from the environment.

use crate::error::Result;
use crate::store::http::{HttpOptions, MirrorOf};
use crate::store::{Location, Store};
use crate::web::Url;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Clone, Default)]
pub(super) struct Mirrors {
    /// Another server with the same store, and how much it gets of the requests (several times)
    #[arg(long = "mirror", global = true, value_name = "URL[=WEIGHT]", value_parser = mirror)]
    mirrors: Vec<MirrorOf>,
    /// PEM file of the authorities that servers are believed by, and no others
    #[arg(long, env = "CV_CA", global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file with the certificate that this client shows
    #[arg(long, env = "CV_CLIENT_CERT", global = true, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, env = "CV_CLIENT_KEY", global = true, value_name = "FILE")]
    client_key: Option<PathBuf>,
}

fn mirror(text: &str) -> Result<MirrorOf, String> {
    text.parse().map_err(|e: crate::Error| e.to_string())
}

impl Mirrors {
    /// Opens a store; what is said here counts where it lies behind web servers.
    pub(super) fn open(&self, place: &Path) -> Result<Store> {
        match Location::parse(place)? {
            Location::Http(url) => Store::open_http(&self.of(url)?),
            _ => Store::open(place),
        }
    }

    /// The store of `--mirror` alone; `None` where there is none.
    #[cfg(feature = "mcast")]
    pub(super) fn alone(&self) -> Result<Option<Store>> {
        HttpOptions::of_mirrors(&self.mirrors)?.map(|of| Store::open_http(&self.shown(of))).transpose()
    }

    /// How the store at `url` is reached.
    pub(super) fn of(&self, url: Url) -> Result<HttpOptions> {
        let mut options = HttpOptions::from_environment(url)?;
        options.mirrors.extend(self.mirrors.iter().cloned());
        Ok(self.shown(options))
    }

    /// With the certificates that are named here.
    fn shown(&self, mut options: HttpOptions) -> HttpOptions {
        options.web.ca = self.ca.clone().or(options.web.ca);
        options.web.identity = self.client_cert.clone().zip(self.client_key.clone()).or(options.web.identity);
        options
    }
}
