//! Where a store is: a directory, `s3://BUCKET/PREFIX`, or `https://HOST/PATH`. A value of the type is well formed.

use super::blob::BlobStore;
use super::local::LocalDir;
use crate::error::{Error, ErrorKind, Result};
use crate::web::Url;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The place of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A directory.
    Directory(PathBuf),
    /// A prefix in a bucket.
    S3 {
        /// The bucket.
        bucket: String,
        /// What the keys of the store begin with, without slashes at its ends; empty for the whole bucket.
        prefix: String,
    },
    /// On a web server, to be read.
    Http(Url),
}

impl Location {
    /// Reads a place as it stands after `--store`. A directory whose name looks like a URL is given as `./s3:/…`.
    ///
    /// # Errors
    /// `Invalid` for a bucket or prefix that cannot be one; `Unsupported` for a URL of another kind.
    pub fn parse(place: impl AsRef<Path>) -> Result<Self> {
        let place = place.as_ref();
        let Some((scheme, rest)) = url(place.as_os_str().as_bytes()) else {
            return Ok(Self::Directory(place.to_owned()));
        };
        if [&b"http"[..], b"https"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) {
            return Url::parse(&place.to_string_lossy()).map(Self::Http);
        }
        if scheme != b"s3" {
            let scheme = String::from_utf8_lossy(scheme);
            return Err(Error::unsupported(format!("there are no stores at {scheme}://"))
                .hint("give a directory, s3://BUCKET/PREFIX or https://HOST/PATH"));
        }
        let wrong = |what: &str| Error::invalid(format!("{}: {what}", place.display())).hint("give s3://BUCKET/PREFIX");
        let rest = std::str::from_utf8(rest).map_err(|_| wrong("it is no UTF-8"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if !(3..=63).contains(&bucket.len())
            || !bucket.bytes().all(|b| plain(b) || matches!(b, b'-' | b'.'))
            || !bucket.bytes().next().is_some_and(plain)
            || !bucket.bytes().next_back().is_some_and(plain)
        {
            return Err(wrong("a bucket has 3 to 63 small letters, digits, dots and hyphens"));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let good = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~+=@,".contains(&b))
        };
        if !prefix.is_empty() && !prefix.split('/').all(good) {
            return Err(wrong("a prefix has letters, digits, -_.~+=@, and single slashes in between"));
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// The backend for a store that is there.
    pub(super) fn open(&self) -> Result<Box<dyn BlobStore>> {
        match self {
            Self::Directory(path) => Ok(Box::new(LocalDir::open(path)?)),
            Self::S3 { bucket, prefix } => s3(bucket, prefix, false),
            Self::Http(url) => http(url),
        }
    }

    /// The backend for a new store: an empty place, which is made where that can be.
    pub(super) fn make(&self) -> Result<Box<dyn BlobStore>> {
        match self {
            Self::Directory(path) => Ok(Box::new(LocalDir::make(path)?)),
            Self::S3 { bucket, prefix } => s3(bucket, prefix, true),
            Self::Http(url) => Err(Error::unsupported(format!("no store can be made at {url}"))
                .hint("make it where it shall lie, and let cvctl serve or a web server hand it out")),
        }
    }

    pub(super) fn occupied(&self) -> Error {
        Error::new(ErrorKind::Conflict, format!("{self} is a store already"))
    }
}

#[cfg(feature = "s3")]
fn s3(bucket: &str, prefix: &str, new: bool) -> Result<Box<dyn BlobStore>> {
    let backend = super::s3::S3::connect(bucket, prefix, &super::s3::S3Options::from_environment()?)?;
    if new {
        backend.expect_empty()?;
    }
    Ok(Box::new(backend))
}

#[cfg(not(feature = "s3"))]
fn s3(_: &str, _: &str, _: bool) -> Result<Box<dyn BlobStore>> {
    Err(Error::unsupported("this build of libcv has no stores in S3").hint("use cvctl, or build with the feature s3"))
}

#[cfg(feature = "http")]
fn http(url: &Url) -> Result<Box<dyn BlobStore>> {
    Ok(Box::new(super::http::Http::connect(&super::http::HttpOptions::from_environment(url.clone())?)?))
}

#[cfg(not(feature = "http"))]
fn http(_: &Url) -> Result<Box<dyn BlobStore>> {
    Err(Error::unsupported("this build of libcv reads no stores from web servers").hint("build with the feature http"))
}

/// Scheme and rest of what looks like a URL.
fn url(place: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = place.windows(3).position(|w| w == b"://")?;
    let scheme = &place[..at];
    let letters = scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    (letters && scheme.first().is_some_and(u8::is_ascii_alphabetic)).then_some((scheme, &place[at + 3..]))
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(place: &str) -> Result<Self> {
        Self::parse(place)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Http(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_directory_or_a_prefix_in_a_bucket() {
        let s3 = |b: &str, p: &str| Location::S3 { bucket: b.into(), prefix: p.into() };
        for (text, bucket, prefix, shown) in [
            ("s3://images", "images", "", "s3://images"),
            ("s3://images/", "images", "", "s3://images"),
            ("s3://my.images-1/a/b/", "my.images-1", "a/b", "s3://my.images-1/a/b"),
        ] {
            let place = Location::parse(text).unwrap();
            assert_eq!((&place, place.to_string().as_str()), (&s3(bucket, prefix), shown), "{text}");
        }
        for text in ["/srv/images", "images", "./s3://x", "a/b://c", "s3:/x", "", "://x"] {
            assert_eq!(Location::parse(text).unwrap(), Location::Directory(text.into()), "{text}");
        }
        for text in ["s3://", "s3://ab", "s3://UPPER", "s3://-ab", "s3://abc-", "s3://key:secret@host/x", "s3://abc//x"]
        {
            assert_eq!(Location::parse(text).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
        for text in ["s3://abc/../x", "s3://abc/./x", "s3://abc/x y", "s3://abc/x//", "s3://abc/ü", "s3://abc/a?b"] {
            assert_eq!(Location::parse(text).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
        assert_eq!(Location::parse("HTTPS://Host/x/").unwrap().to_string(), "https://host/x");
        assert_eq!(Location::parse("http://u:p@host/x").unwrap_err().kind(), ErrorKind::Invalid);
        for text in ["ftp://host/x", "gs://bucket"] {
            assert_eq!(Location::parse(text).unwrap_err().kind(), ErrorKind::Unsupported, "{text}");
        }
    }
}
