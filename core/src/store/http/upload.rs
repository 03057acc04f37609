//! A capture on its way to a server: what it lacks, what it is sent, and the end (`docs/capture-protocol.md`).
//!
//! What fails and may pass is tried again for a while, the same to the byte: all of the protocol may be said twice.

use super::super::blob::BlobWriter;
use super::super::depot::Depot;
use super::super::wire::{Granted, Published, Refusal};
use super::options::HttpOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Hash, Manifest};
use crate::sys::clock;
use crate::web::{Fault, Pace, Url, agent};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::http::header;
use zeroize::Zeroizing;

const PACE: Pace =
    Pace { connect: Duration::from_secs(10), silence: Duration::from_secs(600), whole: Duration::from_secs(3600) };
/// What a small request may take, and for each MiB that is sent.
const SMALL: Duration = Duration::from_secs(30);
const EACH: Duration = Duration::from_secs(16);
/// The server looks at all of the image before it publishes it.
const PUBLISHING: Duration = Duration::from_secs(600);
/// How long a server that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Chunks that are asked for at a time.
const BATCH: usize = 8192;
/// Longest answer.
const ANSWER: u64 = 64 << 10;

/// The server, and the token that it lets us write with.
pub(super) struct Upload {
    agent: ureq::Agent,
    url: Url,
    token: Zeroizing<String>,
    granted: Granted,
    notes: Mutex<Vec<String>>,
}

/// What is asked.
struct Ask<'a> {
    method: &'static str,
    path: &'a str,
    body: &'a [u8],
    deadline: Duration,
}

impl Upload {
    /// Asks the server whether it takes something with this token.
    ///
    /// # Errors
    /// `Denied` when it does not; `Unsupported` when it takes nothing at all; `Network`.
    pub(super) fn connect(options: &HttpOptions, token: &str) -> Result<Self> {
        let agent = agent(&options.web, PACE, options.url.is_secure())?;
        let token = Zeroizing::new(token.trim().to_owned());
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::invalid("this is no token").hint("give what cvctl token create printed"));
        }
        let granted = Granted::default();
        let mut upload = Self { agent, url: options.url.clone(), token, granted, notes: Mutex::default() };
        upload.granted = upload.ask_json(&Ask { method: "GET", path: "v1/session", body: &[], deadline: SMALL })?;
        Ok(upload)
    }

    /// What the token is for.
    pub(super) fn granted(&self) -> &Granted {
        &self.granted
    }

    pub(super) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask_json<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T> {
        let bytes = self.ask(ask)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::new(ErrorKind::Network, format!("{} answers what is no answer", self.url)).cause(e))
    }

    /// Asks, and asks again what may pass.
    fn ask(&self, ask: &Ask<'_>) -> Result<Vec<u8>> {
        let (began, mut pause) = (Instant::now(), PAUSE.0);
        loop {
            let fault = match self.once(ask) {
                Ok(answer) => return answer,
                Err(fault) => fault,
            };
            let text = format!("{}/{}: {fault}", self.url, ask.path);
            if !fault.may_pass() || began.elapsed() > PATIENCE {
                return Err(unanswered(&fault, text));
            }
            self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            std::thread::sleep(pause / 2 + pause.mul_f64(clock::random_u64() as f64 / u64::MAX as f64 / 2.0));
            pause = (pause * 2).min(PAUSE.1);
            // Who refuses a long body may end the connection before the reason has come.
            if !ask.body.is_empty() {
                let again = Ask { method: "GET", path: "v1/session", body: &[], deadline: SMALL };
                if let Ok(Err(refused)) = self.once(&again) {
                    return Err(refused);
                }
            }
        }
    }

    /// Asks once: an answer, what the server says against it, or what went wrong on the way.
    fn once(&self, ask: &Ask<'_>) -> Result<Result<Vec<u8>>, Fault> {
        let url = format!("{}/{}", self.url, ask.path);
        let bearer = Zeroizing::new(format!("Bearer {}", &*self.token));
        let request = ureq::http::Request::builder().method(ask.method).uri(url);
        let request = request.header(header::AUTHORIZATION, bearer.as_str());
        let called = if ask.body.is_empty() && ask.method == "GET" {
            let request = request.body(()).map_err(|e| Fault::Unreachable(e.to_string()))?;
            self.agent.run(self.agent.configure_request(request).timeout_global(Some(ask.deadline)).build())
        } else {
            let request = request.body(ask.body).map_err(|e| Fault::Unreachable(e.to_string()))?;
            self.agent.run(self.agent.configure_request(request).timeout_global(Some(ask.deadline)).build())
        };
        let mut answer = called.map_err(|e| Fault::of(&e))?;
        let status = answer.status();
        let mut body = Vec::new();
        let read = answer.body_mut().as_reader().take(ANSWER + 1).read_to_end(&mut body);
        read.map_err(|e| Fault::of_io(&e))?;
        if body.len() as u64 > ANSWER {
            return Err(Fault::TooLong);
        }
        if status.is_success() {
            return Ok(Ok(body));
        }
        match (serde_json::from_slice::<Refusal>(&body), status.as_u16()) {
            // The server is busy, or another one stands before it that is.
            (_, code @ (408 | 425 | 429 | 502..=504)) => Err(Fault::Status(code)),
            (Ok(refusal), _) => Ok(Err(refusal.into())),
            (Err(_), 404 | 405 | 501) => Ok(Err(Error::unsupported(format!("{} takes no images", self.url)).hint(
                "it is a web server or a mirror, or an older version: send to cvctl serve where the store lies",
            ))),
            (Err(_), code @ (401 | 403 | 407)) => Err(Fault::Denied(code)),
            (Err(_), code) if status.is_redirection() => Err(Fault::Redirect(code)),
            (Err(_), code) => Err(Fault::Status(code)),
        }
    }
}

fn unanswered(fault: &Fault, text: String) -> Error {
    let kind = match fault {
        Fault::Denied(_) => ErrorKind::Denied,
        Fault::Late(_) => ErrorKind::Timeout,
        _ => ErrorKind::Network,
    };
    Error::new(kind, text).hint("what was sent so far stays there: the same command goes on with it")
}

impl Depot for Upload {
    fn name(&self) -> &str {
        &self.granted.name
    }

    fn lacking(&self, chunks: &[Hash]) -> Result<Vec<bool>> {
        let mut out = Vec::with_capacity(chunks.len());
        for batch in chunks.chunks(BATCH) {
            let body: Vec<u8> = batch.iter().flat_map(|hash| hash.0).collect();
            let had = self.ask(&Ask { method: "POST", path: "v1/has", body: &body, deadline: SMALL })?;
            if had.len() != batch.len().div_ceil(8) {
                let e = Error::new(ErrorKind::Network, format!("{} does not say what it has", self.url));
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
        let ask = Ask { method: "POST", path: &path, body: &body, deadline: PUBLISHING + deadline(body.len()) };
        let published: Published = self.ask_json(&ask)?;
        Ok(published.generation)
    }

    fn tag(&self, tag: &str, generation: u64) -> Result<()> {
        let path = format!("v1/tags/{tag}?generation={generation}");
        self.ask(&Ask { method: "PUT", path: &path, body: &[], deadline: SMALL }).map(drop)
    }
}

fn deadline(bytes: usize) -> Duration {
    SMALL + EACH * u32::try_from(bytes >> 20).unwrap_or(u32::MAX)
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
        upload.ask(&Ask { method: "POST", path: "v1/packs", body: &pack, deadline: deadline(pack.len()) }).map(drop)
    }
}
