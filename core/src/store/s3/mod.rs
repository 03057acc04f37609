//! A store in S3: the same objects under the same keys, beneath a prefix of a bucket.
//!
//! ```text
//!  BlobStore, called on any thread ──> Runtime: threads of our own, the caller waits ──> object_store: requests, signatures
//!                                                                                              │
//!  Error: a kind and a hint <── failure <── what was told meanwhile <── transport: retries, whole answers only ──> server
//! ```
//!
//! What makes it safe, when any request may fail, be lost, or come twice:
//!
//! - An object appears whole or not at all: S3 makes a PUT, and the completion of a multipart upload, visible in one step,
//!   and answers when it is durable. What a killed upload leaves is no object.
//! - Objects that are named by their content are the same whoever writes them, and how often.
//! - `create` is decided by the server (`If-None-Match: *`), where it does that; [`BlobStore::has_conditions`] finds out.
//!   Each call marks its object with a random number: when the answer to the first attempt was lost and the second is told
//!   that there is an object, the mark says whose it is.
//! - What is replaced in place (HEAD, CURRENT, BAD, stat caches) is a hint that a listing completes, or a cache: an old
//!   answer to a read, or an old write that arrives late, costs time and no image. A release with one more signature, and
//!   the document of a derived file that is made again, may lose to a late old one: they are signed or made once more.
//! - An answer counts when all its bytes came; one that is cut off is asked for again. That they are the right bytes is
//!   checked above, by hash.
//!
//! Everything is asked again, with growing pauses, until [`S3Options::retry_for`] is over.

mod failure;
mod options;
mod profile;
mod runtime;
mod transport;
mod upload;

pub use options::{Keys, S3Options};

use super::blob::{BlobStore, BlobWriter, Meta};
use super::{Location, STORE_FILE};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::clock;
use bytes::Bytes;
use failure::{Failed, Place};
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use object_store::{Extensions, PutMode, PutOptions, PutPayload};
use runtime::Runtime;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use transport::{AtMost, ask};

/// The metadata that marks an object with the call that created it.
const MARK: &str = "libcv-mark";
/// The time of an answer has whole seconds in one kind of request and parts of them in another.
const SECOND: i64 = 1000;

/// The backend of a prefix in a bucket.
pub struct S3 {
    runtime: Runtime,
    bucket: Arc<Bucket>,
    /// Whether the server honours conditions, once that is known.
    conditions: Mutex<Option<bool>>,
}

/// What a request needs; shared with the tasks that make them.
struct Bucket {
    client: AmazonS3,
    place: Place,
    /// Empty, or with a slash at its end.
    prefix: String,
}

impl S3 {
    /// Connects to the store at `prefix` of `bucket`. Nothing is asked yet.
    ///
    /// # Errors
    /// `Invalid` when bucket, prefix or options are not well formed; `Denied` when there are no credentials.
    pub fn connect(bucket: &str, prefix: &str, options: &S3Options) -> Result<Self> {
        let location = Location::parse(format!("s3://{bucket}/{prefix}"))?;
        let Location::S3 { bucket, prefix } = &location else {
            return Err(Error::invalid(format!("{location} is no place in S3")));
        };
        let place = Place { location: location.to_string(), bucket: bucket.clone(), peer: options.peer() };
        let runtime = Runtime::new()?;
        let client = options.client(bucket)?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let bucket = Arc::new(Bucket { client, place, prefix });
        Ok(Self { runtime, bucket, conditions: Mutex::default() })
    }

    /// Refuses a place that has objects, but for what a killed probe left.
    pub(super) fn expect_empty(&self) -> Result<()> {
        let page = self.run("list", "", |b| async move { b.page("", None, None).await })?;
        let mut keys = page.result.objects.iter().filter_map(|o| b_key(&self.bucket, o));
        if keys.clone().any(|key| key == STORE_FILE) || self.stat(STORE_FILE)?.is_some() {
            return Err(Error::new(ErrorKind::Conflict, format!("{} is a store already", self.place())));
        }
        match keys.find(|key| !key.starts_with(PROBE)) {
            Some(_) => Err(Error::refused(format!("{} is not empty", self.place())).hint("give a new prefix")),
            None => Ok(()),
        }
    }

    /// Runs a request on the threads of the backend and waits for it.
    fn run<T, W>(&self, what: &'static str, key: &str, work: impl FnOnce(Arc<Bucket>) -> W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Failed>> + Send + 'static,
    {
        let done = self.runtime.wait(work(self.bucket.clone()))?;
        done.map_err(|failed| failed.explain(&self.bucket.place, what, key))
    }

    /// Whether a second creation of one object is refused.
    fn probe(&self) -> Result<bool> {
        let key = format!("{PROBE}{:016x}{:016x}", clock::random_u64(), clock::random_u64());
        let found = self.run("write", &key, |b| {
            let key = key.clone();
            async move {
                let first = b.create(&key, Bytes::new(), "probe").await;
                match first {
                    // Nobody else knows the name: the answer to an earlier attempt was lost.
                    Ok(()) => match b.create(&key, Bytes::new(), "probe").await {
                        Ok(()) => Ok(false),
                        Err(e) if e.is_taken() => Ok(true),
                        Err(e) => Err(e),
                    },
                    Err(e) if e.is_taken() => Ok(true),
                    Err(e) if e.is_unimplemented() => Ok(false),
                    Err(e) => Err(e),
                }
            }
        });
        // A probe that is left is in nobody's way.
        let _ = self.delete(&key);
        found
    }
}

/// What probes begin with.
const PROBE: &str = "tmp/probe-";

fn b_key<'o>(bucket: &Bucket, object: &'o ObjectMeta) -> Option<&'o str> {
    object.location.as_ref().strip_prefix(bucket.prefix.as_str())
}

fn meta(object: &ObjectMeta) -> Meta {
    let ms = object.last_modified.timestamp_millis();
    Meta { size: object.size, modified: u64::try_from(ms - ms.rem_euclid(SECOND)).unwrap_or(0) }
}

impl Bucket {
    fn path(&self, key: &str) -> Result<Path, Failed> {
        Path::parse(format!("{}{key}", self.prefix)).map_err(|e| Failed::from(object_store::Error::from(e)))
    }

    async fn get(&self, key: &str, range: Option<GetRange>, limit: Option<u64>) -> Result<Bytes, Failed> {
        let path = self.path(key)?;
        let mut extensions = Extensions::new();
        extensions.extend(limit.map(AtMost::extension).unwrap_or_default());
        let options = GetOptions { range, extensions, ..GetOptions::default() };
        ask(async { self.client.get_opts(&path, options).await?.bytes().await }).await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, Failed> {
        let path = self.path(key)?;
        match ask(self.client.head(&path)).await {
            Err(e) if e.is_missing() => Ok(None),
            found => found.map(Some),
        }
    }

    /// Writes an object if there is none of its name; `mark` is put on it.
    async fn create(&self, key: &str, bytes: Bytes, mark: &str) -> Result<(), Failed> {
        let path = self.path(key)?;
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(MARK.into()), mark.to_owned().into());
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        ask(self.client.put_opts(&path, PutPayload::from(bytes), options)).await.map(|_| ())
    }

    /// Whether the object of this name has this mark.
    async fn is_marked(&self, key: &str, mark: &str) -> Result<bool, Failed> {
        let path = self.path(key)?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = ask(self.client.get_opts(&path, options)).await?;
        let there = found.attributes.get(&Attribute::Metadata(MARK.into()));
        Ok(there.is_some_and(|value| **value == *mark))
    }

    /// A page of a listing of what begins with `prefix`; up to the next slash, if that is the delimiter.
    async fn page(
        &self,
        prefix: &str,
        delimiter: Option<&'static str>,
        page_token: Option<String>,
    ) -> Result<object_store::list::PaginatedListResult, Failed> {
        let prefix = format!("{}{prefix}", self.prefix);
        let options = PaginatedListOptions {
            delimiter: delimiter.map(Into::into),
            page_token,
            ..PaginatedListOptions::default()
        };
        ask(self.client.list_paginated(Some(&prefix).filter(|p| !p.is_empty()).map(String::as_str), options)).await
    }

    /// All pages.
    async fn pages(
        &self,
        prefix: &str,
        delimiter: Option<&'static str>,
        mut each: impl FnMut(object_store::ListResult),
    ) -> Result<(), Failed> {
        let mut token = None;
        loop {
            let page = self.page(prefix, delimiter, token).await?;
            each(page.result);
            match page.page_token {
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// The prefix of what is beneath a directory: `refs/a` does not stand for `refs/ab`.
fn beneath(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

fn truncated(key: &str) -> Error {
    Error::integrity(format!("{key} is truncated")).fact("object", key)
}

impl BlobStore for S3 {
    fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>> {
        let name = key.to_owned();
        let got = self.run("read", key, |b| async move { b.get(&name, None, Some(limit)).await })?;
        Ok(got.into())
    }

    fn get_range(&self, key: &str, offset: u64, buf: &mut [u8]) -> Result<()> {
        buf.copy_from_slice(&self.get_span(key, offset, buf.len(), Vec::new())?);
        Ok(())
    }

    fn get_span(&self, key: &str, offset: u64, length: usize, _: Vec<u8>) -> Result<Vec<u8>> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let name = key.to_owned();
        let range = GetRange::Bounded(offset..offset + length as u64);
        let got = self.run("read", key, |b| async move { b.get(&name, Some(range), Some(length as u64)).await })?;
        // A range that ends behind the object is cut off by the server.
        if got.len() == length { Ok(got.into()) } else { Err(truncated(key)) }
    }

    fn stat(&self, key: &str) -> Result<Option<Meta>> {
        let name = key.to_owned();
        let found = self.run("look at", key, |b| async move { b.head(&name).await })?;
        Ok(found.as_ref().map(meta))
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let mut writer = self.writer()?;
        writer.append(bytes)?;
        writer.finish(key)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let taken = || Error::new(ErrorKind::Conflict, format!("{key} exists already")).fact("object", key);
        if !self.has_conditions()? {
            if self.stat(key)?.is_some() {
                return Err(taken());
            }
            return self.put(key, bytes);
        }
        let (name, bytes) = (key.to_owned(), Bytes::copy_from_slice(bytes));
        let mark = format!("{:016x}{:016x}", clock::random_u64(), clock::random_u64());
        let created = self.run("write", key, |b| async move {
            match b.create(&name, bytes, &mark).await {
                Ok(()) => Ok(true),
                // Perhaps it is ours: an attempt before this one had no answer.
                Err(e) if e.is_taken() && e.is_repeated() => b.is_marked(&name, &mark).await,
                Err(e) if e.is_taken() => Ok(false),
                Err(e) => Err(e),
            }
        })?;
        if created { Ok(()) } else { Err(taken()) }
    }

    fn writer(&self) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(upload::Writer::new(self.runtime.handle(), self.bucket.clone())))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let inside = beneath(prefix);
        let names = self.run("list", prefix, |b| async move {
            let mut names = BTreeSet::new();
            let root = format!("{}{inside}", b.prefix);
            b.pages(&inside, Some("/"), |page| {
                let objects = page.objects.iter().map(|o| o.location.as_ref());
                let directories = page.common_prefixes.iter().map(AsRef::as_ref);
                let found = objects.chain(directories).filter_map(|key: &str| key.strip_prefix(&root));
                names.extend(found.filter(|name| !name.is_empty()).map(str::to_owned));
            })
            .await?;
            Ok(names)
        })?;
        Ok(names.into_iter().collect())
    }

    fn walk(&self, prefix: &str) -> Result<Vec<(String, Meta)>> {
        let inside = beneath(prefix);
        let mut found = self.run("list", prefix, |b| async move {
            let mut found = Vec::new();
            b.pages(&inside, None, |page| {
                let objects = page.objects.iter().filter_map(|o| Some((b_key(&b, o)?.to_owned(), meta(o))));
                found.extend(objects.filter(|(key, _)| key.starts_with(&inside)));
            })
            .await?;
            Ok(found)
        })?;
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    fn delete_all(&self, keys: &[String]) -> Result<()> {
        // One by one: not every server knows the request that removes many.
        keys.iter().try_for_each(|key| {
            let name = key.clone();
            self.run("remove", key, |b| async move {
                let path = b.path(&name)?;
                match ask(b.client.delete(&path)).await {
                    Err(e) if e.is_missing() => Ok(()),
                    done => done,
                }
            })
        })
    }

    fn has_conditions(&self) -> Result<bool> {
        let mut known = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = *known {
            return Ok(found);
        }
        let found = self.probe()?;
        *known = Some(found);
        Ok(found)
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn place(&self) -> String {
        self.bucket.place.location.clone()
    }
}
