//! Requests to a server that knows who asks: what fails and may pass is tried again for a while, the same to the byte. All of our
//! protocols may be said twice.

use super::super::wire::Refusal;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::clock;
use crate::web::{Fault, Pace, Url, WebOptions, agent};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::http::header;
use zeroize::Zeroizing;

const PACE: Pace =
    Pace { connect: Duration::from_secs(10), silence: Duration::from_secs(600), whole: Duration::from_secs(3600) };
/// What a small request may take, and for each MiB that is sent.
const SMALL: Duration = Duration::from_secs(30);
const EACH: Duration = Duration::from_secs(16);
/// How long a server that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Longest answer.
const ANSWER: u64 = 256 << 10;

/// A server, and the secret by which it knows us.
pub(crate) struct Api {
    agent: ureq::Agent,
    url: Url,
    secret: Zeroizing<String>,
    /// What a request is for, that shows whether the secret counts.
    probe: Option<&'static str>,
    notes: Mutex<Vec<String>>,
}

/// What is asked.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'static str,
    pub(crate) path: &'a str,
    pub(crate) body: &'a [u8],
    /// What the server needs besides the time to send it.
    pub(crate) time: Duration,
    /// Whether the secret still counts when no answer came: it need not after the last request.
    pub(crate) probes: bool,
}

impl<'a> Ask<'a> {
    /// Something small.
    pub(crate) fn new(method: &'static str, path: &'a str, body: &'a [u8]) -> Self {
        Self { method, path, body, time: Duration::ZERO, probes: true }
    }

    fn deadline(&self) -> Duration {
        self.time + SMALL + EACH * u32::try_from(self.body.len() >> 20).unwrap_or(u32::MAX)
    }
}

impl Api {
    /// Nothing is asked yet. `probe` is a path beneath the server that can be asked at any time.
    ///
    /// # Errors
    /// `Invalid` when the secret is none, or a file of certificates or keys.
    pub(crate) fn new(url: &Url, web: &WebOptions, secret: &str, probe: Option<&'static str>) -> Result<Self> {
        let secret = Zeroizing::new(secret.trim().to_owned());
        if secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::invalid("this is no token").hint("give what cvctl printed when it was made"));
        }
        let agent = agent(web, PACE, url.is_secure())?;
        let local = matches!(url.host(), "localhost" | "::1") || url.host().starts_with("127.");
        let open = !url.is_secure() && !local;
        let notes =
            open.then(|| format!("{url}: what it knows us by goes over the network for all to read: use https"));
        Ok(Self { agent, url: url.clone(), secret, probe, notes: Mutex::new(notes.into_iter().collect()) })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for something in JSON.
    ///
    /// # Errors
    /// As [`Api::ask`]; `Network` when it is another one.
    pub(crate) fn ask_json<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T> {
        let bytes = self.ask(ask)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::new(ErrorKind::Network, format!("{} answers what is no answer", self.url)).cause(e))
    }

    /// Asks, and asks again what may pass.
    ///
    /// # Errors
    /// What the server says against it; `Network`, `Timeout`, `Denied` when it does not answer in time, or not as it should.
    pub(crate) fn ask(&self, ask: &Ask<'_>) -> Result<Vec<u8>> {
        let (mut failing, mut pause) = (None, PAUSE.0);
        loop {
            let fault = match self.once(ask) {
                Ok(answer) => return answer,
                Err(fault) => fault,
            };
            let text = format!("{}/{}: {fault}", self.url, ask.path);
            // What came about in a long request says nothing of how long the server has not answered.
            if !fault.may_pass() || failing.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(unanswered(&fault, text));
            }
            self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            std::thread::sleep(pause / 2 + pause.mul_f64(clock::random_u64() as f64 / u64::MAX as f64 / 2.0));
            pause = (pause * 2).min(PAUSE.1);
            // Who refuses a long body may end the connection before the reason has come.
            if let Some(probe) = self.probe.filter(|_| ask.probes && !ask.body.is_empty())
                && let Ok(Err(refused)) = self.once(&Ask::new("GET", probe, &[]))
            {
                return Err(refused);
            }
        }
    }

    /// Asks once: an answer, what the server says against it, or what went wrong on the way.
    pub(crate) fn once(&self, ask: &Ask<'_>) -> Result<Result<Vec<u8>>, Fault> {
        let url = format!("{}/{}", self.url, ask.path);
        let bearer = Zeroizing::new(format!("Bearer {}", &*self.secret));
        let request = ureq::http::Request::builder().method(ask.method).uri(url);
        let request = request.header(header::AUTHORIZATION, bearer.as_str());
        let called = if ask.body.is_empty() && ask.method == "GET" {
            let request = request.body(()).map_err(|e| Fault::Unreachable(e.to_string()))?;
            self.agent.run(self.agent.configure_request(request).timeout_global(Some(ask.deadline())).build())
        } else {
            let request = request.body(ask.body).map_err(|e| Fault::Unreachable(e.to_string()))?;
            self.agent.run(self.agent.configure_request(request).timeout_global(Some(ask.deadline())).build())
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
            (Err(_), 404 | 405 | 501) => Ok(Err(Error::unsupported(format!("{} takes no images", self.url))
                .hint("it is a web server or a mirror, or an older version: name cvctl serve where the store lies"))),
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
