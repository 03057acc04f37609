//! One request to one server, with a deadline: what comes is what was asked for, or a [`Fault`].

use super::super::blob::Meta;
use crate::web::Fault;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, StatusCode, header};

/// What a small request may take.
const WHOLE: Duration = Duration::from_secs(20);
/// Who sends less is as good as dead: bytes in a second.
const SLOWEST: u64 = 64 << 10;
/// Bytes between two looks at whether somebody still waits.
const STEP: usize = 256 << 10;
/// A body of unknown length begins with so much memory.
const BEGIN: u64 = 64 << 10;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// All of it, at most so many bytes.
    Whole(u64),
    /// So many bytes from an offset on.
    Range(u64, usize),
    /// Its size and time.
    Head,
}

impl Want {
    /// Bytes that are expected, as far as that is known.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Range(_, length) => length as u64,
            Self::Whole(_) | Self::Head => 0,
        }
    }

    /// How long it may take.
    fn deadline(self) -> Duration {
        let most = match self {
            Self::Whole(limit) => limit,
            other => other.bytes(),
        };
        WHOLE + Duration::from_secs(most / SLOWEST)
    }
}

/// What others see of a request, and it of them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Nobody waits for it any more.
    pub(super) abandoned: AtomicBool,
    /// Bytes of the body that came.
    pub(super) received: AtomicU64,
}

/// What came.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// Of the whole object.
    pub(super) meta: Option<Meta>,
    /// The time of the server: milliseconds since 1970, of whole seconds.
    pub(super) date: Option<i64>,
}

/// Asks, and gives up when it is abandoned. What comes may be put into `memory`.
pub(super) fn ask(agent: &ureq::Agent, url: &str, want: Want, watch: &Watch, memory: Vec<u8>) -> Result<Answer, Fault> {
    let request = match want {
        Want::Head => agent.head(url).config().timeout_global(Some(want.deadline())).build(),
        Want::Whole(_) => agent.get(url).config().timeout_global(Some(want.deadline())).build(),
        Want::Range(offset, length) => {
            let range = format!("bytes={offset}-{}", offset + (length as u64).saturating_sub(1));
            agent.get(url).header(header::RANGE, range).config().timeout_global(Some(want.deadline())).build()
        }
    };
    let mut answer = request.call().map_err(|e| Fault::of(&e))?;
    check_status(answer.status(), want)?;
    let headers = answer.headers();
    if headers.get(header::CONTENT_ENCODING).is_some_and(|e| e != "identity") {
        return Err(Fault::Encoded);
    }
    let length = number(headers, header::CONTENT_LENGTH);
    let (modified, date) = (
        time(headers, header::LAST_MODIFIED).and_then(|t| t.try_into().ok()).unwrap_or(0),
        time(headers, header::DATE),
    );
    match want {
        Want::Head => Ok(Answer { bytes: Vec::new(), meta: length.map(|size| Meta { size, modified }), date }),
        Want::Range(offset, wanted) => {
            let total = ranged(headers, offset, wanted)?;
            let bytes = read(answer.body_mut().as_reader(), wanted as u64, Some(wanted as u64), watch, memory)?;
            Ok(Answer { bytes, meta: total.map(|size| Meta { size, modified }), date })
        }
        Want::Whole(limit) => {
            if length.is_some_and(|l| l > limit) {
                return Err(Fault::TooLong);
            }
            let bytes = read(answer.body_mut().as_reader(), limit, length, watch, memory)?;
            let meta = Some(Meta { size: bytes.len() as u64, modified });
            Ok(Answer { bytes, meta, date })
        }
    }
}

fn check_status(status: StatusCode, want: Want) -> Result<(), Fault> {
    match (status.as_u16(), want) {
        (206, Want::Range(..)) | (200, Want::Whole(_) | Want::Head) => Ok(()),
        (200, Want::Range(..)) | (206, _) => Err(Fault::NotRanged),
        // The object ends before: it is shorter than it should be.
        (416, _) => Err(Fault::Wrong),
        (404 | 410, _) => Err(Fault::Missing),
        (s @ (401 | 403 | 407), _) => Err(Fault::Denied(s)),
        (s, _) if status.is_redirection() => Err(Fault::Redirect(s)),
        (s, _) => Err(Fault::Status(s)),
    }
}

/// The size of the whole object, when these are the headers of the range that was asked for.
fn ranged(headers: &HeaderMap, offset: u64, length: usize) -> Result<Option<u64>, Fault> {
    let text = headers.get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok()).ok_or(Fault::NotRanged)?;
    let (range, total) = text.strip_prefix("bytes ").and_then(|t| t.split_once('/')).ok_or(Fault::NotRanged)?;
    let (from, to) = range.split_once('-').ok_or(Fault::NotRanged)?;
    let (from, to): (u64, u64) = from.trim().parse().ok().zip(to.trim().parse().ok()).ok_or(Fault::NotRanged)?;
    if from != offset || to < from {
        return Err(Fault::NotRanged);
    }
    // One that ends early is cut off by the server: the object is shorter than it should be.
    if to - from + 1 != length as u64 {
        return Err(if to - from + 1 < length as u64 { Fault::Wrong } else { Fault::NotRanged });
    }
    Ok(total.trim().parse().ok())
}

fn number(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// A time in milliseconds since 1970.
fn time(headers: &HeaderMap, name: header::HeaderName) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond())
}

/// All of a body, which has at most `limit` bytes, and `length` if that was said; into memory that was used before.
fn read(
    mut from: impl Read,
    limit: u64,
    length: Option<u64>,
    watch: &Watch,
    mut out: Vec<u8>,
) -> Result<Vec<u8>, Fault> {
    let (most, began) = (length.unwrap_or(limit).min(limit) as usize, Instant::now());
    out.resize(length.unwrap_or(BEGIN).min(limit) as usize, 0);
    let mut at = 0;
    loop {
        watch.received.store(at as u64, Ordering::Relaxed);
        if watch.abandoned.load(Ordering::Relaxed) {
            return Err(Fault::Abandoned);
        }
        // However long it may be: who drips is as good as dead.
        if began.elapsed() > WHOLE + Duration::from_secs(at as u64 / SLOWEST) {
            return Err(Fault::Late(format!("{at} bytes in {} s", began.elapsed().as_secs())));
        }
        if at == most {
            return match some(&mut from, &mut [0])? {
                0 => Ok(out),
                _ => Err(Fault::TooLong),
            };
        }
        if at == out.len() {
            out.resize(most.min(at + at.clamp(1, 16 << 20)), 0);
        }
        let until = out.len().min(at + STEP);
        match some(&mut from, &mut out[at..until])? {
            0 if length.is_some() => return Err(Fault::CutOff),
            0 => {
                out.truncate(at);
                return Ok(out);
            }
            n => at += n,
        }
    }
}

fn some(from: &mut impl Read, buf: &mut [u8]) -> Result<usize, Fault> {
    loop {
        match from.read(buf) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read.map_err(|e| Fault::of_io(&e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_was_said_and_no_more() {
        let go = Watch::default();
        let read = |text: &[u8], limit, length| read(text, limit, length, &go, vec![9; 5]);
        assert_eq!(read(b"abc", 3, Some(3)), Ok(b"abc".to_vec()));
        assert_eq!(read(b"abc", 10, None), Ok(b"abc".to_vec()));
        assert_eq!(read(b"", 0, None), Ok(Vec::new()));
        assert_eq!(read(b"abc", 2, None), Err(Fault::TooLong));
        assert_eq!(read(b"abcd", 10, Some(3)), Err(Fault::TooLong));
        assert_eq!(read(b"ab", 10, Some(3)), Err(Fault::CutOff));
        let long = vec![7; 3 << 20];
        assert_eq!(read(&long, 4 << 20, None), Ok(long.clone()));
        assert_eq!(read(&long, 1 << 20, None), Err(Fault::TooLong));
        go.abandoned.store(true, Ordering::Relaxed);
        assert_eq!(read(b"abc", 3, Some(3)), Err(Fault::Abandoned));
    }

    #[test]
    fn a_range_is_the_one_that_was_asked_for() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, text.parse().unwrap());
            ranged(&headers, 100, 50)
        };
        assert_eq!(of("bytes 100-149/1000"), Ok(Some(1000)));
        assert_eq!(of("bytes 100-149/*"), Ok(None));
        assert_eq!(of("bytes 100-120/121"), Err(Fault::Wrong));
        for bad in
            ["bytes 0-49/1000", "bytes 100-150/1000", "bytes */1000", "items 100-149/1000", "bytes 149-100/9", "x"]
        {
            assert_eq!(of(bad), Err(Fault::NotRanged), "{bad}");
        }
        assert_eq!(ranged(&HeaderMap::new(), 0, 1), Err(Fault::NotRanged));
    }
}
