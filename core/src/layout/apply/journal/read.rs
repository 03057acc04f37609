//! Reading a journal: what was begun, what was done. The bytes come from a file that anybody may have written.

use super::file;
use super::record::{Header, Record, SCHEMA, Saved, What};
use crate::error::{Error, Result};
use rustix::fs::OFlags;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A journal of a plan with a thousand steps has less.
const LIMIT: u64 = 64 << 20;

/// The journal of an apply.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
    header: Header,
    seed: [u8; 16],
    /// In the order in which they began first, each with whether it is done.
    steps: Vec<(String, bool)>,
    saved: Vec<Saved>,
    done: bool,
    next: u64,
    length: u64,
}

impl Journal {
    /// Reads one from a file.
    ///
    /// # Errors
    /// `NotFound` (A410) when it is not there; `Integrity` (A413) when it is no journal; `Io`.
    pub fn read(path: &Path) -> Result<Self> {
        let file = file::open(path, OFlags::RDONLY).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!("there is no journal at {}", path.display()))
                .hint("apply without resuming: that begins anew, also on half-made disks")
                .fact("code", "A410")
                .fact("path", path.display().to_string()),
            io::ErrorKind::InvalidInput => {
                Error::integrity(format!("{} is not a journal of libcv: {e}", path.display()))
                    .hint("name the file that the interrupted apply named")
                    .fact("code", "A413")
                    .fact("path", path.display().to_string())
            }
            _ => Error::io("open", path.display(), e),
        })?;
        Self::read_from(&file, path)
    }

    /// Reads one from the open file at `path`.
    pub(super) fn read_from(file: &File, path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let read = file.take(LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read", path.display(), e))?;
        Self::parse(&bytes, path)
    }

    /// From the bytes of the file at `path`.
    ///
    /// # Errors
    /// `Integrity` (A413).
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let bad = |line: usize, why: &str| {
            Error::integrity(format!("{} is not a journal of libcv: line {line}: {why}", path.display()))
                .hint("apply without resuming: that begins anew")
                .fact("code", "A413")
                .fact("path", path.display().to_string())
                .fact("line", line as u64)
        };
        if bytes.len() as u64 > LIMIT {
            return Err(bad(1, "it is too long"));
        }
        let mut journal: Option<Self> = None;
        let mut at = 0;
        // What stands behind the last line end was being written when the power failed.
        for (n, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate().filter(|(_, l)| l.ends_with(b"\n")) {
            let record: Record = serde_json::from_slice(line).map_err(|e| bad(n + 1, &e.to_string()))?;
            at += line.len() as u64;
            if record.seq != n as u64 {
                return Err(bad(n + 1, "its number is not the next one"));
            }
            match (&mut journal, record.what) {
                (None, What::Plan(header)) => {
                    journal = Some(Self::begin(path, *header).map_err(|why| bad(n + 1, why))?);
                }
                (None, _) => return Err(bad(n + 1, "it does not begin with a plan")),
                (Some(_), What::Plan(_)) => return Err(bad(n + 1, "a second plan")),
                (Some(journal), what) => journal.take(what),
            }
            if let Some(journal) = &mut journal {
                (journal.next, journal.length) = (record.seq + 1, at);
            }
        }
        journal.ok_or_else(|| bad(1, "it has no first line"))
    }

    fn begin(path: &Path, header: Header) -> Result<Self, &'static str> {
        if header.schema != SCHEMA {
            return Err("another version");
        }
        let digits = header.seed.len() == 32 && header.seed.bytes().all(|b| b.is_ascii_hexdigit());
        let seed =
            u128::from_str_radix(&header.seed, 16).ok().filter(|_| digits).ok_or("the seed is not 32 hex digits")?;
        let (steps, saved) = (Vec::new(), Vec::new());
        Ok(Self {
            path: path.to_owned(),
            header,
            seed: seed.to_be_bytes(),
            steps,
            saved,
            done: false,
            next: 0,
            length: 0,
        })
    }

    fn take(&mut self, what: What) {
        match what {
            What::Begin { step } => match self.steps.iter().position(|(s, _)| *s == step) {
                // Made again: what stood on it is not there any more.
                Some(from) => self.steps[from..].iter_mut().for_each(|(_, done)| *done = false),
                None => self.steps.push((step, false)),
            },
            What::End { step } => {
                if let Some((_, done)) = self.steps.iter_mut().find(|(s, _)| *s == step) {
                    *done = true;
                }
            }
            What::Saved(saved) => self.saved.push(saved),
            What::Done => self.done = true,
            What::Plan(_) | What::Resume | What::Skip { .. } | What::Fail { .. } => {}
        }
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its first line.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What identities come from: the plan that goes on with it is made with this.
    #[must_use]
    pub fn seed(&self) -> [u8; 16] {
        self.seed
    }

    /// What was on the disks.
    #[must_use]
    pub fn saved(&self) -> &[Saved] {
        &self.saved
    }

    /// Whether all of it was done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether a step was begun.
    #[must_use]
    pub fn has_begun(&self, step: &str) -> bool {
        self.steps.iter().any(|(s, _)| s == step)
    }

    /// Whether a step was done, and nothing below it was made again since.
    #[must_use]
    pub fn has_ended(&self, step: &str) -> bool {
        self.steps.iter().any(|(s, done)| s == step && *done)
    }

    /// What it says, at a glance, as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(|(s, done)| json!({"step": s, "done": done})).collect();
        json!({"plan": self.header, "steps": steps, "saved": self.saved.len(), "done": self.done})
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Up to the end of its last whole line.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::apply::journal::{JournalDisk, JournalKept};
    use proptest::prelude::*;

    fn header() -> Header {
        let disk = JournalDisk {
            set: "os".into(),
            path: "/dev/sda".into(),
            size: 1 << 30,
            sector: 512,
            model: None,
            serial: Some("S1".into()),
            wwid: None,
            fingerprint: "f".into(),
            outline: "o".into(),
            head: "h".into(),
            signatures: Vec::new(),
            had: None,
            gets: uuid::Uuid::from_u128(7),
        };
        Header {
            schema: SCHEMA.into(),
            version: "0".into(),
            layout: "l".into(),
            layout_hash: "h".into(),
            token: "0000-0000".into(),
            seed: "05".repeat(16),
            hostname: None,
            image: None,
            installs: false,
            backend: "kernel".into(),
            kept: JournalKept::default(),
            result: "r".into(),
            disks: vec![disk],
        }
    }

    fn lines(what: Vec<What>) -> Vec<u8> {
        let all = std::iter::once(What::Plan(Box::new(header()))).chain(what);
        let text = |(seq, what)| serde_json::to_string(&Record { seq, time: "t".into(), what }).unwrap() + "\n";
        (0..).zip(all).map(text).collect::<String>().into_bytes()
    }

    fn begin(step: &str) -> What {
        What::Begin { step: step.into() }
    }

    fn end(step: &str) -> What {
        What::End { step: step.into() }
    }

    fn read(bytes: &[u8]) -> Result<Journal> {
        Journal::parse(bytes, Path::new("/j"))
    }

    #[test]
    fn what_is_made_again_takes_what_stood_on_it() {
        let j = read(&lines(vec![begin("a"), end("a"), begin("b"), end("b"), begin("c")])).unwrap();
        assert_eq!((j.has_ended("a"), j.has_ended("b"), j.has_ended("c"), j.has_begun("c")), (true, true, false, true));
        assert_eq!((j.seed(), j.next(), j.is_done()), ([5; 16], 6, false));
        let j =
            read(&lines(vec![begin("a"), end("a"), begin("b"), end("b"), What::Resume, begin("a"), end("a")])).unwrap();
        assert_eq!((j.has_ended("a"), j.has_ended("b"), j.has_begun("b")), (true, false, true));
        assert!(read(&lines(vec![What::Done])).unwrap().is_done());
    }

    #[test]
    fn a_line_without_its_end_is_none() {
        let whole = lines(vec![begin("a"), end("a")]);
        for cut in 0..=whole.len() {
            match read(&whole[..cut]) {
                Ok(j) => {
                    let kept = usize::try_from(j.length()).unwrap();
                    assert!(kept <= cut && whole[..kept].ends_with(b"\n") && !whole[kept..cut].contains(&b'\n'));
                    assert_eq!(j.has_ended("a"), cut == whole.len());
                }
                Err(e) => assert!(!whole[..cut].contains(&b'\n') && e.kind() == crate::ErrorKind::Integrity),
            }
        }
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        let good = String::from_utf8(lines(vec![begin("a")])).unwrap();
        let first = good.lines().next().unwrap();
        for text in [
            String::from("\n"),
            "{}\n".into(),
            good.lines().nth(1).unwrap().to_owned() + "\n",
            format!("{first}\n{first}\n"),
            good.replace("cv.journal/v1", "cv.journal/v9"),
            good.replace(&"05".repeat(16), "05"),
            good.replace(&"05".repeat(16), &"+5".repeat(16)),
            good.replace("\"seq\":1", "\"seq\":2"),
            good.replace("begin", "begun"),
        ] {
            let e = read(text.as_bytes()).unwrap_err();
            assert_eq!((e.kind(), e.facts()["code"].as_str()), (crate::ErrorKind::Integrity, Some("A413")), "{text}");
        }
    }

    proptest! {
        /// No bytes make it panic; and a journal with changed bytes is read or refused.
        #[test]
        fn any_bytes(noise in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let _ = read(&noise);
            let mut bytes = lines(vec![begin("a"), end("a")]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
