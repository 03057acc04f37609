//! An object on its way into the bucket. Its name is known at its end, and S3 wants it at the beginning; so the bytes are
//! kept in memory: a pack closes at 48 MiB. What is small goes in one request; what is large in parts, a few at a time,
//! which become an object together or not at all.

use super::failure::Failed;
use super::transport::ask;
use super::{Bucket, runtime};
use crate::error::Result;
use crate::store::blob::BlobWriter;
use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, PutOptions, PutPayload};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Bytes of a part; all but the last have as many, which some servers want. What is not longer goes in one request. The
/// answer to a request must come within [`S3Options::stall`](super::S3Options::stall), so a part decides how slow a network
/// may be.
const PART: usize = 8 << 20;
/// Parts on their way at a time.
const AT_ONCE: usize = 4;

pub(super) struct Writer {
    runtime: Option<Handle>,
    bucket: Arc<Bucket>,
    /// Each but the last has `PART` bytes.
    parts: Vec<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(runtime: Option<Handle>, bucket: Arc<Bucket>) -> Self {
        Self { runtime, bucket, parts: Vec::new() }
    }
}

impl BlobWriter for Writer {
    fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.parts.last().is_none_or(|p| p.len() == PART) {
                self.parts.push(Vec::new());
            }
            if let Some(part) = self.parts.last_mut() {
                let n = bytes.len().min(PART - part.len());
                part.extend_from_slice(&bytes[..n]);
                bytes = &bytes[n..];
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>, key: &str) -> Result<()> {
        let Self { runtime, bucket, parts } = *self;
        let parts: Vec<Bytes> = parts.into_iter().map(Bytes::from).collect();
        let (name, place) = (key.to_owned(), bucket.place.clone());
        let done = runtime::wait(runtime, async move { upload(&bucket, &name, parts).await })?;
        done.map_err(|failed| failed.explain(&place, "write", key))
    }
}

async fn upload(bucket: &Arc<Bucket>, key: &str, parts: Vec<Bytes>) -> Result<(), Failed> {
    let path = bucket.path(key)?;
    let size: usize = parts.iter().map(Bytes::len).sum();
    if size <= PART {
        let payload = PutPayload::from_iter(parts);
        return ask(bucket.client.put_opts(&path, payload, PutOptions::default())).await.map(|_| ());
    }
    let id = ask(bucket.client.create_multipart(&path)).await?;
    let done = in_parts(bucket, &path, &id, parts).await;
    match done {
        // The first completion was done, and its answer lost: the upload is then unknown, and the object there.
        Err(e) if e.is_missing() && e.is_repeated() => match bucket.head(key).await? {
            Some(there) if there.size == size as u64 => Ok(()),
            _ => Err(e),
        },
        Err(e) => {
            // Parts that are left cost money; a rule of the bucket removes those of a killed process.
            let _ = ask(bucket.client.abort_multipart(&path, &id)).await;
            Err(e)
        }
        Ok(()) => Ok(()),
    }
}

async fn in_parts(bucket: &Arc<Bucket>, path: &Path, id: &MultipartId, parts: Vec<Bytes>) -> Result<(), Failed> {
    let mut ids: Vec<Option<PartId>> = vec![None; parts.len()];
    let (mut waiting, mut running) = (parts.into_iter().enumerate(), JoinSet::new());
    loop {
        while running.len() < AT_ONCE
            && let Some((n, part)) = waiting.next()
        {
            let (bucket, path, id) = (bucket.clone(), path.clone(), id.clone());
            running.spawn(async move {
                let done = ask(bucket.client.put_part(&path, &id, n, PutPayload::from(part))).await;
                done.map(|part| (n, part))
            });
        }
        let Some(done) = running.join_next().await else { break };
        let (n, part) = done.map_err(|e| Failed::from(object_store::Error::from(e)))??;
        ids[n] = Some(part);
    }
    let ids = ids.into_iter().flatten().collect();
    ask(bucket.client.complete_multipart(path, id, ids)).await.map(|_| ())
}
