//! Names of servers become addresses. What was found is kept for a little while: the resolver of ureq starts a thread for each request that has a
//! time limit, also when its connection is there already, and a tenth of the time of an image went into that.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long an address is believed.
const KEPT: Duration = Duration::from_secs(10);

/// A resolver that remembers.
#[derive(Debug, Default)]
pub(super) struct Remembering {
    found: Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>,
}

impl Resolver for Remembering {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let name = format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |a| a.as_str()));
        let lock = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, addresses)) = lock().get(&name)
            && when.elapsed() < KEPT
        {
            let mut out = self.empty();
            addresses.iter().for_each(|a| out.push(*a));
            return Ok(out);
        }
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        lock().insert(name, (Instant::now(), found.to_vec()));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_for_its_name() {
        let (resolver, config) = (Remembering::default(), Config::default());
        let ask =
            |uri: &str| resolver.resolve(&uri.parse().unwrap(), &config, NextTimeout::default()).unwrap().to_vec();
        for _ in 0..2 {
            assert_eq!(ask("http://127.0.0.1:81/x"), ["127.0.0.1:81".parse().unwrap()]);
            assert_eq!(ask("http://127.0.0.2/y"), ["127.0.0.2:80".parse().unwrap()]);
            assert_eq!(ask("https://127.0.0.2/y"), ["127.0.0.2:443".parse().unwrap()]);
        }
        assert_eq!(resolver.found.lock().unwrap().len(), 3);
    }
}
