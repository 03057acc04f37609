//! Requests as they go to the server: each is repeated until it is answered whole or the patience is over. What happened
//! meanwhile is told to the task that asked, for the errors that come through object_store name it in prose only.

use super::failure::{Failed, Last, Told};
use crate::sys::clock;
use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, Extensions, HeaderMap, HeaderValue};
use std::cell::RefCell;
use std::error::Error as StdError;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest answer that is no object: listings, and what a server says about an error.
const TALK_LIMIT: u64 = 64 << 20;
/// So much of an answer is looked at for an error.
const SAID: usize = 64 << 10;
/// A server that sends a byte now and then has not hung, and is of no use all the same.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(300);

tokio::task_local! {
    static TOLD: RefCell<Told>;
}

/// Makes requests and remembers what happened to them.
pub(super) async fn ask<T>(request: impl Future<Output = object_store::Result<T>>) -> Result<T, Failed> {
    let work = async {
        let done = request.await;
        (done, TOLD.with(RefCell::take))
    };
    let (done, told) = TOLD.scope(RefCell::default(), work).await;
    done.map_err(|error| Failed { error: Box::new(error), told: Box::new(told) })
}

fn tell(f: impl FnOnce(&mut Told)) {
    // Outside of `ask` nobody listens.
    let _ = TOLD.try_with(|told| f(&mut told.borrow_mut()));
}

/// How long, and how often, to ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) total: Duration,
    pub(super) attempts: u32,
}

/// Most bytes that an answer may have; travels with the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtMost(u64);

impl AtMost {
    pub(super) fn extension(limit: u64) -> Extensions {
        let mut out = Extensions::new();
        out.insert(Self(limit));
        out
    }
}

/// Hands our client to object_store, which would make its own.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) client: reqwest::Client,
    pub(super) patience: Patience,
    /// Requests for credentials rather than for objects.
    pub(super) credentials: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let Self { client, patience, credentials } = self;
        Ok(HttpClient::new(Transport { client: client.clone(), patience: *patience, credentials: *credentials }))
    }
}

#[derive(Debug)]
struct Transport {
    client: reqwest::Client,
    patience: Patience,
    credentials: bool,
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the answer is longer than {0} bytes")]
    TooLong(u64),
    #[error("the answer has {0} bytes instead of {1}")]
    Short(u64, u64),
    #[error("no whole answer in {} s", ATTEMPT_LIMIT.as_secs())]
    Slow,
}

/// An answer whose body was taken out of it.
type Answer = (HttpResponse, Vec<u8>);

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (begun, mut pause, mut attempt) = (Instant::now(), FIRST_PAUSE, 1);
        loop {
            let outcome = match tokio::time::timeout(ATTEMPT_LIMIT, self.attempt(request.clone())).await {
                Ok(outcome) => outcome,
                Err(_) => Err(HttpError::new(HttpErrorKind::Timeout, Broken::Slow)),
            };
            let last = last(&outcome, request.method().as_str());
            let again = last.as_ref().is_some_and(|l| is_transient(l, &request));
            // Half of it at random: those who were refused together shall not come back together.
            let wait = pause.mul_f64(1.0 - (clock::random_u64() % 1000) as f64 / 2000.0);
            let over = attempt >= self.patience.attempts || begun.elapsed() + wait > self.patience.total;
            tell(|told| {
                told.retries += u32::from(again && !over);
                told.credentials = self.credentials && last.is_some();
                told.last = last;
            });
            if !again || over {
                return outcome.map(|(answer, bytes)| answer.map(|_| bytes.into()));
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            attempt += 1;
        }
    }
}

impl Transport {
    /// One attempt, with its whole answer.
    async fn attempt(&self, mut request: HttpRequest) -> Result<Answer, HttpError> {
        if request.method().as_str() == "GET" && request.uri().scheme_str() == Some("http") {
            // A server with Nagle's algorithm sends the end of an answer when what came before is acknowledged, which
            // takes 40 ms; at once when it closes the connection. A new one costs a round trip, but with TLS several.
            request.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        let head = request.method().as_str() == "HEAD";
        let limit = request.extensions().get::<AtMost>().map(|l| l.0);
        let ranged = request.headers().contains_key("range");
        let (parts, body) = HttpService::call(&self.client, request).await?.into_parts();
        let empty = || HttpResponseBody::from(Vec::new());
        if head {
            return Ok((HttpResponse::from_parts(parts, empty()), Vec::new()));
        }
        let good = parts.status.is_success();
        let expected = length(&parts.headers, ranged && good);
        let limit = match limit {
            Some(limit) if good => limit,
            _ => TALK_LIMIT,
        };
        let bytes = collect(body, expected, limit).await?;
        Ok((HttpResponse::from_parts(parts, empty()), bytes))
    }
}

/// The length that the headers promise: of a part, what the range says.
fn length(headers: &HeaderMap, ranged: bool) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if ranged && let Some(range) = text("content-range") {
        let (from, to) = range.strip_prefix("bytes ")?.split_once('/')?.0.split_once('-')?;
        let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
        return to.checked_add(1)?.checked_sub(from);
    }
    text("content-length")?.parse().ok()
}

async fn collect(mut body: HttpResponseBody, expected: Option<u64>, limit: u64) -> Result<Vec<u8>, HttpError> {
    let too_long = || HttpError::new(HttpErrorKind::Decode, Broken::TooLong(limit));
    if expected.is_some_and(|n| n > limit) {
        tell(|told| told.too_long = true);
        return Err(too_long());
    }
    let mut out = Vec::with_capacity(expected.unwrap_or(0) as usize);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if (out.len() + data.len()) as u64 > limit {
                tell(|told| told.too_long = true);
                return Err(too_long());
            }
            out.extend_from_slice(&data);
        }
    }
    match expected {
        Some(n) if n != out.len() as u64 => {
            Err(HttpError::new(HttpErrorKind::Interrupted, Broken::Short(out.len() as u64, n)))
        }
        _ => Ok(out),
    }
}

/// What is wrong with an outcome.
fn last(outcome: &Result<Answer, HttpError>, method: &str) -> Option<Last> {
    let (answer, bytes) = match outcome {
        Ok(answer) => answer,
        Err(e) => return Some(Last::Broken { text: describe(e), permanent: is_permanent(e) }),
    };
    let mut status = answer.status().as_u16();
    let success = answer.status().is_success();
    if success && method == "GET" {
        return None;
    }
    let said = String::from_utf8_lossy(&bytes[..bytes.len().min(SAID)]);
    // An error in an answer of success: the server had to begin its answer before it knew.
    if success && said.contains("<Error>") {
        status = 500;
    } else if success {
        return None;
    }
    let element = |name| element(&said, name).unwrap_or_default();
    Some(Last::Answer { status, code: element("Code"), message: element("Message") })
}

/// The text of an element of XML.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim().to_owned())
}

/// An error and what caused it; the causes often tell more than the error.
fn describe(e: &HttpError) -> String {
    let mut parts: Vec<String> = Vec::new();
    for e in causes(e) {
        let text = e.to_string();
        if !parts.iter().any(|p| p.contains(&text)) {
            parts.push(text);
        }
    }
    parts.last().cloned().unwrap_or_default()
}

/// Whether asking again is of no use.
fn is_permanent(e: &HttpError) -> bool {
    causes(e).any(|e| {
        let inner = e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        matches!(e.downcast_ref(), Some(Broken::TooLong(_)))
            || inner.and_then(|e| e.downcast_ref()).is_some_and(|e| matches!(e, rustls::Error::InvalidCertificate(_)))
    })
}

fn causes(e: &HttpError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(e as &(dyn StdError + 'static)), |e| (*e).source())
}

fn is_transient(last: &Last, request: &HttpRequest) -> bool {
    match last {
        Last::Broken { permanent, .. } => !permanent,
        Last::Answer { status, code, .. } => match status {
            408 | 429 | 500 | 502 | 503 | 504 => true,
            // Two creations at once, of which neither is done yet.
            409 => request.headers().contains_key("if-none-match"),
            400 => code == "RequestTimeout" || code == "IncompleteBody",
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect::<HeaderMap>()
        };
        let part = headers(&[("content-range", "bytes 5-9/100"), ("content-length", "3")]);
        assert_eq!((length(&part, true), length(&part, false)), (Some(5), Some(3)));
        assert_eq!(length(&headers(&[("content-range", "bytes 9-5/100")]), true), None);
        assert_eq!(length(&headers(&[("content-range", "bytes */100")]), true), None);
        assert_eq!(length(&headers(&[]), true), None);
    }

    #[test]
    fn what_a_server_says_is_found() {
        let xml = "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please wait</Message></Error>";
        assert_eq!(element(xml, "Code").as_deref(), Some("SlowDown"));
        assert_eq!(element(xml, "Message").as_deref(), Some("Please wait"));
        assert_eq!(element("<Code>x", "Code"), None);
    }
}
