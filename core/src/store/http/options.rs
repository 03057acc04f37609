//! Which web servers hold a store, and how they are spoken to.

use crate::error::{Error, Result};
use crate::web::{Url, WebOptions};
use std::str::FromStr;

/// Most mirrors of a store.
const MIRRORS: usize = 64;

/// A mirror as people write it: `URL` or `URL=WEIGHT`.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorOf {
    /// Where it is.
    pub url: Url,
    /// How much of the requests it gets, compared with the others; 1 unless said otherwise.
    pub weight: f64,
}

impl From<Url> for MirrorOf {
    fn from(url: Url) -> Self {
        Self { url, weight: 1.0 }
    }
}

impl FromStr for MirrorOf {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("a mirror is URL or URL=WEIGHT, with a weight from 0.001 to 1000");
        let Some((url, weight)) = text.rsplit_once('=') else {
            return Ok(Self { url: Url::parse(text)?, weight: 1.0 });
        };
        let weight: f64 = weight.parse().map_err(|_| wrong())?;
        if !(0.001..=1000.0).contains(&weight) {
            return Err(wrong());
        }
        Ok(Self { url: Url::parse(url)?, weight })
    }
}

/// How a store behind web servers is reached.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The store.
    pub url: Url,
    /// Other servers with the same store. None of them is trusted.
    pub mirrors: Vec<MirrorOf>,
    /// Certificates, keys, proxy.
    pub web: WebOptions,
}

impl HttpOptions {
    /// One server, and what the system trusts.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self { url, mirrors: Vec::new(), web: WebOptions::default() }
    }

    /// One server, with what `CV_MIRRORS` (mirrors with white space in between), `CV_CA`, `CV_CLIENT_CERT`, `CV_CLIENT_KEY` and
    /// `CV_PROXY` say.
    ///
    /// # Errors
    /// `Invalid` when one of them is not well formed.
    pub fn from_environment(url: Url) -> Result<Self> {
        let said = std::env::var("CV_MIRRORS").unwrap_or_default();
        let mirrors = said.split_whitespace().map(str::parse).collect::<Result<_>>()?;
        Ok(Self { url, mirrors, web: WebOptions::from_environment()? })
    }

    /// The store that all of these have, with what the environment says; `None` without any of them.
    ///
    /// # Errors
    /// As [`HttpOptions::from_environment`].
    pub fn of_mirrors(mirrors: &[MirrorOf]) -> Result<Option<Self>> {
        let Some(first) = mirrors.first() else { return Ok(None) };
        let mut options = Self::from_environment(first.url.clone())?;
        // The first one, too: it may have a weight.
        options.mirrors.extend_from_slice(mirrors);
        Ok(Some(options))
    }

    /// All servers with their weights, each once.
    pub(super) fn all(&self) -> Vec<(Url, f64)> {
        let mut out = vec![(self.url.clone(), 1.0)];
        for MirrorOf { url, weight } in &self.mirrors {
            match out.iter_mut().find(|(known, _)| known == url) {
                Some((_, known)) => *known = *weight,
                None => out.push((url.clone(), *weight)),
            }
        }
        out
    }

    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> Result<()> {
        if self.mirrors.len() < MIRRORS {
            return Ok(());
        }
        Err(Error::limit(format!("a store is read from at most {MIRRORS} mirrors")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_mirror_has_a_weight() {
        let of = |text: &str| text.parse::<MirrorOf>().map(|m| (m.url.to_string(), m.weight));
        assert_eq!(of("http://a/b").unwrap(), ("http://a/b".into(), 1.0));
        assert_eq!(of("http://a/b=2.5").unwrap(), ("http://a/b".into(), 2.5));
        for bad in ["http://a=0", "http://a=-1", "http://a=x", "http://a=NaN", "a=1", "http://a=1e9"] {
            assert_eq!(of(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }

    #[test]
    fn mirrors_may_be_all_that_there_is() {
        assert!(HttpOptions::of_mirrors(&[]).unwrap().is_none());
        let mirrors = ["http://a=3", "http://b"].map(|m| m.parse().unwrap());
        let all = HttpOptions::of_mirrors(&mirrors).unwrap().unwrap().all();
        let weights: Vec<_> = all.iter().map(|(url, weight)| (url.to_string(), *weight)).collect();
        assert!(weights.starts_with(&[("http://a".into(), 3.0), ("http://b".into(), 1.0)]), "{weights:?}");
    }

    #[test]
    fn a_server_that_is_named_twice_is_asked_as_one() {
        let url = Url::parse("http://a").unwrap();
        let mirrors = ["http://b", "http://a=3"].iter().map(|m| m.parse().unwrap()).collect();
        let options = HttpOptions { mirrors, ..HttpOptions::new(url) };
        let all: Vec<_> = options.all().into_iter().map(|(url, weight)| (url.to_string(), weight)).collect();
        assert_eq!(all, [("http://a".to_owned(), 3.0), ("http://b".to_owned(), 1.0)]);
    }
}
