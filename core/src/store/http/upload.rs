//! A capture on its way to a server: what it lacks, what it is sent, and the end (`docs/capture-protocol.md`).

use super::super::blob::BlobWriter;
use super::super::depot::Depot;
use super::super::wire::{Granted, Published};
use super::api::{Api, Ask};
use super::options::HttpOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Hash, Manifest};
use std::sync::Arc;
use std::time::Duration;

/// The server looks at all of the image before it publishes it.
const PUBLISHING: Duration = Duration::from_secs(600);
/// Chunks that are asked for at a time.
const BATCH: usize = 8192;

/// The server, and what the token lets us do there.
pub(super) struct Upload {
    api: Api,
    granted: Granted,
}

impl Upload {
    /// Asks the server whether it takes something with this token.
    ///
    /// # Errors
    /// `Denied` when it does not; `Unsupported` when it takes nothing at all; `Network`.
    pub(super) fn connect(options: &HttpOptions, token: &str) -> Result<Self> {
        let api = Api::new(&options.url, &options.web, token, Some("v1/session"))?;
        let granted = api.ask_json(&Ask::new("GET", "v1/session", &[]))?;
        Ok(Self { api, granted })
    }

    /// What the token is for.
    pub(super) fn granted(&self) -> &Granted {
        &self.granted
    }

    pub(super) fn take_notes(&self) -> Vec<String> {
        self.api.take_notes()
    }
}

impl Depot for Upload {
    fn name(&self) -> &str {
        &self.granted.name
    }

    fn lacking(&self, chunks: &[Hash]) -> Result<Vec<bool>> {
        let mut out = Vec::with_capacity(chunks.len());
        for batch in chunks.chunks(BATCH) {
            let body: Vec<u8> = batch.iter().flat_map(|hash| hash.0).collect();
            let had = self.api.ask(&Ask::new("POST", "v1/has", &body))?;
            if had.len() != batch.len().div_ceil(8) {
                let e = Error::new(ErrorKind::Network, format!("{} does not say what it has", self.api.url()));
                return Err(e);
            }
            out.extend((0..batch.len()).map(|n| had[n / 8] >> (n % 8) & 1 == 0));
        }
        Ok(out)
    }

    fn publish(&self, manifest: &Manifest, expect: Option<u64>, tag: Option<&str>) -> Result<u64> {
        let expect = expect.map(|n| format!("expect={n}"));
        let tag = tag.map(|tag| format!("tag={tag}"));
        let query: Vec<String> = expect.into_iter().chain(tag).collect();
        let path = format!("v1/publish?{}", query.join("&"));
        let body = manifest.encode();
        let ask = Ask { time: PUBLISHING, probes: false, ..Ask::new("POST", &path, &body) };
        let published: Published = self.api.ask_json(&ask)?;
        Ok(published.generation)
    }

    fn tag(&self, tag: &str, generation: u64) -> Result<()> {
        let path = format!("v1/tags/{tag}?generation={generation}");
        self.api.ask(&Ask::new("PUT", &path, &[])).map(drop)
    }
}

/// A pack that is sent when it is finished.
pub(super) struct Sending {
    upload: Arc<Upload>,
    pack: Vec<u8>,
}

impl Sending {
    pub(super) fn new(upload: &Arc<Upload>) -> Self {
        Self { upload: upload.clone(), pack: Vec::new() }
    }
}

impl BlobWriter for Sending {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.pack.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>, _: &str) -> Result<()> {
        let Self { upload, pack } = *self;
        upload.api.ask(&Ask::new("POST", "v1/packs", &pack)).map(drop)
    }
}
