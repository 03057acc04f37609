//! A store behind web servers, to be read: one server, or several with the same store, none of them trusted. Any static web
//! server over the directory of a store is one; `cvctl serve` is one that can also list.
//!
//! ```text
//!  BlobStore ──> hints: all are asked ──┐
//!      │                                v
//!      └──────────────────────────> Pool: who is asked ──> exchange: one request, one deadline ──> server
//!                                       ^ proof: is it what its name says?
//! ```
//!
//! What makes it safe:
//!
//! - An object whose name comes from its content is compared with it at once; a release, a tag and a derived file have sums,
//!   and signatures above ([`super::Trust`]). Chunks are compared with their names where they are used, and a block that is
//!   wrong is fetched again from somebody else ([`BlobStore::disown`]).
//! - HEAD and CURRENT are hints that a mirror may have of yesterday, or make up: all are asked, and the newest that holds counts.
//! - Every request has a deadline, nothing is followed elsewhere, and no answer is longer than what was asked for.

pub(crate) mod api;
pub mod doctor;
mod exchange;
mod hints;
mod kept;
mod listing;
mod mirror;
mod options;
mod patience;
mod pool;
mod upload;

#[cfg(feature = "server")]
pub(crate) use listing::Listed;
pub use options::{HttpOptions, MirrorOf};

use super::blob::{BlobStore, BlobWriter, Meta};
use super::depot::Depot;
use super::proof;
use crate::error::{Error, ErrorKind, Result};
use exchange::Want;
use kept::Kept;
use pool::Pool;
use std::sync::Arc;
use upload::{Sending, Upload};

/// Longest release and record of a tag.
const POINTER: u64 = 64 << 10;

/// The backend of a store behind web servers.
pub struct Http {
    pool: Pool,
    /// The first server alone, where there are several.
    first: Option<Pool>,
    segments: Kept,
    /// Where there is a token to write with.
    upload: Option<Arc<Upload>>,
}

impl Http {
    /// The store that these servers have. Nothing is asked yet.
    ///
    /// # Errors
    /// `Invalid` when files of certificates or keys are none, or too many mirrors are named.
    pub fn connect(options: &HttpOptions) -> Result<Self> {
        options.check()?;
        let alone = HttpOptions { mirrors: Vec::new(), ..options.clone() };
        let first = (!options.mirrors.is_empty()).then(|| Pool::new(&alone)).transpose()?;
        Ok(Self { pool: Pool::new(options)?, first, segments: Kept::default(), upload: None })
    }

    /// The same, and what `token` lets us send goes to the first server.
    ///
    /// # Errors
    /// As [`Http::connect`]; `Denied` when the token is not valid, `Unsupported` when the server takes nothing; `Network`.
    pub fn sending(options: &HttpOptions, token: &str) -> Result<Self> {
        let mut http = Self::connect(options)?;
        http.upload = Some(Arc::new(Upload::connect(options, token)?));
        Ok(http)
    }

    /// The uuid of the store that the token is for.
    pub(super) fn granted_store(&self) -> Option<&str> {
        self.upload.as_ref().map(|u| u.granted().store.as_str())
    }

    /// Ends all requests when it is called: the store is of no more use then.
    #[cfg(feature = "server")]
    pub(crate) fn closer(&self) -> impl Fn() + Send + Sync + 'static {
        let closed = self.pool.closer();
        move || closed.abandoned.store(true, std::sync::atomic::Ordering::Relaxed)
    }

    fn whole(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        Ok(self.pool.fetch(key, Want::Whole(limit), &|bytes| proof::fits(key, bytes))?.bytes)
    }

    fn segment(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        if let Some(kept) = self.segments.get(key).filter(|kept| kept.len() as u64 <= limit) {
            return Ok(kept.to_vec());
        }
        let bytes = self.whole(key, limit)?;
        self.segments.put(key, &bytes);
        Ok(bytes)
    }

    fn read_only(&self) -> Error {
        Error::unsupported(format!("{} is read only: it is behind a web server", self.place()))
            .hint("work on the store where it lies")
    }
}

impl BlobStore for Http {
    fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        match key {
            super::locate::CURRENT => self.current(limit),
            // A block that is damaged in one copy is whole in another.
            super::locate::BAD => Err(Error::not_found(format!("{key} is of no use here"))),
            _ if key.ends_with(".idx") => self.segment(key, limit),
            _ => match hints::name_of_head(key) {
                Some(name) => self.head(name, limit),
                None => self.whole(key, limit),
            },
        }
    }

    fn get_range(&self, key: &str, offset: u64, buf: &mut [u8]) -> Result<()> {
        buf.copy_from_slice(&self.get_span(key, offset, buf.len(), Vec::new())?);
        Ok(())
    }

    fn get_span(&self, key: &str, offset: u64, length: usize, memory: Vec<u8>) -> Result<Vec<u8>> {
        if length == 0 {
            return Ok(Vec::new());
        }
        Ok(self.pool.fetch_into(key, Want::Range(offset, length), &|_| true, memory)?.bytes)
    }

    fn stat(&self, key: &str) -> Result<Option<Meta>> {
        // A server that answers everything with a page must not make generations.
        let pointer = key.starts_with("refs/") || key.starts_with("tags/");
        let (want, limit) = if pointer { (Want::Whole(POINTER), POINTER) } else { (Want::Head, 0) };
        let found = self.pool.fetch(key, want, &|bytes| !pointer || proof::fits(key, bytes));
        match found {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Integrity) && limit > 0 => Ok(None),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            found => {
                let unknown = || Error::new(ErrorKind::Network, format!("no server tells the size of {key}"));
                found?.meta.map(Some).ok_or_else(unknown)
            }
        }
    }

    fn put(&self, _: &str, _: &[u8]) -> Result<()> {
        Err(self.read_only())
    }

    fn create(&self, _: &str, _: &[u8]) -> Result<()> {
        Err(self.read_only())
    }

    fn writer(&self) -> Result<Box<dyn BlobWriter>> {
        match &self.upload {
            Some(upload) => Ok(Box::new(Sending::new(upload))),
            None => Err(self.read_only()),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.names(prefix)
    }

    fn walk(&self, prefix: &str) -> Result<Vec<(String, Meta)>> {
        // Who copies removes what is not listed: parts of several listings are none.
        self.objects(self.first.as_ref().unwrap_or(&self.pool), prefix)
    }

    fn delete_all(&self, _: &[String]) -> Result<()> {
        Err(self.read_only())
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn can_list(&self) -> bool {
        false
    }

    fn disown(&self, key: &str, offset: u64) -> bool {
        self.pool.disown(key, offset)
    }

    fn take_notes(&self) -> Vec<String> {
        let sent = self.upload.iter().flat_map(|u| u.take_notes());
        self.pool.take_notes().into_iter().chain(sent).collect()
    }

    fn depot(&self) -> Option<&dyn Depot> {
        self.upload.as_ref().map(|u| u.as_ref() as &dyn Depot)
    }

    fn place(&self) -> String {
        self.pool.place()
    }
}
